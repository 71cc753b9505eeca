"""The gate to private data: open for one case alone, closed for each departure from it, and inside every client."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.chem.dataset import Dataset
from securefl.config import DataConfig, FederationConfig, RunConfig, audit_sha256
from securefl.crypto import dsse, mldsa
from securefl.crypto.signature import SigningKey
from securefl.errors import ParameterError, VerificationError
from securefl.evaluation.run import run
from securefl.evidence import ClearanceRecord, EditionRecord
from securefl.federation.gate import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    Audit,
    refusals,
    require_clearance,
)
from securefl.federation.process.site import NewSite, create_site, open_site
from securefl.quantize import Quantizer
from securefl.records import View
from securefl.secagg.masking.protocol import MaskingSetup, set_up
from securefl.secagg.roster import Auditor, SignedRoster, load_roster, save_roster
from securefl.types import ClientId, Secret

TODAY = date(2026, 3, 1)
AUDITED = RunConfig(arms=("standalone", "plaintext", "masking"))
PRIVATE = RunConfig(arms=("standalone", "masking"), data=DataConfig(private=True))
KEY = SigningKey(Secret(bytes([7]) * 32))
STRANGER = SigningKey(Secret(bytes([8]) * 32))
VIEWS = get_args(View)


def made_setup(*auditors: Auditor) -> MaskingSetup:
    """Return the set-up of three partners whose roster lists ``auditors``, signed by all."""
    clients = [ClientId(i + 1) for i in range(3)]
    setup = set_up(clients, quantizer=Quantizer.for_sum(3, clip=1.0), run_id=bytes(32), rng=CountingRng())
    signed = SignedRoster(replace(setup.signed.roster, auditors=auditors), {})
    for client in clients:
        signed = signed.signed_by(client, setup.parties[client].identity)
    return replace(setup, signed=signed)


def auditor(key: SigningKey = KEY) -> Auditor:
    """Return a roster's line for ``key``, with its second key."""
    return Auditor("auditor", key.verify_key, mldsa.key_hash(mldsa.SecondKey(key).public_key))


def cleared(**changes: object) -> ClearanceRecord:
    """Return the predicate of a report that clears PRIVATE, with ``changes``."""
    verdicts = {"plaintext": dict.fromkeys(VIEWS, "fail"), "masking": dict.fromkeys(VIEWS, "pass")}
    base = ClearanceRecord(
        audit_sha256=audit_sha256(AUDITED.model_dump(mode="json")), config_sha256=AUDITED.sha256, data_sha256="ab" * 32,
        appetite_sha256="cd" * 32, commit="0" * 40, edition=EditionRecord(), as_of="2026-01-01", expires="2026-06-30",
        verdicts=verdicts, inputs=(),
    )  # fmt: skip
    return base.model_copy(update=changes)


def enveloped(clearance: ClearanceRecord, key: SigningKey = KEY, predicate: str = PREDICATE_TYPE) -> bytes:
    """Return the signed statement of a report."""
    statement = {
        "_type": STATEMENT_TYPE, "subject": [], "predicateType": predicate, "predicate": clearance.model_dump(mode="json"),
    }  # fmt: skip
    return dsse.sign(PAYLOAD_TYPE, json.dumps(statement).encode(), key)


def audit(envelope: bytes | None, *auditors: Auditor, today: date = TODAY) -> Audit:
    """Return what a client holds, with the auditor on the roster unless others are named."""
    return Audit(signed=made_setup(*(auditors or (auditor(),))).signed, envelope=envelope, today=today)


def test_the_one_case_that_is_open() -> None:
    assert list(refusals(PRIVATE, audit(enveloped(cleared())))) == []
    require_clearance(PRIVATE, audit(enveloped(cleared())))


def test_public_data_need_no_audit() -> None:
    require_clearance(RunConfig(), None)


def test_without_a_report_nothing_opens() -> None:
    with pytest.raises(VerificationError, match="no roster and no signed report"):
        require_clearance(PRIVATE, None)
    with pytest.raises(VerificationError, match="no signed report"):
        require_clearance(PRIVATE, audit(None))


def test_another_configuration_is_refused() -> None:
    changed = PRIVATE.model_copy(update={"federation": FederationConfig(rounds=17)})
    with pytest.raises(VerificationError, match="audited configuration is"):
        require_clearance(changed, audit(enveloped(cleared())))


def test_an_expired_report_is_refused_from_the_day_after() -> None:
    envelope = enveloped(cleared())
    require_clearance(PRIVATE, audit(envelope, today=date(2026, 6, 30)))
    with pytest.raises(VerificationError, match="expired on 2026-06-30"):
        require_clearance(PRIVATE, audit(envelope, today=date(2026, 7, 1)))


def test_a_report_of_tomorrow_or_without_a_date_is_refused() -> None:
    with pytest.raises(VerificationError, match="today is 2025-12-31"):
        require_clearance(PRIVATE, audit(enveloped(cleared()), today=date(2025, 12, 31)))
    with pytest.raises(VerificationError, match="no date"):
        require_clearance(PRIVATE, audit(enveloped(cleared(as_of=None, expires=None))))
    with pytest.raises(VerificationError, match="are none"):
        require_clearance(PRIVATE, audit(enveloped(cleared(expires="never"))))


def test_a_signer_who_is_no_auditor_is_refused() -> None:
    with pytest.raises(VerificationError, match="not signed by an auditor"):
        require_clearance(PRIVATE, audit(enveloped(cleared(), STRANGER)))
    with pytest.raises(VerificationError, match="not signed by an auditor"):
        require_clearance(PRIVATE, audit(enveloped(cleared()), auditor(STRANGER)))


