"""Our membership attacks under the published protocol of Krueger et al. (J. Cheminform. 17:38, 2025), on their data.

    python -m benchmarks.membership_external ../shared/data/07_privacy_paper [--repeats 6] [--out FILE]

Each repeat splits a data set 45 / 10 / 45 into training, validation and test compounds, trains a target on the training part
and ten shadow models, each on a random half of training and test (so that every candidate is inside some and outside others),
and attacks training against half of the test compounds. ECFP4 of 2,048 bits, two hidden layers of 512 units, AdamW, batch 64.
The target follows the shadows' recipe to the letter: fixed hyper-parameters and a fixed number of epochs, no early stopping.
The relative-likelihood score is that of RMIA and of BASE at once (see ``attacks/rmia.py``). A permuted membership is the
negative control: its true positive rates must look like chance.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from attacks import auc, clopper_pearson, lira, membership_loss, rmia, tpr_at_fpr
from attacks.candidates import Candidates
from attacks.shadow_losses import Shadows
from securefl.chem.fingerprint import fingerprints

SEED = 20261121
SHADOWS, EPOCHS, BATCH, HIDDEN = 10, 15, 64, 512
BARS = {"lira": 0.0134, "rmia": 0.0126, "base": 0.0109, "loss": 0.0049}
"""Mean TPR at FPR 0 on bbb over six repeats, an earlier measurement under the same protocol."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """A data set: fingerprints float32 (n, bits) and labels float32 (n,)."""

    name: str
    x: torch.Tensor
    y: torch.Tensor


def read(folder: Path, name: str) -> Data:
    """Return the data set ``name`` of the folder."""
    table = pq.read_table(folder / f"{name}.parquet")
    x = fingerprints(table["smiles"].to_pylist(), bits=2048, radius=2).toarray().astype(np.float32)
    return Data(name, torch.from_numpy(x), torch.tensor(table["label"].to_pylist(), dtype=torch.float32))


def losses_of(data: Data, rows: NDArray[np.int64], *, seed: int) -> Floats:
    """Train a model on ``rows`` and return its logistic loss on every compound, shape (n,)."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(data.x.shape[1], HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN, HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN, 1),
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    picked = torch.from_numpy(rows)
    for _ in range(EPOCHS):
        for part in torch.split(picked[torch.randperm(len(picked), generator=generator)], BATCH):
            optimiser.zero_grad()
            torch.autograd.backward(binary_cross_entropy_with_logits(model(data.x[part])[:, 0], data.y[part]))
            optimiser.step()
    with torch.no_grad():
        found = binary_cross_entropy_with_logits(model(data.x)[:, 0], data.y, reduction="none")
    return found.double().numpy()


def repeat(data: Data, number: int) -> list[dict[str, Any]]:
    """Run the protocol once and return a row for each attack, and one for the control."""
    draw = np.random.default_rng([SEED, number])
    order = draw.permutation(len(data.y))
    n = len(order)
    train, test = order[: round(0.45 * n)], order[round(0.55 * n) :]
    target = losses_of(data, train, seed=int(draw.integers(2**31)))
    both = np.concatenate([train, test])
    inside = np.zeros((SHADOWS, n), dtype=bool)
    shadows = []
    for shadow in range(SHADOWS):
        half = draw.choice(both, len(both) // 2, replace=False)
        inside[shadow, half] = True
        shadows.append(losses_of(data, half, seed=int(draw.integers(2**31))))
    audited = np.concatenate([train, test[: len(test) // 2]])
    member = np.arange(len(audited)) < len(train)
    candidates = Candidates(member=member, compound=audited, partner=np.full(len(audited), -1), of_cell=cells(audited, n))
    known = Shadows(losses=np.stack(shadows), inside=inside)
    scores = {
        "loss": membership_loss(target, candidates),
        "lira": lira(target, candidates, known),
        "rmia": rmia(target, candidates, known, np.arange(n)),
    }
    rows = [row(data.name, number, name, score, member) for name, score in scores.items()]
    return [*rows, row(data.name, number, "control: permuted membership", scores["rmia"], draw.permutation(member))]


def cells(audited: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return each compound's candidate, -1 for none: every compound has one cell here."""
    of_cell = np.full(n, -1, dtype=np.int64)
    of_cell[audited] = np.arange(len(audited))
    return of_cell


def row(name: str, number: int, attack: str, score: Floats, member: NDArray[np.bool_]) -> dict[str, Any]:
    """Return an attack's figures in one repeat."""
    members, others = score[member], score[~member]
    at_zero, at_one = tpr_at_fpr(members, others, fpr=0.0), tpr_at_fpr(members, others, fpr=0.01)
    return {
        "data": name, "repeat": number, "attack": attack, "members": len(members), "non_members": len(others),
        "caught_at_fpr_0": at_zero.k, "tpr_at_fpr_0": at_zero.value, "tpr_at_fpr_1pct": at_one.value,
        "auc": auc(members, others).value,
    }  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the means over repeats; the interval is of the pooled counts, whose repeats share compounds."""
    found = []
    for name, attack in sorted({(r["data"], r["attack"]) for r in rows}):
        mine = [r for r in rows if (r["data"], r["attack"]) == (name, attack)]
        caught, members = sum(r["caught_at_fpr_0"] for r in mine), sum(r["members"] for r in mine)
        low, high = clopper_pearson(caught, members)
        found.append({
            "data": name, "attack": attack, "repeats": len(mine), "caught_at_fpr_0": caught, "members": members,
            "tpr_at_fpr_0": caught / members, "low": low, "high": high,
            "tpr_at_fpr_1pct": float(np.mean([r["tpr_at_fpr_1pct"] for r in mine])),
            "auc": float(np.mean([r["auc"] for r in mine])),
            "bar": BARS.get(attack) if name == "bbb" else None,
        })  # fmt: skip
    return found


def main() -> None:
    """Run the repeats, print a line for each, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=6, help="of bbb; ames has a third of them")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "membership_external.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, rows = time.perf_counter(), []
    for name, repeats in (("bbb", options.repeats), ("ames", options.repeats // 3)):
        data = read(options.folder, name) if repeats else None
        for number in range(repeats if data else 0):
            rows += repeat(data, number) if data else []
            print(*(json.dumps(r) for r in rows[-4:]), sep="\n", flush=True)
    result = {
        "schema_version": "1.0", "seed": SEED, "shadows": SHADOWS, "epochs": EPOCHS, "load": os.getloadavg()[0],
        "wall_seconds": time.perf_counter() - started, "summary": summary(rows), "repeats": rows,
    }  # fmt: skip
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
