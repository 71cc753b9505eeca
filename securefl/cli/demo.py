"""``securefl demo``: the main job on real ChEMBL activities, from the data to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import joblib
import typer

from attacks.membership.shadows import JOBS
from securefl.chem.moleculeace import default_dataset
from securefl.cli.gate import day
from securefl.cli.output import emit_json
from securefl.cli.pipeline import attack_arms, train
from securefl.cli.presets import demo_config
from securefl.cli.progress import progress_bar
from securefl.cli.timing import timed, write_report
from securefl.errors import InputError
from securefl.report import Terms
from securefl.types import SystemRng

EXAMPLES = """Examples:

  securefl demo --out runs/demo                 about 10 minutes on 2 cores
  securefl demo --out runs/quick --quick        every arm and attack, smaller, under 2 minutes
  securefl demo --out runs/full --arms all      everything in full, 3 seeds, hours

A demo that was interrupted resumes with the same command."""


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for data, run and report: new, or one to resume.")],
    quick: Annotated[bool, typer.Option("--quick", help="Smaller data and models, every arm and attack.")] = False,
    arms: Annotated[str, typer.Option("--arms", help="'default', 'all', or names separated by commas.")] = "default",
    seed: Annotated[int, typer.Option("--seed", help="Seed of weights, batches and splits.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths and verdicts as JSON.")] = False,
) -> None:
    """Prepare data, split it among partners, train every arm, attack every arm, write DIR/report.html and report.json."""
    config = demo_config(arms=arms, seed=seed, quick=quick)
    check_folder(out)
    with progress_bar() as progress:
        with timed(out, "prepare"):
            dataset = default_dataset(config.data, out / "data", progress=progress)
        train(dataset, config, out, rng=SystemRng(), progress=progress)
        # A process takes longer to begin than the small shadows of --quick take to train; the result is the same.
        with joblib.parallel_config(backend="loky", n_jobs=1 if quick else JOBS):
            attack_arms(dataset, out, rng=SystemRng(), progress=progress)
        report = write_report(out, Terms(as_of=day(None)))
    if as_json:
        verdicts = {verdict.view: verdict.verdict for verdict in report.verdicts}
        emit_json({"html": str(out / "report.html"), "json": str(out / "report.json"), "verdicts": verdicts})
    else:
        typer.echo(f"The report: {(out / 'report.html').resolve()}")


def check_folder(out: Path) -> None:
    """Refuse a folder that holds something that is neither a run nor its data.

    Raises:
        InputError: it does; nothing in it was changed.
    """
    expected = {"data", "run.json", "timing.json", "arms", "attacks", "shadows", "report.json", "report.html"}
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file, must be a folder")
    strangers = sorted(p.name for p in out.iterdir() if p.name not in expected) if out.exists() else []
    if strangers and not (out / "run.json").exists():
        raise InputError(f"{out} holds something that is not a run ({strangers[0]!r}): choose a new folder")


demo.__doc__ = f"{demo.__doc__}\n\n{EXAMPLES}"
