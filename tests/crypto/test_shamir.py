"""Shamir's sharing: any threshold shares give the secret, fewer say nothing about it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securefl.crypto.shamir import PRIME, SHARE_SIZE, combine, rand_size, read_share, split
from securefl.errors import DecodeError, ParameterError, VerificationError
from securefl.types import Secret, SystemRng


def test_the_modulus_is_prime() -> None:
    """Fermat to 40 bases: a composite passes with probability below 2^-80."""
    assert all(pow(base, PRIME - 1, PRIME) == 1 for base in range(2, 42))


@pytest.mark.property
@given(st.binary(min_size=32, max_size=32), st.integers(1, 5), st.integers(0, 4), st.randoms())
def test_any_threshold_of_shares_gives_the_secret(value: bytes, threshold: int, extra: int, random: object) -> None:
    points = [3 * i + 1 for i in range(threshold + extra)]
    rand = bytes((i * 31 + value[0]) % 256 for i in range(rand_size(threshold)))
    shares = split(Secret(value), threshold=threshold, points=points, rand=rand)
    for chosen in itertools.combinations(points, threshold):
        assert combine({point: shares[point] for point in chosen}).expose() == value


def test_one_share_too_few_is_consistent_with_every_secret() -> None:
    """For t - 1 shares and any other secret there is exactly one polynomial: interpolate it and compare."""
    points = [1, 2, 3, 4, 5]
    shares = split(Secret(b"a" * 32), threshold=3, points=points, rand=bytes(range(96)))
    other = int.from_bytes(b"b" * 32, "little")
    known = {0: other, 1: read_share(shares[1]), 2: read_share(shares[2])}

    def at(x: int) -> int:
        total = 0
        for i, y in known.items():
            term = y
            for j in known:
                if j != i:
                    term = term * (x - j) * pow(i - j, -1, PRIME) % PRIME
            total += term
        return total % PRIME

    forged = {1: shares[1], 2: shares[2], 5: Secret(at(5).to_bytes(SHARE_SIZE, "little"))}
    assert combine(forged).expose() == b"b" * 32


def test_a_wrong_share_changes_the_secret() -> None:
    shares = split(Secret(b"a" * 32), threshold=2, points=[1, 2], rand=bytes(48))
    moved = (read_share(shares[2]) - 1) % PRIME
    assert combine({1: shares[1], 2: Secret(moved.to_bytes(SHARE_SIZE, "little"))}).expose() != b"a" * 32


def test_a_value_above_the_secrets_is_refused() -> None:
    with pytest.raises(VerificationError, match="32-byte secret"):
        combine({1: Secret((PRIME - 1).to_bytes(SHARE_SIZE, "little"))})


@pytest.mark.parametrize("share", [PRIME.to_bytes(SHARE_SIZE, "little"), b"\xff" * SHARE_SIZE, bytes(SHARE_SIZE - 1)])
def test_a_share_that_is_not_canonical_is_refused(share: bytes) -> None:
    with pytest.raises(DecodeError, match="canonical"):
        read_share(Secret(share))


@pytest.mark.parametrize(
    ("threshold", "points", "rand", "size"),
    [(0, [1], b"", 32), (3, [1, 2], bytes(96), 32), (2, [1, 1], bytes(48), 32), (2, [0, 1], bytes(48), 32),
     (2, [1, 2], bytes(47), 32), (2, [1, 2], bytes(48), 31)],
)  # fmt: skip
def test_parameters_outside_their_bounds_are_refused(threshold: int, points: list[int], rand: bytes, size: int) -> None:
    with pytest.raises(ParameterError):
        split(Secret(bytes(size)), threshold=threshold, points=points, rand=rand)


@pytest.mark.statistical
def test_a_share_of_two_very_different_secrets_has_the_same_distribution_and_the_secret_itself_has_not() -> None:
    """Mean of the top bit-bucket of share 1 over 4000 sharings; the control compares the secrets themselves."""
    rng = SystemRng()
    means = []
    for value in (bytes(32), b"\xff" * 32):
        values = [
            read_share(split(Secret(value), threshold=2, points=[1, 2], rand=rng.bytes(48))[1]) / PRIME for _ in range(4000)
        ]
        means.append(sum(values) / len(values))
    # The mean of 4000 uniforms has standard deviation 0.0046; 6 sigma of the difference is 0.039: a false alarm in 5e8 runs.
    assert abs(means[0] - means[1]) < 0.039
    assert abs(0.0 - int.from_bytes(b"\xff" * 32, "little") / PRIME) > 0.039
