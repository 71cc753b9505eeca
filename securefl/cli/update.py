"""``securefl attack --update``: what an auditor's own update shows, without a run of ours behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from attacks.first_layer.bit_union import union_of_bits
from attacks.first_layer.fingerprint_recovery import fingerprint_recovery
from attacks.first_layer.label_inference import label_inference
from attacks.first_layer.weight_decay import without_decay
from securefl.errors import InputError
from securefl.types import Progress

LARGEST_BYTES = 4 << 30


def attack_update(
    path: Path, *, tensor: str | None, hidden_first: bool, seconds: float, progress: Progress, weights: str | None = None
) -> dict[str, Any]:
    """Return what can be read out of the first-layer update in a safetensors file.

    Args:
        tensor: its name; the file's only matrix, or the one with the most inputs, where it is ``None``.
        hidden_first: the matrix is (hidden units, bits), as torch's Linear keeps it; (bits, hidden units) otherwise.
        seconds: the search for fingerprints stops after so long.
        weights: the name of the matrix as it was before the step: weight decay is then taken out of the update.

    Raises:
        InputError: the file can't be read, is too large, has no such matrix, or one of another shape.
        ParameterError: the matrix is not finite.
    """
    name, delta = _matrix(path, tensor)
    rows = delta.T if hidden_first else delta
    if weights is not None:
        before = _matrix(path, weights)[1]
        if before.shape != delta.shape:
            raise InputError(f"{path}: {weights!r} has shape {before.shape}, must be that of {name!r}, {delta.shape}")
        rows = np.asarray(without_decay(rows, before.T if hidden_first else before), dtype=np.float64)
    found = fingerprint_recovery(rows, seconds=seconds, progress=progress)
    labels = label_inference(found.fingerprints, found.factors)
    compounds = [
        {"bits": row.indices.tolist(), "task": int(task), "side": float(np.sign(signal))}
        for row, task, signal in zip(found.fingerprints, labels.task, labels.signal, strict=True)
    ]
    return {
        "tensor": name,
        "bits": rows.shape[0],
        "hidden": rows.shape[1],
        "touched_bits": union_of_bits(rows).tolist(),
        "compounds_shown": found.rank,
        "saturated": found.saturated,
        "finished": found.finished,
        "fingerprints": compounds,
    }


def summary(found: dict[str, Any]) -> dict[str, object]:
    """Return the figures of :func:`attack_update` for a person."""
    return {
        "tensor": f"{found['tensor']} ({found['bits']} bits x {found['hidden']} hidden units)",
        "bits that some compound has": len(found["touched_bits"]),
        "compounds that the update shows": "all that the layer can" if found["saturated"] else found["compounds_shown"],
        "fingerprints read": len(found["fingerprints"]),
        "search": "ended" if found["finished"] else "stopped by its time limit: --seconds gives it more",
    }


def _matrix(path: Path, tensor: str | None) -> tuple[str, NDArray[np.float64]]:
    """The first-layer update in ``path``, by name."""
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise InputError(f"{path}: {size} bytes, must be <= {LARGEST_BYTES}")
        tensors = load_file(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (SafetensorError, TypeError) as error:
        raise InputError(f"{path} is not a safetensors file that can be read: {error}") from error
    matrices = {name: found for name, found in tensors.items() if found.ndim == 2 and found.dtype.kind == "f"}
    if not matrices:
        raise InputError(f"{path} holds no matrix of floats, only {', '.join(sorted(tensors)) or 'nothing'}")
    chosen = tensor or max(matrices, key=lambda name: max(matrices[name].shape))
    if chosen not in matrices:
        raise InputError(f"{path} has no matrix {chosen!r}, must be one of {', '.join(sorted(matrices))}")
    return chosen, matrices[chosen].astype(np.float64)
