"""Pictures through the whole system: S3, the trigger, the workflow, the model, the record."""

import base64
import csv
import importlib
import io
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote_plus
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from chalicelib import aws, inbox, store, workflow
from chalicelib.decision import Reason
from chalicelib.inbox import Source
from chalicelib.settings import Settings
from chalicelib.store import Record, Status
from local import functions, samples
from local.endpoint import Fault
from local.stack import Stack
from tests.conftest import wait_for

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
DEADLINE = 30.0
MAX_STATE = 256 * 1024

BICYCLE = samples.encode(samples.render(samples.draw_bicycle), "PNG")
MOTORCYCLE = samples.encode(samples.render(samples.draw_motorcycle), "JPEG")
HOUSE = samples.encode(samples.render(samples.draw_house), "WEBP")

THROTTLED = Fault(400, "ThrottlingException", "Rate exceeded")
STARTING = Fault(429, "ModelNotReadyException", "The model is not ready yet")
CRASHED = Fault(424, "ModelError", "worker died", original_status=500)
REFUSED = Fault(424, "ModelError", "what is this?", original_status=415)


@pytest.fixture(autouse=True)
def healthy(stack: Stack) -> Iterator[None]:
    """Each test leaves the system as it found it."""
    before = stack.functions.before
    yield
    stack.functions.before = before
    stack.functions.lost.clear()
    stack.endpoint.faults.clear()


def fresh(name: str = "photo.png") -> str:
    return f"{uuid4()}/{name}"


def classify(stack: Stack, data: bytes, name: str = "photo.png") -> Record:
    return wait_for(stack, workflow.identity(stack.drop(fresh(name), data)))


def execution(stack: Stack, name: str) -> dict[str, Any]:
    arn = stack.settings.state_machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        described: dict[str, Any] = aws.client("stepfunctions").describe_execution(executionArn=arn)
        if described["status"] != "RUNNING":
            return described
        time.sleep(0.05)
    pytest.fail(f"{name} is still running")


def history(stack: Stack, name: str) -> list[dict[str, Any]]:
    arn = execution(stack, name)["executionArn"]
    events: list[dict[str, Any]] = aws.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)[
        "events"
    ]
    return events


def executions_of(stack: Stack, identity: str) -> list[str]:
    pages = aws.client("stepfunctions").get_paginator("list_executions")
    machine = stack.settings.state_machine_arn
    return [
        one["name"]
        for page in pages.paginate(stateMachineArn=machine)
        for one in page["executions"]
        if one["name"].startswith(identity)
    ]


def s3_event(*sources: Source) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventVersion": "2.6",
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": source.bucket},
                    "object": {
                        "key": quote_plus(source.key),
                        "size": 1,
                        "eTag": source.etag,
                        "versionId": source.version_id,
                    },
                },
            }
            for source in sources
        ]
    }


def put_silently(stack: Stack, key: str, data: bytes) -> Source:
    """Into the inbox without S3 telling anyone, so that the test delivers the events."""
    with patch("moto.s3.notifications._invoke_awslambda"):
        return stack.drop(key, data)


