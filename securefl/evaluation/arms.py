"""One arm of a run: train it with its protocol in the loop, measure it, and write what the attacks and the report read.

The name of an arm is its recipe (``securefl.recipes``): which scheme, guard, privacy and warm start it has. The homomorphic
arms start from masking's checkpoint and run its last rounds; Paillier sums the second layer alone. Performance is read once,
on the TEST fold, after training has ended; nothing here chooses by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.errors import ParameterError
from securefl.evaluation.artefacts import (
    ARM_FILE,
    CHECKPOINTS,
    MODEL_FILE,
    PREDICTIONS_FILE,
    RELEASE_FILE,
    RESUME,
    TRANSCRIPT_FILE,
    Checkpoints,
    TranscriptFile,
    each_of,
    partner_folder,
    read_start,
    save_owned,
    save_release,
    seed_folder,
)
from securefl.evaluation.assess import STANDALONE, Entry, assess
from securefl.evaluation.cost import Meter, cost_record
from securefl.evaluation.ephemeral import aggregated_only
from securefl.evaluation.predictions import save_predictions
from securefl.evaluation.single_task import single_task
from securefl.evaluation.spending import UNOPENED, Training, arm_privacy, charge, metrics_stay, require_price
from securefl.evaluation.unannotated import predict_pairs
from securefl.evidence import PluginRecord
from securefl.federation.keeper import Keeper
from securefl.federation.protocols import options_for
from securefl.federation.references import train_each_alone, train_pooled
from securefl.federation.releases import RoundTrace, Trained
from securefl.federation.training import train_federated
from securefl.files import alone, is_in_memory, made
from securefl.learning.family import inputs_of, layout_for, layout_of
from securefl.learning.model import Model, predict
from securefl.learning.private_heads import refitted
from securefl.measures import BaselineRecord
from securefl.recipes import Recipe, Unit, recipe_of, scheme_plugin
from securefl.records import ArmRecord, DepartureRecord, DpRecord, write_record
from securefl.types import Progress, Rng, silent

SECOND_LAYER = ("layers.0.weight", "layers.0.bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every step of an arm is given: ``folder`` is the arm's own, ``arms`` holds those of the run."""

    dataset: Dataset
    arm: str
    config: RunConfig
    arms: Path
    rng: Rng
    progress: Progress

    @property
    def folder(self) -> Path:
        """Where this arm's files go."""
        return self.arms / self.arm

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that the arm is trained with."""
        return self.config.federation.seeds

    def bar(self, seed: int) -> Progress:
        """Return a progress that names this arm, and the seed where there are several."""
        name = self.arm if len(self.seeds) == 1 else f"{self.arm} (seed {seed})"
        return lambda what, done, total: self.progress(f"{name}: {what}", done, total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A trained arm: predictions for every cell, one vector a seed, and what the trainings said of themselves."""

    predictions: Sequence[NDArray[np.float32]]
    trained: Sequence[Trained] = ()
    dp: DpRecord | None = None
    baselines: tuple[BaselineRecord, ...] = ()
    notes: tuple[str, ...] = ()


def run_arm(
    dataset: Dataset, arm: str, *, config: RunConfig, arms: Path, rng: Rng, progress: Progress = silent
) -> ArmRecord:
    """Train ``arm`` with every seed of ``config``, write its files into ``arms/<arm>``, and return its record.

    What a killed run left in the folder is overwritten; ``record.json`` comes last. Compared with the standalone arm where
    that is finished. Where ``arms`` is in memory (:func:`securefl.files.in_memory`), the record reaches the disk without what
    it says of single partners and assays, and nothing else does.

    Raises:
        InputError: a partner can't train, a file can't be written, another process trains this arm, or its start is not done.
        ParameterError: a bound of the config does not fit the model or the partners.
        BudgetExceededError: the privacy budget is too small for any noise.
        ProtocolAbort: a party stopped a round; the arm is not finished.
    """
    job = Job(dataset=dataset, arm=arm, config=config.for_arm(arm), arms=arms, rng=rng, progress=progress)
    require_price(arm, recipe_of(arm), job.config)
    # A second process would take the arm up as one that was killed, and release its rounds again without paying for them.
    with nullcontext() if is_in_memory(job.folder) else alone(made(job.folder)):
        (job.folder / ARM_FILE).unlink(missing_ok=True)
        meter = Meter()
        outcome = _trainer_of(arm)(job)
        for seed, prediction in zip(job.seeds, outcome.predictions, strict=True):
            save_predictions(seed_folder(job.folder, seed) / PREDICTIONS_FILE, dataset, prediction)
        record = _record(job, outcome, meter)
        if is_in_memory(job.folder):
            record = aggregated_only(record)
        write_record(record, job.folder / ARM_FILE)
        for seed in job.seeds:
            # The arm has its result: what a killed one would have gone on from is of no use any more.
            _keeper(job, seed).remove()
        return record


