"""The first-layer attacks on one view, scored: union of bits, exact fingerprint recovery, label inference.

The attacks get the view; the truth is opened here, afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.bit_union import could_be_member, union_of_bits, union_scores
from attacks.fingerprint_recovery import Recovery, fingerprint_recovery
from attacks.label_inference import label_inference, label_score
from attacks.score import Score, proportion
from attacks.view import AdversaryView, Case, Truth
from securefl.types import Progress, silent

MOST_COMPARED = 1000
Found = tuple[list[Score], dict[str, float], str]
"""Scores, figures beside them, and a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attack got on one view."""

    attack: str
    scores: tuple[Score, ...]
    detail: dict[str, float]
    note: str
    seconds: float


def patterns(fingerprints: sp.csr_matrix) -> list[bytes]:
    """Return each row's pattern as bytes that compare equal if and only if the fingerprints do."""
    matrix = fingerprints.tocsr()
    matrix.sort_indices()
    return [
        matrix.indices[start:stop].astype("<i4").tobytes()
        for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    ]


def best_tanimoto(truth: sp.csr_matrix, guesses: sp.csr_matrix) -> float:
    """Return the mean over ``truth`` of the Tanimoto similarity to the nearest guess; 0 without a guess.

    Of more than a thousand true fingerprints every n-th one is looked at.
    """
    if not guesses.shape[0] or not truth.shape[0]:
        return 0.0
    truth = truth.tocsr()[:: 1 + (truth.shape[0] - 1) // MOST_COMPARED]
    shared = (truth.astype(np.int32) @ guesses.astype(np.int32).T).toarray()
    sizes = np.diff(truth.tocsr().indptr)[:, None] + np.diff(guesses.tocsr().indptr)[None, :]
    return float((shared / np.maximum(sizes - shared, 1)).max(axis=1).mean())


def _released_part(truth: sp.csr_matrix, seen: NDArray[np.int64]) -> set[bytes]:
    """Return the patterns that are left of the true fingerprints when only the rows ``seen`` were released."""
    keep = np.zeros(truth.shape[1], dtype=np.uint8)
    keep[seen] = 1
    part = (truth @ sp.diags(keep, dtype=np.uint8)).tocsr()
    part.eliminate_zeros()
    return {pattern for pattern in patterns(part) if pattern}


def score_recovery(recovery: Recovery, view: AdversaryView, truth: Truth) -> Found:
    """Return the exact-match rate, its precision, and how near the rest came; chance is looking up a public library."""
    true, found, library = (set(patterns(m)) for m in (truth.fingerprints, recovery.fingerprints, truth.library))
    hits = len(true & found)
    scores = [proportion("exact", hits, len(true), chance=len(true & library) / len(true))]
    if found:
        scores.append(proportion("precision", hits, len(found), chance=len(true & library) / max(len(library), 1)))
    part = _released_part(truth.fingerprints, union_of_bits(view.delta, noise=view.noise))
    if part:
        # What a guard withholds can't come back; how much of what it lets through does is a score of its own.
        scores.append(proportion("released_part_exact", len(part & found), len(part), chance=0.0))
    detail = {
        "recovered": float(len(found)),
        "rank": float(recovery.rank),
        "mean_tanimoto": best_tanimoto(truth.fingerprints, recovery.fingerprints),
        "mean_tanimoto_of_library": best_tanimoto(truth.fingerprints, truth.library),
    }
    note = ""
    if recovery.saturated:
        note = f"the update has full rank {recovery.rank}: more directions than the layer can keep apart, nothing decodes"
    elif not recovery.finished:
        note = "stopped at its time limit: a lower bound"
    return scores, detail, note


def true_labels(recovered: sp.csr_matrix, truth: Truth) -> NDArray[np.int8]:
    """Return the label of each recovered compound; 0 where it is no true one or compounds of that pattern differ."""
    labels: dict[bytes, set[int]] = {}
    for pattern, label in zip(patterns(truth.fingerprints), truth.label, strict=True):
        labels.setdefault(pattern, set()).add(int(label))
    found = [labels.get(pattern, {0}) for pattern in patterns(recovered)]
    return np.array([one.copy().pop() if len(one) == 1 else 0 for one in found], dtype=np.int8)


def run_union(view: AdversaryView, truth: Truth) -> Found:
    """Return precision and recall of the union of bits."""
    union = union_of_bits(view.delta, noise=view.noise)
    support = np.bincount(truth.fingerprints.indices, minlength=truth.fingerprints.shape[1])
    scores = union_scores(union, support, known=view.own)
    detail = {"named": float(len(union)), "library_excluded": 1 - float(could_be_member(union, truth.library).mean())}
    return list(scores), detail, "" if scores else "the attacker's own compounds have every bit: nothing is left to find out"


def run_labels(recovery: Recovery, view: AdversaryView, truth: Truth) -> Found:
    """Return the accuracy of the labels of recovered compounds."""
    labels = label_inference(recovery.fingerprints, recovery.factors, layers=view.layers)
    score, known = label_score(labels, true_labels(recovery.fingerprints, truth))
    detail = {"tasks_found": float(labels.task.max(initial=-1) + 1), "known_compounds": float(known)}
    if score is None:
        return [], detail, "no two recovered compounds share a task: no label to infer"
    return [score], detail, f"sign of the error signal in {known} tasks, each oriented by one known compound (not counted)"


def attack_first_layer(
    case: Case, *, wanted: Callable[[str], bool], seconds: float, progress: Progress = silent
) -> list[Outcome]:
    """Return what the ``wanted`` attacks get on ``case``; recovery stops after ``seconds``."""
    outcomes = []
    view, truth = case.view, case.truth

    def timed(attack: str, run: Callable[[], Found], extra: float = 0.0) -> None:
        begin = time.monotonic()
        scores, detail, note = run()
        spent = time.monotonic() - begin + extra
        outcomes.append(Outcome(attack=attack, scores=tuple(scores), detail=detail, note=note, seconds=spent))

    if wanted("union_of_bits"):
        timed("union_of_bits", lambda: run_union(view, truth))
    if wanted("fingerprint_recovery") or wanted("label_inference"):
        recovery = fingerprint_recovery(
            view.delta, layer=view.layers[0], noise=view.noise, seconds=seconds, progress=progress
        )
        if wanted("fingerprint_recovery"):
            timed("fingerprint_recovery", lambda: score_recovery(recovery, view, truth), recovery.seconds)
        if wanted("label_inference"):
            timed("label_inference", lambda: run_labels(recovery, view, truth))
    return outcomes
