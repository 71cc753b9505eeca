"""A scripted malicious operator, and malicious partners: each deviation is refused, with its own reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from masking_world import MODEL, HashRng, World, make_input, make_setup

from securefl.crypto.sealed import encrypt_once
from securefl.crypto.signature import SigningKey
from securefl.errors import AbortReason, ProtocolAbort
from securefl.secagg.base import Continue, RoundContext
from securefl.secagg.codec import party_list
from securefl.secagg.envelope import Channel, Slip, head_size, open_envelope, seal
from securefl.secagg.masking.client import Advertised
from securefl.secagg.masking.keys import KeyEnd, KeySchedule
from securefl.secagg.masking.messages import (
    ADVERT_SIZE,
    WIRE_ID,
    Advert,
    Phase,
    SharePair,
    decode_released,
    decode_sealed,
    encode_bundle,
    encode_sealed,
)
from securefl.types import ClientId, Secret

HEAD = head_size(WIRE_ID)
OUTSIDER = SigningKey.generate(rng=HashRng("outsider"))


def refused(reason: AbortReason, call: Callable[[], object], party: int | None = None) -> None:
    with pytest.raises(ProtocolAbort) as caught:
        call()
    assert caught.value.reason is reason, caught.value
    if party is not None:
        assert caught.value.party == party


def resign(
    world: World, phase: Phase, client: int, payload: bytes, *, key: SigningKey | None = None, previous: bytes | None = None
) -> bytes:
    """An envelope as ``client`` would send it, with another payload or chain, signed by ``key`` or by itself."""
    channel = world.scheme.channel
    honest = open_envelope(channel, world.sent[phase][ClientId(client)], phase)
    slip = Slip(phase=phase, sender=ClientId(client), previous=previous or honest.previous, view=honest.view)
    return seal(channel, slip, [payload], key=key or world.setup.parties[ClientId(client)].identity).message


def payload_of(world: World, phase: Phase, client: int) -> bytes:
    return world.sent[phase][ClientId(client)][HEAD:]


# What a malicious operator may try.


def test_it_substitutes_keys() -> None:
    world = World()
    own = Advert.decode(memoryview(payload_of(world, Phase.ADVERTISE_KEYS, 2)))
    forged = resign(world, Phase.ADVERTISE_KEYS, 2, replace(own, mask_key=b"\x09" + bytes(31)).encode(), key=OUTSIDER)
    mixed = world.bundle(Phase.SHARE_KEYS, replace={2: forged})
    refused(AbortReason.BAD_SIGNATURE, lambda: world.show(1, mixed, Phase.SHARE_KEYS), 2)


@pytest.mark.parametrize("phase", [Phase.ADVERTISE_KEYS, Phase.SHARE_KEYS, Phase.CONSISTENCY])
@pytest.mark.parametrize("where", [0, 5, -1])
def test_it_flips_a_bit_of_what_is_signed(phase: Phase, where: int) -> None:
    world = World().up_to(phase)
    message = bytearray(world.sent[phase][ClientId(3)])
    message[(HEAD + where) if where >= 0 else where] ^= 4
    asks = Phase(phase + 1)
    refused(AbortReason.BAD_SIGNATURE, lambda: world.show(1, world.bundle(asks, replace={3: bytes(message)}), asks), 3)


def test_it_flips_a_bit_of_a_detached_input() -> None:
    world = World().up_to(Phase.MASKED_INPUT)
    message = bytearray(world.sent[Phase.MASKED_INPUT][ClientId(3)])
    message[HEAD - 1] ^= 1
    bundle = world.bundle(Phase.CONSISTENCY, replace={3: bytes(message)})
    refused(AbortReason.BAD_SIGNATURE, lambda: world.show(1, bundle, Phase.CONSISTENCY), 3)


@pytest.mark.parametrize("asks", [Phase.SHARE_KEYS, Phase.MASKED_INPUT, Phase.CONSISTENCY, Phase.UNMASK])
@pytest.mark.parametrize("cut", [1, 7, 100])
def test_it_truncates(asks: Phase, cut: int) -> None:
    world = World().up_to(Phase(asks - 1))
    refused(AbortReason.MALFORMED, lambda: world.show(1, world.bundle(asks)[:-cut], asks))


@pytest.mark.parametrize("asks", [Phase.SHARE_KEYS, Phase.MASKED_INPUT, Phase.CONSISTENCY, Phase.UNMASK])
def test_it_appends(asks: Phase) -> None:
    world = World().up_to(Phase(asks - 1))
    refused(AbortReason.MALFORMED, lambda: world.show(1, world.bundle(asks) + b"\0", asks))


@pytest.mark.parametrize("asks", [Phase.SHARE_KEYS, Phase.MASKED_INPUT, Phase.CONSISTENCY, Phase.UNMASK])
def test_it_asks_for_a_phase_out_of_turn(asks: Phase) -> None:
    world = World().up_to(Phase(asks - 1))
    wrong = Phase(asks + 1) if asks < Phase.UNMASK else Phase.CONSISTENCY
    message = encode_bundle(world.context, wrong, world.sent[Phase(asks - 1)])
    refused(AbortReason.WRONG_ROUND, lambda: world.show(1, message, asks))


def test_it_replays_an_old_advertisement() -> None:
    """Dropout recovery reveals a mask key; an advertisement of it in a later round would open that client's input."""
    setup = make_setup()
    old = World(setup=setup, round=1).up_to(Phase.UNMASK)
    new = World(setup=setup, round=2)
    replayed = new.bundle(Phase.SHARE_KEYS, replace={2: old.sent[Phase.ADVERTISE_KEYS][ClientId(2)]})
    refused(AbortReason.WRONG_ROUND, lambda: new.show(1, replayed, Phase.SHARE_KEYS), 2)


