"""A downloaded ChEMBL release (``chembl_NN.db``, SQLite) as a long table: one row an activity, value in pX.

Tables and columns are those of ChEMBL's public schema, releases 24 and later. Rows that the query does not ask for (other
types of activity, of assay, of relation to a target) are counted in one reject with row 0; every row that was asked for and
has a defect is a reject of its own, with its activity_id as the row number. ChEMBL is CC BY-SA 3.0: the table carries
licence and citation, and whatever is made from it has to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from securefl.chem.dataset import Relation
from securefl.chem.rejects import Reject, Stage, summarise
from securefl.chem.table import RELATIONS, Labels, Table
from securefl.chem.units import exponent_of, p_value
from securefl.errors import InputError, ParameterError
from securefl.types import Progress, silent

LICENCE = "ChEMBL: CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/)"
CITATION = (
    "Zdrazil et al.: The ChEMBL Database in 2023. Nucleic Acids Res. 52 (2024) D1180-D1192, doi:10.1093/nar/gkad1004. "
    "https://www.ebi.ac.uk/chembl/"
)
PCHEMBL_TOLERANCE = 0.02
"""ChEMBL rounds pchembl_value to two decimals; a larger difference from the value itself is a defect."""
REPORT_EVERY = 50_000

_COLUMNS = {
    "activities": (
        "activity_id", "assay_id", "doc_id", "molregno", "standard_relation", "standard_value", "standard_units",
        "standard_type", "pchembl_value", "data_validity_comment", "potential_duplicate",
    ),
    "assays": ("assay_id", "assay_type", "confidence_score", "tid", "chembl_id"),
    "compound_structures": ("molregno", "canonical_smiles", "standard_inchi_key"),
    "docs": ("doc_id", "year", "chembl_id"),
    "target_dictionary": ("tid", "chembl_id"),
}  # fmt: skip

_SELECTION = """
FROM activities AS a JOIN assays AS s ON s.assay_id = a.assay_id
LEFT JOIN compound_structures AS c ON c.molregno = a.molregno
LEFT JOIN docs AS d ON d.doc_id = a.doc_id
LEFT JOIN target_dictionary AS t ON t.tid = s.tid
WHERE a.standard_type IN ({types}) AND s.assay_type IN ({assays})
"""
_FIELDS = """
SELECT a.activity_id, c.canonical_smiles, c.standard_inchi_key, s.chembl_id, t.chembl_id, a.standard_type,
    a.standard_relation, a.standard_value, a.standard_units, a.pchembl_value, a.data_validity_comment,
    a.potential_duplicate, s.confidence_score, d.year, d.chembl_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What to take from ChEMBL. ``task_by``: one task an assay, or one a target and type of activity.

    ``min_p`` and ``max_p`` bound what is plausible: 1 M to 10 fM by default is 0 to 14.
    """

    standard_types: tuple[str, ...] = ("Ki", "Kd", "IC50", "EC50")
    assay_types: tuple[str, ...] = ("B", "F")
    min_confidence: int = 8
    min_year: int | None = None
    max_year: int | None = None
    min_p: float = 2.0
    max_p: float = 12.0
    task_by: Literal["assay", "target"] = "target"

    def __post_init__(self) -> None:
        if not self.standard_types or not self.assay_types:
            raise ParameterError("standard_types and assay_types must not be empty")
        if not 0 <= self.min_confidence <= 9:
            raise ParameterError(f"min_confidence={self.min_confidence} must be in 0..9")
        if not self.min_p < self.max_p:
            raise ParameterError(f"min_p={self.min_p} must be < max_p={self.max_p}")


class _Row(NamedTuple):
    """A row of the query, in its order."""

    activity: int
    smiles: str | None
    inchikey: str | None
    assay: str
    target: str | None
    kind: str
    relation: str | None
    value: float | str | None
    unit: str | None
    pchembl: float | None
    validity: str | None
    duplicate: int | None
    confidence: int | None
    year: int | None
    document: str | None


class _Good(NamedTuple):
    """A usable activity; ``partner`` is the document it was published in."""

    row: int
    smiles: str
    task: str
    value: float
    relation: Relation
    year: float
    partner: str


def read_chembl(path: Path, filters: Filters | None = None, *, progress: Progress = silent) -> Table:
    """Return the activities of the ChEMBL release in the SQLite file ``path`` that pass ``filters``.

    ``time`` is the year of the document, ``partner`` its ChEMBL id (for ``split = "column"``).

    Raises:
        InputError: the file can't be read, is no ChEMBL release (the missing table or column is named), or nothing passes.
    """
    filters = filters or Filters()
    if not path.is_file():
        raise InputError(f"ChEMBL file {path}: no such file")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            _check_schema(database, path)
            rejects = _unselected(database, filters)
            good: list[_Good] = []
            for row in _rows(database, filters, progress):
                outcome = _judge(row, filters)
                if isinstance(outcome, str):
                    rejects.append(Reject(row.activity, Stage.SOURCE, outcome))
                else:
                    good.append(outcome)
    except sqlite3.Error as error:
        raise InputError(f"ChEMBL file {path}: {error}") from error
    if not good:
        raise InputError(f"ChEMBL file {path}: no activity passes the filters: {summarise(rejects)}")
    return _table(good, rejects, path)


def _check_schema(database: sqlite3.Connection, path: Path) -> None:
    for table, columns in _COLUMNS.items():
        found = {row[1] for row in database.execute("SELECT * FROM pragma_table_info(?)", (table,))}
        if not found:
            raise InputError(f"ChEMBL file {path}: table {table} is missing: not a ChEMBL release in SQLite")
        missing = sorted(set(columns) - found)
        if missing:
            raise InputError(f"ChEMBL file {path}: table {table} lacks column {', '.join(missing)}")


def _query(start: str, filters: Filters) -> tuple[str, tuple[str, ...]]:
    """Return the query text and its parameters; only question marks are put into the text."""
    marks = _SELECTION.format(
        types=",".join("?" * len(filters.standard_types)), assays=",".join("?" * len(filters.assay_types))
    )
    return start + marks, (*filters.standard_types, *filters.assay_types)


def _unselected(database: sqlite3.Connection, filters: Filters) -> list[Reject]:
    total = database.execute("SELECT count(*) FROM activities").fetchone()[0]
    selected = database.execute(*_query("SELECT count(*)", filters)).fetchone()[0]
    if total == selected:
        return []
    asked = f"standard_type in {filters.standard_types}, assay_type in {filters.assay_types}"
    return [Reject(0, Stage.SOURCE, f"{total - selected} activities not asked for ({asked})")]


def _rows(database: sqlite3.Connection, filters: Filters, progress: Progress) -> Iterator[_Row]:
    total = int(database.execute(*_query("SELECT count(*)", filters)).fetchone()[0])
    text, parameters = _query(_FIELDS, filters)
    for done, row in enumerate(database.execute(text + " ORDER BY a.activity_id", parameters), start=1):
        yield _Row(*row)
        if done % REPORT_EVERY == 0 or done == total:
            progress("activities", done, total)


def _judge(row: _Row, filters: Filters) -> _Good | str:
    """Return the usable activity, or the first defect."""
    defect = _source_defect(row, filters) or _value_defect(row, filters)
    if defect:
        return defect
    # Concentration and pX run in opposite directions.
    relation = Relation(-RELATIONS[(row.relation or "").strip()])
    task = row.assay if filters.task_by == "assay" else f"{row.target or row.assay}_{row.kind}"
    year = float("nan") if row.year is None else float(row.year)
    return _Good(row.activity, str(row.smiles), task, _p_of(row), relation, year, row.document or "no document")


def _source_defect(row: _Row, filters: Filters) -> str:
    """Return what is wrong with the assay, the document, the structure, or what ChEMBL's curators say of the value."""
    checks = (
        (not row.smiles or not row.inchikey, "no structure"),
        ((row.confidence or 0) < filters.min_confidence, f"confidence_score under {filters.min_confidence}"),
        (row.validity not in (None, "", "Manually validated"), f"data_validity_comment: {row.validity}"),
        (bool(row.duplicate), "potential_duplicate"),
        (_year_outside(row.year, filters), "year outside the range"),
    )
    return next((reason for bad, reason in checks if bad), "")


