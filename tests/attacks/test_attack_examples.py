"""The examples in the docstrings of the attacks are what the code says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import attacks

MODULES = sorted(found.name for found in pkgutil.walk_packages(attacks.__path__, "attacks."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name: str) -> None:
    """A rounding in ``attacks.score`` was wrong, and nothing ran it."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    assert sum(bool(one.examples) for name in MODULES for one in finder.find(importlib.import_module(name))) > 20
