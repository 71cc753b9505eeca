"""The first-layer attacks as the framework runs them: union of bits, exact fingerprint recovery, label inference.

Each ``run_*`` reads a view alone and claims; each ``score_*`` compares claims with the truth, in another process.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from attacks.first_layer.bit_union import could_be_member, union_of_bits, union_scores
from attacks.first_layer.fingerprint_recovery import fingerprint_recovery
from attacks.first_layer.label_inference import Labels, label_inference, label_score
from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.score import proportion
from attacks.view import Truth, layers_in
from securefl.records import View

MOST_COMPARED = 1000
VIEWS: tuple[View, ...] = ("V3", "V2", "V2c", "V1")


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


def stated_noise(view: AdversaryView) -> float | None:
    """Return the noise on an entry that the view states, ``None`` where the attack has to estimate it."""
    noise = view.facts["noise"]
    return None if noise is None else float(noise)


def found_fingerprints(claims: Claims) -> sp.csr_matrix:
    """Return the fingerprints that a recovery claims, CSR (k, bits)."""
    indices, indptr = claims["indices"], claims["indptr"]
    shape = (len(indptr) - 1, int(claims["bits"][0]))
    return sp.csr_matrix((np.ones(len(indices), dtype=np.uint8), indices, indptr), shape=shape)


def run_union(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``union``: the bits that some compound has."""
    return {"union": union_of_bits(view.tensors["delta"], noise=stated_noise(view))}


def score_union(claims: Claims, earlier: Claims, truth: Truth) -> Found:
    """Return precision and recall of the union of bits."""
    union = claims["union"]
    scores = union_scores(union, truth.fingerprints, known=truth.known)
    detail = {"named": float(len(union)), "library_excluded": 1 - float(could_be_member(union, truth.library).mean())}
    note = "" if scores else "the attacker's own compounds have every bit: nothing is left to find out"
    return Found(scores=scores, detail=detail, note=note)


def run_recovery(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``indices`` and ``indptr`` of fingerprints over ``bits``, their ``factors``, and the bits that were ``seen``."""
    delta, noise = view.tensors["delta"], stated_noise(view)
    found = fingerprint_recovery(
        delta, layer=layers_in(view)[0], noise=noise, seconds=float(view.facts["seconds"] or 0)
    )
    return {
        "indices": found.fingerprints.indices.astype(np.int64),
        "indptr": found.fingerprints.indptr.astype(np.int64),
        "bits": np.array([delta.shape[0]]),
        "factors": found.factors,
        "seen": union_of_bits(delta, noise=noise),
        "rank": np.array([found.rank]),
        "saturated": np.array([found.saturated]),
        "finished": np.array([found.finished]),
    }


def score_recovery(claims: Claims, earlier: Claims, truth: Truth) -> Found:
    """Return the exact-match rate, its precision, and how near the rest came; chance is looking up a public library."""
    recovered = found_fingerprints(claims)
    true, found, library = (set(patterns(m)) for m in (truth.fingerprints, recovered, truth.library))
    hits = len(true & found)
    scores = [proportion("exact", hits, len(true), chance=len(true & library) / len(true))]
    if found:
        scores.append(proportion("precision", hits, len(found), chance=len(true & library) / max(len(library), 1)))
    part = _released_part(truth.fingerprints, claims["seen"])
    if part:
        # What a guard withholds can't come back; how much of what it lets through does is a score of its own. So little of a
        # compound may be let through that public ones have it too.
        chance = len(part & _released_part(truth.library, claims["seen"])) / len(part)
        scores.append(proportion("released_part_exact", len(part & found), len(part), chance=chance))
    detail = {
        "recovered": float(len(found)),
        "rank": float(claims["rank"][0]),
        "mean_tanimoto": best_tanimoto(truth.fingerprints, recovered),
        "mean_tanimoto_of_library": best_tanimoto(truth.fingerprints, truth.library),
    }
    note = ""
    if claims["saturated"][0]:
        rank = int(claims["rank"][0])
        note = f"the update has full rank {rank}: more directions than the layer can keep apart, nothing decodes"
    elif not claims["finished"][0]:
        note = "stopped at its time limit: a lower bound"
    return Found(scores=tuple(scores), detail=detail, note=note)


def true_labels(recovered: sp.csr_matrix, truth: Truth) -> NDArray[np.int8]:
    """Return the label of each recovered compound; 0 where it is no true one or compounds of that pattern differ."""
    if not recovered.shape[0]:
        return np.zeros(0, dtype=np.int8)
    labels: dict[bytes, set[int]] = {}
    for pattern, label in zip(patterns(truth.fingerprints), truth.label, strict=True):
        labels.setdefault(pattern, set()).add(int(label))
    found = [labels.get(pattern, {0}) for pattern in patterns(recovered)]
    return np.array([one.copy().pop() if len(one) == 1 else 0 for one in found], dtype=np.int8)


def run_labels(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim the ``task`` of each recovered compound and the ``signal`` whose sign is its label."""
    labels = label_inference(found_fingerprints(earlier), earlier["factors"], layers=layers_in(view))
    return {"task": labels.task, "signal": labels.signal}


def score_labels(claims: Claims, earlier: Claims, truth: Truth) -> Found:
    """Return the accuracy of the labels of recovered compounds."""
    labels = Labels(task=claims["task"], signal=claims["signal"])
    score, known = label_score(labels, true_labels(found_fingerprints(earlier), truth))
    detail = {"tasks_found": float(labels.task.max(initial=-1) + 1), "known_compounds": float(known)}
    if score is None:
        return Found(detail=detail, note="no two recovered compounds share a task: no label to infer")
    note = f"sign of the error signal in {known} tasks, each oriented by one known compound (not counted)"
    return Found(scores=(score,), detail=detail, note=note)


UNION = Attack(
    name="union_of_bits", asset="substructure", views=VIEWS, reads=("delta",), run=run_union, score=score_union
)
RECOVERY = Attack(
    name="fingerprint_recovery",
    asset="structure",
    views=VIEWS,
    reads=("delta", "layer.*"),
    run=run_recovery,
    score=score_recovery,
)
LABELS = Attack(
    name="label_inference",
    asset="label",
    views=VIEWS,
    reads=("layer.*",),
    run=run_labels,
    score=score_labels,
    needs="fingerprint_recovery",
)
