"""What a private training would cost, before it is run: noise, steps, the error that the noise brings, and warnings.

Record level is one partner's own training; partner level is the noised sum of all partners' updates. The expected error
compares the noise with the largest mean gradient (or update) that clipping lets through: real ones are smaller, so it is
optimistic.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from securefl.dp.accountant import (
    MAX_DELTA,
    RECORD_NEIGHBOURS,
    PrvAccountant,
    SampledGaussian,
    check_delta,
    delta_bound,
    solve_noise,
)
from securefl.dp.composition import lower_bound
from securefl.dp.distributed import DistributedNoise, SumTerms, solve_distributed
from securefl.dp.gaussian_dp import true_positive_rate_bound
from securefl.dp.noisy_sums import PARTNER_NEIGHBOURS
from securefl.errors import ParameterError

FALSE_POSITIVES = 1e-3
WEAK_EPSILON = 8.0
LARGE_RATE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A plan's figures.

    ``noise_multiplier`` in clipping norms; ``noise_share`` the norm of the noise in one step's mean, over the largest norm that
    the mean can have; ``noise_share_all`` the same for the average of all steps. ``membership_bound`` is the largest true
    positive rate that any membership test can reach at a false positive rate of 0.1 %.
    """

    unit: str
    neighbouring: str
    epsilon: float
    epsilon_lower: float | None
    delta: float
    noise_multiplier: float
    steps: int
    sampling_rate: float
    noise_per_coordinate: float
    noise_share: float
    noise_share_all: float
    membership_bound: float
    accountant: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTerms:
    """One partner's training: ``compounds`` records, expected ``batch``, ``epochs``, and a model of ``parameters``."""

    compounds: int
    batch: int
    epochs: int
    parameters: int

    def __post_init__(self) -> None:
        for name in ("compounds", "batch", "epochs", "parameters"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name}={getattr(self, name)} must be >= 1")


def record_forecast(terms: RecordTerms, *, epsilon: float, delta: float) -> Forecast:
    """Return the forecast of one partner's record-level training.

    Raises:
        ParameterError: delta is above min(1e-5, 1 / (10 compounds)), or a value is outside its bound.
        BudgetExceededError: no noise is enough.
    """
    check_delta(delta, smallest=terms.compounds)
    rate = min(1.0, terms.batch / terms.compounds)
    steps = terms.epochs * max(1, round(1 / rate))
    accountant = PrvAccountant()
    noise = solve_noise(epsilon, delta=delta, sampling_rate=rate, steps=steps, accountant=accountant)
    mechanism = SampledGaussian(noise_multiplier=noise, sampling_rate=rate, steps=steps)
    spent = accountant.epsilon(mechanism, delta=delta)
    batch = rate * terms.compounds
    return Forecast(
        unit="record",
        neighbouring=RECORD_NEIGHBOURS,
        epsilon=spent,
        epsilon_lower=lower_bound(mechanism, delta=delta),
        delta=delta,
        noise_multiplier=noise,
        steps=steps,
        sampling_rate=rate,
        noise_per_coordinate=noise / batch,
        noise_share=noise * sqrt(terms.parameters) / batch,
        noise_share_all=noise * sqrt(terms.parameters / steps) / batch,
        membership_bound=true_positive_rate_bound(spent, delta, FALSE_POSITIVES),
        accountant=accountant.name,
        warnings=(*_record_warnings(terms, rate, delta), *_warnings(spent, noise * sqrt(terms.parameters) / batch)),
    )


def partner_forecast(terms: SumTerms, *, epsilon: float, delta: float, rounds: int) -> Forecast:
    """Return the forecast of partner-level noise in ``rounds`` secure sums.

    Raises:
        ParameterError: delta is above 1e-5, or a value is outside its bound.
        BudgetExceededError: no noise is enough.
        CapacityError: the noise doesn't fit the ring.
    """
    if delta > MAX_DELTA:
        raise ParameterError(f"delta={delta:g} must be <= {MAX_DELTA:g} at partner level")
    mechanism = solve_distributed(terms, epsilon=epsilon, delta=delta, rounds=rounds)
    spent = mechanism.epsilon(rounds=rounds, delta=delta)
    share = _share(mechanism)
    return Forecast(
        unit="partner",
        neighbouring=PARTNER_NEIGHBOURS,
        epsilon=spent,
        epsilon_lower=None,
        delta=delta,
        noise_multiplier=mechanism.noise_multiplier,
        steps=rounds,
        sampling_rate=1.0,
        noise_per_coordinate=share / sqrt(terms.length),
        noise_share=share,
        noise_share_all=share / sqrt(rounds),
        membership_bound=true_positive_rate_bound(spent, delta, FALSE_POSITIVES),
        accountant="RDP (dp-accounting)",
        warnings=_warnings(spent, share),
    )


def _share(mechanism: DistributedNoise) -> float:
    """Return the norm of all partners' noise in the mean update, over the clipping norm."""
    terms = mechanism.terms
    whole = mechanism.deviation * sqrt(terms.parties / terms.contributors)
    return whole * sqrt(terms.length) / (terms.parties * terms.clipping_norm)


def _record_warnings(terms: RecordTerms, rate: float, delta: float) -> tuple[str, ...]:
    found = []
    if rate == 1:
        found.append(f"batch={terms.batch} takes every record in every step: sampling hides nothing, noise must do it all")
    elif rate > LARGE_RATE:
        found.append(f"sampling rate {rate:.2f} is large: a smaller batch needs less noise for the same budget")
    if delta > 0.1 * delta_bound(terms.compounds):
        found.append(f"delta={delta:g} is near the bound {delta_bound(terms.compounds):g}; a tenth of it costs little")
    return tuple(found)


def _warnings(epsilon: float, noise_share: float) -> tuple[str, ...]:
    found = []
    if epsilon > WEAK_EPSILON:
        found.append(f"epsilon={epsilon:.3g} is a weak promise: at 0.1 % false positives it excludes little")
    if noise_share > 1:
        found.append(
            f"the noise of one step is {noise_share:.3g} times the largest mean gradient: "
            "a larger batch, fewer parameters or a public warm start is what helps"
        )
    return tuple(found)