class TestEndings:
    @pytest.mark.parametrize(("data", "label"), [(BICYCLE, "bicycle"), (MOTORCYCLE, "motorcycle")])
    def test_a_picture_that_is_clear_is_accepted_with_all_that_the_decision_rests_on(
        self, stack: Stack, data: bytes, label: str
    ) -> None:
        record = classify(stack, data, "photo")
        assert (record.status, record.label, record.reason) == (Status.ACCEPTED, label, None)
        assert record.labels == ("bicycle", "motorcycle")
        assert record.inferences is not None
        assert record.known is not None
        assert record.threshold is not None
        assert record.min_known is not None
        assert record.confidence == max(record.inferences) >= record.threshold
        assert record.known >= record.min_known
        assert record.model
        assert execution(stack, record.id)["status"] == "SUCCEEDED"

    def test_a_picture_of_something_else_waits_for_a_person_and_fails_loudly(self, stack: Stack) -> None:
        record = classify(stack, HOUSE, "house.webp")
        assert record.status is Status.REVIEW
        assert record.label is not None
        assert record.reason_code is Reason.UNKNOWN_OBJECT
        assert "may be neither bicycle nor motorcycle" in str(record.reason)
        ended = execution(stack, record.id)
        assert (ended["status"], ended["error"]) == ("FAILED", "THRESHOLD_CONFIDENCE_NOT_MET")
        assert "may be neither" in ended["cause"]

    @pytest.mark.parametrize(
        ("name", "data", "reason"),
        [
            ("empty.jpg", b"", "empty"),
            ("truncated.png", BICYCLE[: len(BICYCLE) // 2], "damaged"),
            ("notes.txt", b"Bring milk.", "not a picture"),
            ("photo.jpg", BICYCLE, "PNG"),
            ("page.jpg", b"%PDF-1.7 and so on", "PDF"),
        ],
    )
    def test_what_is_no_whole_picture_is_rejected_with_a_reason(
        self, stack: Stack, name: str, data: bytes, reason: str
    ) -> None:
        record = classify(stack, data, name)
        assert record.status is Status.REJECTED
        assert reason in str(record.reason)
        assert execution(stack, record.id)["error"] == "INVALID_IMAGE"

    def test_a_picture_that_is_deleted_before_it_is_read_is_rejected(self, stack: Stack) -> None:
        source = put_silently(stack, fresh(), BICYCLE)
        aws.client("s3").delete_object(Bucket=source.bucket, Key=source.key, VersionId=source.version_id)
        stack.functions.deliver("on_picture", json.dumps(s3_event(source)))
        record = wait_for(stack, workflow.identity(source))
        assert (record.status, "deleted" in str(record.reason)) == (Status.REJECTED, True)


class TestThresholdsOfTheStage:
    """Each of the two alone, as the functions read it from their environment; the other one is the model's own."""

    @staticmethod
    def classify_with(
        stack: Stack, monkeypatch: pytest.MonkeyPatch, data: bytes, environment: dict[str, str]
    ) -> Record:
        settings = Settings.from_environment({**os.environ, **environment})
        monkeypatch.setattr(importlib.import_module("app"), "settings", settings)
        return classify(stack, data, "photo")

    @pytest.mark.parametrize(
        ("environment", "code"),
        [
            ({}, None),
            ({"CONFIDENCE_THRESHOLD": "1"}, Reason.LOW_CONFIDENCE),
            ({"MIN_KNOWN": "1"}, Reason.UNKNOWN_OBJECT),
            ({"CONFIDENCE_THRESHOLD": "1", "MIN_KNOWN": "1"}, Reason.UNKNOWN_OBJECT),
        ],
    )
    def test_a_stricter_one_holds_back_what_the_model_would_accept_for_its_own_reason(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], code: Reason | None
    ) -> None:
        own = classify(stack, BICYCLE)
        record = self.classify_with(stack, monkeypatch, BICYCLE, environment)
        assert own.status is Status.ACCEPTED
        assert (record.status, record.reason_code) == (Status.REVIEW if code else Status.ACCEPTED, code)
        assert record.threshold == float(environment.get("CONFIDENCE_THRESHOLD", own.threshold or 0))
        assert record.min_known == float(environment.get("MIN_KNOWN", own.min_known or 0))
        if code:
            words = {Reason.LOW_CONFIDENCE: "Not sure whether", Reason.UNKNOWN_OBJECT: "This may be neither"}[code]
            assert str(record.reason).startswith(words)
            assert str(record.reason).endswith(" 100 % needed.")
            assert execution(stack, record.id)["error"] == "THRESHOLD_CONFIDENCE_NOT_MET"

    @pytest.mark.parametrize(
        ("environment", "codes"),
        [
            ({"CONFIDENCE_THRESHOLD": "0"}, {Reason.UNKNOWN_OBJECT}),
            ({"MIN_KNOWN": "0"}, {None, Reason.LOW_CONFIDENCE}),
            ({"MIN_KNOWN": "0", "CONFIDENCE_THRESHOLD": "0"}, {None}),
            ({"MIN_KNOWN": "0", "CONFIDENCE_THRESHOLD": "1"}, {Reason.LOW_CONFIDENCE}),
        ],
    )
    def test_a_laxer_one_takes_away_its_own_reason_alone(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], codes: set[Reason | None]
    ) -> None:
        assert self.classify_with(stack, monkeypatch, HOUSE, environment).reason_code in codes


