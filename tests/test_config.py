"""A person's config: unknown keys, bad values and unreadable files are refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from securefl.config import DpConfig, RunConfig, audit_sha256, load_config, parse_config
from securefl.errors import InputError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_the_default_config(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")) == RunConfig()


def test_values_are_read(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "[federation]\nrounds = 7\nseeds = [1, 2]\n[data]\nbits = 1024\n"))
    assert (config.federation.rounds, config.federation.seeds, config.data.bits) == (7, (1, 2), 1024)
    assert config.sha256 != RunConfig().sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[federation]\nroundz = 7\n", "federation.roundz"),
        ("[federation]\nrounds = 0\n", "greater than or equal to 1"),
        ("arms = ['nonsense']\n", "arms.0"),
        ("[data]\npartners = 2\n", "must be >= 3"),
        ("not toml at all", "run.toml"),
        ("[data]\nthresholds = [6.0, nan]\n", "data.thresholds.1: Input should be a finite number"),
        ("[federation]\nseeds = []\n", "federation.seeds: .* at least 1 item"),
        ("[federation]\nseeds = [1, 2, 1]\n", "federation.seeds: .*1 occurs twice"),
        ("[federation]\nseeds = [-1]\n", "federation.seeds.0: .* greater than or equal to 0"),
        ("[attacks]\nseed = -1\n", "attacks.seed: .* greater than or equal to 0"),
        ("arms = []\n", "arms: .* at least 1 item"),
        ("arms = ['plaintext', 'masking', 'plaintext']\n", "arms: .*'plaintext' occurs twice"),
        ("[model]\ncommon = ['a', 'a']\n", "model.common: .*'a' occurs twice"),
        ("[secagg]\npaillier_bits = 2050\n", "secagg.paillier_bits: .* multiple of 16"),
        ("[secagg]\npaillier_bits = 16384\n", "secagg.paillier_bits: .* less than or equal to 8192"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.toml"):
        load_config(tmp_path / "gone.toml")


def test_two_partners_are_enough_without_a_secure_arm(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "arms = ['standalone', 'plaintext']\n[data]\npartners = 2\n"))
    assert config.data.partners == 2


def test_a_budget_of_infinity_is_not_none_after_a_record_of_it() -> None:
    config = RunConfig(dp=DpConfig(total_epsilon=math.inf))
    content = json.loads(json.dumps(config.model_dump(mode="json"), allow_nan=False))
    again = parse_config(content, source="a record")
    assert again.dp.total_epsilon == math.inf
    assert again.sha256 == config.sha256 != RunConfig().sha256
    assert audit_sha256(content) == audit_sha256(config.model_dump(mode="json"))
