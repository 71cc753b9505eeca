"""An auditor's own update on the command line: every compound is read back, and wrong files get one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from securefl.cli.main import app
from securefl.cli.update import attack_update
from securefl.errors import InputError
from securefl.types import silent


@pytest.fixture
def compounds() -> NDArray[np.bool_]:
    return np.random.default_rng(0).random((12, 600)) < 0.06


@pytest.fixture
def update(tmp_path: Path, compounds: NDArray[np.bool_]) -> Path:
    delta = compounds.T.astype(float) @ np.random.default_rng(1).normal(size=(12, 48))
    path = tmp_path / "delta.safetensors"
    save_file({"w": delta.astype(np.float32), "b": np.zeros(48, np.float32), "ids": np.zeros((3, 3), np.int64)}, path)
    return path


def test_every_compound_is_read_back(update: Path, compounds: NDArray[np.bool_]) -> None:
    done = CliRunner().invoke(app, ["attack", "--update", str(update), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert {tuple(one["bits"]) for one in found["fingerprints"]} == {tuple(np.flatnonzero(row)) for row in compounds}
    assert found["touched_bits"] == np.flatnonzero(compounds.any(axis=0)).tolist()


def test_noise_shows_no_compound(tmp_path: Path) -> None:
    path = tmp_path / "noise.safetensors"
    save_file({"w": np.random.default_rng(2).normal(size=(600, 48)).astype(np.float32)}, path)
    found = attack_update(path, tensor=None, hidden_first=False, seconds=5.0, progress=silent)
    assert found["fingerprints"] == []


def test_layouts_agree(update: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.safetensors"
    save_file({"w": np.ascontiguousarray(load_file(update)["w"].T)}, turned)
    plain = attack_update(update, tensor="w", hidden_first=False, seconds=5.0, progress=silent)
    assert attack_update(turned, tensor="w", hidden_first=True, seconds=5.0, progress=silent) == plain


@pytest.mark.parametrize("turned", [False, True])
def test_weight_decay_is_taken_out_with_the_weights_before_the_step(
    tmp_path: Path, compounds: NDArray[np.bool_], turned: bool
) -> None:
    """Without them the decay hides the compounds behind rows that move all the same."""
    draw = np.random.default_rng(3)
    before = draw.normal(size=(600, 48)).astype(np.float32)
    delta = 0.1 * (compounds.T.astype(float) @ draw.normal(size=(12, 48))) - 0.3 * before
    tensors = {"w": delta.astype(np.float32), "before": before}
    path = tmp_path / "decayed.safetensors"
    save_file({name: np.ascontiguousarray(one.T if turned else one) for name, one in tensors.items()}, path)
    options = ["attack", "--update", str(path), "--tensor", "w", "--json", *(["--hidden-first"] if turned else [])]
    blind = json.loads(CliRunner().invoke(app, options).stdout)
    truth = {tuple(np.flatnonzero(row)) for row in compounds}
    assert not truth & {tuple(one["bits"]) for one in blind["fingerprints"]}
    found = json.loads(CliRunner().invoke(app, [*options, "--weights", "before"]).stdout)
    assert found["touched_bits"] == np.flatnonzero(compounds.any(axis=0)).tolist()
    assert {tuple(one["bits"]) for one in found["fingerprints"]} == truth


def test_weights_of_another_shape_are_refused(update: Path) -> None:
    tensors = {**load_file(update), "small": np.zeros((5, 5), np.float32)}
    save_file(tensors, update)
    with pytest.raises(InputError, match="must be that of"):
        attack_update(update, tensor="w", hidden_first=False, seconds=1.0, progress=silent, weights="small")


def test_wrong_input_is_one_line(update: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("no tensors here")
    empty = tmp_path / "empty.safetensors"
    save_file({"b": np.zeros(3, np.float32)}, empty)
    for path, tensor, reason in (
        (tmp_path / "absent.safetensors", None, "absent"),
        (text, None, "is not a safetensors file"),
        (empty, None, "holds no matrix"),
        (update, "v", "has no matrix 'v', must be one of w"),
    ):
        with pytest.raises(InputError, match=reason):
            attack_update(path, tensor=tensor, hidden_first=False, seconds=1.0, progress=silent)
    for arguments in (["attack"], ["attack", "runs/x", "--update", str(update)]):
        done = CliRunner().invoke(app, arguments)
        assert isinstance(done.exception, InputError)
        assert "not both" in str(done.exception)
