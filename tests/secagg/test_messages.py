"""Encodings are canonical: whatever a decoder accepts encodes to the same bytes, and an envelope has no bit to spare."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masking_world import World

from securefl.errors import DecodeError, ProtocolAbort
from securefl.secagg.codec import Reader, party_list, read_party_list
from securefl.secagg.envelope import open_envelope
from securefl.secagg.masking.messages import (
    ADVERT_SIZE,
    SEALED_PAIR_SIZE,
    Advert,
    Phase,
    Signed,
    decode_released,
    decode_sealed,
    encode_released,
    encode_sealed,
)
from securefl.types import ClientId

pytestmark = pytest.mark.property


def parties(data: bytes) -> bytes:
    reader = Reader(data)
    found = read_party_list(reader)
    reader.finish()
    return party_list(found)


ROUND_TRIPS: dict[str, Callable[[bytes], bytes]] = {
    "advert": lambda data: Advert.decode(memoryview(data)).encode(),
    "sealed": lambda data: encode_sealed(decode_sealed(memoryview(data))),
    "released": lambda data: encode_released(decode_released(memoryview(data))),
    "parties": parties,
    "signed": lambda data: Signed.decode(memoryview(data), frozenset(map(ClientId, range(1, 5)))).encode(),
}


def rows(size: int) -> st.SearchStrategy[bytes]:
    """Counts that may lie, then rows with small numbers in them, so that many are nearly right."""
    row = st.tuples(st.integers(1, 4), st.binary(min_size=size, max_size=size)).map(lambda r: r[0].to_bytes(2, "little") + r[1])
    return st.tuples(st.integers(0, 3), st.lists(row, max_size=3)).map(lambda x: x[0].to_bytes(2, "little") + b"".join(x[1]))


INPUTS = {
    "advert": st.binary(min_size=ADVERT_SIZE - 1, max_size=ADVERT_SIZE + 1),
    "sealed": rows(SEALED_PAIR_SIZE),
    "released": st.builds(lambda data, kind: data[:4] + bytes([kind]) + data[5:], rows(34), st.integers(0, 3)),
    "parties": rows(0),
    "signed": st.lists(rows(0), max_size=4).map(b"".join),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_accepted_encodes_to_the_same_bytes(name: str, data: st.DataObject) -> None:
    message = data.draw(INPUTS[name])
    try:
        again = ROUND_TRIPS[name](message)
    except DecodeError:
        return
    assert again == message


def test_each_decoder_accepts_something() -> None:
    """Without this, decoders that refuse everything would pass."""
    world = World().up_to(Phase.UNMASK)
    names = {Phase.ADVERTISE_KEYS: "advert", Phase.SHARE_KEYS: "sealed", Phase.CONSISTENCY: "parties", Phase.UNMASK: "released"}
    assert ROUND_TRIPS["signed"](2 * b"\x02\0\x01\0\x04\0") == 2 * b"\x02\0\x01\0\x04\0"
    for phase, name in names.items():
        payload = world.sent[phase][ClientId(1)][285:]
        assert ROUND_TRIPS[name](payload) == payload


@settings(max_examples=150, deadline=None)
@given(bit=st.integers(0), phase=st.sampled_from(Phase))
def test_no_bit_of_an_envelope_can_be_flipped(bit: int, phase: Phase) -> None:
    message = bytearray(WORLD.sent[phase][ClientId(2)])
    open_envelope(WORLD.scheme.channel, bytes(message), phase)
    at = bit % (8 * len(message))
    message[at // 8] ^= 1 << (at % 8)
    with pytest.raises(ProtocolAbort):
        open_envelope(WORLD.scheme.channel, bytes(message), phase)


WORLD = World(label="bits").up_to(Phase.UNMASK)
