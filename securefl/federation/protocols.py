"""The set-up of a run's aggregation protocol from the config."""

from __future__ import annotations

from collections.abc import Sequence

from securefl.config import SecaggConfig
from securefl.crypto.paillier import EXPONENT_BITS
from securefl.errors import InputError, ParameterError
from securefl.quantize import Quantizer
from securefl.secagg import schemes
from securefl.secagg.base import Setup
from securefl.secagg.paillier_sum import HALF_LENGTH, Decryption, PaillierOptions
from securefl.types import ClientId, Rng

RUN_ID_SIZE = 32
MAX_WEIGHT = 255
"""Weights are sample counts scaled to 8 bits."""


def scaled_weights(counts: Sequence[int], *, limit: int = MAX_WEIGHT) -> list[int]:
    """Return sample counts scaled so that the largest is ``limit`` at most: as they are where they fit, else rounded.

    A partner with records never gets 0; without any it does.

    >>> scaled_weights([10, 200])
    [10, 200]
    >>> scaled_weights([7000, 150, 0])
    [255, 5, 0]
    """
    most = max(counts)
    if most <= limit:
        return list(counts)
    return [max(1, round(limit * count / most)) if count else 0 for count in counts]


def quantizer_for(config: SecaggConfig, parties: int) -> Quantizer:
    """Return the quantiser of a run: its capacity is proven here, before anything is sent.

    Raises:
        CapacityError: the sum of all parties could wrap.
    """
    return Quantizer.for_sum(parties, clip=config.clip, ring_bits=config.ring_bits, max_weight=MAX_WEIGHT)


def options_for(scheme: str, config: SecaggConfig) -> object | None:
    """Return the options of ``scheme`` in a run, ``None`` for its defaults."""
    if scheme != "paillier":
        return None
    exponent_bits = EXPONENT_BITS if config.paillier_exponent == "short" else HALF_LENGTH
    return PaillierOptions(
        bits=config.paillier_bits, exponent_bits=exponent_bits, decryption=Decryption(config.paillier_decryption)
    )


def set_up(scheme: str, clients: Sequence[ClientId], *, quantizer: Quantizer, rng: Rng, options: object | None = None) -> Setup:
    """Return the set-up of ``scheme`` for ``clients`` with a fresh run id.

    Raises:
        InputError: the scheme is not among those that there are.
        ParameterError: the options hold a key that ships with the package.
    """
    if isinstance(options, PaillierOptions) and options.public_knowledge:
        raise ParameterError("the Paillier key is one that ships with the package for tests: a run makes its own")
    known = schemes()
    if scheme not in known:
        raise InputError(f"scheme {scheme!r} is unknown, must be one of {', '.join(sorted(known))}")
    return known[scheme](clients, quantizer=quantizer, run_id=rng.bytes(RUN_ID_SIZE), rng=rng, options=options)
