"""The oracle that Coq extracts, as a process; built by ``make proofs``, absent on a machine without Coq."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path

import pytest
from product_under_proof import answer

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "proofs" / "build" / "oracle"
VECTORS = ROOT / "proofs" / "vectors" / "oracle.json"

needs_oracle = pytest.mark.skipif(not PROGRAM.exists(), reason="the oracle is not built: `make proofs` builds it (needs Coq)")


class Oracle:
    """Asks the extracted reference one request at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def __call__(self, request: str) -> str:
        """Return the oracle's answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def agree(oracle: Oracle, request: str) -> None:
    """Check that product and oracle give one answer."""
    expected = oracle(request)
    assert not expected.startswith("error"), f"{request}: {expected}"
    assert answer(request) == expected, request


@cache
def committed() -> tuple[tuple[str, str], ...]:
    """Return the committed vectors as (request, answer)."""
    return tuple((row["request"], row["answer"]) for row in json.loads(VECTORS.read_text()))


def check_vectors(*operations: str) -> None:
    """Compare the product with every committed vector of some operations."""
    rows = [row for row in committed() if row[0].split(" ")[0] in operations]
    assert {row[0].split(" ")[0] for row in rows} == set(operations)
    for request, expected in rows:
        assert answer(request) == expected, request
