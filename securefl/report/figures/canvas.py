"""From a matplotlib figure to an SVG that lives inside the page: same bytes every time, colours from the page's theme.

Colours are drawn as tokens (numbers that nobody would choose) and come out as CSS variables, so that one picture serves light,
dark and print. Style attributes become classes, because the page's Content-Security-Policy allows no inline style. Text stays
text. Each picture is drawn twice, for a desk and for a telephone; the style sheet shows one of them.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from securefl.recipes import parsed

WIDE: Final = 1000
NARROW: Final = 340
"""Widths in CSS pixels at which a picture is drawn; a telephone of 390 pixels leaves 340 inside its margins."""
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_NAMES = ("ink", "muted", "line", "surface", "pass", "fail", "wash", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8")
TOKENS: Final[dict[str, str]] = {name: f"#0a0b{number:02x}" for number, name in enumerate(_NAMES, start=0x10)}
"""A colour of the page -> the number that stands for it in a drawing."""
_ARMS = ("standalone", "single-task", "pooled", "plaintext", "masking", "masking+guard", "paillier", "ckks", "dp")
_MARKERS = "vsDoPX^d*"
_SETTINGS: Final[dict[str, Any]] = {
    "svg.hashsalt": "securefl",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.edgecolor": TOKENS["line"],
    "axes.labelcolor": TOKENS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": TOKENS["ink"],
    "xtick.color": TOKENS["line"],
    "ytick.color": TOKENS["line"],
    "xtick.labelcolor": TOKENS["muted"],
    "ytick.labelcolor": TOKENS["muted"],
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "lines.solid_capstyle": "round",
}
_HOVER = "told:"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure as the page shows it: two drawings of the same, and what it shows in one sentence."""

    name: str
    title: str
    alt: str
    wide: Markup
    narrow: Markup


@dataclass(slots=True)
class StyleBook:
    """The classes that replace style attributes, numbered as they come; names in ``flagged`` are drawn in red with a sign."""

    classes: dict[str, str] = field(default_factory=dict)
    flagged: tuple[str, ...] = ()

    def is_flagged(self, text: str) -> bool:
        """Return whether ``text`` is a flagged name, perhaps cut short."""
        return any(text == name or (text.endswith("…") and name.startswith(text[:-1])) for name in self.flagged)

    def class_of(self, style: str) -> str:
        """Return the class for a style, the same one for the same style."""
        return self.classes.setdefault(style, f"s{len(self.classes)}")

    def css(self) -> str:
        """Return the rules of every class."""
        return "".join(f".{name}{{{style}}}\n" for style, name in self.classes.items())


def color(name: str) -> str:
    """Return the drawing's number for a colour of the page."""
    return TOKENS[name]


def arm_color(arm: str) -> str:
    """Return the number of an arm's colour: the same arm has the same colour in every picture."""
    return TOKENS[f"a{_place(_family(arm))}"]


def arm_marker(arm: str) -> str:
    """Return an arm's marker, so that no picture rests on colour alone."""
    return _MARKERS[_place(arm)]


def _family(arm: str) -> str:
    """Return the arm whose colour a variant of it has: all private arms look alike, and so do all guarded ones."""
    try:
        recipe = parsed(arm)
    except ValueError:
        return arm
    if arm in _ARMS or recipe is None:
        return arm
    return "dp" if recipe.privacy else "masking+guard" if recipe.guarded else arm


def _place(arm: str) -> int:
    return _ARMS.index(arm) if arm in _ARMS else sum(arm.encode()) % len(_ARMS)


