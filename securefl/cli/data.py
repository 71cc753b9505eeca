"""``securefl data``: any long table, or a downloaded ChEMBL release, becomes a dataset folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from securefl.chem.chembl_sqlite import read_chembl
from securefl.chem.dataset import Dataset
from securefl.chem.keyed import KEY_SIZE, public_key
from securefl.chem.prepare import prepare
from securefl.chem.table import Columns, Table, read_table
from securefl.chem.units import to_p
from securefl.chem.wide import read_wide
from securefl.cli.output import emit_json, emit_table
from securefl.cli.progress import progress_bar
from securefl.config import DataConfig, parse_data
from securefl.errors import InputError
from securefl.evaluation.run import data_record
from securefl.types import Secret, SystemRng

app = typer.Typer(help="Prepare datasets from your own tables or from a ChEMBL release.", no_args_is_help=True)

Out = Annotated[Path, typer.Option("--out", help="The dataset's folder: new, or one of the same content.")]
Key = Annotated[
    Path | None,
    typer.Option("--key", help="File with the 32-byte key that the partners share (made if absent); a public one if left out."),
]
Bits = Annotated[int, typer.Option("--bits", help="Fingerprint length.")]
Radius = Annotated[int, typer.Option("--radius", help="ECFP radius (3 is ECFP6).")]
Partners = Annotated[int, typer.Option("--partners", help="Among how many partners to divide.")]
Split = Annotated[str, typer.Option("--split", help="'series', 'target', or 'column' (the table's partner column).")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the division and of the public key.")]
Small = Annotated[int, typer.Option("--small-partner", help="Compounds of the smallest partner; 0 for none.")]
Equal = Annotated[bool, typer.Option("--equal", help="Partners of equal size.")]
MinTrain = Annotated[int, typer.Option("--min-train", help="Training values that a partner's task needs.")]
MinTest = Annotated[int, typer.Option("--min-test", help="Test values that a partner's task needs.")]
Json = Annotated[bool, typer.Option("--json", help="Print the dataset's record as JSON.")]


@app.command("prepare")
def prepare_table(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A long table: .csv, .csv.gz or .parquet.")],
    out: Out,
    smiles: Annotated[str, typer.Option("--smiles", help="Column of the structures.")] = "smiles",
    task: Annotated[str, typer.Option("--task", help="Column of the assay.")] = "task",
    value: Annotated[str, typer.Option("--value", help="Column of the value: pX, or 0 and 1.")] = "value",
    relation: Annotated[str, typer.Option("--relation", help="Column of the qualifier.")] = "relation",
    partner: Annotated[str, typer.Option("--partner", help="Column of the owner.")] = "partner",
    time: Annotated[str, typer.Option("--time", help="Column of the year.")] = "time",
    unit: Annotated[str, typer.Option("--unit", help="Unit of every value (nM, uM, ...): converts it to pX.")] = "",
    unit_column: Annotated[str, typer.Option("--unit-column", help="Column of each value's unit.")] = "",
    wide: Annotated[bool, typer.Option("--wide", help="One column a task (a panel), instead of one row a value.")] = False,
    bits: Bits = 4096,
    radius: Radius = 3,
    partners: Partners = 5,
    split: Split = "series",
    seed: Seed = 0,
    small_partner: Small = 150,
    equal: Equal = False,
    min_train: MinTrain = 25,
    min_test: MinTest = 8,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Prepare any long table: parse, largest fragment, ECFP, folds, partners; what fails goes to rejects.csv.

    Examples:

      securefl data prepare ours.csv --out data/ours --value pIC50 --task assay_id

      securefl data prepare ours.parquet --out data/ours --split column --partner site

      securefl data prepare raw.csv --out data/raw --value ic50 --unit nM
    """
    columns = Columns(
        smiles=smiles, task=task, value=value, relation=relation, partner=partner, time=time, unit=unit_column
    )  # fmt: skip
    long = read_wide(table, smiles=smiles) if wide else read_table(table, columns)
    if unit or unit_column:
        long = to_p(long, unit or None)
    options = {
        "bits": bits, "radius": radius, "partners": partners, "split": split, "seed": seed,
        "small_partner_compounds": small_partner, "sizes": "equal" if equal else "unequal",
        "min_train": min_train, "min_test": min_test,
    }  # fmt: skip
    write(long, options, out, key, as_json)


@app.command("chembl")
def prepare_chembl(
    sqlite: Annotated[Path, typer.Option("--sqlite", help="The unpacked chembl_NN.db of a ChEMBL release.")],
    out: Out,
    bits: Bits = 4096,
    radius: Radius = 3,
    partners: Partners = 5,
    split: Split = "target",
    seed: Seed = 0,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Prepare a downloaded ChEMBL SQLite release; every filter is counted in rejects.csv. ChEMBL is CC BY-SA 3.0.

    Example:

      securefl data chembl --sqlite chembl_35.db --out data/chembl35 --bits 32768
    """
    options = {"bits": bits, "radius": radius, "partners": partners, "split": split, "seed": seed}
    with progress_bar() as progress:
        table = read_chembl(sqlite, progress=progress)
    write(table, options, out, key, as_json)


def write(table: Table, options: dict[str, Any], out: Path, key: Path | None, as_json: bool) -> None:
    """Prepare ``table`` into ``out`` and print what came of it."""
    config: DataConfig = parse_data(options, source="command line")
    secret = public_key(config.seed) if key is None else read_key(key)
    if key is None:
        typer.echo("securefl: no --key: fold and bit order come from a public seed and hide nothing", err=True)
    with progress_bar() as progress:
        dataset = prepare(table, config, out, key=secret, progress=progress)
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
