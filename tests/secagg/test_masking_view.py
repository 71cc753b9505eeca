"""What a curious operator sees of two sets of inputs with the same sum: no statistic of ours tells them apart.

The operator's view is computed as the operator can: all masked inputs, less the self-masks that it opens. What remains is each
input under pairwise masks alone. The rounds are seeded; each test has a negative control that must fail.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from masking_world import World, make_setup

from securefl.crypto import shamir
from securefl.crypto.keystream import Cipher, apply_masks
from securefl.secagg.envelope import head_size
from securefl.secagg.masking.keys import KeySchedule
from securefl.secagg.masking.messages import WIRE_ID, Phase, decode_released
from securefl.types import ClientId, RingVector, Secret

pytestmark = [pytest.mark.statistical, pytest.mark.transcript]
LENGTH = 30_000
HEAD = head_size(WIRE_ID)


def view(world: World) -> dict[ClientId, RingVector]:
    """Each client's input as the operator sees it once it has taken the self-masks off."""
    shares: dict[ClientId, dict[int, Secret]] = {}
    for holder, message in world.sent[Phase.UNMASK].items():
        for row in decode_released(memoryview(message[HEAD:])):
            shares.setdefault(row.owner, {})[holder] = row.share
    need = world.setup.signed.roster.policy.threshold
    seen = {}
    for client, message in world.sent[Phase.MASKED_INPUT].items():
        vector = np.frombuffer(message, "<u4", offset=HEAD).copy()
        seed = shamir.combine({holder: shares[client][holder] for holder in sorted(shares[client])[:need]})
        mask = KeySchedule(world.scheme.channel).self_mask(seed, client)
        apply_masks(vector, add=[], subtract=[mask], cipher=Cipher.AES_256)
        seen[client] = vector
    return seen


def play(shift: int) -> World:
    """Three clients; the first has ``shift`` more in every coordinate, the second as much less: the sum is the same."""
    world = World(setup=make_setup(3), length=LENGTH, label=f"view {shift}")
    world.inputs[ClientId(1)] += np.uint32(shift)
    world.inputs[ClientId(2)] -= np.uint32(shift)
    return world.up_to(Phase.UNMASK)


def uniformity(words: RingVector) -> float:
    """Standardised chi-square of the bytes: near a standard normal for uniform bytes."""
    counts = np.bincount(words.view(np.uint8), minlength=256)
    expected = len(words) * 4 / 256
    return float((((counts - expected) ** 2 / expected).sum() - 255) / math.sqrt(2 * 255))


def correlation(words: RingVector, with_what: RingVector) -> float:
    """Standardised correlation of the signed words: near a standard normal for independent ones."""
    left, right = words.view(np.int32).astype(float), with_what.view(np.int32).astype(float)
    return float(np.corrcoef(left, right)[0, 1] * math.sqrt(len(words)))


# Over all seeds a right implementation passes 8 standard deviations with probability below 1e-12 (normal statistics) or 1e-9
# (chi-square, whose upper tail is heavier).
LIMIT = 8.0


@pytest.mark.parametrize("shift", [0, 1_000_003])
def test_the_view_is_uniform_and_says_nothing_about_an_input(shift: int) -> None:
    world = play(shift)
    assert world.open().total.tolist() == world.expected((1, 2, 3))
    seen = view(world)
    for client, vector in seen.items():
        assert abs(uniformity(vector)) < LIMIT
        assert abs(correlation(vector, world.inputs[client])) < LIMIT
    total = sum(vector.view(np.int32).astype(np.int64) for vector in seen.values())
    wrapped = np.asarray(total).astype(np.uint64).astype(np.uint32).view(np.int32)
    assert wrapped.tolist() == world.expected((1, 2, 3))


def test_negative_control_an_unmasked_vector_fails_both() -> None:
    world = play(0)
    plain = world.inputs[ClientId(1)]
    assert abs(uniformity(plain)) > LIMIT
    assert abs(correlation(plain, plain)) > LIMIT


def test_negative_control_reused_masks_give_the_difference_away() -> None:
    """Two rounds whose masks were the same would show the inputs' difference; two honest rounds don't."""
    first, second = play(0), play(5)
    honest = view(first)[ClientId(1)] - view(second)[ClientId(1)]
    difference = first.inputs[ClientId(1)] - second.inputs[ClientId(1)]
    mask = view(first)[ClientId(1)] - first.inputs[ClientId(1)]
    reused = (first.inputs[ClientId(1)] + mask) - (second.inputs[ClientId(1)] + mask)
    assert np.array_equal(reused, difference)
    assert abs(uniformity(honest)) < LIMIT < abs(uniformity(reused))


def test_the_words_of_two_inputs_with_the_same_sum_have_the_same_distribution() -> None:
    """Two-sample statistic over the top bytes of client 1's view, shift 0 against 1,000,003; the control compares inputs."""
    left, right = play(0), play(1_000_003)

    def distance(one: RingVector, two: RingVector) -> float:
        a, b = (np.bincount(words.view(np.uint8), minlength=256).astype(float) for words in (one, two))
        both = a + b
        used = both > 0
        statistic = float(((a - b)[used] ** 2 / both[used]).sum())
        return (statistic - (int(used.sum()) - 1)) / math.sqrt(2 * (int(used.sum()) - 1))

    assert abs(distance(view(left)[ClientId(1)], view(right)[ClientId(1)])) < LIMIT
    assert abs(distance(left.inputs[ClientId(1)], right.inputs[ClientId(1)])) > LIMIT
