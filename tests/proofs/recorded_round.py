"""Real states of a masking round whose keystreams are replaced by chosen words: z3 terms, or numbers.

The clients' states come from the product's own state machines with real keys; only the mask generator is swapped at its
boundary (`masked_chunks`, `apply_masks`), and even there the product's own `_Kernel.apply` does the arithmetic. A word is
looked up by the mask key that the product derived, so both ends of a pair must derive the same key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, TypeAlias, cast
from unittest.mock import patch

import numpy as np
from stand_ins import CountingRng

from securefl.crypto import keystream, shamir
from securefl.quantize import Quantizer
from securefl.secagg.base import Continue, RoundContext
from securefl.secagg.masking import client as client_module
from securefl.secagg.masking import server as server_module
from securefl.secagg.masking import static as static_module
from securefl.secagg.masking.client import Shared
from securefl.secagg.masking.keys import KeyEnd
from securefl.secagg.masking.protocol import MaskingOptions, set_up
from securefl.secagg.masking.server import Opening, Sharing, Summing
from securefl.secagg.masking.static import StaticMasking
from securefl.types import ClientId, Secret

Word = Any
"""A 64-bit word: a z3 bit-vector, or a numpy uint64."""

Label: TypeAlias = "tuple[int, int] | int"
"""Whose mask a key makes: a pair's, lower number first, or one client's own."""


@dataclass(frozen=True)
class Words:
    """The masks of a round: ``pair[i, j]`` with i < j, ``own[i]``, and the inputs ``value[i]``."""

    pair: Mapping[tuple[int, int], Word]
    own: Mapping[int, Word]
    value: Mapping[int, Word]


@dataclass(frozen=True)
class RecordedRound:
    """Clients 1..n after key sharing, and the operator that has relayed the shares."""

    n: int
    clients: Mapping[ClientId, Shared]
    operator: Summing
    labels: Mapping[bytes, Label] = field(repr=False)

    @property
    def cohort(self) -> frozenset[ClientId]:
        """All clients."""
        return frozenset(self.clients)

    def masked_input(self, me: int, words: Words) -> Word:
        """Return what client ``me`` uploads, by the product's ``Shared._masked``."""

        def chunks(vector: Any, *, add: Sequence[Secret], subtract: Sequence[Secret], cipher: object) -> Iterator[Any]:
            target = word_vector(words.value[int(vector[0])])
            yield apply_kernel(self.labels, target.copy(), target, (add, subtract), words)

        with patch.object(client_module, "masked_chunks", chunks):
            (chunk,) = list(self.clients[ClientId(me)]._masked(self.cohort))
        return cast(Any, chunk).obj[0]

    def unmask(self, survivors: Sequence[int], total: Word, words: Words) -> Word:
        """Return the opened word, by the product's ``Opening.open``, from exactly enough shares of every secret."""
        alive = frozenset(ClientId(client) for client in survivors)
        shares = {owner: self._shares(owner, alive) for owner in self.cohort}

        def apply(vector: Any, *, add: Sequence[Secret], subtract: Sequence[Secret], cipher: object, workers: int) -> None:
            apply_kernel(self.labels, vector, vector, (add, subtract), words)

        quantizer = SimpleNamespace(decode=lambda ring: ring)
        real = self.operator.operator
        roster = SimpleNamespace(cipher=real.roster.cipher, quantizer=quantizer, policy=real.roster.policy)
        operator = replace(real, roster=cast(Any, roster))
        untagged = np.empty(0, "<u8")
        opening = Opening(operator, self.operator.adverts, word_vector(total), untagged, alive, self.cohort - alive)
        with patch.object(server_module, "apply_masks", apply):
            return opening.open(shares).total[0]

    def _shares(self, owner: ClientId, alive: frozenset[ClientId]) -> dict[ClientId, Secret]:
        """Return the shares of the owner's seed if it survived, of its mask key otherwise."""
        secrets, threshold = self.clients[owner].secrets, self.operator.operator.graph.threshold
        secret = secrets.seed if owner in alive else secrets.mask_key
        rand = CountingRng(owner).bytes(shamir.rand_size(threshold))
        shares = shamir.split(secret, threshold=threshold, points=sorted(self.cohort), rand=rand)
        return {ClientId(holder): share for holder, share in list(shares.items())[:threshold]}