def test_a_partner_is_no_auditor() -> None:
    setup = made_setup(auditor())
    envelope = enveloped(cleared(), setup.parties[ClientId(1)].identity)
    with pytest.raises(VerificationError, match="not signed by an auditor"):
        require_clearance(PRIVATE, Audit(signed=setup.signed, envelope=envelope, today=TODAY))


def test_a_roster_without_auditors_or_without_a_signature_opens_nothing() -> None:
    empty = Audit(signed=made_setup().signed, envelope=enveloped(cleared()), today=TODAY)
    with pytest.raises(VerificationError, match="lists no auditor"):
        require_clearance(PRIVATE, empty)
    signed = made_setup(auditor()).signed
    missing = SignedRoster(signed.roster, {c: s for c, s in signed.signatures.items() if c != 2})
    with pytest.raises(VerificationError, match="lacks signatures"):
        require_clearance(PRIVATE, Audit(signed=missing, envelope=enveloped(cleared()), today=TODAY))


def test_both_keys_are_needed_where_the_roster_lists_both() -> None:
    content = json.loads(enveloped(cleared()))
    content["signatures"] = content["signatures"][:1]
    lone = json.dumps(content).encode()
    with pytest.raises(VerificationError, match="every key that it lists"):
        require_clearance(PRIVATE, audit(lone))
    require_clearance(PRIVATE, audit(lone, Auditor("old", KEY.verify_key)))


@pytest.mark.parametrize("verdict", ["fail", "inconclusive", "not tested"])
@pytest.mark.parametrize("view", VIEWS)
def test_one_verdict_that_is_no_pass_refuses(verdict: str, view: str) -> None:
    verdicts = {"masking": dict.fromkeys(VIEWS, "pass") | {view: verdict}}
    with pytest.raises(VerificationError, match=f"'masking' in view {view} is {verdict}"):
        require_clearance(PRIVATE, audit(enveloped(cleared(verdicts=verdicts))))


def test_a_view_that_is_missing_is_not_tested() -> None:
    verdicts = {"masking": {view: "pass" for view in VIEWS if view != "V0"}}
    with pytest.raises(VerificationError, match="V0 is not tested"):
        require_clearance(PRIVATE, audit(enveloped(cleared(verdicts=verdicts))))


def test_an_arm_that_was_not_audited_and_pooling_are_refused() -> None:
    for arm, reason in (("bfv", "'bfv' was not audited"), ("pooled", "pools private data"), ("plaintext", "is fail")):
        wider = PRIVATE.model_copy(update={"arms": ("standalone", arm)})
        with pytest.raises(VerificationError, match=reason):
            require_clearance(wider, audit(enveloped(cleared())))


def test_every_byte_of_the_envelope_counts() -> None:
    envelope = enveloped(cleared())
    signed = made_setup(auditor()).signed
    for position in range(0, len(envelope), 97):
        changed = bytearray(envelope)
        changed[position] ^= 1
        held = Audit(signed=signed, envelope=bytes(changed), today=TODAY)
        # Space between the JSON's elements carries nothing; whatever it is replaced by is no JSON, or is other space.
        if list(refusals(PRIVATE, held)) == []:
            assert json.loads(changed) == json.loads(envelope)


def test_an_envelope_of_another_kind_is_refused() -> None:
    with pytest.raises(VerificationError, match="not the statement of a report"):
        require_clearance(PRIVATE, audit(enveloped(cleared(), predicate="urn:other")))
    with pytest.raises(VerificationError, match="no DSSE envelope"):
        require_clearance(PRIVATE, audit(b"[]"))


def test_the_run_refuses_before_it_makes_anything(tiny_dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(VerificationError, match="private data"):
        run(tiny_dataset, PRIVATE, out, rng=CountingRng())
    assert not out.exists()


def site(folder: Path, report: bytes | None) -> Path:
    """Return a partner's folder with private data, whose roster lists the auditor."""
    setup = made_setup(auditor())
    new = NewSite(
        me=ClientId(1), run_id=bytes(32), signed=setup.signed, identity=setup.parties[ClientId(1)].identity, weight=1,
        updates={1: np.zeros(4)}, config=PRIVATE, report=report,
    )  # fmt: skip
    create_site(folder, new)
    return folder


def test_a_site_with_private_data_opens_under_its_own_report_alone(tmp_path: Path) -> None:
    assert open_site(site(tmp_path / "open", enveloped(cleared())), today=TODAY).me == 1
    for name, report, day in (
        ("none", None, TODAY),
        ("expired", enveloped(cleared()), date(2027, 1, 1)),
        ("stranger", enveloped(cleared(), STRANGER), TODAY),
    ):
        with pytest.raises(VerificationError, match="private data"):
            open_site(site(tmp_path / name, report), today=day)


def test_the_partners_process_ends_with_5_before_it_connects(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "securefl.federation.process.partner", str(site(tmp_path / "site", None)), "1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 5
    assert "private data: there is no signed report" in ended.stderr


def test_auditors_travel_with_the_roster_and_change_its_hash(tmp_path: Path) -> None:
    with_one, without = made_setup(auditor()).signed, made_setup().signed
    assert with_one.roster.hash != without.roster.hash
    assert b"auditors" not in without.roster.encoded
    save_roster(with_one, tmp_path / "roster.json")
    found = load_roster(tmp_path / "roster.json")
    found.verify()
    assert found.roster == with_one.roster
    with pytest.raises(ParameterError, match="same key"):
        replace(without.roster, auditors=(auditor(), auditor()))
    with pytest.raises(ParameterError, match="SHA-256"):
        Auditor("short", KEY.verify_key, b"12")
