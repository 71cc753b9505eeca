"""The arm under attack: where its run lies, what it is, and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.effort import DEFAULT, Effort
from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.evaluation.predictions import load_predictions
from securefl.recipes import Recipe, recipe_of
from securefl.records import ArmRecord
from securefl.types import Progress, Rng


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the framework has of an arm: everything. Attacks get views of it."""

    run: Path
    dataset: Dataset
    config: RunConfig
    record: ArmRecord
    rng: Rng
    progress: Progress
    effort: Effort = DEFAULT

    @property
    def arm(self) -> str:
        """The arm's name."""
        return self.record.name

    @property
    def recipe(self) -> Recipe | None:
        """What the name means, ``None`` for a reference without a protocol."""
        return recipe_of(self.record.name)

    def predictions(self) -> NDArray[np.float32]:
        """Return the prediction of the arm's first seed for each cell, float32 (cells,)."""
        path = self.run / "arms" / self.arm / f"seed-{self.record.seeds[0]}" / "predictions.npz"
        return load_predictions(path, self.dataset)
