"""The options of ``securefl data prepare``, each with its help: how a table is read, standardised, and divided."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from securefl.config import DataConfig
from securefl.errors import InputError

TablePath = Annotated[
    Path, typer.Argument(metavar="TABLE", help="A long table (.csv, .csv.gz, .parquet), or a folder with TUNER's T0, T1, T2.")
]
MatrixFolders = Annotated[
    list[Path], typer.Argument(metavar="FOLDER...", help="One folder a partner, with *_T11_x.npz, *_T10_y.npz and so on.")
]
Out = Annotated[Path, typer.Option("--out", help="The dataset's folder: new, or one of the same content.")]
Key = Annotated[
    Path | None,
    typer.Option("--key", help="File with the 32-byte key that the partners share (made if absent); a public one if left out."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the dataset's record as JSON.")]

# How the table is read.
Smiles = Annotated[str, typer.Option("--smiles", help="Column of the structures.")]
TaskColumn = Annotated[str, typer.Option("--task", help="Column of the assay.")]
Value = Annotated[str, typer.Option("--value", help="Column of the value: pX, or 0 and 1.")]
RelationColumn = Annotated[str, typer.Option("--relation", help="Column of the qualifier.")]
PartnerColumn = Annotated[str, typer.Option("--partner", help="Column of the owner.")]
Time = Annotated[str, typer.Option("--time", help="Column of the year.")]
Unit = Annotated[str, typer.Option("--unit", help="Unit of every value (nM, uM, ...): converts it to pX, plausible 2 to 12.")]
UnitColumn = Annotated[str, typer.Option("--unit-column", help="Column of each value's unit.")]
Wide = Annotated[bool, typer.Option("--wide", help="One column a task (a panel), instead of one row a value.")]
Roles = Annotated[Path | None, typer.Option("--roles", help="Table task, weight, auxiliary: how much a task counts.")]
KeepPowers = Annotated[bool, typer.Option("--keep-powers", help="TUNER tables: don't take logarithms of 10**x assays.")]

# What is done to values and structures.
Threshold = Annotated[list[float] | None, typer.Option("--threshold", help="Make classes at this value; may be repeated.")]
Tautomers = Annotated[
    bool,
    typer.Option(
        "--tautomers",
        help="Canonical tautomers, capped: some six times slower. Partners that spell a compound as two tautomers may else "
        "put it into two folds (173 of 95,959 public compounds), and test on what another trains on.",
    ),
]
TautomerSeconds = Annotated[
    float, typer.Option("--tautomer-seconds", help="A molecule whose tautomers take longer is rejected.")
]
FlatStereo = Annotated[bool, typer.Option("--no-stereo", help="Drop stereochemistry.")]
MaxHeavy = Annotated[int, typer.Option("--max-heavy-atoms", help="Larger molecules are rejected.")]

# Fingerprints, folds, partners.
Bits = Annotated[int, typer.Option("--bits", help="Fingerprint length.")]
Radius = Annotated[int, typer.Option("--radius", help="ECFP radius (3 is ECFP6).")]
Folds = Annotated[str, typer.Option("--folds", help="'scaffold', 'cluster' (min-hash), 'random', or 'time'.")]
Partners = Annotated[int, typer.Option("--partners", help="Among how many partners to divide.")]
Split = Annotated[str, typer.Option("--split", help="'series', 'target', or 'column' (the table's partner column).")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the division and of the public key.")]
Small = Annotated[int, typer.Option("--small-partner", help="Compounds of the smallest partner; 0 for none.")]
Equal = Annotated[bool, typer.Option("--equal", help="Partners of equal size.")]
MinTrain = Annotated[int, typer.Option("--min-train", help="Exact training values that a partner's regression needs.")]
MinTest = Annotated[int, typer.Option("--min-test", help="Exact test values that a partner's regression needs.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help=f"A setting of [data], repeatable: {', '.join(DataConfig.model_fields)}."),
]


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """Return the settings that ``NAME=VALUE`` texts give; a value is TOML, or else a text.

    Raises:
        InputError: a text is not of that form.

    >>> parse_settings(["thresholds=[6, 7.5]", "folds=cluster"])
    {'thresholds': [6, 7.5], 'folds': 'cluster'}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise InputError(f"--set {text!r} must be NAME=VALUE")
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name.strip()] = value.strip()
    return found
