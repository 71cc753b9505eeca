"""The default dataset: MoleculeACE 3.0.0, 48,714 Ki and EC50 values of 30 ChEMBL targets, as a Python package.

The package is never imported (its ``__init__`` loads models): its CSV files are read, from the installed package or from
the wheel as a zip archive, and checked against one SHA-256. Its train/test split and its activity-cliff flags are not used.
The folds' key comes from a public seed, so the key protects nothing here; the data are public as well.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from securefl.chem.dataset import Dataset
from securefl.chem.keyed import public_key
from securefl.chem.prepare import prepare
from securefl.chem.table import Columns, Table, table_of
from securefl.config import DataConfig
from securefl.errors import InputError, VerificationError
from securefl.types import Progress, silent

NAME = "MoleculeACE 3.0.0 (ChEMBL 29, 30 targets)"
PACKAGE, VERSION = "MoleculeACE", "3.0.0"
WHEEL_SHA256 = "c2028c9a75281eab53d3b3e7dc11cbc8ac970d008bac4a0d3927f11ac2024bdc"
FILES_SHA256 = "5b2f3b35139ddf3600fa47fc8d3ed2cc495ad90b5a72b2ef4e2c12b81349b1f0"
DATA_FOLDER = "MoleculeACE/Data/benchmark_data/"
LICENCE = "MoleculeACE: MIT; the activities are from ChEMBL 29: CC BY-SA 3.0"
CITATION = (
    "van Tilborg, Alenicheva, Grisoni: Exposing the Limitations of Molecular Machine Learning with Activity Cliffs. "
    "J. Chem. Inf. Model. 62 (2022) 5938-5951, doi:10.1021/acs.jcim.2c01073. "
    "Mendez et al.: ChEMBL: towards direct deposition of bioassay data. Nucleic Acids Res. 47 (2019) D930-D940, "
    "doi:10.1093/nar/gky1075."
)
NANOMOLAR = 9.0
"""pX = 9 - log10(value in nM)."""
_DOWNLOAD_SECONDS = 300


def default_dataset(config: DataConfig, cache: Path, progress: Progress = silent) -> Dataset:
    """Return the default dataset, prepared once for each config under the folder ``cache``.

    Raises:
        InputError: the package is neither installed nor to be had as a wheel, or ``cache`` can't be written.
        VerificationError: the package's files are not those of MoleculeACE 3.0.0.
    """
    name = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]
    table = load_table(cache, targets=config.targets)
    out = cache / f"moleculeace-{name}"
    return prepare(table, config, out, key=public_key(config.seed), cache=cache, progress=progress)


def load_table(cache: Path, *, targets: int = 0) -> Table:
    """Return the activities as a long table, tasks named like ``CHEMBL204_Ki``.

    Args:
        cache: where a downloaded wheel is kept.
        targets: use only so many targets, those with the fewest values; 0 is all.

    Raises:
        InputError, VerificationError: as for :func:`default_dataset`.
    """
    files = installed_files()
    return table_from(files if files is not None else load_wheel(find_wheel(cache)), targets=targets)


def installed_files() -> Mapping[str, bytes] | None:
    """Return the CSV files of the installed package by name, or ``None`` if it is not installed.

    Raises:
        VerificationError: they are not those of version 3.0.0.
    """
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        return None
    if package.version != VERSION:
        return None
    folder = Path(str(package.locate_file(DATA_FOLDER)))
    return _verified({path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}, str(folder))


def load_wheel(path: Path) -> Mapping[str, bytes]:
    """Return the CSV files in the wheel at ``path`` by name; the wheel is read as a zip archive, never installed.

    Raises:
        InputError: the file can't be read.
        VerificationError: its SHA-256 is not that of MoleculeACE 3.0.0.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"wheel {path}: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != WHEEL_SHA256:
        raise VerificationError(f"wheel {path}: SHA-256 is {found}, must be {WHEEL_SHA256}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name.startswith(DATA_FOLDER) and name.endswith(".csv")]
        return _verified({PurePosixPath(name).name: archive.read(name) for name in sorted(names)}, str(path))


def find_wheel(cache: Path) -> Path:
    """Return the wheel in ``cache`` (any name that ends in .whl and has the right hash), else have pip download it there.

    Raises:
        InputError: pip can't get it.
    """
    for path in sorted(cache.glob("*.whl")) if cache.is_dir() else []:
        if hashlib.sha256(path.read_bytes()).hexdigest() == WHEEL_SHA256:
            return path
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "requirements.txt"
        pins.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(cache), "-r", str(pins)]
        command = [sys.executable, "-m", "pip", "download", *options]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_DOWNLOAD_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise InputError(
                f"{PACKAGE} {VERSION} is not installed and pip can't download it: "
                f"install it with `pip install --no-deps {PACKAGE}=={VERSION}`, or put its wheel into {cache}"
            ) from error
    return next(path for path in sorted(cache.glob("*.whl")) if hashlib.sha256(path.read_bytes()).hexdigest() == WHEEL_SHA256)


def table_from(files: Mapping[str, bytes], *, targets: int = 0) -> Table:
    """Return the long table of MoleculeACE's CSV files (columns: smiles, exp_mean [nM], y, cliff_mol, split)."""
    parts = {name.removesuffix(".csv"): pacsv.read_csv(io.BytesIO(content)) for name, content in files.items()}
    if targets:
        parts = dict(sorted(parts.items(), key=lambda item: len(item[1]))[:targets])
    smiles = pa.chunked_array([chunk for part in parts.values() for chunk in part["smiles"].chunks])
    task = pa.array(np.repeat(list(parts), [len(part) for part in parts.values()]).tolist(), type=pa.string())
    # The column y is -log10 of nM, which is negative for most; pX counts from one molar.
    y = pa.chunked_array([chunk for part in parts.values() for chunk in part["y"].cast(pa.float64()).chunks])
    content = pa.table({"smiles": smiles, "task": task, "value": pc.add(y, NANOMOLAR)})
    table = table_of(content, Columns(), name=NAME)
    return replace(table, licence=LICENCE, citation=CITATION)


def _verified(files: dict[str, bytes], source: str) -> Mapping[str, bytes]:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\x00" + hashlib.sha256(files[name]).digest())
    if digest.hexdigest() != FILES_SHA256:
        raise VerificationError(f"{source}: the data files' SHA-256 is {digest.hexdigest()}, must be {FILES_SHA256}")
    return files
