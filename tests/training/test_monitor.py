import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from local.stack import Stack
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
    write,
)
from tests.training.recorder import Recorder
from training import aws, capture, drift, monitor
from training.aws import Place
from training.capture import Broken, Reading, Rules, Span
from training.drift import Baseline
from training.errors import InputError, ModelError
from training.layout import METRICS_FILE
from training.monitor import Findings

BICYCLE = drawings.encode(drawings.bicycle(64))


def find_out(reading: Reading, baseline: Baseline | None = None, span: Span = ALWAYS) -> Findings:
    return monitor.find_out("shop", "s3://bucket/capture", span, reading, baseline)


@pytest.fixture
def clients() -> Iterator[None]:
    """Clients that are made anew."""
    aws.client.cache_clear()
    aws.account.cache_clear()
    yield
    aws.client.cache_clear()
    aws.account.cache_clear()


@pytest.fixture
def recorder(clients: None, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(boto3, "Session", recorder.session)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return recorder


def endpoint(**more: Any) -> dict[str, Any]:
    return {"EndpointName": "shop", "EndpointArn": "arn", "EndpointStatus": "InService", **more}


CAPTURED = {
    "EnableCapture": True,
    "CaptureStatus": "Started",
    "CurrentSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/some/capture/",
    "KmsKeyId": "",
}


def test_capture_is_looked_for_where_the_endpoint_says(recorder: Recorder) -> None:
    recorder.answers["DescribeEndpoint"] = lambda _: endpoint(DataCaptureConfig=CAPTURED)
    assert monitor.capture_place("shop") == Place("bucket", "some/capture/shop")
    assert recorder.sent == [("DescribeEndpoint", {"EndpointName": "shop"})]


@pytest.mark.parametrize("more", [{}, {"DataCaptureConfig": CAPTURED | {"EnableCapture": False}}])
def test_endpoint_that_captures_nothing_is_told_with_what_to_do(recorder: Recorder, more: dict[str, Any]) -> None:
    recorder.answers["DescribeEndpoint"] = lambda _: endpoint(**more)
    with pytest.raises(
        InputError, match=r"shop captures nothing; serverless ones cannot\. Deploy it without --serverless"
    ):
        monitor.capture_place("shop")


def test_endpoint_that_is_not_there_is_told_with_what_to_do(recorder: Recorder) -> None:
    missing = {"Code": "ValidationException", "Message": 'Could not find endpoint "shop".'}
    recorder.answers["DescribeEndpoint"] = lambda _: {"Error": missing}
    with pytest.raises(InputError, match=r"no endpoint shop in us-east-1\. Deploy it with `python -m training deploy`"):
        monitor.capture_place("shop")


def test_refusal_of_aws_is_not_taken_for_a_missing_endpoint(recorder: Recorder) -> None:
    recorder.answers["DescribeEndpoint"] = lambda _: {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
    with pytest.raises(ClientError, match="AccessDeniedException"):
        monitor.capture_place("shop")


def test_folder_without_an_evaluation_has_no_baseline(tmp_path: Path) -> None:
    assert monitor.read_baseline(tmp_path / "nowhere") is None


def test_baseline_is_read_from_the_metrics_of_the_evaluation(tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).write_text(json.dumps(metrics_of([record(0), record(1)])))
    baseline = monitor.read_baseline(tmp_path)
    assert baseline
    assert baseline.labels == {"bicycle": 2, "motorcycle": 0}


@pytest.mark.parametrize("content", ["", "nonsense", "[]", "{}", '{"version": 0}', '{"version": 1}', "\udcff"])
def test_metrics_that_cannot_be_used_are_told_with_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / METRICS_FILE).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match=r"holds no baseline that can be read: .*`python -m training evaluate`"):
        monitor.read_baseline(tmp_path)


@pytest.mark.parametrize(
    ("length", "width"),
    [
        (timedelta(0), timedelta(minutes=1)),
        (timedelta(minutes=58), timedelta(minutes=1)),
        (timedelta(hours=1), timedelta(minutes=5)),
        (timedelta(days=1), timedelta(hours=1)),
        (timedelta(days=7), timedelta(hours=3)),
        (timedelta(days=60), timedelta(days=2)),
        (timedelta(days=365), timedelta(days=7)),
    ],
)
def test_slots_are_as_short_as_a_chart_has_room_for(length: timedelta, width: timedelta) -> None:
    assert monitor.slot_width([record(0), record(1, time=NOON + length)]) == width


