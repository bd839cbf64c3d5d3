"""What the three functions of the workflow do: the contracts of the state."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from chalicelib import aws, images, inbox, steps, store, workflow
from chalicelib.errors import (
    ImageNotFound,
    InvalidImage,
    InvalidInference,
    InvalidRequest,
    ThresholdConfidenceNotMet,
    UnsupportedImage,
)
from chalicelib.inbox import MAX_KEY_BYTES, PREFIX
from chalicelib.settings import DEFAULT_THRESHOLD, Settings
from chalicelib.steps import State
from chalicelib.store import Record, Status
from local import ROOT, samples
from local.endpoint import Fault
from local.stack import Stack
from tests import conftest
from tests.chalicelib import pictures
from tests.conftest import FakeAws

MAX_STATE = 256 * 1024
"""Bytes: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""

ROOM = 64 * 1024
"""Bytes to leave for what later steps add."""

SMALL = pictures.save(pictures.quarters(), "PNG")
BICYCLE = samples.encode(samples.render(samples.draw_bicycle), "JPEG")

SETTINGS = Settings("inbox", "records", "arn", "cyclops", ("bicycle", "motorcycle"), None, None)
CARRIED = {"id": "0" * 32, "attempt": 2, "s3_bucket": "b", "s3_key": "inbox/a.png", "etag": "e", "mine": {"x": [1]}}
PICTURED = CARRIED | {"image_data": base64.b64encode(SMALL).decode(), "content_type": "image/png", "inferences": []}
TOLD = {"labels": ["bicycle", "motorcycle"], "inferences": [0.25, 0.75]}


@pytest.fixture
def dropped(plain_bucket: str) -> Callable[..., State]:
    """The state that an execution begins with, the picture being in its bucket."""

    def drop(data: bytes, key: str = "") -> State:
        key = key or f"{PREFIX}{uuid4()}"
        aws.client("s3").put_object(Bucket=plain_bucket, Key=key, Body=data)
        return {"s3_bucket": plain_bucket, "s3_key": key}

    return drop


def test_a_small_picture_enters_the_state_byte_for_byte(dropped: Callable[..., State]) -> None:
    state = dropped(SMALL) | {"id": "0" * 32, "attempt": 3, "mine": {"x": [1]}}
    assert steps.serialize(state) == {
        **state,
        "image_data": base64.b64encode(SMALL).decode(),
        "content_type": "image/png",
        "inferences": [],
    }


def test_a_large_picture_enters_the_state_small(dropped: Callable[..., State]) -> None:
    state = steps.serialize(dropped(pictures.save(pictures.photo((1600, 1200)), "WEBP")))
    assert state["content_type"] == "image/png"
    assert Image.open(BytesIO(base64.b64decode(state["image_data"]))).size == (256, 192)
    assert len(state["image_data"]) <= images.MAX_ENCODED


def test_a_state_without_an_id_gets_the_one_that_the_trigger_would_give(dropped: Callable[..., State]) -> None:
    state = dropped(SMALL)
    source = inbox.find(state["s3_bucket"], state["s3_key"])
    assert steps.serialize(state | {"etag": source.etag})["id"] == workflow.identity(source)


def test_the_version_that_is_named_enters_the_state(versioned_bucket: str) -> None:
    first = aws.client("s3").put_object(Bucket=versioned_bucket, Key="inbox/v", Body=SMALL)["VersionId"]
    aws.client("s3").put_object(Bucket=versioned_bucket, Key="inbox/v", Body=BICYCLE)
    state = {"s3_bucket": versioned_bucket, "s3_key": "inbox/v"}
    entered = [steps.serialize(state | named)["image_data"] for named in ({"version_id": first}, {})]
    assert base64.b64decode(entered[0]) == SMALL
    assert entered[0] != entered[1]


