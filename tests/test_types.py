"""Secrets do not leak through printing, formatting, hashing or pickling."""

from __future__ import annotations

import pickle  # noqa: TID251  (to show that a secret refuses it)

import pytest

from securefl.types import Secret, SystemRng


def test_a_secret_shows_its_length_only() -> None:
    secret = Secret(b"correct horse battery staple")
    assert repr(secret) == "Secret(28 bytes)"
    assert str(secret) == "Secret(28 bytes)"
    assert len(secret) == 28
    assert secret.expose() == b"correct horse battery staple"


def test_a_secret_compares_by_value() -> None:
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"


def test_a_secret_refuses_every_way_out() -> None:
    secret = Secret(b"key")
    with pytest.raises(TypeError, match="formatted"):
        f"{secret:>20}"
    with pytest.raises(TypeError, match="hashed"):
        hash(secret)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(secret)


def test_the_system_generator_gives_fresh_bytes() -> None:
    rng = SystemRng()
    assert len(rng.bytes(33)) == 33
    assert rng.bytes(32) != rng.bytes(32)
