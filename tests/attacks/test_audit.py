"""The audit of finished arms: records, controls, views and refusals, on a small run with its protocols in the loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stand_ins import CountingRng

from attacks.audit import audit
from attacks.isolation.pool import Pool
from attacks.registry import NAMES
from securefl.chem.dataset import Dataset
from securefl.config import RunConfig, parse_config
from securefl.errors import InputError
from securefl.evaluation.run import run
from securefl.records import AttackRecord, AuditRecord, read_record

ARMS: tuple[str, ...] = ("standalone", "plaintext", "masking", "masking+guard")
NEEDS_MORE = {"label_inference", "partner_grouping", "quality_inference", "membership_analogue", "differential_counts"}
"""Attacks that have nothing to score here: compounds of one assay, changing cohorts, analogues of what was held out, counts."""


@dataclass(frozen=True)
class Finished:
    """A finished run with what its audits need."""

    out: Path
    config: RunConfig
    pool: Pool


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset) -> Iterator[Finished]:
    """A run of four arms, three rounds each, and the processes that all attacks of this file run in."""
    config = parse_config(
        {
            "arms": ARMS,
            "data": {"bits": 256, "partners": 3},
            "model": {"hidden": [64, 24]},
            "federation": {"rounds": 3, "batch": 16},
            "attacks": {"exposed_bits": 256, "exposed_single": 24, "exposed_each": 12},
        },
        source="test",
    )
    out = tmp_path_factory.mktemp("run")
    run(tiny_dataset, config, out, rng=CountingRng())
    with Pool() as pool:
        yield Finished(out, config, pool)


def audited(
    finished: Finished, dataset: Dataset, arm: str, *, only: str | None = None, view: str | None = None
) -> AuditRecord:
    """The audit of one arm."""
    return audit(
        finished.out, dataset, config=finished.config, arm=arm, rng=CountingRng(), only=only, view=view, pool=finished.pool
    )


def rows(record: AuditRecord, **want: object) -> list[AttackRecord]:
    """The attacks whose fields are as wanted."""
    return [a for a in record.attacks if all(getattr(a, name) == value for name, value in want.items())]


def test_plaintext_is_caught_and_its_controls_hold(finished: Finished, tiny_dataset: Dataset) -> None:
    """Every attack ran from its views on both releases; recovery succeeds on the exposed one; the file is written."""
    record = audited(finished, tiny_dataset, "plaintext")
    assert {a.name for a in record.attacks if a.status == "run"} >= set(NAMES) - NEEDS_MORE
    for view in ("V1", "V2", "V3"):
        (found,) = rows(record, name="fingerprint_recovery", view=view, release="exposed", metric="exact")
        assert found.ci_low is not None
        assert found.chance is not None
        assert found.ci_low > found.chance
        assert found.coordinates == ("scrambled" if view == "V2" else "clear")
        assert rows(record, name="union_of_bits", view=view, release="as-run")
    held = {"blind_membership", "overfit_model", "permuted_membership", "exposed_recovery", "planted_canaries"}
    assert {c.name for c in record.controls if c.held} == held
    assert record.conformance == ()
    assert read_record(AuditRecord, finished.out / "attacks" / "plaintext.json") == record
    # The bits of one compound show together: the record says what so many are worth.
    (bits,) = rows(record, name="union_of_bits", view="V3", release="exposed", metric="single_compound_recall")
    assert f"{bits.n} that depend on one another are worth" in bits.reason
    (whole,) = rows(record, name="fingerprint_recovery", view="V3", release="exposed", metric="exact")
    assert "depend" not in whole.reason
    for attack in rows(record, view="V4", metric="tpr_at_fpr_1pct"):
        assert attack.min_certifiable_fpr is not None
        assert attack.min_certifiable_fpr > 0.01
        assert attack.member_of in ("partner", "consortium")


def test_masking_opens_the_same_sum_and_the_guard_closes_it(finished: Finished, tiny_dataset: Dataset) -> None:
    """From V1 and V2 masking is no better than plaintext; under the guard not one exact fingerprint is left."""
    masked, guarded = (audited(finished, tiny_dataset, arm, only="fingerprint_recovery") for arm in ARMS[2:])
    for view in ("V1", "V2", "V3"):
        (open_,) = rows(masked, view=view, release="exposed", metric="exact")
        (shut,) = rows(guarded, view=view, release="exposed", metric="exact")
        assert open_.value is not None
        assert open_.value > 0.8
        assert shut.k == 0
    assert all("work together" in a.reason for a in rows(masked, view="V3"))
    assert not (finished.out / "attacks" / "masking.json").exists()


def test_an_arm_that_sends_nothing_says_so(finished: Finished, tiny_dataset: Dataset) -> None:
    """Standalone: the loss attack runs, shadows of another recipe don't, and there is no update to attack."""
    record = audited(finished, tiny_dataset, "standalone")
    assert rows(record, name="membership_loss", status="run")
    assert all("no shadow models" in a.reason for a in rows(record, name="membership_rmia"))
    assert {a.status for a in rows(record, release="as-run")} == {"not_run"}
    assert not rows(record, release="exposed")


def test_shadows_are_shared_by_arms_of_one_recipe(finished: Finished, tiny_dataset: Dataset) -> None:
    """Plaintext and masking read the same four shadow models."""
    for arm in ("plaintext", "masking"):
        audited(finished, tiny_dataset, arm, only="membership_lira")
    kept = [path.name for path in (finished.out / "shadows").glob("*.npz") if "-" not in path.name]
    assert len(kept) == 1


def test_narrowing_and_unknown_names(finished: Finished, tiny_dataset: Dataset) -> None:
    """One view gives that view alone; names that don't exist are refused with those that do."""
    assert {a.view for a in audited(finished, tiny_dataset, "masking", view="V1").attacks} == {"V1"}
    with pytest.raises(InputError, match="membership_loss"):
        audited(finished, tiny_dataset, "masking", only="guessing")
    with pytest.raises(InputError, match="V9"):
        audited(finished, tiny_dataset, "masking", view="V9")
    with pytest.raises(InputError, match=r"record\.json"):
        audited(finished, tiny_dataset, "ckks")


def test_deviations_are_played_for_a_protocol_alone(finished: Finished, tiny_dataset: Dataset) -> None:
    """Asked for by their own name or by view V5: each says what it came to and where it succeeds."""
    record = audited(finished, tiny_dataset, "masking", only="protocol_conformance")
    assert record.attacks == ()
    assert len(record.conformance) >= 15
    assert {one.outcome for one in record.conformance} == {"refused", "failed"}
    assert all("::test_" in one.broken_variant for one in record.conformance)
