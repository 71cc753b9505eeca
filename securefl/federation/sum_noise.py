"""Partner-level noise in the round loop: what a partner puts into the sum, and the quantiser that has room for it.

In the arm ``SCHEME+partner-dp`` every partner adds its share before the protocol hides its vector, so nobody ever holds a sum
without noise. In the reference ``plaintext+central-dp`` a trusted aggregator adds the whole noise to the sum: it sees every
update in clear, and exists for comparison only. Weights are 1 for everybody: a partner's sample count would be an unpriced
release. The norm of an update, and whether it was clipped, stay at the partner. What does not: a partner whose training fails
(a loss that is not finite) stops the run, and everybody sees that it did.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from math import isfinite, ldexp

import numpy as np
from numpy.typing import NDArray

from securefl.config import RunConfig
from securefl.dp.accountant import MAX_DELTA
from securefl.dp.composition import UNPRICED
from securefl.dp.distributed import DistributedNoise, SumTerms, design, solve_distributed
from securefl.dp.noisy_sums import PARTNER_NEIGHBOURS, Family
from securefl.errors import ParameterError
from securefl.quantize import Quantizer
from securefl.records import DpRecord
from securefl.secagg import RoundResult
from securefl.secagg.policy import Policy
from securefl.secagg.rounds import Encoder
from securefl.types import ClientId, FloatVector, RingVector, Rng

CENTRAL_NEIGHBOURS = "one partner's update is replaced by zero, in every round; only the trusted aggregator sees the updates"


@dataclass(frozen=True, slots=True, kw_only=True)
class SumNoise:
    """The mechanism of every round; ``central`` where the aggregator adds the noise."""

    mechanism: DistributedNoise
    central: bool = False

    def quantizer(self) -> Quantizer:
        """Return the quantiser whose proven range is that of a noised input."""
        mechanism = self.mechanism
        return Quantizer(
            clip=ldexp(float(mechanism.limit), -mechanism.scale_bits),
            scale_bits=mechanism.scale_bits,
            ring_bits=64 if mechanism.terms.ring_bits == 64 else 32,
            max_weight=1,
        )

    def inputs(self, updates: Mapping[ClientId, FloatVector], rng: Rng) -> dict[ClientId, NDArray[np.int64]]:
        """Return what each partner puts into the sum, its noise included: drawn once, also if it has to be sent again."""
        return {client: self._input(update, rng) for client, update in updates.items()}

    def encoder(
        self,
        inputs: Mapping[ClientId, NDArray[np.int64]],
        sent: MutableMapping[ClientId, NDArray[np.float32]] | None = None,
    ) -> Encoder:
        """Return what turns a partner's update into its vector in the ring, its weight of 1 last.

        Args:
            inputs: what :meth:`inputs` gave for the same updates.
            sent: where an auditor of the simulation finds what each partner handed to aggregation, noise included.
        """
        unit = ldexp(1.0, -self.mechanism.scale_bits)

        def encode(update: FloatVector, weight: int, quantizer: Quantizer, me: ClientId) -> tuple[RingVector, int]:
            if weight != 1:
                raise ParameterError(f"weight={weight} of client {me} must be 1: counts are not priced")
            steps = inputs[me]
            vector = np.empty(len(steps) + 1, quantizer.dtype)
            quantizer.encode(steps, 1, out=vector[:-1])
            vector[-1] = 1
            if sent is not None:
                sent[me] = (steps * unit).astype(np.float32)
            # How many values were clipped would be a number of the partner's data that nobody priced.
            return vector, 0

        return encode

    def _input(self, update: FloatVector, rng: Rng) -> NDArray[np.int64]:
        return self.mechanism.input(update, rng=rng) if self.central else self.mechanism.noised_input(update, rng=rng)

    def finished(self, result: RoundResult, *, rng: Rng) -> RoundResult:
        """Return ``result`` as it may be used: with the trusted aggregator's noise where there is one."""
        if not self.central:
            return result
        noise = self.mechanism.noise(rng=rng) * ldexp(1.0, -self.mechanism.scale_bits)
        return replace(result, total=result.total + noise)


def sum_noise(config: RunConfig, *, length: int, parties: int, central: bool = False) -> tuple[SumNoise, DpRecord]:
    """Return the noise for the config's budget over ``config.dp.rounds`` rounds, and what that spends.

    ``contributors`` are the survivors that every client insists on, less the config's colluders. With an infinite epsilon
    updates are clipped and rounded alike, and no noise is added.

    Raises:
        ParameterError: delta is above 1e-5, or all survivors may collude.
        BudgetExceededError: no noise is enough.
        CapacityError: so much noise doesn't fit the ring.
    """
    dp = config.dp
    if dp.delta > MAX_DELTA:
        raise ParameterError(f"delta={dp.delta:g} must be <= {MAX_DELTA:g} at partner level")
    terms = SumTerms(
        parties=parties,
        contributors=1 if central else Policy.smallest(parties).required - dp.colluders,
        length=length,
        clipping_norm=dp.update_norm,
        ring_bits=config.secagg.ring_bits,
        family=Family(dp.noise),
    )
    if dp.noise_multiplier is not None or not isfinite(dp.epsilon):
        mechanism = design(terms, noise_multiplier=dp.noise_multiplier or 0.0)
    else:
        mechanism = solve_distributed(terms, epsilon=dp.epsilon, delta=dp.delta, rounds=dp.rounds)
    return SumNoise(mechanism=mechanism, central=central), _record(mechanism, config, central=central)


def _record(mechanism: DistributedNoise, config: RunConfig, *, central: bool) -> DpRecord:
    epsilon = mechanism.epsilon(rounds=config.dp.rounds, delta=config.dp.delta)
    bounded = isfinite(epsilon)
    return DpRecord(
        unit="partner",
        epsilon=epsilon if bounded else None,
        delta=config.dp.delta,
        noise_multiplier=mechanism.noise_multiplier,
        accountant="RDP (dp-accounting)" if bounded else UNPRICED,
        clipping_norm=config.dp.update_norm,
        sampling_rate=1.0,
        steps=config.dp.rounds,
        neighbouring=CENTRAL_NEIGHBOURS if central else PARTNER_NEIGHBOURS,
        partner="every partner alike",
    )
