"""``securefl predict``: a partner scores new molecules with the model that it owns after a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securefl.chem.dataset import Dataset
from securefl.chem.folder import load
from securefl.chem.rejects import summarise
from securefl.cli.data import read_key
from securefl.cli.progress import progress_bar
from securefl.errors import InputError
from securefl.evaluation.scoring import as_csv, read_smiles, score, write_scores
from securefl.learning.family import attach_graphs
from securefl.learning.fine_tune import fine_tune
from securefl.learning.owned import OwnedModel, load_owned
from securefl.types import Progress


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder, such as RUN/arms/masking/seed-0/partner-1.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Molecules: .csv, .csv.gz or .parquet.")],
    out: Annotated[Path | None, typer.Option("--out", help="A .csv or .parquet file; printed as CSV if left out.")] = None,
    smiles: Annotated[str, typer.Option("--smiles", help="Column of the structures.")] = "smiles",
    key: Annotated[Path | None, typer.Option("--key", help="The key that the data were prepared with, if not public.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The owner's dataset: adds similarity to what it knows.")] = None,
    epochs: Annotated[int, typer.Option("--fine-tune", help="Train so many epochs on --data first, alone.", min=0)] = 0,
    keep: Annotated[Path | None, typer.Option("--keep", help="Folder for the fine-tuned model: new.")] = None,
) -> None:
    """Predict every task of the model's owner: pX, or the probability of class 1; each row is there, with why if refused.

    Examples:

      securefl predict runs/demo/arms/masking/seed-0/partner-1 new.csv --out scores.csv

      securefl predict MODEL new.parquet --data data/ours --fine-tune 5 --keep models/ours --out scores.parquet
    """
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise InputError(f"output {out} must end in .csv or .parquet")
    if (epochs and data is None) or (keep is not None and not epochs):
        raise typer.BadParameter("--fine-tune needs --data, and --keep needs --fine-tune", param_hint="--fine-tune")
    if key is not None and not key.is_file():
        raise InputError(f"key {key}: no such file")
    if keep is not None and keep.exists():
        raise InputError(f"{keep} is there already: choose a new folder")
    owned, molecules = load_owned(model), read_smiles(table, smiles)
    dataset = None if data is None else load(data)
    with progress_bar() as progress:
        if dataset is not None and epochs:
            owned = tuned(owned, dataset, epochs, keep, progress)
        scores = score(
            owned, molecules, key=None if key is None else read_key(key), data=dataset, progress=progress
        )
    if out is None:
        typer.echo(as_csv(scores), nl=False)
    else:
        write_scores(scores, out)
        typer.echo(f"{len(molecules)} rows, {len(scores.tasks)} tasks of {owned.partner}: {out.resolve()}")
    if scores.rejects:
        typer.echo(f"securefl: {len(scores.rejects)} of {len(molecules)} rows refused: {summarise(scores.rejects)}", err=True)


def tuned(owned: OwnedModel, dataset: Dataset, epochs: int, keep: Path | None, progress: Progress) -> OwnedModel:
    """Return ``owned`` fine-tuned on ``dataset``, kept in the folder ``keep`` if there is one."""
    if owned.model.graph is not None:
        dataset = attach_graphs(dataset, progress=progress)
    found, curve = fine_tune(owned, dataset, epochs=epochs, progress=progress)
    if keep is not None:
        found.save(keep)
    best = max(curve)
    typer.echo(f"securefl: validation {curve[0]:.3f} before, {best:.3f} at epoch {curve.index(best)} of {epochs}", err=True)
    return found
