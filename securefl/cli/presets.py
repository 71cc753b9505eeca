"""The configs of the demo: default (minutes), quick (every part, smaller), all (everything in full)."""

from __future__ import annotations

from typing import Literal

from securefl.config import (
    ALL_ARMS,
    ALL_BASELINES,
    DEFAULT_ARMS,
    AttackConfig,
    BaselineConfig,
    DataConfig,
    DpConfig,
    FederationConfig,
    ModelConfig,
    RunConfig,
    SecaggConfig,
)
from securefl.errors import InputError
from securefl.recipes import check_arm

FULL_SEEDS = 3
FAST_PAILLIER: Literal["single-decryptor"] = "single-decryptor"
"""One party decrypts alone: a threshold would take a minute a round even for a small layer. The report marks it red."""


def demo_config(*, arms: str = "default", seed: int = 0, quick: bool = False) -> RunConfig:
    """Return the demo's config.

    Raises:
        InputError: ``arms`` names an arm that does not exist; the message lists those that do.
    """
    if arms == "all":
        return full_config(seed)
    config = quick_config(seed) if quick else default_config(seed)
    names = DEFAULT_ARMS if arms == "default" else arm_names(arms)
    return config.model_copy(update={"arms": names})


def arm_names(text: str) -> tuple[str, ...]:
    """Return the arms that a comma-separated list names."""
    names = tuple(part.strip() for part in text.split(","))
    try:
        return tuple(check_arm(name) for name in names)
    except ValueError as error:
        raise InputError(str(error)) from error


def default_config(seed: int = 0) -> RunConfig:
    """Return a config that runs in minutes: Paillier, whose threshold decryption takes minutes, has a ``single-decryptor``."""
    return RunConfig(federation=FederationConfig(seeds=(seed,)), secagg=SecaggConfig(paillier_decryption=FAST_PAILLIER))


def quick_config(seed: int = 0) -> RunConfig:
    """Return a config that runs every arm and every attack in under two minutes: 6 targets, 1,024 bits, 3 rounds."""
    return RunConfig(
        data=DataConfig(targets=6, bits=1024),
        model=ModelConfig(hidden=(128, 48)),
        federation=FederationConfig(rounds=4, seeds=(seed,)),
        baselines=BaselineConfig(trees=20),
        secagg=SecaggConfig(he_rounds=1, paillier_decryption=FAST_PAILLIER),
        dp=DpConfig(rounds=4, batch=256),
        attacks=AttackConfig(seconds_per_recovery=3.0),
    )


def full_config(seed: int = 0) -> RunConfig:
    """Return the config of ``--arms all``: three seeds, and homomorphic arms that run every round on every parameter."""
    federation = FederationConfig(seeds=tuple(range(seed, seed + FULL_SEEDS)))
    return RunConfig(
        arms=ALL_ARMS,
        federation=federation,
        baselines=BaselineConfig(models=ALL_BASELINES),
        secagg=SecaggConfig(
            he_rounds=federation.rounds, paillier_max_parameters=1 << 31, paillier_decryption=FAST_PAILLIER
        ),
        attacks=AttackConfig(shadows=8, dp_shadows=4, seconds_per_recovery=60.0),
    )