def test_it_replays_old_survivor_signatures() -> None:
    setup = make_setup()
    old = World(setup=setup, round=1).up_to(Phase.UNMASK)
    new = World(setup=setup, round=2).up_to(Phase.CONSISTENCY)
    replayed = new.bundle(Phase.UNMASK, replace={2: old.sent[Phase.CONSISTENCY][ClientId(2)]})
    refused(AbortReason.WRONG_ROUND, lambda: new.show(1, replayed, Phase.UNMASK), 2)


def test_it_moves_a_message_to_another_run() -> None:
    other = World(setup=make_setup(run_id=b"R" * 32))
    world = World()
    moved = world.bundle(Phase.SHARE_KEYS, replace={2: other.sent[Phase.ADVERTISE_KEYS][ClientId(2)]})
    refused(AbortReason.WRONG_ROUND, lambda: world.show(1, moved, Phase.SHARE_KEYS), 2)


def test_it_gives_partners_different_models() -> None:
    setup = make_setup()
    world = World(setup=setup)
    fresh = replace(setup, parties=make_setup().parties)
    other = World(setup=fresh, model_hash=b"n" * 32)
    mixed = world.bundle(Phase.SHARE_KEYS, replace={2: other.sent[Phase.ADVERTISE_KEYS][ClientId(2)]})
    refused(AbortReason.WRONG_MODEL, lambda: world.show(1, mixed, Phase.SHARE_KEYS), 2)


def test_it_gives_partners_different_rosters() -> None:
    setup = make_setup()
    world = World(setup=setup)
    context = RoundContext(run_id=setup.run_id, round=1, roster_hash=b"x" * 32, model_hash=MODEL)
    channel = Channel(wire_id=WIRE_ID, context=context, keys=setup.signed.roster.keys)
    slip = Slip(phase=Phase.ADVERTISE_KEYS, sender=ClientId(2), previous=bytes(32), view=bytes(32))
    foreign = seal(channel, slip, [bytes(ADVERT_SIZE)], key=setup.parties[ClientId(2)].identity).message
    mixed = world.bundle(Phase.SHARE_KEYS, replace={2: foreign})
    refused(AbortReason.WRONG_ROSTER, lambda: world.show(1, mixed, Phase.SHARE_KEYS), 2)


def test_it_adds_a_sybil() -> None:
    world = World()
    channel = replace(world.scheme.channel, keys={**world.scheme.channel.keys, ClientId(6): OUTSIDER.verify_key})
    slip = Slip(phase=Phase.ADVERTISE_KEYS, sender=ClientId(6), previous=channel.genesis(ClientId(6)), view=bytes(32))
    sybil = seal(channel, slip, [bytes(range(ADVERT_SIZE))], key=OUTSIDER).message
    mixed = world.bundle(Phase.SHARE_KEYS, replace={6: sybil})
    refused(AbortReason.UNKNOWN_PARTY, lambda: world.show(1, mixed, Phase.SHARE_KEYS), 6)


