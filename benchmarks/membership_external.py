"""Our membership attacks under the published protocol of Krueger et al. (J. Cheminform. 17:38, 2025), on their data.

    python -m benchmarks.membership_external ../shared/data/07_privacy_paper [--bbb 6] [--ames 2] [--minutes 10]

Each repeat splits a data set 45 / 10 / 45 into training, validation and test compounds, trains a target on the training part
and ten shadow models, each on a random half of training and test (so that every candidate is inside some and outside others),
and attacks training against half of the test compounds. ECFP4 of 2,048 bits, two hidden layers of 512 units, AdamW, batch 64.
The target follows the shadows' recipe to the letter: fixed hyper-parameters and a fixed number of epochs, no early stopping.
BASE is the relative likelihood of RMIA here, the same score (see ``attacks/membership/rmia.py``). A permuted membership is the
negative control: its true positive rates must look like chance.

Every repeat is written as soon as it is done, and a call goes on with those that are missing. The mean over repeats has a t
interval, which holds what the threshold of each repeat adds; repeats draw their splits from the same compounds, so it
understates how much another data set would differ. Summed counts ``k`` of ``n`` have no interval for that reason. ``met``
compares the mean with an earlier measurement under the same protocol, which had an uncertainty of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from scipy import stats
from torch.nn.functional import binary_cross_entropy_with_logits

from attacks import auc, lira, membership_loss, rmia, tpr_at_fpr
from attacks.membership.candidates import Candidates
from attacks.membership.shadow_losses import Shadows
from attacks.score import certifiable_rates
from benchmarks.environment import environment
from securefl.chem.fingerprint import fingerprints
from securefl.files import write_to_disk

SEED = 20261121
SHADOWS, EPOCHS, BATCH, HIDDEN = 10, 15, 64, 512
BARS = {
    "bbb": {"lira": 0.0134, "rmia": 0.0126, "base": 0.0109, "loss": 0.0049},
    "ames": {"lira": 0.0, "rmia": 0.0012, "base": 0.0018, "loss": 0.0012},
}
"""Mean TPR at FPR 0 of an earlier measurement under the same protocol: six repeats of bbb, two of ames."""
RESULT = Path(__file__).parent / "results" / "membership_external.json"
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
    relative = rmia(target, candidates, known, np.arange(n))
    scores = {
        "loss": membership_loss(target, candidates),
        "lira": lira(target, candidates, known),
        "rmia": relative,
        "base": relative,
    }
    rows = [row(data.name, number, name, score, member) for name, score in scores.items()]
    return [*rows, row(data.name, number, "control: permuted membership", relative, draw.permutation(member))]


def cells(audited: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return each compound's candidate, -1 for none: every compound has one cell here."""
    of_cell = np.full(n, -1, dtype=np.int64)
    of_cell[audited] = np.arange(len(audited))
    return of_cell


def row(name: str, number: int, attack: str, score: Floats, member: NDArray[np.bool_]) -> dict[str, Any]:
    """Return an attack's figures in one repeat."""
    members, others = score[member], score[~member]
    scores = [tpr_at_fpr(members, others, fpr=rate) for rate in certifiable_rates(len(others))]
    return {
        "data": name, "repeat": number, "attack": attack, "members": len(members), "non_members": len(others),
        "auc": auc(members, others).value, **{score.metric: score.k for score in scores},
    }  # fmt: skip


def mean_interval(values: list[float]) -> dict[str, float | int | None]:
    """Return mean and 95 % t interval over repeats; one repeat has no interval."""
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5) if n > 1 else None
    return {"mean": mean, "low": None if half is None else mean - half, "high": None if half is None else mean + half, "n": n}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each attack's figures over its repeats, with the bar."""
    found = []
    for name, attack in sorted({(r["data"], r["attack"]) for r in rows}):
        mine = [r for r in rows if (r["data"], r["attack"]) == (name, attack)]
        one: dict[str, Any] = {"data": name, "attack": attack, "auc": mean_interval([r["auc"] for r in mine])}
        for metric in (name for name in mine[0] if name.startswith("tpr")):
            pooled = {"k": sum(r[metric] for r in mine), "n": sum(r["members"] for r in mine)}
            one[metric] = {**mean_interval([r[metric] / r["members"] for r in mine]), "pooled": pooled}
        bar = BARS[name].get(attack)
        found.append({**one, "bar": bar, "met": None if bar is None else one["tpr_at_fpr_0"]["mean"] >= bar})
    return found


def result(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole content of the file."""
    return {
        "schema_version": "1.2", "seed": SEED, "shadows": SHADOWS, "epochs": EPOCHS, "environment": environment("torch"),
        "non_members": {r["data"]: r["non_members"] for r in rows}, "summary": summary(rows), "repeats": rows,
    }  # fmt: skip


def known(path: Path) -> list[dict[str, Any]]:
    """Return the repeats in the file, none if it was made under another protocol."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = (content.get("seed"), content.get("shadows"), content.get("epochs")) == (SEED, SHADOWS, EPOCHS)
    return list(content["repeats"]) if same else []


def main() -> None:
    """Run the repeats that are missing, print a line for each, and write the JSON after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bbb", type=int, default=6, help="repeats")
    parser.add_argument("--ames", type=int, default=2, help="repeats, about four times as long each")
    parser.add_argument("--minutes", type=float, default=60, help="begin no repeat after so long")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, rows = time.monotonic(), known(options.out)
    done = {(r["data"], r["repeat"]) for r in rows}
    for name, repeats in (("bbb", options.bbb), ("ames", options.ames)):
        missing = [number for number in range(repeats) if (name, number) not in done]
        data = read(options.folder, name) if missing else None
        for number in missing:
            if data is None or time.monotonic() - started > 60 * options.minutes:
                break
            rows += repeat(data, number)
            write_to_disk(options.out, (json.dumps(result(rows), indent=1) + "\n").encode())
            print(json.dumps({"data": name, "repeat": number, "seconds": round(time.monotonic() - started)}), flush=True)


if __name__ == "__main__":
    main()
