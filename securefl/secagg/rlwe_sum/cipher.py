"""The public side of a round: encrypts vectors and zeros, adds committed ciphertexts, combines answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from securefl.crypto.rlwe.budget import NoiseBudget
from securefl.crypto.rlwe.cipher import Encryptor, Half, body_size, chunks, decode_total, read_half
from securefl.crypto.rlwe.encoding import decode_elements, element_size
from securefl.crypto.rlwe.ring import Residues, zeros
from securefl.errors import CapacityError, DecodeError
from securefl.quantize import Quantizer
from securefl.secagg.base import OpenedSum
from securefl.secagg.committed import BadAnswerError, Bodies, blame
from securefl.secagg.integer_sum import client_limit, random_values, signed_values
from securefl.types import ClientId, RingVector, Rng


@dataclass(frozen=True, slots=True)
class RlweCipher:
    """An epoch's joint public key with the run's noise budget and quantiser."""

    encryptor: Encryptor = field(repr=False)
    quantizer: Quantizer

    @property
    def budget(self) -> NoiseBudget:
        """The noise budget, and with it the ring."""
        return self.encryptor.budget

    def maximum_body(self, length: int) -> int:
        """Return the bytes of the ciphertexts of ``length`` coordinates: always exactly this many."""
        return body_size(self.budget, self.budget.elements(length))

    def encrypt(self, update: RingVector, *, me: ClientId, rng: Rng) -> bytes:
        """Return the ciphertexts of ``update``, shape (d,): unused slots of the last element random, canaries zero.

        Raises:
            CapacityError: a coordinate is larger than one client's limit, or the vector longer than the budget counts.
        """
        if len(update) > self.budget.length:
            raise CapacityError(f"length={len(update)} must be <= {self.budget.length}, for which the noise budget is")
        values = signed_values(update, self.quantizer)
        slots, count = self.budget.slots, self.budget.elements(len(values))
        padding = random_values(count * slots - len(values), client_limit(self.quantizer), rng=rng)
        plain = np.zeros((count, self.budget.ring.degree), np.int64)
        plain[:, :slots] = np.concatenate((values, padding)).reshape(count, slots)
        return self.encryptor.encrypt(plain, rng=rng)

    def encrypt_zero(self, length: int, *, rng: Rng) -> bytes:
        """Return ciphertexts of zero, as many as ``length`` coordinates take."""
        plain = np.zeros((self.budget.elements(length), self.budget.ring.degree), np.int64)
        return self.encryptor.encrypt(plain, rng=rng)

    def sum_half(self, bodies: Bodies, half: Half, length: int) -> Residues:
        """Return the sum of one half of everybody's ciphertexts, shape (count, primes, N), a few elements at a time.

        Raises:
            BadCiphertextError: a body has another length, or a residue is not canonical.
        """
        total = zeros(self.budget.ring, self.budget.elements(length))
        for sender, body in bodies.items():
            blame(sender, partial(self._require_size, body, length))
        ring = self.budget.ring
        for part in chunks(len(total)):
            read = (blame(sender, partial(read_half, body, half, part, ring)) for sender, body in bodies.items())
            ring.add_all(total[part], read)
        return total

    def combine(self, answers: Mapping[ClientId, memoryview], bodies: Bodies, length: int) -> OpenedSum:
        """Return the sum that the ``answers`` of one set of decryptors open; ``bodies`` include their zeros.

        Raises:
            BadCiphertextError: a body is malformed.
            BadAnswerError: an answer is malformed.
            DecodeError: a residue is outside the noise bound: a share was wrong, nobody knows whose.
        """
        total = self.sum_half(bodies, Half.MESSAGE, length)
        return OpenedSum(self.open_total(total, answers, length), frozenset(bodies))

    def open_total(self, total: Residues, answers: Mapping[ClientId, memoryview], length: int) -> NDArray[np.int64]:
        """Return the sums in summed message halves, shape (length,), which are overwritten; raises as :meth:`combine`."""
        slots, size = self.budget.slots, element_size(self.budget.ring)
        for sender, answer in answers.items():
            if len(answer) != len(total) * size:
                raise BadAnswerError(sender, f"answer of {len(answer)} bytes must have {len(total) * size}")
        opened = np.empty((len(total), slots), np.int64)
        for part in chunks(len(total)):
            read = (self._read_answer(sender, answer, part) for sender, answer in answers.items())
            self.budget.ring.add_all(total[part], read)
            opened[part] = decode_total(total[part], self.budget)[:, :slots]
        return opened.reshape(-1)[:length]

    def _read_answer(self, sender: ClientId, answer: memoryview, part: slice) -> Residues:
        size = element_size(self.budget.ring)
        try:
            return decode_elements(answer[part.start * size : part.stop * size], self.budget.ring, part.stop - part.start)
        except DecodeError as error:
            raise BadAnswerError(sender, str(error)) from error

    def _require_size(self, body: memoryview, length: int) -> None:
        if len(body) != self.maximum_body(length):
            raise DecodeError(f"ciphertexts of {len(body)} bytes must have {self.maximum_body(length)}")
