"""The ring of neighbours: the protocol is right on it, its failure bound holds in simulation, and nobody chooses it alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from masking_world import HashRng, World, make_setup

from securefl.errors import AbortReason, ParameterError, ProtocolAbort, TooFewClients
from securefl.secagg.base import RoundContext
from securefl.secagg.envelope import Channel
from securefl.secagg.masking import MaskingOptions
from securefl.secagg.masking.graph import MAX_RESTARTS, Graph, log2_failure, plan_graph, ring
from securefl.secagg.masking.graph_choice import choose_seed, commit_share, reveal_share
from securefl.secagg.masking.messages import WIRE_ID, Phase, decode_sealed
from securefl.types import ClientId, Secret

OPTIONS = MaskingOptions(neighbours=8, circle_threshold=5)
CLIENTS = frozenset(ClientId(i) for i in range(1, 41))


def test_a_ring_is_symmetric_regular_and_depends_on_its_seed() -> None:
    graph = ring(CLIENTS, 8, 5, seed=b"s" * 32)
    for client, circle in graph.circles.items():
        assert len(circle) == 9
        assert client in circle
        assert all(client in graph.circles[peer] for peer in circle)
    assert ring(CLIENTS, 8, 5, seed=b"s" * 32) == graph
    assert ring(CLIENTS, 8, 5, seed=b"t" * 32).circles != graph.circles


@pytest.mark.parametrize("dropped", [(), (3,), (3, 9)])
def test_the_protocol_opens_the_survivors_sum_on_a_ring(dropped: tuple[int, ...]) -> None:
    world = World(setup=make_setup(20, options=OPTIONS, label="ring")).up_to(Phase.SHARE_KEYS)
    alive = [client for client in world.clients if client not in dropped]
    world.ask(Phase.MASKED_INPUT, clients=alive)
    world.ask(Phase.CONSISTENCY)
    world.ask(Phase.UNMASK)
    assert world.open().total.tolist() == world.expected(alive)


def test_a_client_shares_with_its_neighbours_alone() -> None:
    world = World(setup=make_setup(20, options=OPTIONS, label="ring")).up_to(Phase.SHARE_KEYS)
    for client in world.clients:
        payload = world.sent[Phase.SHARE_KEYS][client][285:]
        assert set(decode_sealed(memoryview(payload))) == world.scheme.graph.circles[client] - {client}


def test_the_ring_changes_with_the_round() -> None:
    setup = make_setup(20, options=OPTIONS, label="ring")
    graphs = [World(setup=setup, round=round).scheme.graph for round in (1, 2)]
    assert graphs[0].circles != graphs[1].circles


def test_the_ring_does_not_change_with_the_model() -> None:
    """Whoever hands out the model could try one after the other until a partner sits among its own."""
    setup = make_setup(20, options=OPTIONS, label="ring")
    context = World(setup=setup).context
    rounds = [setup.round(replace(context, model_hash=bytes([model]) * 32)) for model in range(3)]
    assert rounds[0].graph.circles == rounds[1].graph.circles == rounds[2].graph.circles


def test_a_ring_that_may_fail_is_warned_of_and_a_planned_one_is_not() -> None:
    assert any("the ring fails with probability up to" in warning for warning in make_setup(20, options=OPTIONS).warnings)
    # 70 partners of which 60 must stay, and one colluder.
    plan = plan_graph(70, colluders=1, dropouts=10)
    planned = MaskingOptions(threshold=60, neighbours=plan.neighbours, circle_threshold=plan.threshold)
    assert make_setup(70, options=planned).warnings == ()


@pytest.mark.parametrize(
    ("neighbours", "threshold"), [(7, 5), (8, 4), (8, 9), (20, 11), (18, 5), (0, 3), (-2, 1)]
)  # fmt: skip
def test_an_unsafe_ring_is_refused(neighbours: int, threshold: int) -> None:
    with pytest.raises(ParameterError):
        make_setup(20, options=MaskingOptions(neighbours=neighbours, circle_threshold=threshold))


@pytest.mark.parametrize(("n", "colluders", "dropouts"), [(100, 5, 10), (500, 25, 25), (1000, 50, 50)])
def test_a_plan_keeps_the_bound_and_no_smaller_ring_does(n: int, colluders: int, dropouts: int) -> None:
    plan = plan_graph(n, colluders=colluders, dropouts=dropouts)
    assert plan.log2_failure <= -40
    assert plan.neighbours < n - 1
    for threshold in range(1, plan.neighbours):
        assert log2_failure(n, plan.neighbours - 2, threshold, colluders=colluders, dropouts=dropouts) > -40


def test_a_small_consortium_has_to_use_the_complete_graph() -> None:
    with pytest.raises(ParameterError, match="complete graph"):
        plan_graph(10, colluders=2, dropouts=3)


def failed(graph: Graph, honest: set[int], alive: set[int], colluders: set[int]) -> bool:
    """Whether one of the three conditions of the bound is broken."""
    circles = {int(client): {int(peer) for peer in circle} for client, circle in graph.circles.items()}
    for client, circle in circles.items():
        if client in honest and 2 * graph.threshold <= len(circle) + len(circle & colluders):
            return True
        if len((circle & alive) - {client}) < graph.threshold:
            return True
    survivors = honest & alive
    reached, frontier = set(), [min(survivors)]
    while frontier:
        client = frontier.pop()
        if client not in reached:
            reached.add(client)
            frontier.extend(circles[client] & survivors)
    return reached != survivors


@pytest.mark.statistical
@pytest.mark.parametrize(("neighbours", "threshold"), [(12, 9), (16, 11)])
def test_the_union_bound_holds_in_simulation_and_is_not_vacuous(neighbours: int, threshold: int) -> None:
    """4,000 rings of 40 with 3 colluders and 4 dropouts, seeded; the bound is 4 times one ring's because of restarts."""
    bound = 2 ** log2_failure(40, neighbours, threshold, colluders=3, dropouts=4) / (1 + MAX_RESTARTS)
    generator, trials, failures = np.random.default_rng(11), 4000, 0
    for trial in range(trials):
        drawn = [int(client) for client in generator.permutation(40) + 1]
        colluders, dropped = set(drawn[:3]), set(drawn[3:7])
        everyone = set(range(1, 41))
        graph = ring(CLIENTS, neighbours, threshold, seed=trial.to_bytes(32, "little"))
        failures += failed(graph, everyone - colluders, everyone - dropped, colluders)
    rate, error = failures / trials, math.sqrt(max(bound * (1 - bound), 1e-9) / trials)
    assert rate <= bound + 5 * error
    assert bound <= 1
    assert rate >= bound / 10  # the control: a bound far above what happens would pass the first line and say nothing


