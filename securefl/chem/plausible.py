"""Plausible values: a measured value outside the bounds is rejected with its row, never clipped.

A pX of 15 is a unit that went wrong somewhere, not a compound that binds at femtomolar. The bounds are the caller's: ADME
properties have others than affinities. Tasks of 0 and 1 have none.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from securefl.chem.rejects import summarise
from securefl.chem.table import Table
from securefl.chem.thresholds import class_tasks, refused
from securefl.errors import InputError

PX = (2.0, 12.0)
"""Bounds of a pX, inclusive: 10 mM to 1 pM."""


def plausible(table: Table, low: float | None, high: float | None) -> Table:
    """Return ``table`` without the measured values under ``low`` or above ``high``; ``None`` is no bound.

    Raises:
        InputError: ``low`` is not below ``high``, or no row is left.
    """
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if not low < high:
        raise InputError(f"min_value={low:g} must be < max_value={high:g}")
    outside = ((table.value < low) | (table.value > high)) & ~class_tasks(table)[table.task.code]
    rejects = refused(table, np.flatnonzero(outside), f"value outside {low:g}..{high:g}")
    if outside.all():
        raise InputError(f"{table.name}: no plausible value: {summarise(rejects)}")
    return replace(table.select(~outside), rejects=(*table.rejects, *rejects))