def label(text: str, limit: int = 28) -> str:
    """Return a name fit for a drawing: no control signs, and cut where it would run out of it."""
    clean = _UNPRINTABLE.sub("�", text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def hover(text: str) -> str:
    """Return the group name under which a drawn point carries ``text``: the page shows it when somebody points there."""
    return _HOVER + label(text, 400)


def blank(width: int, height: int) -> Figure:
    """Return an empty figure, in CSS pixels: one point of matplotlib is one pixel of the page."""
    return Figure(figsize=(width / 72, height / 72), dpi=72)


def pixels(figure: Figure, left: float, top: float, right: float, bottom: float) -> Axes:
    """Return axes that leave so many pixels free on each side."""
    width, height = figure.get_size_inches() * 72
    return figure.add_axes((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))


def _restyle(element: ET.Element, book: StyleBook) -> None:
    style = element.attrib.pop("style", None)
    if style is None:
        return
    rules = []
    for rule in style.split(";"):
        name, _, value = (part.strip() for part in rule.partition(":"))
        if name == "font":
            size = re.search(r"([\d.]+)px", value)
            weight = re.search(r"\b(bold|[5-9]00)\b", value)
            rules += [f"font-size:{size.group(1)}px"] if size else []
            rules += [f"font-weight:{weight.group(1)}"] if weight else []
        elif name and name not in ("stroke-linejoin", "stroke-miterlimit"):
            rules.append(f"{name}:{value}")
    text = ";".join(rules)
    for token, number in TOKENS.items():
        text = text.replace(number, f"var(--{token})")
    element.set("class", book.class_of(text))


def _rename(element: ET.Element, prefix: str) -> None:
    """Give every id the picture's own prefix, drop those that nothing refers to."""
    for name, value in list(element.attrib.items()):
        if name == "id":
            del element.attrib[name]
            # what drawings refer to is named by a hash: p… for clips, m… for markers; the rest is matplotlib's bookkeeping
            if re.fullmatch(r"[mp][0-9a-f]{10}", value):
                element.set("id", f"{prefix}-{value}")
        elif name == f"{_XLINK}href":
            del element.attrib[name]
            element.set("href", f"#{prefix}-{value.removeprefix('#')}")
        elif "url(#" in value:
            element.set(name, value.replace("url(#", f"url(#{prefix}-"))


def _inline(figure: Figure, prefix: str, book: StyleBook, kind: str, alt: str) -> Markup:
    """Return a figure as an SVG element of the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ET.fromstring(buffer.getvalue())  # noqa: S314  (written by matplotlib a line before)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{_SVG}style" or "metadata" in str(child.tag):
                parent.remove(child)
    for element in list(root.iter()):
        told = element.get("id", "")
        if told.startswith(_HOVER):
            ET.SubElement(element, f"{_SVG}title").text = told.removeprefix(_HOVER)
        _rename(element, prefix)
        if element.tag == f"{_SVG}text" and book.is_flagged(element.text or ""):
            element.text = f"{element.text} ⚠"
            element.set("style", f"{element.get('style', '')};fill:{TOKENS['fail']}")
        _restyle(element, book)
    for element in root.iter():
        element.tag = str(element.tag).removeprefix(_SVG)
        element.text = element.text if element.text and element.text.strip() else None
        element.tail = None
    root.attrib = {"viewBox": root.attrib["viewBox"], "class": f"chart {kind}", "role": "img", "aria-label": alt}
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704  (serialised XML: every text in it is escaped)


def picture(name: str, title: str, alt: str, book: StyleBook, draw: Callable[[int], Figure]) -> Picture:
    """Return a picture, drawn at both widths by ``draw(width)`` under the report's settings."""
    drawn = {}
    with rc_context(_SETTINGS):  # type: ignore[arg-type]  # the stubs list every setting by name
        for kind, width in (("wide", WIDE), ("narrow", NARROW)):
            drawn[kind] = _inline(draw(width), f"{name}-{kind[0]}", book, kind, alt)
    return Picture(name=name, title=title, alt=alt, wide=drawn["wide"], narrow=drawn["narrow"])


def standalone(drawing: Picture, book: StyleBook, palette: Mapping[str, str]) -> str:
    """Return a picture as an SVG file of its own, in fixed colours.

    Args:
        palette: the page's colours by name.
    """
    used = set(re.findall(r'class="(s\d+)"', drawing.wide))
    rules = "".join(f".{name}{{{style}}}" for style, name in book.classes.items() if name in used)
    style = re.sub(r"var\(--([\w-]+)\)", lambda found: palette[found[1]], rules)
    _, head, body = re.split(r"(<svg[^>]*>)", str(drawing.wide), maxsplit=1)
    width, height = re.findall(r"[\d.]+", head.partition("viewBox=")[2])[2:4]
    opened = head.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"', 1)
    ground = f'<rect width="100%" height="100%" fill="{palette["surface"]}"/>'
    return f"{opened}<style>text{{font-family:sans-serif}}{style}</style>{ground}{body}\n"
