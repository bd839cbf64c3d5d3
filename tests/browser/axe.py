"""What axe finds wrong with a page: https://github.com/dequelabs/axe-core."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from local import ROOT

SOURCE = ROOT / "tests" / "validators" / "node_modules" / "axe-core" / "axe.min.js"

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""The rules that a page is held against."""


def violations(page: Page, source: Path = SOURCE) -> list[str]:
    """What is wrong, a line for each element; nothing if all is well.

    The page's policy stays as it is: what a debugger evaluates is none of its scripts.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(source.read_text())
    found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", list(TAGS))
    return list(lines(found["violations"]))


def lines(found: list[dict[str, Any]]) -> Iterator[str]:
    for rule in found:
        for node in rule["nodes"]:
            yield f"{rule['id']}: {rule['help']}: {node['target']} {node['html'][:200]} {node['failureSummary']}"