def apply_kernel(
    labels: Mapping[bytes, Label], source: Any, target: Any, keys: tuple[Sequence[Secret], Sequence[Secret]], words: Words
) -> Any:
    """Run the product's kernel from ``source`` to ``target``, one word each; ``keys`` are those to add and to subtract."""
    scratch = source.copy()

    def stream(key: Secret) -> SimpleNamespace:
        label = labels[key.expose()]
        word = words.own[label] if isinstance(label, int) else words.pair[label]

        def fill(index: int, size: int, out: Any) -> None:
            out[0] = word

        return SimpleNamespace(fill=fill)

    add, subtract = ([stream(key) for key in group] for group in keys)
    kernel = SimpleNamespace(_add=add, _subtract=subtract, _words=scratch, _bytes=scratch, _itemsize=8)
    keystream._Kernel.apply(cast(Any, kernel), 0, source, target)
    return target


def static_input(labels: Mapping[bytes, Label], me: int, keys: Mapping[ClientId, Secret], words: Words) -> Word:
    """Return what client ``me`` uploads in the static protocol, by the product's ``StaticMasking._masked``."""

    def chunks(vector: Any, *, add: Sequence[Secret], subtract: Sequence[Secret], cipher: object) -> Iterator[Any]:
        target = word_vector(words.value[me])
        yield apply_kernel(labels, target.copy(), target, (add, subtract), words)

    scheme: Any = SimpleNamespace(roster=SimpleNamespace(cipher=None))
    with patch.object(static_module, "masked_chunks", chunks):
        (chunk,) = list(StaticMasking._masked(scheme, ClientId(me), np.zeros(1, "<u8"), keys))
    return cast(Any, chunk).obj[0]


def record(n: int) -> RecordedRound:
    """Run the product with ``n`` clients up to the masked input, and name every mask key that can occur."""
    everyone = [ClientId(client) for client in range(1, n + 1)]
    quantizer = Quantizer(clip=1.0, scale_bits=20, ring_bits=64)
    options = MaskingOptions(colluders=0)
    setup = set_up(everyone, quantizer=quantizer, run_id=bytes(32), rng=CountingRng(n), options=options)
    scheme = setup.round(RoundContext(run_id=bytes(32), round=1, roster_hash=setup.roster_hash, model_hash=bytes(32)))
    steps = {me: scheme.client(me, np.array([me], "<u8"), rng=CountingRng(100 + me)) for me in everyone}
    relay: Any = scheme.server(frozenset(everyone)).next({me: step.outbound for me, step in steps.items()})
    after = {me: _continue(step.state.next(relay.outbound[me])) for me, step in steps.items()}
    assert isinstance(relay.state, Sharing)
    operator = _continue(relay.state.next({me: step.outbound for me, step in after.items()})).state
    clients = {me: cast(Shared, step.state) for me, step in after.items()}
    return RecordedRound(n, clients, cast(Summing, operator), _labels(clients))


def _continue(step: Any) -> Continue[Any, Any]:
    assert isinstance(step, Continue)
    return step


def _labels(clients: Mapping[ClientId, Shared]) -> dict[bytes, Label]:
    """Name the mask keys as the lower client of each pair derives them."""
    labels: dict[bytes, Label] = {}
    for me, state in clients.items():
        keys, own = state.member.keys, KeyEnd(me, state.adverts[me].mask_key)
        labels[keys.self_mask(state.secrets.seed, me).expose()] = int(me)
        for peer in clients:
            if me < peer:
                key = keys.pair_mask(state.secrets.mask_key, own, KeyEnd(peer, state.adverts[peer].mask_key))
                labels[key.expose()] = (int(me), int(peer))
    # Every pair and every client has a key of its own: a mask that is used twice would hide nothing.
    assert len(labels) == len(clients) * (len(clients) + 1) // 2
    return labels


def word_vector(word: Word) -> Any:
    """Return a vector of one word: of numbers, or of z3 terms."""
    if isinstance(word, np.uint64):
        return np.array([word], np.uint64)
    vector = np.empty(1, dtype=object)
    vector[0] = word
    return vector

