"""Partner-level noise through real rounds: its size in the opened sum of every exact scheme, and nothing unpriced beside it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, ldexp, sqrt

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.chem.dataset import Dataset
from securefl.config import DataConfig, DpConfig, FederationConfig, ModelConfig, RunConfig
from securefl.dp.distributed import DistributedNoise
from securefl.errors import ParameterError, TooFewClients
from securefl.federation.releases import RoundTrace
from securefl.federation.sum_noise import SumNoise, sum_noise
from securefl.federation.training import train_federated
from securefl.secagg import RoundResult, run_round, schemes
from securefl.secagg.paillier_sum import PaillierOptions
from securefl.types import ClientId

PARTIES = 4
CLIENTS = [ClientId(i) for i in range(1, PARTIES + 1)]
LENGTH = 300
CONFIG = RunConfig(
    data=DataConfig(partners=3),
    model=ModelConfig(hidden=(8, 4)),
    federation=FederationConfig(rounds=3, patience=1),
    dp=DpConfig(rounds=2, epsilon=8.0),
)


def noise_for(length: int = LENGTH, *, central: bool = False, **dp: object) -> SumNoise:
    config = CONFIG.model_copy(update={"dp": DpConfig.model_validate({"rounds": 2, "epsilon": 8.0, **dp})})
    return sum_noise(config, length=length, parties=PARTIES, central=central)[0]


def opened(
    noise: SumNoise, scheme: str, *, seed: int = 0, dropouts: Mapping[ClientId, str | None] | None = None
) -> RoundResult:
    """Return what one round opens for updates that are 1 everywhere, as the model would use it."""
    rng = CountingRng(seed)
    options = PaillierOptions(bits=2048) if scheme == "paillier" else None
    setup = schemes()[scheme](CLIENTS, quantizer=noise.quantizer(), run_id=bytes(32), rng=rng, options=options)
    updates = {client: np.ones(LENGTH, dtype=np.float32) for client in CLIENTS}
    result = run_round(
        setup,
        updates,
        weights=dict.fromkeys(CLIENTS, 1),
        round=1,
        model_hash=bytes(32),
        rng=rng,
        quantizer=noise.quantizer(),
        dropouts=dropouts,
        encode=noise.encoder(noise.inputs(updates, rng)),
    )
    return noise.finished(result, rng=rng)


def spread(result: RoundResult) -> float:
    """Return the noise in the opened sum: its coordinates less what clipped updates of norm 1 add up to."""
    return float(np.std(result.total - len(result.survivors) / sqrt(LENGTH)))


@pytest.mark.statistical
@pytest.mark.parametrize("family", ["skellam", "discrete-gaussian"])
@pytest.mark.parametrize("scheme", ["plaintext", "masking", "bfv", "rlwe"])
def test_every_exact_sum_opens_the_noise_that_was_priced(scheme: str, family: str) -> None:
    noise = noise_for(noise=family)
    result = opened(noise, scheme)
    # all four shares are in; what is priced is the part that three survivors less one colluder hold
    mechanism = noise.mechanism
    shares = sqrt(PARTIES * mechanism.share_variance) * ldexp(1.0, -mechanism.scale_bits)
    assert spread(result) == pytest.approx(shares, rel=0.2)
    assert mechanism.deviation <= shares
    assert result.weight == PARTIES
    assert result.clipped == 0
    # without noise (the negative control) the same rounds open the clipped sum almost exactly
    assert spread(opened(noise_for(epsilon=inf), scheme)) < 0.01 * shares


@pytest.mark.slow
@pytest.mark.statistical
def test_paillier_opens_the_noise_that_was_priced() -> None:
    noise = noise_for()
    shares = sqrt(PARTIES * noise.mechanism.share_variance) * ldexp(1.0, -noise.mechanism.scale_bits)
    assert spread(opened(noise, "paillier")) == pytest.approx(shares, rel=0.2)


@pytest.mark.statistical
@pytest.mark.parametrize("scheme", ["masking", "bfv", "rlwe"])
def test_at_the_fewest_survivors_the_noise_still_covers_a_colluder(scheme: str) -> None:
    noise = noise_for()
    # four partners, one colluder: every client insists on three survivors
    assert noise.mechanism.terms.contributors == 2
    gone = {ClientId(2): None}
    result = opened(noise, scheme, dropouts=gone)
    assert len(result.survivors) == 3
    assert spread(result) * sqrt(2 / 3) >= 0.85 * noise.mechanism.deviation
    # with one fewer the noise would not be what was priced, and nothing is opened
    with pytest.raises(TooFewClients, match="survivors=2 must be >= 3"):
        opened(noise, scheme, dropouts={**gone, ClientId(3): None})


@pytest.mark.statistical
def test_the_central_reference_adds_the_same_noise_once() -> None:
    central, inside = noise_for(central=True), noise_for()
    assert central.mechanism.noise_multiplier == pytest.approx(inside.mechanism.noise_multiplier, rel=0.01)
    assert spread(opened(central, "plaintext")) == pytest.approx(central.mechanism.deviation, rel=0.2)


def test_two_rounds_draw_fresh_noise() -> None:
    one, two = (opened(noise_for(), "plaintext", seed=seed).total for seed in (1, 2))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.25


def test_counts_are_no_weights() -> None:
    noise = noise_for()
    with pytest.raises(ParameterError, match="weight=7 of client 1 must be 1"):
        noise.encoder({})(np.ones(LENGTH), 7, noise.quantizer(), ClientId(1))


def test_delta_and_colluders_are_bounded() -> None:
    with pytest.raises(ParameterError, match=r"delta=0.001 must be <= 1e-05"):
        noise_for(delta=1e-3)
    with pytest.raises(ParameterError, match="contributors=0"):
        noise_for(colluders=3)


def test_a_given_noise_multiplier_is_priced() -> None:
    config = CONFIG.model_copy(update={"dp": DpConfig(noise_multiplier=4.0, rounds=2)})
    noise, record = sum_noise(config, length=LENGTH, parties=PARTIES)
    assert noise.mechanism.noise_multiplier == pytest.approx(4.0, rel=0.01)
    assert record.epsilon is not None
    assert 0 < record.epsilon < 8
    assert "update is replaced by zero" in record.neighbouring
    _, bare = sum_noise(CONFIG.model_copy(update={"dp": DpConfig(epsilon=inf)}), length=5, parties=PARTIES)
    assert (bare.epsilon, bare.noise_multiplier, bare.accountant) == (None, 0.0, "none: unpriced")
    assert (bare.unit, bare.clipping_norm) == ("partner", 1.0)


def test_a_whole_training_opens_no_score_and_no_count(tiny_dataset: Dataset) -> None:
    seen: list[RoundTrace] = []
    length = 256 * 8 + 8 + 8 * 4 + 4
    noise, record = sum_noise(CONFIG, length=length, parties=3)
    assert isinstance(noise.mechanism, DistributedNoise)
    trained = train_federated(
        tiny_dataset,
        config=CONFIG,
        scheme="masking",
        seed=0,
        rng=CountingRng(),
        noise=noise,
        rounds=CONFIG.dp.rounds,
        observer=seen.append,
    )
    assert (trained.rounds, trained.best_round, trained.curve, trained.clipped) == (2, 2, (), 0)
    assert [len(trace.exchanges) for trace in seen] == [1, 1]
    assert all(set(trace.weights.values()) == {1} for trace in seen)
    for trace in seen:
        # an auditor finds what went into the sum, noise included: the parts add up to the total
        parts = sum(update.astype(np.float64) for update in trace.updates.values())
        np.testing.assert_allclose(parts, trace.result.total, rtol=1e-4, atol=1e-3)
        assert np.linalg.norm(trace.updates[ClientId(1)]) > 2 * CONFIG.dp.update_norm
    assert record.steps == CONFIG.dp.rounds
    moved = trained.model.trunk["first.weight"] - seen[0].before["first.weight"]
    assert float(moved.std()) == pytest.approx(
        sqrt(2 * 3 * noise.mechanism.share_variance) * ldexp(1.0, -noise.mechanism.scale_bits) / 3, rel=0.1
    )
