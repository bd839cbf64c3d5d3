import base64
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.training import drawings
from tests.training.captured import (
    ALWAYS,
    NOON,
    hourly,
    line,
    metrics_of,
    read_lines,
    reading_of,
    record,
    said,
    sample,
)
from training import monitor, monitor_report
from training.capture import Broken, Reading, Rules
from training.drift import Baseline

BICYCLE = drawings.encode(drawings.bicycle(64))


class Page(HTMLParser):
    """What a report holds: its elements, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def charts(self) -> list[str]:
        """The charts as SVG, by the order in which they are shown."""
        prefix = "data:image/svg+xml;base64,"
        sources = [attrs["src"] for tag, attrs in self.elements if tag == "img"]
        return [base64.b64decode(one.removeprefix(prefix)).decode() for one in sources if one.startswith(prefix)]

    @property
    def pictures(self) -> list[str]:
        """Their alternative texts."""
        return [
            attrs["alt"]
            for tag, attrs in self.elements
            if tag == "img" and attrs["src"].startswith("data:image/png;base64,")
        ]


def write(folder: Path, reading: Reading, baseline: Baseline | None = None, name: str = "report.html") -> str:
    findings = monitor.find_out("shop-<b>", "s3://bucket/capture", ALWAYS, reading, baseline)
    monitor_report.write(folder / name, findings)
    return (folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return Baseline.parse(metrics_of(sample(np.random.default_rng(0), 300)))


def some_pictures(count: int = 3) -> Reading:
    lines = [
        line(f"e{number}", said(0.6 + number / 10), at, BICYCLE, inference_id=f"id-{number}")
        for number, at in enumerate(hourly(count))
    ]
    return read_lines(*lines, rules=Rules(ALWAYS, keep=24))


def test_report_is_one_file_that_asks_nobody_for_anything(tmp_path: Path, baseline: Baseline) -> None:
    page = Page(write(tmp_path, some_pictures(), baseline))
    assert not [tag for tag, _ in page.elements if tag in ("script", "link", "iframe", "object")]
    sources = [
        value for _, attrs in page.elements for name, value in attrs.items() if name in ("src", "href", "srcset")
    ]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_same_findings_give_the_same_bytes(tmp_path: Path, baseline: Baseline) -> None:
    first, second = (write(tmp_path, some_pictures(), baseline, name) for name in ("1.html", "2.html"))
    assert first == second


def test_report_shows_time_and_what_has_changed_since_the_evaluation(tmp_path: Path, baseline: Baseline) -> None:
    page = Page(write(tmp_path, reading_of(sample(np.random.default_rng(1), 200)), baseline))
    assert len(page.charts) == 4 + 4
    for heading in (
        "Confidence",
        "Held back for a person",
        "Class mix",
        "Pictures",
        "Brightness",
        "Short side",
        "Known",
    ):
        assert heading in page.words
    assert "No feature has drifted." in page.text
    assert all(attrs["alt"] for tag, attrs in page.elements if tag == "img")


def test_drift_is_said_at_the_top(tmp_path: Path, baseline: Baseline) -> None:
    page = Page(write(tmp_path, reading_of(sample(np.random.default_rng(1), 200, light=0.4)), baseline))
    assert "Drifted: brightness." in page.words
    assert page.words.count("drifted") == 1
    assert page.words.count("no drift") == 5


def test_too_few_records_are_not_called_free_of_drift(tmp_path: Path, baseline: Baseline) -> None:
    text = Page(write(tmp_path, reading_of(sample(np.random.default_rng(1), 20)), baseline)).text
    assert "There is too little to judge drift: fewer than 100 pictures." in text
    assert "No feature has drifted" not in text


def test_report_without_an_evaluation_says_so_and_draws_the_rest(tmp_path: Path) -> None:
    page = Page(write(tmp_path, some_pictures()))
    assert "Drift was not judged." in page.words
    assert "There is no evaluation to compare with." in page.words
    assert len(page.charts) == 4


def test_share_of_each_class_stands_beside_that_of_the_evaluation(tmp_path: Path, baseline: Baseline) -> None:
    records = [record(0), record(1, label="motorcycle"), record(2, label="unicycle"), record(3, label="unicycle")]
    text = Page(write(tmp_path, reading_of(records), baseline)).text
    assert f"bicycle 25.0% 1 picture; evaluation {baseline.labels['bicycle'] / 300:.1%}" in text
    assert "unicycle 50.0% 2 pictures; evaluation 0.0%" in text


def test_least_sure_are_shown_with_what_was_made_of_them(tmp_path: Path) -> None:
    page = Page(write(tmp_path, some_pictures()))
    assert page.pictures == ["Taken for a bicycle"] * 3
    places = [page.text.index(text) for text in ("bicycle 0.600", "bicycle 0.700", "bicycle 0.800")]
    assert places == sorted(places)
    assert page.words.count("held back") == 2
    assert page.words.count("id-0") == 1


def test_one_record_is_enough_for_a_report(tmp_path: Path, baseline: Baseline) -> None:
    page = Page(write(tmp_path, some_pictures(1), baseline))
    assert len(page.charts) == 8
    assert not re.search(r"\b1 (pictures|files)", page.text)


@pytest.mark.parametrize("length", [timedelta(minutes=1.3**power) for power in range(51)], ids=str)
def test_time_axis_of_any_length_has_a_few_ticks(length: timedelta) -> None:
    reading = reading_of([record(0), record(1, time=NOON + length)])
    _, axes = monitor_report._time_axes(monitor.find_out("shop", "here", ALWAYS, reading, None))
    low, high = axes.get_xlim()
    assert 1 <= sum(low <= tick <= high for tick in axes.get_xticks()) <= 8


def marks(chart: str) -> int:
    """How many marks a chart has."""
    return len(re.findall(r"<use ", chart))


def test_records_are_marks_while_they_are_few_and_bands_beyond(tmp_path: Path) -> None:
    records = [record(number, time=NOON + timedelta(minutes=number)) for number in range(monitor_report.MAX_POINTS + 1)]
    few = Page(write(tmp_path, reading_of(records[:-1])))
    many = Page(write(tmp_path, reading_of(records)))
    assert marks(few.charts[0]) > monitor_report.MAX_POINTS
    assert marks(many.charts[0]) < 200
    assert "Each mark is a picture" in few.text
    assert "the band holds the middle 80 %" in many.text


def test_report_of_very_many_records_stays_small(tmp_path: Path, baseline: Baseline) -> None:
    records = [
        record(number, time=NOON + timedelta(minutes=3 * number), threshold=0.7 + 0.1 * (number % 2))
        for number in range(30_000)
    ]
    assert len(write(tmp_path, reading_of(records), baseline)) < 1_000_000


def test_words_from_outside_are_words_and_no_markup(tmp_path: Path) -> None:
    broken = [Broken("<script>a.jsonl:1", "<img src=x>")]
    reading = reading_of([record(0, label="<i>", model="<u>", inference_id="<s>")], broken=broken)
    page = Page(write(tmp_path, reading))
    assert {"script", "b", "i", "u", "s"}.isdisjoint(tag for tag, _ in page.elements)
    assert "<script>a.jsonl:1: <img src=x>" in page.words
    assert "What shop-<b> has seen and said" in page.words


def test_broken_lines_are_named_up_to_a_number_and_all_counted(tmp_path: Path) -> None:
    broken = [Broken(f"a.jsonl:{number}", "why") for number in range(500)]
    text = Page(write(tmp_path, reading_of([record(0)], broken=broken))).text
    assert "Broken lines 500" in text
    assert "a.jsonl:19: why" in text
    assert "a.jsonl:20: why" not in text
