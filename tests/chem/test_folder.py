"""Dataset folders: round trip, damage found by name, nothing overwritten, nothing lost when the disk is full."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from securefl.chem import folder
from securefl.chem.dataset import Dataset
from securefl.chem.folder import FILES, check_free, content_sha256, load, load_rejects, prepared, save
from securefl.chem.rejects import Reject, Stage, summarise
from securefl.errors import InputError, VerificationError

REJECTS = (Reject(7, Stage.STRUCTURE, 'a "quoted", reason'), Reject(2, Stage.READ, "no value"))


def test_round_trip(tiny_dataset: Dataset, tmp_path: Path) -> None:
    saved = save(tiny_dataset, tmp_path / "d", REJECTS, request="r", about={"rows": 9})
    back = load(tmp_path / "d")
    assert back.sha256 == saved.sha256 == content_sha256(tiny_dataset)
    assert (back.fingerprints != tiny_dataset.fingerprints).nnz == 0
    assert back.fingerprints.dtype == np.uint8
    assert back.tasks == tiny_dataset.tasks
    assert back.partners == tiny_dataset.partners
    assert (back.fold.dtype.name, back.cluster.dtype.name) == ("int8", "int32")
    for name in ("task", "compound", "value", "relation"):
        stored, given = getattr(back.activities, name), getattr(tiny_dataset.activities, name)
        np.testing.assert_array_equal(stored, given)
        assert stored.dtype == given.dtype
    assert load_rejects(tmp_path / "d") == (REJECTS[1], REJECTS[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == sorted([*FILES, "manifest.json"])


@pytest.mark.parametrize("name", FILES)
def test_a_changed_or_missing_file_is_named(tiny_dataset: Dataset, tmp_path: Path, name: str) -> None:
    save(tiny_dataset, tmp_path / "d", REJECTS, request="r")
    file = tmp_path / "d" / name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(VerificationError, match=f"{name} differs from its SHA-256"):
        load(tmp_path / "d")
    with pytest.raises(VerificationError, match=name):
        prepared(tmp_path / "d", "r")
    file.unlink()
    with pytest.raises(VerificationError, match=f"{name} is missing"):
        load(tmp_path / "d")


def test_a_manifest_of_another_content_is_found(tiny_dataset: Dataset, tmp_path: Path) -> None:
    save(tiny_dataset, tmp_path / "d")
    path = tmp_path / "d" / "manifest.json"
    content = json.loads(path.read_text())
    content["citation"] = "somebody else"
    path.write_text(json.dumps(content))
    with pytest.raises(VerificationError, match="content differs"):
        load(tmp_path / "d")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other/1"}'])
def test_what_is_no_dataset_folder(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="not a dataset folder"):
        load(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError):
        load(tmp_path)


def test_something_else_in_the_folder_is_refused_and_left_alone(tiny_dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "d"
    out.mkdir()
    (out / "thesis.txt").write_text("my life")
    with pytest.raises(InputError, match=r"holds something else \(thesis.txt\)"):
        save(tiny_dataset, out)
    assert (out / "thesis.txt").read_text() == "my life"
    file = tmp_path / "f"
    file.write_text("x")
    with pytest.raises(InputError, match="output folder"):
        check_free(file)


def test_an_empty_folder_is_used_and_another_dataset_is_not_overwritten(tiny_dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    save(tiny_dataset, tmp_path / "d", request="one")
    with pytest.raises(InputError, match="holds another dataset"):
        save(tiny_dataset, tmp_path / "d", request="two")
    assert prepared(tmp_path / "d", "two") is None
    assert prepared(tmp_path / "d", "one") is not None
    assert prepared(tmp_path / "absent", "one") is None


@pytest.mark.parametrize("failing", ["np.savez_compressed", "pq.write_table", "write_rejects", "_write_manifest"])
def test_a_full_disk_loses_nothing(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"{folder.__name__}.{failing}", full)
        with pytest.raises(InputError, match="the disk is full; nothing there was changed"):
            save(tiny_dataset, tmp_path / "d")
    assert list(tmp_path.iterdir()) == []
    save(tiny_dataset, tmp_path / "d")
    assert load(tmp_path / "d").sha256 == content_sha256(tiny_dataset)


def test_summaries_count_reasons() -> None:
    assert summarise([]) == "no rows"
    assert summarise([*REJECTS, REJECTS[0]], most=1) == 'a "quoted", reason (2 rows)'
