"""What the app adds to a cold start, next to a bare Chalice app that makes the same AWS clients.

    python -m benchmarks --only importing

Each round starts a fresh Python for either app, one after the other, every round another one first. The clock runs
inside, around the imports: the start of Python itself is left out. Ours makes its clients when they are first needed,
the bare app (`bare_app.py`) at import, so ours is timed twice: the import alone, and with all four clients made.

The round before the first fills the caches, compiled modules included, and runs with connections forbidden: neither
app may ask the network for anything. This is not Lambda's cold start, which also fetches and unpacks the package and
runs on other processors; the ratio is what carries over.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.figures import Finding, Spread, Step, ratios, spread
from benchmarks.tables import cell, table
from local.stack import stage_config

ABOUT = "import of the app next to a bare Chalice app that makes the same AWS clients"

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 30
AS_BARE = 1.25
"""Goal: the import of ours and its four clients take at most this many times as long as the bare app."""

FORBID = """
import sys
def _forbid(event, _):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}:
        raise RuntimeError(f"an import must not reach for the network: {event}")
sys.addaudithook(_forbid)
"""
OURS = """
import json, time
began = time.perf_counter()
import app
imported = time.perf_counter()
from chalicelib.aws import client
for service in ("s3", "dynamodb", "stepfunctions", "sagemaker-runtime"):
    client(service)
print(json.dumps([imported - began, time.perf_counter() - began]))
"""
BARE = """
import json, time
began = time.perf_counter()
import benchmarks.bare_app
print(json.dumps([time.perf_counter() - began]))
"""


@dataclass(frozen=True)
class Importing:
    """Milliseconds, and ratios within a round.

    Attributes:
        rounds: how often each app was imported.
        bare: the bare app, which makes its clients at import.
        alone: ours, no client made.
        whole: ours and the same four clients.
        alone_to_bare: the ratio.
        whole_to_bare: the ratio that the goal is about.
        quickest: of all rounds, in the order bare, alone, whole; what else runs on the machine disturbs it least.
    """

    rounds: int
    bare: Spread
    alone: Spread
    whole: Spread
    alone_to_bare: Spread
    whole_to_bare: Spread
    quickest: tuple[float, float, float]


def measure(step: Step, rounds: int = ROUNDS) -> dict[str, Any]:
    """Imports either app in turn, and returns an `Importing` as a dictionary.

    Args:
        step: told how far it is.
        rounds: how often, at least 2.
    """
    step("filling the caches", 0.0)
    for program in (OURS, BARE):
        _run(FORBID + program)
    took: dict[str, list[list[float]]] = {OURS: [], BARE: []}
    order = list(took)
    for number in range(rounds):
        step(f"round {number + 1} of {rounds}", number / rounds)
        order.reverse()
        for program in order:
            took[program].append(_run(program))
    alone, whole = ([milliseconds[place] for milliseconds in took[OURS]] for place in (0, 1))
    bare = [milliseconds[0] for milliseconds in took[BARE]]
    return asdict(
        Importing(
            rounds=rounds,
            bare=spread(bare),
            alone=spread(alone),
            whole=spread(whole),
            alone_to_bare=spread(ratios(alone, bare)),
            whole_to_bare=spread(ratios(whole, bare)),
            quickest=(min(bare), min(alone), min(whole)),
        )
    )


def environment() -> dict[str, str]:
    """What the apps see: the dev stage, a region and credentials that are none, as Lambda sets them; nothing else."""
    return {
        **stage_config().environment_variables,
        "PATH": os.environ.get("PATH", os.defpath),
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _run(program: str) -> list[float]:
    """Milliseconds that a program printed, in seconds, from a fresh Python."""
    ended = subprocess.run(  # noqa: S603 - our own programs, above
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"An app could not be imported: {ended.stderr.strip()[-500:]}")
    return [seconds * 1000 for seconds in json.loads(ended.stdout)]


def show(figures: dict[str, Any], console: Console) -> None:
    """Prints what `measure` returned."""
    quickest = figures["quickest"]
    rows = table(
        f"Import, {figures['rounds']} rounds: median (middle half)",
        *("app", "milliseconds", "to the bare app", "quickest ms", "to the bare app"),
    )
    rows.add_row("bare, with its 4 AWS clients", cell(figures["bare"], 0), "1", f"{quickest[0]:.0f}", "1")
    for name, what, least in (
        ("alone", "ours, import alone", quickest[1]),
        ("whole", "ours, with the same 4 clients", quickest[2]),
    ):
        ratio = cell(figures[f"{name}_to_bare"], 2)
        rows.add_row(what, cell(figures[name], 0), ratio, f"{least:.0f}", f"{least / quickest[0]:.2f}")
    console.print(rows)
    console.print(f"Goal: ours with its clients <= {AS_BARE:g} x the bare app, by the median of the rounds.")


def findings(figures: dict[str, Any]) -> list[Finding]:
    """The lines of the closing table."""
    alone, whole = (figures[name]["median"] for name in ("alone_to_bare", "whole_to_bare"))
    return [
        Finding("import alone / bare app with 4 clients", f"{alone:.2f} x"),
        Finding(
            "import with 4 clients / bare app with 4 clients", f"{whole:.2f} x", f"<= {AS_BARE:g} x", whole <= AS_BARE
        ),
    ]
