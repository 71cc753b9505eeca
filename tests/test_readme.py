"""What the README shows runs as it stands there: the attack finds what is to be found; its scheme: tests/test_plugins.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.score import proportion
from attacks.view import Truth
from benchmarks.grid import LINES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LONGEST = 28


def example(name: str) -> dict[str, Any]:
    """Return the names that the README's code block ``name`` defines."""
    (block,) = (code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if name in code.splitlines()[0])
    names: dict[str, Any] = {
        "AdversaryView": AdversaryView, "Attack": Attack, "Claims": Claims, "Found": Found, "Truth": Truth, "np": np,
        "proportion": proportion,
    }  # fmt: skip
    exec(compile(block, name, "exec"), names)  # noqa: S102 - our own README
    return names


def test_examples_are_short() -> None:
    """Of a scheme and of an attack: at most so many lines beside imports."""
    blocks = re.findall(r"```python\n(# \w+\.py.*?)```", README, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        assert len([line for line in block.splitlines() if line.strip() and not re.match("from|import", line)]) <= LONGEST


@pytest.mark.statistical
def test_the_attack_finds_the_commonest_bit_and_nothing_in_noise() -> None:
    attack, draw = example("commonest_bit.py")["COMMONEST"], np.random.default_rng(0)

    def hits(signal: float) -> int:
        found = 0
        for _ in range(20):
            compounds = (draw.random((30, 200)) < 0.05).astype(np.uint8)
            compounds[:, 7] = 1
            delta = signal * compounds.T @ np.abs(draw.normal(size=(30, 16))) + draw.normal(size=(200, 16))
            view = AdversaryView(view="V2", tensors={"delta": delta}, facts={})
            nobody = np.zeros(0, dtype=np.int64)
            matrix = sp.csr_matrix(compounds)
            truth = Truth(fingerprints=matrix, label=np.zeros(30, np.int8), library=matrix[:0], known=nobody)
            (score,) = attack.score(attack.run(view.only(attack.reads), {}), {}, truth).scores
            assert score.chance == pytest.approx(1 / 200)
            found += score.k
        return found

    assert hits(1.0) == 20
    assert hits(0.0) <= 2


def test_aggregating_from_python_is_as_shown() -> None:
    (block,) = (code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "my_updates" in code)
    names: dict[str, Any] = {"my_updates": [np.full(9, 0.1 * i) for i in (1, 2, 3, 4)]}
    exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - our own README
    result = names["result"]
    assert result.survivors == {1, 3, 4}
    np.testing.assert_allclose(result.total, 0.8, atol=1e-5)


def test_the_figures_of_the_protocols_are_those_of_the_grid() -> None:
    cells = json.loads((ROOT / "benchmarks/results/grid.json").read_text(encoding="utf-8"))["cells"]
    measured = {(c["scheme"], c["d"]): c for c in cells if c["n"] == 10 and "skipped" not in c}
    rows = re.findall(r"^\| `([a-z -]+)` \|.*\| 10\^(\d) \| (\S+) \| (\S+) \| (\S+) \|$", README, re.MULTILINE)
    assert {name for name, *_ in rows} == set(LINES)
    for name, power, client, decryptors, up in rows:
        cell = measured[name, 10 ** int(power)]
        assert float(client) == pytest.approx(cell["client_seconds"], rel=0.06)
        assert float(decryptors) == pytest.approx(cell["decryptor_seconds"], rel=0.06)
        assert float(up) == pytest.approx(cell["bytes_up_per_parameter"], abs=0.06)
