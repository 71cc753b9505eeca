"""The masking protocol among honest parties: right sums, dropouts, retries, restarts, and what crosses the wire."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from masking_world import CHACHA, MODEL, HashRng, World, make_input, make_setup

from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason, InputError, ParameterError, ProtocolAbort, TooFewClients
from securefl.secagg import run_round
from securefl.secagg.base import Continue, RoundContext
from securefl.secagg.journal import MAX_SKIP, FileJournal, MemoryJournal
from securefl.secagg.masking import MaskingOptions, PairwiseMasking
from securefl.secagg.masking.messages import PHASES, Phase
from securefl.secagg.policy import Policy
from securefl.types import ClientId

LAST = Phase.UNMASK


@pytest.mark.parametrize("ring_bits", [32, 64])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_everyone_stays(n: int, ring_bits: int) -> None:
    world = World(n, ring_bits=ring_bits).up_to(LAST)
    opened = world.open()
    assert opened.total.tolist() == world.expected(range(1, n + 1))
    assert opened.survivors == frozenset(range(1, n + 1))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("dropped", [1, 3, 7])
def test_one_of_seven_drops_in_any_phase(phase: str, dropped: int) -> None:
    world = World(7, absent=[dropped] if phase == "advertise_keys" else [])
    alive = [client for client in range(1, 8) if client != dropped]
    for step in Phase:
        if step is not Phase.ADVERTISE_KEYS:
            if step.name.lower() == phase:
                world.ask(step, clients=alive)
            else:
                world.ask(step)
    opened = world.open()
    late = phase in ("consistency", "unmask")
    survivors = frozenset(range(1, 8)) if late else frozenset(alive)
    assert opened.survivors == survivors
    assert opened.total.tolist() == world.expected(survivors)


@pytest.mark.parametrize("dropped", list(itertools.combinations(range(1, 8), 2)))
def test_any_two_of_seven_with_no_colluder_drop_before_their_input(dropped: tuple[int, int]) -> None:
    world = World(7).up_to(Phase.SHARE_KEYS)
    alive = set(range(1, 8)) - set(dropped)
    world.ask(Phase.MASKED_INPUT, clients=sorted(alive))
    world.ask(Phase.CONSISTENCY)
    world.ask(Phase.UNMASK)
    assert world.open().total.tolist() == world.expected(alive)


def test_one_dropout_too_many_aborts() -> None:
    world = World(7).up_to(Phase.SHARE_KEYS)
    world.ask(Phase.MASKED_INPUT, clients=[1, 2, 3, 4])
    server = world.scheme.server(frozenset(world.clients))
    for phase in (Phase.ADVERTISE_KEYS, Phase.SHARE_KEYS):
        step = server.next(world.sent[phase])
        assert isinstance(step, Continue)
        server = step.state
    with pytest.raises(TooFewClients, match="survivors=4 must be >= 5"):
        server.next(world.sent[Phase.MASKED_INPUT])


def test_both_ciphers_open_the_same_sum() -> None:
    world = World(setup=make_setup(options=CHACHA)).up_to(LAST)
    assert world.open().total.tolist() == world.expected(range(1, 6))


def test_no_masked_input_equals_its_input_or_repeats_across_rounds() -> None:
    setup = make_setup()
    first, second = World(setup=setup, round=1).up_to(LAST), World(setup=setup, round=2).up_to(LAST)
    for client in first.clients:
        plain = first.inputs[client].tobytes()
        payloads = [world.sent[Phase.MASKED_INPUT][client][-len(plain) :] for world in (first, second)]
        assert plain not in payloads
        assert payloads[0] != payloads[1]


@pytest.mark.parametrize("model", [b"n" * 32])
def test_another_model_gives_other_masks_from_the_same_secrets(model: bytes) -> None:
    one, two = World().up_to(Phase.MASKED_INPUT), World(model_hash=model).up_to(Phase.MASKED_INPUT)
    for client in one.clients:
        assert one.sent[Phase.MASKED_INPUT][client][-84:] != two.sent[Phase.MASKED_INPUT][client][-84:]


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ADVERTISE_KEYS])
def test_a_retry_gets_identical_bytes(phase: Phase) -> None:
    world = World().up_to(phase)
    for client in world.clients:
        first = world.sent[phase][client]
        assert world.show(client, world.asked[phase], phase) == first


def test_the_wire_has_four_bytes_a_parameter_and_a_constant() -> None:
    short, long = World(length=1000).up_to(LAST), World(length=3000).up_to(LAST)
    for client in short.clients:
        sizes = [sum(len(world.sent[phase][client]) for phase in Phase) for world in (short, long)]
        assert sizes[1] - sizes[0] == 4 * 2000


# Restarts: a client that lost its state can't come back into the round; one set back can't answer differently.


def begin(setup_round: PairwiseMasking, client: int) -> None:
    setup_round.client(ClientId(client), make_input(client, 21), rng=HashRng("again"))


@pytest.mark.parametrize("phase", list(Phase))
def test_a_client_killed_after_any_phase_cannot_begin_the_round_again(phase: Phase, tmp_path: Path) -> None:
    setup = make_setup()
    parties = dict(setup.parties)
    path = tmp_path / "journal.json"
    parties[ClientId(2)] = replace(parties[ClientId(2)], journal=FileJournal(path, run_id=setup.run_id))
    world = World(setup=replace(setup, parties=parties)).up_to(phase)
    restarted = PairwiseMasking(
        world.context,
        setup.signed.roster,
        {ClientId(2): replace(parties[ClientId(2)], journal=FileJournal(path, run_id=setup.run_id))},
    )
    with pytest.raises(ProtocolAbort) as caught:
        begin(restarted, 2)
    assert caught.value.reason is AbortReason.ROUND_REUSED
    alive = [1, 3, 4, 5]  # the others finish without it, or it had sent all that it had to send
    for later in Phase:
        if later > phase:
            world.ask(later, clients=alive)
    opened = world.open()
    assert opened.total.tolist() == world.expected(opened.survivors)
    following = RoundContext(run_id=setup.run_id, round=2, roster_hash=setup.roster_hash, model_hash=MODEL)
    begin(PairwiseMasking(following, setup.signed.roster, restarted.parties), 2)


def test_a_crash_between_write_and_send_skips_the_round(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal.json", run_id=b"r" * 32)
    journal.begin(4)
    again = FileJournal(tmp_path / "journal.json", run_id=b"r" * 32)
    with pytest.raises(ProtocolAbort, match=r"round=4 must be in 5\.\."):
        again.begin(4)
    again.begin(5)


@pytest.mark.parametrize("kept", [True, False], ids=["in a file", "in memory"])
def test_nobody_ends_a_run_by_the_last_round_number_that_there_is(tmp_path: Path, kept: bool) -> None:
    """The operator's word that a round begins is not signed; a client that noted 2^32 - 1 could never begin another."""
    journal = FileJournal(tmp_path / "journal.json", run_id=b"r" * 32) if kept else MemoryJournal()
    journal.begin(3)
    for far in ((1 << 32) - 1, 4 + MAX_SKIP):
        with pytest.raises(ProtocolAbort) as caught:
            journal.begin(far)
        assert caught.value.reason is AbortReason.ROUND_REUSED
    journal.begin(3 + MAX_SKIP)


