"""``securefl attack``: every attack on every arm of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import joblib
import typer

from attacks.effort import EFFORTS, Budget, Effort, outlook
from attacks.membership.shadows import JOBS
from securefl.chem.dataset import Dataset
from securefl.cli.output import emit_json, emit_table, shown
from securefl.cli.own import attack_own
from securefl.cli.pipeline import attack_arms, find_dataset
from securefl.cli.progress import progress_bar
from securefl.cli.update import attack_update, summary
from securefl.config import ArmName, parse_config
from securefl.errors import InputError
from securefl.evaluation.run import ARM_FILE, RUN_FILE, arm_folder
from securefl.records import ArmRecord, AuditRecord, RunRecord, read_record
from securefl.types import SystemRng

INCONCLUSIVE = 6
BACKENDS = ("loky", "threading")


def attack(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A finished run's folder.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The dataset folder; the demo keeps its own in RUN/data.")] = None,
    only: Annotated[str | None, typer.Option("--only", help="Only the attack of this name.")] = None,
    view: Annotated[str | None, typer.Option("--view", help="Only attacks from this view (V0 to V5).")] = None,
    update: Annotated[Path | None, typer.Option("--update", help="Instead of a run: your own update, safetensors.")] = None,
    tensor: Annotated[str | None, typer.Option("--tensor", help="Its first-layer matrix; the largest if left out.")] = None,
    weights: Annotated[str | None, typer.Option("--weights", help="That matrix before the step: undoes weight decay.")] = None,
    hidden_first: Annotated[bool, typer.Option("--hidden-first", help="The matrix is (hidden, bits), as in torch.")] = False,
    seconds: Annotated[float, typer.Option("--seconds", help="Most seconds of that search.", min=0.1)] = 60.0,
    own: Annotated[str | None, typer.Option("--own", help="Only this partner's own compounds, for its eyes only.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --own: one CSV here; else in the partner's folders.")] = None,
    budget: Annotated[Budget, typer.Option("--budget", help="'full' says what it takes, and resumes.")] = "default",
    jobs: Annotated[int, typer.Option("--jobs", help="Processes that train shadow models; -1 for every core.")] = JOBS,
    backend: Annotated[str, typer.Option("--backend", help="joblib's: loky (processes) or threading.")] = "loky",
    as_json: Annotated[bool, typer.Option("--json", help="Print every score as JSON.")] = False,
) -> None:
    """Attack every arm of a run; ends with 6 if a control failed, so that the audit says nothing.

    With --update, read what compounds an update of your own model shows; --json prints their bits.

    Examples:

      securefl attack runs/ours --data data/ours

      securefl attack runs/demo --view V1 --json

      securefl attack runs/demo --budget full --jobs -1

      securefl attack runs/demo --own "Partner 1" --out my-compounds.csv

      securefl attack --update delta.safetensors --tensor trunk.0.weight --hidden-first
    """
    if update is not None and run is None:
        with progress_bar() as progress:
            found = attack_update(
                update, tensor=tensor, hidden_first=hidden_first, seconds=seconds, progress=progress, weights=weights
            )
        emit_json(found) if as_json else emit_table("What the update shows", [summary(found)])
        return
    if run is None or update is not None:
        raise InputError("name a run, or an update with --update, and not both")
    dataset, effort = find_dataset(run, data), EFFORTS[budget]
    if own is not None:
        show_own(dataset, run, partner=own, out=out, effort=effort, as_json=as_json)
        return
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} must be one of {', '.join(BACKENDS)}; Dask and Ray are set from Python")
    if effort.budget != "default":
        typer.echo(f"securefl: {announced(run, effort, jobs=jobs)}", err=True)
    with progress_bar() as progress, joblib.parallel_config(backend=backend, n_jobs=jobs):
        audits = attack_arms(dataset, run, rng=SystemRng(), progress=progress, only=only, view=view, effort=effort)
    show(audits, as_json=as_json)
    failed = [control for audit in audits.values() for control in audit.controls if not control.held]
    if failed:
        typer.echo(f"securefl: inconclusive: control {failed[0].name!r}: {failed[0].because}", err=True)
        raise typer.Exit(INCONCLUSIVE)


def show_own(dataset: Dataset, run: Path, *, partner: str, out: Path | None, effort: Effort, as_json: bool) -> None:
    """Print how exposed each of one partner's own compounds is, after writing it for that partner's eyes."""
    with progress_bar() as progress:
        mine = attack_own(dataset, run, partner=partner, out=out, rng=SystemRng(), progress=progress, effort=effort)
    emit_json(mine) if as_json else emit_table(f"Exposure of {partner}'s own compounds", mine)


def announced(run: Path, effort: Effort, *, jobs: int) -> str:
    """Return in one line what an audit of the run in ``run`` with this ``effort`` will take.

    Raises:
        InputError: the run can't be read.
    """
    config = parse_config(read_record(RunRecord, run / RUN_FILE).config, source=str(run / RUN_FILE))
    arms = [read_record(ArmRecord, arm_folder(run, arm) / ARM_FILE) for arm in config.arms]
    ahead, workers = outlook(arms, config.attacks, effort), joblib.effective_n_jobs(jobs)
    minutes = math.ceil(ahead.seconds / workers / 60)
    return (
        f"budget {effort.budget!r}: {ahead.shadows} shadow models, about {minutes} min on {workers} "
        f"processes (--jobs); then for each release at most {config.attacks.seconds_per_recovery * effort.longer:.0f} s of "
        f"search and {effort.targets} molecules grown. What is finished is kept: the same command goes on after Ctrl-C; "
        "--only and --view ask for less"
    )


def show(audits: Mapping[ArmName, AuditRecord], *, as_json: bool) -> None:
    """Print what ran: tables, or every record as JSON."""
    if as_json:
        emit_json({arm: audit.model_dump(mode="json") for arm, audit in audits.items()})
        return
    emit_table("Attacks that ran", scores(audits))
    if played := deviations(audits):
        emit_table("Deviations from the protocol that were played", played)


def scores(audits: Mapping[ArmName, AuditRecord]) -> list[dict[str, object]]:
    """Return a row for each attack that ran."""
    return [
        {
            "arm": attack.arm,
            "view": attack.view,
            "release": attack.release,
            "attack": attack.name,
            "metric": attack.metric,
            "k/n": "-" if attack.k is None else f"{attack.k}/{attack.n}",
            "value": attack.value,
            "95 % interval": f"{shown(attack.ci_low)} to {shown(attack.ci_high)}",
            "chance": attack.chance,
        }
        for audit in audits.values()
        for attack in audit.attacks
        if attack.status == "run"
    ]


def deviations(audits: Mapping[ArmName, AuditRecord]) -> list[dict[str, object]]:
    """Return a row for each deviation from an arm's protocol."""
    return [
        {"arm": one.arm, "view": one.view, "deviation": one.name, "outcome": one.outcome, "because": one.reason}
        for audit in audits.values()
        for one in audit.conformance
    ]
