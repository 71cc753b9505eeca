"""The main job in its parts: prepare, run, attack, report, each timed into ``timing.json``.

``demo`` is all of them; ``run``, ``attack`` and ``report build`` are one each. Every part can be killed and called again.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from attacks.audit import audit
from attacks.effort import DEFAULT, Effort
from attacks.isolation.pool import Pool
from securefl.chem.dataset import Dataset
from securefl.chem.folder import load
from securefl.cli.timing import timed
from securefl.config import ArmName, RunConfig, parse_config
from securefl.errors import InputError
from securefl.evaluation.run import ARM_FILE, GRAPHS_FILE, RUN_FILE, arm_folder, open_run, ordered, run
from securefl.federation.gate import Audit, require_clearance
from securefl.files import in_memory
from securefl.learning.family import with_graphs
from securefl.records import AuditRecord, RunRecord, read_record
from securefl.types import Progress, Rng

BASELINES: tuple[ArmName, ...] = ("standalone", "single-task", "pooled")


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
    audits, narrowed = {}, only is not None or view is not None
    # What is not kept is no part of the run: neither its figures nor its time.
    with nullcontext() if narrowed else timed(out, "attacks"), Pool() as pool:
        for arm in ordered(config.arms):
            if not (arm_folder(out, arm) / ARM_FILE).exists():
                raise InputError(f"{out}: arm {arm!r} is not finished: run it first")
            kept = out / "attacks" / f"{arm}.json"
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
