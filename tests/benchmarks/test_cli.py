import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks import cli
from benchmarks.cli import PARTS, Part
from benchmarks.figures import Finding, Step

SPREAD = {"median": 1234.5678, "low": 1111.1111, "high": 2222.2222}
LOAD = {
    "at_once": 8,
    "count": 200,
    "p50": 1234.5,
    "p99": 12345.6,
    "mean": 1234.5,
    "per_second": 123.4,
    "slowest_round": 100.1,
    "quickest_round": 200.2,
    "time_shares": {"handlers": 0.1, "model": 0.2, "emulator and rest": 0.7},
    "cpu_shares": {"handlers": 0.1, "model": 0.2, "emulator and rest": 0.7},
    "cpu_milliseconds": 123.4,
}
MILLISECONDS = {"median": 123.4, "low": 111.1, "high": 222.2}
SPEED = {
    "picture": "bicycle_16mp_exif6.jpg",
    "megabytes": 12.3,
    **dict.fromkeys(("ours", "full", "decode", "scaled"), MILLISECONDS),
    "full_to_ours": {"median": 12.34, "low": 11.11, "high": 13.33},
    "decode_to_ours": {"median": 2.34, "low": 2.11, "high": 2.55},
    "ours_to_scaled": {"median": 1.23, "low": 1.11, "high": 1.33},
    "met": False,
}
GROUP = {"pictures": "photos enlarged to 12 megapixels", "count": 24, "same_label": 23}
RATIO = {"median": 1.26, "low": 1.1, "high": 1.3}
DIFFERENCES = {"mean_difference": 0.01, "largest_difference": 0.1}
FIGURES: dict[str, dict[str, Any]] = {
    "shrink": {"speed": [SPEED, SPEED], "agreement": [{**GROUP, **DIFFERENCES}]},
    "workflow": {"loads": [{**LOAD, "at_once": 1, "per_second": 61.7}, LOAD], "endings": {"ACCEPTED": 3, "REVIEW": 1}},
    "importing": {
        "rounds": 20,
        **dict.fromkeys(("bare", "alone", "whole"), SPREAD),
        **dict.fromkeys(("alone_to_bare", "whole_to_bare"), RATIO),
        "quickest": [234.5, 211.1, 267.8],
    },
}


@pytest.fixture
def quick_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that measure nothing, the second of which fails."""

    def measure(step: Step) -> dict[str, Any]:
        step("counting", 0.5)
        return {"figure": 5}

    def fail(_step: Step) -> dict[str, Any]:
        raise OSError("no port is free")

    def show(figures: dict[str, Any], console: Console) -> None:
        console.print(f"shown: {figures['figure']}")

    def findings(_figures: dict[str, Any]) -> list[Finding]:
        return [Finding("how quick", "5 x", ">= 9 x", met=False)]

    for name in PARTS:
        chosen = fail if name == "workflow" else measure
        monkeypatch.setitem(PARTS, name, Part("", chosen, show, findings))


def test_help_names_every_part_and_option() -> None:
    answer = CliRunner().invoke(cli.main, ["--help"])

    assert answer.exit_code == 0
    for name, part in PARTS.items():
        assert f"{name} " in answer.output
        assert part.about in answer.output
    assert all(option in answer.output for option in ("--only", "--json FILE", "docs/benchmarks.md"))


def test_the_page_says_what_every_part_measures() -> None:
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()

    assert all(f"benchmarks/{name}.py" in page for name in PARTS)


@pytest.mark.usefixtures("quick_parts")
def test_a_part_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"

    answer = CliRunner().invoke(cli.main, ["--json", str(file)])

    assert answer.exit_code == 0
    assert answer.output.count("shown: 5") == 2
    written = json.loads(file.read_text())
    assert written["figures"] == {
        "shrink": {"figure": 5},
        "workflow": {"error": "OSError('no port is free')"},
        "importing": {"figure": 5},
    }
    assert [finding["verdict"] for finding in written["findings"]] == ["not met", "–", "not met"]
    assert written["machine"]["cores"] > 0


@pytest.mark.usefixtures("quick_parts")
def test_one_part_alone() -> None:
    answer = CliRunner().invoke(cli.main, ["--only", "importing"])

    assert answer.exit_code == 0
    assert answer.output.count("shown: 5") == 1


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    answer = CliRunner().invoke(cli.main, ["--json", str(tmp_path / "nowhere" / "figures.json")])

    assert answer.exit_code == 2
    assert "There is no folder" in answer.output


@pytest.mark.parametrize("name", PARTS)
def test_tables_fit_into_100_columns_with_nothing_cut(name: str) -> None:
    console = Console(file=io.StringIO(), width=100)
    PARTS[name].show(FIGURES[name], console)
    cli.show(PARTS[name].findings(FIGURES[name]), console)
    narrow = console.file.getvalue()  # type: ignore[attr-defined]

    assert max(map(len, narrow.splitlines())) <= 100
    assert "…" not in narrow


def test_the_least_favourable_picture_decides() -> None:
    better = {**SPEED, "full_to_ours": {"median": 20.0}, "ours_to_scaled": {"median": 1.0}}
    quicker, alone, slower, labels = PARTS["shrink"].findings({**FIGURES["shrink"], "speed": [better, SPEED]})

    assert (quicker.figure, quicker.met) == ("12.3 x", True)
    assert (alone.figure, alone.met) == ("2.3 x", None)
    assert (slower.figure, slower.met) == ("1.23 x", False)
    assert labels.figure == "23 of 24 alike"


def test_an_agreement_that_was_left_out_is_no_figure() -> None:
    *_, labels = PARTS["shrink"].findings({**FIGURES["shrink"], "agreement": "There is no model."})

    assert (labels.figure, labels.verdict) == ("left out", "–")
