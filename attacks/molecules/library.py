"""A public library of molecules, and the truth about the molecules that are looked up in it.

In a run the library is half of the dataset's compounds, by a coin each: so half of the partners' compounds are published
somewhere and half are not, and all others are there to be mistaken for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.interface import AdversaryView, Tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Public compounds: ``smiles`` and their ``fingerprints``, CSR (l, bits), row by row."""

    smiles: tuple[str, ...]
    fingerprints: sp.csr_matrix = field(repr=False)

    def pack(self) -> Tensors:
        """Return the tensors by which a view carries the library."""
        return {
            "library.smiles": packed_text(self.smiles),
            "library.indices": self.fingerprints.indices.astype(np.int64),
            "library.indptr": self.fingerprints.indptr.astype(np.int64),
        }


def library_in(view: AdversaryView, bits: int) -> Library:
    """Return the library in ``view``."""
    indices, indptr = view.tensors["library.indices"], view.tensors["library.indptr"]
    shape = (len(indptr) - 1, bits)
    matrix = sp.csr_matrix((np.ones(len(indices), dtype=np.uint8), indices, indptr), shape=shape)
    return Library(smiles=unpacked_text(view.tensors["library.smiles"]), fingerprints=matrix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Molecules:
    """The true compounds: ``smiles``, ``fingerprints`` CSR (n, bits), which are ``published``, bool (n,), and the library."""

    smiles: tuple[str, ...]
    fingerprints: sp.csr_matrix = field(repr=False)
    published: NDArray[np.bool_]
    library: Library


def packed_text(lines: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return lines of text as bytes, each ended by a line feed."""
    return np.frombuffer("".join(f"{line}\n" for line in lines).encode(), dtype=np.uint8)


def unpacked_text(packed: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the lines of :func:`packed_text`."""
    return tuple(packed.tobytes().decode().split("\n")[:-1])
