"""``securefl data``: any long table, or a downloaded ChEMBL release, becomes a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Prepare datasets from your own tables.", no_args_is_help=True)

Out = Annotated[Path, typer.Option("--out", help="Folder to write: new, or one of the same content.")]
