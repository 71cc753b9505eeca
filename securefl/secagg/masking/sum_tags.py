"""Linear tags that let partners check the opened sum, under a key that the operator does not know.

A tag of a vector x of integers is <k, x> modulo 2^64, k uniform; the tags are summed under masks like the vectors, and the
opened sum must have the opened tag. An operator that alters the sum by any non-zero vector of integers below 2^32 in absolute
value is caught but for probability 2^-33 with one tag and 2^-66 with two: k_j d_j modulo 2^64 takes each of its values with
probability 2^(v - 64), where 2^v divides d_j and v <= 31. (Modulo 2^32 it could be 1/2: unsound.) That is why inputs are taken
as signed integers of the 32-bit ring, and why the 64-bit ring has no tags.

It catches an operator that alters the sum. It does NOT catch an operator that holds one partner's key (any partner knows k),
nor a partner that lies about its own input. Every partner contributes to the key over the encrypted channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.domain import Usage, tag
from securefl.crypto.kdf import derive
from securefl.crypto.keystream import CHUNK_SIZE, Cipher, keystream_chunks
from securefl.secagg.base import OpenedSum
from securefl.secagg.codec import context_digest, party_list, u8
from securefl.secagg.envelope import Channel
from securefl.types import ClientId, RingVector, Secret

CONTRIBUTION_SIZE = 32
TAG_SIZE = 8
TAG_STREAM = 1
"""The stream of the pairwise and self masks that hides the tags."""

_WORDS = CHUNK_SIZE // TAG_SIZE
_MODULUS = 1 << 64


def agree_tag_keys(channel: Channel, contributions: Mapping[ClientId, Secret], count: int) -> tuple[Secret, ...]:
    """Return the keys of ``count`` tags; every partner that shared secrets contributes, so one honest one is enough."""
    parties = sorted(contributions)
    everything = Secret(b"".join(contributions[party].expose() for party in parties))
    bound = (context_digest(channel.wire_id, channel.context), party_list(frozenset(parties)))
    return tuple(derive(everything, tag(channel.wire_id, Usage.SUM_TAG_KEY, *bound, u8(index))) for index in range(count))


def linear_tags(values: NDArray[np.int64] | NDArray[np.int32], keys: Sequence[Secret], cipher: Cipher) -> list[int]:
    """Return <k, values> modulo 2^64 for the keystream k, in 64-bit words, of each key; ``values`` has shape (d,)."""
    totals = [0] * len(keys)
    widened = np.empty(min(_WORDS, len(values)), np.int64)
    words = keystream_chunks(keys, len(values), np.dtype("<u8"), cipher=cipher)
    for start in range(0, len(values), _WORDS):
        chunk = values[start : start + _WORDS]
        np.copyto(widened[: len(chunk)], chunk)
        unsigned = widened[: len(chunk)].view(np.uint64)
        for index in range(len(keys)):
            # einsum wraps modulo 2^64 as dot does, in half its time for integers.
            totals[index] = (totals[index] + int(np.einsum("i,i->", next(words), unsigned))) % _MODULUS
    return totals


def tag_vector(update: RingVector, keys: tuple[Secret, ...], cipher: Cipher) -> NDArray[np.uint64]:
    """Return the tags of a 32-bit ring vector taken as signed integers, shape (tags,)."""
    return np.array(linear_tags(update.view(np.int32), keys, cipher), "<u8")


def tags_match(total: NDArray[np.int64], tags: tuple[int, ...], keys: tuple[Secret, ...], cipher: Cipher) -> bool:
    """Return whether an opened sum of the 32-bit ring has the opened tags, all of them; none where there are no keys.

    A number outside the ring fails: a change by 2^63 would pass every second key.
    """
    if not keys:
        return not tags
    in_ring = int(total.min(initial=0)) >= -(1 << 31) and int(total.max(initial=0)) < 1 << 31
    return in_ring and list(tags) == linear_tags(total, keys, cipher)


@dataclass(frozen=True, slots=True)
class SumCheck:
    """What a client checks an opened sum with: how many words it has, and the ``keys`` of its tags."""

    length: int
    keys: tuple[Secret, ...]

    def holds(self, opened: OpenedSum, cipher: Cipher) -> bool:
        """Return whether ``opened`` is a vector of this length that has its tags."""
        total = opened.total.astype(np.int64, copy=False)
        return total.shape == (self.length,) and tags_match(total, opened.tags, self.keys, cipher)