@given(st.lists(st.timedeltas(timedelta(0), timedelta(days=400)), min_size=1))
def test_every_record_is_in_the_slot_of_its_time_and_a_chart_has_room_for_all(after: list[timedelta]) -> None:
    records = [record(number, time=NOON + one) for number, one in enumerate(sorted(after))]
    width = monitor.slot_width(records)
    slots = monitor.slots(records, width)
    assert len(slots) <= monitor.MAX_SLOTS
    assert sum(slot.records for slot in slots) == len(records)
    for slot in slots:
        inside = [one for one in records if slot.start <= one.time < slot.start + width]
        assert slot.records == len(inside) > 0


def test_slot_tells_what_is_in_it_and_an_empty_one_is_missing() -> None:
    hour = timedelta(hours=1)
    records = [
        record(0, confidence=0.6),
        record(1, label="motorcycle", confidence=1.0),
        record(2, time=NOON + 5 * hour, confidence=0.7),
    ]
    first, last = monitor.slots(records, hour)
    assert (first.start, first.records, first.held_back) == (NOON, 2, 1)
    assert first.labels == {"bicycle": 1, "motorcycle": 1}
    assert first.confidence == pytest.approx((0.64, 0.8, 0.96))
    assert (last.start, last.records, last.confidence) == (NOON + 5 * hour, 1, (0.7, 0.7, 0.7))


def test_findings_count_labels_models_and_what_is_held_back() -> None:
    models = ["m1", "m2", "m2", None]
    records = [record(number, model=model) for number, model in enumerate(models)]
    findings = find_out(reading_of([*records, record(9, label="apple", confidence=0.5, model="m2")]))
    assert findings.models == {"m2": 3, "m1": 1, "not named": 1}
    assert findings.labels == {"apple": 1, "bicycle": 4}
    assert findings.held_back == 1
    assert findings.drifts == []


def test_least_sure_are_those_whose_pictures_were_kept() -> None:
    lines = [line(str(number), said(0.6 + number / 10), picture=BICYCLE) for number in range(3)]
    findings = find_out(read_lines(*lines, rules=Rules(ALWAYS, keep=2)))
    assert [one.event for one in findings.least_sure] == ["0", "1"]


def test_no_record_is_told_with_what_was_read_instead() -> None:
    span = Span(NOON, NOON + timedelta(days=1))
    with pytest.raises(
        InputError, match="s3://bucket/capture has no record from 2026-03-04 12:00:00 to 2026-03-05"
    ) as no:
        find_out(reading_of([], files=0), span=span)
    assert "There are no capture files of that time. Give another range with --since and --until." in str(no.value)
    broken = [Broken("a.jsonl:3", "this is no JSON")] * 2
    with pytest.raises(InputError) as some:
        find_out(reading_of([], files=2, outside=7, broken=broken), span=span)
    assert "Files read: 2. Records of another time: 7. Left out: 2 broken lines, the first at" in str(some.value)


def test_remarks_tell_what_is_missing() -> None:
    records = [record(0, short_side=None, brightness=None), record(1, model="m2"), record(2, model=None)]
    findings = find_out(
        reading_of(records, broken=[Broken("a.jsonl:3", "why")]), Baseline.parse(metrics_of([record(0)] * 200))
    )
    assert findings.remarks == [
        "Left out: 1 broken line, the first at a.jsonl:3: why.",
        "Records without a picture that can be read: 1. Brightness and size leave them out.",
        "The evaluation is of the model m1, but m2 answered, too: drift may come from the model.",
        "Features with fewer than 100 records or pictures are not judged.",
    ]


def test_without_an_evaluation_a_remark_says_how_to_make_one() -> None:
    assert find_out(reading_of([record(0)])).remarks == [
        "There is no evaluation to compare with. Make one with `python -m training evaluate`."
    ]


def test_nothing_is_remarked_where_all_is_well() -> None:
    records = sample(np.random.default_rng(0), 120)
    assert find_out(reading_of(records), Baseline.parse(metrics_of(records))).remarks == []


def test_same_files_give_the_same_json(tmp_path: Path) -> None:
    for number, at in enumerate(hourly(30)):
        lines = [line(f"{number}-{one}", said(0.6 + one / 10), at, BICYCLE) for one in range(4)]
        write(tmp_path, [*lines, lines[0], "broken"], at)
    baseline = Baseline.parse(metrics_of(sample(np.random.default_rng(0), 200)))

    def text() -> str:
        reading = capture.read(capture.files_in_folder(tmp_path, ALWAYS), Rules(ALWAYS, keep=7), lambda: None)
        return json.dumps(monitor.summary(find_out(reading, baseline)), allow_nan=False)

    assert text() == text()


