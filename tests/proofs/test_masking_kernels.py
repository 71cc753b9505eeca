"""The product's masking code on z3 bit-vectors: proven for every 64-bit value of every word, for all dropout patterns, n <= 6.

Only n is bounded. What runs is `Shared._masked`, `Opening.open` and `_Kernel.apply` themselves, with real keys.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import combinations
from operator import add
from types import SimpleNamespace
from typing import Any

import pytest
import z3
from product_under_proof import recorded
from recorded_round import Label, Words, static_input
from stand_ins import CountingRng

from securefl.quantize import Quantizer
from securefl.secagg.base import RoundContext
from securefl.secagg.masking.client import Checked
from securefl.secagg.masking.keys import KeyEnd
from securefl.secagg.masking.messages import ShareKind
from securefl.secagg.masking.static import set_up_static
from securefl.secagg.masking.sum_tags import SumCheck
from securefl.types import ClientId

LARGEST = 6


def symbolic_words(n: int) -> Words:
    """Return masks and inputs as free 64-bit vectors."""
    cohort = range(1, n + 1)
    pair = {(i, j): z3.BitVec(f"s{i}_{j}", 64) for i, j in combinations(cohort, 2)}
    own = {i: z3.BitVec(f"b{i}", 64) for i in cohort}
    return Words(pair, own, {i: z3.BitVec(f"x{i}", 64) for i in cohort})


def prove_equal(left: Any, right: Any) -> None:
    """Check that two terms are equal for every value of their words."""
    solver = z3.Solver()
    solver.add(left != right)
    assert solver.check() == z3.unsat, solver.model()


def test_every_dropout_pattern_for_every_word() -> None:
    patterns = 0
    for n in range(2, LARGEST + 1):
        words, cohort = symbolic_words(n), range(1, n + 1)
        uploads = {me: recorded(n).masked_input(me, words) for me in cohort}
        for size in range(1, n + 1):
            for survivors in combinations(cohort, size):
                total = reduce(add, [uploads[me] for me in survivors])
                opened = recorded(n).unmask(survivors, total, words)
                prove_equal(opened, reduce(add, [words.value[me] for me in survivors]))
                patterns += 1
    assert patterns == sum(2**n - 1 for n in range(2, LARGEST + 1))


def test_upload_is_the_view_of_the_theorem() -> None:
    """A client uploads x_i + b_i + sum of s_ij over j > i - sum of s_ji over j < i: CompleteGraph.viewE with a self mask."""
    for n in range(2, LARGEST + 1):
        words = symbolic_words(n)
        for me in range(1, n + 1):
            view = words.value[me] + words.own[me]
            for peer in range(1, n + 1):
                if me < peer:
                    view = view + words.pair[me, peer]
                elif peer < me:
                    view = view - words.pair[peer, me]
            prove_equal(recorded(n).masked_input(me, words), view)


def test_static_masks_cancel_for_every_word() -> None:
    """`mask_cancel_complete` on the static protocol: the uploads of all clients add up to their inputs; real ratchets."""
    for n in range(3, LARGEST + 1):
        words, everyone = symbolic_words(n), [ClientId(client) for client in range(1, n + 1)]
        quantizer = Quantizer(clip=1.0, scale_bits=20, ring_bits=64)
        setup = set_up_static(everyone, quantizer=quantizer, run_id=bytes(32), rng=CountingRng(n))
        context = RoundContext(run_id=bytes(32), round=1, roster_hash=setup.roster_hash, model_hash=bytes(32))
        keys = {me: setup.parties[me].ratchet.turn(context) for me in everyone}
        labels: dict[bytes, Label] = {keys[i][j].expose(): (int(i), int(j)) for i, j in combinations(everyone, 2)}
        assert len(labels) == n * (n - 1) // 2
        uploads = [static_input(labels, me, keys[me], words) for me in everyone]
        prove_equal(reduce(add, uploads), reduce(add, [words.value[me] for me in everyone]))
        lower = [words.pair[i, 2] for i in (1,)]
        upper = [words.pair[2, j] for j in range(3, n + 1)]
        prove_equal(uploads[1], reduce(add, upper, words.value[2]) - reduce(add, lower))


def test_an_upload_without_masks_is_noticed() -> None:
    """The negative control of the proof itself: an upload that lacks one mask is not the view."""
    words = symbolic_words(3)
    with pytest.raises(AssertionError):
        prove_equal(recorded(3).masked_input(1, words), words.value[1] + words.own[1] + words.pair[1, 2])


def test_client_releases_one_kind_of_share() -> None:
    """The theorem reveals the self masks of survivors and the pairwise masks of the others; the client gives no other share."""
    state = recorded(4).clients[ClientId(1)]
    held = dict.fromkeys(recorded(4).cohort, state.own_pair)
    for size in range(1, 5):
        for survivors in combinations(sorted(recorded(4).cohort), size):
            checked = Checked(state.member, held, SumCheck(0, ()), frozenset(survivors), state.answered)
            for owner in recorded(4).cohort:
                released = checked._release(owner)
                expected = ShareKind.SELF_MASK_SEED if owner in survivors else ShareKind.MASK_KEY
                share = state.own_pair.seed_share if owner in survivors else state.own_pair.key_share
                assert (released.owner, released.kind, released.share) == (owner, expected, share)


def test_no_mask_key_serves_two_rounds() -> None:
    """Mask reuse leaks the difference of two inputs (Controls.mask_reuse_leaks): round and model are in the key."""
    state = recorded(3).clients[ClientId(1)]
    channel = state.member.channel
    keys = set()
    for context in [channel.context, replace(channel.context, round=2), replace(channel.context, model_hash=bytes(31) + b"1")]:
        schedule = type(state.member.keys)(replace(channel, context=context))
        own = KeyEnd(ClientId(1), state.adverts[ClientId(1)].mask_key)
        peer = KeyEnd(ClientId(2), state.adverts[ClientId(2)].mask_key)
        keys.add(schedule.pair_mask(state.secrets.mask_key, own, peer).expose())
        keys.add(schedule.self_mask(state.secrets.seed, ClientId(1)).expose())
    assert len(keys) == 6


def test_stand_in_is_only_the_generator() -> None:
    """The recorded round swaps the keystream and nothing else: its operator is the product's but for roster and decoding."""
    real = recorded(3).operator.operator
    assert not isinstance(real.roster, SimpleNamespace)
    assert real.graph.threshold == 2
