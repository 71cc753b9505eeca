"""INDEX.toml: every theorem, Python function and test that it names exists; every claim has its instance or control."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from mutants import locate

ROOT = Path(__file__).resolve().parents[2]
COQ = ROOT / "proofs" / "coq"
DECLARATION = r"^\s*(?:Theorem|Lemma|Corollary|Example)\s+{}\b"


@cache
def claims() -> tuple[dict[str, Any], ...]:
    """Return the claims of the index."""
    return tuple(tomllib.loads((ROOT / "proofs" / "INDEX.toml").read_text())["claim"])


def mapped_tests() -> dict[str, list[str]]:
    """Return, for each mapped Python function, the tests that any claim names beside it."""
    found: dict[str, list[str]] = {}
    for claim in claims():
        for function, tests in claim.get("python", {}).items():
            found.setdefault(function, []).extend(test for test in tests if test not in found.get(function, []))
    return found


def test_theorems_exist() -> None:
    for claim in claims():
        names = [*claim["theorems"], *claim.get("instances", []), *claim.get("controls", [])]
        for name in names:
            file, _, theorem = name.partition(".")
            content = (COQ / f"{file}.v").read_text()
            assert re.search(DECLARATION.format(re.escape(theorem)), content, re.MULTILINE), name


def test_every_claim_has_theorems_and_a_control() -> None:
    for claim in claims():
        assert claim["theorems"], claim["id"]
        assert claim["controls"], claim["id"]
        assert claim["says"].endswith("."), claim["id"]
    assert len({claim["id"] for claim in claims()}) == len(claims())


def test_claims_without_code_say_so() -> None:
    for claim in claims():
        about_model = "About the model alone" in claim["says"] or claim["id"] in {"generator", "shared-seeds"}
        assert bool(claim.get("python")) != about_model, claim["id"]


def test_functions_exist() -> None:
    for function in mapped_tests():
        owner, name = locate(function)
        assert callable(getattr(owner, name)), function


def test_tests_exist() -> None:
    for tests in mapped_tests().values():
        assert tests
        for test in tests:
            path, _, name = test.partition("::")
            tree = ast.parse((ROOT / path).read_text())
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_readme_names_every_claim() -> None:
    readme = (ROOT / "proofs" / "README.md").read_text()
    for claim in claims():
        assert f"`{claim['id']}`" in readme, claim["id"]


def test_every_theory_compiles_with_the_others() -> None:
    """The Makefile lists every theory, and no theory is outside it."""
    listed = re.search(r"^FILES\s*:=(.*?)\n\n", (COQ / "Makefile").read_text(), re.DOTALL | re.MULTILINE)
    assert listed is not None
    assert set(listed.group(1).replace("\\", " ").split()) == {path.stem for path in COQ.glob("*.v")}