class TestEndpointTrouble:
    def test_an_endpoint_that_is_busy_twice_is_asked_a_third_time(self, stack: Stack) -> None:
        stack.endpoint.faults.extend([THROTTLED, STARTING])
        record = classify(stack, BICYCLE)
        assert record.status is Status.ACCEPTED
        failures = [event.get("taskFailedEventDetails", {}).get("error") for event in history(stack, record.id)]
        assert [error for error in failures if error] == ["EndpointBusy", "EndpointBusy"]

    def test_a_model_that_crashes_once_is_asked_again(self, stack: Stack) -> None:
        stack.endpoint.faults.append(CRASHED)
        assert classify(stack, BICYCLE).status is Status.ACCEPTED

    def test_a_model_that_refuses_a_picture_is_not_asked_again(self, stack: Stack) -> None:
        stack.endpoint.faults.extend([REFUSED] * 5)
        record = classify(stack, BICYCLE)
        assert (record.status, len(stack.endpoint.faults)) == (Status.FAILED, 4)
        assert "refused the picture" in str(record.reason)

    def test_while_the_endpoint_is_down_pictures_end_as_failed_and_starting_them_again_mends_it(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = put_silently(stack, fresh(), BICYCLE)
        with monkeypatch.context() as down:
            down.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "http://127.0.0.1:1")
            aws.client.cache_clear()
            stack.functions.deliver("on_picture", json.dumps(s3_event(source)))
            record = wait_for(stack, workflow.identity(source))
        aws.client.cache_clear()
        assert (record.status, record.attempt) == (Status.FAILED, 1)
        assert "out of reach" in str(record.reason)
        assert execution(stack, record.id)["error"] == "CLASSIFICATION_FAILED"

        answer = httpx.post(f"{stack.api_url}/classifications", json={"key": source.key})
        assert answer.status_code == 202
        again = wait_for(stack, record.id)
        assert (again.status, again.attempt, again.reason) == (Status.ACCEPTED, 2, None)
        assert sorted(executions_of(stack, record.id)) == [record.id, f"{record.id}-2"]

    def test_dropping_a_picture_that_failed_again_is_a_new_picture(self, stack: Stack) -> None:
        stack.endpoint.faults.append(REFUSED)
        key = fresh()
        failed = wait_for(stack, workflow.identity(stack.drop(key, BICYCLE)))
        again = wait_for(stack, workflow.identity(stack.drop(key, BICYCLE)))
        assert (failed.status, again.status) == (Status.FAILED, Status.ACCEPTED)
        assert failed.id != again.id


