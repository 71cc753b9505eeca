"""Defences beside the attacks: what is left of each first-layer leak under each guard, as JSON.

    python -m benchmarks.defences TABLE [--seeds 4] [--out FILE]      goes on with the rows that FILE lacks

TABLE is a Parquet file with a column ``smiles``: for the committed file ``compounds.parquet`` of the default data. Three
partners with 40 compounds each take one step of plain SGD at 32,768 bits, from a fresh trunk with small random private heads:
the release on which an unguarded arm is far above chance. Each defence acts on what a partner sends, or on the sum before it
is opened. Attacked are one partner's update (V3) and the sum
without the attacker's own part (V1), with the attacks of the suite and their scorers: union of bits (3), exact recovery (4),
labels (5), molecules in a public library that holds half of the compounds (6), and the bits that one partner alone brings to
the sum (7). ``support_pattern`` is what the pattern of withheld rows reveals by itself: members are told from public
compounds by the share of their bits whose rows were opened. ``at_chance`` says that the pooled 95 % interval holds what
guessing reaches, or that nothing was left to score: no leak could be shown on so many compounds, which is not to say there is
none.

What it is not: utility. ``kept`` is the cosine between the mean update with the defence and without it, a proxy; the price in
performance is in :mod:`benchmarks.defence_utility`. Pooled counts treat compounds of one batch as independent; where the bits
of a compound or the labels of a task show together, their intervals count compounds and tasks (``size``). Freezing the
first layer has no row: nothing of it is released afterwards, and before it leaks as without a defence.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from attacks import tpr_at_fpr, union_of_bits
from attacks.course.differential import BITS, Differences
from attacks.first_layer.bit_union import first_having
from attacks.first_layer.on_views import LABELS, RECOVERY, UNION
from attacks.interface import AdversaryView, Attack, Claims, Fact
from attacks.molecules.library import Library, Molecules
from attacks.molecules.lookup import MOLECULES
from attacks.score import Score, proportion
from attacks.view import Truth
from benchmarks.environment import environment
from benchmarks.first_layer_defences import DEFENCES, EACH, RATE, Defence, Part, Update
from securefl.chem.fingerprint import fingerprints
from securefl.files import write_to_disk
from securefl.learning.heads import Heads
from securefl.learning.sparse import batch_of
from securefl.learning.trunk import Trunk

SEED = 20261121
"""The day on which the benchmark was written: any number would do."""
BITS_LEN, HIDDEN, TASKS, PARTNERS = 32_768, (400, 120), 8, 3
STEP, SECONDS, DECOYS = 2.0**-21, 2.0, 1000
PUBLIC = 10_000
"""Public compounds on which the threshold of ``support_pattern`` is set: of fewer, one per cent is too few to set it on."""
RESULT = Path(__file__).with_name("results") / "defences.json"
METRICS = {
    "union_of_bits": "single_compound_recall",
    "fingerprint_recovery": "exact",
    "label_inference": "accuracy",
    "molecule_lookup": "published_named",
    "differential_bits": "single_partner_recall",
    "support_pattern": "tpr_at_fpr_1pct",
}
Release = tuple[NDArray[np.float64], Sequence[Part]]
"""What a view sees of the first layer, and whose compounds are behind it."""


@dataclass(frozen=True, slots=True)
class Known:
    """Compounds that nobody steps on: ``decoys`` of the library, and ``public`` fingerprints, CSR (PUBLIC, bits)."""

    decoys: Library
    public: sp.csr_matrix


def known_of(smiles: Sequence[str]) -> Known:
    """Return the first and the last of ``smiles``, which are in a random order; partners' compounds lie between."""
    first, last = (fingerprints(some, bits=BITS_LEN, radius=3) for some in (smiles[:DECOYS], smiles[-PUBLIC:]))
    return Known(Library(smiles=tuple(smiles[:DECOYS]), fingerprints=first), last)


