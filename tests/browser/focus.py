"""Walking through a page by the Tab key alone."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

Numbers = NDArray[np.float64]

MAX_STEPS = 150
"""Steps after which a walk counts as endless."""

CONTRAST = 3.0
"""By how much a pixel has to change to be seen: https://www.w3.org/TR/WCAG22/#non-text-contrast"""

MARK = """() => {
    const wanted = 'a[href], button, input, select, textarea, summary, [tabindex]';
    const groups = new Set();
    const reachable = element => {
        if (element.matches('[tabindex="-1"], :disabled, input[type=hidden], [inert] *')) return false;
        if (!element.checkVisibility({visibilityProperty: true})) return false;
        if (element.type !== 'radio') return true;
        const first = !groups.has(element.name);
        groups.add(element.name);
        return first;
    };
    const found = [...document.querySelectorAll(wanted)].filter(reachable);
    return found.map(element => window.__name(element));
}"""

NAME = """() => {
    window.__name = element => {
        if (element.type === 'radio') return `radio ${element.name}`;
        const label = element.getAttribute('aria-label') || element.innerText || element.labels?.[0]?.innerText || '';
        const place = [...document.querySelectorAll(element.localName)].indexOf(element);
        return `${element.localName} ${place}: ${label.trim().slice(0, 60)}`;
    };
}"""


TO_THE_TOP = """() => {
    const top = document.createElement('span');
    top.tabIndex = -1;
    document.body.prepend(top);
    top.focus();
    top.remove();
}"""
"""The next Tab leads to the first stop: a browser goes on from where the focus was last."""


@dataclass(frozen=True)
class Stop:
    """Something that has the focus.

    Attributes:
        name: the element, its place among those of its kind, and what it is called.
        seen: pixels that tell that it has the focus.
    """

    name: str
    seen: int


def reachable(page: Page) -> list[str]:
    """The names of all that is shown and can be used."""
    page.evaluate(NAME)
    return list(page.evaluate(MARK))


def walk(page: Page) -> Iterator[Stop]:
    """Press Tab from the top of the page until the focus leaves it."""
    page.evaluate(NAME)
    page.evaluate(TO_THE_TOP)
    for _ in range(MAX_STEPS):
        page.keyboard.press("Tab")
        name = page.evaluate("() => document.activeElement === document.body ? null : __name(document.activeElement)")
        if name is None:
            return
        yield Stop(name, seen(page))
    raise AssertionError(f"The focus goes round, or there is too much: {MAX_STEPS} steps")


def seen(page: Page) -> int:
    """How many pixels change noticeably when what has the focus loses it; the focus stays where it is."""
    shown = page.screenshot()
    page.evaluate("() => { window.__focused = document.activeElement; window.__focused.blur(); }")
    hidden = page.screenshot()
    page.evaluate("() => window.__focused.focus({focusVisible: true, preventScroll: true})")
    return changed(shown, hidden)


def changed(first: bytes, second: bytes) -> int:
    """Pixels of two pictures of one size whose contrast is at least `CONTRAST`."""
    one, other = luminance(first), luminance(second)
    contrast = (np.maximum(one, other) + 0.05) / (np.minimum(one, other) + 0.05)
    return int((contrast >= CONTRAST).sum())


def luminance(picture: bytes) -> Numbers:
    """The relative luminance of each pixel: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    colours = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))
