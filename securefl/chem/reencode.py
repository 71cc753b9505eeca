"""The same dataset with other fingerprints: compounds, folds, tasks and values are the same, so models on both pair."""

from __future__ import annotations

from dataclasses import replace

from securefl.chem.dataset import Dataset
from securefl.chem.encoding import encode
from securefl.chem.folder import content_sha256
from securefl.errors import InputError
from securefl.types import Progress, Secret, silent


def reencoded(dataset: Dataset, *, bits: int, radius: int, key: Secret | None = None, progress: Progress = silent) -> Dataset:
    """Return ``dataset`` with fingerprints of ``bits`` and ``radius``; itself where it has them already.

    Args:
        key: the one that orders the bits, where it is not the public one.

    Raises:
        InputError: how its structures became fingerprints is not known, or one of them can't be read any more.
        VerificationError: the fingerprints were ordered by another key.
    """
    encoding = dataset.encoding
    if encoding is None:
        raise InputError(f"dataset {dataset.name!r} does not say how its fingerprints were made: prepare it anew")
    if (encoding.bits, encoding.radius) == (bits, radius):
        return dataset
    wanted = replace(encoding, bits=bits, radius=radius)
    found = encode(dataset.smiles, wanted, key=key, progress=progress)
    if len(found.row) != len(dataset.smiles):
        raise InputError(f"compound {found.rejects[0].row}: {found.rejects[0].reason}")
    made = replace(dataset, fingerprints=found.fingerprints, encoding=wanted, sha256="")
    return replace(made, sha256=content_sha256(made))
