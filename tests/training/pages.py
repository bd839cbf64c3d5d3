"""What a browser would make of a report."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "br", "link", "input", "hr"}
LOADING = {"src", "href", "srcset", "poster", "data", "action", "background", "formaction"}
"""Attributes whose values a browser may fetch."""


@dataclass
class Element:
    """An element with its attributes and all text below it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A parsed page.

    Attributes:
        path: the file.
        elements: in the order of their beginnings.
    """

    path: Path
    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Element] = []
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        """The elements of a tag."""
        return [element for element in self.elements if element.tag == tag]

    def one(self, tag: str) -> Element:
        """The only element of a tag."""
        (element,) = self.all(tag)
        return element

    def images(self) -> list[Element]:
        """The pictures."""
        return self.all("img")

    def words(self) -> str:
        """What the page says, blanks and line ends drawn together."""
        return " ".join(self.one("body").text.split())

    def check(self) -> None:
        """It stands alone, asks for nothing from elsewhere, and has what a screen reader needs."""
        assert self.one("html").attributes == {"lang": "en"}
        assert self.one("title").text.strip()
        assert self.one("main").text
        assert self.one("h1").text.strip()
        assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {one.tag for one in self.elements}
        for element in self.elements:
            assert not [name for name in element.attributes if name.startswith("on")]
            for name in LOADING & set(element.attributes):
                assert (element.tag, name) == ("img", "src")
        style = self.one("style").text + "".join(one.attributes.get("style", "") for one in self.elements)
        assert not re.search(r"url\(|@import|expression\(", style)
        for image in self.images():
            assert re.match(r"data:image/(png|svg\+xml);base64,[A-Za-z0-9+/]+=*$", image.attributes["src"])
            assert image.attributes["alt"].strip()
        levels = [int(one.tag[1]) for one in self.elements if re.fullmatch(r"h[1-6]", one.tag)]
        assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))
        for table in ("caption", "thead", "th"):
            assert self.all(table)
        assert all(one.attributes.get("scope") in ("row", "col") for one in self.all("th"))