def test_it_brings_a_dropped_client_back() -> None:
    world = World()
    world.ask(Phase.SHARE_KEYS, senders=[1, 2, 3, 4])
    view = open_envelope(world.scheme.channel, world.sent[Phase.SHARE_KEYS][ClientId(1)], Phase.SHARE_KEYS).view
    slip = Slip(phase=Phase.SHARE_KEYS, sender=ClientId(5), previous=bytes(32), view=view)
    back = seal(world.scheme.channel, slip, [b""], key=world.setup.parties[ClientId(5)].identity).message
    late = world.bundle(Phase.MASKED_INPUT, replace={5: back})
    refused(AbortReason.UNKNOWN_PARTY, lambda: world.show(1, late, Phase.MASKED_INPUT), 5)


def test_it_lists_a_client_twice() -> None:
    world = World()
    one = world.sent[Phase.ADVERTISE_KEYS][ClientId(1)]
    head = world.bundle(Phase.SHARE_KEYS)[:33]
    twice = head + (2).to_bytes(2, "little") + 2 * (len(one).to_bytes(4, "little") + one)
    refused(AbortReason.DUPLICATE_PARTY, lambda: world.show(1, twice, Phase.SHARE_KEYS), 1)


def test_it_lists_clients_out_of_order() -> None:
    world = World()
    rows = [world.sent[Phase.ADVERTISE_KEYS][ClientId(i)] for i in (2, 1, 3, 4, 5)]
    body = b"".join(len(row).to_bytes(4, "little") + row for row in rows)
    swapped = world.bundle(Phase.SHARE_KEYS)[:33] + (5).to_bytes(2, "little") + body
    refused(AbortReason.MALFORMED, lambda: world.show(1, swapped, Phase.SHARE_KEYS))


@pytest.mark.parametrize("asks", [Phase.SHARE_KEYS, Phase.MASKED_INPUT, Phase.CONSISTENCY, Phase.UNMASK])
def test_it_leaves_a_client_out_of_its_own_list(asks: Phase) -> None:
    world = World().up_to(Phase(asks - 1))
    refused(AbortReason.MISSING_SELF, lambda: world.show(1, world.bundle(asks, senders=[2, 3, 4, 5]), asks))


@pytest.mark.parametrize("asks", [Phase.SHARE_KEYS, Phase.MASKED_INPUT, Phase.UNMASK])
def test_it_goes_on_with_too_few(asks: Phase) -> None:
    world = World().up_to(Phase(asks - 1))
    refused(AbortReason.TOO_FEW_CLIENTS, lambda: world.show(1, world.bundle(asks, senders=[1, 2, 3]), asks))


def test_it_lowers_the_threshold() -> None:
    world = World().up_to(Phase.MASKED_INPUT)
    refused(
        AbortReason.THRESHOLD_LOWERED,
        lambda: world.show(1, world.bundle(Phase.CONSISTENCY, senders=[1, 2, 3]), Phase.CONSISTENCY),
    )


def test_it_shows_different_key_lists() -> None:
    world = World(7)
    world.ask(Phase.SHARE_KEYS, senders=[1, 2, 3, 4, 5, 6], clients=[1, 2, 3])
    world.ask(Phase.SHARE_KEYS, clients=[4, 5, 6])
    mixed = world.bundle(Phase.MASKED_INPUT)
    refused(AbortReason.INCONSISTENT_VIEW, lambda: world.show(1, mixed, Phase.MASKED_INPUT), 4)


def test_it_shows_different_share_lists() -> None:
    world = World(7).up_to(Phase.SHARE_KEYS)
    world.ask(Phase.MASKED_INPUT, senders=[1, 2, 3, 4, 5, 6], clients=[1, 2, 3])
    world.ask(Phase.MASKED_INPUT, clients=[4, 5, 6])
    mixed = world.bundle(Phase.CONSISTENCY)
    refused(AbortReason.INCONSISTENT_VIEW, lambda: world.show(1, mixed, Phase.CONSISTENCY), 4)


def test_it_splits_the_survivors() -> None:
    """The attack that the consistency round is for: each half releases another kind of share of the same partner."""
    world = World(7).up_to(Phase.MASKED_INPUT)
    world.ask(Phase.CONSISTENCY, senders=[1, 2, 3, 4, 5, 6], clients=[1, 2, 3])
    world.ask(Phase.CONSISTENCY, clients=[4, 5, 6, 7])
    mixed = world.bundle(Phase.UNMASK)
    refused(AbortReason.INCONSISTENT_SURVIVORS, lambda: world.show(1, mixed, Phase.UNMASK), 4)
    refused(AbortReason.INCONSISTENT_SURVIVORS, lambda: world.show(7, mixed, Phase.UNMASK), 1)
    refused(AbortReason.TOO_FEW_CLIENTS, lambda: world.show(1, world.bundle(Phase.UNMASK, senders=[1, 2, 3]), Phase.UNMASK))


