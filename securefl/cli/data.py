"""``securefl data``: any long table, TUNER's tables or matrices, or a ChEMBL release become a dataset folder, and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from securefl.chem.chembl_sqlite import read_chembl
from securefl.chem.dataset import Dataset
from securefl.chem.fingerprint import BITS
from securefl.chem.folder import save
from securefl.chem.keyed import KEY_SIZE, public_key
from securefl.chem.matrices import Kind, read_matrices
from securefl.chem.plausible import PX
from securefl.chem.prepare import prepare
from securefl.chem.roles import read_roles, with_roles
from securefl.chem.standardise import Rules
from securefl.chem.table import Columns, Table, read_table
from securefl.chem.tuner import read_tuner, tuner_files
from securefl.chem.units import to_p
from securefl.chem.wide import read_wide
from securefl.cli import data_options as o
from securefl.cli.export import export
from securefl.cli.output import emit_json, emit_table
from securefl.cli.progress import progress_bar
from securefl.cli.shards import shards
from securefl.config import DataConfig, parse_data
from securefl.errors import InputError
from securefl.evaluation.run import data_record
from securefl.types import Secret, SystemRng

app = typer.Typer(help="Prepare datasets from your own tables or from a ChEMBL release, and export them.", no_args_is_help=True)

app.command("export")(export)
app.command("shards")(shards)


@app.command("prepare")
def prepare_table(
    table: o.TablePath,
    out: o.Out,
    smiles: o.Smiles = "smiles",
    task: o.TaskColumn = "task",
    value: o.Value = "value",
    relation: o.RelationColumn = "relation",
    partner: o.PartnerColumn = "partner",
    time: o.Time = "time",
    unit: o.Unit = "",
    unit_column: o.UnitColumn = "",
    wide: o.Wide = False,
    roles: o.Roles = None,
    keep_powers: o.KeepPowers = False,
    threshold: o.Threshold = None,
    tautomers: o.Tautomers = False,
    tautomer_seconds: o.TautomerSeconds = 10.0,
    no_stereo: o.FlatStereo = False,
    max_heavy_atoms: o.MaxHeavy = 100,
    bits: o.Bits = BITS,
    radius: o.Radius = 3,
    folds: o.Folds = "scaffold",
    partners: o.Partners = 5,
    split: o.Split = "series",
    seed: o.Seed = 0,
    small_partner: o.Small = 150,
    equal: o.Equal = False,
    min_train: o.MinTrain = 25,
    min_test: o.MinTest = 8,
    settings: o.Settings = None,
    key: o.Key = None,
    as_json: o.Json = False,
) -> None:
    """Prepare any long table: parse, largest fragment, ECFP, folds, partners; what fails goes to rejects.csv.

    Examples:

      securefl data prepare ours.parquet --out data/ours --task assay_id --value pIC50 --split column --partner site

      securefl data prepare raw.csv --out data/raw --value ic50 --unit nM --threshold 6 --set min_test_class=5

      securefl data prepare tuner_folder --out data/tuner --folds cluster --set counts=true
    """
    columns = Columns(smiles=smiles, task=task, value=value, relation=relation, partner=partner, time=time, unit=unit_column)
    long = read_tables(table, columns, wide=wide, keep_powers=keep_powers)
    options: dict[str, Any] = {
        "bits": bits, "radius": radius, "folds": folds, "partners": partners, "split": split, "seed": seed,
        "small_partner_compounds": small_partner, "sizes": "equal" if equal else "unequal",
        "min_train": min_train, "min_test": min_test, "thresholds": tuple(threshold or ()),
    }  # fmt: skip
    if unit or unit_column:
        long = to_p(long, unit or None)
        options |= {"min_value": PX[0], "max_value": PX[1]}
    if roles is not None:
        long = with_roles(long, read_roles(roles))
    rules = Rules(
        tautomer=tautomers, tautomer_seconds=tautomer_seconds, keep_stereo=not no_stereo, max_heavy_atoms=max_heavy_atoms
    )
    write(long, options | o.parse_settings(settings or []), out, key, as_json, rules)


@app.command("matrices")
def import_matrices(
    folders: o.MatrixFolders,
    out: o.Out,
    kind: Annotated[str, typer.Option("--kind", help="'cls', 'clsaux' or 'reg': the prefix of the files.")] = "cls",
    as_json: o.Json = False,
) -> None:
    """Read matrices that MELLODDY-TUNER prepared, one folder a partner, into a dataset folder.

    Example:

      securefl data matrices ours/cls theirs/cls --kind cls --out data/tuner
    """
    known: dict[str, Kind] = {"cls": "cls", "clsaux": "clsaux", "reg": "reg"}
    if kind not in known:
        raise InputError(f"--kind {kind!r} must be one of {', '.join(known)}")
    names = [f"partner-{i}" for i in range(1, len(folders) + 1)]
    dataset = read_matrices(dict(zip(names, folders, strict=True)), known[kind])
    show(save(dataset, out), out, as_json)


@app.command("chembl")
def prepare_chembl(
    sqlite: Annotated[Path, typer.Option("--sqlite", help="The unpacked chembl_NN.db of a ChEMBL release.")],
    out: o.Out,
    bits: o.Bits = BITS,
    radius: o.Radius = 3,
    partners: o.Partners = 5,
    split: o.Split = "target",
    seed: o.Seed = 0,
    key: o.Key = None,
    as_json: o.Json = False,
) -> None:
    """Prepare a downloaded ChEMBL SQLite release; every filter is counted in rejects.csv. ChEMBL is CC BY-SA 3.0.

    Example:

      securefl data chembl --sqlite chembl_35.db --out data/chembl35 --bits 32768
    """
    options = {"bits": bits, "radius": radius, "partners": partners, "split": split, "seed": seed}
    with progress_bar() as progress:
        table = read_chembl(sqlite, progress=progress)
    write(table, options, out, key, as_json)


def read_tables(path: Path, columns: Columns, *, wide: bool, keep_powers: bool) -> Table:
    """Return the table in ``path``: a long one, a panel if ``wide``, or TUNER's three if it is a folder."""
    if path.is_dir():
        return read_tuner(*tuner_files(path), undo_powers=not keep_powers)
    return read_wide(path, smiles=columns.smiles) if wide else read_table(path, columns)


