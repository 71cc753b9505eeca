"""The threshold RLWE sum: exact, by any set that is large enough, once; retries, epochs, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from committed_world import reachable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rlwe_world import (
    CLIENTS,
    DECRYPTORS,
    LENGTH,
    OTHER_SET,
    QUANTIZER,
    RUN,
    SET,
    World,
    aborts,
    answer_message,
    make_setup,
    make_world,
    sum_of,
)
from scipy import stats
from stand_ins import CountingRng

from securefl.crypto.rlwe.cipher import Half, decode_total
from securefl.crypto.rlwe.encoding import decode_elements
from securefl.crypto.rlwe.ring import Residues, Ring
from securefl.errors import AbortReason, CapacityError, DecodeError, ParameterError, SecureFLError, TooFewClients
from securefl.secagg import bfv_sum, rlwe_sum
from securefl.secagg.base import RoundContext
from securefl.secagg.policy import Policy
from securefl.secagg.rlwe_sum.decryption_journal import Kept
from securefl.secagg.rlwe_sum.messages import Asks
from securefl.secagg.rlwe_sum.protocol import RlweOptions, RlweSetup
from securefl.types import ClientId


@pytest.fixture(scope="module")
def setup() -> RlweSetup:
    return make_setup()


@pytest.fixture
def world(setup: RlweSetup) -> World:
    return make_world(setup)


def test_the_sum_is_exact_and_only_the_set_is_asked(world: World) -> None:
    step = world.operator()
    assert set(step.outbound) == SET
    opened = world.run()
    assert opened.total.tolist() == sum_of(CLIENTS)
    assert opened.error_bound == 0.0
    assert opened.survivors == frozenset(CLIENTS)


@pytest.mark.parametrize(
    ("silences", "attempts"),
    [
        ({(0, DECRYPTORS[0])}, 2),  # never agrees
        ({(1, DECRYPTORS[1])}, 2),  # agrees, then is gone when it should answer
        ({(0, DECRYPTORS[2]), (2, DECRYPTORS[2])}, 2),
    ],
)
def test_a_silent_decryptor_costs_an_attempt_with_another_set_and_fresh_zeros(
    world: World, silences: set[tuple[int, ClientId]], attempts: int
) -> None:
    opened = world.run(lambda step, member: (step, member) in silences)
    assert opened.total.tolist() == sum_of(CLIENTS)
    assert opened.survivors == frozenset(CLIENTS)
    round = world.scheme.terms.channel.context.round
    stayed = DECRYPTORS[4]
    assert world.scheme.journals[stayed].kept(round, attempts, Kept.ZERO) is not None


def test_too_few_decryptors_or_no_attempt_left_loses_the_round(setup: RlweSetup) -> None:
    with pytest.raises(TooFewClients, match="survivors=3 must be >= 4"):
        make_world(setup).run(lambda step, member: member in DECRYPTORS[:2])
    short = make_setup(RlweOptions(length=8192, attempts=1))
    lost = make_world(short)
    aborts(AbortReason.NO_ATTEMPT_LEFT, lambda: lost.run(lambda step, member: member == DECRYPTORS[0]))


def test_three_attempts_by_a_larger_committee_are_counted_by_its_journals() -> None:
    setup = make_setup(RlweOptions(length=8192, committee=Policy(parties=7, threshold=5, colluders=1)))
    world = make_world(setup)
    gone = {(1, 1001), (4, 1002)}  # one is lost when it should answer, one when it should show its zero
    opened = world.run(lambda step, member: (step, int(member)) in gone)
    assert opened.total.tolist() == sum_of(CLIENTS)
    journal = setup.journals[ClientId(1007)]
    round = world.scheme.terms.channel.context.round
    assert journal.kept(round, 3, Kept.ANSWER) is not None
    assert setup.journals[ClientId(1003)].answered >= 2
    # All three are in the noise budget: the later ones hide the zeros of five decryptors as well.
    assert setup.budget.summands == (5, 10, 10)
    assert setup.budget.distance_bits >= 40


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_survivors_and_any_silent_decryptor(setup: RlweSetup, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from([None, *CLIENTS]))
    silent = data.draw(st.sampled_from([None, *DECRYPTORS]))
    at = data.draw(st.integers(0, 1))

    def drop(bodies: dict[ClientId, bytes]) -> None:
        bodies.pop(gone or ClientId(0), None)

    world = make_world(setup, drop)
    opened = world.run(lambda step, member: step == at and member == silent)
    survivors = [me for me in CLIENTS if me != gone]
    assert opened.total.tolist() == sum_of(survivors)
    assert opened.survivors == frozenset(survivors)


def test_two_different_sums_in_a_round_are_refused(world: World) -> None:
    uploads = world.uploads()
    world.ask(DECRYPTORS[0], world.request(uploads))
    fewer = world.request({me: uploads[me] for me in CLIENTS[:4]})
    aborts(AbortReason.SECOND_UNMASKING, lambda: world.ask(DECRYPTORS[0], fewer))
    # A decryptor that was started again has its journal.
    world.waiting = dict(world.scheme.decryptors(rng=CountingRng(10)))
    aborts(AbortReason.SECOND_UNMASKING, lambda: world.ask(DECRYPTORS[0], fewer))
    others = world.request({me: uploads[me] for me in CLIENTS[1:]})
    aborts(AbortReason.SECOND_UNMASKING, lambda: world.ask(DECRYPTORS[0], others))


def test_one_sum_under_two_sets_is_refused(world: World) -> None:
    me = DECRYPTORS[1]
    world.ask(me, world.request(members=SET))
    aborts(AbortReason.SECOND_SET, lambda: world.ask(me, world.request(members=OTHER_SET)))
    aborts(AbortReason.SECOND_SET, lambda: world.ask(me, world.request(members=SET, attempt=2)))
    world.ask(me, world.request(members=OTHER_SET, attempt=2))
    aborts(AbortReason.SECOND_SET, lambda: world.ask(me, world.request(members=SET, attempt=3)))
    for number in (0, 4):
        again = world.request(members=frozenset((*DECRYPTORS[:2], *DECRYPTORS[3:])), attempt=number)
        aborts(AbortReason.NO_ATTEMPT_LEFT, lambda again=again: world.ask(me, again))  # type: ignore[misc]


def test_an_older_round_is_not_opened_after_a_newer_one(setup: RlweSetup) -> None:
    old = make_world(setup)
    message = old.request()
    newer = make_world(setup)
    newer.ask(DECRYPTORS[0], newer.request())
    aborts(AbortReason.ROUND_REUSED, lambda: old.ask(DECRYPTORS[0], message))


def test_a_retry_gets_the_same_bytes_whatever_bundle_is_shown(world: World) -> None:
    bundle = world.agree(world.request())
    first = world.ask(DECRYPTORS[0], answer_message(bundle))
    assert world.ask(DECRYPTORS[0], answer_message(bundle)) == first
    world.waiting = dict(world.scheme.decryptors(rng=CountingRng(11)))
    assert world.agree(world.request()) == bundle
    assert world.ask(DECRYPTORS[0], answer_message(bundle)) == first
    assert world.scheme.journals[DECRYPTORS[0]].answered >= 1


def test_sums_over_one_model_that_differ_by_one_partner_are_refused() -> None:
    own = make_setup()
    world = make_world(own)
    world.run()
    second = without_the_last(own, world)
    aborts(AbortReason.DIFFERENCING, lambda: second.ask(DECRYPTORS[0], second.request()))


def test_a_sum_that_too_few_decryptors_answered_for_binds_nobody() -> None:
    """Nothing was opened: the others may go on from the same model without a partner; afterwards the first sum is refused."""
    own = make_setup()
    world = make_world(own)
    silent = DECRYPTORS[0]
    bundle = world.agree(world.request())
    second = without_the_last(own, world)
    assert second.run().total.tolist() == [0] * LENGTH
    aborts(AbortReason.DIFFERENCING, lambda: world.ask(silent, answer_message(bundle)))


def without_the_last(own: RlweSetup, world: World) -> World:
    """The next round on the same model, without the last partner."""
    context = world.scheme.terms.channel.context
    again = own.round(replace(context, round=context.round + 1))
    zero = np.zeros(LENGTH, np.uint32)
    return World(again, {me: again.cipher.encrypt(zero, me=me, rng=CountingRng(me)) for me in CLIENTS[:4]})


@pytest.mark.statistical
def test_each_answer_and_all_but_one_are_uniform_and_all_together_open(world: World) -> None:
    """The masks, by chi-square over the cells of a prime; the control is the whole set, whose sum is a sum of small numbers."""
    bundle = world.agree(world.request())
    budget = world.scheme.cipher.budget
    ring, size = budget.ring, world.scheme.cipher.maximum_body(LENGTH) // 2
    answers = [decode_elements(world.ask(m, answer_message(bundle))[-size:], ring, 1) for m in sorted(SET)]
    total = world.scheme.cipher.sum_half({me: memoryview(b) for me, b in world.bodies.items()}, Half.MESSAGE, LENGTH)
    for answer in answers:
        assert cells(answer, ring) > 1e-6
        assert cells(total, ring) > 1e-6
        with pytest.raises(DecodeError):
            decode_total(total, budget)
        ring.add(total, answer)
    assert decode_total(total, budget)[0, :LENGTH].tolist() == sum_of(CLIENTS)
    ring.subtract(total, total.copy())
    assert cells(total, ring) < 1e-6


def cells(element: Residues, ring: Ring) -> float:
    """The p-value that the residues of the first prime are uniform."""
    counts = np.bincount(element[0, 0].astype(np.int64) * 64 // ring.primes[0], minlength=64)
    return float(stats.chisquare(counts).pvalue)


def test_a_committee_of_auditors_opens_for_partners_who_are_gone() -> None:
    setup = make_setup(RlweOptions(length=8192, committee=Policy(parties=3, threshold=3, colluders=1)))
    world = make_world(setup)
    assert set(world.operator().outbound) == {1001, 1002, 1003}
    assert world.run().total.tolist() == sum_of(CLIENTS)


def test_a_key_lives_its_rounds_and_no_longer() -> None:
    setup = make_setup(RlweOptions(length=8192, epoch_rounds=2))
    hashes = [make_world(setup).scheme.terms.key_hash for _ in range(4)]
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]
    assert setup.budget.rounds == 2
    assert make_world(make_setup()).scheme.terms.key_hash not in hashes


def test_a_decryptor_whose_key_has_served_its_rounds_opens_nothing() -> None:
    """The noise budget is for those rounds: whoever sets up the round, the decryptor counts for itself."""
    setup = make_setup(RlweOptions(length=8192))
    first, second = make_world(setup), make_world(setup)
    member, round = DECRYPTORS[0], first.scheme.terms.channel.context.round
    for world, key in ((first, second.scheme.keys[member]), (second, first.scheme.keys[member])):
        kept = World(replace(world.scheme, keys={**world.scheme.keys, member: key}), world.bodies)
        abort = aborts(AbortReason.BAD_KEY, partial(kept.ask, member, kept.request()), party=member)
        assert "the key serves the rounds" in abort.detail
    assert first.ask(member, first.request())
    assert second.scheme.keys[member].epoch > round


def test_what_does_not_fit_is_refused_before_the_run(setup: RlweSetup) -> None:
    with pytest.raises(ParameterError, match="rlwe takes RlweOptions"):
        rlwe_sum.set_up(CLIENTS, quantizer=QUANTIZER, run_id=RUN, rng=CountingRng(), options=bfv_sum.BfvOptions())
    with pytest.raises(ParameterError, match="clients=2 must be >= 3"):
        rlwe_sum.set_up(CLIENTS[:2], quantizer=QUANTIZER, run_id=RUN, rng=CountingRng())
    with pytest.raises(CapacityError, match="smudging of"):
        make_setup(RlweOptions(statistical_bits=120))
    with pytest.raises(ParameterError, match=r"threshold=3 must be > \(n \+ c\) / 2"):
        Policy(parties=5, threshold=3, colluders=1)
    cipher = make_world(setup).scheme.cipher
    with pytest.raises(CapacityError, match="length=8193 must be <= 8192"):
        cipher.encrypt(np.zeros(8193, np.uint32), me=CLIENTS[0], rng=CountingRng())
    limit = QUANTIZER.max_weight * QUANTIZER.limit
    with pytest.raises(CapacityError, match=f"{limit + 1} must be in"):
        cipher.encrypt(np.array([limit + 1], np.int32).view(np.uint32) * np.uint32(1), me=CLIENTS[0], rng=CountingRng())


def test_the_operator_reaches_no_key(world: World) -> None:
    assert not reachable(world.operator().state) & {"MemberKey", "SigningKey", "Decryptor", "Contribution"}
    assert "MemberKey" in reachable(world.scheme)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), cut=st.integers(0, 4000), kind=st.sampled_from(list(Asks)))
def test_any_bytes_give_a_typed_error(fuzzed: World, content: bytes, cut: int, kind: Asks) -> None:
    request = fuzzed.request()
    for message in (content, bytes((kind,)) + content, request[:cut] + content, request + content + b"\0"):
        for state in (fuzzed.scheme.decryptors(rng=CountingRng())[DECRYPTORS[4]], fuzzed.waiting[DECRYPTORS[0]]):
            with pytest.raises(SecureFLError):
                state.next(message)


@pytest.fixture(scope="module")
def fuzzed(setup: RlweSetup) -> World:
    world = make_world(setup)
    world.ask(DECRYPTORS[0], world.request())
    return world


def test_a_wrong_round_is_not_even_given_a_key(setup: RlweSetup) -> None:
    context = RoundContext(run_id=RUN, round=1, roster_hash=bytes(32), model_hash=bytes(32))
    aborts(AbortReason.WRONG_ROSTER, lambda: setup.round(context))
    aborts(AbortReason.WRONG_ROUND, lambda: setup.round(replace(context, roster_hash=setup.roster_hash, run_id=bytes(32))))
