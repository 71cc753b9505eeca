"""The main job in its parts: prepare, run, attack, report, each timed into ``timing.json``.

``demo`` is all of them; ``run``, ``attack`` and ``report build`` are one each. Every part can be killed and called again.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from attacks.audit import audit
from attacks.effort import DEFAULT, Effort
from attacks.isolation.pool import Pool
from securefl.chem.dataset import Dataset
from securefl.chem.folder import load
from securefl.config import ArmName, RunConfig, parse_config
from securefl.errors import InputError
from securefl.evaluation.run import ARM_FILE, GRAPHS_FILE, RUN_FILE, arm_folder, open_run, ordered, run
from securefl.federation.gate import Audit, require_clearance
from securefl.files import in_memory
from securefl.learning.family import with_graphs
from securefl.records import AuditRecord, ReportRecord, RunRecord, TimingRecord, read_record, write_record
from securefl.report import Terms, build
from securefl.types import Progress, Rng

TIMING_FILE = "timing.json"
BASELINES: tuple[ArmName, ...] = ("standalone", "single-task", "pooled")


def peak_rss_mb() -> float:
    """Return the largest resident memory of this process or of one of its children so far, in MB."""
    kilobytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kilobytes / 1024


@contextmanager
def timed(out: Path, stage: str) -> Iterator[None]:
    """Add the wall time of the block to ``stage`` in the run's timing record, also when it ends early."""
    begin = time.monotonic()
    try:
        yield
    finally:
        path = out / TIMING_FILE
        before = read_record(TimingRecord, path) if path.exists() else TimingRecord(wall_seconds={}, peak_rss_mb=0.0)
        seconds = dict(before.wall_seconds)
        seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - begin
        write_record(TimingRecord(wall_seconds=seconds, peak_rss_mb=max(before.peak_rss_mb, peak_rss_mb())), path)


def train(
    dataset: Dataset,
    config: RunConfig,
    out: Path,
    *,
    rng: Rng,
    progress: Progress,
    audit: Audit | None = None,
    ephemeral: bool = False,
) -> None:
    """Train every arm into ``out``: the baselines and the federated arms are timed apart."""
    require_clearance(config, audit)
    open_run(out, dataset, config, ephemeral=ephemeral)
    order = ordered(config.arms)
    stages = (
        ("baselines", [arm for arm in order if arm in BASELINES]),
        ("arms", [arm for arm in order if arm not in BASELINES]),
    )
    with in_memory(out / "arms") if ephemeral else nullcontext():
        for stage, arms in stages:
            with timed(out, stage):
                run(dataset, config, out, only=arms, audit=audit, ephemeral=ephemeral, rng=rng, progress=progress)


def attack_arms(
    dataset: Dataset,
    out: Path,
    *,
    rng: Rng,
    progress: Progress,
    only: str | None = None,
    view: str | None = None,
    effort: Effort = DEFAULT,
) -> dict[ArmName, AuditRecord]:
    """Attack every finished arm of the run in ``out``; an arm whose audit is already there is not attacked again.

    ``only`` and ``view`` narrow the attacks; a narrowed audit is returned and not kept. A fuller ``effort`` than that of an
    audit that is there takes its place, arm by arm; shadow models and finished arms are kept when it is interrupted.
    """
    config = run_config(out, dataset)
    if read_record(RunRecord, out / RUN_FILE).ephemeral:
        raise InputError(f"{out} was an ephemeral run: it kept no model, prediction or update that could be attacked")
    dataset = with_graphs(dataset, config.model, out / GRAPHS_FILE, progress)
    audits = {}
    with timed(out, "attacks"), Pool() as pool:
        for arm in ordered(config.arms):
            if not (arm_folder(out, arm) / ARM_FILE).exists():
                raise InputError(f"{out}: arm {arm!r} is not finished: run it first")
            kept = out / "attacks" / f"{arm}.json"
            narrowed = only is not None or view is not None
            before = read_record(AuditRecord, kept) if kept.exists() and not narrowed else None
            if before is not None and before.budget in (effort.budget, "full"):
                audits[arm] = before
                continue
            audits[arm] = audit(
                out, dataset, config=config, arm=arm, rng=rng, progress=progress, only=only, view=view, pool=pool, effort=effort
            )
    return audits


def find_dataset(out: Path, given: Path | None) -> Dataset:
    """Return the dataset of the run in ``out``: the folder that was given, or the one that the demo prepared inside the run.

    Raises:
        InputError: there is none, or none of the run's hash.
    """
    if given is not None:
        return load(given)
    wanted = read_record(RunRecord, out / RUN_FILE).data.sha256
    for manifest in sorted((out / "data").glob("*/manifest.json")):
        dataset = load(manifest.parent)
        if dataset.sha256 == wanted:
            return dataset
    raise InputError(f"{out} holds no dataset with SHA-256 {wanted[:12]}: name its folder with --data")


def run_config(out: Path, dataset: Dataset) -> RunConfig:
    """Return the config of the run in ``out``.

    Raises:
        InputError: there is no run, or it was made from other data.
    """
    record = read_record(RunRecord, out / RUN_FILE)
    if record.data.sha256 != dataset.sha256:
        raise InputError(f"{out} was run on other data ({record.data.sha256[:12]}, not {dataset.sha256[:12]})")
    return parse_config(record.config, source=str(out / RUN_FILE))


def write_report(out: Path, terms: Terms) -> ReportRecord:
    """Build the report twice where it was never timed, so that it states the time of its own making; once otherwise.

    A report that is built again from the same records so has the same bytes.
    """
    path = out / TIMING_FILE
    if not path.exists() or "report" not in read_record(TimingRecord, path).wall_seconds:
        with timed(out, "report"):
            build(out, terms)
    return build(out, terms)
