"""Any interleaving of drops, replays, duplicates, swapped, truncated, flipped or foreign messages: right sum or abort.

Hypothesis plays a network between honest parties that may do anything to a message except forge a signature. Whatever it does,
a sum that the operator opens is the sum of the survivors that it names, a client never releases both kinds of share of
anybody, and no vector goes over the wire unmasked.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from masking_world import World, make_setup

from securefl.errors import SecureFLError
from securefl.secagg.base import ClientState, Continue, Finished, OpenedSum, ServerState
from securefl.secagg.envelope import head_size
from securefl.secagg.masking.messages import WIRE_ID, Phase, decode_released
from securefl.types import ClientId

CLIENTS = 5
SETUP = make_setup(CLIENTS, label="network")
SEVEN = make_setup(7, label="seven")
_rounds = iter(range(1, 1_000_000))


def released_kinds(message: bytes) -> set[tuple[int, int]]:
    """The (owner, kind) pairs in a client's message, if it is an unmasking answer."""
    if message[14] != Phase.UNMASK:
        return set()
    return {(row.owner, row.kind) for row in decode_released(memoryview(message[head_size(WIRE_ID) :]))}


class Network(RuleBasedStateMachine):
    """The operator and the clients are honest; the network is not."""

    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.round = next(_rounds)
        self.world = World(setup=SETUP, round=self.round, model_hash=self.round.to_bytes(32, "big"))
        self.states: dict[ClientId, ClientState | None] = dict(self.world.states)
        self.server: ServerState | None = self.world.scheme.server(frozenset(self.world.clients))
        self.to_server = dict(self.world.sent[Phase.ADVERTISE_KEYS])
        self.to_clients: dict[ClientId, bytes] = {}
        self.old: list[bytes] = list(self.to_server.values())
        self.kinds: dict[ClientId, set[tuple[int, int]]] = {client: set() for client in self.world.clients}
        self.opened: OpenedSum | None = None

    @rule(client=st.integers(1, CLIENTS))
    def drop_upwards(self, client: int) -> None:
        self.to_server.pop(ClientId(client), None)

    @rule(client=st.integers(1, CLIENTS))
    def drop_downwards(self, client: int) -> None:
        self.to_clients.pop(ClientId(client), None)

    @rule(client=st.integers(1, CLIENTS), cut=st.integers(1, 400))
    def truncate_upwards(self, client: int, cut: int) -> None:
        if ClientId(client) in self.to_server:
            self.to_server[ClientId(client)] = self.to_server[ClientId(client)][:-cut]

    @rule(client=st.integers(1, CLIENTS), at=st.integers(0, 5000), bit=st.integers(0, 7), up=st.booleans())
    def flip(self, client: int, at: int, bit: int, up: bool) -> None:
        queue = self.to_server if up else self.to_clients
        message = bytearray(queue.get(ClientId(client), b""))
        if message:
            message[at % len(message)] ^= 1 << bit
            queue[ClientId(client)] = bytes(message)

    @rule(client=st.integers(1, CLIENTS), which=st.integers(0, 1000), up=st.booleans())
    def replay(self, client: int, which: int, up: bool) -> None:
        queue = self.to_server if up else self.to_clients
        queue[ClientId(client)] = self.old[which % len(self.old)]

    @rule(left=st.integers(1, CLIENTS), right=st.integers(1, CLIENTS), up=st.booleans())
    def swap(self, left: int, right: int, up: bool) -> None:
        queue = self.to_server if up else self.to_clients
        if ClientId(left) in queue and ClientId(right) in queue:
            queue[ClientId(left)], queue[ClientId(right)] = queue[ClientId(right)], queue[ClientId(left)]

    @rule(client=st.integers(1, CLIENTS))
    def from_another_round(self, client: int) -> None:
        other = World(setup=SETUP, round=next(_rounds))
        self.to_server[ClientId(client)] = other.sent[Phase.ADVERTISE_KEYS][ClientId(client)]

    @rule(client=st.integers(1, CLIENTS), twice=st.booleans())
    def deliver_down(self, client: int, twice: bool) -> None:
        me = ClientId(client)
        message = self.to_clients.pop(me, None)
        for _ in range(2 if twice else 1):
            self._deliver(me, message)

    @rule()
    def deliver_all(self) -> None:
        for me in list(self.to_clients):
            self._deliver(me, self.to_clients.pop(me))

    def _deliver(self, me: ClientId, message: bytes | None) -> None:
        state = self.states[me]
        if message is None or state is None:
            return
        try:
            step = state.next(message)
        except SecureFLError:
            self.states[me] = None  # the client has stopped the round for itself
            return
        assert isinstance(step, Continue)
        self.states[me] = step.state
        self.to_server[me] = step.outbound
        self.old.append(step.outbound)
        self.kinds[me] |= released_kinds(step.outbound)

    @rule()
    def operator_goes_on(self) -> None:
        if self.server is None:
            return
        inbound, self.to_server = self.to_server, {}
        try:
            step = self.server.next(inbound)
        except SecureFLError:
            self.server = None
            return
        if isinstance(step, Finished):
            self.opened, self.server = step.result, None
            return
        self.server, self.to_clients = step.state, dict(step.outbound)
        self.old.extend(step.outbound.values())

    @rule()
    def a_whole_phase(self) -> None:
        self.operator_goes_on()
        self.deliver_all()

    @rule()
    def two_whole_phases(self) -> None:
        self.a_whole_phase()
        self.a_whole_phase()

    @invariant()
    def an_opened_sum_is_the_survivors_sum(self) -> None:
        if self.opened is not None:
            assert self.opened.total.tolist() == self.world.expected(self.opened.survivors)
            assert len(self.opened.survivors) >= SETUP.signed.roster.policy.required

    @invariant()
    def nobody_releases_both_kinds(self) -> None:
        for kinds in self.kinds.values():
            assert len({owner for owner, _ in kinds}) == len(kinds)

    @invariant()
    def no_vector_is_sent_unmasked(self) -> None:
        for client, vector in self.world.inputs.items():
            plain = vector.tobytes()
            assert not any(plain in message for message in self.old), f"client {client}"


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_the_machine_reaches_an_opening_also_through_losses() -> None:
    """Without this the invariants could hold because nothing is ever opened."""
    network = Network()
    network.a_whole_phase()
    network.a_whole_phase()
    network.drop_upwards(3)
    network.replay(3, 0, False)
    for _ in range(3):
        network.a_whole_phase()
    assert network.opened is not None
    assert network.opened.survivors == frozenset({1, 2, 4, 5})
    network.an_opened_sum_is_the_survivors_sum()
    assert all(network.kinds[ClientId(c)] for c in (1, 2, 4, 5))


@settings(max_examples=25, deadline=None)
@given(
    drops=st.dictionaries(st.integers(1, 7), st.sampled_from(list(Phase)), max_size=4),
    order=st.permutations(range(1, 8)),
)
@pytest.mark.property
def test_any_dropouts_give_the_survivors_sum_or_an_abort(drops: Mapping[int, Phase], order: list[int]) -> None:
    round = next(_rounds)
    absent = [client for client, phase in drops.items() if phase is Phase.ADVERTISE_KEYS]
    world = World(setup=SEVEN, round=round, model_hash=round.to_bytes(32, "big"), absent=absent)
    try:
        for phase in Phase:
            if phase is not Phase.ADVERTISE_KEYS:
                before = world.sent[Phase(phase - 1)]
                world.ask(phase, clients=[c for c in order if ClientId(c) in before and drops.get(c, 9) > phase])
        opened = world.open()
    except SecureFLError:
        # With threshold 5 of 7 an abort needs at least three dropouts.
        assert len(drops) >= 3
        return
    assert opened.total.tolist() == world.expected(opened.survivors)
