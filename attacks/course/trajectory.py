"""Membership by trajectory: does a candidate's gradient lie in what the rounds released?

A first-layer update is a sum of fingerprints times error signals, so a member's fingerprint lies in its column space. Two
statistics look for it, summed over rounds: how much of the candidate the update's column space explains (*projection*), and
the cosine between the update and the gradient that the candidate would have (*cosine*, with the attacker's own heads in place
of the owner's, sign unknown) [NSH19]. Where single partners' updates are in sight, the other partners tell what a non-member
looks like: the target's projection against theirs, one-tailed, is FedMIA's test [ZLC+25].

V1: a partner, on sums without its own part. V3: whoever sees single updates.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import norm

from attacks.interface import AdversaryView, Attack, Claims
from attacks.membership.members import score_members
from securefl.records import View

Matrix = NDArray[np.float64]
RIDGE = 1e-3
"""Of the update's mean energy in a direction: what is smaller counts as noise."""
VIEWS: tuple[View, ...] = ("V3", "V1")


def projection(delta: Matrix, candidates: sp.csr_matrix) -> Matrix:
    """Return the share of each candidate that the column space of ``delta`` explains, shape (c,), softly cut at the noise.

    Args:
        delta: (bits, h). candidates: CSR (c, bits).
    """
    gram = delta.T @ delta
    energy = float(np.trace(gram)) / len(gram)
    if energy == 0.0:
        return np.zeros(candidates.shape[0])
    seen = np.asarray(candidates @ delta)
    solved = np.linalg.solve(gram + RIDGE * energy * np.eye(len(gram)), seen.T)
    return np.asarray(np.einsum("ch,hc->c", seen, solved) / np.maximum(np.diff(candidates.indptr), 1))


def cosine(delta: Matrix, candidates: sp.csr_matrix, signals: Matrix) -> Matrix:
    """Return the largest cosine, sign ignored, between ``delta`` and each candidate's gradient under one of ``signals``.

    Args:
        signals: (c, k, h), the error signals at the first layer that k heads would send back for each candidate.
    """
    seen = np.asarray(candidates @ delta)
    along = np.einsum("ch,ckh->ck", seen, signals)
    size = np.linalg.norm(signals, axis=2) * np.sqrt(np.maximum(np.diff(candidates.indptr), 1))[:, None]
    length = float(np.linalg.norm(delta))
    return np.asarray(np.abs(along / np.maximum(size * length, 1e-300)).max(axis=1))


def head_signals(first: Matrix, second: Matrix, heads: Matrix) -> Matrix:
    """Return what each head sends back to the first layer for each candidate, shape (c, k, h).

    Args:
        first: (c, h), the candidates' pre-activations. second: (width, h), the next layer. heads: (k, width).
    """
    active = (first > 0).astype(np.float64)
    state = np.maximum(first, 0.0) @ second.T
    back = np.where(state[:, None, :] > 0, heads[None, :, :], 0.0) @ second
    return np.asarray(back * active[:, None, :])


def fedmia(target: Matrix, others: Matrix) -> Matrix:
    """Return the log-probability, summed over rounds, that a non-member's statistic is as small as the target's, shape (c,).

    Args:
        target: (rounds, c), the statistic on the target's updates. others: (rounds, partners, c), on everybody else's.
    """
    centre = others.mean(axis=1)
    spread = np.sqrt(np.mean((others - centre[:, None]) ** 2, axis=(1, 2)))[:, None]
    return np.asarray(norm.logcdf((target - centre) / np.maximum(spread, 1e-12)).sum(axis=0))


def candidates_in(view: AdversaryView) -> sp.csr_matrix:
    """Return the fingerprints of the view's candidates, CSR (c, bits)."""
    indices, indptr = view.tensors["candidate.indices"], view.tensors["candidate.indptr"]
    shape = (len(indptr) - 1, int(view.facts["bits"] or 0))
    return sp.csr_matrix((np.ones(len(indices), dtype=np.float64), indices, indptr), shape=shape)


def _rounds(view: AdversaryView) -> range:
    return range(int(view.facts["rounds"] or 0))


def run_projection(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: the projection, summed over rounds."""
    candidates = candidates_in(view)
    return {"score": np.sum([projection(view.tensors[f"round.{t}.delta"], candidates) for t in _rounds(view)], axis=0)}


def run_cosine(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: the cosine under the attacker's own heads, summed over rounds."""
    candidates = candidates_in(view)
    second, heads = (view.tensors[name].astype(np.float64) for name in ("second", "heads"))
    found = []
    for t in _rounds(view):
        first = np.asarray(candidates @ view.tensors[f"round.{t}.before"])
        found.append(cosine(view.tensors[f"round.{t}.delta"], candidates, head_signals(first, second, heads)))
    return {"score": np.sum(found, axis=0)}


def run_fedmia(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: FedMIA's one-tailed test of the target's updates against everybody else's."""
    candidates = candidates_in(view)
    others = [
        [projection(view.tensors[f"round.{t}.other.{p}"], candidates) for p in range(int(view.facts["others"] or 0))]
        for t in _rounds(view)
    ]
    target = [projection(view.tensors[f"round.{t}.delta"], candidates) for t in _rounds(view)]
    return {"score": fedmia(np.array(target), np.array(others))}


CANDIDATES = ("candidate.indices", "candidate.indptr")
PROJECTION = Attack(
    name="trajectory_projection",
    asset="membership",
    views=VIEWS,
    reads=(*CANDIDATES, "round.*"),
    run=run_projection,
    score=score_members,
)
COSINE = Attack(
    name="trajectory_cosine",
    asset="membership",
    views=("V1",),
    reads=(*CANDIDATES, "round.*", "second", "heads"),
    run=run_cosine,
    score=score_members,
)
FEDMIA = Attack(
    name="trajectory_fedmia",
    asset="membership",
    views=("V3",),
    reads=(*CANDIDATES, "round.*"),
    run=run_fedmia,
    score=score_members,
)
