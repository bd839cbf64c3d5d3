import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from chalicelib import workflow
from chalicelib.store import Record as StoredRecord
from chalicelib.store import Status
from local.stack import Stack
from tests.training import drawings
from tests.training.captured import line, metrics_of, said, sample, write
from tests.training.lifecycle import Project
from training import aws
from training.capture import Record
from training.cli import main
from training.layout import METRICS_FILE

RANGE = ("--since", "2026-03-01", "--until", "2026-03-09")
BICYCLE = drawings.encode(drawings.bicycle(64))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, and clients that are made anew."""
    monkeypatch.chdir(tmp_path)
    aws.client.cache_clear()
    aws.account.cache_clear()
    yield tmp_path
    aws.client.cache_clear()
    aws.account.cache_clear()


def run(*options: str) -> Result:
    return CliRunner().invoke(main, ["monitor", *options])


def monitor(*options: str) -> Result:
    """Look at the capture files in this folder."""
    return run("--capture", "captured", *RANGE, *options)


def evaluate(records: Sequence[Record]) -> None:
    """Leave what `evaluate` leaves of the same model on other pictures."""
    folder = Path("build/evaluation")
    folder.mkdir(parents=True)
    (folder / METRICS_FILE).write_text(json.dumps(metrics_of(records)))


def serve(records: Sequence[Record], shade: int = 128) -> None:
    """Leave what an endpoint captures that gives the answers of these records."""
    picture = drawings.encode(Image.new("RGB", (64, 64), (shade,) * 3))
    lines = [line(one.event, said(one.confidence, one.label, known=one.known), one.time, picture) for one in records]
    write(Path("captured"), lines)


def test_report_and_json_are_written_and_a_table_is_printed() -> None:
    evaluate(sample(np.random.default_rng(0), 200))
    serve(sample(np.random.default_rng(1), 120))
    result = monitor()
    assert result.exit_code == 0, result.output
    assert "120" in result.stdout
    assert "class mix" in result.stdout
    assert "The report is build/monitoring/report.html." in result.stderr
    content = json.loads(Path("build/monitoring/monitor.json").read_text())
    assert content["endpoint"] == "scones-unlimited-dev"
    assert content["capture"] == "captured"
    assert Path("build/monitoring/report.html").read_text().startswith("<!doctype html>")


def test_tables_fit_a_terminal() -> None:
    evaluate(sample(np.random.default_rng(0), 200))
    names = [f"lite0-ridge-{number:012}" for number in range(4)]
    lines = [line(f"{number}", said(0.9, model=name)) for number, name in enumerate(names)]
    write(Path("captured"), lines)
    result = monitor("--endpoint", "a-name-of-63-letters".ljust(63, "x"))
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert all(name in result.stdout for name in names)


def test_names_with_brackets_are_printed_as_they_are() -> None:
    write(Path("captured"), [line(answer=said(0.9, model="[red]v1[/red]"))])
    assert "[red]v1[/red]" in monitor("--endpoint", "[bold]shop").stdout


def test_json_is_one_object_and_the_same_as_in_the_file() -> None:
    serve(sample(np.random.default_rng(1), 20))
    result = monitor("--json", "--out", "elsewhere")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(Path("elsewhere/monitor.json").read_text())
    assert "There is no evaluation to compare with." in result.stdout


def test_running_twice_gives_the_same_files() -> None:
    serve(sample(np.random.default_rng(1), 20))
    found = []
    for _ in range(2):
        assert monitor().exit_code == 0
        found.append({path.name: path.read_bytes() for path in Path("build/monitoring").iterdir()})
    assert found[0] == found[1]
    assert set(found[0]) == {"report.html", "monitor.json"}


def test_drift_fails_after_all_else_is_done() -> None:
    evaluate(sample(np.random.default_rng(0), 200))
    serve(sample(np.random.default_rng(1), 200), shade=20)
    result = monitor("--fail-on-drift")
    assert result.exit_code == 1
    assert "Error: Drifted: brightness, short side. Look at build/monitoring/report.html" in result.stderr
    assert json.loads(Path("build/monitoring/monitor.json").read_text())["drifted"] == ["brightness", "short_side"]
    assert "Drifted: brightness, short side." in Path("build/monitoring/report.html").read_text()
    assert "drifted" in result.stdout
    assert monitor().exit_code == 0


def test_no_drift_and_too_few_records_do_not_fail() -> None:
    records = sample(np.random.default_rng(0), 200)
    evaluate(records)
    write(Path("captured"), [line(one.event, said(one.confidence, one.label, known=one.known)) for one in records])
    assert monitor("--fail-on-drift").exit_code == 0
    write(Path("captured"), [line(answer=said(0.6))])
    result = monitor("--fail-on-drift")
    assert result.exit_code == 0
    assert "Features with fewer than 100 records or pictures are not judged." in result.stderr


def test_answers_that_name_neither_classes_nor_threshold_get_those_of_the_evaluation_and_of_the_option() -> None:
    evaluate(sample(np.random.default_rng(0), 200))
    write(Path("captured"), [line(answer="[0.15, 0.85]")])
    content = json.loads(monitor("--json", "--threshold", "0.9").stdout)
    assert content["labels"] == {"motorcycle": 1}
    assert content["held_back"]["count"] == 1
    assert json.loads(monitor("--json", "--threshold", "0.8").stdout)["held_back"]["count"] == 0


def test_last_seven_days_are_looked_at_where_nothing_else_is_said() -> None:
    now = datetime.now(UTC)
    ages = (timedelta(days=8), timedelta(days=6), timedelta(minutes=1), timedelta(days=-1))
    for number, age in enumerate(ages):
        write(Path("captured"), [line(str(number), at=now - age)], now - age)
    content = json.loads(run("--capture", "captured", "--json").stdout)
    assert content["counts"]["records"] == 2
    assert content["counts"]["files"] == 2
    assert json.loads(run("--capture", "captured", "--json", "--since", "9d").stdout)["counts"]["records"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--capture", "nowhere"), "There is no folder nowhere."),
        (("--capture", "empty"), "empty has no record from 2026-03-01 00:00:00 to 2026-03-09 00:00:00 UTC."),
        (("--capture", "broken"), "Records of another time: 0. Left out: 1 broken line, the first at shop/"),
        (("--capture", "captured", "--until", "2026-02-01"), "The range ends before it begins"),
        (("--capture", "captured", "--until", "2026-03-02"), "There are no capture files of that time."),
        (("--capture", "captured", "--since", "noon"), "'noon' is no time. Write it as"),
        (("--capture", "s3://"), "'s3://' is no place in S3"),
        (
            ("--capture", "captured", "--fail-on-drift"),
            "There is no build/evaluation/metrics.json to see drift against.",
        ),
        (("--capture", "captured", "--evaluation", "broken"), "broken/metrics.json holds no baseline that can be read"),
        (("--capture", "captured", "--threshold", "2"), "2.0 is not in the range 0<=x<=1"),
        (("--capture", "captured", "--threshold", "nan"), "nan is no number."),
    ],
)
def test_what_has_to_change_is_told_and_nothing_is_written(options: tuple[str, ...], message: str) -> None:
    Path("empty").mkdir()
    write(Path("broken"), ["nonsense"])
    Path("broken/metrics.json").write_text("nonsense")
    write(Path("captured"), [line()])
    result = run(*RANGE, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not result.stdout
    assert not Path("build").exists()


def test_help_tells_every_option_and_what_exit_codes_mean() -> None:
    result = run("--help")
    for option in ("--stage", "--endpoint", "--capture", "--evaluation", "--since", "--until", "--threshold", "--out"):
        assert option in result.stdout
    for option in ("--cloudwatch", "--fail-on-drift", "--json", "[default: 7d]", "[default: build/evaluation]"):
        assert option in result.stdout
    assert "Exit code 2" in result.stdout


def captured_by(stack: Stack, *options: str) -> Result:
    stack.endpoint.flush_capture()
    return run("--capture", f"s3://{stack.capture_bucket}/", "--json", *options)


@pytest.fixture
def since(stack: Stack) -> str:
    """A moment after all that the endpoint was asked before; captured times have whole seconds."""
    now = datetime.now(UTC)
    time.sleep(1 - now.microsecond / 1e6)
    return (now + timedelta(seconds=1)).isoformat(timespec="seconds")


def test_exactly_what_the_workflow_asked_is_seen_with_the_ids_of_its_records(
    stack: Stack, ended: Callable[[str], StoredRecord], since: str
) -> None:
    pictures = {"bicycle": drawings.bicycle(), "motorcycle": drawings.motorcycle(), "house": drawings.house()}
    sources = [stack.drop(f"monitored/{name}.png", drawings.encode(image)) for name, image in pictures.items()]
    records = {record.id: record for record in (ended(workflow.identity(source)) for source in sources)}
    result = captured_by(stack, "--since", since)
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["counts"]["records"] == 3
    assert content["counts"]["without_picture"] == 0
    seen = {one["inference_id"]: one for one in content["least_sure"]}
    assert set(seen) == set(records)
    for identity, record in records.items():
        assert seen[identity]["label"] == record.label
        assert seen[identity]["confidence"] == pytest.approx(record.confidence)
        assert seen[identity]["held_back"] == (record.status is Status.REVIEW)
    assert {record.status for record in records.values()} == {Status.ACCEPTED, Status.REVIEW}


def test_numbers_of_the_embedded_endpoint_reach_cloudwatch(stack: Stack, since: str) -> None:
    runtime = boto3.client("sagemaker-runtime", endpoint_url=stack.endpoint_url)
    for _ in range(2):
        runtime.invoke_endpoint(EndpointName=stack.settings.endpoint_name, Body=BICYCLE, ContentType="image/png")
    result = captured_by(stack, "--since", since, "--cloudwatch", "--endpoint", "monitored")
    assert result.exit_code == 0, result.output
    assert "Sent 3 metrics to CloudWatch, SconesUnlimited/Model." in result.stderr
    metrics = boto3.client("cloudwatch", endpoint_url=stack.aws_url).list_metrics(
        Namespace="SconesUnlimited/Model", Dimensions=[{"Name": "EndpointName", "Value": "monitored"}]
    )["Metrics"]
    assert {one["MetricName"] for one in metrics} == {"Records", "HeldBackShare", "MedianConfidence"}


@pytest.fixture
def registered(project: Project) -> Project:
    """A project whose model is in the registry and may be deployed."""
    assert project.evaluate().exit_code == 0
    assert project.register("model", "--approve").exit_code == 0
    return project


def test_what_a_deployed_endpoint_captures_is_found_by_its_name(registered: Project, stack: Stack) -> None:
    deployed = registered.deploy()
    assert deployed.exit_code == 0, deployed.output
    runtime = boto3.client("sagemaker-runtime", endpoint_url=stack.endpoint_url)
    for number in range(3):
        runtime.invoke_endpoint(
            EndpointName="scones-unlimited-dev", Body=BICYCLE, ContentType="image/png", InferenceId=f"mine-{number}"
        )
    stack.endpoint.flush_capture()
    result = run("--json", "--evaluation", str(registered.evaluation()))
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["capture"] == f"s3://{stack.training_bucket}/training/capture/scones-unlimited-dev"
    assert content["models"] == {"drawn-1": content["counts"]["records"]}
    assert {one["inference_id"] for one in content["least_sure"]} >= {"mine-0", "mine-1", "mine-2"}
    assert content["baseline"]["model"] == "drawn-1"


def test_serverless_endpoint_captures_nothing_and_that_is_told(registered: Project) -> None:
    deployed = registered.deploy("--serverless")
    assert deployed.exit_code == 0, deployed.output
    result = run()
    assert result.exit_code == 2
    assert "The endpoint scones-unlimited-dev captures nothing; serverless ones cannot." in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--capture", "s3://no-such-bucket/x"), 2, "There is no bucket no-such-bucket. Name another with --capture."),
        (("--endpoint", "nobody"), 2, "There is no endpoint nobody in us-east-1. Deploy it with"),
        (("--stage", "nowhere"), 2, "There is no endpoint scones-unlimited-nowhere in us-east-1."),
    ],
)
def test_what_is_not_there_on_aws_is_told(stack: Stack, options: tuple[str, ...], code: int, message: str) -> None:
    result = run(*options)
    assert (result.exit_code, message in result.stderr) == (code, True), result.output


def test_bucket_without_capture_files_is_told(stack: Stack, plain_bucket: str) -> None:
    result = run("--capture", f"s3://{plain_bucket}/nothing/here", *RANGE)
    assert result.exit_code == 2
    assert "s3://plain/nothing/here has no record from" in result.stderr
