"""What a threshold sum needs: how much smudging noise, how long a modulus, and with what probability anything goes wrong.

*Noise of a sum.* A fresh encryption has the noise e u + e2 s + e1, with s and e the sums of all holders' secrets and errors.
Ternary and centred binomial variables are strictly sub-Gaussian, so that given e and s a coefficient is sub-Gaussian with
variance proxy V = 2/3 |e|^2 + 10.5 |s|^2 + 10.5, and |e|^2, |s|^2 pass their means by more than the factor of [HKZ12] with
probability below 2^-66. The same theorem bounds the Euclidean norm of the noise of a whole vector. An attempt after a dropout
adds ``threshold`` fresh encryptions of zero; their noise counts too.

*Smudging.* Every decryptor alone must hide that vector: 2^k is at least 0.883 |v| 2^bits (module samplers), with |v|^2 added
over all attempts and all rounds of a key. The result is the total variation distance between all answers of a key's life and
answers that are made from the sums alone.

*Capacity.* Smudging is bounded, not only with high probability: t decryptors add at most t 2^(k+1). With 2^tau plaintexts the
sum is exact as long as this and the noise stay below q / 2^(tau + 1); what can fail is the noise alone, at most 2^-64 over
everything that a key opens.

*Canaries.* The last four coefficients of every element are zero in every honest vector. A wrong share makes a residue uniform,
which passes as zero with probability (2 noise + 1) / q each.

Reference: [HKZ12] Hsu, Kakade, Zhang: A tail inequality for quadratic forms of subgaussian random vectors, 2012.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from securefl.crypto.rlwe.ring import Ring
from securefl.crypto.rlwe.samplers import ERROR_VARIANCE, SMUDGING_FISHER, TERNARY_VARIANCE
from securefl.errors import CapacityError, ParameterError

CANARIES = 4
FAILURE_BITS = 64
MAXIMUM_ATTEMPTS = 3
MAXIMUM_PLAIN_BITS = 52
MAXIMUM_SMUDGING_BITS = 80
_TAIL = (FAILURE_BITS + 2) * math.log(2)
"""Each of four events may fail with probability 2^-66."""

LADDER = (
    Ring(4096, (30, 30, 30)),
    Ring(4096, (30, 30, 31)),
    Ring(4096, (25,) * 4),
    Ring(4096, (26,) * 4),
    *(Ring(8192, (bits,) * 4) for bits in (27, 28, 29, 30)),
    *(Ring(8192, (bits,) * 5) for bits in (26, 28, 30)),
)
"""Rings in the order of bytes a coefficient, all within the security table."""


@dataclass(frozen=True, kw_only=True)
class NoiseBudget:
    """The noise of sums of ``clients`` vectors of ``length`` coordinates, at most ``limit`` in the sum, opened by
    ``threshold`` of ``holders``.

    Attributes:
        attempts: sets of decryptors that may be tried for one sum, 1 to 3.
        rounds: sums that are opened under one key.
        statistical_bits: minus the base-2 logarithm of the distance that the smudging leaves, over all of them.

    Raises:
        ParameterError: a number is outside its bound.
        CapacityError: the modulus is too short for sum, noise and smudging.
    """

    ring: Ring
    holders: int
    threshold: int
    clients: int
    limit: int
    length: int
    attempts: int = MAXIMUM_ATTEMPTS
    rounds: int = 1
    statistical_bits: int = 40

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= self.holders or min(self.clients, self.limit, self.length, self.rounds) < 1:
            raise ParameterError(f"threshold={self.threshold} must be in 1..{self.holders}, and every count >= 1")
        if not 1 <= self.attempts <= MAXIMUM_ATTEMPTS:
            raise ParameterError(f"attempts={self.attempts} must be in 1..{MAXIMUM_ATTEMPTS}")
        if not 20 <= self.statistical_bits <= 128:
            raise ParameterError(f"statistical_bits={self.statistical_bits} must be in 20..128")
        if self.plain_bits > MAXIMUM_PLAIN_BITS:
            raise CapacityError(f"sums of {self.plain_bits} bits must have <= {MAXIMUM_PLAIN_BITS}")
        if self.smudging_bits > MAXIMUM_SMUDGING_BITS:
            raise CapacityError(f"smudging of {self.smudging_bits} bits must have <= {MAXIMUM_SMUDGING_BITS}")
        if self.noise_bound >= self.ring.modulus >> (self.plain_bits + 1):
            needed = math.log2(self.noise_bound) + self.plain_bits + 1
            raise CapacityError(
                f"modulus of {self.ring.modulus.bit_length()} bits must have > {needed:.1f} for {self.plain_bits}-bit sums of "
                f"{self.clients} x {self.length}, {self.threshold} of {self.holders} decryptors, {self.attempts} attempts"
            )

    @property
    def plain_bits(self) -> int:
        """tau: sums lie between -2^(tau - 1) and 2^(tau - 1)."""
        return self.limit.bit_length() + 1

    @property
    def scale(self) -> int:
        """Delta: one step of the sum as an element of Z_q."""
        return self.ring.modulus >> self.plain_bits

    @property
    def slots(self) -> int:
        """Coordinates in an element, the others are canaries."""
        return self.ring.degree - CANARIES

    def elements(self, length: int) -> int:
        """Return how many ring elements hold ``length`` coordinates."""
        return -(-length // self.slots)

    @property
    def coefficients(self) -> int:
        """Coefficients of a whole vector with padding and canaries."""
        return self.elements(self.length) * self.ring.degree

    @property
    def encryption_variance(self) -> float:
        """Variance proxy of a coefficient of a fresh encryption's noise, for all but 2^-66 of the keys."""
        degree, holders = self.ring.degree, self.holders
        excess = 1 + 2 * math.sqrt(_TAIL / degree) + 2 * _TAIL / degree
        products = 2 * TERNARY_VARIANCE * ERROR_VARIANCE * degree * holders * excess
        return products + ERROR_VARIANCE

    @property
    def summands(self) -> tuple[int, ...]:
        """Encryptions in the sum that each attempt opens: the clients', and zeros of every decryptor after the first."""
        return tuple(self.clients + (self.threshold if attempt else 0) for attempt in range(self.attempts))

    def norm(self, summands: int) -> float:
        """Return the Euclidean norm of a vector's noise that is passed with probability below 2^-66."""
        variance = summands * self.encryption_variance
        # |e^(w)|^2 <= N sigma^2 2 ln(4 N 2^66) at every root w: the covariance's norm over its diagonal.
        spread = 2 * (math.log(4 * self.ring.degree) + _TAIL)
        count = self.coefficients
        return math.sqrt(variance * (count + 2 * math.sqrt(count * spread * _TAIL) + 2 * spread * _TAIL))

    @cached_property
    def hidden_norm(self) -> float:
        """The Euclidean norm of all that one decryptor's smudging has to hide in a key's life."""
        return math.sqrt(self.rounds * sum(self.norm(summands) ** 2 for summands in self.summands))

    @property
    def smudging_bits(self) -> int:
        """k: the bits of each of the four uniforms."""
        scale = math.log2(math.sqrt(SMUDGING_FISHER) / 2 * self.hidden_norm)
        return max(math.ceil(self.statistical_bits + scale), 33)

    @property
    def distance_bits(self) -> float:
        """Minus the base-2 logarithm of the total variation distance over all answers of a key, by the module's formula."""
        return self.smudging_bits - math.log2(math.sqrt(SMUDGING_FISHER) / 2 * self.hidden_norm)

    @property
    def encryption_bound(self) -> int:
        """What a coefficient of the summed encryptions' noise passes with probability at most 2^-66, over all openings."""
        openings = self.coefficients * self.attempts * self.rounds
        deviations = math.sqrt(2 * (_TAIL + math.log(2 * openings)))
        return math.ceil(deviations * math.sqrt(max(self.summands) * self.encryption_variance))

    @property
    def noise_bound(self) -> int:
        """The most that a coefficient differs from scale * sum: noise, every decryptor's smudging, and the scale's rounding."""
        return self.encryption_bound + self.threshold * (2 << self.smudging_bits) + (1 << self.plain_bits)

    @property
    def escape_bits(self) -> float:
        """Minus the base-2 logarithm of the probability that a uniform element passes its canaries."""
        return CANARIES * (math.log2(self.ring.modulus) - math.log2(2 * self.noise_bound + 1))


def smallest_budget(
    *, holders: int, threshold: int, clients: int, limit: int, length: int, attempts: int = MAXIMUM_ATTEMPTS, rounds: int = 1,
    statistical_bits: int = 40,
) -> NoiseBudget:  # fmt: skip
    """Return the budget on the first ring of :data:`LADDER` that carries the sum.

    Raises:
        CapacityError: none does.
    """
    refused = CapacityError("no ring")
    for ring in LADDER:
        ring.require_secure()
        try:
            return NoiseBudget(
                ring=ring, holders=holders, threshold=threshold, clients=clients, limit=limit, length=length,
                attempts=attempts, rounds=rounds, statistical_bits=statistical_bits,
            )  # fmt: skip
        except CapacityError as error:
            refused = error
    raise refused