class TestDyingFunctions:
    @staticmethod
    def dies(stack: Stack, function: str, times: int) -> None:
        left = [times]

        def die(name: str, _event: Any) -> None:
            if name == function and left[0]:
                left[0] -= 1
                raise SystemExit(137)

        stack.functions.before = die

    @pytest.mark.parametrize("function", ["serialize", "classify", "filter"])
    def test_a_step_that_dies_once_is_tried_again(self, stack: Stack, function: str) -> None:
        self.dies(stack, function, times=1)
        assert classify(stack, BICYCLE).status is Status.ACCEPTED

    @pytest.mark.parametrize("function", ["serialize", "classify", "filter"])
    def test_a_step_that_always_dies_ends_as_failed(self, stack: Stack, function: str) -> None:
        self.dies(stack, function, times=99)
        record = classify(stack, BICYCLE)
        assert record.status is Status.FAILED
        assert "exited" in str(record.reason)

    def test_a_trigger_that_dies_twice_is_tried_a_third_time(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(functions, "RETRY_DELAYS", (0.01, 0.01))
        self.dies(stack, "on_picture", times=2)
        assert classify(stack, BICYCLE).status is Status.ACCEPTED

    def test_an_event_whose_trigger_dies_three_times_is_visibly_lost(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(functions, "RETRY_DELAYS", (0.01, 0.01))
        self.dies(stack, "on_picture", times=3)
        source = stack.drop(fresh(), BICYCLE)
        deadline = time.monotonic() + DEADLINE
        while not stack.functions.lost and time.monotonic() < deadline:
            time.sleep(0.02)
        (lost,) = stack.functions.lost
        assert (lost.function, str(source.version_id) in lost.event) == ("on_picture", True)
        assert "its event is lost" in caplog.text


class TestIdentity:
    def test_a_duplicate_event_classifies_once_and_keeps_the_first_result(self, stack: Stack) -> None:
        seen = []
        stack.functions.before = lambda name, _event: seen.append(name)
        source = put_silently(stack, fresh(), BICYCLE)
        event = json.dumps(s3_event(source))
        for _ in range(3):
            stack.functions.deliver("on_picture", event)
        first = wait_for(stack, workflow.identity(source))
        assert not stack.functions.invoke("on_picture", event).failed
        answer = httpx.post(f"{stack.api_url}/classifications", json={"key": source.key})
        assert answer.status_code == 200
        assert answer.json()["id"] == first.id
        assert store.get(stack.settings.records_table, first.id) == first
        assert executions_of(stack, first.id) == [first.id]
        assert seen.count("classify") == 1

    def test_a_new_version_of_a_key_is_a_new_picture_whatever_the_order_of_the_events(self, stack: Stack) -> None:
        key = fresh("photo")
        old, new = put_silently(stack, key, BICYCLE), put_silently(stack, key, MOTORCYCLE)
        for source in (new, old):
            assert not stack.functions.invoke("on_picture", json.dumps(s3_event(source))).failed
        assert wait_for(stack, workflow.identity(old)).label == "bicycle"
        assert wait_for(stack, workflow.identity(new)).label == "motorcycle"

    def test_a_reupload_is_classified_anew(self, stack: Stack) -> None:
        key = fresh("photo")
        first = wait_for(stack, workflow.identity(stack.drop(key, BICYCLE)))
        second = wait_for(stack, workflow.identity(stack.drop(key, MOTORCYCLE)))
        assert (first.label, second.label) == ("bicycle", "motorcycle")

    def test_an_event_of_several_records_starts_each(self, stack: Stack) -> None:
        sources = [put_silently(stack, fresh(), data) for data in (BICYCLE, HOUSE, b"broken")]
        stack.functions.deliver("on_picture", json.dumps(s3_event(*sources)))
        ended = [wait_for(stack, workflow.identity(source)).status for source in sources]
        assert ended == [Status.ACCEPTED, Status.REJECTED, Status.REJECTED]

    @pytest.mark.parametrize(
        "name",
        [
            "with space.png",
            "a+b.png",
            "100%25.png",
            "%2e%2e/%2Fetc.png",
            "größe 自転車 🚲.png",
            "quote'\"{}$.png",
            "x" * 1009 + ".png",
            "ü" * 500 + ".png",
        ],
    )
    def test_any_key_that_s3_takes_goes_through(self, stack: Stack, name: str) -> None:
        source = stack.drop(name, BICYCLE)
        record = wait_for(stack, workflow.identity(source))
        assert (record.status, record.s3_key) == (Status.ACCEPTED, inbox.PREFIX + name)

    def test_the_inference_id_of_the_capture_is_the_id_of_the_record(self, stack: Stack) -> None:
        record = classify(stack, BICYCLE)
        stack.endpoint.flush_capture()
        listed = aws.client("s3").list_objects_v2(Bucket=stack.capture_bucket)["Contents"]
        lines = [
            json.loads(line)
            for item in listed
            for line in aws.client("s3").get_object(Bucket=stack.capture_bucket, Key=item["Key"])["Body"].iter_lines()
        ]
        (captured,) = [line for line in lines if line["eventMetadata"].get("inferenceId") == record.id]
        data = captured["captureData"]
        assert Image.open(io.BytesIO(base64.b64decode(data["endpointInput"]["data"]))).format in ("JPEG", "PNG")
        assert json.loads(data["endpointOutput"]["data"])["model"] == record.model


class TestWorkflow:
    def test_the_picture_leaves_the_state_once_it_is_classified(self, stack: Stack) -> None:
        record = classify(stack, BICYCLE)
        events = history(stack, record.id)
        entered = {
            event["stateEnteredEventDetails"]["name"]: event["stateEnteredEventDetails"]["input"]
            for event in events
            if "stateEnteredEventDetails" in event
        }
        assert "image_data" in entered["Classify"]
        assert "image_data" not in entered["Filter"]
        assert "image_data" not in entered["RecordAccepted"]

    def test_worst_case_noise_stays_under_the_limit_of_a_state(self, stack: Stack) -> None:
        noise = Image.frombytes("RGB", (2000, 1500), random.Random(7).randbytes(2000 * 1500 * 3))
        record = wait_for(stack, workflow.identity(stack.drop("ü" * 500 + ".png", samples.encode(noise, "PNG"))))
        assert record.status is Status.REVIEW
        sizes = [len(json.dumps(event, default=str).encode()) for event in history(stack, record.id)]
        assert max(sizes) < MAX_STATE

    def test_an_execution_started_by_hand_gets_a_record_under_its_own_name(self, stack: Stack) -> None:
        source = put_silently(stack, fresh(), BICYCLE)
        name = f"by-hand-{uuid4()}"
        aws.client("stepfunctions").start_execution(
            stateMachineArn=stack.settings.state_machine_arn,
            name=name,
            input=json.dumps({"image_data": "", "s3_bucket": source.bucket, "s3_key": source.key}),
        )
        assert wait_for(stack, name).status is Status.ACCEPTED

    def test_an_execution_without_a_picture_says_what_it_wants(self, stack: Stack) -> None:
        name = f"nothing-{uuid4()}"
        machine = stack.settings.state_machine_arn
        aws.client("stepfunctions").start_execution(stateMachineArn=machine, name=name, input='{"s3_key": 7}')
        ended = execution(stack, name)
        assert (ended["error"], "s3_bucket" in ended["cause"]) == ("INVALID_INPUT", True)

    def test_a_late_ending_does_not_overwrite_the_first(self, stack: Stack) -> None:
        accepted = classify(stack, BICYCLE)
        late = json.loads(workflow.execution_input(accepted)) | {"version_id": "gone"}
        name = f"late-{uuid4()}"
        machine = stack.settings.state_machine_arn
        aws.client("stepfunctions").start_execution(stateMachineArn=machine, name=name, input=json.dumps(late))
        assert execution(stack, name)["status"] == "FAILED"
        standing = store.get(stack.settings.records_table, accepted.id)
        assert replace(standing, steps=accepted.steps) == accepted

    def test_results_do_not_start_the_workflow(self, stack: Stack) -> None:
        before = len(executions_of(stack, ""))
        aws.client("s3").put_object(Bucket=stack.settings.inbox_bucket, Key="results/photo.png", Body=BICYCLE)
        time.sleep(0.5)
        assert len(executions_of(stack, "")) == before


class TestRealPictures:
    def test_a_large_photo_is_classified_alike_upright_and_turned(self, stack: Stack) -> None:
        upright = Image.open(io.BytesIO(BICYCLE)).resize((4608, 3456))
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = io.BytesIO()
        upright.transpose(Image.Transpose.ROTATE_90).save(turned, "JPEG", exif=exif, quality=92)
        plain = classify(stack, samples.encode(upright, "JPEG"), "upright.jpg")
        other = classify(stack, turned.getvalue(), "turned.jpg")
        assert (plain.status, other.status) == (Status.ACCEPTED, Status.ACCEPTED)
        assert plain.confidence == pytest.approx(other.confidence, abs=0.01)

    @pytest.mark.skipif(not DATA.exists(), reason="the folder of real photos is not here")
    def test_the_16_megapixel_photo_is_classified_alike_upright_and_turned(self, stack: Stack) -> None:
        upright, turned = (
            classify(stack, (DATA / "large" / name).read_bytes(), name)
            for name in ("bicycle_16mp.jpg", "bicycle_16mp_exif6.jpg")
        )
        assert (upright.status, upright.label) == (turned.status, turned.label) == (Status.ACCEPTED, "bicycle")
        assert upright.confidence == pytest.approx(turned.confidence, abs=0.01)

    @pytest.mark.skipif(not DATA.exists(), reason="the folder of real photos is not here")
    def test_of_a_hundred_mixed_photos_none_is_lost_and_none_fails(self, stack: Stack) -> None:
        with (DATA / "photos" / "manifest.csv").open() as manifest:
            rows = random.Random(5).sample(list(csv.DictReader(manifest)), 100)
        dropped = [stack.drop(fresh(row["path"]), (DATA / "photos" / row["path"]).read_bytes()) for row in rows]
        ended = [wait_for(stack, workflow.identity(source)) for source in dropped]
        assert len({record.id for record in ended}) == 100
        assert {record.status for record in ended} <= {Status.ACCEPTED, Status.REVIEW, Status.REJECTED}
        accepted = [pair for pair in zip(ended, rows, strict=True) if pair[0].status is Status.ACCEPTED]
        assert sum(record.label == row["class"] for record, row in accepted) >= 0.95 * len(accepted)
