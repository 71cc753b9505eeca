"""Contrast of text on its ground, in light, dark and print, as WCAG 2.2 level AA asks: 4.5 to 1, and 3 to 1 for drawings."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

TEXT = [
    ("ink", "paper"), ("ink", "surface"), ("muted", "paper"), ("muted", "surface"), ("muted", "tint"), ("accent", "paper"),
    ("accent", "surface"), ("accent", "tint"), ("pass", "pass-bg"), ("pass", "surface"), ("pass", "wash"), ("pass", "paper"),
    ("fail", "fail-bg"),
    ("fail", "surface"), ("surface", "fail"), ("open", "open-bg"), ("none", "none-bg"), ("none", "surface"),
    ("none", "tint"), ("none", "paper"),
    *(("on-heat", shade) for shade in ("c0", "c1", "c2", "c3", "w1", "w2", "w3")),
]  # fmt: skip
LINES = [(f"a{number}", "surface") for number in range(9)]


def palettes() -> dict[str, dict[str, str]]:
    """Return the variables of each theme, by the rule that sets them."""
    css = (files("securefl.report") / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    names = ("light", "dark", "print")
    found = {}
    for name, block in zip(names, blocks, strict=True):
        found[name] = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
    return found


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour like ``#1c2228``."""
    digits = colour.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(2 * d for d in digits)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_can_be_read(theme: str) -> None:
    colours = palettes()[theme]
    weak = {(a, b): contrast(colours[a], colours[b]) for a, b in TEXT if contrast(colours[a], colours[b]) < 4.5}
    assert weak == {}


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_lines_can_be_seen(theme: str) -> None:
    colours = palettes()[theme]
    weak = {(a, b): contrast(colours[a], colours[b]) for a, b in LINES if contrast(colours[a], colours[b]) < 3}
    assert weak == {}


def test_the_measure_knows_black_white_and_grey() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777", "#ffffff") < 4.5


def test_every_theme_sets_the_same_colours() -> None:
    found = palettes()
    assert set(found["dark"]) == set(found["light"]) == set(found["print"])
