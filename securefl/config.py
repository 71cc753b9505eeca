"""The config file of a run (TOML), checked with pydantic: the one place where a person's settings enter.

Everything inside securefl takes frozen dataclasses; only the command line and the round loop read these models.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from securefl.errors import InputError
from securefl.recipes import REFERENCES, check_arm, recipe_of

ItemT = TypeVar("ItemT")


def _each_once(items: tuple[ItemT, ...]) -> tuple[ItemT, ...]:
    doubled = [item for number, item in enumerate(items) if item in items[:number]]
    if doubled:
        raise ValueError(f"{doubled[0]!r} occurs twice")
    return items


ArmName = Annotated[str, AfterValidator(check_arm)]
Arms = Annotated[tuple[ArmName, ...], Field(min_length=1), AfterValidator(_each_once)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_each_once)]
"""A seed that occurred twice would count as two trainings, and narrow every interval over seeds."""
DEFAULT_ARMS: tuple[str, ...] = (
    "standalone", "single-task", "pooled", "plaintext", "masking", "masking+guard", "paillier", "ckks", "dp",
)  # fmt: skip
ALL_ARMS: tuple[str, ...] = (*DEFAULT_ARMS, "masking-static", "bfv", "rlwe", "dp=1", "dp=3", "dp=inf")
"""What ``--arms all`` trains."""
SECURE_MINIMUM = 3
"""Below three partners a sum tells one partner the other's update."""


class Section(BaseModel):
    """A section of the config: unknown keys are refused, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap", when_used="json")
    def _without_infinity(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """JSON has no number for infinity, and a budget of infinity is not the same as none: it is written as a word."""
        return {name: "inf" if value == inf else value for name, value in handler(self).items()}


SectionT = TypeVar("SectionT", bound=Section)


class DataConfig(Section):
    """Fingerprints, folds and how the table is divided among partners."""

    bits: int = Field(4096, ge=64, le=1 << 20)
    radius: int = Field(3, ge=1, le=6)
    partners: int = Field(5, ge=1, le=50)
    split: Literal["target", "series", "column"] = "series"
    small_partner_compounds: int = Field(150, ge=0)
    targets: int = Field(0, ge=0, description="use only so many targets of the default data; 0 is all")
    sizes: Literal["unequal", "equal"] = "unequal"
    folds: Literal["scaffold", "cluster", "random", "time"] = "scaffold"
    audit_fraction: float = Field(0.1, gt=0, lt=0.5)
    counts: bool = Field(False, description="keep how often an environment occurs, not only whether")
    min_train: int = Field(25, ge=1, description="exact training values that a partner's regression needs")
    min_test: int = Field(8, ge=0, description="exact test values that a partner's regression needs")
    min_train_class: int = Field(25, ge=1, description="training values of each class that a classification needs")
    min_test_class: int = Field(10, ge=0, description="test values of each class that a classification needs")
    unjudged: Literal["reject", "train"] = Field("reject", description="tasks that miss only the test quorum")
    thresholds: tuple[FiniteFloat, ...] = Field((), description="make classes of measured values: 1 at the threshold or above")
    keep_values: bool = Field(True, description="keep the measured values beside the classes of the thresholds")
    min_value: float | None = Field(None, description="measured values below are implausible and rejected")
    max_value: float | None = Field(None, description="measured values above are implausible and rejected")
    max_spread: float | None = Field(None, ge=0, description="replicates further apart are a conflict, else their median")
    seed: int = 0
    private: bool = Field(False, description="real data: a run refuses without a signed, passing audit of this config")


class ModelConfig(Section):
    """The shared trunk. Heads are one linear output a task and never leave their partner."""

    family: Literal["mlp", "graph"] = Field("mlp", description="what the first layer reads: fingerprints, or atoms and bonds")
    hidden: tuple[int, ...] = (400, 120)
    dropout: float = Field(0.3, ge=0, lt=1)
    common: Annotated[tuple[str, ...], AfterValidator(_each_once)] = Field(
        (), description="names of tasks that partners share: outputs are summed, not private"
    )
    graph_width: int = Field(64, ge=1, description="numbers an atom carries, in the graph family")
    graph_steps: int = Field(2, ge=1, description="steps of message passing, in the graph family")


class DepartureConfig(Section):
    """A partner that says no before a round of a simulation; ``round`` and ``partner`` count from 1."""

    round: int = Field(ge=1)
    partner: int = Field(ge=1)
    decision: Literal["absent", "stop", "withdraw", "veto"]


class FederationConfig(Section):
    """Rounds and local training, and how the opened mean moves the trunk."""

    rounds: int = Field(16, ge=1)
    local_epochs: int = Field(1, ge=1)
    local_steps: int = Field(0, ge=0, description="gradient steps as the unit of local training; 0: local_epochs are it")
    batch: int = Field(128, ge=1)
    optimiser: Literal["adam", "sgd", "lazy-adam"] = Field(
        "adam", description="lazy-adam: rows of absent bits rest; sgd at about 1 suits a dense panel of classes"
    )
    censoring: Literal["one-sided", "tobit"] = Field("one-sided", description="what a censored cell costs")
    learning_rate: float = Field(1e-3, gt=0)
    patience: int = Field(5, ge=1)
    seeds: Seeds = (0,)
    server_optimiser: Literal["fedavg", "fedadam"] = "fedavg"
    server_learning_rate: float | None = Field(None, gt=0, description="none: 1 for fedavg, 0.003 for fedadam")
    departures: tuple[DepartureConfig, ...] = ()
    checkpoints: bool = Field(False, description="keep the shared trunk that every round begins with")

    @model_validator(mode="after")
    def _one_unit(self) -> FederationConfig:
        if self.local_steps and self.local_epochs != 1:
            raise ValueError(f"local_epochs={self.local_epochs} must be 1 where local_steps={self.local_steps} is the unit")
        return self


BaselineName = Literal["random-forest", "linear-svm", "rbf-svm", "gradient-boosting"]
ALL_BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)


class BaselineConfig(Section):
    """The single-task baselines; of several ``models`` each task has the one that validation prefers."""

    trees: int = Field(100, ge=1, le=100)
    models: tuple[BaselineName, ...] = Field(("random-forest",), min_length=1)


class MetricsConfig(Section):
    """What the consortium may see of an arm's performance: a metric of fewer partners or tasks is never opened."""

    min_partners: int = Field(SECURE_MINIMUM, ge=SECURE_MINIMUM)
    min_tasks: int = Field(10, ge=2)


