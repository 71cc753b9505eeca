"""The ChEMBL loader on a small SQLite file with ChEMBL's public schema: a good row for each feature, a row for each defect."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from securefl.chem.chembl_sqlite import CITATION, LICENCE, Filters, read_chembl
from securefl.chem.dataset import Relation
from securefl.chem.rejects import Stage
from securefl.errors import InputError, ParameterError

# The columns of these tables in ChEMBL's release notes, in their order; other tables of a release are not read.
SCHEMA = """
CREATE TABLE activities (activity_id BIGINT PRIMARY KEY, assay_id BIGINT, doc_id BIGINT, record_id BIGINT, molregno BIGINT,
    standard_relation VARCHAR(50), standard_value NUMERIC(64, 30), standard_units VARCHAR(100), standard_flag SMALLINT,
    standard_type VARCHAR(250), activity_comment VARCHAR(4000), data_validity_comment VARCHAR(30),
    potential_duplicate SMALLINT, pchembl_value NUMERIC(4, 2), bao_endpoint VARCHAR(11), uo_units VARCHAR(10),
    qudt_units VARCHAR(70), toid INTEGER, upper_value NUMERIC(64, 30), standard_upper_value NUMERIC(64, 30), src_id INTEGER,
    type VARCHAR(250), relation VARCHAR(50), value NUMERIC(64, 30), units VARCHAR(100), text_value VARCHAR(1000),
    standard_text_value VARCHAR(1000), action_type VARCHAR(50));
CREATE TABLE assays (assay_id BIGINT PRIMARY KEY, doc_id BIGINT, description VARCHAR(4000), assay_type VARCHAR(1),
    assay_test_type VARCHAR(20), assay_category VARCHAR(50), assay_organism VARCHAR(250), assay_tax_id BIGINT,
    assay_strain VARCHAR(200), assay_tissue VARCHAR(100), assay_cell_type VARCHAR(100), assay_subcellular_fraction VARCHAR(100),
    tid BIGINT, relationship_type VARCHAR(1), confidence_score SMALLINT, curated_by VARCHAR(32), src_id INTEGER,
    src_assay_id VARCHAR(50), chembl_id VARCHAR(20), cell_id BIGINT, bao_format VARCHAR(11), tissue_id BIGINT,
    variant_id BIGINT, aidx VARCHAR(200));
CREATE TABLE compound_structures (molregno BIGINT PRIMARY KEY, molfile TEXT, standard_inchi VARCHAR(4000),
    standard_inchi_key VARCHAR(27), canonical_smiles VARCHAR(4000));
CREATE TABLE docs (doc_id BIGINT PRIMARY KEY, journal VARCHAR(50), year SMALLINT, volume VARCHAR(50), issue VARCHAR(50),
    first_page VARCHAR(50), last_page VARCHAR(50), pubmed_id BIGINT, doi VARCHAR(100), chembl_id VARCHAR(20),
    title VARCHAR(500), doc_type VARCHAR(50), authors VARCHAR(4000), abstract TEXT, patent_id VARCHAR(20), ridx VARCHAR(200),
    src_id INTEGER);
CREATE TABLE target_dictionary (tid BIGINT PRIMARY KEY, target_type VARCHAR(30), pref_name VARCHAR(200), tax_id BIGINT,
    organism VARCHAR(150), chembl_id VARCHAR(20), species_group_flag SMALLINT);
"""
Value = str | float | int | None
GOOD: dict[str, Value] = {
    "assay_id": 1, "doc_id": 1, "molregno": 1, "standard_relation": "=", "standard_value": 1000.0, "standard_units": "nM",
    "standard_type": "Ki", "pchembl_value": 6.0, "data_validity_comment": None, "potential_duplicate": 0,
}  # fmt: skip
DEFECTS: list[tuple[dict[str, Value], str]] = [
    ({"molregno": 2}, "no structure"),
    ({"molregno": 99}, "no structure"),
    ({"assay_id": 2}, "confidence_score under 8"),
    ({"data_validity_comment": "Outside typical range"}, "data_validity_comment: Outside typical range"),
    ({"potential_duplicate": 1}, "potential_duplicate"),
    ({"standard_value": None, "pchembl_value": None}, "no standard_value"),
    ({"standard_value": "high"}, "standard_value is not a number"),
    ({"standard_relation": None}, "no standard_relation"),
    ({"standard_relation": "?"}, "standard_relation '?' is unknown"),
    ({"standard_units": None}, "no standard_units"),
    ({"standard_units": "ug.mL-1"}, "standard_units 'ug.mL-1' is not a molar concentration"),
    ({"standard_value": 0.0}, "standard_value is not positive"),
    ({"standard_value": -5.0}, "standard_value is not positive"),
    ({"standard_value": 1e12, "pchembl_value": None}, "pX outside 2..12"),
    ({"pchembl_value": 9.0}, "pchembl_value differs from standard_value"),
]


def insert(database: sqlite3.Connection, table: str, row: dict[str, Value]) -> None:
    names = ", ".join(row)
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))  # noqa: S608


def release(path: Path, activities: Sequence[dict[str, Value]]) -> Path:
    """Write a small release: assays 1 (good), 2 (confidence 4), 3 (ADMET); compounds 1 (good), 2 (without a structure)."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(SCHEMA)
        for assay, kind, confidence in ((1, "B", 9), (2, "B", 4), (3, "A", 9)):
            row: dict[str, Value] = {"assay_id": assay, "assay_type": kind, "confidence_score": confidence, "tid": 1}
            insert(database, "assays", {**row, "chembl_id": f"CHEMBL10{assay}"})
        insert(database, "compound_structures", {
            "molregno": 1, "canonical_smiles": "CCO", "standard_inchi_key": "LFQSCWFLJHTTHZ-UHFFFAOYSA-N",
        })  # fmt: skip
        insert(database, "docs", {"doc_id": 1, "year": 2015, "chembl_id": "CHEMBL555"})
        insert(database, "target_dictionary", {"tid": 1, "chembl_id": "CHEMBL204"})
        for number, row in enumerate(activities, start=1):
            insert(database, "activities", {"activity_id": number, **row})
    return path


