"""What an arm's privacy is, and its price: planned for every partner, and on the partners' ledgers before anything is trained.

A whole training is charged before its first step: a run that is killed has paid for what it may have released. On data that the
config declares public, arms and seeds are alternatives that nobody has to add up: each training has ledgers of its own, and a
killed one's are set aside, never overwritten. On private data there is one ledger for each partner, in the folder
``dp.ledgers``, for all arms, seeds, restarts and runs together, with the budget ``dp.total_epsilon``; an arm without a price is
refused, unless that budget is infinite, which is the partners' own written word that nothing is guaranteed. The standalone and
single-task references release nothing. Under a finite budget a ledger is begun once, on purpose (``securefl dp begin``): one
that is missing, because it was deleted, or the folder is another or not mounted, stops the run instead of starting at nothing.
A training that goes on must be on the ledgers that it was charged to. What nobody can tell is an older copy of a ledger under a
new training: publish the last hash.

What is priced is what leaves a partner for the operator: its noised updates. Clip counts, support counts, losses and scores of
a private arm stay at the partner or with the auditor of the simulation; on private data so do the metrics of every arm, the
references that release nothing else included, unless the total is infinite (:func:`metrics_stay`). The auditor's own reports,
attacks included, are no release as long as they stay with the auditor; publish them, and they must be charged like everything
else.

A start (``dp.start``) is public because the config says so. A model out of a run on the same private data is refused; what any
other was trained on nobody can check, and no epsilon covers it. The record has its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path

from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.dp.accountant import RECORD_NEIGHBOURS, SampledGaussian
from securefl.dp.composition import Mechanism, Unpriced, lower_bound
from securefl.dp.ledger import Budget, PrivacyLedger, Release
from securefl.dp.noisy_sums import PARTNER_NEIGHBOURS
from securefl.errors import BudgetExceededError, InputError, ParameterError, VerificationError
from securefl.evaluation.artefacts import RUN_FILE
from securefl.federation.sum_noise import SumNoise, sum_noise
from securefl.files import is_in_memory
from securefl.learning.family import inputs_of, require_private_step
from securefl.learning.local import PrivateTraining
from securefl.learning.private_plan import dp_record, private_plans, private_training, record_counts
from securefl.recipes import Privacy, Recipe, Unit
from securefl.records import DpRecord, RunRecord, read_record
from securefl.types import Rng

HARMLESS = ("standalone", "single-task")
"""References that release nothing: every partner trains by itself."""
UNOPENED = ("its metrics stay at the partners: no epsilon prices them",)
"""The note of an arm whose :func:`metrics_stay`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPrivacy:
    """How an arm trains privately, what that is in the record, and one ``mechanisms`` entry a partner for its ledger."""

    private: PrivateTraining | None = None
    noise: SumNoise | None = None
    record: DpRecord | None = None
    mechanisms: tuple[Mechanism, ...]
    clipping_norm: float | None = None


def arm_privacy(recipe: Recipe, dataset: Dataset, *, config: RunConfig, length: int, rng: Rng) -> ArmPrivacy:
    """Return the privacy of an arm whose sum has ``length`` coordinates.

    Raises:
        ParameterError: guard, scheme, unit or delta don't allow it.
        BudgetExceededError: no noise is enough for epsilon.
        CapacityError: the noise doesn't fit the ring.
    """
    if recipe.privacy is None:
        return ArmPrivacy(mechanisms=(Unpriced(),) * len(dataset.partners))
    _check(recipe, recipe.privacy, config)
    if config.data.private and config.dp.start:
        _check_start(Path(config.dp.start), dataset)
    if recipe.privacy.unit is Unit.RECORD:
        return _of_records(dataset, config=config, rng=rng)
    return _of_partners(dataset, config=config, length=length, central=recipe.privacy.unit is Unit.CENTRAL)


