"""Federated training: rounds of local training whose updates are summed by a secure-aggregation protocol, every round.

One process plays all parties, so its figures are costs, errors and performance, never evidence of privacy. Early stopping
looks at the VALIDATION fold only, through one opened score a round; the TEST and AUDIT folds are not read here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.errors import AbortReason, ParameterError, ProtocolAbort, TooFewClients
from securefl.federation.collected import Collected
from securefl.federation.contributors import COUNT_HASH, Contributors, claim
from securefl.federation.guards import FIRST_WEIGHT
from securefl.federation.keeper import Keeper
from securefl.federation.operator import Operator
from securefl.federation.participation import LASTING, Consent, Decision, Departure, planned, willing
from securefl.federation.partner import Partner, Terms
from securefl.federation.protocols import quantizer_for, scaled_weights, set_up
from securefl.federation.releases import Exchange, Observer, RoundTrace, Trained, aggregated
from securefl.federation.server_optimiser import server_optimiser
from securefl.federation.shared_trunk import SharedTrunk
from securefl.federation.snapshots import Outgoing, restored, snapshot
from securefl.federation.starts import first_trunk, heads_of
from securefl.federation.sum_noise import SumNoise
from securefl.federation.threads import threads_for
from securefl.learning.family import inputs_of, layout_of, require_private_step
from securefl.learning.layout import TensorLayout
from securefl.learning.local import PrivateTraining
from securefl.learning.model import Model
from securefl.quantize import Quantizer
from securefl.secagg import RoundResult, run_round
from securefl.secagg.base import Setup
from securefl.secagg.rounds import Encoder
from securefl.types import ClientId, Progress, Rng, silent

Dropouts = Mapping[int, Mapping[ClientId, str]]
"""By round (from 1; 0 is the count of contributors): the clients that go silent, and the phase before whose message they do."""


@dataclass(kw_only=True)
class _Federation:
    """All parties of a run, held together by the round loop."""

    partners: Sequence[Partner]
    operator: Operator
    layout: TensorLayout
    setup: Setup
    quantizer: Quantizer
    rng: Rng
    dropouts: Dropouts
    in_turn: bool
    noise: SumNoise | None = None
    fewest: int = 1
    contributors: Contributors | None = None
    consent: Consent = willing
    departures: list[Departure] = dataclasses.field(default_factory=list)
    present: Sequence[Partner] = ()
    exchanges: list[Exchange] = dataclasses.field(default_factory=list)

    @property
    def clients(self) -> list[ClientId]:
        """The numbers on the roster, from 1, of the partners that take part in this round."""
        return [ClientId(partner.number + 1) for partner in self.present]

    @property
    def gone(self) -> frozenset[int]:
        """The partners that have stopped or withdrawn."""
        return frozenset(one.partner for one in self.departures if one.decision in LASTING)

    def ask(self, number: int) -> bool:
        """Ask every partner that is still there for its say before round ``number``; return whether nobody vetoes."""
        said = {p.number: self.consent(number, p.number) for p in self.partners if p.number not in self.gone}
        new = [Departure(number, partner, decision) for partner, decision in said.items() if decision is not Decision.TAKE_PART]
        self.departures += new
        self.present = [p for p in self.partners if said.get(p.number) is Decision.TAKE_PART]
        return all(one.decision is not Decision.VETO for one in new)

    def weights(self, counts: Sequence[int]) -> dict[ClientId, int]:
        """Return the clients' weights for ``counts``."""
        return dict(zip(self.clients, scaled_weights(counts), strict=True))

    def outgoing(self, number: int) -> Outgoing:
        """Hand out the trunk, train everywhere, and return what the partners are about to put into the sum."""
        if self.fewest > 1 and self.contributors is None:
            self.contributors = self._count()
        updates = dict(zip(self.clients, self._train(number), strict=True))
        return Outgoing(updates, self.noise.inputs(updates, self.rng) if self.noise else {})

    def round(self, number: int, outgoing: Outgoing) -> RoundTrace:
        """Aggregate, and move the trunk."""
        before, updates = dict(self.operator.trunk), outgoing.updates
        weights = self.weights([partner.records if self.noise is None else 1 for partner in self.present])
        sent: dict[ClientId, NDArray[np.float32]] = {}
        model, encode = self.operator.model_hash, self.noise.encoder(outgoing.inputs, sent) if self.noise else None
        result = self._aggregate(updates, weights, protocol_round=2 * number - 1, number=number, model=model, encode=encode)
        if self.noise is not None:
            # What was handed to aggregation is the clipped and noised vector: attacks must not read a better one.
            updates, result = sent, self.noise.finished(result, rng=self.rng)
        self.operator.apply(result, round=number)
        for partner in self.partners:
            if partner.number not in self.gone:
                partner.follow(result, round=number)
        self._hand_out(number)
        return RoundTrace(
            round=number, names=self.layout.names, before=before, updates=updates, weights=weights, result=result,
            model_hash=model, setup=self.setup, contributors=self.contributors,
        )  # fmt: skip

    def score(self, number: int) -> float | None:
        """Return the mean validation score of the trunk, weighted by cells, as the protocol opens it; none without a cell."""
        scores = {
            client: np.array([partner.score()], dtype=np.float64)
            for client, partner in zip(self.clients, self.present, strict=True)
        }
        weights = self.weights([partner.validation_cells for partner in self.present])
        model = self.operator.score_hash
        result = self._aggregate(scores, weights, protocol_round=2 * number, number=number, model=model)
        return float(result.total[0]) / result.weight if result.weight else None

    def _count(self) -> Contributors:
        """Open how many of those who take part would send each row of the first layer."""
        guards = {ClientId(partner.number + 1): partner.guard for partner in self.present if partner.guard is not None}
        claims = {client: claim(guard.supported, self.quantizer) for client, guard in guards.items()}
        weights = dict.fromkeys(claims, self.quantizer.max_weight)
        result = self._aggregate(claims, weights, protocol_round=0, number=0, model=COUNT_HASH)
        return Contributors.opened(result, self.quantizer)

    def _aggregate(
        self,
        vectors: Mapping[ClientId, NDArray[np.float32] | NDArray[np.float64]],
        weights: Mapping[ClientId, int],
        *,
        protocol_round: int,
        number: int,
        model: bytes,
        encode: Encoder | None = None,
    ) -> RoundResult:
        # The protocol's rounds count from 1: where contributors are counted first, that sum is the first.
        protocol_round += self.fewest > 1
        result = run_round(
            self.setup,
            vectors,
            weights=weights,
            round=protocol_round,
            model_hash=model,
            rng=self.rng,
            quantizer=self.quantizer,
            dropouts=self.dropouts.get(number, {}),
            encode=encode,
        )
        self.exchanges.append(Exchange(protocol_round, model, result.transcript))
        return result

    def take_exchanges(self) -> tuple[Exchange, ...]:
        """Return the messages since the last call; they are not kept."""
        taken, self.exchanges = tuple(self.exchanges), []
        return taken

    def warm_up(self, epochs: int) -> None:
        """Let every partner train its own heads on the first trunk for ``epochs``: a private arm's partner-local warm start."""
        for partner in self.partners if epochs else ():
            partner.receive(self.operator.trunk)
            partner.warm_up(epochs)

    def _hand_out(self, number: int) -> None:
        for partner in self.present:
            partner.receive(self.operator.trunk, round=number)
            if self.contributors is not None:
                partner.narrow(self.contributors.among(self.clients), partners=self.fewest)

    def _train(self, number: int) -> list[NDArray[np.float32]]:
        """Return the update of every partner that takes part."""
        self._hand_out(number)
        if self.in_turn:
            return [partner.update() for partner in self.present]
        with threads_for(max(1, len(self.present))) as pool:
            return list(pool.map(Partner.update, self.present))


