"""What a training run hands over: the model, its curve, what aggregation cost, and what the first layer released."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl.federation.contributors import Contributors
from securefl.federation.participation import Departure
from securefl.learning.model import Model
from securefl.secagg import Message, RoundCost, RoundResult
from securefl.secagg.base import Setup
from securefl.types import ClientId


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLayerRelease:
    """The first layer of one round, as an auditor sees it: what went into secure aggregation, and what it opened.

    ``initial`` float32 (bits, h0) before the round; ``updates`` each partner's delta as handed to aggregation, float32
    (bits, h0), partners counted from 0; ``total`` float64 (bits, h0), the opened sum of weight times delta over the
    survivors; ``weights`` each partner's weight; ``withheld`` bool (bits,) for each partner under a guard.
    """

    initial: NDArray[np.float32]
    updates: Mapping[int, NDArray[np.float32]]
    total: NDArray[np.float64]
    weights: Mapping[int, int]
    withheld: Mapping[int, NDArray[np.bool_]]
    optimiser: str
    round: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """The messages of one protocol round, with what that round was bound to: what a transcript keeps."""

    round: int
    model_hash: bytes
    messages: tuple[Message, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrace:
    """One round for an observer in the same process (an auditor, view V4, or a test): it holds what nobody else may see.

    ``before`` is the shared trunk that the round began with, ``updates`` the flat deltas by client in the order of
    ``names``, ``result`` what aggregation opened for the model of ``model_hash``, ``exchanges`` the messages of the round's
    sums (update, then score; before the first one the count of contributors) and ``setup`` the run that they belong to.
    ``contributors`` is what that count opened, where there was one.
    """

    round: int
    names: tuple[str, ...]
    before: Mapping[str, NDArray[np.float32]]
    updates: Mapping[ClientId, NDArray[np.float32]]
    weights: Mapping[ClientId, int]
    result: RoundResult
    model_hash: bytes
    setup: Setup
    contributors: Contributors | None = None
    exchanges: tuple[Exchange, ...] = ()


Observer: TypeAlias = Callable[[RoundTrace], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregated:
    """What secure aggregation did over all training rounds: largest error and bound, clipped values, median cost."""

    max_abs_error: float
    quantization_bound: float
    clipped: int
    costs: RoundCost
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished training.

    ``rounds`` that ran, ``best_round`` (from 1) whose trunk ``model`` has; ``curve`` the validation score after each round
    (explained deviance, higher is better; empty where none was opened); ``parameters`` aggregated coordinates, the weight
    not counted (0 where nothing was aggregated); ``training_seconds`` CPU seconds of all partners' local training;
    ``withheld`` by partner, the union over all rounds, ``None`` without a guard; ``contributors`` what a count of contributing
    partners opened, ``None`` where there was none. ``departures`` tell who said no to which round; ``left`` holds what a
    partner that stopped has kept, a model with its heads alone (``model`` then lacks them). ``resumed`` is the round from whose
    sum on a killed training went on, 0 for one that nobody interrupted.
    """

    model: Model
    rounds: int
    best_round: int
    curve: tuple[float, ...]
    parameters: int
    training_seconds: float
    aggregated: Aggregated | None = None
    withheld: Mapping[int, NDArray[np.bool_]] | None = None
    contributors: Contributors | None = None
    release: FirstLayerRelease | None = None
    departures: tuple[Departure, ...] = ()
    left: Mapping[int, Model] = field(default_factory=dict)
    resumed: int = 0

    @property
    def models(self) -> tuple[Model, ...]:
        """The run's model, and that of each partner that stopped: together they have every head that is left."""
        return (self.model, *self.left.values())

    @property
    def max_abs_error(self) -> float | None:
        """Largest error of an opened coordinate over all rounds, ``None`` where nothing was aggregated."""
        return self.aggregated.max_abs_error if self.aggregated else None

    @property
    def quantization_bound(self) -> float | None:
        """Largest bound on that error that holds where nothing was clipped."""
        return self.aggregated.quantization_bound if self.aggregated else None

    @property
    def clipped(self) -> int | None:
        """How many values were clipped in all rounds."""
        return self.aggregated.clipped if self.aggregated else None

    @property
    def costs(self) -> RoundCost | None:
        """Median cost of a round."""
        return self.aggregated.costs if self.aggregated else None


def aggregated(results: list[RoundResult], *, warnings: tuple[str, ...]) -> Aggregated:
    """Return the summary of all training rounds."""
    median = {
        field.name: statistics.median(float(getattr(result.cost, field.name)) for result in results)
        for field in fields(RoundCost)
    }
    return Aggregated(
        max_abs_error=max(result.max_abs_error for result in results),
        quantization_bound=max(result.quantization_bound for result in results),
        clipped=sum(result.clipped for result in results),
        costs=RoundCost(**median),
        warnings=tuple(dict.fromkeys((*warnings, *(warning for result in results for warning in result.warnings)))),
    )