# The choice.


class Choice:
    def __init__(self, epoch: int = 0) -> None:
        self.setup = make_setup(4)
        context = RoundContext(run_id=self.setup.run_id, round=0, roster_hash=self.setup.roster_hash, model_hash=bytes(32))
        self.channel = Channel(wire_id=WIRE_ID, context=context, keys=self.setup.signed.roster.keys)
        self.keys = {me: party.identity for me, party in self.setup.parties.items()}
        self.shares = {me: Secret(HashRng(f"share {me}").bytes(32)) for me in self.keys}
        self.sealed = {me: commit_share(self.channel, me, self.shares[me], epoch, identity=self.keys[me]) for me in self.keys}
        self.commits = {me: sealed.message for me, sealed in self.sealed.items()}

    def reveal(self, me: int, share: Secret | None = None) -> bytes:
        client = ClientId(me)
        chosen = share or self.shares[client]
        return reveal_share(
            self.channel, client, chosen, self.commits, own=self.sealed[client], identity=self.keys[client]
        )  # fmt: skip

    def reveals(self) -> dict[ClientId, bytes]:
        return {me: self.reveal(me) for me in self.keys}


def test_everybody_computes_the_same_seed_and_every_share_changes_it() -> None:
    choice, other = Choice(), Choice()
    seed = choose_seed(choice.channel, choice.commits, choice.reveals())
    assert seed == choose_seed(choice.channel, choice.commits, choice.reveals())
    other.shares[ClientId(3)] = Secret(b"x" * 32)
    other.sealed[ClientId(3)] = commit_share(other.channel, ClientId(3), Secret(b"x" * 32), 0, identity=other.keys[ClientId(3)])
    other.commits[ClientId(3)] = other.sealed[ClientId(3)].message
    assert choose_seed(other.channel, other.commits, other.reveals()) != seed


def test_a_share_cannot_be_changed_after_the_commitment() -> None:
    choice = Choice()
    reveals = {**choice.reveals(), ClientId(2): choice.reveal(2, Secret(b"y" * 32))}
    with pytest.raises(ProtocolAbort) as caught:
        choose_seed(choice.channel, choice.commits, reveals)
    assert (caught.value.reason, caught.value.party) == (AbortReason.BAD_COMMITMENT, 2)


def test_a_missing_reveal_restarts_at_most_three_times() -> None:
    choice = Choice()
    reveals = choice.reveals()
    del reveals[ClientId(4)]
    with pytest.raises(TooFewClients):
        choose_seed(choice.channel, choice.commits, reveals)
    Choice(epoch=MAX_RESTARTS)
    with pytest.raises(ProtocolAbort, match="epoch=4 must be <= 3"):
        Choice(epoch=MAX_RESTARTS + 1)


def test_nobody_reveals_before_all_commitments_are_there_or_on_other_ones() -> None:
    choice = Choice()
    reveals = choice.reveals()
    missing = dict(choice.commits)
    del missing[ClientId(4)]
    choice.commits, whole = missing, choice.commits
    with pytest.raises(TooFewClients):
        choice.reveal(1)
    later = Choice(epoch=1)
    choice.commits = {**whole, ClientId(4): later.commits[ClientId(4)]}
    with pytest.raises(ProtocolAbort) as caught:
        choice.reveal(1)
    assert caught.value.reason is AbortReason.WRONG_ROUND
    choice.commits = {**whole, ClientId(1): later.commits[ClientId(1)]}
    with pytest.raises(ProtocolAbort):
        choice.reveal(1)
    with pytest.raises(ProtocolAbort) as caught:
        choose_seed(later.channel, later.commits, reveals)
    assert caught.value.reason is AbortReason.INCONSISTENT_VIEW
