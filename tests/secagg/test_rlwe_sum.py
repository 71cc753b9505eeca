"""The threshold RLWE sum against dishonest operators, decryptors and partners: each deviation is refused by its own reason."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
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
    make_setup,
    make_world,
    sum_of,
)
from scipy import stats
from stand_ins import CountingRng
from test_committed import reachable

from securefl.crypto.rlwe.cipher import Half, decode_total, read_half
from securefl.crypto.rlwe.encoding import decode_elements, encode_elements
from securefl.crypto.rlwe.ring import Residues, Ring, zeros
from securefl.crypto.rlwe.samplers import uniform
from securefl.errors import AbortReason, CapacityError, DecodeError, ParameterError, SecureFLError, TooFewClients
from securefl.secagg import bfv_sum, rlwe_sum
from securefl.secagg.base import Continue, RoundContext
from securefl.secagg.committed_messages import ANSWER, encode_request
from securefl.secagg.policy import Policy
from securefl.secagg.rlwe_sum.decryption_journal import Kept
from securefl.secagg.rlwe_sum.messages import Asks, encode_bundle
from securefl.secagg.rlwe_sum.protocol import RlweOptions, RlweSetup
from securefl.types import ClientId


@pytest.fixture(scope="module")
def setup() -> RlweSetup:
    return make_setup()


@pytest.fixture
def world(setup: RlweSetup) -> World:
    return make_world(setup)


def answer_message(bundle: bytes) -> bytes:
    return bytes((Asks.ANSWER,)) + bundle



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



def test_one_ciphertext_is_never_opened_as_the_sum(world: World) -> None:
    uploads = world.uploads()
    for survivors in (CLIENTS[:1], CLIENTS[:3]):
        message = world.request({me: uploads[me] for me in survivors})
        aborts(AbortReason.THRESHOLD_LOWERED, lambda message=message: world.ask(DECRYPTORS[0], message))  # type: ignore[misc]


def test_a_smaller_or_larger_set_than_the_threshold_is_refused(world: World) -> None:
    for members in (SET - {DECRYPTORS[1]}, frozenset(DECRYPTORS)):
        message = world.request(members=members)
        aborts(AbortReason.THRESHOLD_LOWERED, lambda message=message: world.ask(DECRYPTORS[0], message))  # type: ignore[misc]


def test_a_set_with_strangers_or_without_me_is_refused(world: World) -> None:
    strangers = world.request(members=frozenset((*DECRYPTORS[:3], ClientId(5))))
    aborts(AbortReason.UNKNOWN_PARTY, lambda: world.ask(DECRYPTORS[0], strangers), party=5)
    without = world.request(members=OTHER_SET)
    aborts(AbortReason.MISSING_SELF, lambda: world.ask(DECRYPTORS[0], without), party=DECRYPTORS[0])


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


def test_no_answer_without_everyones_signature_under_the_same_sum_and_set(world: World) -> None:
    message = world.request()
    said = {member: world.ask(member, message) for member in SET}
    first = DECRYPTORS[0]
    missing = encode_bundle({member: said[member] for member in SET if member != DECRYPTORS[2]})
    aborts(AbortReason.TOO_FEW_CLIENTS, lambda: world.ask(first, answer_message(missing)), party=DECRYPTORS[2])
    forged = dict(said)
    forged[DECRYPTORS[2]] = said[DECRYPTORS[2]][:-1] + b"\0"
    aborts(AbortReason.BAD_SIGNATURE, lambda: world.ask(first, answer_message(encode_bundle(forged))), party=DECRYPTORS[2])
    aborts(AbortReason.WRONG_ROUND, lambda: world.ask(first, bytes((Asks.ANSWER_WITH_ZEROS,)) + missing))
    fresh = world.scheme.decryptors(rng=CountingRng())[first]
    aborts(AbortReason.WRONG_ROUND, lambda: fresh.next(answer_message(missing)))


def test_decryptors_that_were_asked_for_different_sets_or_sums_do_not_answer(setup: RlweSetup) -> None:
    """The operator asks one decryptor for another set, another for another sum: nobody gets a full bundle."""
    world = make_world(setup)
    uploads = world.uploads()
    said = {member: world.ask(member, world.request(uploads)) for member in DECRYPTORS[:3]}
    other = {**said, DECRYPTORS[3]: world.ask(DECRYPTORS[3], world.request(uploads, members=OTHER_SET))}
    aborts(AbortReason.SECOND_SET, lambda: world.ask(DECRYPTORS[0], answer_message(encode_bundle(other))), party=DECRYPTORS[3])
    split = make_world(setup)
    parts = split.uploads()
    whole = {member: split.ask(member, split.request(parts)) for member in DECRYPTORS[:3]}
    fewer = split.ask(DECRYPTORS[3], split.request({me: parts[me] for me in CLIENTS[:4]}))
    bundle = encode_bundle({**whole, DECRYPTORS[3]: fewer})
    aborts(AbortReason.INCONSISTENT_VIEW, lambda: split.ask(DECRYPTORS[0], answer_message(bundle)), party=DECRYPTORS[3])


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
    world.ask(DECRYPTORS[0], world.request())
    context = world.scheme.terms.channel.context
    again = own.round(replace(context, round=context.round + 1))
    zero = np.zeros(LENGTH, np.uint32)
    second = World(again, {me: again.cipher.encrypt(zero, me=me, rng=CountingRng(me)) for me in CLIENTS[:4]})
    aborts(AbortReason.DIFFERENCING, lambda: second.ask(DECRYPTORS[0], second.request()))



def test_a_copied_ciphertext_is_refused(world: World) -> None:
    message = world.request(world.uploads({CLIENTS[4]: world.bodies[CLIENTS[0]]}))
    aborts(AbortReason.BAD_COMMITMENT, lambda: world.ask(DECRYPTORS[0], message), party=5)


def test_the_negated_sum_of_the_others_is_refused(world: World) -> None:
    """With it the victim's vector alone would be left; it can only be computed after the list is fixed."""
    ring = world.scheme.cipher.budget.ring
    halves = []
    for half in Half:
        total = zeros(ring, 1)
        for me in CLIENTS[1:4]:
            ring.subtract(total, read_half(world.bodies[me], half, slice(0, 1), ring))
        halves.append(encode_elements(total, ring).tobytes())
    message = world.request(world.uploads({CLIENTS[4]: b"".join(halves)}))
    aborts(AbortReason.BAD_COMMITMENT, lambda: world.ask(DECRYPTORS[0], message), party=5)


