"""What a person sees."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from chalicelib.decision import Reason
from chalicelib.store import Record, Status
from local import view
from local.pictures import Progress


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=100, height=24)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def progress(key: str, status: str = Status.REJECTED, reason: str = "") -> Progress:
    return Progress(Path(key), key, status, 1.25, reason=reason)


def test_the_table_fits_the_terminal_whatever_the_names_and_reasons(console: Console) -> None:
    view.show_end([progress("x" * 300, reason="because " * 40)], 1.0, console)
    assert max(map(len, printed(console).splitlines())) <= 100
    assert printed(console).count("because") == 40


def test_a_name_that_looks_like_markup_is_shown_as_it_is(console: Console) -> None:
    view.show_end([progress("[red]a[/]/b.jpg", reason="[bold]no[/]")], 1.0, console)
    assert "[red]a[/]/b.jpg" in printed(console)
    assert "[bold]no[/]" in printed(console)


def test_each_ending_is_counted_and_explained(console: Console) -> None:
    ended = [progress("a", Status.FAILED), progress("b", Status.FAILED), progress("c", Status.REVIEW)]
    view.show_end(ended, 2.5, console)
    lines = [line.split() for line in printed(console).splitlines()]
    assert ["FAILED", "2", *view.MEANINGS[Status.FAILED].split()] in lines
    assert ["REVIEW", "1", *view.MEANINGS[Status.REVIEW].split()] in lines
    assert "3 pictures in 2.5 s" in printed(console)


def test_what_was_held_back_is_counted_by_its_reason_too(console: Console) -> None:
    opened = Record("0", Status.REVIEW, "b", "k", None, None, 1, "then", "now")
    codes = [Reason.UNKNOWN_OBJECT, Reason.UNKNOWN_OBJECT, Reason.LOW_CONFIDENCE]
    ended = [replace(progress("a", Status.REVIEW), record=replace(opened, reason_code=code)) for code in codes]
    view.show_end(ended, 2.5, console)
    lines = [line.split() for line in printed(console).splitlines()]
    at = lines.index(["REVIEW", "3", *view.MEANINGS[Status.REVIEW].split()])
    assert lines[at + 1] == ["2", *view.REASONS[Reason.UNKNOWN_OBJECT].split()]
    assert lines[at + 2] == ["1", *view.REASONS[Reason.LOW_CONFIDENCE].split()]


def test_of_many_pictures_those_are_listed_that_were_not_accepted(console: Console) -> None:
    ended = [progress(f"fine{n}", Status.ACCEPTED) for n in range(view.MAX_ROWS)] + [progress("broken.jpg")]
    view.show_end(ended, 1.0, console)
    assert "broken.jpg" in printed(console)
    assert "fine1" not in printed(console)
    assert f"{view.MAX_ROWS} more are not shown" in printed(console)


def test_the_live_table_keeps_to_the_height_of_the_terminal(console: Console) -> None:
    files = [(Path(f"{n}.jpg"), f"{n}.jpg") for n in range(100)]
    live = view.View(files, console)
    for place, (path, key) in enumerate(files):
        live.show(place, Progress(path, key, Status.REVIEW, 1.0, reason="because " * 40))
    lines = console.render_lines(live.render())
    assert len(lines) <= console.height