def train_federated(
    dataset: Dataset,
    *,
    config: RunConfig,
    scheme: str,
    seed: int,
    rng: Rng,
    guard_k: int | None = None,
    private: PrivateTraining | None = None,
    noise: SumNoise | None = None,
    start: Model | None = None,
    rounds: int | None = None,
    tensors: Sequence[str] | None = None,
    dropouts: Dropouts | None = None,
    consent: Consent | None = None,
    options: object | None = None,
    progress: Progress = silent,
    observer: Observer | None = None,
    keeper: Keeper | None = None,
    device: str = "cpu",
) -> Trained:
    """Return what federated training of all partners of ``dataset`` under ``scheme`` gives.

    Deterministic given ``seed`` on one machine, whatever ``rng`` draws and however many threads torch has: exact schemes
    open the same sums. Only ``dataset.fold`` decides what is trained on. A private arm opens no validation score (its
    budget doesn't cover one) and ends with its last round.

    Args:
        guard_k: minimum support of a first-layer row (:mod:`securefl.federation.guards`); ``config.guard.partners`` holds then.
        private: trainers and scaling that replace the plain ones.
        noise: partner-level noise in every sum (:mod:`securefl.federation.sum_noise`); weights are then 1.
        start: model to start from, trunk and heads; ``None`` for fresh weights from ``seed``, no heads for fresh ones.
        rounds: how many at most; ``config.federation.rounds`` by default.
        tensors: names of the trunk's tensors that are trained and aggregated; the others are frozen; all by default.
        dropouts: who goes silent in which round and phase.
        consent: asked before each round who takes part (:mod:`securefl.federation.participation`); by default what
            ``config.federation.departures`` plans, which is nothing.
        options: the scheme's own options.
        observer: called after every round with what an auditor of the simulation sees.
        keeper: keeps the state of the rounds on disk and takes it up again (:mod:`securefl.federation.keeper`).

    Raises:
        InputError: a partner can't train (no cells, a task with one class), or the loss is not finite.
        ParameterError: ``tensors``, ``start`` or a bound doesn't fit.
        ProtocolAbort: a party stopped a round, too few were left for one, or a partner vetoed the first.
    """
    if private is not None:
        _require_private(config, device)
    dataset, count = inputs_of(dataset, config.model), _checked(config.federation.rounds if rounds is None else rounds)
    layout = layout_of(dataset, config.model)
    chosen = layout.only(tuple(tensors)) if tensors is not None else layout
    terms = Terms(layout=chosen, config=config, seed=seed, guard_k=guard_k, private=private, device=device)
    protocol = _Protocol(
        scheme=scheme, rng=rng, options=options, dropouts=dropouts or {}, noise=noise,
        consent=consent or planned(config.federation.departures),
    )  # fmt: skip
    federation = _assemble(dataset, layout, terms, protocol, start)
    scored, resumes = private is None and noise is None, keeper is not None and keeper.saved is not None
    federation.warm_up(0 if scored or resumes else config.dp.local_start)
    return _run(federation, count, config=config, scored=scored, progress=progress, observer=observer, keeper=keeper)


