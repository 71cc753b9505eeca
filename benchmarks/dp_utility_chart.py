"""Draw what epsilon costs: test-fold performance against epsilon, a line for each start, a panel for each kind of heads.

python -m benchmarks.dp_utility_chart [benchmarks/results/dp_utility.json] writes an SVG beside the JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

COLOURS = {"fresh": "#0072b2", "local": "#009e73", "public": "#d55e00"}
"""Of the start, by Okabe and Ito, whose colours people with colour blindness can tell apart."""
GREY = "#6a6a6a"
STARTS = {"fresh": "fresh start", "local": "partner-local start of the heads", "public": "public start of the trunk"}
HEADS = {"refitted": "heads refitted by their owner", "noisy": "heads as the noise left them"}
INFINITY = "\u221e"
REFERENCES = {
    ("standalone", "fresh"): ("every partner alone", "dotted"),
    ("plaintext", "fresh"): ("federation without privacy", "solid"),
    ("untrained", "public"): ("public trunk, own heads: epsilon 0", "dashdot"),
}


def lines(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the points of each (start, heads), by epsilon; infinity, which a record says as none, comes last."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["start"], row["heads"]].append(row)
    return {line: sorted(points, key=lambda row: row["dp"]["epsilon"] or float("inf")) for line, points in found.items()}


def name_of(row: dict[str, Any]) -> str:
    """Return a point's place on the axis, the epsilon that its arm asks for."""
    asked = str(row["arm"]).partition("=")[2]
    return INFINITY if asked == "inf" else asked


def draw(content: dict[str, Any], out: Path) -> None:
    """Write the chart of ``content`` to ``out``: a panel for each kind of heads, because noisy ones need another scale."""
    points = lines(content["rows"])
    names = sorted({name_of(row) for row in content["rows"]}, key=lambda name: float(name.replace(INFINITY, "inf")))
    figure, axes = plt.subplots(1, len(HEADS), figsize=(11, 4.6), layout="constrained")
    for axis, (heads, title) in zip(axes, HEADS.items(), strict=True):
        for shift, start in enumerate(COLOURS):
            _line(axis, points.get((start, heads), []), names, shift=0.05 * (shift - 1), start=start)
        _references(axis, content["references"])
        axis.set_xticks(range(len(names)), names)
        axis.set(title=title, xlabel="epsilon of a compound (smaller is more private)")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"{content['rows'][0]['metric']}, test fold")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"Utility against epsilon: mean of {len(content['seeds'])} seeds, 95 % t interval over seeds")
    figure.savefig(out)
    plt.close(figure)


def _line(axis: Axes, rows: list[dict[str, Any]], names: list[str], *, shift: float, start: str) -> None:
    # Side by side, or the intervals would hide each other.
    xs = [names.index(name_of(row)) + shift for row in rows]
    means = [row["mean"] for row in rows]
    spread = [[row["mean"] - row["ci_low"] for row in rows], [row["ci_high"] - row["mean"] for row in rows]]
    axis.errorbar(xs, means, yerr=spread, marker="o", capsize=3, color=COLOURS[start], label=f"private, {STARTS[start]}")


def _references(axis: Axes, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        shown = REFERENCES.get((row["arm"], row["start"]))
        if shown is not None:
            axis.axhline(row["mean"], color=GREY, linestyle=shown[1], label=shown[0])


def main() -> None:
    """Draw the chart of the JSON that is named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, nargs="?", default=Path(__file__).parent / "results" / "dp_utility.json")
    options = parser.parse_args()
    draw(json.loads(options.source.read_text(encoding="utf-8")), options.source.with_suffix(".svg"))


if __name__ == "__main__":
    main()