def test_a_journal_keeps_the_one_request_across_restarts(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal.json", run_id=b"r" * 32)
    journal.begin(1)
    journal.answer(1, b"a" * 32)
    again = FileJournal(tmp_path / "journal.json", run_id=b"r" * 32)
    again.answer(1, b"a" * 32)
    with pytest.raises(ProtocolAbort) as caught:
        again.answer(1, b"b" * 32)
    assert caught.value.reason is AbortReason.SECOND_UNMASKING
    with pytest.raises(ProtocolAbort) as caught:
        again.answer(2, b"b" * 32)
    assert caught.value.reason is AbortReason.ROUND_REUSED


def test_a_journal_of_another_run_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    FileJournal(path, run_id=b"r" * 32).begin(1)
    with pytest.raises(InputError, match="belongs to run"):
        FileJournal(path, run_id=b"s" * 32)
    path.write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        FileJournal(path, run_id=b"r" * 32)


def test_a_journal_that_cannot_be_written_stops_the_round(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "absent" / "journal.json", run_id=b"r" * 32)
    with pytest.raises(InputError, match="can't write"):
        journal.begin(1)
    MemoryJournal().begin(1)


def test_a_rerun_of_a_round_without_one_partner_is_refused_by_every_client() -> None:
    """The full sum, then all but one of the same inputs: the difference would be that partner's update."""
    setup = make_setup()
    World(setup=setup, round=1).up_to(LAST)
    again = World(setup=setup, round=2, absent=[3]).up_to(Phase.MASKED_INPUT)
    bundle = again.bundle(Phase.CONSISTENCY)
    for client in again.clients:
        with pytest.raises(ProtocolAbort, match="partner 3") as caught:
            again.show(client, bundle, Phase.CONSISTENCY)
        assert caught.value.reason is AbortReason.DIFFERENCING
    other_model = World(setup=setup, round=3, absent=[3], model_hash=b"o" * 32).up_to(LAST)
    assert other_model.open().total.tolist() == other_model.expected((1, 2, 4, 5))


def test_ten_rounds_with_a_different_dropout_each_complete_and_the_exposure_is_reported() -> None:
    setup = make_setup(10)
    for round in range(1, 11):
        world = World(setup=setup, round=round, model_hash=bytes([round]) * 32, absent=[round]).up_to(LAST)
        assert world.open().total.tolist() == world.expected(world.clients)
    exposure = setup.parties[ClientId(1)].ledger.exposure()
    assert exposure.openings == 9  # partner 1 was absent from its own
    assert exposure.smallest is not None


# The policy.


@pytest.mark.parametrize(
    ("n", "c", "threshold", "required"),
    [(3, 1, 3, 3), (3, 0, 2, 2), (4, 1, 3, 3), (5, 1, 4, 4), (6, 1, 4, 4), (10, 1, 6, 6), (10, 3, 7, 7), (5, 2, 4, 4)],
)
def test_the_smallest_policy(n: int, c: int, threshold: int, required: int) -> None:
    policy = Policy.smallest(n, colluders=c)
    assert (policy.threshold, policy.required) == (threshold, required)
    assert 2 * (policy.threshold - 1) <= n + c


@pytest.mark.parametrize("options", [MaskingOptions(threshold=3), MaskingOptions(colluders=4), MaskingOptions(minimum=1),
                                     MaskingOptions(colluders=-1), MaskingOptions(minimum=5)])  # fmt: skip
def test_an_unsafe_policy_is_refused_before_the_run(options: MaskingOptions) -> None:
    with pytest.raises(ParameterError):
        make_setup(5, options=options)


def test_two_partners_cannot_have_a_secure_sum() -> None:
    with pytest.raises(ParameterError, match="n=2 must be >="):
        make_setup(2)


def test_three_partners_are_warned() -> None:
    assert any("no dropout" in warning for warning in make_setup(3).warnings)
    assert any("colluders=0" in warning for warning in make_setup(3, options=MaskingOptions(colluders=0)).warnings)


def test_a_swapped_roster_key_aborts() -> None:
    """A partner whose key was exchanged for the operator's in the roster can't get a round through."""
    setup = make_setup()
    forged = setup.signed.roster.with_key(ClientId(2), SigningKey.generate(rng=HashRng("operator")).verify_key)
    scheme = PairwiseMasking(World(setup=setup).context, forged, setup.parties)
    with pytest.raises(ProtocolAbort) as caught:
        begin(scheme, 1)
    assert caught.value.reason is AbortReason.WRONG_ROSTER


def test_a_vector_of_another_ring_is_refused() -> None:
    scheme = World().scheme
    with pytest.raises(ParameterError, match="roster's ring"):
        scheme.client(ClientId(1), make_input(1, 5, ring_bits=64), rng=HashRng("x"))


def test_the_driver_runs_it_with_dropouts_in_several_phases() -> None:
    setup = make_setup(10)
    updates = {ClientId(i): np.full(40, i / 20) for i in range(1, 11)}
    result = run_round(
        setup, updates, weights=dict.fromkeys(updates, 2), round=1, model_hash=MODEL, rng=HashRng("driver"),
        quantizer=setup.signed.roster.quantizer,
        dropouts={ClientId(1): "advertise_keys", ClientId(4): "share_keys", ClientId(9): "masked_input", ClientId(2): "unmask"},
    )  # fmt: skip
    assert result.survivors == frozenset(map(ClientId, (2, 3, 5, 6, 7, 8, 10)))
    assert result.weight == 14
    assert result.max_abs_error <= result.quantization_bound