def _check(recipe: Recipe, privacy: Privacy, config: RunConfig) -> None:
    if privacy.unit is Unit.RECORD:
        require_private_step(config.model)
    if privacy.unit is Unit.RECORD and recipe.guarded:
        raise ParameterError("guard and record-level noise: a withheld row would tell, unpriced, which bits a partner lacks")
    if recipe.guarded and config.guard.partners > 1:
        raise ParameterError(f"guard.partners={config.guard.partners} must be 1 beside noise: the count has no price")
    if privacy.unit is Unit.PARTNER and recipe.traits.opener == "open":
        raise ParameterError("partner-level noise is a share each: in clear the operator would see one share alone")
    # One ledger adds up one kind of unit: on private data all arms must protect the same.
    asked = config.dp.unit or ("record" if config.data.private else None)
    if asked is not None and (asked == "record") != (privacy.unit is Unit.RECORD):
        raise ParameterError(f"dp.unit={asked!r} must be the arm's, which is {privacy.unit.value!r}")
    if privacy.epsilon is not None and config.dp.noise_multiplier is not None:
        raise ParameterError(f"dp.noise_multiplier={config.dp.noise_multiplier:g} decides epsilon, which {recipe.arm!r} names")


def _check_start(start: Path, dataset: Dataset) -> None:
    """Refuse a start that lies in a run on these very data: no epsilon covers what it says of them."""
    for folder in start.resolve().parents:
        run = folder / RUN_FILE
        if run.is_file() and read_record(RunRecord, run).data.sha256 == dataset.sha256:
            raise ParameterError(f"dp.start={start} must be public: {folder} is a run on the same private data")


def _of_records(dataset: Dataset, *, config: RunConfig, rng: Rng) -> ArmPrivacy:
    plans = private_plans(record_counts(inputs_of(dataset, config.model)), config=config)
    record = dp_record(plans, dataset.partners, delta=config.dp.delta)
    if record.epsilon is not None:
        mechanism = SampledGaussian(
            noise_multiplier=record.noise_multiplier, sampling_rate=record.sampling_rate, steps=record.steps
        )
        record = record.model_copy(update={"epsilon_lower": lower_bound(mechanism, delta=record.delta)})
    return ArmPrivacy(
        private=private_training(plans, rng=rng),
        record=record,
        mechanisms=tuple(plan.priced() if plan.noise_multiplier else Unpriced() for plan in plans),
        clipping_norm=config.dp.clipping_norm,
    )