class SecaggConfig(Section):
    """Quantiser and protocol parameters."""

    clip: float = Field(1.0, gt=0)
    ring_bits: Literal[32, 64] = 32
    paillier_bits: int = Field(3072, ge=2048, le=8192, multiple_of=16)
    paillier_decryption: Literal["threshold", "single-decryptor"] = "threshold"
    paillier_exponent: Literal["short", "half-length"] = "short"
    paillier_max_parameters: int = Field(50_000, ge=1)
    he_rounds: int = Field(3, ge=1)


class GuardConfig(Section):
    """A bit's first-layer row is withheld unless ``k`` of the partner's own compounds have it, and ``partners`` contribute."""

    k: int = Field(3, ge=2)
    partners: int = Field(1, ge=1, description="least partners that contribute to a row, counted securely; 1: no count")


class DpConfig(Section):
    """Differential privacy: of records in a partner's own training, or of partners inside the sum.

    An arm's name says the unit and may say epsilon; infinity clips and adds no noise.
    """

    unit: Literal["record", "partner"] | None = Field(None, description="arms of another unit are refused")
    epsilon: float = Field(8.0, gt=0)
    delta: float = Field(1e-5, gt=0, lt=1)
    noise_multiplier: float | None = Field(None, gt=0, description="instead of epsilon, which then follows from it")
    clipping_norm: float = Field(1.0, gt=0, description="of a record's gradient")
    learning_rate: float = Field(5.0, gt=0, description="plain SGD on the noised mean of clipped gradients")
    rounds: int = Field(8, ge=1)
    batch: int = Field(1024, ge=1, description="expected records in a step")
    update_norm: float = Field(1.0, gt=0, description="of a partner's whole update, at partner level")
    noise: Literal["skellam", "discrete-gaussian"] = Field("skellam", description="of a partner's share in the sum")
    colluders: int = Field(1, ge=0, description="survivors that may reveal their share of the noise")
    start: str | None = Field(None, description="model file trained on public data: its trunk is the warm start")
    local_start: int = Field(0, ge=0, description="partner-local warm start: epochs on the own heads alone before round 1")
    refit_heads: bool = Field(False, description="at the end each partner fits its heads without noise; they never leave it")
    total_epsilon: float | None = Field(None, gt=0, description="private data: what all arms together may spend")
    ledgers: str | None = Field(None, description="private data: folder of the partners' ledgers, which all runs on them share")


