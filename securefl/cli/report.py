"""``securefl report``: build the report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securefl.cli.output import emit_json
from securefl.cli.pipeline import write_report

app = typer.Typer(help="Build the privacy-versus-performance report.", no_args_is_help=True)


@app.callback()
def report() -> None:
    """Build the privacy-versus-performance report."""


@app.command("build")
def build(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    appetite: Annotated[Path | None, typer.Option("--appetite", help="Your organisation's limits (TOML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Write RUN/report.json and RUN/report.html from the run's records alone.

    Example:

      securefl report build runs/ours --appetite appetite.toml
    """
    record = write_report(run, appetite=appetite)
    if as_json:
        emit_json([verdict.model_dump(mode="json") for verdict in record.verdicts])
    else:
        typer.echo(f"The report: {(run / 'report.html').resolve()}")