def _of_partners(dataset: Dataset, *, config: RunConfig, length: int, central: bool) -> ArmPrivacy:
    parties = len(dataset.partners)
    noise, record = sum_noise(config, length=length, parties=parties, central=central)
    unseen = record.epsilon is not None and not (central and config.data.private)
    mechanism: Mechanism = noise.mechanism.priced(config.dp.rounds) if unseen else Unpriced()
    return ArmPrivacy(
        noise=noise, record=record, mechanisms=(mechanism,) * parties, clipping_norm=config.dp.update_norm
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is about to be trained: ``arm`` with ``seed``, into ``folder``, inside the run in ``run``."""

    arm: str
    seed: int
    folder: Path
    run: Path


def require_price(arm: str, recipe: Recipe | None, config: RunConfig) -> None:
    """Refuse an arm that would release something without a price from private data.

    Raises:
        BudgetExceededError: it would.
        ParameterError: the data are private, and no budget is set, or no ledger that other runs on the same data share.
    """
    if not config.data.private or arm in HARMLESS:
        return
    total = config.dp.total_epsilon
    # A trusted aggregator adds noise to a sum of updates that it sees in clear: that is a release to it, without a price.
    noised = recipe is not None and recipe.privacy is not None and recipe.privacy.unit is not Unit.CENTRAL
    unpriced = not (noised and isfinite(config.dp.epsilon))
    if total is None:
        raise ParameterError(
            f"dp.total_epsilon must be set for arm {arm!r}: what all arms on private data may spend together"
            f"{'; this one has no price, so nothing less than inf allows it' if unpriced else ''}"
        )
    if unpriced and total != inf:
        raise BudgetExceededError(f"arm {arm!r} on private data releases without a price: epsilon=inf must be <= {total}")
    if config.dp.ledgers is None and total != inf:
        raise ParameterError("dp.ledgers must be set: a ledger inside one run does not know what another run has spent")


def metrics_stay(recipe: Recipe | None, config: RunConfig) -> bool:
    """Return whether nobody opens an arm's metrics: the data are private, and no epsilon prices metrics.

    Those of a model without a promise, a partner's own one included, are opened where an infinite total says that nothing is
    guaranteed.
    """
    promised = recipe is not None and recipe.privacy is not None
    return config.data.private and (promised or config.dp.total_epsilon != inf)


def charge(
    privacy: ArmPrivacy, recipe: Recipe, dataset: Dataset, *, config: RunConfig, training: Training, begun: bool = False
) -> None:
    """Put a whole training on every partner's ledger before it begins; an arm without privacy on public data has none.

    Args:
        begun: it was begun earlier, so it must be on the ledgers.

    Raises:
        BudgetExceededError: a partner's budget doesn't allow it; it must not begin, and no ledger was charged.
        VerificationError, InputError: a ledger is missing, broken or can't be written, or has no such training.
    """
    # An ephemeral run of public data leaves no file: its arm is an alternative, and its noise was solved for its own budget.
    if not config.data.private and (begun or recipe.privacy is None or is_in_memory(training.folder)):
        return
    unit = _unit(config) if recipe.privacy is None else "record" if recipe.privacy.unit is Unit.RECORD else "partner"
    asked: list[tuple[PrivacyLedger, Release]] = []
    for number, (name, mechanism) in enumerate(zip(dataset.partners, privacy.mechanisms, strict=True), start=1):
        budget, path = _budget(name, unit, config, mechanism), _path(number, config, training)
        if config.data.private and isfinite(budget.epsilon) and not path.exists():
            raise InputError(f"{name} has no ledger {path}: find it, or begin the first one with 'securefl dp begin'")
        release = Release(
            what=f"training, seed {training.seed}",
            arm=training.arm,
            data=dataset.sha256,
            mechanism=mechanism,
            clipping_norm=privacy.clipping_norm,
        )
        asked.append((PrivacyLedger(path, budget), release))
    if begun:
        _require_charged(asked)
        return
    # Nobody pays for a training that somebody else's budget stops.
    for ledger, release in asked:
        ledger.require([release])
    for ledger, release in asked:
        ledger.spend([release])


def _require_charged(asked: Sequence[tuple[PrivacyLedger, Release]]) -> None:
    for ledger, release in asked:
        state = ledger.state()
        if release not in state.releases:
            raise VerificationError(
                f"{state.budget.partner}: {release.what} of {release.arm!r} was begun, and its ledger does not have it"
            )


def begin_ledgers(dataset: Dataset, config: RunConfig) -> tuple[Path, ...]:
    """Begin every partner's ledger of private data, with the config's total budget, and return their files.

    Raises:
        ParameterError: the config sets no finite ``dp.total_epsilon`` or no ``dp.ledgers``.
        InputError: one of them is there already, or can't be made.
    """
    dp = config.dp
    if dp.ledgers is None or dp.total_epsilon is None or not isfinite(dp.total_epsilon):
        raise ParameterError(f"dp.ledgers={dp.ledgers} must be set, and dp.total_epsilon={dp.total_epsilon} finite")
    paths = {Path(dp.ledgers) / _name(number): name for number, name in enumerate(dataset.partners, start=1)}
    for path in paths:
        if path.exists():
            raise InputError(f"ledger {path} is there already: what it has spent stays spent")
    for path, name in paths.items():
        PrivacyLedger(path, _total(name, _unit(config), config))
    return tuple(paths)


def _unit(config: RunConfig) -> str:
    """Return what all arms on the same private data protect."""
    return config.dp.unit or "record"


def _total(partner: str, unit: str, config: RunConfig) -> Budget:
    """Return what ``partner`` may spend on private data, all in all."""
    neighbours = RECORD_NEIGHBOURS if unit == "record" else PARTNER_NEIGHBOURS
    epsilon = config.dp.total_epsilon or inf
    return Budget(partner=partner, unit=unit, neighbouring=neighbours, epsilon=epsilon, delta=config.dp.delta)


def _budget(partner: str, unit: str, config: RunConfig, mechanism: Mechanism) -> Budget:
    total = _total(partner, unit, config)
    if config.data.private:
        return total
    given = config.dp.noise_multiplier is not None or isinstance(mechanism, Unpriced)
    return replace(total, epsilon=inf if given else config.dp.epsilon)


def _name(number: int) -> str:
    return f"partner-{number}.jsonl"


def _path(number: int, config: RunConfig, training: Training) -> Path:
    if config.data.private:
        return (Path(config.dp.ledgers) if config.dp.ledgers else training.run / "ledgers") / _name(number)
    path = training.folder / "ledgers" / _name(number)
    set_aside(path)
    return path


def set_aside(path: Path) -> None:
    """Rename the ledger of a killed training on public data, so that it stays beside the new one."""
    attempt = 1
    while path.exists():
        killed = path.with_name(f"{path.stem}.killed-{attempt}{path.suffix}")
        attempt += 1
        if not killed.exists():
            path.rename(killed)
