"""Fixtures that every test may use; what can be imported without a fixture is in ``stand_ins``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from stand_ins import SHARED_DATA, CountingRng, Install, make_dataset

from securefl.chem.dataset import Dataset
from securefl.types import Rng


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: their content can hold a time or a random key, and all workers need equal names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def rng() -> Rng:
    """Return a repeatable source of bytes, fresh for every test."""
    return CountingRng()


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    """Return 480 synthetic compounds of 256 bits with 12 tasks at 3 partners (one small) and a signal to learn."""
    return make_dataset()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of the public data beside the checkout, or skip the test where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the public data are not beside this checkout (../shared/data)")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def _single_thread() -> None:
    """Keep torch on one thread: small models are faster so, and results repeat bit for bit."""
    torch.set_num_threads(1)


@pytest.fixture
def install_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what lays a package with a scheme out as pip would: a module of its name, and a dist-info with its entry point."""

    def installed(package: str, code: str, entry: str, *, version: str = "0.3") -> Path:
        module, site = package.replace("-", "_"), tmp_path / package
        info = site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(code, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[securefl.schemes]\n{entry}\n", encoding="utf-8")
        monkeypatch.syspath_prepend(str(site))
        # No test finds the module that another one imported under this name, and none leaves its own behind.
        monkeypatch.setitem(sys.modules, module, sys)
        monkeypatch.delitem(sys.modules, module)
        return site

    return installed