def test_it_asks_twice() -> None:
    world = World(7).up_to(Phase.CONSISTENCY)
    first = world.ask(Phase.UNMASK)
    answer = world.sent[Phase.UNMASK][ClientId(1)]
    assert world.show(1, first, Phase.UNMASK) == answer
    second = world.bundle(Phase.UNMASK, senders=[1, 2, 3, 4, 5])
    refused(AbortReason.SECOND_UNMASKING, lambda: world.show(1, second, Phase.UNMASK))


def test_it_sets_a_client_back_and_asks_twice() -> None:
    """The journal refuses what the frozen state alone would answer."""
    world = World(7).up_to(Phase.CONSISTENCY)
    state = world.states[ClientId(1)]
    assert isinstance(state.next(world.bundle(Phase.UNMASK)), Continue)
    second = world.bundle(Phase.UNMASK, senders=[1, 2, 3, 4, 5])
    refused(AbortReason.SECOND_UNMASKING, lambda: state.next(second))


def test_it_repeats_a_round() -> None:
    world = World()
    refused(AbortReason.ROUND_REUSED, lambda: world.scheme.client(ClientId(1), make_input(1, 9), rng=HashRng("again")))


# What a malicious partner may try; the operator and the other partners refuse it by name.


def test_a_partner_advertises_somebody_elses_key() -> None:
    world = World()
    stolen = payload_of(world, Phase.ADVERTISE_KEYS, 1)
    forged = resign(world, Phase.ADVERTISE_KEYS, 2, stolen)
    mixed = world.bundle(Phase.SHARE_KEYS, replace={2: forged})
    refused(AbortReason.DUPLICATE_PARTY, lambda: world.show(1, mixed, Phase.SHARE_KEYS), 2)


def test_a_partner_advertises_a_point_of_low_order() -> None:
    world = World()
    own = Advert.decode(memoryview(payload_of(world, Phase.ADVERTISE_KEYS, 2)))
    forged = resign(world, Phase.ADVERTISE_KEYS, 2, replace(own, seal_key=bytes(32)).encode())
    mixed = world.bundle(Phase.SHARE_KEYS, replace={2: forged})
    refused(AbortReason.BAD_KEY, lambda: world.show(1, mixed, Phase.SHARE_KEYS), 2)


@pytest.mark.parametrize("field", ["mask_key", "seal_key"])
def test_a_partner_advertises_the_second_encoding_of_somebody_elses_key(field: str) -> None:
    """X25519 ignores the highest bit: the same point under other bytes would not look taken."""
    world = World()
    first, own = (Advert.decode(memoryview(payload_of(world, Phase.ADVERTISE_KEYS, client))) for client in (1, 2))
    stolen = bytes([*getattr(first, field)[:31], getattr(first, field)[31] | 0x80])
    forged = resign(world, Phase.ADVERTISE_KEYS, 2, replace(own, **{field: stolen}).encode())
    mixed = world.bundle(Phase.SHARE_KEYS, replace={2: forged})
    refused(AbortReason.MALFORMED, lambda: world.show(3, mixed, Phase.SHARE_KEYS), 2)


def test_a_partner_deals_a_share_outside_the_field() -> None:
    """Its recipient would release it in good faith, and the operator would name the recipient."""
    world = World().up_to(Phase.ADVERTISE_KEYS)
    dealer = world.states[ClientId(2)]
    assert isinstance(dealer, Advertised)
    world.ask(Phase.SHARE_KEYS)
    adverts = {c: Advert.decode(memoryview(payload_of(world, Phase.ADVERTISE_KEYS, c))) for c in (1, 2)}
    ends = {c: KeyEnd(ClientId(c), adverts[c].seal_key) for c in (1, 2)}
    keys = KeySchedule(world.scheme.channel)
    key_list = hashlib.sha256(world.asked[Phase.SHARE_KEYS]).digest()
    bad = SharePair(Secret(b"\xff" * 33), Secret(bytes(33)), Secret(b"")).encode()
    key = keys.share_seal(dealer.secrets.seal_key, ends[2], ends[1], sending=True)
    sealed = decode_sealed(memoryview(payload_of(world, Phase.SHARE_KEYS, 2)))
    sealed[ClientId(1)] = encrypt_once(key, bad, keys.share_binding(key_list, ClientId(2), ClientId(1)))
    mixed = world.bundle(Phase.MASKED_INPUT, replace={2: resign(world, Phase.SHARE_KEYS, 2, encode_sealed(sealed))})
    refused(AbortReason.MALFORMED, lambda: world.show(1, mixed, Phase.MASKED_INPUT), 2)


