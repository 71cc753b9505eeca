"""What a release tells beside another one: with and without a partner, with and without a compound.

Two trunks from the same start, one trained with a partner and one without it, differ by that partner: rows that moved in the
one and kept their value in the other are bits that nobody else has, exactly and under any optimiser that leaves untouched rows
alone. For single compounds the difference is scored by projection as in :mod:`attacks.course.trajectory`, and by a likelihood
ratio against paired shadow runs in which each candidate is in and out by a coin [CCN+22; JAG+22].

Where an arm counts the partners that contribute to each row (:mod:`securefl.federation.contributors`), that sum alone tells the
bits that one partner brings: those counted once, after a partner has taken off its own claims. It names no partner.

V1: any partner holds both trunks, if a partner joins or leaves, or a round is repeated without it. V4: with shadow runs on the
victim's own labels, which only an auditor has. The counts are read from V1 and V2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from attacks.course.trajectory import CANDIDATES, candidates_in, projection
from attacks.first_layer.bit_union import union_of_bits
from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.membership.lira import mean_and_spread
from attacks.membership.members import Members, score_members
from attacks.score import Score, clustered, proportion


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """The partner's candidates, and the bits that it alone has: ``bringer`` int64 (bits,), a compound that has each of them.

    Bits of one compound show together; -1 stands for a bit that others have too, or nobody.
    """

    members: Members | None = None
    bringer: NDArray[np.int64]


def new_bits(start: NDArray[np.float32], without: NDArray[np.float64], given: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bits whose rows moved from ``start`` in ``given`` and not in ``without``, ascending."""
    return np.setdiff1d(union_of_bits(given - start), union_of_bits(without - start))


def run_bits(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``bits``: those that the partner alone brought."""
    return {"bits": new_bits(*(view.tensors[name] for name in ("start", "without", "given")))}


def score_bits(claims: Claims, earlier: Claims, truth: Differences) -> Found:
    """Return precision and recall of the bits that only one partner has; chance is naming as many at random."""
    return _told(claims["bits"], truth.bringer, recall="single_partner_recall", none="the partner has no bit of its own")


def _told(bits: NDArray[np.int64], bringer: NDArray[np.int64], *, recall: str, none: str) -> Found:
    named, only = np.zeros(len(bringer), dtype=bool), bringer >= 0
    named[bits] = True
    hits, wanted = int((named & only).sum()), int(only.sum())
    scores: list[Score] = []
    if wanted:
        scores.append(clustered(recall, named[only], bringer[only], chance=float(named.mean())))
    if named.any():
        scores.append(proportion("precision", hits, int(named.sum()), chance=wanted / len(named)))
    detail = {"named": float(named.sum()), "true": float(wanted)}
    return Found(scores=tuple(scores), detail=detail, note="" if wanted else none)


def run_counts(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``bits``: those that one partner beside the attacker contributes."""
    return {"bits": np.flatnonzero(view.tensors["counts"] - view.tensors["own"] == 1)}


def score_counts(claims: Claims, earlier: Claims, truth: Differences) -> Found:
    """Return precision and recall of the bits with one contributor; chance is naming as many at random."""
    return _told(claims["bits"], truth.bringer, recall="one_contributor_recall", none="no bit has one contributor alone")


def run_compounds(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: how much of each candidate the difference of the two trunks explains."""
    difference = view.tensors["given"] - view.tensors["without"]
    return {"score": projection(difference, candidates_in(view))}


def run_ratio(view: AdversaryView, earlier: Claims) -> Claims:
    """Claim ``score``: the log-likelihood ratio of the projection under paired shadow runs, one pooled variance a side."""
    candidates, without, inside = candidates_in(view), view.tensors["without"], view.tensors["shadow.inside"]
    fit = np.stack([projection(one - without, candidates) for one in view.tensors["shadow.given"]])
    target = projection(view.tensors["given"] - without, candidates)
    seen, seen_spread = mean_and_spread(fit, inside)
    unseen, unseen_spread = mean_and_spread(fit, ~inside)
    least = 1e-12
    ratio = norm.logpdf(target, seen, max(seen_spread, least)) - norm.logpdf(target, unseen, max(unseen_spread, least))
    both = inside.any(axis=0) & ~inside.all(axis=0)
    return {"score": np.where(both, ratio, 0.0)}


def score_compounds(claims: Claims, earlier: Claims, truth: Differences) -> Found:
    """Return AUC and true positive rates of which of the partner's candidates it trained on."""
    return Found() if truth.members is None else score_members(claims, earlier, truth.members)


BITS = Attack(
    name="differential_bits",
    asset="substructure",
    views=("V1",),
    reads=("start", "without", "given"),
    run=run_bits,
    score=score_bits,
)
COUNTS = Attack(
    name="differential_counts",
    asset="substructure",
    views=("V1", "V2"),
    reads=("counts", "own"),
    run=run_counts,
    score=score_counts,
)
COMPOUNDS = Attack(
    name="differential_membership",
    asset="membership",
    views=("V1",),
    reads=(*CANDIDATES, "without", "given"),
    run=run_compounds,
    score=score_compounds,
)
RATIO = Attack(
    name="differential_likelihood_ratio",
    asset="membership",
    views=("V4",),
    reads=(*CANDIDATES, "without", "given", "shadow.*"),
    run=run_ratio,
    score=score_compounds,
)