def write(
    table: Table, options: dict[str, Any], out: Path, key: Path | None, as_json: bool, rules: Rules | None = None
) -> None:
    """Prepare ``table`` into ``out`` and print what came of it."""
    config: DataConfig = parse_data(options, source="command line")
    secret = public_key(config.seed) if key is None else read_key(key)
    if key is None:
        typer.echo("securefl: no --key: fold and bit order come from a public seed and hide nothing", err=True)
    with progress_bar() as progress:
        dataset = prepare(table, config, out, key=secret, rules=rules, progress=progress)
    for note in table.notes:
        typer.echo(f"securefl: {note}", err=True)
    show(dataset, out, as_json)


def read_key(path: Path) -> Secret:
    """Return the key in ``path``; a file that is not there is made, readable for its owner alone.

    Raises:
        InputError: the file can't be read or made, or holds no key.
    """
    try:
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(SystemRng().bytes(KEY_SIZE))
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"key {path}: {error.strerror}") from error
    if len(content) != KEY_SIZE:
        raise InputError(f"key {path} has {len(content)} bytes, must be {KEY_SIZE}")
    return Secret(content)


def show(dataset: Dataset, out: Path, as_json: bool) -> None:
    """Print the dataset's record."""
    record = data_record(dataset).model_dump(mode="json")
    if as_json:
        emit_json(record)
        return
    rows = [{"what": name, "value": str(value)} for name, value in record.items()]
    emit_table(f"Dataset {out.resolve()}", rows)
