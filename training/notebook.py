"""What `walkthrough.ipynb` calls: the commands of `python -m training`, and the charts of their reports."""

import base64
import os
import re
import shlex
import subprocess
import sys
from html import unescape
from pathlib import Path

from IPython.display import SVG, Markdown, display

FIGURE = re.compile(
    r"<figure>\s*<h3>(?P<title>.*?)</h3>\s*"
    r'<img src="data:image/svg\+xml;base64,(?P<svg>[^"]+)"[^>]*>\s*'
    r"<figcaption>(?P<reading>.*?)</figcaption>",
    re.DOTALL,
)
"""A chart as the templates of the reports write it."""


COLOURS = ("FORCE_COLOR", "CLICOLOR_FORCE")
"""What Jupyter sets, so that programs take a notebook for a terminal, where progress bars would fill pages."""


def training(arguments: str) -> None:
    """Run `python -m training` with these arguments, and show what it says.

    Raises:
        RuntimeError: it failed.
    """
    _run("training", arguments)


def local(arguments: str) -> None:
    """Run `python -m local` with these arguments, and show what it says.

    Raises:
        RuntimeError: it failed.
    """
    _run("local", arguments)


def charts(report: str | Path) -> None:
    """Show the charts of a report.

    Args:
        report: `report.html` of `evaluate` or `monitor`.
    """
    for found in FIGURE.finditer(Path(report).read_text(encoding="utf-8")):
        display(Markdown(f"**{unescape(found['title'])}**"))  # type: ignore[no-untyped-call]
        display(SVG(base64.b64decode(found["svg"]).decode()))  # type: ignore[no-untyped-call]
        display(Markdown(unescape(found["reading"])))  # type: ignore[no-untyped-call]


def _run(module: str, arguments: str) -> None:
    command = [sys.executable, "-m", module, *shlex.split(arguments)]
    plain = {name: value for name, value in os.environ.items() if name not in COLOURS} | {"COLUMNS": "100"}
    with subprocess.Popen(  # noqa: S603 - one of our own commands
        command, env=plain, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="")
    if process.returncode:
        raise RuntimeError(f"`python -m {module} {arguments}` ended with exit code {process.returncode}.")
