"""Every mutant is caught by a test that INDEX.toml maps to its function, and every mapped function has a mutant."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

import pytest
from mutants import MUTANTS, Mutant, applied
from test_index import mapped_tests

from securefl.errors import SecureFLError

Failed = pytest.fail.Exception

CAUGHT = (AssertionError, ArithmeticError, LookupError, StopIteration, TypeError, ValueError, SecureFLError, Failed)
"""How a test can fail on a mutant, which may break anything."""


def runs_clean(test: str) -> bool:
    """Run one test of the index in this process; return whether it passes."""
    path, _, name = test.partition("::")
    check = cast(Callable[[], None], getattr(importlib.import_module(path.rsplit("/", 1)[1].removesuffix(".py")), name))
    try:
        check()
    except CAUGHT:
        return False
    return True


def test_every_mapped_function_has_a_mutant() -> None:
    assert {mutant.function for mutant in MUTANTS} == set(mapped_tests())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_caught(mutant: Mutant) -> None:
    with applied(mutant):
        assert not all(runs_clean(test) for test in mapped_tests()[mutant.function]), f"{mutant.name} survives"


@pytest.mark.parametrize("function", sorted(mapped_tests()))
def test_the_right_code_is_not_caught(function: str) -> None:
    """The control: the function itself, compiled and put in place like a mutant, passes the same tests."""
    with applied(Mutant(function, "", "")):
        assert all(runs_clean(test) for test in mapped_tests()[function])