def _trainer_of(arm: str) -> Callable[[Job], Outcome]:
    without_protocol: dict[str, Callable[[Job], Outcome]] = {
        "standalone": _standalone,
        "single-task": _single_task,
        "pooled": _pooled,
    }
    return without_protocol.get(arm, _federated)


def _standalone(job: Job) -> Outcome:
    """Train every partner on its own data, with the federation's recipe."""
    outcomes = [_alone_seed(job, seed) for seed in job.seeds]
    return Outcome(
        predictions=[prediction for prediction, _ in outcomes], trained=[one for _, found in outcomes for one in found]
    )


def _alone_seed(job: Job, seed: int) -> tuple[NDArray[np.float32], list[Trained]]:
    """Train all partners with one seed, and write what each of them owns."""
    trained = train_each_alone(job.dataset, config=job.config, seed=seed, progress=job.bar(seed))
    for one in trained:
        save_owned(job.folder, seed, one.models, job.dataset)
    return predict_pairs([one.model for one in trained], job.dataset, job.dataset.activities), trained


def _single_task(job: Job) -> Outcome:
    """Train each partner-task's own models, without anybody else."""
    found = single_task(job.dataset, config=job.config.baselines, seeds=job.seeds, bar=job.bar)
    return Outcome(predictions=found.predictions, baselines=found.records, notes=(found.note,))


def _pooled(job: Job) -> Outcome:
    """Train one trunk on all data: the upper bound that no consortium may have."""
    predictions, trained = [], []
    for seed in job.seeds:
        one = train_pooled(job.dataset, config=job.config, seed=seed, progress=job.bar(seed))
        one.model.save(seed_folder(job.folder, seed) / MODEL_FILE)
        predictions.append(predict(one.model, job.dataset, job.dataset.activities))
        trained.append(one)
    return Outcome(predictions=predictions, trained=trained, notes=("pools private data: an upper bound, not an option",))


def _federated(job: Job) -> Outcome:
    """Train with the arm's protocol in the loop; the first seed's first-layer release and transcript are kept."""
    predictions, trained = [], []
    spent: DpRecord | None = None
    for number, seed in enumerate(job.seeds):
        folder = seed_folder(job.folder, seed)
        kept = [Checkpoints(folder / CHECKPOINTS)] if job.config.federation.checkpoints else []
        if number == 0:
            with TranscriptFile(folder / TRANSCRIPT_FILE) as transcript:
                one, spent = _train_seed(job, seed, each_of([transcript, *kept]))
            if one.release is not None:
                save_release(folder / RELEASE_FILE, one.release, one.contributors)
        else:
            one, spent = _train_seed(job, seed, each_of(kept))
        one.model.save(folder / MODEL_FILE)
        save_owned(job.folder, seed, one.models, job.dataset)
        # A partner that withdrew has no model any more: its cells stay without a prediction.
        predictions.append(predict_pairs(one.models, job.dataset, job.dataset.activities))
        trained.append(one)
    return Outcome(predictions=predictions, trained=trained, dp=spent, notes=_notes(job, trained[0]))


def _train_seed(job: Job, seed: int, observer: Callable[[RoundTrace], None]) -> tuple[Trained, DpRecord | None]:
    recipe, config = _recipe(job.arm), job.config
    tensors = tensors_of(recipe, config, bits=job.dataset.bits)
    layout = layout_of(inputs_of(job.dataset, config.model), config.model)
    length = layout.only(tensors).size if tensors else layout.size
    privacy = arm_privacy(recipe, job.dataset, config=config, length=length, rng=job.rng)
    training = Training(arm=job.arm, seed=seed, folder=seed_folder(job.folder, seed), run=job.arms.parent)
    keeper = None if is_in_memory(job.folder) or _central(recipe) else _keeper(job, seed)
    begun = keeper is not None and keeper.begun
    charge(privacy, recipe, job.dataset, config=config, training=training, begun=begun)
    if keeper is not None and not begun:
        keeper.begin()
    trained = train_federated(
        job.dataset,
        config=config,
        scheme=recipe.scheme,
        seed=seed,
        rng=job.rng,
        guard_k=config.guard.k if recipe.guarded else None,
        private=privacy.private,
        noise=privacy.noise,
        start=_start(job, recipe, seed),
        rounds=rounds_of(recipe, config),
        tensors=tensors,
        options=options_for(recipe.scheme, config.secagg),
        progress=job.bar(seed),
        observer=observer,
        keeper=keeper,
    )
    if recipe.privacy is not None and config.dp.refit_heads:
        trained = replace(trained, model=refitted(trained.model, inputs_of(job.dataset, config.model)))
    return trained, privacy.record


