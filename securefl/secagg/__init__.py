"""Secure aggregation: one interface, one module or folder for each protocol.

>>> "plaintext" in schemes()
True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol

from securefl.errors import ParameterError
from securefl.quantize import Quantizer
from securefl.secagg import bfv_sum, ckks_sum, masking, paillier_sum, plaintext, rlwe_sum
from securefl.secagg.base import Setup
from securefl.secagg.rounds import Message, RoundCost, RoundResult, run_round
from securefl.types import ClientId, FloatVector, Rng

__all__ = ["Message", "RoundCost", "RoundResult", "SetupFactory", "aggregate", "run_round", "schemes"]


class SetupFactory(Protocol):
    """Makes the set-up of a run: rosters, keys, parameters; ``options`` is the scheme's own frozen dataclass."""

    def __call__(
        self,
        clients: Sequence[ClientId],
        *,
        quantizer: Quantizer,
        run_id: bytes,
        rng: Rng,
        options: object | None = None,
    ) -> Setup:
        """Return the set-up of a run for ``clients``."""
        ...


_SCHEMES: Mapping[str, SetupFactory] = MappingProxyType(
    {
        "plaintext": plaintext.set_up,
        "paillier": paillier_sum.set_up,
        "ckks": ckks_sum.set_up,
        "bfv": bfv_sum.set_up,
        "rlwe": rlwe_sum.set_up,
        "masking": masking.set_up,
        "masking-static": masking.set_up_static,
    }
)


def schemes() -> Mapping[str, SetupFactory]:
    """Return the set-up function of every scheme by its name."""
    return _SCHEMES


def aggregate(
    scheme: str,
    updates: Mapping[ClientId, FloatVector],
    *,
    rng: Rng,
    dropouts: Mapping[ClientId, str] | None = None,
    weights: Mapping[ClientId, int] | None = None,
    clip: float = 1.0,
    ring_bits: Literal[32, 64] = 32,
    options: object | None = None,
) -> RoundResult:
    """Return the sum that a whole round of ``scheme`` opens, keys made fresh, every party in this process.

    Args:
        updates: float32 or float64, shape (d,).
        weights: 1 for everyone by default.

    Raises:
        ParameterError: no such scheme, or a value outside its bound.
        ProtocolAbort: a party stopped the round.
    """
    if scheme not in _SCHEMES:
        raise ParameterError(f"scheme={scheme!r} must be one of {', '.join(_SCHEMES)}")
    used = dict.fromkeys(updates, 1) if weights is None else weights
    quantizer = Quantizer.for_sum(len(updates), clip=clip, ring_bits=ring_bits, max_weight=max([1, *used.values()]))
    setup = _SCHEMES[scheme](sorted(updates), quantizer=quantizer, run_id=rng.bytes(32), rng=rng, options=options)
    return run_round(
        setup, updates, weights=used, round=1, model_hash=bytes(32), rng=rng, quantizer=quantizer, dropouts=dropouts
    )