def step(smiles: Sequence[str], trunk: Trunk, seed: int) -> Part:
    """Return a partner after one step on ``smiles``, one value each."""
    matrix, draw = fingerprints(smiles, bits=BITS_LEN, radius=3), np.random.default_rng(seed)
    heads = Heads(TASKS, trunk.width)
    with torch.no_grad():
        heads.weight.copy_(torch.from_numpy(draw.normal(0, 1 / (3 * trunk.width**0.5), (TASKS, trunk.width))))
    rows, task = np.arange(len(smiles)), draw.integers(0, TASKS, len(smiles))
    value = draw.normal(size=len(smiles)).astype(np.float32)
    trunk.zero_grad()
    output = heads(trunk(batch_of(matrix, rows)), torch.from_numpy(rows), torch.from_numpy(task))
    (0.5 * (output - torch.from_numpy(value)).square().mean()).backward()
    gradient = dict(trunk.named_parameters())["first.weight"].grad
    dense = np.zeros((BITS_LEN, HIDDEN[0]), np.float32) if gradient is None else gradient.to_dense().numpy()
    return Part(tuple(smiles), matrix, np.sign(value).astype(np.int8), (-RATE * dense).astype(np.float32))


def opened(sent: Sequence[Update], owners: int) -> NDArray[np.float64]:
    """Return the quantised sum, rows touched by fewer than ``owners`` partners withheld."""
    count = np.sum([update.any(axis=1) for update in sent], axis=0)
    total = np.sum([np.rint(update.astype(np.float64) / STEP) * STEP for update in sent], axis=0)
    return np.asarray(np.where((count >= owners)[:, None], total, 0.0))


def attacked(view: AdversaryView, truth: Truth) -> dict[str, Score | None]:
    """Return what the first-layer attacks get from ``view``, by name."""
    claims: dict[str, Claims] = {}
    scores: dict[str, Score | None] = {}
    attacks: tuple[Attack[Truth], ...] = (UNION, RECOVERY, LABELS, MOLECULES)
    for attack in attacks:
        earlier = claims.get(attack.needs or "", {})
        claims[attack.name] = attack.run(view, earlier)
        found = attack.score(claims[attack.name], earlier, truth).scores
        scores[attack.name] = next((score for score in found if score.metric == METRICS[attack.name]), None)
    return scores


def truth_of(parts: Sequence[Part], decoys: Library, draw: np.random.Generator) -> Truth:
    """Return the truth of a release by ``parts``; a coin says which compounds the library holds."""
    matrix = sp.vstack([part.matrix for part in parts], format="csr")
    smiles = tuple(one for part in parts for one in part.smiles)
    published = draw.random(len(smiles)) < 0.5
    library = Library(
        smiles=(*decoys.smiles, *(one for one, known in zip(smiles, published, strict=True) if known)),
        fingerprints=sp.vstack([decoys.fingerprints, matrix[published]], format="csr"),
    )
    return Truth(
        fingerprints=matrix,
        label=np.concatenate([part.label for part in parts]),
        library=decoys.fingerprints,
        known=np.zeros(0, dtype=np.int64),
        molecules=Molecules(smiles=smiles, fingerprints=matrix, published=published, library=library),
    )


def view_of(delta: NDArray[np.float64], trunk: Trunk, truth: Truth, *, noisy: bool) -> AdversaryView:
    """Return what the attacks read; without a fingerprint's radius no molecule is grown."""
    start = trunk.tensors()
    facts: dict[str, Fact] = {
        "noise": None if noisy else STEP / 12**0.5 * PARTNERS**0.5, "seconds": SECONDS, "radius": None, "targets": 0,
        "evaluations": 0, "bits": BITS_LEN,
    }  # fmt: skip
    layers = {"layer.0.weight": start["first.weight"], "layer.0.bias": start["first.bias"]}
    inner = {"layer.1.weight": start["layers.0.weight"].T.copy(), "layer.1.bias": start["layers.0.bias"]}
    tensors: dict[str, NDArray[Any]] = {"delta": delta, **layers, **inner, "order": np.zeros(0, np.int32)}
    tensors |= {"released": np.arange(BITS_LEN)}
    tensors |= {} if truth.molecules is None else dict(truth.molecules.library.pack())
    return AdversaryView(view="V1", tensors=tensors, facts=facts)