def _keeper(job: Job, seed: int) -> Keeper:
    """Return the keeper of one training; each partner's part lies in its own folder."""
    own = [partner_folder(job.folder, seed, number) / RESUME for number in range(len(job.dataset.partners))]
    # A copy of a private training would release the same rounds again, under other noise and unpaid: it begins anew.
    recipe = recipe_of(job.arm)
    place = f" {job.folder.resolve()}" if recipe and recipe.privacy else ""
    what = f"{job.arm} {seed} {job.config.sha256} {job.dataset.sha256}{place}"
    return Keeper(seed_folder(job.folder, seed) / RESUME, own, identity=hashlib.sha256(what.encode()).hexdigest())


def _start(job: Job, recipe: Recipe, seed: int) -> Model | None:
    """Return the checkpoint of another arm, or a private arm's public model: its trunk alone, heads start fresh."""
    if recipe.privacy is not None:
        return replace(Model.load(Path(job.config.dp.start)), heads={}) if job.config.dp.start else None
    arm = warm_start_of(recipe, job.config)
    return read_start(job.arms / arm, seed) if arm else None


def _recipe(arm: str) -> Recipe:
    recipe = recipe_of(arm)
    if recipe is None:
        raise ParameterError(f"arm {arm!r} trains without a protocol: it has no recipe")
    return recipe


def warm_start_of(recipe: Recipe, config: RunConfig) -> str | None:
    """Return the arm whose checkpoint a homomorphic arm continues: with as many rounds as any other it needs none."""
    return recipe.warm_start if config.secagg.he_rounds < config.federation.rounds else None


def rounds_of(recipe: Recipe, config: RunConfig) -> int:
    """Return the most rounds that a federated arm runs."""
    if recipe.privacy:
        return config.dp.rounds
    return config.secagg.he_rounds if warm_start_of(recipe, config) else config.federation.rounds


def tensors_of(recipe: Recipe, config: RunConfig, *, bits: int) -> tuple[str, ...] | None:
    """Return the tensors that an arm trains and sums, ``None`` for the whole trunk.

    Raises:
        ParameterError: the model has no second layer, or it is larger than the config lets this arm sum.
    """
    layout, limit = layout_for(bits, config.model), config.secagg.paillier_max_parameters
    if recipe.scheme != "paillier" or layout.size <= limit:
        return None
    if len(config.model.hidden) < 2:
        raise ParameterError(f"hidden={config.model.hidden} must have a second layer: the arm sums that one alone")
    size = layout.only(SECOND_LAYER).size
    if size > limit:
        raise ParameterError(f"second layer has {size} parameters, must be <= secagg.paillier_max_parameters={limit}")
    return SECOND_LAYER


def _notes(job: Job, trained: Trained) -> tuple[str, ...]:
    recipe = _recipe(job.arm)
    notes = list(trained.aggregated.warnings) if trained.aggregated else []
    if trained.resumed:
        notes.append(f"resumed from round {trained.resumed}: transcript and processor time are those from there on")
    if trained.contributors is not None:
        notes.append(
            "how many partners contribute to each bit's row was opened once, before the first round: an unpriced release that "
            f"tells how many have {job.config.guard.k} compounds of each bit, and which bits one partner alone has"
        )
    tensors = tensors_of(recipe, job.config, bits=job.dataset.bits)
    if tensors is not None:
        notes.append(f"trains and sums {', '.join(tensors)} alone, the rest of the trunk is frozen")
    if recipe.privacy:
        notes += [_PRIVATE_NOTES[recipe.privacy.unit], "no validation score, no clip count is opened; the last round is taken"]
        if job.config.dp.refit_heads:
            notes.append("heads were fitted by their partners without noise at the end: epsilon is of what leaves a partner")
        if not isfinite(job.config.dp.epsilon):
            notes.append("epsilon is infinite: clipped alike, without noise and without a guarantee")
    return tuple(notes)


