"""``securefl sweep``: what each parameter does to leak and to performance, measured, for the report's table of options."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from securefl.chem.dataset import Dataset
from securefl.chem.folder import load
from securefl.chem.moleculeace import default_dataset
from securefl.chem.reencode import reencoded
from securefl.cli.output import emit_json, emit_table
from securefl.cli.pipeline import attack_arms, train
from securefl.cli.progress import progress_bar
from securefl.config import RunConfig, load_config
from securefl.errors import InputError
from securefl.evaluation.artefacts import read_predictions
from securefl.evaluation.run import arm_folder
from securefl.evaluation.sweep import LEAST_SEEDS, REENCODED, Measured, Point, parse_vary, points, sweep_record
from securefl.evaluation.task_scores import Predictions
from securefl.evidence import OptionRecord, SweepRecord
from securefl.recipes import check_arm
from securefl.records import AttackRecord, AuditRecord, read_record, write_record
from securefl.types import Progress, SystemRng

LEAKS = ("V1.fingerprint_recovery.exact@exposed", "V4.membership_rmia.tpr_at_fpr_1pct@model")
OPTIONS_FILE = "options.json"


@dataclass(frozen=True, slots=True)
class Leak:
    """A figure of the audit, ``VIEW.ATTACK.METRIC@RELEASE``, that is a count of compounds."""

    name: str
    view: str
    attack: str
    metric: str
    release: str

    def of(self, audit: AuditRecord) -> tuple[int, int] | None:
        """Return k of n; ``None`` where the attack ran and can't tell the figure, as a low rate of few non-members.

        Raises:
            InputError: no such attack ran, or the figure is no count.
        """
        ran = [attack for attack in audit.attacks if self._is_of(attack)]
        if not ran:
            raise InputError(f"--leak {self.name}: the audit has no such attack")
        found = [attack for attack in ran if attack.metric == self.metric or attack.status != "run"]
        if not found:
            return None
        counted = max(found, key=lambda attack: attack.value or 0.0)
        if counted.k is None or counted.n is None:
            raise InputError(f"--leak {self.name}: {counted.reason or 'is no count of compounds'}")
        return counted.k, counted.n

    def _is_of(self, attack: AttackRecord) -> bool:
        return (attack.view, attack.name, attack.release) == (self.view, self.attack, self.release)


def parse_leak(text: str) -> Leak:
    """Return what ``VIEW.ATTACK.METRIC@RELEASE`` names.

    Raises:
        InputError: it is written otherwise.
    """
    rest, _, release = text.partition("@")
    parts = rest.split(".")
    if len(parts) != 3 or not release:
        raise InputError(f"--leak {text!r} must be VIEW.ATTACK.METRIC@RELEASE, as {LEAKS[0]}")
    return Leak(text, parts[0], parts[1], parts[2], release)


def sweep(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The config that everything else is taken from.")],
    out: Annotated[Path, typer.Option("--out", help="The sweep's folder: RUN/sweep puts it into the report of RUN.")],
    vary: Annotated[list[str], typer.Option("--vary", help="section.key=value,value,...; repeatable.")],
    data: Annotated[Path | None, typer.Option("--data", help="A prepared dataset; the public default if left out.")] = None,
    arm: Annotated[str, typer.Option("--arm", help="The arm whose parameters move.")] = "masking",
    seeds: Annotated[int, typer.Option("--seeds", help="Runs of each point.", min=LEAST_SEEDS)] = LEAST_SEEDS,
    leak: Annotated[list[str] | None, typer.Option("--leak", help="VIEW.ATTACK.METRIC@RELEASE; repeatable.")] = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="List the points; run nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print for a program.")] = False,
) -> None:
    """Move one parameter at a time, train and attack every point with every seed, and write OUT/options.json.

    A sweep that was interrupted resumes with the same command. guard.k=0 is no guard; dp.epsilon=inf clips without noise.

    Examples:

      securefl sweep run.toml --out runs/demo/sweep --vary guard.k=0,2,3,5 --vary dp.epsilon=1,3,8,inf

      securefl sweep run.toml --out runs/bits --vary data.bits=4096,32768 --plan
    """
    base, leaks = load_config(config_file), [parse_leak(text) for text in leak or LEAKS]
    varies = [parse_vary(text) for text in vary]
    stations = points(base, check_arm(arm), varies)
    if plan_only:
        rows = [{"parameter": p.parameter, "value": p.value, "arm": p.arm, "runs": seeds} for p in stations]
        emit_json(rows) if as_json else emit_table(f"{len(rows) * seeds} runs", rows)
        return
    with progress_bar() as progress:
        dataset = load(data) if data else default_dataset(base.data, out / "data", progress=progress)
        stations = points(with_encoding_of(dataset, base), arm, varies)
        record = run_sweep(dataset, stations, out, seeds=range(seeds), leaks=leaks, progress=progress)
    write_record(record, out / OPTIONS_FILE)
    if untold := sorted({one.name for one in leaks} - {option.leak for option in record.options}):
        typer.echo(f"left out, these data can't tell it: {', '.join(untold)}", err=True)
    if as_json:
        emit_json([option.model_dump(mode="json") for option in record.options])
    else:
        emit_table("Options", [row(option) for option in record.options])


def row(option: OptionRecord) -> dict[str, object]:
    """Return an option as a row for a person."""
    leak, performance = option.intervals["delta_leak"], option.intervals["delta_performance"]
    return {
        "parameter": option.parameter,
        "from": option.origin,
        "to": option.target,
        "leak": option.leak,
        "change of leak": f"{option.delta_leak:+.3f} [{leak[0]:+.3f}, {leak[1]:+.3f}]",
        "change of performance": f"{option.delta_performance:+.3f} [{performance[0]:+.3f}, {performance[1]:+.3f}]",
    }


def with_encoding_of(dataset: Dataset, config: RunConfig) -> RunConfig:
    """Return the config with the fingerprint size and radius of a prepared dataset: a sweep starts from those."""
    encoding = dataset.encoding
    if encoding is None:
        return config
    return config.model_copy(
        update={"data": config.data.model_copy(update={"bits": encoding.bits, "radius": encoding.radius})}
    )


def run_sweep(
    dataset: Dataset,
    stations: Sequence[Point],
    out: Path,
    *,
    seeds: Sequence[int],
    leaks: Sequence[Leak],
    progress: Progress,
) -> SweepRecord:
    """Run every point with every seed and return the record; what is finished is read, not run again.

    Raises:
        InputError: the data can't tell any of the leaks.
    """
    ran: list[tuple[Point, list[Predictions], dict[str, list[tuple[int, int] | None]]]] = []
    started, total = time.monotonic(), len(stations) * len(seeds)
    for number, point in enumerate(stations):
        data, moves = point.config.data, point.parameter in REENCODED
        mine = reencoded(dataset, bits=data.bits, radius=data.radius, progress=progress) if moves else dataset
        predictions: list[Predictions] = []
        counts: dict[str, list[tuple[int, int] | None]] = {one.name: [] for one in leaks}
        for done, seed in enumerate(seeds, start=number * len(seeds)):
            left = (time.monotonic() - started) / max(done, 1) * (total - done) / 60 if done else 0.0
            progress(f"sweep: {point.parameter}={point.value}, about {left:.0f} min left", done, total)
            audits = run_point(mine, point, seed, out, leaks=leaks, progress=progress)
            config = point.with_seed(seed)
            predictions += read_predictions(arm_folder(point_folder(out, config), point.arm), (seed,), mine)
            for one in leaks:
                counts[one.name].append(one.of(audits[one.name]))
        ran.append((point, predictions, counts))
    told = [one.name for one in leaks if all(None not in counts[one.name] for _, _, counts in ran)]
    if not told:
        raise InputError(f"these data can't tell any of {', '.join(one.name for one in leaks)}: choose another --leak")
    measured = [(point, Measured(seen, {name: _pooled(counts[name]) for name in told})) for point, seen, counts in ran]
    return sweep_record(dataset, measured, leaks=told)


def _pooled(counts: Sequence[tuple[int, int] | None]) -> tuple[int, int]:
    """Return k of n over all seeds."""
    told = [one for one in counts if one is not None]
    return sum(k for k, _ in told), sum(n for _, n in told)


def point_folder(out: Path, config: RunConfig) -> Path:
    """Return the run folder of a point and seed: by its config, so that points that are the same are run once."""
    return out / "points" / config.sha256[:16]


def run_point(
    dataset: Dataset, point: Point, seed: int, out: Path, *, leaks: Sequence[Leak], progress: Progress
) -> dict[str, AuditRecord]:
    """Train one point with one seed, run the attacks that the leaks name, and return their audits by leak."""
    config = point.with_seed(seed)
    folder = point_folder(out, config)
    train(dataset, config, folder, rng=SystemRng(), progress=progress)
    audits = {}
    for leak in leaks:
        kept = folder / "attacks" / f"{leak.name}.json"
        if not kept.exists():
            found = attack_arms(dataset, folder, rng=SystemRng(), progress=progress, only=leak.attack, view=leak.view)
            write_record(found[point.arm], kept)
        audits[leak.name] = read_record(AuditRecord, kept)
    return audits
