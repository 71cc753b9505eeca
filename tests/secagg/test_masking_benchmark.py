"""The committed figures of the masking benchmark keep their bars, and what can be measured without a clock is measured here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.masking import RESULT, RecordedClient, bars, peak_memory
from securefl.crypto.keystream import Cipher


def test_the_committed_figures_keep_every_bar() -> None:
    figures = json.loads(Path(RESULT).read_text(encoding="utf-8"))
    assert figures["length"] == 10_000_000
    assert figures["bars"] == bars(figures)
    assert all(figures["bars"].values()), figures["bars"]


@pytest.mark.parametrize("cipher", Cipher)
def test_a_client_holds_at_most_three_vectors_beyond_its_input(cipher: Cipher) -> None:
    assert peak_memory(2_000_000, cipher)["vectors"] <= 3.0


def test_four_bytes_a_parameter_beyond_a_constant() -> None:
    short, long = (RecordedClient(length, Cipher.AES_256).bytes_up for length in (1_000, 51_000))
    assert long - short == 4 * 50_000