def _require_private(config: RunConfig, device: str) -> None:
    require_private_step(config.model)
    if device != "cpu":
        raise ParameterError(f"device={device!r} must be 'cpu' for a private arm: its noise is drawn and added there")


def _checked(rounds: int) -> int:
    if rounds < 1:
        raise ParameterError(f"rounds={rounds} must be >= 1")
    return rounds


@dataclass(frozen=True, kw_only=True)
class _Protocol:
    """What decides about aggregation in a run."""

    scheme: str
    rng: Rng
    options: object | None
    dropouts: Dropouts
    consent: Consent
    noise: SumNoise | None


def _assemble(
    dataset: Dataset, layout: TensorLayout, terms: Terms, protocol: _Protocol, start: Model | None
) -> _Federation:
    """Return all parties, the partners with the heads of ``start`` where it has any."""
    # Each partner works out the trunk by itself; what the operator hands out is compared with it.
    fewest, numbers = _fewest(terms, len(dataset.partners)), range(len(dataset.partners))
    partners = [Partner(dataset, number, terms, _expected(dataset, layout, terms, start)) for number in numbers]
    operator = Operator(
        first_trunk(dataset, terms.config, terms.seed, start),
        layout=layout,
        aggregated=terms.layout,
        patience=terms.config.federation.patience,
        server=server_optimiser(terms.config.federation),
    )
    if start is not None and start.heads:
        for partner in partners:
            partner.take_heads(heads_of(start, partner.number))
    quantizer = protocol.noise.quantizer() if protocol.noise else quantizer_for(terms.config.secagg, len(partners))
    clients = [ClientId(partner.number + 1) for partner in partners]
    return _Federation(
        partners=partners,
        operator=operator,
        layout=terms.layout,
        setup=set_up(protocol.scheme, clients, quantizer=quantizer, rng=protocol.rng, options=protocol.options),
        quantizer=quantizer,
        rng=protocol.rng,
        dropouts=protocol.dropouts,
        consent=protocol.consent,
        noise=protocol.noise,
        fewest=fewest,
        # Noise must come from the generator in a fixed order, so private trainers take turns.
        in_turn=terms.private is not None,
    )


