"""Who may import whom: parses every import and fails on an edge that DESIGN does not draw, and on any circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE = {"errors", "types", "files", "plugins", "recipes", "config", "record_base", "measures", "evidence", "records"}
# package -> packages that it may import, beside itself and BASE
ALLOWED: dict[str, set[str]] = {
    "crypto": set(),
    "quantize": {"crypto"},
    "secagg": {"crypto", "quantize"},
    "dp": {"crypto"},
    "chem": set(),
    "learning": {"crypto", "quantize", "secagg", "dp", "chem"},
    "federation": {"crypto", "quantize", "secagg", "dp", "chem", "learning"},
    "evaluation": {"crypto", "quantize", "secagg", "dp", "chem", "learning", "federation"},
    "report": {"crypto", "quantize", "secagg", "dp", "federation", "evaluation"},
    "cli": {"crypto", "quantize", "secagg", "dp", "chem", "learning", "federation", "evaluation", "report", "attacks"},
}
TORCH = {"learning", "federation", "evaluation"}


def modules() -> dict[str, Path]:
    """Every module of securefl and attacks by its dotted name."""
    found = {}
    for package in ("securefl", "attacks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


def imports_of(name: str, path: Path) -> set[str]:
    """Dotted names that a module imports, relative ones resolved."""
    found: set[str] = set()
    parts = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level + 1] if node.level else []
            stem = ".".join([*base, *(node.module.split(".") if node.module else [])])
            found |= {stem} | {f"{stem}.{alias.name}" for alias in node.names}
    return found


def area(name: str) -> str:
    """``securefl.secagg.base`` -> ``secagg``; ``attacks.x`` -> ``attacks``; ``securefl`` -> ``""``."""
    parts = name.split(".")
    if parts[0] == "attacks":
        return "attacks"
    return parts[1] if len(parts) > 1 else ""


def forbidden_edges(source: str, targets: set[str], known: set[str]) -> list[str]:
    """The imports of one module that DESIGN does not allow."""
    here = area(source)
    bad = []
    for target in sorted(targets):
        if target.split(".")[0] not in ("securefl", "attacks", "tests"):
            continue
        there = area(target)
        if target.split(".")[0] == "tests":
            bad.append(target)
        elif there in ("", here) or there in BASE or (there == "__version__" and target not in known):
            continue
        elif here == "attacks":
            if there == "cli":
                bad.append(target)
        elif here == "" or here in BASE or there not in ALLOWED.get(here, set()):
            bad.append(target)
    return bad


@pytest.mark.parametrize("name", sorted(modules()))
def test_only_drawn_edges(name: str) -> None:
    known = set(modules())
    path = modules()[name]
    if area(name) in BASE:
        targets = {t for t in imports_of(name, path) if t.startswith("securefl.")}
        assert {area(t) for t in targets} <= BASE
        return
    assert forbidden_edges(name, imports_of(name, path), known) == []


def test_a_forbidden_edge_is_found() -> None:
    assert forbidden_edges("securefl.crypto.x", {"securefl.learning.trunk"}, set()) == ["securefl.learning.trunk"]
    assert forbidden_edges("securefl.report.x", {"attacks.audit"}, set()) == ["attacks.audit"]
    assert forbidden_edges("attacks.x", {"securefl.cli.main"}, set()) == ["securefl.cli.main"]


def test_torch_only_where_models_are() -> None:
    users = {
        name
        for name, path in modules().items()
        if any(t.split(".")[0] in ("torch", "opacus") for t in imports_of(name, path))
    }
    assert {area(name) for name in users} <= TORCH | {"attacks", "dp", "cli"}
    assert not [n for n in users if area(n) == "dp" and any(t.startswith("torch") for t in imports_of(n, modules()[n]))]


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of the import graph, or []."""
    state: dict[str, int] = {}

    def visit(node: str, path: list[str]) -> list[str]:
        if state.get(node) == 1:
            return [*path[path.index(node) :], node]
        if state.get(node) == 2:
            return []
        state[node] = 1
        for target in sorted(graph[node]):
            circle = visit(target, [*path, node])
            if circle:
                return circle
        state[node] = 2
        return []

    for node in sorted(graph):
        circle = visit(node, [])
        if circle:
            return circle
    return []


def test_no_circles() -> None:
    known = modules()
    # a package's own __init__ re-exports its modules: that edge is no circle
    graph = {
        name: {
            t
            for t in imports_of(name, path)
            if t in known and t != name and not t.startswith(name + ".") and not name.startswith(t + ".")
        }
        for name, path in known.items()
    }
    assert find_circle(graph) == []
    assert find_circle({"a": {"b"}, "b": {"a"}}) == ["a", "b", "a"]


def test_no_visible_top_level_beyond_the_fixed_ones() -> None:
    allowed = {
        "securefl", "attacks", "benchmarks", "proofs", "tests", "notebooks", "pyproject.toml", "README.md", "Makefile",
        "LICENSE", "CHANGELOG.md", "SECURITY.md", "constraints.txt", "requirements-data.txt",
    }  # fmt: skip
    built = {"build", "dist", "runs"}
    visible = {p.name for p in ROOT.iterdir() if not p.name.startswith(".") and not p.name.endswith(".egg-info")}
    assert visible - built <= allowed


def test_no_bad_file_names() -> None:
    forbidden = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler"}
    assert not {name for name in modules() if name.split(".")[-1] in forbidden}
