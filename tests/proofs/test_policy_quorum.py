"""The policy admits exactly the thresholds that Quorum.v proves safe: exhaustive for small cohorts."""

from __future__ import annotations

from securefl.errors import ParameterError
from securefl.secagg.policy import Policy

LARGEST = 14


def split_attack_exists(n: int, t: int, c: int) -> bool:
    """Two disjoint sets of honest clients, each with the c corrupted ones, reach t: Quorum.split_attack."""
    honest = n - c
    return any(a + c >= t and b + c >= t for a in range(honest + 1) for b in range(honest + 1 - a))


def admitted(n: int, t: int, c: int) -> bool:
    """Whether the product takes these numbers (the minimum of survivors is out of the way)."""
    try:
        Policy(parties=n, threshold=t, colluders=c, minimum=2)
    except ParameterError:
        return False
    return True


def test_policy_admits_exactly_the_safe_thresholds() -> None:
    seen = 0
    for n in range(2, LARGEST + 1):
        for c in range(n - 1):
            for t in range(1, n + 1):
                assert split_attack_exists(n, t, c) == (2 * t <= n + c)
                if 2 + c <= n:
                    assert admitted(n, t, c) != split_attack_exists(n, t, c)
                    seen += 1
    assert seen > 500


def test_smallest_threshold_is_the_bound() -> None:
    for n in range(3, LARGEST + 1):
        for c in range(n - 1):
            smallest = Policy.smallest(n, colluders=c).threshold
            assert not split_attack_exists(n, smallest, c)
            assert split_attack_exists(n, smallest - 1, c)