def _fewest(terms: Terms, parties: int) -> int:
    """Return how many partners a row of the first layer needs: 1 without a guard, or where the first layer stays."""
    if terms.guard_k is None or FIRST_WEIGHT not in terms.layout.names:
        return 1
    fewest = terms.config.guard.partners
    if fewest > parties:
        raise ParameterError(f"guard.partners={fewest} must be <= {parties}, the partners of the run")
    return fewest


def _expected(dataset: Dataset, layout: TensorLayout, terms: Terms, start: Model | None) -> SharedTrunk:
    return SharedTrunk(
        first_trunk(dataset, terms.config, terms.seed, start),
        layout=layout,
        aggregated=terms.layout,
        server=server_optimiser(terms.config.federation),
    )


def _run(
    federation: _Federation,
    count: int,
    *,
    config: RunConfig,
    scored: bool,
    progress: Progress,
    observer: Observer | None,
    keeper: Keeper | None,
) -> Trained:
    operator, collected = federation.operator, Collected()
    resumed = 0 if keeper is None or keeper.saved is None else keeper.saved.round
    waiting = restored(keeper.saved, federation, collected) if keeper is not None and keeper.saved is not None else None
    number = max(0, resumed - 1)
    while number < count and not operator.should_stop(number):
        if waiting is None and not _all_consent(federation, collected, number + 1):
            break
        number += 1
        outgoing = waiting or federation.outgoing(number)
        # Noise that was drawn must be the noise that is sent, so a noised round is always kept.
        if keeper is not None and waiting is None and (not scored or keeper.due()):
            keeper.save(snapshot(number, outgoing, federation, collected))
        waiting = None
        trace = federation.round(number, outgoing)
        collected.take(trace, federation.present, federation.layout, optimiser=config.federation.optimiser)
        score = federation.score(number) if scored else None
        if score is None:
            operator.keep(number)
        if score is None or operator.judge(score, round=number):
            collected.keep_heads(federation.present)
        exchanges = federation.take_exchanges()
        if observer is not None:
            observer(dataclasses.replace(trace, exchanges=exchanges))
        progress("rounds", number, count)
    return Trained(
        model=Model(trunk=operator.best, heads=collected.heads),
        rounds=number,
        best_round=operator.best_round,
        curve=operator.curve,
        parameters=federation.layout.size,
        training_seconds=sum(partner.seconds for partner in federation.partners),
        aggregated=aggregated(collected.results, warnings=federation.setup.warnings),
        withheld=collected.withheld or None,
        contributors=federation.contributors,
        release=collected.release,
        departures=tuple(federation.departures),
        left=collected.left,
        resumed=resumed,
    )


def _all_consent(federation: _Federation, collected: Collected, number: int) -> bool:
    """Ask before round ``number``, let go who leaves, and return whether the round takes place.

    Raises:
        ProtocolAbort: it does not, and there was none before whose model could stand.
    """
    before = len(federation.departures)
    agreed = federation.ask(number)
    for one in federation.departures[before:]:
        if one.decision in LASTING:
            collected.let_go(one.partner, one.decision, federation.operator.best)
        if one.decision is Decision.VETO and number == 1:
            raise ProtocolAbort(AbortReason.VETOED, round=number, party=one.partner + 1)
    if agreed and not federation.present:
        raise TooFewClients(round=number, have=0, need=1)
    return agreed
