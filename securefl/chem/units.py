"""Concentrations to pX: the negative decimal logarithm of a molar value, with the relation turned round.

A larger concentration is a smaller pX, so ``> 10 uM`` becomes ``pX < 5``. Units that can't be molar without a molecular
weight or a context (per cent, ug/mL, seconds) are refused by name, never guessed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from securefl.chem.rejects import Reject, Stage, summarise
from securefl.chem.table import Labels, Table
from securefl.errors import InputError

# Both the micro sign and the Greek letter mu occur in exports.
_PREFIX = {"": 0, "m": -3, "u": -6, "µ": -6, "μ": -6, "n": -9, "p": -12, "f": -15}
EXPONENT = {f"{prefix}{base}": power for prefix, power in _PREFIX.items() for base in ("M", "mol/L", "mol/l", "mol L-1")}
"""Power of ten of each known unit, in molar."""


def exponent_of(unit: str) -> int | None:
    """Return the power of ten of ``unit`` in molar, or ``None`` if it is not a molar concentration.

    >>> exponent_of("nM"), exponent_of("ug/mL")
    (-9, None)
    """
    return EXPONENT.get(unit.strip())


def p_value(value: float, exponent: int) -> float:
    """Return -log10 of ``value * 10**exponent`` molar; Pre-condition: ``value > 0``.

    >>> p_value(500.0, -9)
    6.301029995663981
    """
    return -math.log10(value) - exponent


def to_p(table: Table, units: Labels | str | None = None) -> Table:
    """Return ``table`` with its concentrations as pX and its relations turned round; what can't be converted is rejected.

    Args:
        units: one unit for every value, or a unit for each row; by default the table's own unit column.

    Raises:
        InputError: no row could be converted, or there is no unit.
    """
    units = table.unit if units is None else units
    if units is None:
        raise InputError(f"{table.name}: no unit column: name it, or give one unit for all values")
    if isinstance(units, str):
        units = Labels((units,), np.zeros(len(table), dtype=np.int32))
    known = [exponent_of(name) for name in units.names]
    exponent = np.array([0 if one is None else one for one in known] + [0], dtype=np.float64)[units.code]
    unknown = np.array([one is None for one in known] + [True], dtype=bool)[units.code]
    positive = table.value > 0
    rejects = [_unknown(table, units, int(i)) for i in np.flatnonzero(unknown)]
    rejects += [
        Reject(int(table.row[i]), Stage.ACTIVITY, "concentration is not positive") for i in np.flatnonzero(~unknown & ~positive)
    ]
    keep = positive & ~unknown
    if not keep.any():
        raise InputError(f"{table.name}: no value could be converted to pX: {summarise(rejects)}")
    value = -np.log10(np.where(positive, table.value, 1.0)) - exponent
    converted = replace(table, value=value, relation=(-table.relation).astype(np.int8))
    return replace(converted.select(keep), rejects=(*table.rejects, *rejects))


def _unknown(table: Table, units: Labels, i: int) -> Reject:
    name = units.names[units.code[i]] if units.code[i] >= 0 else ""
    return Reject(int(table.row[i]), Stage.ACTIVITY, f"unit {name!r} is not a molar concentration" if name else "blank unit")