class AttackConfig(Section):
    """The membership shadows, and what the exposed release looks like."""

    shadows: int = Field(4, ge=4)
    dp_shadows: int = Field(2, ge=2)
    exposed_bits: int = Field(32768, ge=64)
    exposed_single: int = Field(64, ge=2)
    exposed_partners: int = Field(3, ge=3)
    exposed_each: int = Field(40, ge=2)
    seconds_per_recovery: float = Field(8.0, gt=0)
    seed: Seed = 0


class RunConfig(Section):
    """A whole run. ``sha256`` names it: the same hash and the same data resume, anything else is refused."""

    arms: Arms = DEFAULT_ARMS
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    federation: FederationConfig = FederationConfig()
    baselines: BaselineConfig = BaselineConfig()
    metrics: MetricsConfig = MetricsConfig()
    secagg: SecaggConfig = SecaggConfig()
    guard: GuardConfig = GuardConfig()
    dp: DpConfig = DpConfig()
    attacks: AttackConfig = AttackConfig()

    @model_validator(mode="after")
    def _secure_arms_need_partners(self) -> RunConfig:
        secure = [arm for arm in self.arms if arm not in (*REFERENCES, "plaintext")]
        if secure and self.data.partners < SECURE_MINIMUM:
            raise ValueError(f"data.partners={self.data.partners} must be >= {SECURE_MINIMUM} for arm {secure[0]!r}")
        return self

    @model_validator(mode="after")
    def _rows_can_have_their_partners(self) -> RunConfig:
        guarded = [arm for arm in self.arms if (recipe := recipe_of(arm)) is not None and recipe.guarded]
        if guarded and self.guard.partners > self.data.partners:
            raise ValueError(f"guard.partners={self.guard.partners} must be <= data.partners={self.data.partners}")
        return self

    def for_arm(self, arm: str) -> RunConfig:
        """Return the config as ``arm`` runs it: with the epsilon that its name says, if it says one."""
        recipe = recipe_of(arm)
        if recipe is None or recipe.privacy is None or recipe.privacy.epsilon is None:
            return self
        return self.model_copy(update={"dp": self.dp.model_copy(update={"epsilon": recipe.privacy.epsilon})})

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the canonical JSON of this config."""
        return _sha256(self.model_dump(mode="json"))


def audit_sha256(content: Mapping[str, Any]) -> str:
    """Return the hex SHA-256 that an audited configuration and the one that is run must share.

    Everything counts but which arms are listed (the gate asks for each arm's own verdict; an audit needs plaintext beside them
    as its control) and whether the data are private.

    Args:
        content: a whole :class:`RunConfig` as JSON has it.
    """
    data = {name: value for name, value in content["data"].items() if name != "private"}
    return _sha256({name: value for name, value in content.items() if name != "arms"} | {"data": data})


def _sha256(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load_config(path: Path) -> RunConfig:
    """Return the config in a TOML file.

    Raises:
        InputError: the file can't be read, is not TOML, or a value is outside its bound (named with the bound).
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"config {path}: {error}") from error
    return parse_config(content, source=str(path))


def parse_config(content: dict[str, object], *, source: str) -> RunConfig:
    """Return the config that ``content`` describes; ``source`` names it in the error.

    Raises:
        InputError: a key is unknown or a value outside its bound.
    """
    return _parse(RunConfig, content, source)


def parse_data(content: dict[str, object], *, source: str) -> DataConfig:
    """Return the data section that ``content`` describes; errors as for :func:`parse_config`."""
    return _parse(DataConfig, content, source)


def _parse(kind: type[SectionT], content: dict[str, object], source: str) -> SectionT:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "config"
        raise InputError(f"config {source}: {where}: {first['msg']}") from error
