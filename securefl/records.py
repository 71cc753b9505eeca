"""The records of a run: what an arm cost and reached, what an attack got, and the whole report, as JSON with a schema.

Records are the only thing that the report reads: a number in the report comes from here. Each one says its schema version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from securefl.errors import InputError
from securefl.evidence import (
    EditionRecord,
    EstimateRecord,
    GridRecord,
    InputRecord,
    PluginRecord,
    PriceRecord,
    ProtocolRecord,
    RecommendationRecord,
    RocPointRecord,
    SweepRecord,
)
from securefl.files import write_to_disk
from securefl.measures import BaselineRecord, ConsortiumRecord, EvaluationRecord
from securefl.record_base import Record as Record

SCHEMA_VERSION = "1.0"
View = Literal["V0", "V1", "V2", "V2c", "V3", "V4", "V5"]
Release = Literal["as-run", "exposed", "model", "course", "canaries"]


class DpRecord(Record):
    """What was spent: ``unit`` says whose data one unit of epsilon protects."""

    unit: Literal["record", "partner"]
    epsilon: float | None = Field(description="upper bound; none is infinity: clipped alike, without noise or guarantee")
    epsilon_lower: float | None = Field(None, description="no accountant can claim less, where one gives a lower bound")
    delta: float
    noise_multiplier: float
    accountant: str
    clipping_norm: float
    sampling_rate: float
    steps: int
    neighbouring: str
    partner: str = Field(description="the partner with the largest epsilon: the figure holds for all of them")


class PerformanceRecord(Record):
    """Test-fold performance: the mean over partner-tasks with a cluster-bootstrap interval."""

    metric: str
    mean: float
    ci_low: float
    ci_high: float
    n_tasks: int
    n_compounds: int
    delta_vs_standalone: float | None = None
    delta_ci_low: float | None = None
    delta_ci_high: float | None = None
    tasks_better: float | None = Field(None, description="share of partner-tasks that beat standalone, 0 to 1")
    per_partner: dict[str, float] = Field({})
    others: dict[str, float] = Field({}, description="mean over partner-tasks of the other metrics, by name")
    curve: tuple[float, ...] = Field((), description="validation metric after each round")
    best_round: int | None = None


class CostRecord(Record):
    """Seconds are CPU seconds of one client (median) or of the operator, a round; bytes are on the wire, a round."""

    setup_seconds: float
    client_seconds: float
    server_seconds: float
    bytes_up_per_parameter: float
    bytes_down_per_parameter: float
    peak_rss_mb: float
    decryptor_seconds: float = Field(0.0, description="all decryptors together, to open the sum")
    key_seconds: float = Field(0.0, description="the fresh key of a round, where a decryptor makes one")
    training_seconds: float = 0.0
    wall_seconds: float = 0.0


class DepartureRecord(Record):
    """A partner that said no before ``round`` (from 1) of the first seed. What it gave to earlier rounds stays in the trunk."""

    round: int
    partner: str
    decision: Literal["absent", "stop", "withdraw", "veto"]


class ArmRecord(Record):
    """One arm, as it really ran. ``scheme`` and the aggregate's error are ``None`` where nothing was aggregated."""

    name: str
    scheme: str | None
    guard: str | None
    dp: DpRecord | None
    rounds: int
    parameters: int = Field(description="coordinates in each aggregated vector")
    seeds: tuple[int, ...]
    warm_start: str | None
    forbidden: bool = Field(False, description="pools private data: an upper bound, not an option")
    performance: PerformanceRecord
    evaluation: EvaluationRecord | None = Field(None, description="every metric and comparison: the auditor's")
    consortium: ConsortiumRecord | None = Field(None, description="what secure aggregation opened of the performance")
    baselines: tuple[BaselineRecord, ...] = Field((), description="single-task: each family of models that was tried")
    cost: CostRecord
    max_abs_aggregate_error: float | None
    quantization_bound: float | None
    clipped: int | None
    withheld_bits: int | None = None
    withheld_bits_per_partner: dict[str, int] = Field({})
    departures: tuple[DepartureRecord, ...] = Field((), description="who said no to which round")
    notes: tuple[str, ...] = ()
    plugin: PluginRecord | None = Field(None, description="the package that brings the scheme, where securefl doesn't")

    @property
    def noised(self) -> bool:
        """Whether privacy noise is in what the partners sent; at an infinite epsilon there is none."""
        return self.dp is not None and self.dp.noise_multiplier > 0


class AttackRecord(Record):
    """One attack on one release of one arm. ``metric`` is null unless ``status`` is ``run``."""

    name: str
    view: View
    arm: str
    release: Release
    status: Literal["run", "not_run", "refused"]
    reason: str = ""
    metric: str | None = None
    value: float | None = None
    k: int | None = None
    n: int | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    chance: float | None = None
    min_certifiable_fpr: float | None = None
    bits: int | None = None
    compounds: int | None = None
    optimiser: str | None = None
    asset: Literal["membership", "structure", "label", "substructure", "assay", "identity"] = "structure"
    member_of: Literal["partner", "consortium"] | None = None
    coordinates: Literal["clear", "scrambled"] | None = None
    seconds: float = 0.0
    detail: dict[str, float] = Field({})
    roc: tuple[RocPointRecord, ...] = Field((), description="the whole curve, thinned, where the attack scores members")


