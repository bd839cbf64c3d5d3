"""The driver: measures all parts in one run, side by side, and prints what came out.

Whatever comes out, the exit code is 0: a speed is a figure to look at, not a test.
"""

import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import importing, shrink, workflow
from benchmarks.figures import Finding, Step
from benchmarks.tables import table

WIDTH = 100
"""Columns that the tables fit into."""

VERSIONS = ("boto3", "chalice", "moto", "onnxruntime", "pillow", "simplejpeg")
"""Packages that the figures depend on."""


@dataclass(frozen=True)
class Part:
    """Something that is measured.

    Attributes:
        about: what, in a line.
        measure: does it, and returns plain data.
        show: prints that data.
        findings: its lines of the closing table.
    """

    about: str
    measure: Callable[[Step], dict[str, Any]]
    show: Callable[[dict[str, Any], Console], None]
    findings: Callable[[dict[str, Any]], list[Finding]]


PARTS = {
    "shrink": Part(shrink.ABOUT, shrink.measure, shrink.show, shrink.findings),
    "workflow": Part(workflow.ABOUT, workflow.measure, workflow.show, workflow.findings),
    "importing": Part(importing.ABOUT, importing.measure, importing.show, importing.findings),
}

HELP = f"""Measure how quick this is, side by side, and print ratios.

Takes about three minutes on two cores; leave the machine alone meanwhile. The parts:

\b
{chr(10).join(f"  {name:<10} {part.about}" for name, part in PARTS.items())}

A table at the end holds each figure against its goal. The exit code is 0 whether goals are met or not. What the figures
mean stands in docs/benchmarks.md.
"""


def _in_a_folder(_context: click.Context, _option: click.Parameter, file: Path | None) -> Path | None:
    """Refuse a file that could not be written after minutes of measuring."""
    if file and not file.absolute().parent.is_dir():
        raise click.BadParameter(f"There is no folder {file.parent}.")
    return file


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH})
@click.option(
    "--only",
    type=click.Choice(list(PARTS)),
    multiple=True,
    help="Measure this part alone; may be repeated. All parts if left out.",
)
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_in_a_folder,
    metavar="FILE",
    help="Write all figures, the findings and the machine to this file, as JSON.",
)
def main(only: tuple[str, ...], file: Path | None) -> None:
    """Measures, prints, writes."""
    console = _console()
    machine = describe_machine()
    console.print(machine["words"], highlight=False)
    figures = {name: _measure(name, part) for name, part in PARTS.items() if not only or name in only}
    findings = []
    for name, measured in figures.items():
        console.print()
        if "error" in measured:
            findings.append(Finding(f"{name} could not be measured", measured["error"]))
        else:
            PARTS[name].show(measured, console)
            findings += PARTS[name].findings(measured)
    console.print()
    show(findings, console)
    if file:
        answer = {
            "machine": machine,
            "figures": figures,
            "findings": [{**asdict(finding), "verdict": finding.verdict} for finding in findings],
        }
        file.write_text(json.dumps(answer, indent=2) + "\n")
        console.print(f"Written to {file}.", highlight=False)


def show(findings: list[Finding], console: Console) -> None:
    """Prints the closing table."""
    closing = table("Figures and goals", "question", "figure", "goal", "")
    for finding in findings:
        closing.add_row(finding.question, finding.figure, finding.goal or "–", finding.verdict)
    console.print(closing)


def describe_machine() -> dict[str, Any]:
    """What it runs on, and how busy that was beforehand."""
    cores, busy = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    versions = {package: metadata.version(package) for package in VERSIONS}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = (
        f"{now}: {cores} cores ({platform.machine()}), load {busy:.1f} beforehand, Python {platform.python_version()}, "
        + ", ".join(f"{package} {version}" for package, version in versions.items())
    )
    return {
        "words": words,
        "at": now,
        "cores": cores,
        "load_before": busy,
        "python": platform.python_version(),
        "versions": versions,
    }


def _measure(name: str, part: Part) -> dict[str, Any]:
    """Measures one part under a progress bar; a part that fails does not take the others with it."""
    columns = (
        TextColumn("{task.fields[name]:<10}"),
        BarColumn(30),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=_console(stderr=True)) as progress:
        task = progress.add_task("", total=1.0, name=name)

        def step(what: str, done: float) -> None:
            progress.update(task, description=what, completed=done)

        try:
            measured = part.measure(step)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are measured
            step("failed", 1.0)
            return {"error": repr(error)}
        step("done", 1.0)
    return measured


def _console(*, stderr: bool = False) -> Console:
    """The terminal, at most as wide as the tables are meant to be; as wide as that where there is none."""
    console = Console(stderr=stderr)
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=min(WIDTH, console.width) if stream.isatty() else WIDTH)