def test_a_partner_sends_a_short_advertisement() -> None:
    world = World()
    mixed = world.bundle(Phase.SHARE_KEYS, replace={2: resign(world, Phase.ADVERTISE_KEYS, 2, bytes(ADVERT_SIZE - 1))})
    refused(AbortReason.MALFORMED, lambda: world.show(1, mixed, Phase.SHARE_KEYS), 2)


def test_a_partner_breaks_its_chain() -> None:
    world = World().up_to(Phase.SHARE_KEYS)
    payload = payload_of(world, Phase.SHARE_KEYS, 2)
    mixed = world.bundle(Phase.MASKED_INPUT, replace={2: resign(world, Phase.SHARE_KEYS, 2, payload, previous=bytes(32))})
    refused(AbortReason.BROKEN_CHAIN, lambda: world.show(1, mixed, Phase.MASKED_INPUT), 2)


def test_a_partner_seals_rubbish() -> None:
    world = World().up_to(Phase.SHARE_KEYS)
    sealed = decode_sealed(memoryview(payload_of(world, Phase.SHARE_KEYS, 2)))
    sealed[ClientId(1)] = bytes(len(sealed[ClientId(1)]))
    mixed = world.bundle(Phase.MASKED_INPUT, replace={2: resign(world, Phase.SHARE_KEYS, 2, encode_sealed(sealed))})
    refused(AbortReason.BAD_CIPHERTEXT, lambda: world.show(1, mixed, Phase.MASKED_INPUT), 2)


def test_a_partner_gives_one_recipient_nothing() -> None:
    world = World().up_to(Phase.SHARE_KEYS)
    sealed = decode_sealed(memoryview(payload_of(world, Phase.SHARE_KEYS, 2)))
    del sealed[ClientId(1)]
    mixed = world.bundle(Phase.MASKED_INPUT, replace={2: resign(world, Phase.SHARE_KEYS, 2, encode_sealed(sealed))})
    refused(AbortReason.MALFORMED, lambda: world.show(1, mixed, Phase.MASKED_INPUT), 2)


def test_a_partner_sends_a_vector_of_another_length() -> None:
    world = World().up_to(Phase.MASKED_INPUT)
    forged = resign(world, Phase.MASKED_INPUT, 2, bytes(4 * 20))
    mixed = world.bundle(Phase.CONSISTENCY, replace={2: forged})
    refused(AbortReason.MALFORMED, lambda: world.show(1, mixed, Phase.CONSISTENCY), 2)


def test_the_operator_names_who_sent_another_length_and_not_whoever_comes_after() -> None:
    world = World().up_to(Phase.MASKED_INPUT)
    world.sent[Phase.MASKED_INPUT][ClientId(1)] = resign(world, Phase.MASKED_INPUT, 1, bytes(4 * 20))
    refused(AbortReason.MALFORMED, world.open, 1)


def test_a_partner_signs_other_survivors() -> None:
    world = World().up_to(Phase.CONSISTENCY)
    forged = resign(world, Phase.CONSISTENCY, 2, party_list(frozenset(map(ClientId, (1, 2, 3, 4)))))
    mixed = world.bundle(Phase.UNMASK, replace={2: forged})
    refused(AbortReason.INCONSISTENT_SURVIVORS, lambda: world.show(1, mixed, Phase.UNMASK), 2)


def test_no_client_ever_releases_both_kinds_of_one_partner() -> None:
    world = World(7).up_to(Phase.SHARE_KEYS)
    world.ask(Phase.MASKED_INPUT, clients=[1, 2, 3, 4, 5, 6])
    world.ask(Phase.CONSISTENCY)
    world.ask(Phase.UNMASK)
    for client in range(1, 7):
        released = decode_released(memoryview(payload_of(world, Phase.UNMASK, client)))
        assert sorted(row.owner for row in released) == list(range(1, 8))
        assert {row.owner: row.kind.name for row in released}[ClientId(7)] == "MASK_KEY"


def test_a_share_pair_says_nothing_in_its_repr() -> None:
    assert "1, 1" not in repr(SharePair(Secret(b"\1" * 33), Secret(b"\1" * 33), Secret(b"")))