def differential(sent: Sequence[Update], parts: Sequence[Part], trunk: Trunk, owners: int) -> Score | None:
    """Return what the sums with and without the first partner tell of its bits."""
    start = trunk.tensors()["first.weight"].astype(np.float64)
    given, without = start + opened(sent, owners), start + opened(sent[1:], owners)
    has = [np.asarray(part.matrix.sum(axis=0)).ravel() > 0 for part in parts]
    view = AdversaryView(view="V1", tensors={"start": start, "without": without, "given": given}, facts={})
    truth = Differences(bringer=np.where(np.any(has[1:], axis=0), -1, first_having(parts[0].matrix)))
    found = BITS.score(BITS.run(view, {}), {}, truth).scores
    return next((score for score in found if score.metric == METRICS["differential_bits"]), None)


def pattern(delta: NDArray[np.float64], behind: Sequence[Part], public: sp.csr_matrix) -> NDArray[np.int64]:
    """Return for each member how many public compounds lie as high by the opened rows, values unseen, int64 (members,)."""
    opened_rows = np.zeros(BITS_LEN)
    opened_rows[union_of_bits(delta)] = 1.0

    def share(matrix: sp.csr_matrix) -> NDArray[np.float64]:
        return np.asarray((matrix @ opened_rows) / np.maximum(np.diff(matrix.indptr), 1), dtype=np.float64)

    others = np.sort(share(public))
    members = np.concatenate([share(part.matrix) for part in behind])
    return np.asarray(len(others) - np.searchsorted(others, members, side="left"), dtype=np.int64)


def told_by_pattern(above: Sequence[NDArray[np.int64]], public: int) -> Score:
    """Return how many members of all draws lie above all but one per cent of the ``public`` compounds, which draws share."""
    return tpr_at_fpr(-np.concatenate(above).astype(np.float64), -np.arange(1.0, public + 1), fpr=0.01)


def views_of(sent: Sequence[Update], parts: Sequence[Part], owners: int) -> dict[str, Release]:
    """Return what V3 and V1 see of a release, and whose compounds are behind it."""
    return {
        "V3": (opened(sent[:1], 1), parts[:1]),
        # The attacker is the last partner: it subtracts its own part from the rows that were opened.
        "V1": (_less_own(sent, owners), parts[:-1]),
    }


def sent_by(defence: Defence, parts: Sequence[Part], seed: int) -> list[Update]:
    """Return what every partner hands to aggregation on one draw."""
    draw = np.random.default_rng([seed, 1])
    return [defence.sends(part, draw) for part in parts]


def run_seed(
    defence: Defence, parts: Sequence[Part], trunk: Trunk, known: Known, seed: int
) -> tuple[dict[str, Score | None], dict[str, NDArray[np.int64]]]:
    """Return every attack's score from V3 and V1 on one draw, and by view what :func:`pattern` finds."""
    sent = sent_by(defence, parts, seed)
    noisy = defence.name.startswith("noise")
    scores: dict[str, Score | None] = {}
    patterns: dict[str, NDArray[np.int64]] = {}
    for name, (delta, behind) in views_of(sent, parts, defence.owners).items():
        patterns[name] = pattern(delta, behind, known.public)
        truth = truth_of(behind, known.decoys, np.random.default_rng([seed, 2]))
        found = attacked(view_of(delta, trunk, truth, noisy=noisy), truth)
        scores |= {f"{name}/{attack}": score for attack, score in found.items()}
    scores["V1/differential_bits"] = differential(sent, parts, trunk, defence.owners)
    return scores, patterns


def _less_own(sent: Sequence[Update], owners: int) -> NDArray[np.float64]:
    total = opened(sent, owners)
    own = np.rint(sent[-1].astype(np.float64) / STEP) * STEP
    known = np.asarray(total.any(axis=1))
    return np.asarray(np.where(known[:, None], total - own, 0.0))


def kept(defence: Defence, parts: Sequence[Part]) -> float:
    """Return the cosine between the sum with the defence and without it."""
    sent = [defence.sends(part, np.random.default_rng(0)) for part in parts]
    one, other = opened(sent, defence.owners).ravel(), opened([part.update for part in parts], 1).ravel()
    size = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / max(size, 1e-30)


