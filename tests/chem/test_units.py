"""Units to pX: powers of ten, the turned relation, and refusal of what is not a molar concentration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from molecules import write_csv

from securefl.chem.dataset import Relation
from securefl.chem.table import Labels, Table, read_table
from securefl.chem.units import exponent_of, p_value, to_p
from securefl.errors import InputError


def table(tmp_path: Path, values: list[str], relations: str = "=") -> Table:
    rows = "\n".join(f"CCO,a,{value},{relations}" for value in values)
    return read_table(write_csv(tmp_path / "t.csv", f"smiles,task,value,relation\n{rows}\n"))


@pytest.mark.parametrize(
    ("unit", "exponent"),
    [("M", 0), ("mM", -3), ("uM", -6), ("µM", -6), ("μM", -6), (" nM ", -9), ("pM", -12), ("fM", -15), ("nmol/L", -9)],
)
def test_known_units(unit: str, exponent: int) -> None:
    assert exponent_of(unit) == exponent


@pytest.mark.parametrize("unit", ["%", "ug/mL", "ug.mL-1", "nm", "NM", "", "s", "mg/kg", "10^-9M"])
def test_unknown_units_are_never_guessed(unit: str) -> None:
    assert exponent_of(unit) is None


def test_one_unit_for_all(tmp_path: Path) -> None:
    converted = to_p(table(tmp_path, ["1000", "1", "0"], ">"), "nM")
    np.testing.assert_allclose(converted.value, [6.0, 9.0])
    # More than 1000 nM is needed: the pX lies under 6.
    assert converted.relation.tolist() == [Relation.LESS, Relation.LESS]
    assert [(reject.row, reject.reason) for reject in converted.rejects] == [(3, "concentration is not positive")]
    assert p_value(1000, -9) == pytest.approx(6.0)


def test_a_unit_for_each_row(tmp_path: Path) -> None:
    units = Labels(("nM", "uM", "%"), np.array([0, 1, 2, -1], dtype=np.int32))
    converted = to_p(table(tmp_path, ["10", "10", "10", "10"]), units)
    np.testing.assert_allclose(converted.value, [8.0, 5.0])
    assert {reject.row: reject.reason for reject in converted.rejects} == {
        3: "unit '%' is not a molar concentration", 4: "blank unit",
    }  # fmt: skip


def test_nothing_convertible_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no value could be converted to pX: unit 'ug/mL' is not a molar concentration"):
        to_p(table(tmp_path, ["10"]), "ug/mL")
