"""Verifiable sums: an honest operator passes, every altered sum is caught, and the soundness is what the docstring says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masking_world import MODEL, HashRng, World, make_setup

from securefl.crypto.keystream import Cipher, keystream
from securefl.errors import AbortReason, ParameterError, ProtocolAbort
from securefl.secagg import run_round
from securefl.secagg.base import ChecksSum, OpenedSum
from securefl.secagg.masking import MaskingOptions
from securefl.secagg.masking.messages import Phase
from securefl.secagg.masking.server import Opening
from securefl.secagg.masking.sum_tags import linear_tags, tag_vector, tags_match
from securefl.types import ClientId, Secret

KEY = Secret(b"k" * 32)


def world(tags: int, n: int = 5, length: int = 21) -> World:
    return World(setup=make_setup(n, options=MaskingOptions(sum_tags=tags), label=f"tags {tags}"), length=length)


def check(played: World, opened: OpenedSum, client: int = 1) -> None:
    state = played.states[ClientId(client)]
    assert isinstance(state, ChecksSum)
    state.verify_sum(opened)


@pytest.mark.parametrize("tags", [1, 2])
def test_every_survivor_accepts_the_honest_sum(tags: int) -> None:
    played = world(tags).up_to(Phase.SHARE_KEYS)
    played.ask(Phase.MASKED_INPUT, clients=[1, 2, 3, 5])
    played.ask(Phase.CONSISTENCY)
    played.ask(Phase.UNMASK)
    opened = played.open()
    assert len(opened.tags) == tags
    assert opened.total.tolist() == played.expected((1, 2, 3, 5))
    for client in (1, 2, 3, 5):
        check(played, opened, client)


@pytest.mark.parametrize("change", [1, -1, 1 << 31, 1 << 20])
@pytest.mark.parametrize("at", [0, 20])
def test_an_altered_coordinate_is_caught(change: int, at: int) -> None:
    played = world(2).up_to(Phase.UNMASK)
    opened = played.open()
    total = opened.total.astype(np.int64)
    total[at] += change
    with pytest.raises(ProtocolAbort) as caught:
        check(played, replace(opened, total=total))
    assert caught.value.reason is AbortReason.BAD_TAG


def test_altered_missing_or_additional_tags_are_caught() -> None:
    played = world(2).up_to(Phase.UNMASK)
    opened = played.open()
    for tags in ((opened.tags[0] ^ 1, opened.tags[1]), opened.tags[:1], (), (*opened.tags, 0)):
        with pytest.raises(ProtocolAbort) as caught:
            check(played, replace(opened, tags=tags))
        assert caught.value.reason is AbortReason.BAD_TAG


def test_a_change_outside_the_ring_is_caught_whatever_the_key() -> None:
    """2^63 k is zero modulo 2^64 for every even k: of 21 coordinates about half would pass one tag."""
    played = world(1).up_to(Phase.UNMASK)
    opened = played.open()
    for at in range(21):
        total = opened.total.astype(np.int64)
        total[at] ^= np.int64(-(2**63))
        with pytest.raises(ProtocolAbort) as caught:
            check(played, replace(opened, total=total))
        assert caught.value.reason is AbortReason.BAD_TAG


@pytest.mark.parametrize("tags", [0, 2])
def test_a_longer_or_shorter_sum_is_caught(tags: int) -> None:
    """Zeros behind the sum don't change its tags, and would be read as its weight."""
    played = world(tags).up_to(Phase.UNMASK)
    opened = played.open()
    check(played, opened)
    for total in (np.append(opened.total, 0), opened.total[:-1], opened.total[None]):
        with pytest.raises(ProtocolAbort) as caught:
            check(played, replace(opened, total=total))
        assert caught.value.reason is AbortReason.BAD_TAG


def test_the_driver_does_not_let_the_operator_leave_the_tags_out(monkeypatch: pytest.MonkeyPatch) -> None:
    open_sum = Opening.open
    monkeypatch.setattr(Opening, "open", lambda self, shares: replace(open_sum(self, shares), tags=()))
    setup = make_setup(5, options=MaskingOptions(sum_tags=2))
    updates = {ClientId(i): np.full(50, i / 20) for i in range(1, 6)}
    with pytest.raises(ProtocolAbort) as caught:
        run_round(
            setup, updates, weights=dict.fromkeys(updates, 3), round=1, model_hash=MODEL, rng=HashRng("driver"),
            quantizer=setup.signed.roster.quantizer,
        )  # fmt: skip
    assert caught.value.reason is AbortReason.BAD_TAG


