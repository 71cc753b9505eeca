"""The count of contributing partners: opened alike by every scheme, hidden before, kept by the guard, and taken once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins import CountingRng, make_dataset

from securefl.chem.dataset import Dataset, Fold
from securefl.config import DataConfig, FederationConfig, GuardConfig, ModelConfig, RunConfig
from securefl.errors import ParameterError
from securefl.evaluation.artefacts import TranscriptFile
from securefl.federation.contributors import COUNT_HASH, Contributors, claim
from securefl.federation.guards import FIRST_WEIGHT, SupportGuard
from securefl.federation.keeper import Keeper
from securefl.federation.participation import Consent, Decision
from securefl.federation.releases import RoundTrace, Trained
from securefl.federation.training import Dropouts, train_federated
from securefl.learning.layout import trunk_layout
from securefl.quantize import Quantizer
from securefl.secagg import run_round, schemes
from securefl.secagg.paillier_sum import shipped_options
from securefl.secagg.replay import verify_transcript
from securefl.types import ClientId, SystemRng

K, HIDDEN = 4, (16, 8)
LAYOUT = trunk_layout(256, HIDDEN)
CLIENTS = tuple(ClientId(i) for i in range(1, 6))
OPTIONS = {"paillier": shipped_options(2048)}


class KilledError(Exception):
    """Stands for the end of the process."""


def config(fewest: int = 2, rounds: int = 2) -> RunConfig:
    return RunConfig(
        data=DataConfig(partners=3),
        model=ModelConfig(hidden=HIDDEN),
        federation=FederationConfig(rounds=rounds, batch=16),
        guard=GuardConfig(k=K, partners=fewest),
    )


def train(
    dataset: Dataset, config: RunConfig, traces: list[RoundTrace] | None = None, *, scheme: str = "masking",
    consent: Consent | None = None, dropouts: Dropouts | None = None, keeper: Keeper | None = None, rng: int = 0,
    kill: int = 99, tensors: Sequence[str] | None = None,
) -> Trained:  # fmt: skip
    def observe(trace: RoundTrace) -> None:
        if traces is not None:
            traces.append(trace)
        if trace.round == kill:
            raise KilledError

    return train_federated(
        dataset, config=config, scheme=scheme, seed=0, rng=CountingRng(rng), guard_k=K, consent=consent, dropouts=dropouts,
        keeper=keeper, observer=observe, tensors=tensors,
    )  # fmt: skip


def claims_in(dataset: Dataset) -> NDArray[np.bool_]:
    """Each partner's claims, (partners, bits), by another route than the code's."""
    found = []
    for partner in range(len(dataset.partners)):
        compounds = sorted(set(dataset.cells(partner, Fold.TRAIN).compound.tolist()))
        found.append(dataset.fingerprints[compounds].toarray().sum(axis=0, dtype=np.int64) >= K)
    return np.array(found)


def moved(trace: RoundTrace) -> dict[int, NDArray[np.bool_]]:
    """By partner, the rows of the first layer that are in its update, bool (bits,)."""
    return {
        client - 1: (LAYOUT.unflatten(update)[FIRST_WEIGHT] != 0).any(axis=1)
        for client, update in trace.updates.items()
    }


def test_a_guard_is_narrowed_by_the_latest_count_alone() -> None:
    guard = SupportGuard.of(np.array([0, 1, 3, 3, 3]), k=3)
    few = guard.narrowed(np.array([0, 0, 1, 2, 3]), partners=2)
    assert few.withheld.tolist() == [False, True, True, False, False]
    assert few.narrowed(np.array([0, 0, 2, 1, 3]), partners=2).withheld.tolist() == [False, True, False, True, False]
    assert guard.narrowed(np.array([0, 0, 1, 1, 1]), partners=1).withheld.tolist() == guard.withheld.tolist()


def test_one_partner_that_claims_every_row_undoes_a_minimum_of_two_and_not_of_three(tiny_dataset: Dataset) -> None:
    claims = claims_in(tiny_dataset)
    only = claims[0] & ~claims[1]
    claims[2] = True
    mine = np.unique(tiny_dataset.cells(0, Fold.TRAIN).compound)
    guard = SupportGuard.on(tiny_dataset.fingerprints[mine], k=K)
    assert (only & guard.supported).sum() >= 10
    for fewest, kept in ((2, False), (3, True)):
        withheld = guard.narrowed(claims.sum(axis=0), partners=fewest).withheld
        assert (withheld[only & guard.supported] == kept).all()


def test_whoever_is_absent_may_have_been_counted_in_any_row() -> None:
    counted = Contributors(np.array([0, 1, 2, 3]), frozenset(CLIENTS[:3]))
    assert counted.among(CLIENTS[:3]).tolist() == [0, 1, 2, 3]
    assert counted.among(CLIENTS[1:3]).tolist() == [0, 0, 1, 2]
    # Two who were not in the count lift nothing.
    assert counted.among(CLIENTS).tolist() == [0, 1, 2, 3]


@pytest.mark.contract
@pytest.mark.parametrize("clip", [1.0, 0.37])
@pytest.mark.parametrize("scheme", sorted(schemes()))
def test_every_scheme_opens_the_same_counts(scheme: str, clip: float) -> None:
    quantizer = Quantizer.for_sum(len(CLIENTS), clip=clip)
    claims = np.random.default_rng(1).random((len(CLIENTS), 200)) < np.linspace(0, 1, 200)
    setup = schemes()[scheme](CLIENTS, quantizer=quantizer, run_id=b"r" * 32, rng=SystemRng(), options=OPTIONS.get(scheme))
    result = run_round(
        setup, {me: claim(mine, quantizer) for me, mine in zip(CLIENTS, claims, strict=True)},
        weights=dict.fromkeys(CLIENTS, quantizer.max_weight), round=1, model_hash=COUNT_HASH, rng=SystemRng(),
        quantizer=quantizer,
    )  # fmt: skip
    opened = Contributors.opened(result, quantizer)
    np.testing.assert_array_equal(opened.counts, claims.sum(axis=0))
    assert set(np.unique(opened.counts)) == set(range(6))
    assert opened.cohort == frozenset(CLIENTS)
    assert result.clipped == 0


@pytest.mark.parametrize("fewest", [2, 3])
def test_rows_of_too_few_partners_are_in_no_update(tiny_dataset: Dataset, fewest: int) -> None:
    traces: list[RoundTrace] = []
    trained = train(tiny_dataset, config(fewest), traces)
    claims = claims_in(tiny_dataset)
    few = claims.sum(axis=0) < fewest
    assert trained.contributors is not None
    np.testing.assert_array_equal(trained.contributors.counts, claims.sum(axis=0))
    assert (few & claims.any(axis=0)).sum() > 10
    for trace in traces:
        assert trace.contributors is trained.contributors
        for rows in moved(trace).values():
            assert not (rows & few).any()
        np.testing.assert_array_equal(trace.result.total[: 256 * HIDDEN[0]].reshape(256, -1)[few], 0.0)
    # Both reasons to withhold a row are counted, and nothing else.
    assert trained.withheld is not None
    support = [tiny_dataset.fingerprints[np.unique(tiny_dataset.cells(p, Fold.TRAIN).compound)].sum(axis=0) for p in range(3)]
    for partner, rows in trained.withheld.items():
        has = np.asarray(support[partner]).ravel() > 0
        np.testing.assert_array_equal(rows, has & (~claims[partner] | few))


def test_without_a_minimum_the_same_rows_do_leave_and_nothing_is_counted(tiny_dataset: Dataset) -> None:
    traces: list[RoundTrace] = []
    assert train(tiny_dataset, config(1), traces).contributors is None
    alone = claims_in(tiny_dataset).sum(axis=0) == 1
    assert np.any([rows & alone for rows in moved(traces[1]).values()], axis=0).sum() > 10
    assert [[one.round for one in trace.exchanges] for trace in traces] == [[1, 2], [3, 4]]


def test_the_operator_sees_no_single_claim(tiny_dataset: Dataset) -> None:
    """In clear each partner's claims are in its message; under masks neither they nor anything alike is."""
    ring = {}
    for partner, mine in enumerate(claims_in(tiny_dataset)):
        quantizer = Quantizer.for_sum(3, clip=1.0)
        steps = quantizer.quantize(claim(mine, quantizer)).steps
        ring[ClientId(partner + 1)] = quantizer.encode(steps, quantizer.max_weight).tobytes()
    for scheme, seen in (("plaintext", True), ("masking", False)):
        traces: list[RoundTrace] = []
        train(tiny_dataset, config(), traces, scheme=scheme)
        count = traces[0].exchanges[0]
        assert (count.round, count.model_hash) == (1, COUNT_HASH)
        sent = [message for message in count.messages if message.sender in ring]
        for client, claimed in ring.items():
            mine = [message.data for message in sent if message.sender == client]
            assert any(claimed in data for data in mine) is seen
        # Every message of the claims' size, word by word: a mask leaves no word as it was, but by chance.
        if not seen:
            masked = {m.sender: m.data for m in sent if m.phase == "masked_input"}
            assert sorted(masked) == sorted(ring)
            for client, data in masked.items():
                words = np.frombuffer(ring[client], "<u4")
                starts = range(len(data) - 4 * len(words) + 1)
                like = max((np.frombuffer(data, "<u4", len(words), start) == words).mean() for start in starts)
                assert like < 0.05