def test_a_good_row(tmp_path: Path) -> None:
    table = read_chembl(release(tmp_path / "c.db", [GOOD]))
    assert table.smiles.names == ("CCO",)
    assert table.task.names == ("CHEMBL204_Ki",)
    assert table.value.tolist() == [pytest.approx(6.0)]
    assert table.relation.tolist() == [Relation.EQUAL]
    assert table.time is not None
    assert table.time.tolist() == [2015.0]
    assert table.partner is not None
    assert table.partner.names == ("CHEMBL555",)
    assert (table.licence, table.citation) == (LICENCE, CITATION)
    assert table.rejects == ()


def test_units_and_relations_become_px(tmp_path: Path) -> None:
    rows = [
        {**GOOD, "standard_value": 10.0, "standard_units": "uM", "pchembl_value": 5.0},
        {**GOOD, "standard_relation": ">", "pchembl_value": None},
        {**GOOD, "standard_relation": "<=", "pchembl_value": None},
        {**GOOD, "data_validity_comment": "Manually validated"},
        {**GOOD, "standard_type": "EC50", "doc_id": None},
    ]
    table = read_chembl(release(tmp_path / "c.db", rows))
    assert table.value.tolist() == pytest.approx([5.0, 6.0, 6.0, 6.0, 6.0])
    assert table.relation.tolist() == [Relation.EQUAL, Relation.LESS, Relation.GREATER, Relation.EQUAL, Relation.EQUAL]
    assert table.task.names == ("CHEMBL204_Ki", "CHEMBL204_EC50")
    assert table.rejects == ()


def test_every_defect_is_a_reject_with_its_activity_id(tmp_path: Path) -> None:
    path = release(tmp_path / "c.db", [GOOD, *({**GOOD, **change} for change, _ in DEFECTS)])
    table = read_chembl(path)
    assert table.row.tolist() == [1]
    assert [(reject.row, reject.reason) for reject in table.rejects] == [
        (number, reason) for number, (_, reason) in enumerate(DEFECTS, start=2)
    ]
    assert {reject.stage for reject in table.rejects} == {Stage.SOURCE}


def test_what_was_not_asked_for_is_counted(tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "standard_type": "Inhibition"}, {**GOOD, "assay_id": 3}, {**GOOD, "standard_type": None}]
    [reject] = read_chembl(release(tmp_path / "c.db", rows)).rejects
    assert reject.row == 0
    assert reject.reason.startswith("3 activities not asked for")


def test_filters_and_tasks_by_assay(tmp_path: Path) -> None:
    path = release(tmp_path / "c.db", [GOOD, {**GOOD, "assay_id": 2}, {**GOOD, "assay_id": 3}])
    table = read_chembl(path, Filters(min_confidence=4, assay_types=("B", "A"), task_by="assay", min_year=2015, max_year=2015))
    assert table.task.names == ("CHEMBL101", "CHEMBL102", "CHEMBL103")
    with pytest.raises(InputError, match=r"no activity passes the filters: year outside the range \(2 rows\)"):
        read_chembl(path, Filters(min_confidence=4, min_year=2016))


@pytest.mark.parametrize(
    "wrong", [{"min_confidence": 10}, {"standard_types": ()}, {"assay_types": ()}, {"min_p": 5.0, "max_p": 5.0}]
)
def test_filters_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        Filters(**wrong)  # type: ignore[arg-type]


def test_what_is_no_release_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_chembl(tmp_path / "absent.db")
    (tmp_path / "text.db").write_text("not a database, but longer than a header of sixteen bytes" * 50)
    with pytest.raises(InputError, match="file is not a database"):
        read_chembl(tmp_path / "text.db")
    with closing(sqlite3.connect(tmp_path / "other.db")) as database, database:
        database.execute("CREATE TABLE activities (activity_id INTEGER)")
    with pytest.raises(InputError, match="table activities lacks column assay_id"):
        read_chembl(tmp_path / "other.db")
    with closing(sqlite3.connect(tmp_path / "empty.db")) as database, database:
        database.execute("CREATE TABLE x (y INTEGER)")
    with pytest.raises(InputError, match="table activities is missing"):
        read_chembl(tmp_path / "empty.db")


def test_the_release_is_never_written(tmp_path: Path) -> None:
    path = release(tmp_path / "a file with spaces?.db", [GOOD])
    before = path.read_bytes()
    path.chmod(0o444)
    read_chembl(path)
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    read_chembl(release(tmp_path / "c.db", [GOOD] * 3), progress=lambda *step: seen.append(step))
    assert seen == [("activities", 3, 3)]