def pooled(scores: Sequence[Score | None]) -> dict[str, object]:
    """Return counts over the seeds; an attack that had nothing to score found nothing."""
    counted = [score for score in scores if score is not None and score.k is not None and score.n]
    n = sum(score.n or 0 for score in counted)
    if not n:
        return {"k": 0, "n": 0, "at_chance": True}
    chance = sum(score.chance * (score.n or 0) for score in counted) / n
    size = sum(score.size or 0.0 for score in counted)
    return row(proportion("pooled", sum(score.k or 0 for score in counted), n, chance=chance, size=size))


def row(score: Score) -> dict[str, object]:
    """Return one leak of the table."""
    names = ("k", "n", "size", "value", "low", "high", "chance")
    found = {name: getattr(score, name) for name in names if getattr(score, name) is not None}
    return {**found, "at_chance": score.low <= score.chance}


def measured(defence: Defence, draws: Sequence[tuple[list[Part], Trunk]], known: Known) -> dict[str, object]:
    """Return one row of the table."""
    begin = time.process_time()
    seeds = [run_seed(defence, parts, trunk, known, seed) for seed, (parts, trunk) in enumerate(draws)]
    leaks = {name: pooled([scores[name] for scores, _ in seeds]) for name in seeds[0][0]}
    for view in seeds[0][1]:
        told = told_by_pattern([patterns[view] for _, patterns in seeds], known.public.shape[0])
        leaks[f"{view}/support_pattern"] = row(told)
    return {
        "defence": defence.name,
        "kept": float(np.mean([kept(defence, parts) for parts, _ in draws])),
        "leaks": leaks,
        "all_at_chance": all(bool(leak["at_chance"]) for leak in leaks.values()),
        "cpu_seconds": time.process_time() - begin,
    }


def draws_of(smiles: Sequence[str], each: int, seeds: int) -> list[tuple[list[Part], Trunk]]:
    """Return the partners and the trunk of every seed; ``smiles`` are in a random order."""
    draws = []
    for seed in range(seeds):
        trunk = Trunk(BITS_LEN, HIDDEN, generator=torch.Generator().manual_seed(SEED + seed))
        first = seed * PARTNERS * each
        groups = [smiles[first + p * each : first + (p + 1) * each] for p in range(PARTNERS)]
        draws.append(([step(group, trunk, 100 * seed + p) for p, group in enumerate(groups)], trunk))
    return draws


def content(rows: dict[str, dict[str, Any]], about: dict[str, object]) -> bytes:
    """Return the file with the rows that are known, in the order of the defences."""
    found = {
        **about, "partners": PARTNERS, "compounds_each": EACH, "environment": environment(),
        "defences": [rows[defence.name] for defence in DEFENCES if defence.name in rows],
    }  # fmt: skip
    return (json.dumps(found, indent=1) + "\n").encode()


def measured_before(path: Path, about: dict[str, object]) -> dict[str, dict[str, Any]]:
    """Return the rows in the file by defence, none if it was made about something else."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = all(found.get(name) == value for name, value in about.items())
    return {row["defence"]: row for row in found["defences"]} if same else {}


def main() -> None:
    """Measure every defence that the file lacks and write each one as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    smiles = sorted(set(pq.read_table(options.table, columns=["smiles"])["smiles"].to_pylist()))
    smiles = [smiles[i] for i in np.random.default_rng(SEED).permutation(len(smiles))]
    known = known_of(smiles)
    compounds = hashlib.sha256("\n".join(smiles).encode()).hexdigest()
    about = {"schema_version": "1.2", "seed": SEED, "seeds": options.seeds, "bits": BITS_LEN, "compounds_sha256": compounds}
    rows = measured_before(options.out, about)
    draws: dict[int, list[tuple[list[Part], Trunk]]] = {}
    for defence in DEFENCES:
        if defence.name in rows:
            continue
        if defence.each not in draws:
            draws[defence.each] = draws_of(smiles[DECOYS:], defence.each, options.seeds)
        rows[defence.name] = measured(defence, draws[defence.each], known)
        write_to_disk(options.out, content(rows, about))
        print(json.dumps({"defence": defence.name, "seconds": rows[defence.name]["cpu_seconds"]}), flush=True)


if __name__ == "__main__":
    main()
