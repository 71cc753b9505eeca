"""``securefl run``: every arm of a config on a prepared dataset, or the plan of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securefl.chem.folder import load
from securefl.cli.gate import find_audit
from securefl.cli.output import emit_json, emit_table
from securefl.cli.pipeline import train
from securefl.cli.progress import progress_bar
from securefl.config import load_config
from securefl.evaluation.plan import plan
from securefl.federation.gate import require_clearance
from securefl.types import SystemRng


def run(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The run's config.")],
    data: Annotated[Path, typer.Option("--data", help="A dataset folder from 'securefl data prepare'.")],
    out: Annotated[Path | None, typer.Option("--out", help="The run's folder: new, or one to resume.")] = None,
    roster: Annotated[Path | None, typer.Option("--roster", help="The signed roster; private data need it.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="The signed report that clears private data.")] = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep models and predictions in memory; leave aggregated metrics alone.")
    ] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Say time, bytes, privacy and refusals; run nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print for a program.")] = False,
) -> None:
    """Train every arm of a config; a killed run goes on where it was, inside a federated arm too.

    Examples:

      securefl run run.toml --data data/ours --plan

      securefl run run.toml --data data/ours --out runs/ours

      securefl run run.toml --data data/ours --out runs/figures --ephemeral
    """
    config = load_config(config_file)
    audit = find_audit(roster, report)
    if not plan_only:
        require_clearance(config, audit)
    dataset = load(data)
    if plan_only:
        rows = plan(config, dataset, rng=SystemRng())
        for row in rows:
            for warning in row.warnings:
                typer.echo(f"warning: {row.arm}: {warning}", err=True)
        if as_json:
            emit_json([row.model_dump(mode="json") for row in rows])
        else:
            emit_table("Plan, before anything runs", [row.model_dump(mode="json", exclude={"warnings"}) for row in rows])
        return
    if out is None:
        raise typer.BadParameter("needed unless --plan is given", param_hint="--out")
    with progress_bar() as progress:
        train(dataset, config, out, rng=SystemRng(), progress=progress, audit=audit, ephemeral=ephemeral)
    if as_json:
        emit_json({"run": str(out), "arms": list(config.arms)})
    else:
        typer.echo(f"The run: {out.resolve()}")