def test_other_survivors_than_signed_are_caught() -> None:
    played = world(1).up_to(Phase.UNMASK)
    with pytest.raises(ProtocolAbort) as caught:
        check(played, replace(played.open(), survivors=frozenset({ClientId(1), ClientId(2)})))
    assert caught.value.reason is AbortReason.INCONSISTENT_SURVIVORS


def test_the_driver_lets_clients_check_and_counts_no_error() -> None:
    setup = make_setup(5, options=MaskingOptions(sum_tags=2))
    updates = {ClientId(i): np.full(50, i / 20) for i in range(1, 6)}
    result = run_round(
        setup, updates, weights=dict.fromkeys(updates, 3), round=1, model_hash=MODEL, rng=HashRng("driver"),
        quantizer=setup.signed.roster.quantizer, dropouts={ClientId(2): "unmask"},
    )  # fmt: skip
    assert result.max_abs_error <= result.quantization_bound


@pytest.mark.property
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=40), st.sampled_from(Cipher))
def test_a_tag_is_the_inner_product_and_additive(values: list[int], cipher: Cipher) -> None:
    vector = np.array(values, np.int32)
    words = [int(word) for word in keystream(KEY, len(values), np.dtype("<u8"), cipher=cipher)]
    assert linear_tags(vector, [KEY], cipher)[0] == sum(w * v for w, v in zip(words, values, strict=True)) % 2**64
    twice = 2 * vector.astype(np.int64)
    assert linear_tags(twice, [KEY], cipher)[0] == 2 * linear_tags(vector, [KEY], cipher)[0] % 2**64


def test_tags_work_across_chunks() -> None:
    vector = np.arange(70_000, dtype=np.int64) - 35_000
    words = keystream(KEY, len(vector), np.dtype("<u8"), cipher=Cipher.AES_256)
    expected = int(np.multiply(words, vector.view(np.uint64)).sum(dtype=np.uint64))
    assert linear_tags(vector, [KEY], Cipher.AES_256)[0] == expected


@pytest.mark.statistical
def test_the_soundness_of_one_tag_is_2_to_the_minus_33_and_of_a_tag_modulo_2_to_the_32_is_one_half() -> None:
    """A change of 2^31 moves the tag by 2^31 k modulo 2^64: zero once in 2^33 keys. Modulo 2^32 every second key misses it."""
    missed_64 = missed_32 = 0
    for index in range(400):
        key = Secret(index.to_bytes(32, "little"))
        word = int(keystream(key, 1, np.dtype("<u8"), cipher=Cipher.AES_256)[0])
        missed_64 += (word << 31) % 2**64 == 0
        missed_32 += (word << 31) % 2**32 == 0
    assert missed_64 == 0
    assert 150 < missed_32 < 250  # 200 expected, standard deviation 10: the negative control


def test_two_keys_give_independent_tags() -> None:
    keys = (KEY, Secret(b"l" * 32))
    vector = np.arange(9, dtype=np.uint32)
    tags = tag_vector(vector, keys, Cipher.AES_256)
    assert tags[0] != tags[1]
    assert tags_match(vector.astype(np.int64), (int(tags[0]), int(tags[1])), keys, Cipher.AES_256)
    assert not tags_match(vector.astype(np.int64), (int(tags[1]), int(tags[0])), keys, Cipher.AES_256)


def test_the_masked_tags_cost_eight_bytes_each_and_show_nothing() -> None:
    none, two = world(0).up_to(Phase.MASKED_INPUT), world(2).up_to(Phase.MASKED_INPUT)
    sizes = [len(played.sent[Phase.MASKED_INPUT][ClientId(1)]) for played in (none, two)]
    assert sizes[1] - sizes[0] == 16


def test_the_64_bit_ring_has_no_sound_tags() -> None:
    with pytest.raises(ParameterError, match="32-bit ring"):
        make_setup(5, options=MaskingOptions(sum_tags=1), ring_bits=64)