class ControlRecord(Record):
    """A check without which the audit says nothing: ``held`` false makes every verdict that rests on it inconclusive."""

    name: str
    arm: str | None
    held: bool
    metric: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    expected: str
    because: str
    views: tuple[View, ...] = ()


class ConformanceRecord(Record):
    """One attack on the protocol itself. ``broken_variant`` is the test in which it succeeds without the defence."""

    name: str
    view: View
    arm: str
    scheme: str
    outcome: Literal["refused", "failed", "succeeded"]
    reason: str
    broken_variant: str
    seconds: float = 0.0


class AuditRecord(Record):
    """``attacks/<arm>.json``: every attack on one arm with the controls that it rests on."""

    schema_version: str = SCHEMA_VERSION
    attacks: tuple[AttackRecord, ...]
    controls: tuple[ControlRecord, ...]
    conformance: tuple[ConformanceRecord, ...] = ()
    budget: Literal["default", "full"] = "default"


class TimingRecord(Record):
    """``timing.json``: wall seconds of each stage (prepare, baselines, arms, attacks) and the peak memory of all processes."""

    schema_version: str = SCHEMA_VERSION
    wall_seconds: dict[str, float]
    peak_rss_mb: float


class VerdictRecord(Record):
    """The verdict for one view, on the strongest attack that ran there."""

    view: View
    verdict: Literal["pass", "fail", "inconclusive", "not tested"]
    because: str
    lost: str = Field("", description="of a failed one: the asset that was got, or deviation")
    arm: str | None = None


class AppetiteRecord(Record):
    """The stated risk appetite that the verdicts were measured against: ``limits[view][attack]["max_METRIC"]``."""

    title: str
    statement: str
    sha256: str
    rule: str
    limits: dict[str, dict[str, dict[str, float]]]
    valid_days: int = Field(180, description="how long a report counts that was measured against it")


class DataRecord(Record):
    """The dataset that the run read."""

    name: str
    sha256: str
    licence: str
    citation: str
    compounds: int
    tasks: int
    activities: int
    rejects: int
    folds: dict[str, int] = Field({})
    bits: int = 0


class PartnerRecord(Record):
    """A partner; its sizes are its own, and are missing in a report for others."""

    name: str
    compounds: int | None = None
    tasks: int | None = None
    activities: int | None = None


class ToolkitRecord(Record):
    """Which code ran."""

    version: str
    commit: str
    python: str = ""
    platform: str = ""
    packages: dict[str, str] = Field({})
    dependencies: dict[str, str] = Field({}, description="every installed package: version and SHA-256 of its list of files")


class RunRecord(Record):
    """``run.json``: what every arm of a run shares. Written first; the folder belongs to this content alone."""

    schema_version: str = SCHEMA_VERSION
    toolkit: ToolkitRecord
    config: dict[str, Any]
    config_sha256: str
    data: DataRecord
    partners: tuple[PartnerRecord, ...]
    ephemeral: bool = Field(False, description="models, predictions and updates were never written to a disk")


class ReportRecord(Record):
    """``report.json``: everything that the HTML report shows."""

    schema_version: str = SCHEMA_VERSION
    toolkit: ToolkitRecord
    config: dict[str, Any]
    config_sha256: str
    data: DataRecord
    partners: tuple[PartnerRecord, ...]
    arms: tuple[ArmRecord, ...]
    attacks: tuple[AttackRecord, ...]
    controls: tuple[ControlRecord, ...]
    conformance: tuple[ConformanceRecord, ...] = ()
    verdicts: tuple[VerdictRecord, ...]
    arm_verdicts: tuple[VerdictRecord, ...] = Field((), description="the same rule for each arm in each view")
    appetite: AppetiteRecord | None = None
    wall_seconds: dict[str, float] = Field({})
    peak_rss_mb: float = 0.0
    edition: EditionRecord = EditionRecord()
    as_of: str | None = Field(None, description="the day of the report, YYYY-MM-DD; without one it opens no gate")
    expires: str | None = Field(None, description="the last day on which it counts")
    inputs: tuple[InputRecord, ...] = ()
    protocols: tuple[ProtocolRecord, ...] = ()
    sweep: SweepRecord | None = None
    prices: PriceRecord | None = None
    estimates: tuple[EstimateRecord, ...] = ()
    grid: GridRecord | None = None
    recommendation: RecommendationRecord | None = None


RecordT = TypeVar("RecordT", bound=Record)


def encoded(record: Record) -> bytes:
    """Return the canonical bytes of ``record``: JSON with sorted keys, one form for each number, a line for each value."""
    return json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True).encode() + b"\n"


def write_record(record: Record, path: Path) -> None:
    """Write ``record`` as JSON under a temporary name, then rename: a full disk loses nothing that was there.

    Raises:
        InputError: the file can't be written.
    """
    write_to_disk(path, encoded(record))


def read_record(kind: type[RecordT], path: Path) -> RecordT:
    """Return the record of class ``kind`` in ``path``.

    Raises:
        InputError: the file is missing, not JSON, or not such a record.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is not a {kind.__name__}: {where}: {first['msg']}") from error