def _value_defect(row: _Row, filters: Filters) -> str:
    """Return what is wrong with the value itself."""
    if row.value is None:
        return "no standard_value"
    if isinstance(row.value, str):  # SQLite lets a text into a numeric column
        return "standard_value is not a number"
    if not row.relation or row.relation.strip() not in RELATIONS:
        return f"standard_relation {row.relation!r} is unknown" if row.relation else "no standard_relation"
    if row.unit is None or exponent_of(row.unit) is None:
        return f"standard_units {row.unit!r} is not a molar concentration" if row.unit else "no standard_units"
    if not row.value > 0:
        return "standard_value is not positive"
    p = _p_of(row)
    if not filters.min_p <= p <= filters.max_p:
        return f"pX outside {filters.min_p:g}..{filters.max_p:g}"
    if row.pchembl is not None and abs(row.pchembl - p) > PCHEMBL_TOLERANCE:
        return "pchembl_value differs from standard_value"
    return ""


def _p_of(row: _Row) -> float:
    exponent = exponent_of(row.unit or "")
    if row.value is None or isinstance(row.value, str) or exponent is None:
        raise InputError(f"activity {row.activity} has no molar value")
    return p_value(row.value, exponent)


def _year_outside(year: int | None, filters: Filters) -> bool:
    if filters.min_year is None and filters.max_year is None:
        return False
    return year is None or not (filters.min_year or 0) <= year <= (filters.max_year or 9999)


def _table(good: list[_Good], rejects: list[Reject], path: Path) -> Table:
    return Table(
        smiles=_coded([one.smiles for one in good]),
        task=_coded([one.task for one in good]),
        value=np.array([one.value for one in good], dtype=np.float64),
        relation=np.array([one.relation for one in good], dtype=np.int8),
        row=np.array([one.row for one in good], dtype=np.int64),
        partner=_coded([one.partner for one in good]),
        time=np.array([one.year for one in good], dtype=np.float64),
        rejects=tuple(rejects),
        name=f"ChEMBL ({path.name})",
        licence=LICENCE,
        citation=CITATION,
    )


def _coded(texts: list[str]) -> Labels:
    number: dict[str, int] = {}
    code = np.array([number.setdefault(text, len(number)) for text in texts], dtype=np.int32)
    return Labels(tuple(number), code)