def test_the_transcript_has_the_count_and_replays(tiny_dataset: Dataset, tmp_path: Path) -> None:
    traces: list[RoundTrace] = []
    train(tiny_dataset, config(), traces)
    with TranscriptFile(tmp_path / "transcript.jsonl") as keep:
        for trace in traces:
            keep(trace)
    report = verify_transcript(tmp_path / "transcript.jsonl")
    assert not report.violations
    assert [one.round for one in report.rounds] == [1, 2, 3, 4, 5]
    assert all(one.survivors == {1, 2, 3} for one in report.rounds)
    assert traces[0].model_hash == traces[0].exchanges[1].model_hash


def test_an_absent_partner_takes_one_off_every_count_while_it_is_away() -> None:
    five = make_dataset(partners=5)

    def consent(number: int, partner: int) -> Decision:
        return Decision.ABSENT if (number, partner) == (2, 1) else Decision.TAKE_PART

    traces: list[RoundTrace] = []
    train(five, config(rounds=3), traces, consent=consent)
    counts = claims_in(five).sum(axis=0)
    sent = [np.any(list(moved(trace).values()), axis=0) for trace in traces]
    assert not (sent[1] & (counts < 3)).any()
    assert (sent[2] & (counts == 2)).any()
    assert not (sent[2] & (counts < 2)).any()
    assert [len(trace.exchanges) for trace in traces] == [3, 2, 2], "counted once"


