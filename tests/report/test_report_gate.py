"""From a run's records to the open gate: built, judged, signed, and refused as soon as one thing of it is another.

The report is a whole one (its records are invented); each refusal of the gate alone is in ``tests/federation/test_gate.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from made_run import counted, made_arm, made_run_record, write_run
from stand_ins import CountingRng

from securefl.config import DataConfig, FederationConfig, RunConfig
from securefl.crypto import mldsa
from securefl.crypto.signature import SigningKey
from securefl.federation.gate import Audit, read_envelope, refusals
from securefl.quantize import Quantizer
from securefl.records import AttackRecord, AuditRecord, ConformanceRecord, ControlRecord, write_record
from securefl.report import Terms, build
from securefl.report.appetite import VIEWS
from securefl.report.attestation import sign_report
from securefl.report.editions import CONSORTIUM, stem
from securefl.secagg.masking.protocol import set_up
from securefl.secagg.roster import Auditor, SignedRoster
from securefl.types import ClientId, Secret

DAY = date(2026, 11, 21)
AUDITED = RunConfig(arms=("standalone", "plaintext", "masking"))
PRIVATE = RunConfig(arms=("standalone", "masking"), data=DataConfig(private=True))
KEY, STRANGER = (SigningKey(Secret(bytes([seed]) * 32)) for seed in (7, 8))
HELD = ControlRecord(
    name="blind_membership", arm=None, held=True, metric="auc", value=0.5, ci_low=0.48, ci_high=0.52, expected="0.5", because=""
)
REFUSED = ConformanceRecord(
    name="mask_reuse", view="V5", arm="masking", scheme="masking", outcome="refused", reason="used before",
    broken_variant="tests/attacks/test_masks.py::test_reused",
)  # fmt: skip


def attacks() -> tuple[AttackRecord, ...]:
    """Return an attack in every view that got nothing of a hundred."""
    return tuple(counted("fingerprint_recovery", view, "masking", "exposed", 0, 100) for view in VIEWS if view != "V5")


def signed(folder: Path, audit: AuditRecord, *, key: SigningKey = KEY, day: date | None = DAY) -> bytes:
    """Write a run with ``audit``, build its report under a lenient policy, sign it and return the envelope."""
    run = write_run(folder / "run", arms=("standalone", "plaintext"), audited=False)
    write_record(made_run_record(AUDITED), run / "run.json")
    write_record(made_arm("masking"), run / "arms" / "masking" / "record.json")
    write_record(audit, run / "attacks" / "masking.json")
    policy = folder / "policy.toml"
    limits = "".join(f"[appetite.{view}.any]\nmax_exact = 0.1\n" for view in VIEWS)
    policy.write_text(f'title = "t"\nstatement = "s"\nvalid_days = 30\n{limits}', encoding="utf-8")
    report = build(run, Terms(appetite=policy, as_of=day))
    return read_envelope(sign_report(run, stem(CONSORTIUM, ()), report, key))


def client(envelope: bytes, *, today: date = DAY) -> Audit:
    """Return what a client of three holds, with the auditor on its roster."""
    clients = [ClientId(i + 1) for i in range(3)]
    setup = set_up(clients, quantizer=Quantizer.for_sum(3, clip=1.0), run_id=bytes(32), rng=CountingRng())
    auditor = Auditor("auditor", KEY.verify_key, mldsa.key_hash(mldsa.SecondKey(KEY).public_key))
    roster = SignedRoster(replace(setup.signed.roster, auditors=(auditor,)), {})
    for one in clients:
        roster = roster.signed_by(one, setup.parties[one].identity)
    return Audit(signed=roster, envelope=envelope, today=today)


GOOD = AuditRecord(attacks=attacks(), controls=(HELD,), conformance=(REFUSED,))


def test_a_report_with_verdict_pass_opens_the_gate_until_it_expires(tmp_path: Path) -> None:
    envelope = signed(tmp_path, GOOD)
    assert list(refusals(PRIVATE, client(envelope))) == []
    assert list(refusals(PRIVATE, client(envelope, today=date(2026, 12, 21)))) == []
    (late,) = refusals(PRIVATE, client(envelope, today=date(2026, 12, 22)))
    assert "expired on 2026-12-21" in late
    (changed,) = refusals(
        PRIVATE.model_copy(update={"federation": FederationConfig(rounds=7)}), client(envelope)
    )
    assert "the audited configuration is" in changed
    more = PRIVATE.model_copy(update={"arms": ("masking", "plaintext")})
    assert any("'plaintext' in view V0 is not tested" in reason for reason in refusals(more, client(envelope)))


def test_a_stranger_s_signature_and_a_report_without_a_day_open_nothing(tmp_path: Path) -> None:
    (stranger,) = refusals(PRIVATE, client(signed(tmp_path / "a", GOOD, key=STRANGER)))
    assert "not signed by an auditor" in stranger
    (undated,) = refusals(PRIVATE, client(signed(tmp_path / "b", GOOD, day=None)))
    assert "no date" in undated


def without(view: str) -> AuditRecord:
    return GOOD.model_copy(update={"attacks": tuple(attack for attack in attacks() if attack.view != view)})


def leaking(k: int) -> AuditRecord:
    more = counted("fingerprint_recovery", "V2", "masking", "exposed", k, 100)
    return GOOD.model_copy(update={"attacks": (*attacks(), more)})


@pytest.mark.parametrize(
    ("audit", "reason"),
    [
        (lambda: leaking(50), "'masking' in view V2 is fail"),
        (lambda: leaking(8), "'masking' in view V2 is inconclusive"),
        (lambda: without("V0"), "'masking' in view V0 is not tested"),
        (lambda: GOOD.model_copy(update={"conformance": ()}), "'masking' in view V5 is not tested"),
    ],
)
def test_one_view_that_does_not_pass_keeps_it_shut(tmp_path: Path, audit: Callable[[], AuditRecord], reason: str) -> None:
    (found,) = refusals(PRIVATE, client(signed(tmp_path, audit())))
    assert reason in found


def test_without_a_control_nothing_passes(tmp_path: Path) -> None:
    bare = GOOD.model_copy(update={"controls": ()})
    assert len(list(refusals(PRIVATE, client(signed(tmp_path, bare))))) == len(VIEWS) - 1
