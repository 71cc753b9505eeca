"""Rounds of two rosters that share their partners, over two models, with partners that restart, run out of disc or drop out.

Hypothesis plays the operator: whom it asks, whom it declares dropped, when it begins the next round. Whatever it does, the sums
over one model for which enough partners released shares show no few partners together.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from masking_world import CHACHA, World, make_setup
from test_full_disc import full_disc

from securefl.errors import ProtocolAbort, SecureFLError
from securefl.secagg.journal import FileJournal
from securefl.secagg.ledger import Ledger
from securefl.secagg.masking import MaskingSetup
from securefl.secagg.masking.client import Unmasked
from securefl.secagg.masking.messages import Phase
from securefl.secagg.masking.protocol import Party
from securefl.types import ClientId

N = 8
CLIENTS = st.integers(1, N).map(ClientId)
SOME = st.frozensets(CLIENTS, max_size=3)
ROSTERS = [make_setup(N, label="runs"), make_setup(N, label="runs", options=CHACHA)]
MODELS = [b"a" * 32, b"b" * 32]


class Runs(RuleBasedStateMachine):
    """The keys are the same in both rosters; every partner has a folder for each."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.setups = [replace(setup, parties={}) for setup in ROSTERS]
        self.parties: list[dict[ClientId, Party]] = [{}, {}]
        for number in range(len(ROSTERS)):
            for client in ROSTERS[number].parties:
                self.read(number, client)
        self.round = 0
        self.roster, self.model = 0, 0
        self.world: World | None = None
        self.phase = Phase.ADVERTISE_KEYS
        self.opened: dict[tuple[int, int], list[frozenset[ClientId]]] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def read(self, number: int, client: ClientId) -> None:
        """A partner's journal and ledger as the disc has them."""
        setup, folder = ROSTERS[number], self.folder / f"{number}-{client}"
        folder.mkdir(exist_ok=True)
        roster = setup.signed.roster
        ledger = Ledger(roster.clients, roster.policy, path=folder / "ledger.json")
        journal = FileJournal(folder / "journal.json", run_id=setup.run_id)
        self.parties[number][client] = Party(setup.parties[client].identity, journal, ledger)

    @property
    def setup(self) -> MaskingSetup:
        return replace(ROSTERS[self.roster], parties=self.parties[self.roster])

    @rule(roster=st.integers(0, 1), model=st.integers(0, 1), absent=SOME)
    def begin(self, roster: int, model: int, absent: frozenset[ClientId]) -> None:
        self.round += 1
        self.roster, self.model, self.phase = roster, model, Phase.ADVERTISE_KEYS
        self.world = World(length=3, setup=self.setup, round=self.round, model_hash=MODELS[model], absent=absent)

    @rule(lost=SOME, full=SOME)
    def ask(self, lost: frozenset[ClientId], full: frozenset[ClientId] = frozenset()) -> None:
        """The operator goes on without those ``lost``; some have no room on their disc just now."""
        if self.world is None or self.phase is Phase.UNMASK:
            return
        world, self.phase = self.world, Phase(self.phase + 1)
        heard = [client for client in world.sent[Phase(self.phase - 1)] if client not in lost]
        message = world.bundle(self.phase, heard)
        for client in heard:
            with ExitStack() as stack:
                if client in full:
                    stack.enter_context(full_disc())
                if client in world.states:
                    self.show(client, message)
        if self.phase is Phase.UNMASK:
            self.collect()

    def show(self, client: ClientId, message: bytes) -> None:
        assert self.world is not None
        try:
            self.world.show(client, message, self.phase)
        except SecureFLError:
            del self.world.states[client]  # it has stopped this round

    def collect(self) -> None:
        """The operator has what it needs once as many as the threshold have released, whatever else went wrong."""
        assert self.world is not None
        if len(self.world.sent[Phase.UNMASK]) < self.setup.signed.roster.policy.threshold:
            return
        done = [state for state in self.world.states.values() if isinstance(state, Unmasked)]
        (survivors,) = {state.survivors for state in done}
        self.opened.setdefault((self.roster, self.model), []).append(survivors)

    @rule(client=CLIENTS)
    def restart(self, client: ClientId) -> None:
        for number in range(len(ROSTERS)):
            self.read(number, client)
        if self.world is not None:
            self.world.states.pop(client, None)

    @rule(absent=SOME)
    def a_whole_round(self, absent: frozenset[ClientId]) -> None:
        self.begin(self.roster, self.model, absent)
        for _ in range(4):
            self.ask(frozenset())

    @invariant()
    def the_sums_over_one_model_show_no_few_partners(self) -> None:
        for rows in self.opened.values():
            roster = ROSTERS[0].signed.roster
            judge = Ledger(roster.clients, roster.policy)
            for round, row in enumerate(rows):
                judge.admit(bytes(32), row, round=round)


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=8, stateful_step_count=14, deadline=None)


def played() -> Runs:
    """Everybody's sum, then all but one partner's over the same model."""
    runs = Runs()
    runs.a_whole_round(frozenset())
    runs.restart(ClientId(1))
    runs.a_whole_round(frozenset({ClientId(3)}))
    runs.teardown()
    return runs


def test_the_machine_opens_sums_and_its_judge_sees_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the invariant could hold because nothing is ever opened, or because nothing is seen."""
    everybody = ROSTERS[0].signed.roster.clients
    assert played().opened == {(0, 0): [everybody]}
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "require", lambda self, lineage, survivors, *, round: None)
        patch.setattr(Ledger, "told", lambda self, lineage, survivors: ())
        runs = played()
    assert runs.opened == {(0, 0): [everybody, everybody - {3}]}
    with pytest.raises(ProtocolAbort, match="partner 3"):
        runs.the_sums_over_one_model_show_no_few_partners()