@pytest.mark.parametrize(
    ("size", "picture_format"), [((192, 192), "PNG"), ((768, 192), "JPEG"), ((900, 800), "JPEG"), ((3000, 60), "PNG")]
)
@pytest.mark.parametrize("character", ["é", "🚲", "\u0001", '"'])
def test_the_worst_picture_under_the_worst_name_leaves_room_in_the_state(
    dropped: Callable[..., State], size: tuple[int, int], picture_format: str, character: str
) -> None:
    key = PREFIX + character * ((MAX_KEY_BYTES - len(PREFIX)) // len(character.encode()))
    state = dropped(pictures.save(pictures.noise(7, size), picture_format), key) | {"id": "0" * 32}
    assert len(json.dumps(steps.serialize(state)).encode()) < MAX_STATE - ROOM


@pytest.mark.parametrize("missing", ["s3_bucket", "s3_key"])
@pytest.mark.parametrize("value", ["", None, 5, ["x"]])
def test_a_state_that_does_not_name_a_picture_is_refused(missing: str, value: Any) -> None:
    state = {"s3_bucket": "b", "s3_key": "inbox/a.png"}
    with pytest.raises(InvalidRequest, match=f"no {missing}"):
        steps.serialize(state | {missing: value})
    with pytest.raises(InvalidRequest, match=f"no {missing}"):
        steps.serialize({name: text for name, text in state.items() if name != missing})


@pytest.mark.parametrize(
    ("data", "key", "expected"),
    [
        (b"", "inbox/empty.jpg", InvalidImage),
        (BICYCLE[:2000], "inbox/cut.jpg", InvalidImage),
        (b"%PDF-1.7 ...", "inbox/paper.pdf", UnsupportedImage),
        (BICYCLE, "inbox/lying.png", UnsupportedImage),
    ],
)
def test_a_picture_that_cannot_be_taken_is_told_by_name(
    dropped: Callable[..., State], data: bytes, key: str, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        steps.serialize(dropped(data, key))


def test_a_picture_that_is_gone_is_told_by_name(dropped: Callable[..., State]) -> None:
    state = dropped(SMALL)
    aws.client("s3").delete_object(Bucket=state["s3_bucket"], Key=state["s3_key"])
    with pytest.raises(ImageNotFound):
        steps.serialize(state)


def classified(fake_aws: FakeAws, answer: Any, settings: Settings = SETTINGS) -> State:
    fake_aws.says(conftest.Answer(body=json.dumps(answer).encode()))
    return steps.classify(settings, PICTURED)


def test_the_picture_leaves_the_state_as_the_answer_comes_in(fake_aws: FakeAws) -> None:
    more = {"known": 0.75, "threshold": 0.9, "min_known": 0.5, "model": "lite0-1"}
    assert classified(fake_aws, TOLD | more) == CARRIED | {
        "labels": ["bicycle", "motorcycle"],
        "inferences": [0.25, 0.75],
        "label": "motorcycle",
        "confidence": 0.75,
        "known": 0.75,
        "sureness": 0.75,
        "model": "lite0-1",
        "threshold": 0.9,
        "min_known": 0.5,
        "reason_code": "LOW_CONFIDENCE",
    }


def test_the_endpoint_is_asked_about_the_picture_under_the_id(fake_aws: FakeAws) -> None:
    classified(fake_aws, TOLD)
    (asked,) = fake_aws.asked
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert asked.path == "/endpoints/cyclops/invocations"
    assert asked.body == SMALL
    assert headers["content-type"] == "image/png"
    assert headers["x-amzn-sagemaker-inference-id"] == "0" * 32


def test_what_a_bare_list_does_not_tell_is_null_or_of_the_stage(fake_aws: FakeAws) -> None:
    state = classified(fake_aws, [0.25, 0.75])
    assert state["labels"] == ["bicycle", "motorcycle"]
    assert (state["known"], state["model"]) == (None, None)
    assert (state["threshold"], state["min_known"]) == (DEFAULT_THRESHOLD, 0.0)


@pytest.mark.parametrize(
    ("of_stage", "of_model", "expected"),
    [(0.6, 0.8, 0.6), (0.0, 0.8, 0.0), (None, 0.8, 0.8), (None, 0.0, 0.0), (0.6, None, 0.6)],
)
def test_the_stage_overrules_the_model(
    fake_aws: FakeAws, of_stage: float | None, of_model: float | None, expected: float
) -> None:
    settings = replace(SETTINGS, threshold=of_stage, min_known=of_stage)
    state = classified(fake_aws, TOLD | {"threshold": of_model, "min_known": of_model}, settings)
    assert (state["threshold"], state["min_known"]) == (expected, expected)


@pytest.mark.parametrize(
    ("threshold", "min_known", "code"),
    [(0.7, 0.5, None), (0.8, 0.5, "LOW_CONFIDENCE"), (0.7, 0.9, "UNKNOWN_OBJECT"), (0.8, 0.9, "UNKNOWN_OBJECT")],
)
def test_the_code_for_the_record_goes_by_each_threshold_of_the_stage_and_filter_agrees(
    fake_aws: FakeAws, threshold: float, min_known: float, code: str | None
) -> None:
    settings = replace(SETTINGS, threshold=threshold, min_known=min_known)
    state = json.loads(json.dumps(classified(fake_aws, TOLD | {"known": 0.75}, settings)))
    assert state["reason_code"] == code
    if code is None:
        assert steps.decide(SETTINGS, state)["label"] == "motorcycle"
    else:
        with pytest.raises(ThresholdConfidenceNotMet, match="neither" if code == "UNKNOWN_OBJECT" else "Not sure"):
            steps.decide(SETTINGS, state)


def test_the_state_after_the_real_model_is_json_and_small(stack: Stack) -> None:
    picture = {"image_data": base64.b64encode(BICYCLE).decode(), "content_type": "image/jpeg"}
    state = steps.classify(stack.settings, CARRIED | picture)
    assert len(json.dumps(state, allow_nan=False)) < 2000
    assert state["label"] == "bicycle"
    assert state["confidence"] == max(state["inferences"])
    model = json.loads((ROOT / "model" / "head.json").read_text())
    assert (state["threshold"], state["min_known"]) == (model["threshold"], model["min_known"])
    assert state["reason_code"] is None


@pytest.mark.parametrize("answer", [[0.5, 0.4], [0.2, 0.3, 0.5], [1.5, -0.5], TOLD | {"labels": []}])
def test_probabilities_that_are_none_do_not_enter_the_state(fake_aws: FakeAws, answer: Any) -> None:
    with pytest.raises(InvalidInference):
        classified(fake_aws, answer)


@pytest.mark.parametrize("missing", ["image_data", "content_type", "id"])
def test_a_state_that_lacks_what_the_endpoint_needs_is_refused(missing: str) -> None:
    without = {name: value for name, value in PICTURED.items() if name != missing}
    with pytest.raises(InvalidRequest, match=f"no {missing}"):
        steps.classify(SETTINGS, without)


@pytest.mark.parametrize("text", ["not base64!", "QUJ", "QUJD\n", "é"])
def test_a_picture_that_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="base64"):
        steps.classify(SETTINGS, PICTURED | {"image_data": text})


DOUBT: State = {"labels": ["a", "b"], "inferences": [0.2, 0.8], "threshold": 0.75, "min_known": 0.5, "known": 0.6}


def test_a_decision_is_the_label_and_its_confidence() -> None:
    assert steps.decide(SETTINGS, DOUBT) == {"label": "b", "confidence": 0.8}


@pytest.mark.parametrize("change", [{"threshold": 0.81}, {"known": 0.49}, {"min_known": 0.61}])
def test_what_the_state_asks_for_decides(change: State) -> None:
    with pytest.raises(ThresholdConfidenceNotMet):
        steps.decide(SETTINGS, DOUBT | change)


def test_a_state_overrules_the_settings() -> None:
    assert steps.decide(replace(SETTINGS, threshold=1.0, min_known=1.0), DOUBT)["label"] == "b"


@pytest.fixture(params=[{"threshold": 0.81}, {"min_known": 0.61}])
def strict(request: pytest.FixtureRequest) -> Settings:
    """A stage that would hold the picture back."""
    return replace(SETTINGS, **request.param)


@pytest.mark.parametrize("absent", [{"threshold": None, "min_known": None}, {}])
def test_a_state_that_asks_for_nothing_falls_back_to_the_settings(strict: Settings, absent: State) -> None:
    state = {name: value for name, value in DOUBT.items() if name not in ("threshold", "min_known", "labels")} | absent
    with pytest.raises(ThresholdConfidenceNotMet):
        steps.decide(strict, state)
    lenient = replace(SETTINGS, threshold=0.8, min_known=0.6)
    assert steps.decide(lenient, state) == {"label": "motorcycle", "confidence": 0.8}


def test_where_nobody_asks_for_anything_the_default_holds() -> None:
    with pytest.raises(ThresholdConfidenceNotMet, match=f"{DEFAULT_THRESHOLD:.0%}".replace("%", " % needed")):
        steps.decide(SETTINGS, {"inferences": [0.92, 0.08]})
    assert steps.decide(SETTINGS, {"inferences": [0.93, 0.07]})["label"] == "bicycle"


@pytest.mark.parametrize("state", [{}, {"inferences": []}, {"inferences": None}, {"inferences": [1.0]}])
def test_a_state_without_probabilities_is_told_by_name(state: State) -> None:
    with pytest.raises(InvalidInference, match="for 2 classes"):
        steps.decide(SETTINGS, state)


class TestOpeningARecord:
    def test_a_picture_of_a_listing_begins_as_one_that_was_announced(
        self, stack: Stack, dropped: Callable[..., State]
    ) -> None:
        state = dropped(SMALL)
        etag = aws.client("s3").head_object(Bucket=state["s3_bucket"], Key=state["s3_key"])["ETag"]
        identity = workflow.identity(inbox.Source(state["s3_bucket"], state["s3_key"], etag=etag.strip('"')))
        begun = {**state, "etag": etag.strip('"'), "id": identity, "attempt": 1}
        assert steps.open_record(stack.settings, state | {"etag": etag}) == begun | {"done": False}
        assert store.get(stack.settings.records_table, identity).status is Status.PENDING

    def test_a_picture_that_has_ended_is_done(self, stack: Stack, dropped: Callable[..., State]) -> None:
        state = dropped(SMALL)
        record = workflow.start(stack.settings, inbox.Source(**state_source(state)))
        assert conftest.wait_for(stack, record.id).status is not Status.FAILED
        assert steps.open_record(stack.settings, state) == {"done": True}

    def test_a_folder_is_done(self, stack: Stack) -> None:
        assert steps.open_record(stack.settings, {"s3_bucket": "b", "s3_key": "folder/"}) == {"done": True}

    def test_a_state_without_a_key_is_told(self, stack: Stack) -> None:
        with pytest.raises(InvalidRequest):
            steps.open_record(stack.settings, {"s3_bucket": "b"})


def state_source(state: State) -> dict[str, str]:
    return {"bucket": state["s3_bucket"], "key": state["s3_key"]}


class TestEntering:
    def test_a_step_is_noted_in_the_record_of_its_attempt(self, stack: Stack, plain_bucket: str) -> None:
        record = workflow.take(stack.settings, inbox.Source(plain_bucket, f"{PREFIX}{uuid4()}", None, "e7a6"))
        assert record
        steps.enter(stack.settings, {"id": record.id, "attempt": 1}, "Serialize")
        steps.enter(stack.settings, {"id": record.id, "attempt": 2}, "Classify")
        noted = store.get(stack.settings.records_table, record.id)
        assert [step.step for step in noted.steps] == ["Serialize"]

    @pytest.mark.parametrize(
        "state", [{}, {"id": "x"}, {"attempt": 1}, {"id": None, "attempt": 1}, {"id": "x", "attempt": "1"}, {"id": 5}]
    )
    def test_a_state_without_a_record_asks_no_table(self, fake_aws: FakeAws, state: State) -> None:
        steps.enter(SETTINGS, state, "Serialize")
        assert fake_aws.asked == []

    @pytest.mark.parametrize(
        ("faults", "expected"),
        [
            ([], ["Serialize", "Classify", "Filter"]),
            ([Fault(503, "ServiceUnavailable", "starting")], ["Serialize", "Classify", "Classify", "Filter"]),
        ],
    )
    def test_the_workflow_notes_each_step_that_it_enters_a_retried_one_again(
        self,
        stack: Stack,
        ended: Callable[[str], Record],
        faults: list[Fault],
        expected: list[str],
    ) -> None:
        stack.endpoint.faults.extend(faults)
        record = ended(workflow.identity(stack.drop(f"{uuid4()}.jpg", BICYCLE)))
        assert (record.status, [step.step for step in record.steps]) == (Status.ACCEPTED, expected)
        times = [record.created_at, *(step.at for step in record.steps), record.ended_at]
        assert times == sorted(times, key=str)

    def test_a_picture_that_is_rejected_came_to_the_first_step_only(
        self, stack: Stack, ended: Callable[[str], Record]
    ) -> None:
        record = ended(workflow.identity(stack.drop(f"{uuid4()}.jpg", b"no picture")))
        assert (record.status, [step.step for step in record.steps]) == (Status.REJECTED, ["Serialize"])
