"""Safe primes that ship with the package: for tests and for ``securefl aggregate``, where a dealer would need a minute.

Everybody knows them, so a key made of them protects nothing. :func:`is_shipped` lets a run refuse them by their numbers,
however they got there.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from securefl.errors import ParameterError


@cache
def _keys() -> MappingProxyType[int, tuple[int, int]]:
    content = json.loads((files(__package__) / "shipped_primes.json").read_text(encoding="utf-8"))
    return MappingProxyType({int(bits): (int(key["p"], 16), int(key["q"], 16)) for bits, key in content["keys"].items()})


def shipped_primes(bits: int) -> tuple[int, int]:
    """Return the two safe primes whose product has ``bits`` bits.

    Raises:
        ParameterError: none of that length ship.
    """
    if bits not in _keys():
        raise ParameterError(f"bits={bits}: shipped keys have {', '.join(map(str, _keys()))} bits")
    return _keys()[bits]


def is_shipped(*primes: int) -> bool:
    """Return whether one of ``primes`` ships with the package.

    >>> is_shipped(23), is_shipped(23, shipped_primes(2048)[1])
    (False, True)
    """
    return any(prime in pair for prime in primes for pair in _keys().values())
