"""The product against the vectors that the extracted oracle wrote: works without Coq."""

from __future__ import annotations

import pytest
from live_oracle import check_vectors, committed
from product_under_proof import OPERATIONS

pytestmark = pytest.mark.vector


def test_every_operation_has_vectors() -> None:
    assert {request.split(" ")[0] for request, _ in committed()} == set(OPERATIONS)


def test_quantizer_vectors() -> None:
    check_vectors("limit", "quantize", "quantize_stochastic", "encode", "centre")


def test_packing_vectors() -> None:
    check_vectors("pack", "unpack_signed", "signed")


def test_masking_vectors() -> None:
    check_vectors("masked_input", "unmask")


def test_shamir_vectors() -> None:
    check_vectors("horner", "combine")
