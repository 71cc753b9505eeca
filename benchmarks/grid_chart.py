"""Draw what the grid measured: CPU seconds and bytes against coordinates, one line a scheme.

python benchmarks/grid_chart.py [benchmarks/results/grid.json] writes an SVG beside the JSON.
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

COLOURS = {
    "plaintext": "#8a8a8a",
    "masking": "#0072b2",
    "masking-static": "#56b4e9",
    "rlwe": "#cc79a7",
    "bfv": "#009e73",
    "ckks": "#e69f00",
    "paillier single-decryptor": "#d55e00",
    "paillier": "#000000",
}
"""Okabe and Ito's colours, which people with colour blindness can tell apart."""

SHOWN_CLIENTS = 10
PANELS = (
    ("client_seconds", "one client, seconds"),
    ("decryptor_seconds", "all decryptors together, seconds"),
    ("bytes_up_per_parameter", "bytes up for each coordinate"),
)


def lines(cells: list[dict[str, Any]], field: str, n: int) -> dict[str, list[tuple[int, float]]]:
    """Return the points (d, value) of each scheme at ``n`` clients, zeros left out (a log axis has none)."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for cell in cells:
        if cell["n"] == n and cell.get(field, 0) > 0:
            found[cell["scheme"]].append((cell["d"], cell[field]))
    return {scheme: sorted(points) for scheme, points in found.items()}


def draw(content: dict[str, Any], out: Path) -> None:
    """Write the chart of ``content`` to ``out``."""
    n = SHOWN_CLIENTS
    clients = {scheme: points[-1] for scheme, points in lines(content["cells"], PANELS[0][0], n).items()}
    # The dearest for a client, by coordinate, stands at the top of the legend, as its line does.
    order = sorted(clients, key=lambda scheme: -clients[scheme][1] / clients[scheme][0])
    figure, axes = plt.subplots(1, len(PANELS), figsize=(12.6, 3.8), layout="constrained")
    for axis, (field, title) in zip(axes, PANELS, strict=True):
        found = lines(content["cells"], field, n)
        for scheme in filter(found.__contains__, order):
            xs, ys = zip(*found[scheme], strict=True)
            axis.plot(xs, ys, marker="o", color=COLOURS[scheme], label=scheme)
        axis.set(xscale="log", xlabel="coordinates", title=title)
        if field.startswith("bytes"):
            axis.set_ylim(bottom=0)
        else:
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.suptitle(f"What one round costs with {n} clients (CPU seconds of one core)")
    figure.savefig(out)


def main() -> None:
    """Draw the chart of the JSON that is named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parent / "results" / "grid.json"
    parser.add_argument("source", type=Path, nargs="?", default=default)
    options = parser.parse_args()
    draw(json.loads(options.source.read_text(encoding="utf-8")), options.source.with_suffix(".svg"))


if __name__ == "__main__":
    main()
