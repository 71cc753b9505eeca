"""What a report rests on and promises, as records: inputs by hash, what transcripts show, sweeps, prices, and its validity."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field

from securefl.measures import IntervalRecord
from securefl.recipes import Opener
from securefl.record_base import Record

EditionKind = Literal["consortium", "partner", "auditor"]


class InputRecord(Record):
    """A file that the report rests on: its name inside the run (``policy:``, ``prices:`` and ``grid:`` stand outside of it)."""

    name: str
    sha256: str
    size: int


class PluginRecord(Record):
    """The package that an arm's protocol comes from, and what it declares: nobody here has checked it."""

    package: str
    version: str
    exact: bool = Field(description="declared: the sum is the integer sum itself")
    opener: Opener = Field(description="declared: who can open what a client uploads")

    @property
    def origin(self) -> str:
        """The package with its version."""
        return f"{self.package} {self.version}"


class EditionRecord(Record):
    """For whom the report is: the consortium (aggregates alone), one partner (and its own), or the auditor (everything)."""

    kind: EditionKind = "consortium"
    partner: str = Field("", description="the partner whose own figures are in it")


class RocPointRecord(Record):
    """A point of an ROC curve with the 95 % interval of its true positive rate (Clopper-Pearson)."""

    fpr: float
    tpr: float
    low: float
    high: float


class ProtocolRecord(Record):
    """What an arm's transcript shows when it is replayed: cryptographic conformance, and the ledger of its openings.

    ``signed`` is false for protocols whose messages carry no envelopes: of those the chain alone was checked. ``rank`` is that
    of all opened sums; ``smallest`` the fewest partners whose sum the openings would show together if every round's inputs
    were the same, ``None`` if no such combination was found within the search.
    """

    arm: str
    transcript: str = Field(description="the file's name inside the run")
    wire_id: str
    suite: tuple[str, ...] = Field((), description="ciphers, curves, rings and key sizes")
    decryptor: Opener = Field("none", description="who can open what is uploaded")
    signed: bool
    parties: int
    threshold: int | None = None
    colluders: int | None = None
    required: int | None = None
    rounds: int
    messages: int
    bytes: int
    dropouts: int
    violations: tuple[str, ...] = ()
    last_hash: str
    cohorts: int = Field(description="different sets of survivors over the rounds")
    openings: int
    rank: int
    smallest: int | None = None


class OptionRecord(Record):
    """One step of a sweep: if this parameter moves so, leak and performance change so (95 % intervals)."""

    parameter: str
    origin: str = Field(validation_alias=AliasChoices("from", "origin"))
    target: str = Field(validation_alias=AliasChoices("to", "target"))
    delta_leak: float
    delta_performance: float
    intervals: dict[str, tuple[float, float]] = Field({}, description="by name: delta_leak, delta_performance")
    leak: str = Field("", description="which leak, where a sweep measured several")
    arm: str = ""
    n: int | None = Field(None, description="seeds")


class SweepPointRecord(Record):
    """One setting of a sweep: what leaked there and what it reached, over ``n`` seeds."""

    parameter: str
    value: str
    leak: IntervalRecord | None = None
    leak_name: str = Field("", description="which leak, where a sweep measured several")
    performance: IntervalRecord | None = None
    arm: str = ""
    n: int | None = None


class SweepRecord(Record):
    """``sweep/options.json``: what a sweep over settings found. ``leak`` and ``performance`` name what was measured."""

    schema_version: str = "1.0"
    leak: str = ""
    performance: str = ""
    options: tuple[OptionRecord, ...]
    points: tuple[SweepPointRecord, ...] = ()


class ScaleRecord(Record):
    """The size to which cost is extrapolated."""

    partners: int = Field(ge=2)
    parameters: int = Field(ge=1)
    activities: int = Field(ge=1)
    rounds: int = Field(ge=1)
    limit_days: float = Field(gt=0, description="how long a whole run may take")


class PriceRecord(Record):
    """The stated price list: prices in ``currency`` for an hour of one core and for 10^9 bytes sent or received."""

    title: str
    statement: str
    currency: str
    core_hour: float = Field(ge=0)
    gigabyte_sent: float = Field(ge=0)
    gigabyte_received: float = Field(ge=0)
    cores: int = Field(ge=1, description="cores of one partner's machine, over which training divides")
    scale: ScaleRecord
    sha256: str = ""


class EstimateRecord(Record):
    """An arm's cost at the stated scale: an extrapolation, by the model that stands beside it, and no measurement.

    Hours are of one core for one partner over the whole run; gigabytes (10^9) are on one partner's line; ``days`` is wall time.
    """

    arm: str
    protocol_hours: float
    training_hours: float
    operator_hours: float
    decryptor_hours: float = Field(0.0, description="all decryptors together, with the fresh keys of rounds")
    gigabytes_sent: float
    gigabytes_received: float
    money_partner: float
    money_consortium: float
    days: float
    fits: bool = Field(description="whether days is within the stated limit")


class GridLineRecord(Record):
    """A scheme's cost as a grid measured it elsewhere, and carried to the stated scale by parameters, partners and rounds.

    Seconds and bytes are those of a round where it was measured. Hours are of one core over the whole run: of one partner, of
    the operator, of all decryptors together.
    """

    scheme: str
    parameters: int = Field(description="coordinates on which it was measured")
    partners: int = Field(description="clients among which it was measured")
    cpu: str = Field(description="the processor on which it was measured")
    load: float = Field(description="load average of the machine before the measurement")
    client_seconds: float
    bytes_up_per_parameter: float
    protocol_hours: float
    operator_hours: float
    decryptor_hours: float
    gigabytes_sent: float
    gigabytes_received: float
    money_partner: float


class GridRecord(Record):
    """A grid of every scheme's cost, from a file that is an input of the report (``grid:``); none of it is of the run."""

    lines: tuple[GridLineRecord, ...]


class RecommendationRecord(Record):
    """The setting that the rule picks, and why; no arm where none can be recommended."""

    arm: str | None
    because: str


class ClearanceRecord(Record):
    """The predicate of a signed report: what the gate to private data reads, and by which hashes the report stands.

    ``audit_sha256`` is :func:`securefl.config.audit_sha256` of the configuration that was audited. ``verdicts`` hold, by arm
    and view, one of pass, fail, inconclusive and not tested.
    """

    schema_version: str = "1.0"
    audit_sha256: str
    config_sha256: str
    data_sha256: str
    appetite_sha256: str
    commit: str
    edition: EditionRecord
    as_of: str | None
    expires: str | None
    verdicts: dict[str, dict[str, str]]
    inputs: tuple[InputRecord, ...]