def test_who_drops_out_of_the_count_is_not_in_it(tiny_dataset: Dataset) -> None:
    five = make_dataset(partners=5)
    trained = train(five, config(), dropouts={0: {ClientId(2): "masked_input"}})
    assert trained.contributors is not None
    assert trained.contributors.cohort == {1, 3, 4, 5}
    np.testing.assert_array_equal(trained.contributors.counts, np.delete(claims_in(five), 1, axis=0).sum(axis=0))


def test_a_frozen_first_layer_is_not_counted(tiny_dataset: Dataset) -> None:
    traces: list[RoundTrace] = []
    trained = train(tiny_dataset, config(), traces, tensors=("layers.0.weight", "layers.0.bias"))
    assert trained.contributors is None
    assert [one.round for one in traces[0].exchanges] == [1, 2]


def test_a_minimum_that_nobody_can_meet_is_refused(tiny_dataset: Dataset) -> None:
    asked = config().model_copy(update={"guard": GuardConfig(k=K, partners=4)})
    with pytest.raises(ParameterError, match=r"guard\.partners=4 must be <= 3, the partners of the run"):
        train(tiny_dataset, asked)
    with pytest.raises(ValueError, match=r"guard\.partners=4 must be <= data\.partners=3"):
        config(4)


def test_a_resumed_training_takes_the_count_up(tiny_dataset: Dataset, tmp_path: Path) -> None:
    def keeper() -> Keeper:
        own = [tmp_path / f"partner-{number + 1}" for number in range(3)]
        return Keeper(tmp_path / "resume", own, identity="same", share=float("inf"))

    whole = train(tiny_dataset, config(rounds=4), None)
    with pytest.raises(KilledError):
        train(tiny_dataset, config(rounds=4), keeper=keeper(), kill=2)
    traces: list[RoundTrace] = []
    resumed = train(tiny_dataset, config(rounds=4), traces, keeper=keeper(), rng=7)
    assert resumed.resumed == 2
    assert not [one for trace in traces for one in trace.exchanges if one.model_hash == COUNT_HASH]
    assert [one.round for one in traces[0].exchanges] == [4, 5]
    assert whole.contributors is not None
    assert resumed.contributors is not None
    np.testing.assert_array_equal(resumed.contributors.counts, whole.contributors.counts)
    assert resumed.contributors.cohort == whole.contributors.cohort
    few = whole.contributors.counts < 2
    assert not np.any([rows & few for trace in traces for rows in moved(trace).values()])
    for name, value in whole.model.trunk.items():
        np.testing.assert_array_equal(resumed.model.trunk[name], value)
    assert whole.withheld is not None
    assert resumed.withheld is not None
    for partner, rows in whole.withheld.items():
        np.testing.assert_array_equal(rows, resumed.withheld[partner])
