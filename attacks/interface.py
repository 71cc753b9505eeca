"""What an attack is: a frozen object that reads a view and claims something; what a view is; who scores.

An attack never meets the truth. The framework writes the tensors that the attack says it *reads* into a file, runs it in a
process that can open that file alone (:mod:`attacks.isolation`), takes its claims back, and compares them with the truth
here. So a score is made by code that the attack has no hand in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from numpy.typing import NDArray

from attacks.score import Score
from securefl.errors import ParameterError
from securefl.records import View

Asset = Literal["membership", "structure", "label", "substructure", "assay", "identity"]
Tensors: TypeAlias = Mapping[str, NDArray[Any]]
Claims: TypeAlias = Tensors
"""What an attack says: arrays by name, as its scorer understands them."""
Fact: TypeAlias = float | int | str | bool | None
Truth = TypeVar("Truth")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversaryView:
    """Everything that one adversary may read: ``tensors`` and ``facts`` by name. Nothing else of the run reaches an attack."""

    view: View
    tensors: Tensors = field(repr=False)
    facts: Mapping[str, Fact]

    def only(self, names: tuple[str, ...]) -> AdversaryView:
        """Return the view with the tensors ``names`` alone; ``layer.*`` stands for all whose names begin so.

        Raises:
            ParameterError: the view has none of that name.
        """
        kept: dict[str, NDArray[Any]] = {}
        for name in names:
            stem = name.removesuffix("*")
            found = {n: t for n, t in self.tensors.items() if n == name or (stem != name and n.startswith(stem))}
            if not found:
                raise ParameterError(f"view {self.view} holds no {name!r}, only {', '.join(sorted(self.tensors))}")
            kept |= found
        return replace(self, tensors=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the scorer makes of claims: scores with intervals, figures beside them, and a note in one clause."""

    scores: tuple[Score, ...] = ()
    detail: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack(Generic[Truth]):
    """One attack.

    Attributes:
        name: as records, appetites and the command line name it. asset: what is lost if it succeeds.
        views: from where it can be run. reads: the tensors that it gets, and no others.
        run: view, and the claims of the attack that it ``needs``, to claims; called in a process that holds nothing else.
        score: claims of this attack and of the one that it needs, with the truth, to scores; called by the framework.
        needs: an attack whose claims it starts from, run before it on the same view.
    """

    name: str
    asset: Asset
    views: tuple[View, ...]
    reads: tuple[str, ...]
    run: Callable[[AdversaryView, Claims], Claims]
    score: Callable[[Claims, Claims, Truth], Found]
    needs: str | None = None
