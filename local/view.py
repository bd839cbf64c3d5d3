"""What a person sees while pictures are on their way, and after."""

import sys
from collections import Counter
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chalicelib.decision import Reason
from chalicelib.store import Status
from local.pictures import WAITING, Progress

COLOURS: dict[str, str] = {
    Status.ACCEPTED: "green",
    Status.REVIEW: "yellow",
    Status.REVIEWED: "green",
    Status.REJECTED: "red",
    Status.FAILED: "bold white on red",
    Status.PENDING: "cyan",
}

MEANINGS = {
    Status.ACCEPTED: "sure enough",
    Status.REVIEW: "held back for a person",
    Status.REJECTED: "the picture's fault",
    Status.FAILED: "our fault, safe to start again",
}

REASONS = {
    Reason.UNKNOWN_OBJECT: "of these, perhaps something else",
    Reason.LOW_CONFIDENCE: "of these, not sure which",
}

MAX_ROWS = 200
"""Rows of the table at the end; of more pictures, those are shown that were not accepted."""

KEY_WIDTH = 30
"""Characters of a key that are shown; of a longer one, its end."""


class View:
    """A table that lives: each picture's state, label, confidence and time.

    While pictures are on their way it shows as many as the terminal has lines for, the latest last.
    """

    def __init__(self, files: list[tuple[Path, str]], console: Console) -> None:
        self._pictures = [Progress(path, key) for path, key in files]
        self._order: dict[int, None] = {}
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self.render)

    def __enter__(self) -> "View":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, place: int, progress: Progress) -> None:
        """Take in where a picture stands now."""
        self._pictures[place] = progress
        self._order.pop(place, None)
        self._order[place] = None

    def render(self) -> Group:
        """What is shown right now."""
        room = max(3, self._console.height - 6)
        rows = table([self._pictures[place] for place in list(self._order)[-room:]], one_line=True)
        done = sum(progress.status not in (WAITING, Status.PENDING) for progress in self._pictures)
        bar = ProgressBar(total=len(self._pictures), completed=done, width=40)
        return Group(rows, Text(f"{done} of {len(self._pictures)} pictures have ended"), bar)


def show_end(ended: list[Progress], seconds: float, console: Console) -> None:
    """The whole table and a line for each ending.

    Args:
        ended: where each picture ended.
        seconds: how long all of them took.
        console: where to print.
    """
    shown = ended if len(ended) <= MAX_ROWS else [one for one in ended if one.status != Status.ACCEPTED][:MAX_ROWS]
    console.print(table(shown))
    if len(shown) < len(ended):
        console.print(f"{len(ended) - len(shown)} more are not shown; --json lists all.")
    counts = Counter(one.status for one in ended)
    reasons = Counter(one.record.reason_code for one in ended if one.record)
    for status, meaning in MEANINGS.items():
        if counts[status]:
            console.print(f"[{COLOURS[status]}]{status:>8}[/] {counts[status]:>5}  {meaning}", highlight=False)
        for reason, why in REASONS.items() if status is Status.REVIEW else ():
            if reasons[reason]:
                console.print(f"{'':>8} {reasons[reason]:>5}  {why}", highlight=False)
    console.print(f"{len(ended)} pictures in {seconds:.1f} s", highlight=False)


def terminal(*, to_stderr: bool = False) -> Console:
    """The terminal, as wide as it is; 100 columns where there is none."""
    console = Console(stderr=to_stderr)
    stream = sys.stderr if to_stderr else sys.stdout
    return console if stream.isatty() else Console(stderr=to_stderr, width=100)


def _tail(key: str) -> str:
    return key if len(key) <= KEY_WIDTH else "…" + key[1 - KEY_WIDTH :]


def table(pictures: list[Progress], *, one_line: bool = False) -> Table:
    """Where pictures stand, a row for each.

    Args:
        pictures: where each stands.
        one_line: whether to cut reasons short rather than fold them.
    """
    rows = Table(box=None, pad_edge=False, expand=False)
    width = max((min(len(one.key), KEY_WIDTH) for one in pictures), default=0)
    rows.add_column("picture", no_wrap=True, min_width=max(width, len("picture")))
    rows.add_column("state", no_wrap=True, min_width=len(Status.ACCEPTED))
    rows.add_column("label", no_wrap=True, min_width=len("motorcycle"))
    rows.add_column("confidence", justify="right", no_wrap=True, min_width=len("confidence"))
    rows.add_column("time", justify="right", no_wrap=True, min_width=len("99.9 s"))
    rows.add_column("why", overflow="ellipsis" if one_line else "fold", no_wrap=one_line)
    for one in pictures:
        record = one.record
        sure = record.confidence if record else None
        rows.add_row(
            escape(_tail(one.key)),
            Text(one.status, style=COLOURS.get(one.status, "dim")),
            (record.label if record else None) or "–",
            "–" if sure is None else f"{sure:.1%}",
            f"{one.seconds:.1f} s" if one.seconds else "…",
            escape(one.reason or ""),
        )
    return rows