_PRIVATE_NOTES = {
    Unit.RECORD: "exact per-record norms by book-keeping, one backward pass, priced by Opacus; partners' sizes are public",
    Unit.PARTNER: "each partner's share of integer noise is inside the sum; all partners weigh the same",
    Unit.CENTRAL: "a trusted aggregator sees every update and adds the noise: for comparison only",
}


def _warm_start(job: Job, recipe: Recipe | None) -> str | None:
    if recipe and recipe.privacy:
        dp = job.config.dp
        public = [_declared(Path(dp.start))] if dp.start else []
        own = [f"{dp.local_start} epochs of each partner's own heads"] if dp.local_start else []
        return ", then ".join(public + own) or None
    start = warm_start_of(recipe, job.config) if recipe else None
    return f"{start}'s checkpoint, then {rounds_of(recipe, job.config)} rounds" if recipe and start else None


def _declared(start: Path) -> str:
    digest = hashlib.sha256(start.read_bytes()).hexdigest()
    return f"the trunk of {start.name} (SHA-256 {digest[:12]}), which the config declares public: no epsilon covers it"


def _central(recipe: Recipe | None) -> bool:
    return recipe is not None and recipe.privacy is not None and recipe.privacy.unit is Unit.CENTRAL


def _departures(dataset: Dataset, trained: Trained | None) -> tuple[DepartureRecord, ...]:
    return tuple(
        DepartureRecord(round=one.round, partner=dataset.partners[one.partner], decision=one.decision.value)
        for one in (trained.departures if trained else ())
    )


def _guard(job: Job, first: Trained | None) -> str:
    guard = job.config.guard
    counted = first is not None and first.contributors is not None
    return f"minimum support {guard.k}" + (f", {guard.partners} partners a row" if counted else "")


def _plugin(recipe: Recipe) -> PluginRecord | None:
    found, traits = scheme_plugin(recipe.scheme), recipe.traits
    if found is None:
        return None
    return PluginRecord(package=found.package, version=found.version, exact=traits.exact, opener=traits.opener)


def _record(job: Job, outcome: Outcome, meter: Meter) -> ArmRecord:
    recipe, trained = recipe_of(job.arm), outcome.trained
    stays, private = metrics_stay(recipe, job.config), recipe is not None and recipe.privacy is not None
    entry = Entry(
        dataset=job.dataset, arm=job.arm, arms=job.arms, seeds=job.seeds, predictions=outcome.predictions, trained=trained,
        opened=not stays,
    )  # fmt: skip
    found = assess(entry, config=job.config.metrics, rng=job.rng)
    first = trained[0] if trained and job.arm != STANDALONE else None
    # Noise inside the sum is no error of the sum; a private arm's clip and support counts stay at the partners.
    noised = recipe is not None and recipe.privacy is not None and recipe.privacy.unit is not Unit.RECORD
    errors = [one.max_abs_error for one in trained if one.max_abs_error is not None and not noised]
    bounds = [one.quantization_bound for one in trained if one.quantization_bound is not None and not noised]
    clipped = [one.clipped for one in trained if one.clipped is not None and not private]
    rows = (first.withheld or {}) if first and not private else {}
    withheld = {job.dataset.partners[partner]: int(held.sum()) for partner, held in rows.items()}
    return ArmRecord(
        name=job.arm,
        scheme=recipe.scheme if recipe else None,
        guard=_guard(job, first) if recipe and recipe.guarded else None,
        dp=outcome.dp,
        rounds=max((one.rounds for one in trained), default=0),
        parameters=max((one.parameters for one in trained), default=0),
        seeds=job.seeds,
        warm_start=_warm_start(job, recipe),
        forbidden=job.arm == "pooled" or _central(recipe),
        performance=found.performance,
        evaluation=found.evaluation,
        consortium=found.consortium,
        baselines=outcome.baselines,
        cost=cost_record(trained, meter),
        max_abs_aggregate_error=max(errors, default=None),
        quantization_bound=max(bounds, default=None),
        clipped=sum(clipped) if clipped else None,
        withheld_bits=sum(withheld.values()) if recipe and recipe.guarded and not private else None,
        withheld_bits_per_partner=withheld,
        departures=_departures(job.dataset, first),
        notes=(*outcome.notes, *(UNOPENED if stays else ())),
        plugin=_plugin(recipe) if recipe else None,
    )
