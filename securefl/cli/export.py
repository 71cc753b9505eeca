"""``securefl data export``: what one partner owns, as MELLODDY-TUNER's tables or as its prepared matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securefl.chem.folder import load
from securefl.chem.matrices import write_matrices
from securefl.chem.tuner import table_of_partner, write_tuner
from securefl.errors import InputError


def export(
    data: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write: new for matrices.")],
    partner: Annotated[str, typer.Option("--partner", help="Whose part; may be left out if there is one partner.")] = "",
    form: Annotated[str, typer.Option("--form", help="'tuner' (T0, T1, T2) or 'matrices' (*_T11_x.npz, ...).")] = "tuner",
) -> None:
    """Write one partner's part of a dataset in MELLODDY-TUNER's formats. It holds that partner's structures and values.

    Examples:

      securefl data export data/ours --partner partner-1 --out tuner

      securefl data export data/ours --partner partner-1 --form matrices --out matrices
    """
    dataset = load(data)
    number = dataset.partner_number(partner)
    if form == "tuner":
        write_tuner(table_of_partner(dataset, number), out)
    elif form == "matrices":
        write_matrices(dataset, number, out)
    else:
        raise InputError(f"--form {form!r} must be 'tuner' or 'matrices'")
    typer.echo(f"{out.resolve()}: {form} of {dataset.partners[number]}")