def test_a_list_that_names_a_partner_twice_is_refused(world: World) -> None:
    listed = world.listed
    doubled = b"\5\0" + listed.by_sender[CLIENTS[0]].encoded * 5
    content = len(doubled).to_bytes(4, "little") + doubled + encode_request(listed, world.uploads())[4 + len(listed.encoded) :]
    message = world.request()[: 1 + 1 + 2 + 2 * len(SET)] + len(content).to_bytes(8, "little") + content
    aborts(AbortReason.DUPLICATE_PARTY, lambda: world.ask(DECRYPTORS[0], message), party=1)


@pytest.mark.parametrize("half", list(Half))
def test_non_canonical_coefficients_name_their_sender(setup: RlweSetup, half: Half) -> None:
    """All bits of one residue set, properly committed: decryptors read keyed halves, the operator the others."""

    def spoil(bodies: dict[ClientId, bytes]) -> None:
        size = len(bodies[CLIENTS[3]]) // 2
        content = bytearray(bodies[CLIENTS[3]])
        content[half * size : (half + 1) * size] = b"\xff" * size
        bodies[CLIENTS[3]] = bytes(content)

    world = make_world(setup, spoil)
    aborts(AbortReason.BAD_CIPHERTEXT, world.run, party=4)


def test_ciphertexts_of_other_parameters_name_their_sender(setup: RlweSetup) -> None:
    shorter = make_world(setup, lambda bodies: bodies.update({CLIENTS[3]: bodies[CLIENTS[3]][:-2048]}))
    aborts(AbortReason.BAD_CIPHERTEXT, shorter.run, party=4)
    longer = make_world(setup, lambda bodies: bodies.update({CLIENTS[3]: bodies[CLIENTS[3]] + bytes(1)}))
    message = longer.request()
    aborts(AbortReason.MALFORMED, lambda: longer.ask(DECRYPTORS[0], message))


