"""Lagrange's weights for every polynomial: the product's `_evaluate` on formal linear forms, not on sampled numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, cast

from securefl.crypto import shamir


@dataclass(frozen=True)
class Form:
    """A linear form in unknown coefficients over the product's field: what `_evaluate` can compute with."""

    weights: tuple[int, ...]

    def __add__(self, other: Form | int) -> Form:
        if isinstance(other, int):
            assert other == 0
            return self
        return Form(tuple((a + b) % shamir.PRIME for a, b in zip(self.weights, other.weights, strict=True)))

    __radd__ = __add__

    def __mul__(self, factor: int) -> Form:
        return Form(tuple(weight * factor % shamir.PRIME for weight in self.weights))

    __rmul__ = __mul__

    def __mod__(self, prime: int) -> Form:
        assert prime == shamir.PRIME
        return self


def unknowns(threshold: int) -> list[Form]:
    """Return the coefficients of a polynomial as unknowns; the first is the secret."""
    return [Form(tuple(int(i == k) for i in range(threshold))) for k in range(threshold)]


def test_lagrange_for_every_polynomial() -> None:
    """Any t of 7 points give the secret of every polynomial with t coefficients, t <= 5."""
    for threshold in range(1, 6):
        coefficients = unknowns(threshold)
        for points in combinations([1, 2, 3, 5, 8, 500, 999], threshold):
            weights = shamir._weights_at_zero(points)
            shares = {point: cast(Any, shamir._evaluate)(coefficients, point) for point in points}
            total = sum((shares[point] * weights[point] for point in points), Form((0,) * threshold))
            assert total == coefficients[0]


def test_too_few_points_do_not() -> None:
    """The negative control: t - 1 points give another form than the secret."""
    for threshold in range(2, 6):
        points = tuple(range(1, threshold))
        weights = shamir._weights_at_zero(points)
        shares = {point: cast(Any, shamir._evaluate)(unknowns(threshold), point) for point in points}
        total = sum((shares[point] * weights[point] for point in points), Form((0,) * threshold))
        assert total != unknowns(threshold)[0]
