"""The Chalice app: its functions, its trigger and its REST routes."""

import base64
import importlib
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from chalice.test import Client

from chalicelib import aws, inbox, metrics, reconcile, store, workflow
from chalicelib.errors import InvalidRequest, RecordNotFound, StorageBusy
from chalicelib.inbox import Source
from chalicelib.store import Record, Status
from local import samples
from local.endpoint import Fault
from local.stack import Stack

ROOT = Path(__file__).resolve().parents[1]
PROBLEM = "application/problem+json"
BICYCLE = samples.encode(samples.render(samples.draw_bicycle), "PNG")


@dataclass(frozen=True)
class Response:
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Response]


@pytest.fixture
def main(stack: Stack) -> Any:
    """The module `app.py`."""
    return importlib.import_module("app")


@pytest.fixture
def client(main: Any) -> Client:
    return Client(main.app, "dev", str(ROOT))


@pytest.fixture(params=["in process", "over HTTP"])
def ask(request: pytest.FixtureRequest, stack: Stack, client: Client) -> Ask:
    """Ask the REST API."""

    def in_process(method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        answer = client.http.request(method, path, headers={"Content-Type": "application/json"} | headers, body=body)
        return Response(answer.status_code, httpx.Headers(answer.headers), answer.body)

    def over_http(method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        sent = {"Content-Type": "application/json"} | headers
        answer = httpx.request(method, stack.api_url + path, content=body, headers=sent, trust_env=False)
        return Response(answer.status_code, answer.headers, answer.content)

    return in_process if request.param == "in process" else over_http


@pytest.fixture
def post(ask: Ask) -> Callable[[Any], Response]:
    return lambda body: ask("POST", "/classifications", json.dumps(body).encode())


@pytest.fixture
def logged(main: Any) -> Iterator[io.StringIO]:
    """What the app writes into its log."""
    written = io.StringIO()
    logger = logging.getLogger("scones-unlimited")
    handler = logging.StreamHandler(written)
    handler.setFormatter(logger.handlers[0].formatter)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield written
    logger.setLevel(level)
    logger.removeHandler(handler)


def fresh() -> str:
    return f"{uuid4()}.png"


def event(*keys: str, bucket: str = "bucket") -> dict[str, Any]:
    """An S3 event of several records."""
    return {
        "Records": [
            {"s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 5, "eTag": "e7a6"}}} for key in keys
        ]
    }


def assert_problem(answer: Response, error: str, status: int, title: str, detail: str) -> None:
    assert answer.json == {"type": f"/problems/{error}", "title": title, "status": status, "detail": detail}
    assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)


def test_a_picture_is_asked_for_and_fetched(
    stack: Stack, post: Callable[[Any], Response], ask: Ask, held: threading.Event, ended: Callable[[str], Record]
) -> None:
    source = stack.drop(fresh(), BICYCLE)
    first = post({"key": source.key})
    assert first.status == HTTPStatus.ACCEPTED
    assert first.headers.get("Content-Type", "application/json") == "application/json"
    assert first.headers["Retry-After"] == "1"
    assert first.json["status"] == "PENDING"
    place = first.headers["Location"]
    assert place == f"/classifications/{workflow.identity(source)}"
    pending = ask("GET", place)
    assert (pending.status, pending.json) == (HTTPStatus.OK, first.json)

    held.set()
    record = ended(first.json["id"])
    final = post({"key": source.key})
    assert final.status == HTTPStatus.OK
    assert "Retry-After" not in final.headers
    assert final.headers["Location"] == place
    assert final.json == ask("GET", place).json == json.loads(json.dumps(record.as_dict()))
    assert (final.json["status"], final.json["label"], final.json["attempt"]) == ("ACCEPTED", "bicycle", 1)
    assert final.json["confidence"] >= final.json["threshold"]


def test_a_picture_that_the_trigger_saw_is_the_same_record(
    stack: Stack, post: Callable[[Any], Response], ended: Callable[[str], Record]
) -> None:
    source = stack.drop(fresh(), BICYCLE)
    record = ended(workflow.identity(source))
    answer = post({"key": source.key, "version_id": source.version_id})
    assert (answer.status, answer.json["id"]) == (HTTPStatus.OK, record.id)
    assert stack.record(source) == record


def test_an_older_version_is_a_picture_of_its_own(
    stack: Stack, post: Callable[[Any], Response], held: threading.Event
) -> None:
    key = fresh()
    older, newer = stack.drop(key, BICYCLE), stack.drop(key, BICYCLE)
    newest = post({"key": newer.key})
    named = post({"key": older.key, "version_id": older.version_id})
    assert (newest.json["id"], named.json["id"]) == (workflow.identity(newer), workflow.identity(older))
    assert newest.json["id"] != named.json["id"]
    assert post({"key": older.key, "version_id": None}).json["id"] == newest.json["id"]


def test_behind_api_gateway_the_location_has_the_stage_in_it(main: Any, stack: Stack, held: threading.Event) -> None:
    source = stack.drop(fresh(), BICYCLE)
    asked = {
        "requestContext": {
            "httpMethod": "POST",
            "resourcePath": "/classifications",
            "path": "/api/classifications",
        },
        "headers": {"Content-Type": "application/json"},
        "pathParameters": None,
        "multiValueQueryStringParameters": None,
        "stageVariables": None,
        "body": json.dumps({"key": source.key}),
        "isBase64Encoded": False,
    }
    answer = main.app(asked, None)
    assert answer["statusCode"] == HTTPStatus.ACCEPTED
    assert answer["headers"]["Location"] == f"/api/classifications/{workflow.identity(source)}"


def test_a_picture_that_is_not_there_is_a_problem(post: Callable[[Any], Response]) -> None:
    assert_problem(
        post({"key": "inbox/missing.jpg"}),
        "ImageNotFound",
        404,
        "The picture is not in the inbox",
        "There is no picture inbox/missing.jpg in the inbox: drop it there first.",
    )


@pytest.mark.parametrize("key", ["photo.jpg", "outbox/photo.jpg", "inbox/", "", "/inbox/a.jpg", "inbox/" + "x" * 2000])
def test_a_key_outside_of_the_inbox_is_a_problem(post: Callable[[Any], Response], key: str) -> None:
    assert_problem(
        post({"key": key}),
        "InvalidRequest",
        422,
        "The request cannot be understood",
        "The key must begin with inbox/ and have at most 1024 bytes.",
    )


def test_half_a_character_in_a_key_is_a_problem(post: Callable[[Any], Response]) -> None:
    answer = post({"key": "inbox/\ud83d.jpg"})
    assert (answer.status, answer.json["type"]) == (422, "/problems/InvalidRequest")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"inbox/a.jpg"',
        b"5",
        b"{}",
        b'{"key": null}',
        b'{"key": 5}',
        b'{"key": ["inbox/a.jpg"]}',
        b'{"key": "inbox/a.jpg", "version_id": 5}',
        b'{"Key": "inbox/a.jpg"}',
        b"key=inbox/a.jpg",
        b"\xff\xd8\xff\xe0",
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_body_that_names_no_picture_is_a_problem(ask: Ask, body: bytes) -> None:
    assert_problem(
        ask("POST", "/classifications", body),
        "InvalidRequest",
        422,
        "The request cannot be understood",
        'Send JSON such as {"key": "inbox/photo.jpg"}, with "version_id" if you mean an older one.',
    )


@pytest.mark.parametrize("identity", ["0" * 32, "x", "a%20b", "..."])
def test_a_record_that_nobody_opened_is_a_problem(ask: Ask, identity: str) -> None:
    answer = ask("GET", f"/classifications/{identity}")
    assert (answer.status, answer.headers["Content-Type"]) == (404, PROBLEM)
    assert answer.json["type"] == "/problems/RecordNotFound"
    assert answer.json["title"] == "No such classification"


def test_what_nobody_expected_is_a_problem_that_tells_no_secret(
    post: Callable[[Any], Response], ask: Ask, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    def fail(*_: object) -> Record:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(inbox, "find", fail)
    monkeypatch.setattr(store, "get", fail)
    for answer in (post({"key": "inbox/a.jpg"}), ask("GET", "/classifications/x")):
        assert_problem(
            answer,
            "SconesError",
            500,
            "Something went wrong on our side",
            "What happened is in the log of the function.",
        )
    assert logged.getvalue().count("password=hunter2") >= 2


def test_storage_that_is_busy_is_a_problem_worth_trying_again(
    post: Callable[[Any], Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Record:
        raise StorageBusy("Could not look for the picture: AWS answered SlowDown.")

    monkeypatch.setattr(inbox, "find", fail)
    assert_problem(
        post({"key": "inbox/a.jpg"}),
        "StorageBusy",
        503,
        "The service is busy, try again in a moment",
        "Could not look for the picture: AWS answered SlowDown.",
    )


def test_every_picture_of_an_event_is_started(
    main: Any, client: Client, stack: Stack, held: threading.Event, logged: io.StringIO
) -> None:
    keys = [f"inbox/{fresh()}" for _ in range(3)]
    client.lambda_.invoke("on_picture", event(*keys))
    for key in keys:
        record = stack.record(Source("bucket", key, None, "e7a6"))
        assert (record.status, record.s3_key) == (Status.PENDING, key)
        assert key in logged.getvalue()


def test_a_picture_that_cannot_be_started_does_not_keep_back_the_others_and_is_told_at_the_end(
    client: Client, stack: Stack, held: threading.Event, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    first, broken, last = (f"inbox/{fresh()}" for _ in range(3))
    plain_start = workflow.start

    def start(settings: Any, source: Source) -> Record:
        if source.key == broken:
            raise StorageBusy("Could not open the record.")
        return plain_start(settings, source)

    monkeypatch.setattr(workflow, "start", start)
    with pytest.raises(ExceptionGroup) as failed:
        client.lambda_.invoke("on_picture", event(first, broken, last))
    assert [type(one) for one in failed.value.exceptions] == [StorageBusy]
    for key in (first, last):
        assert stack.record(Source("bucket", key, None, "e7a6")).status is Status.PENDING
    with pytest.raises(RecordNotFound):
        stack.record(Source("bucket", broken, None, "e7a6"))
    assert any(broken in line and '"level":"ERROR"' in line for line in logged.getvalue().splitlines())


def test_an_event_that_comes_twice_starts_a_picture_once(client: Client, stack: Stack, held: threading.Event) -> None:
    told = event(f"inbox/{fresh()}")
    client.lambda_.invoke("on_picture", told)
    record = stack.record(Source("bucket", told["Records"][0]["s3"]["object"]["key"], None, "e7a6"))
    client.lambda_.invoke("on_picture", told)
    assert stack.record(Source("bucket", record.s3_key, None, "e7a6")) == record


def test_the_test_event_that_s3_sends_at_setup_starts_nothing(main: Any, logged: io.StringIO) -> None:
    told = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "bucket", "RequestId": "1", "HostId": "2"}
    assert main.on_picture(told, None) is None
    assert logged.getvalue() == ""


def test_what_is_no_event_of_s3_is_told_by_name(client: Client) -> None:
    with pytest.raises(InvalidRequest):
        client.lambda_.invoke("on_picture", {"Records": [{"Sns": {"Message": "hello"}}]})


def test_the_three_steps_hand_the_state_on(client: Client, stack: Stack, plain_bucket: str) -> None:
    key = f"inbox/{fresh()}"
    aws.client("s3").put_object(Bucket=plain_bucket, Key=key, Body=BICYCLE)
    serialized = client.lambda_.invoke("serialize", {"s3_bucket": plain_bucket, "s3_key": key}).payload
    classified = client.lambda_.invoke("classify", serialized).payload
    decided = client.lambda_.invoke("filter", classified).payload
    assert decided == {"label": "bicycle", "confidence": classified["confidence"]}
    assert "image_data" not in classified


def test_no_log_line_holds_a_picture(
    stack: Stack, client: Client, logged: io.StringIO, ended: Callable[[str], Record]
) -> None:
    """Neither when all goes well nor when any step fails."""
    broken = BICYCLE[: len(BICYCLE) // 2]
    ends = [ended(workflow.identity(stack.drop(fresh(), data))).status for data in (BICYCLE, broken)]
    stack.endpoint.faults.append(Fault(424, "ModelError", "what is this?", original_status=415))
    ends.append(ended(workflow.identity(stack.drop(fresh(), BICYCLE))).status)
    assert ends == [Status.ACCEPTED, Status.REJECTED, Status.FAILED]
    encoded = base64.b64encode(BICYCLE).decode()
    answers = [
        stack.functions.invoke("classify", json.dumps(state))
        for state in (
            {"id": "x", "image_data": encoded},
            {"id": "x", "image_data": encoded + "!", "content_type": "image/png"},
            {"id": "x", "image_data": encoded[4:], "content_type": "image/png"},
        )
    ]
    assert all(answer.failed for answer in answers)
    told = logged.getvalue() + "".join(answer.payload for answer in answers)
    assert "picture came in" in told
    chunks = [encoded[start : start + 24] for start in range(0, len(encoded) - 24, 400)]
    assert not [chunk for chunk in chunks if chunk in told]
    assert "\\x89PNG" not in told
    assert '"image_data":' not in told


def scheduled(detail: dict[str, Any] | None = None) -> dict[str, Any]:
    """An event of EventBridge."""
    empty = dict.fromkeys(("version", "id", "account", "region", "time", "source", "detail-type"), "")
    return empty | {"resources": [], "detail": detail or {}}


class TestReconcile:
    def test_what_it_came_to_is_the_answer(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        outcome = reconcile.Outcome(listed=1000, after=("inbox/key", "version"))
        monkeypatch.setattr(reconcile, "look_through", lambda *_: outcome)
        answer = client.lambda_.invoke("reconcile", scheduled({"since": "2099-01-01"})).payload
        assert (answer["listed"], list(answer["after"])) == (1000, ["inbox/key", "version"])

    def test_the_schedule_asks_for_nothing(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reconcile, "keep_up", lambda *_: reconcile.Outcome(started=7))
        assert client.lambda_.invoke("reconcile", scheduled()).payload["started"] == 7

    @pytest.mark.parametrize("detail", [{}, {"since": "2099-01-01"}])
    def test_it_knows_how_much_time_is_left(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch, detail: dict[str, str]
    ) -> None:
        left: list[float] = []

        def run(*arguments: Any) -> reconcile.Outcome:
            left.append(arguments[-1]())
            return reconcile.Outcome()

        for name in ("keep_up", "look_through"):
            monkeypatch.setattr(reconcile, name, run)
        stack.functions.invoke("reconcile", json.dumps(scheduled(detail)))
        assert 800 < left[0] <= 900


def test_the_age_of_the_oldest_unfinished_picture_becomes_a_metric(
    client: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reconcile, "oldest_unfinished", lambda _settings: 12.5)
    client.lambda_.invoke("measure", scheduled())
    told = json.loads(capsys.readouterr().out)
    (metric,) = told["_aws"]["CloudWatchMetrics"]
    assert (metric["Namespace"], metric["Metrics"][0]["Name"]) == (metrics.NAMESPACE, metrics.OLDEST)
    assert metric["Metrics"][0]["Unit"] == "Seconds"
    assert [metrics.DIMENSION] in metric["Dimensions"]
    assert (told[metrics.DIMENSION], told[metrics.OLDEST]) == (stack.settings.records_table, [12.5])


def test_an_execution_that_has_ended_without_an_ending_is_told_in_the_log(
    client: Client, stack: Stack, logged: io.StringIO, plain_bucket: str
) -> None:
    record = workflow.take(stack.settings, Source(plain_bucket, f"inbox/{fresh()}", None, "e7a6"))
    assert record
    told = scheduled({"name": record.id, "status": "TIMED_OUT", "executionArn": "arn:of:it"})
    client.lambda_.invoke("on_stopped", told)
    assert stack.record(Source(plain_bucket, record.s3_key, None, "e7a6")).status is Status.FAILED
    assert "arn:of:it" in logged.getvalue()
    client.lambda_.invoke("on_stopped", told)
    assert logged.getvalue().count("arn:of:it") == 1
