"""Reads a report's HTML as a program would: elements with their attributes, in order, and the text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "wbr", "img", "input", "hr", "path", "use"}


@dataclass
class Element:
    """An element, its attributes, the text under it and the names of its ancestors."""

    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]
    text: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """Every element of a page."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element; a void one has no end."""
        element = Element(tag, {k: v or "" for k, v in attrs}, tuple(e.tag for e in self._open))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.elements.append(Element(tag, {k: v or "" for k, v in attrs}, tuple(e.tag for e in self._open)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element of that name."""
        for position in range(len(self._open) - 1, -1, -1):
            if self._open[position].tag == tag:
                del self._open[position:]
                return

    def handle_data(self, data: str) -> None:
        """Add text to every element that is open."""
        for element in self._open:
            element.text.append(data)

    def all(self, *tags: str) -> list[Element]:
        """Return the elements of these names."""
        return [element for element in self.elements if element.tag in tags]

    def first(self, tag: str) -> Element:
        """Return the first element of a name."""
        return self.all(tag)[0]

    def visible(self) -> str:
        """Return the text that a person reads, white space squeezed."""
        whole = "".join(self.first("body").text)
        script = "".join("".join(e.text) for e in self.all("script"))
        return re.sub(r"\s+", " ", whole.replace(script, ""))
