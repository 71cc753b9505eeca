"""Secure aggregation: one interface, one module or folder for each protocol; other packages bring theirs by an entry point.

>>> "plaintext" in schemes()
True
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol, cast

from securefl.quantize import Quantizer
from securefl.recipes import scheme_names, scheme_plugin, traits_of
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


_BUILT_IN: Mapping[str, SetupFactory] = MappingProxyType(
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


class _Schemes(Mapping[str, SetupFactory]):
    """securefl's own schemes and those of installed packages, each of which is imported when it is asked for."""

    def __getitem__(self, name: str) -> SetupFactory:
        if name not in self:
            raise KeyError(name)
        plugin = scheme_plugin(name)
        if plugin is None:
            return _BUILT_IN[name]
        traits_of(name)
        return cast(SetupFactory, plugin.load())

    def __contains__(self, name: object) -> bool:
        return name in scheme_names()

    def __iter__(self) -> Iterator[str]:
        return iter(scheme_names())

    def __len__(self) -> int:
        return len(scheme_names())


def schemes() -> Mapping[str, SetupFactory]:
    """Return the set-up function of every scheme by its name; asking for one may raise as :func:`traits_of` does."""
    return _Schemes()


def aggregate(
    scheme: str,
    updates: Mapping[ClientId, FloatVector],
    *,
    rng: Rng,
    dropouts: Mapping[ClientId, str | None] | None = None,
    weights: Mapping[ClientId, int] | None = None,
    clip: float = 1.0,
    ring_bits: Literal[32, 64] = 32,
    options: object | None = None,
) -> RoundResult:
    """Return the sum that a whole round of ``scheme`` opens, keys made fresh, every party in this process.

    Args:
        updates: float32 or float64, shape (d,).
        dropouts: as for :func:`run_round`.
        weights: 1 for everyone by default.

    Raises:
        ParameterError: no such scheme, one that :func:`traits_of` refuses, or a value outside its bound.
        ProtocolAbort: a party stopped the round.
    """
    traits_of(scheme)
    used = dict.fromkeys(updates, 1) if weights is None else weights
    quantizer = Quantizer.for_sum(len(updates), clip=clip, ring_bits=ring_bits, max_weight=max([1, *used.values()]))
    setup = schemes()[scheme](sorted(updates), quantizer=quantizer, run_id=rng.bytes(32), rng=rng, options=options)
    return run_round(
        setup, updates, weights=used, round=1, model_hash=bytes(32), rng=rng, quantizer=quantizer, dropouts=dropouts
    )