def test_json_tells_everything() -> None:
    lines = [line("a", said(0.6), picture=BICYCLE, inference_id="id-a"), line("b", at=NOON + timedelta(minutes=1)), "{"]
    reading = read_lines(*lines, line("b"), rules=Rules(ALWAYS, keep=1))
    baseline = Baseline.parse(metrics_of(sample(np.random.default_rng(0), 200)))
    content = json.loads(json.dumps(monitor.summary(find_out(reading, baseline)), allow_nan=False))
    assert content["endpoint"] == "shop"
    assert content["range"] == {
        "since": "2001-01-01T00:00:00Z",
        "until": "2099-01-01T00:00:00Z",
        "first": "2026-03-04T12:00:00Z",
        "last": "2026-03-04T12:01:00Z",
    }
    assert content["counts"] == {
        "records": 2,
        "files": 1,
        "broken": 1,
        "repeated": 1,
        "outside": 0,
        "without_picture": 1,
    }
    assert content["broken"][0]["place"] == "a.jsonl:3"
    assert content["held_back"]["count"] == 1
    assert [slot["start"] for slot in content["slots"]] == ["2026-03-04T12:00:00Z", "2026-03-04T12:01:00Z"]
    assert content["confidence"]["p50"] == pytest.approx(0.785)
    assert [one["feature"] for one in content["drift"]] == list(drift.NAMES)
    assert content["drifted"] == []
    (least_sure,) = content["least_sure"]
    assert (least_sure["event"], least_sure["inference_id"], least_sure["held_back"]) == ("a", "id-a", True)


def test_no_more_broken_lines_are_named_than_can_be_read() -> None:
    broken = [Broken(f"a.jsonl:{number}", "why") for number in range(500)]
    content = monitor.summary(find_out(reading_of([record(0)], broken=broken)))
    assert content["counts"]["broken"] == 500
    assert len(content["broken"]) == monitor.MAX_BROKEN


def drifted() -> Findings:
    generator = np.random.default_rng(1)
    baseline = Baseline.parse(metrics_of(sample(generator, 300)))
    return find_out(reading_of(sample(generator, 300, light=0.4)), baseline)


def test_numbers_that_were_sent_can_be_read_back_from_cloudwatch(stack: Stack, clients: None) -> None:
    findings = drifted()
    start = datetime.now(UTC) - timedelta(minutes=5)
    assert monitor.put_metrics(findings) == 10
    cloudwatch = boto3.client("cloudwatch", endpoint_url=stack.aws_url)
    listed = cloudwatch.list_metrics(Namespace="SconesUnlimited/Model")["Metrics"]
    found = {}
    for metric in listed:
        statistics = cloudwatch.get_metric_statistics(
            **metric, StartTime=start, EndTime=start + timedelta(minutes=10), Period=600, Statistics=["Average"]
        )
        dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
        assert dimensions.pop("EndpointName") == "shop"
        found[metric["MetricName"], dimensions.get("Feature")] = statistics["Datapoints"][0]["Average"]
    assert found == pytest.approx(
        {
            ("Records", None): 300,
            ("HeldBackShare", None): findings.held_back / 300,
            ("MedianConfidence", None): float(np.median([one.confidence for one in findings.records])),
            ("DriftedFeatures", None): 1,
            **{("PopulationStabilityIndex", one.feature): one.psi for one in findings.drifts},
        }
    )
    assert found["PopulationStabilityIndex", "brightness"] > drift.CUT


def test_drift_that_was_not_judged_is_not_sent(recorder: Recorder) -> None:
    findings = find_out(reading_of([record(0)]), Baseline.parse(metrics_of([record(0)] * 200)))
    monitor.put_metrics(findings)
    (request,) = recorder.of("PutMetricData")
    assert request["Namespace"] == "SconesUnlimited/Model"
    assert [one["MetricName"] for one in request["MetricData"]] == ["Records", "HeldBackShare", "MedianConfidence"]


def test_drift_of_a_month_is_judged_in_seconds() -> None:
    generator = np.random.default_rng(2)
    records = sample(generator, 30_000)
    baseline = Baseline.parse(metrics_of(sample(generator, 300)))
    start = time.perf_counter()
    find_out(reading_of(records), baseline)
    assert time.perf_counter() - start < 10
