import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import Result

from chalicelib import store, workflow
from chalicelib.store import NEITHER, Status
from chalicelib.store import Record as StoredRecord
from local.stack import Stack
from tests.training import drawings
from tests.training.captured import NOON, line, said, write
from tests.training.lifecycle import run
from tests.training.pages import Page
from tests.training.staged import write_data
from training.layout import COMMITTED_MODEL, Manifest

RANGE = ("--since", "2026-03-01", "--until", "2026-03-09")
BICYCLE = drawings.encode(drawings.bicycle(64))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to work in, with a data set that has others."""
    monkeypatch.chdir(tmp_path)
    write_data(Path("build/data"), each={"train": 1, "validation": 6, "test": 2}, others={"validation": 4})


def ask(*options: str) -> Result:
    """Ask for a threshold for the committed model, where a mistake costs as much as 50 reviews."""
    return run("threshold", "--cost-wrong", "5", "--cost-review", "0.1", "--model", COMMITTED_MODEL, *options)


def told(*options: str) -> Any:
    """What it says as JSON."""
    result = ask("--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def captured(*lines: str) -> tuple[str, ...]:
    """Options that replay these lines."""
    write(Path("captured"), lines)
    return ("--captured", "captured", *RANGE)


def test_report_and_json_are_written_and_a_table_with_what_to_do_is_printed() -> None:
    result = ask()
    assert result.exit_code == 0, result.output
    for words in ("accept all", "the model's own", "recommended", "cheapest here", "hold all back", "(Chow's"):
        assert words in result.stdout
    assert '"CONFIDENCE_THRESHOLD": "' in result.stdout
    assert ".chalice/config.json" in result.stdout
    assert "chalice deploy --stage STAGE" in " ".join(result.stdout.split())
    assert "The report is build/threshold/report.html." in result.stderr
    content = json.loads(Path("build/threshold/threshold.json").read_text())
    assert content["pictures"]["split"] == "validation"
    assert (content["pictures"]["classes"], content["pictures"]["others"]) == (12, 4)
    assert content["chow"] == pytest.approx(0.98)
    page = Page(Path("build/threshold/report.html"))
    page.check()
    assert f'"CONFIDENCE_THRESHOLD": "{content["environment_variables"]["CONFIDENCE_THRESHOLD"]}"' in page.words()


def test_tables_fit_a_terminal() -> None:
    lines = [line(f"{number}", said(0.9, model=f"lite0-ridge-{number:012}")) for number in range(3)]
    result = ask("--what-if", "0.987654", "--what-if-known", "0.123456", *captured(*lines))
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "…" not in result.stdout


def test_json_is_one_object_and_the_same_as_in_the_file_each_time() -> None:
    options = ("--what-if", "0.9", "--out", "elsewhere", *captured(line(answer=said(0.91), picture=BICYCLE)))
    found = []
    for _ in range(2):
        assert told(*options) == json.loads(Path("elsewhere/threshold.json").read_text())
        found.append({path.name: path.read_bytes() for path in Path("elsewhere").iterdir()})
    assert found[0] == found[1]
    assert set(found[0]) == {"report.html", "threshold.json"}


def test_costs_are_those_of_the_pictures_whatever_the_threshold() -> None:
    content = told("--what-if", "0.7")
    total = content["pictures"]["classes"] + content["pictures"]["others"]
    for one in content["outcomes"].values():
        assert one["accepted"] + one["held_back"] == total
        assert one["cost"] == pytest.approx(1000 * (5 * one["wrong"] + 0.1 * one["held_back"]) / total)
    assert content["outcomes"]["accept all"]["wrong"] >= 4
    assert content["outcomes"]["hold all back"]["cost"] == pytest.approx(100)
    assert content["outcomes"]["what if 0.7"]["threshold"] == 0.7
    cuts = [one["threshold"] for one in content["by_threshold"]]
    assert cuts == sorted(set(cuts))


def test_share_of_others_in_the_traffic_can_be_said() -> None:
    few = told("--others-share", "0.01")
    assert few["outcomes"]["accept all"]["cost"] < told()["outcomes"]["accept all"]["cost"]
    assert few["pictures"]["others_share"] == 0.01
    assert "of these pictures show none of the classes" in " ".join(told()["remarks"])
    assert not few["remarks"]


def test_whoever_chooses_by_test_pictures_is_warned() -> None:
    content = told("--split", "test")
    assert content["pictures"]["classes"] == 4
    assert "Choose by validation pictures." in content["remarks"][0]
    assert content["known_check"] is None


def test_model_that_asks_for_what_is_recommended_needs_no_setting() -> None:
    own = json.loads((COMMITTED_MODEL / "head.json").read_text())["threshold"]
    manifest = Manifest.read(Path("build/data"))
    replace(manifest, pictures=[one for one in manifest.pictures if one.label == "bicycle"]).write(Path("build/data"))
    costs = ("--cost-wrong", "1", "--cost-review", f"{1 - own:.6g}")
    result = run("threshold", *costs, "--model", COMMITTED_MODEL)
    assert result.exit_code == 0, result.output
    assert "Nothing has to be set" in result.stdout
    assert '"CONFIDENCE_THRESHOLD"' not in result.stdout
    assert json.loads(Path("build/threshold/threshold.json").read_text())["environment_variables"] == {}


def test_what_if_is_decided_for_what_was_captured_without_asking_again() -> None:
    lines = [
        line("a", said(0.95)),
        line("b", said(0.85), picture=BICYCLE),
        line("c", said(0.85)),
        line("d", said(0.99, known=0.2)),
        line("d", said(0.99, known=0.2)),
        line("e", said(0.99, model="m2")),
    ]
    content = told("--what-if", "0.8", "--what-if", "0.9", "--what-if-known", "0.1", *captured(*lines))
    first, second = content["traffic"]["models"]
    assert (first["model"], first["pictures"], second["model"], second["pictures"]) == ("m1", 4, "m2", 1)
    rows = {one["setting"]["name"]: one for one in first["settings"]}
    assert list(rows) == ["the model's own", "recommended", "what if 0.8, known 0.1", "what if 0.9, known 0.1"]
    own, loose, strict = rows["the model's own"], rows["what if 0.8, known 0.1"], rows["what if 0.9, known 0.1"]
    assert (own["accepted"], own["low_confidence"], own["unknown_object"], own["more_reviews"]) == (3, 0, 1, 0)
    assert (loose["accepted"], loose["more_reviews"]) == (4, -1)
    assert (strict["accepted"], strict["low_confidence"], strict["more_reviews"]) == (2, 2, 1)
    assert loose["expected_wrong"] == pytest.approx(0.05 + 0.15 + 0.15 + 0.01)
    assert loose["expected_cost"] == pytest.approx(5 * 0.36)
    assert content["traffic"]["counts"]["repeated"] == 1
    page = Page(Path("build/threshold/report.html"))
    page.check()
    assert "bicycle 0.850" in page.words()
    assert "Taken for a bicycle" in [image.attributes["alt"] for image in page.images()]


def test_last_seven_days_are_replayed_where_nothing_else_is_said() -> None:
    now = datetime.now(UTC)
    for number, age in enumerate((timedelta(days=8), timedelta(days=6), timedelta(minutes=1))):
        write(Path("captured"), [line(str(number), at=now - age)], now - age)
    assert told("--captured", "captured")["traffic"]["counts"]["pictures"] == 2
    assert told("--captured", "captured", "--since", "9d")["traffic"]["counts"]["pictures"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--captured", "nowhere"), "There is no folder nowhere."),
        (("--captured", "empty"), "empty has no record from 2026-03-01 00:00:00 to 2026-03-09 00:00:00 UTC."),
        (("--captured", "s3://"), "'s3://' is no place in S3"),
        (("--captured", "empty", "--since", "noon"), "'noon' is no time. Write it as"),
        (("--reviews", "table"), "say with --captured where they are"),
        (("--data", "empty"), "empty holds no data set."),
        (("--endpoint", "one"), "Say either --model or --endpoint"),
        (("--split", "test", "--others-share", "0.1"), "Leave out --others-share"),
        (("--others-share", "1"), "1.0 is not in the range 0<=x<1"),
        (("--what-if", "93"), "93.0 is not in the range 0<=x<=1"),
        (("--cost-wrong", "0"), "0.0 is not in the range 0<x<="),
        (("--cost-review", "-1"), "-1.0 is not in the range 0<=x<="),
        (("--cost-review", "nan"), "nan is no number."),
    ],
)
def test_what_has_to_change_is_told_and_nothing_is_written(options: tuple[str, ...], message: str) -> None:
    Path("empty").mkdir()
    result = ask(*RANGE, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not result.stdout
    assert not Path("build/threshold").exists()


def test_both_costs_have_to_be_said() -> None:
    for name in ("--cost-wrong", "--cost-review"):
        result = run("threshold", name, "1")
        assert result.exit_code == 2
        assert "Missing option" in result.stderr


def test_split_without_pictures_is_told(tmp_path: Path) -> None:
    write_data(tmp_path / "bare", each={"train": 1, "validation": 0, "test": 1})
    result = ask("--data", "bare")
    assert result.exit_code == 2
    assert "bare has no validation pictures." in result.stderr


def test_model_behind_an_endpoint_is_asked_like_the_one_in_a_folder(embedded: Stack) -> None:
    options = ("threshold", "--cost-wrong", "5", "--cost-review", "0.1", "--json")
    behind = run(*options, "--endpoint", embedded.settings.endpoint_name)
    assert behind.exit_code == 0, behind.output
    found, expected = json.loads(behind.stdout), told()
    assert found["outcomes"] == expected["outcomes"]
    assert found["recommended"] == expected["recommended"]


def test_traffic_of_the_workflow_is_replayed_with_what_people_decided_about_it(
    embedded: Stack, ended: Callable[[str], StoredRecord]
) -> None:
    since = datetime.now(UTC) + timedelta(seconds=1)
    time.sleep(1.1)  # captured times have whole seconds
    pictures = {"bicycle": drawings.bicycle(), "house": drawings.house(), "flower": drawings.flower()}
    sources = [embedded.drop(f"replayed/{name}.png", drawings.encode(image)) for name, image in pictures.items()]
    records = [ended(workflow.identity(source)) for source in sources]
    held_back = [record for record in records if record.status is Status.REVIEW]
    assert held_back
    table = embedded.settings.records_table
    for record in held_back:
        store.decide(table, record, NEITHER, "ann")
    embedded.endpoint.flush_capture()
    content = told(
        *("--captured", f"s3://{embedded.capture_bucket}", "--since", since.isoformat(timespec="seconds")),
        *("--what-if", "0", "--what-if-known", "0", "--reviews", table),
    )
    (model,) = content["traffic"]["models"]
    own, _, everything = model["settings"]
    assert model["pictures"] == 3
    assert own["low_confidence"] + own["unknown_object"] == len(held_back)
    assert everything["accepted"] == 3
    assert (everything["reviewed"], everything["reviewed_right"]) == (len(held_back), 0)
    assert content["traffic"]["counts"]["reviewed"] == len(held_back)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--captured", "s3://no-such-bucket/x"), "There is no bucket no-such-bucket. Name another with --captured."),
        (("--captured", "captured", "--reviews", "nobody"), "There is no table nobody in us-east-1."),
        (("--endpoint", "nobody"), "The endpoint nobody cannot be asked"),
    ],
)
def test_what_is_not_there_on_aws_is_told(embedded: Stack, options: tuple[str, ...], message: str) -> None:
    assert boto3.client("s3", endpoint_url=embedded.aws_url).list_buckets()["Buckets"]
    write(Path("captured"), [line(at=NOON)])
    model = () if "--endpoint" in options else ("--model", COMMITTED_MODEL)
    result = run("threshold", "--cost-wrong", "5", "--cost-review", "0.1", *model, *RANGE, *options)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
