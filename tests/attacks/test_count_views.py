"""What the opened count of contributors tells: an arm that counts, attacked from V1 and V2, and one that doesn't."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import CountingRng

from attacks.audit import audit
from attacks.course.count_views import NO_COUNT
from attacks.course.rounds import cast_of, course_key, halves_of, run_course
from attacks.first_layer.exposed import Bench, Defence, exposed_sum
from attacks.isolation.pool import Pool
from attacks.target import Target
from securefl.chem.dataset import Dataset, Fold
from securefl.config import RunConfig, parse_config
from securefl.evaluation.run import run
from securefl.records import ArmRecord, AttackRecord, read_record
from securefl.types import silent

ARM, K = "masking+guard", 4


def config(fewest: int) -> RunConfig:
    return parse_config(
        {
            "arms": [ARM],
            "data": {"bits": 256, "partners": 3},
            "model": {"hidden": [16, 8]},
            "federation": {"rounds": 2, "batch": 16},
            "guard": {"k": K, "partners": fewest},
            "attacks": {"exposed_bits": 256, "exposed_single": 24, "exposed_each": 12},
        },
        source="test",
    )


@dataclass(frozen=True)
class Audited:
    """A finished run by the minimum that it asked for, and the records of its counts."""

    out: dict[int, Path]
    found: dict[int, tuple[AttackRecord, ...]]

    def record(self, fewest: int) -> ArmRecord:
        return read_record(ArmRecord, self.out[fewest] / "arms" / ARM / "record.json")


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset) -> Iterator[Audited]:
    out, found = {}, {}
    with Pool() as pool:
        for fewest in (1, 2):
            out[fewest] = tmp_path_factory.mktemp("run")
            run(tiny_dataset, config(fewest), out[fewest], rng=CountingRng())
            found[fewest] = audit(
                out[fewest], tiny_dataset, config=config(fewest), arm=ARM, rng=CountingRng(), only="differential_counts",
                pool=pool,
            ).attacks  # fmt: skip
        yield Audited(out, found)


def claims_in(dataset: Dataset) -> NDArray[np.bool_]:
    compounds = [sorted(set(dataset.cells(p, Fold.TRAIN).compound.tolist())) for p in range(len(dataset.partners))]
    return np.array([dataset.fingerprints[rows].toarray().sum(axis=0, dtype=np.int64) >= K for rows in compounds])


def test_the_count_tells_which_bits_one_partner_alone_brings(audited: Audited, tiny_dataset: Dataset) -> None:
    claims = claims_in(tiny_dataset)
    # The two others of V1 are told apart from the largest partner; the operator counts all three.
    largest = max(range(3), key=lambda p: len(set(tiny_dataset.cells(p, Fold.TRAIN).compound.tolist())))
    for view, counts in (("V1", np.delete(claims, largest, axis=0).sum(axis=0)), ("V2", claims.sum(axis=0))):
        found = {a.metric: a for a in audited.found[2] if a.view == view}
        assert set(found) == {"one_contributor_recall", "precision"}
        told = found["one_contributor_recall"]
        assert (told.k, told.n, told.release) == ((counts == 1).sum(), (counts == 1).sum(), "as-run")
        assert told.n
        assert told.ci_low is not None
        assert told.chance is not None
        assert told.ci_low > told.chance
        assert found["precision"].value == 1.0
        assert told.coordinates == ("clear" if view == "V1" else "scrambled")


def test_without_a_count_there_is_nothing_to_read(audited: Audited) -> None:
    assert [(a.view, a.status, a.reason) for a in audited.found[1]] == [(v, "not_run", NO_COUNT) for v in ("V1", "V2")]
    with np.load(audited.out[1] / "arms" / ARM / "seed-0" / "release.npz", allow_pickle=False) as release:
        assert "contributors" not in release.files


def test_the_record_says_both_minima_and_that_a_count_was_opened(audited: Audited, tiny_dataset: Dataset) -> None:
    alone, counted = audited.record(1), audited.record(2)
    assert (alone.guard, counted.guard) == ("minimum support 4", "minimum support 4, 2 partners a row")
    assert any("opened once, before the first round: an unpriced release" in note for note in counted.notes)
    assert not any("opened once" in note for note in alone.notes)
    claims = claims_in(tiny_dataset)
    assert alone.withheld_bits is not None
    # One partner each has the rows that the second minimum adds.
    assert counted.withheld_bits == alone.withheld_bits + (claims.sum(axis=0) == 1).sum()


def test_an_exposed_sum_keeps_the_minimum_too(tiny_dataset: Dataset) -> None:
    """Every row that is left is one that two partners moved; under the support guard alone some are one partner's."""
    owners = {}
    for fewest in (1, 2):
        defence = Defence(scheme="masking", guard_k=2, partners=fewest)
        summed = exposed_sum(Bench.of(tiny_dataset, config=config(fewest), defence=defence, rng=CountingRng()))
        rows = [part.update.any(axis=1) for part in summed.parts.values() if part.update is not None]
        owners[fewest] = np.sum(rows, axis=0)
        assert summed.total is not None
        np.testing.assert_array_equal(summed.total.any(axis=1), owners[fewest] > 0)
    assert (owners[1] == 1).any()
    assert set(np.unique(owners[2])) == {0, 2, 3}


def test_a_course_keeps_the_minimum_as_far_as_its_partners_go(audited: Audited, tiny_dataset: Dataset) -> None:
    """All three moved a row or none did; without the victim two are left, and so they are the most that can be asked for."""
    arm, rng = audited.record(2), CountingRng()
    targets = {
        fewest: Target(run=Path(), dataset=tiny_dataset, config=config(fewest), record=arm, rng=rng, progress=silent)
        for fewest in (1, 3)
    }
    cast = cast_of(tiny_dataset, config(3))
    member = halves_of(cast, seed=0, number=0)
    course = run_course(targets[3], cast, member)
    moved = np.array([update.any(axis=1) for update in course.rounds[-1].updates.values()])
    assert set(np.unique(moved.sum(axis=0))) == {0, 3}
    member[cast.partner == 0] = False
    assert sorted(run_course(targets[3], cast, member, plain_sum=True).rounds[0].updates) == [0, 1]
    assert course_key(targets[1]) != course_key(targets[3])