def test_a_ciphertext_under_another_epochs_key_is_refused(setup: RlweSetup) -> None:
    old = make_world(setup)
    stale = World(replace(make_world(setup).scheme, terms=replace(old.scheme.terms, key_hash=bytes(32))), old.bodies)
    message = stale.request()
    aborts(AbortReason.BAD_COMMITMENT, lambda: old.ask(DECRYPTORS[0], message), party=1)


def test_well_formed_ciphertexts_out_of_range_end_the_round_and_nobody_is_named(setup: RlweSetup) -> None:
    def flood(bodies: dict[ClientId, bytes]) -> None:
        ring = setup.budget.ring
        bodies[CLIENTS[3]] = encode_elements(uniform(ring, 2, rng=CountingRng(3)), ring).tobytes()

    aborts(AbortReason.BAD_SHARE, make_world(setup, flood).run)


@pytest.mark.parametrize("change", ["run", "round", "model", "roster"])
def test_requests_of_another_run_round_model_or_roster_are_refused(world: World, change: str) -> None:
    context, terms = world.scheme.terms.channel.context, world.scheme.terms
    other: RoundContext = {
        "run": replace(context, run_id=b"x" * 32),
        "round": replace(context, round=context.round + 1000),
        "model": replace(context, model_hash=b"x" * 32),
        "roster": replace(context, roster_hash=b"x" * 32),
    }[change]
    moved = World(replace(world.scheme, terms=replace(terms, channel=replace(terms.channel, context=other))), world.bodies)
    reason = {"model": AbortReason.WRONG_MODEL, "roster": AbortReason.WRONG_ROSTER}.get(change, AbortReason.WRONG_ROUND)
    message = world.request()
    aborts(reason, lambda: moved.ask(DECRYPTORS[0], message), party=1)



def test_a_wrong_share_is_caught_and_nobody_is_named(world: World) -> None:
    ring = world.scheme.cipher.budget.ring
    member = DECRYPTORS[2]
    wrong = replace(world.scheme.keys[member], share=uniform(ring, 1, rng=CountingRng(5))[0])
    world.scheme = replace(world.scheme, keys={**world.scheme.keys, member: wrong})
    world.waiting = dict(world.scheme.decryptors(rng=CountingRng(9)))
    abort = aborts(AbortReason.BAD_SHARE, world.run)
    assert "noise bound" in abort.detail


@pytest.mark.parametrize("body", [b"", b"\xff" * 53_248])
def test_a_malformed_answer_names_its_sender(world: World, body: bytes) -> None:
    step = world.operator()
    onward = step.state.next({member: world.ask(member, message) for member, message in step.outbound.items()})
    assert isinstance(onward, Continue)
    answers = {member: world.ask(member, message) for member, message in onward.outbound.items()}
    cheat = DECRYPTORS[1]
    view = hashlib.sha256(onward.outbound[cheat][1:]).digest()
    genesis = world.scheme.terms.channel.genesis(cheat)
    forged = world.scheme.decryptor(cheat, rng=CountingRng()).sign(ANSWER, previous=genesis, view=view, payload=body)
    aborts(AbortReason.BAD_SHARE, lambda: onward.state.next({**answers, cheat: forged}), party=cheat)


def test_an_encryption_of_zero_that_was_not_committed_is_refused(world: World) -> None:
    message = world.request(members=OTHER_SET, attempt=2)
    bundle = world.agree(message, OTHER_SET)
    cheat = DECRYPTORS[1]
    round = world.scheme.terms.channel.context.round
    world.scheme.journals[cheat].keep(round, 2, Kept.ZERO, world.bodies[CLIENTS[0]])
    shown = encode_bundle({member: world.ask(member, answer_message(bundle)) for member in OTHER_SET})
    inbound = bytes((Asks.ANSWER_WITH_ZEROS,)) + shown
    aborts(AbortReason.BAD_COMMITMENT, lambda: world.ask(DECRYPTORS[2], inbound), party=cheat)


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
