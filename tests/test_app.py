"""The Chalice app: its functions, its trigger and its REST routes."""

import base64
import importlib
import io
import json
import logging
import runpy
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from chalice.app import CognitoUserPoolAuthorizer, IAMAuthorizer
from chalice.test import Client

from chalicelib import aws, inbox, metrics, overview, page, reconcile, rest, store, workflow
from chalicelib.decision import Reason
from chalicelib.errors import InvalidRequest, RecordNotFound, StorageBusy, ThresholdConfidenceNotMet
from chalicelib.inbox import Source
from chalicelib.settings import Settings
from chalicelib.store import Record, Status
from local import samples
from local.endpoint import Fault
from local.resources import create_table
from local.stack import Stack
from tests import calls
from tests.conftest import Answer, FakeAws
from tests.rest import POOL, ROUTES

PLAIN_CLIENT = aws.client
"""As it is before a test puts another in its place."""

ROOT = Path(__file__).resolve().parents[1]
JSON = "application/json"
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
        answer = httpx.request(method, stack.api_url + path, content=body, headers=sent, trust_env=False, timeout=40)
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


def told(stack: Stack, record: Record) -> Any:
    """A record as the API tells it."""
    return json.loads(json.dumps(rest.representation(stack.settings, record)))


def assert_problem(answer: Response, error: str, status: int, title: str, detail: str) -> None:
    assert answer.json == {"type": f"/problems/{error}", "title": title, "status": status, "detail": detail}
    assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)


def test_a_picture_is_asked_for_and_fetched(
    stack: Stack, post: Callable[[Any], Response], ask: Ask, held: threading.Event, ended: Callable[[str], Record]
) -> None:
    source = stack.drop(fresh(), BICYCLE)
    first = post({"key": source.key})
    assert first.status == HTTPStatus.ACCEPTED
    assert first.headers.get("Content-Type", JSON) == JSON
    assert first.headers["Retry-After"] == "1"
    assert first.json["status"] == "PENDING"
    place = first.headers["Location"]
    assert place == f"/classifications/{workflow.identity(source)}"
    pending = ask("GET", place)
    assert (pending.status, pending.json) == (HTTPStatus.OK, first.json)
    assert pending.headers["ETag"] == first.headers["ETag"]

    held.set()
    record = ended(first.json["id"])
    final = post({"key": source.key})
    assert final.status == HTTPStatus.OK
    assert "Retry-After" not in final.headers
    assert final.headers["Location"] == place
    assert final.json == ask("GET", place).json == told(stack, record)
    assert final.headers["ETag"] == rest.etag(record) != first.headers["ETag"]
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
    [b"", b"{", b"null", b"[]", b'"inbox/a.jpg"', b"5", b"key=inbox/a.jpg", b"\xff\xd8\xff\xe0", b"[" * 100_000],
    ids=lambda body: repr(body[:30]),
)
def test_a_body_that_is_no_json_object_is_a_problem(ask: Ask, body: bytes) -> None:
    title, detail = "The request cannot be understood", "The body is not a JSON object."
    assert_problem(ask("POST", "/classifications", body), "InvalidRequest", 422, title, detail)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"key": null}',
        b'{"key": 5}',
        b'{"key": ["inbox/a.jpg"]}',
        b'{"key": "inbox/a.jpg", "version_id": 5}',
        b'{"Key": "inbox/a.jpg"}',
    ],
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
    answer = post({"key": "inbox/a.jpg"})
    assert_problem(
        answer,
        "StorageBusy",
        503,
        "The service is busy, try again in a moment",
        "Could not look for the picture: AWS answered SlowDown.",
    )
    assert answer.headers["Retry-After"] == "1"


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
    twice = event(f"inbox/{fresh()}")
    client.lambda_.invoke("on_picture", twice)
    record = stack.record(Source("bucket", twice["Records"][0]["s3"]["object"]["key"], None, "e7a6"))
    client.lambda_.invoke("on_picture", twice)
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


@pytest.mark.parametrize("code", [*Reason, None])
def test_a_picture_that_is_held_back_is_logged_with_its_reason(
    main: Any, logged: io.StringIO, code: Reason | None
) -> None:
    state = {"id": "0" * 32, "labels": ["a", "b"], "inferences": [0.6, 0.4], "threshold": 0.9}
    with pytest.raises(ThresholdConfidenceNotMet):
        main.filter_(state | ({"reason_code": code.value} if code else {}), None)
    told = json.loads(logged.getvalue())
    assert (told["message"], told["id"], told.get("reason_code")) == ("picture is held back", "0" * 32, code)


ENDLESS = Answer(seconds=60)
FORBIDDEN = Answer(400, b'{"__type": "AccessDeniedException", "message": "no"}')
THROTTLED = Answer(400, b'{"__type": "ThrottlingException", "message": "no"}')


@pytest.mark.parametrize(
    "answer", [ENDLESS, FORBIDDEN, THROTTLED, Answer(body=None)], ids=["hangs", "forbids", "throttles", "hangs up"]
)
def test_a_table_that_does_not_take_a_step_holds_no_picture_up(
    main: Any, fake_aws: FakeAws, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO, answer: Answer
) -> None:
    """With the timeouts of production: each costs at most what it takes to connect, and to wait once."""

    owner = threading.get_ident()

    def client(service: str, **options: Any) -> Any:
        if threading.get_ident() != owner:
            return PLAIN_CLIENT(service, **options)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ENDPOINT_URL", fake_aws.url)
            return PLAIN_CLIENT.__wrapped__(service, **options)

    monkeypatch.setattr(aws, "client", client)
    fake_aws.says(answer)
    state = {"id": "0" * 32, "attempt": 1, "labels": ["a", "b"], "inferences": [0.99, 0.01], "threshold": 0.9}
    started = time.monotonic()
    assert main.filter_(state, None) == {"label": "a", "confidence": 0.99}
    assert time.monotonic() - started < aws.CONNECT_TIMEOUT + store.STEP_TIMEOUT
    assert len(fake_aws.asked) == 1
    assert "step could not be noted" in logged.getvalue()


@pytest.fixture
def own(main: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The REST API over a table and an inbox that no other test uses, and that nothing tells of."""
    name = f"routes-{uuid4().hex[:12]}"
    aws.client("s3").create_bucket(Bucket=name)
    aws.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    create_table(aws.client("dynamodb"), name)
    settings = replace(stack.settings, inbox_bucket=name, records_table=name)
    monkeypatch.setattr(main, "settings", settings)
    return settings


@pytest.fixture
def keep(own: Settings) -> Callable[..., Record]:
    """Put a picture into the inbox, and its record into the table as the workflow leaves it."""

    def kept(status: Status, key: str = "", bucket: str = "", ago: float = 60, **item: dict[str, str]) -> Record:
        key, bucket = key or f"inbox/{fresh()}", bucket or own.inbox_bucket
        put = aws.client("s3").put_object(Bucket=bucket, Key=key, Body=BICYCLE, ContentType="image/png")
        source = Source(bucket, key, put.get("VersionId"), put["ETag"].strip('"'))
        record = workflow.take(own, source)
        assert record
        found = {
            "status": {"S": str(status)},
            "updated_at": {"S": store.now(ago=ago)},
            "label": {"S": "bicycle"},
            "confidence": {"N": "0.75"},
            "labels": {"S": '["bicycle", "motorcycle"]'},
            "inferences": {"S": "[0.75, 0.25]"},
        } | item
        if status is Status.REVIEW:
            found.setdefault("sureness", {"N": "0.5"})
        aws.client("dynamodb").update_item(
            TableName=own.records_table,
            Key={"id": {"S": record.id}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in found),
            ExpressionAttributeNames={f"#{name}": name for name in found},
            ExpressionAttributeValues={f":{name}": value for name, value in found.items()},
        )
        return store.get(own.records_table, record.id)

    return kept


def asked(method: str, resource: str, body: bytes = b"", **more: Any) -> dict[str, Any]:
    """A request as API Gateway passes it on: below its stage, binary bodies in base64."""
    parameters = more.pop("parameters", None)
    path = "/api" + resource.format(**parameters or {})
    headers = more.pop("headers", {"Content-Type": JSON})
    return {
        "requestContext": {"httpMethod": method, "resourcePath": resource, "path": path} | more,
        "headers": headers,
        "pathParameters": parameters,
        "multiValueQueryStringParameters": None,
        "stageVariables": None,
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


class TestThePage:
    def test_it_comes_with_what_a_browser_may_do_with_it(self, ask: Ask, own: Settings) -> None:
        answer = ask("GET", "/")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert answer.headers["Content-Security-Policy"] == page.policy(own)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.body.decode() == page.render(own, "/")

    def test_behind_api_gateway_all_of_it_is_below_the_stage(self, main: Any, own: Settings) -> None:
        answer = main.app(asked("GET", "/"), None)
        assert '<base href="/api/">' in answer["body"]

    @pytest.mark.parametrize("name", ["main.js", "style.css", "icon.svg"])
    def test_its_files_are_served_as_what_they_are(self, ask: Ask, name: str) -> None:
        answer = ask("GET", f"/assets/{name}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, page.asset(name)[1])
        assert answer.body.decode() == page.asset(name)[0]
        assert answer.headers["Cache-Control"] == "private, max-age=60"

    @pytest.mark.parametrize("name", ["missing.js", "index.html", "..%2fpage.py", "%2e%2e%2fpage.py", "main.js%00"])
    def test_a_file_that_it_does_not_have_is_a_problem(self, ask: Ask, name: str) -> None:
        answer = ask("GET", f"/assets/{name}")
        assert (answer.status, answer.headers["Content-Type"]) == (404, PROBLEM)
        assert answer.json["type"] == "/problems/PageNotFound"

    def test_no_path_leads_out_of_its_folder(self, main: Any, own: Settings) -> None:
        for name in ("../page.py", "..\\page.py", "/etc/passwd", "a/../../page.py"):
            answer = main.app(asked("GET", "/assets/{name}", parameters={"name": name}), None)
            assert answer["statusCode"] == HTTPStatus.NOT_FOUND


class TestHealth:
    def test_all_is_well_while_the_table_can_be_read(self, ask: Ask) -> None:
        answer = ask("GET", "/health")
        assert (answer.status, answer.json) == (200, {"status": "ok"})

    def test_a_table_that_cannot_be_read_is_told(self, client: Client, stack: Stack, fake_aws: FakeAws) -> None:
        fake_aws.says(THROTTLED)
        answer = client.http.get("/health")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json_body["type"] == "/problems/StorageBusy"


class TestPostingAPicture:
    def test_whoever_waits_gets_what_it_shows(self, stack: Stack, ask: Ask) -> None:
        answer = ask("POST", "/classifications", BICYCLE, **{"Content-Type": "image/png", "Prefer": "wait=25"})
        assert (answer.status, answer.json["status"], answer.json["label"]) == (200, "ACCEPTED", "bicycle")
        assert answer.json["s3_key"].startswith(inbox.UPLOADS)
        assert answer.json["s3_bucket"] == stack.settings.inbox_bucket
        assert [step["step"] for step in answer.json["steps"]] == ["Serialize", "Classify", "Filter"]
        assert answer.headers["ETag"] == rest.etag(store.get(stack.settings.records_table, answer.json["id"]))
        assert "Retry-After" not in answer.headers

    @pytest.mark.parametrize("prefer", ["wait=0", "", "respond-async"])
    def test_whoever_does_not_wait_is_told_where_to_look_again(
        self, ask: Ask, held: threading.Event, prefer: str
    ) -> None:
        answer = ask("POST", "/classifications", BICYCLE, **{"Content-Type": "image/png", "Prefer": prefer})
        assert (answer.status, answer.json["status"], answer.headers["Retry-After"]) == (202, "PENDING", "1")
        assert answer.headers["Location"] == f"/classifications/{answer.json['id']}"
        assert ask("GET", answer.headers["Location"]).json["id"] == answer.json["id"]

    def test_a_wait_ends_when_it_was_asked_to(self, ask: Ask, held: threading.Event) -> None:
        started = time.monotonic()
        answer = ask("POST", "/classifications", BICYCLE, **{"Content-Type": "image/png", "Prefer": "wait=1"})
        assert (answer.status, answer.json["status"]) == (202, "PENDING")
        assert 1 <= time.monotonic() - started < 5

    @pytest.mark.parametrize("content_type", [*rest.PICTURE_TYPES, "image/jpg", "IMAGE/PNG; q=1"])
    def test_its_bytes_come_through_whatever_they_are_called(
        self, ask: Ask, held: threading.Event, content_type: str
    ) -> None:
        data = BICYCLE + uuid4().bytes
        answer = ask("POST", "/classifications", data, **{"Content-Type": content_type})
        assert answer.status == HTTPStatus.ACCEPTED
        picture = {name: answer.json[name] for name in ("s3_key", "version_id", "etag")}
        source = Source(answer.json["s3_bucket"], picture["s3_key"], picture["version_id"], picture["etag"])
        assert inbox.read(source) == data
        head = aws.client("s3").head_object(Bucket=source.bucket, Key=source.key)
        assert head["ContentType"] == rest.media_type(content_type)

    def test_behind_api_gateway_its_bytes_come_in_base64(self, main: Any, own: Settings, held: threading.Event) -> None:
        data = BICYCLE + uuid4().bytes
        answer = main.app(asked("POST", "/classifications", data, headers={"Content-Type": "image/png"}), None)
        assert answer["statusCode"] == HTTPStatus.ACCEPTED
        record = store.get(own.records_table, json.loads(answer["body"])["id"])
        assert answer["headers"]["Location"] == f"/api/classifications/{record.id}"
        assert inbox.read(Source(record.s3_bucket, record.s3_key, record.version_id)) == data

    @pytest.mark.parametrize(
        ("content_type", "size", "status", "error"),
        [
            ("text/html", 5, 415, "BodyNotTaken"),
            ("image/heic", 5, 415, "BodyNotTaken"),
            ("multipart/form-data", 5, 415, "BodyNotTaken"),
            ("image/png", 0, 422, "InvalidRequest"),
            ("image/png", rest.MAX_POSTED_BYTES + 1, 413, "BodyTooLarge"),
        ],
    )
    def test_what_is_not_taken_is_a_problem(
        self, ask: Ask, content_type: str, size: int, status: int, error: str
    ) -> None:
        answer = ask("POST", "/classifications", bytes(size), **{"Content-Type": content_type})
        assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)
        assert answer.json["type"] == f"/problems/{error}"

    def test_one_that_is_sent_twice_with_one_key_is_one_classification(
        self, ask: Ask, own: Settings, held: threading.Event
    ) -> None:
        headers = {"Content-Type": "image/png", "Idempotency-Key": uuid4().hex}
        first, second = (ask("POST", "/classifications", BICYCLE, **headers) for _ in range(2))
        assert (first.status, second.status) == (202, 202)
        assert first.json["id"] == second.json["id"]
        other = ask("POST", "/classifications", BICYCLE + b"x", **headers)
        assert (other.status, other.json["type"]) == (422, "/problems/IdempotencyKeyReused")
        assert ask("POST", "/classifications", BICYCLE, **headers | {"Idempotency-Key": "x" * 256}).status == 422

    def test_a_key_is_its_callers_own(self, main: Any, own: Settings, held: threading.Event) -> None:
        headers = {"Content-Type": "image/png", "Idempotency-Key": "holiday"}
        people = ["arn:aws:iam::1:user/jo", "arn:aws:iam::1:user/bo", "arn:aws:iam::1:user/jo"]
        jo, bo, again = (
            json.loads(
                main.app(asked("POST", "/classifications", BICYCLE, headers=headers, identity={"userArn": arn}), None)[
                    "body"
                ]
            )
            for arn in people
        )
        assert jo["id"] == again["id"] != bo["id"]


class TestUploads:
    def test_a_picture_that_is_posted_to_s3_is_classified_by_its_key(
        self, ask: Ask, own: Settings, held: threading.Event
    ) -> None:
        answer = ask("POST", "/uploads", b'{"content_type": "image/png"}')
        assert answer.status == HTTPStatus.OK
        assert answer.json.keys() == {"url", "fields", "key", "expires_at", "max_bytes"}
        sent = httpx.post(
            answer.json["url"], data=answer.json["fields"], files={"file": ("a.png", BICYCLE)}, trust_env=False
        )
        assert sent.is_success
        begun = ask("POST", "/classifications", json.dumps({"key": answer.json["key"]}).encode())
        assert (begun.status, begun.json["s3_key"]) == (202, answer.json["key"])

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b'{"content_type": "image/heic"}', 415),
            (b"{}", 422),
            (b"", 422),
            (b'{"content_type": "application/json"}', 415),
        ],
    )
    def test_anything_but_a_picture_is_a_problem(self, ask: Ask, body: bytes, status: int) -> None:
        answer = ask("POST", "/uploads", body)
        assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)


class TestListing:
    def test_all_records_are_on_one_page_or_another_newest_first(
        self, ask: Ask, own: Settings, stack: Stack, keep: Callable[..., Record]
    ) -> None:
        records = [keep(status, ago=ago) for ago, status in enumerate(Status, start=10)]
        listed, path = [], "/classifications?limit=4"
        for _ in range(9):
            answer = ask("GET", path)
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
            listed += answer.json["classifications"]
            if answer.json["next"] is None:
                break
            path = f"/classifications?limit=4&after={answer.json['next']}"
        assert listed == [told(stack, record) for record in records]

    def test_those_who_wait_for_a_person_are_told_least_sure_first(self, ask: Ask, keep: Callable[..., Record]) -> None:
        records = {sureness: keep(Status.REVIEW, sureness={"N": sureness}) for sureness in ("0.6", "0.07", "0.5")}
        keep(Status.ACCEPTED)
        answer = ask("GET", "/classifications?status=REVIEW&limit=2")
        ids = [one["id"] for one in answer.json["classifications"]]
        rest_of_it = ask("GET", f"/classifications?status=REVIEW&after={answer.json['next']}").json
        assert [*ids, *(one["id"] for one in rest_of_it["classifications"])] == [
            records[sureness].id for sureness in ("0.07", "0.5", "0.6")
        ]
        assert rest_of_it["next"] is None

    def test_the_next_of_one_listing_is_not_taken_for_that_of_another(
        self, ask: Ask, keep: Callable[..., Record]
    ) -> None:
        for _ in range(3):
            keep(Status.REVIEW)
        mine = ask("GET", "/classifications?status=REVIEW&limit=1").json["next"]
        every = ask("GET", "/classifications?limit=1").json["next"]
        assert mine
        assert every
        for path in (f"?after={mine}", f"?status=ACCEPTED&after={mine}", f"?status=REVIEW&after={every}"):
            assert ask("GET", f"/classifications{path}").status == 422

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=101", "limit=x", "status=OPEN", "status=", "after=", "after=x", "after=WyJS"]
    )
    def test_a_parameter_that_makes_no_sense_is_a_problem(self, ask: Ask, own: Settings, query: str) -> None:
        answer = ask("GET", f"/classifications?{query}")
        assert (answer.status, answer.headers["Content-Type"]) == (422, PROBLEM)
        assert query.partition("=")[0] in answer.json["detail"]

    def test_of_nothing_there_is_one_page(self, ask: Ask, own: Settings) -> None:
        assert ask("GET", "/classifications").json == {"classifications": [], "next": None}


class TestReading:
    def test_what_a_caller_has_is_not_sent_again(self, ask: Ask, keep: Callable[..., Record]) -> None:
        record = keep(Status.ACCEPTED)
        path = f"/classifications/{record.id}"
        first = ask("GET", path)
        assert first.headers["ETag"] == rest.etag(record)
        assert first.headers["Cache-Control"] == "private, no-cache"
        again = ask("GET", path, **{"If-None-Match": f'"other", {first.headers["ETag"]}'})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
        assert ask("GET", path, **{"If-None-Match": '"other"'}).status == HTTPStatus.OK

    def test_where_the_picture_is_is_told_by_a_redirect(self, ask: Ask, keep: Callable[..., Record]) -> None:
        record = keep(Status.ACCEPTED)
        aws.client("s3").put_object(Bucket=record.s3_bucket, Key=record.s3_key, Body=b"a newer one")
        answer = ask("GET", f"/classifications/{record.id}/picture")
        assert (answer.status, answer.headers["Cache-Control"]) == (302, "no-store")
        picture = httpx.get(answer.headers["Location"], trust_env=False)
        assert (picture.content, picture.headers["content-type"]) == (BICYCLE, "image/png")

    def test_or_by_json_where_that_is_accepted(self, ask: Ask, keep: Callable[..., Record]) -> None:
        answer = ask("GET", f"/classifications/{keep(Status.REVIEW).id}/picture", Accept=JSON)
        assert (answer.status, answer.json.keys()) == (200, {"url", "expires_at"})
        assert httpx.get(answer.json["url"], trust_env=False).content == BICYCLE

    def test_a_picture_of_another_bucket_is_not_read(
        self, ask: Ask, keep: Callable[..., Record], plain_bucket: str
    ) -> None:
        record = keep(Status.ACCEPTED, bucket=plain_bucket)
        answer = ask("GET", f"/classifications/{record.id}/picture")
        assert_problem(
            answer,
            "ImageNotFound",
            404,
            "The picture is not in the inbox",
            "The picture lies in another bucket, which is not read from here.",
        )
        assert ask("POST", f"/classifications/{record.id}/attempts").status == 404
        assert not [call for call in calls.made if call.function == calls.REST and record.s3_key in call.resource]

    def test_a_picture_that_is_gone_is_a_problem(self, ask: Ask, keep: Callable[..., Record]) -> None:
        record = keep(Status.ACCEPTED)
        aws.client("s3").delete_object(Bucket=record.s3_bucket, Key=record.s3_key, VersionId=record.version_id)
        answer = ask("GET", f"/classifications/{record.id}/picture")
        assert (answer.status, answer.json["type"]) == (404, "/problems/ImageNotFound")


class TestReviewing:
    def test_a_decision_is_kept_and_can_be_changed_and_taken_back(
        self, ask: Ask, own: Settings, stack: Stack, keep: Callable[..., Record]
    ) -> None:
        record = keep(Status.REVIEW)
        path, seen = f"/classifications/{record.id}", rest.etag(record)
        body = b'{"label": "motorcycle", "note": "  a sidecar \\u2602 "}'
        decided = ask("PUT", f"{path}/review", body, **{"If-Match": seen})
        assert (decided.status, decided.json["status"]) == (200, "REVIEWED")
        review = decided.json["review"]
        assert (review["label"], review["note"], review["by"]) == ("motorcycle", "a sidecar ☂", "local")
        assert decided.headers["ETag"] != seen
        assert ask("GET", path).json == decided.json == told(stack, store.get(own.records_table, record.id))
        again = ask("PUT", f"{path}/review", b'{"label": "neither"}', **{"If-Match": decided.headers["ETag"]})
        assert (again.status, again.json["review"]["label"], again.json["review"]["note"]) == (200, "neither", None)
        back = ask("DELETE", f"{path}/review", **{"If-Match": again.headers["ETag"]})
        assert (back.status, back.json["status"], back.json["review"]) == (200, "REVIEW", None)
        assert back.headers["ETag"] not in {seen, decided.headers["ETag"], again.headers["ETag"]}
        assert {one.json["ended_at"] for one in (decided, again, back)} == {record.ended_at}

    def test_who_decided_what_is_in_the_log_and_what_they_noted_is_not(
        self, ask: Ask, keep: Callable[..., Record], logged: io.StringIO
    ) -> None:
        record = keep(Status.REVIEW)
        path, body = f"/classifications/{record.id}/review", b'{"label": "bicycle", "note": "my secret"}'
        decided = ask("PUT", path, body, **{"If-Match": rest.etag(record)})
        ask("DELETE", path, **{"If-Match": decided.headers["ETag"]})
        lines = [json.loads(line) for line in logged.getvalue().splitlines()]
        said = [(line["message"], line["by"]) for line in lines if line.get("id") == record.id]
        assert said == [("a person decided", "local"), ("a decision was taken back", "local")]
        assert "my secret" not in logged.getvalue()

    def test_whoever_comes_second_is_told_who_came_first(self, ask: Ask, keep: Callable[..., Record]) -> None:
        record = keep(Status.REVIEW)
        path, seen = f"/classifications/{record.id}/review", rest.etag(record)
        first = ask("PUT", path, b'{"label": "bicycle"}', **{"If-Match": seen})
        second = ask("PUT", path, b'{"label": "motorcycle"}', **{"If-Match": seen})
        assert_problem(
            second,
            "RecordChanged",
            412,
            "The classification has changed meanwhile",
            "local has decided bicycle since you looked: read it again, then decide.",
        )
        assert ask("DELETE", path, **{"If-Match": seen}).status == 412
        assert ask("GET", f"/classifications/{record.id}").json == first.json

    def test_of_two_who_decide_at_the_same_moment_one_wins(
        self, ask: Ask, keep: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both have read the record before either writes it."""
        record, together, plain = keep(Status.REVIEW), threading.Barrier(2), store.decide

        def decide(*arguments: Any) -> Record:
            together.wait(20)
            return plain(*arguments)

        monkeypatch.setattr(store, "decide", decide)
        body, headers = b'{"label": "bicycle"}', {"If-Match": rest.etag(record)}
        with ThreadPoolExecutor(2) as threads:
            both = [threads.submit(ask, "PUT", f"/classifications/{record.id}/review", body, **headers) for _ in "ab"]
        assert sorted(one.result().status for one in both) == [200, 412]
        assert {one.result().headers.get("Content-Type", JSON) for one in both} == {JSON, PROBLEM}

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    @pytest.mark.parametrize(("tag", "status"), [(None, 428), ("*", 428), ('"1-REVIEW-9"', 412), ("W/", 412)])
    def test_a_change_says_what_it_is_based_on(
        self, ask: Ask, keep: Callable[..., Record], method: str, tag: str | None, status: int
    ) -> None:
        record = keep(
            Status.REVIEWED, review={"S": json.dumps({"label": "bicycle", "note": None, "by": "jo", "at": ""})}
        )
        headers = {} if tag is None else {"If-Match": f"W/{rest.etag(record)}" if tag == "W/" else tag}
        answer = ask(method, f"/classifications/{record.id}/review", b'{"label": "bicycle"}', **headers)
        assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)

    @pytest.mark.parametrize("status", [one for one in Status if one not in (Status.REVIEW, Status.REVIEWED)])
    def test_what_was_not_held_back_is_not_decided(self, ask: Ask, keep: Callable[..., Record], status: Status) -> None:
        record = keep(status)
        path, headers = f"/classifications/{record.id}/review", {"If-Match": rest.etag(record)}
        for answer in (ask("PUT", path, b'{"label": "bicycle"}', **headers), ask("DELETE", path, **headers)):
            assert (answer.status, answer.json["type"]) == (409, "/problems/NotNow")
            assert status in answer.json["detail"]

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"label": "car"}', b'{"label": "bicycle", "note": 5}'])
    def test_what_is_no_decision_is_a_problem(self, ask: Ask, keep: Callable[..., Record], body: bytes) -> None:
        record = keep(Status.REVIEW)
        answer = ask("PUT", f"/classifications/{record.id}/review", body, **{"If-Match": rest.etag(record)})
        assert (answer.status, answer.json["type"]) == (422, "/problems/InvalidRequest")

    @pytest.mark.parametrize(
        ("context", "by"),
        [
            ({"identity": {"userArn": "arn:aws:iam::1:user/jo"}}, "arn:aws:iam::1:user/jo"),
            ({"authorizer": {"claims": {"email": "jo@x.org", "sub": "7"}}, "identity": {"userArn": None}}, "jo@x.org"),
            ({"authorizer": {"claims": {"cognito:username": "jo", "sub": "7"}}}, "jo"),
        ],
        ids=["credentials", "e-mail address", "name"],
    )
    def test_who_decided_is_whom_api_gateway_let_in(
        self, main: Any, keep: Callable[..., Record], context: dict[str, Any], by: str
    ) -> None:
        record = keep(Status.REVIEW)
        request = asked(
            "PUT",
            "/classifications/{identity}/review",
            b'{"label": "bicycle"}',
            parameters={"identity": record.id},
            headers={"If-Match": rest.etag(record)},
            **context,
        )
        answer = main.app(request, None)
        assert answer["statusCode"] == HTTPStatus.OK
        assert json.loads(answer["body"])["review"]["by"] == by


class TestRunningAgain:
    def test_a_picture_runs_again_and_its_place_stays(
        self, ask: Ask, keep: Callable[..., Record], held: threading.Event
    ) -> None:
        record = keep(Status.FAILED)
        answer = ask("POST", f"/classifications/{record.id}/attempts")
        assert (answer.status, answer.json["status"], answer.json["attempt"]) == (202, "PENDING", 2)
        assert answer.headers["Location"] == f"/classifications/{record.id}"
        assert answer.headers["Retry-After"] == "1"
        assert answer.json["execution"].endswith(f":{record.id}-2")
        again = ask("POST", f"/classifications/{record.id}/attempts")
        assert (again.status, again.json) == (202, answer.json)

    def test_behind_api_gateway_its_place_is_below_the_stage(
        self, main: Any, keep: Callable[..., Record], held: threading.Event
    ) -> None:
        record = keep(Status.ACCEPTED)
        request = asked("POST", "/classifications/{identity}/attempts", parameters={"identity": record.id})
        assert main.app(request, None)["headers"]["Location"] == f"/api/classifications/{record.id}"

    def test_what_a_person_decided_does_not(self, ask: Ask, keep: Callable[..., Record]) -> None:
        answer = ask("POST", f"/classifications/{keep(Status.REVIEWED).id}/attempts")
        assert (answer.status, answer.json["type"]) == (409, "/problems/NotNow")

    def test_nor_does_a_picture_that_is_gone(self, ask: Ask, keep: Callable[..., Record]) -> None:
        record = keep(Status.ACCEPTED)
        aws.client("s3").delete_object(Bucket=record.s3_bucket, Key=record.s3_key, VersionId=record.version_id)
        answer = ask("POST", f"/classifications/{record.id}/attempts")
        assert (answer.status, answer.json["type"]) == (404, "/problems/ImageNotFound")


class TestOverview:
    def test_what_came_of_the_last_hours_is_told_in_figures(self, ask: Ask, keep: Callable[..., Record]) -> None:
        review = {"S": json.dumps({"label": "neither", "note": None, "by": "jo", "at": ""})}
        keep(Status.ACCEPTED)
        keep(Status.REVIEW, confidence={"N": "0.5"})
        keep(Status.REVIEWED, review=review)
        keep(Status.REVIEW, ago=3 * 3600)
        before = store.now(ago=2 * 3600)
        answer = ask("GET", "/overview?hours=2")
        assert answer.status == HTTPStatus.OK
        assert before <= answer.json["since"] <= store.now(ago=2 * 3600)
        assert (answer.json["hours"], answer.json["waiting"], answer.json["complete"]) == (2, 2, True)
        assert answer.json["counts"] == dict.fromkeys(Status, 0) | {"ACCEPTED": 1, "REVIEW": 1, "REVIEWED": 1}
        assert (answer.json["labels"], answer.json["reviewed"]) == ({"bicycle": 1}, {"neither": 1})
        assert sum(answer.json["histogram"]["held_back"]) == 2
        assert ask("GET", "/overview").json["counts"]["REVIEW"] == 2

    def test_of_more_than_it_counts_it_counts_the_newest_and_says_so(
        self, ask: Ask, keep: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(overview, "MAX_RECORDS", 2)
        for ago, status in ((30, Status.ACCEPTED), (20, Status.REJECTED), (10, Status.FAILED)):
            keep(status, ago=ago)
        answer = ask("GET", "/overview").json
        assert answer["complete"] is False
        assert {status for status, number in answer["counts"].items() if number} == {"REJECTED", "FAILED"}

    @pytest.mark.parametrize("hours", ["0", "169", "-1", "1.5", "all", ""])
    def test_hours_that_make_no_sense_are_a_problem(self, ask: Ask, own: Settings, hours: str) -> None:
        answer = ask("GET", f"/overview?hours={hours}")
        assert (answer.status, answer.headers["Content-Type"]) == (422, PROBLEM)


def entries(app: Any) -> Iterator[tuple[str, Any]]:
    """The routes of an app, as ROUTES names them."""
    for path, methods in app.routes.items():
        for method, entry in methods.items():
            yield f"{method} {path}", entry


class TestEveryRoute:
    @pytest.mark.parametrize("route", sorted(ROUTES))
    def test_a_method_that_a_route_does_not_have_is_a_problem_that_names_those_it_has(
        self, main: Any, ask: Ask, route: str
    ) -> None:
        path = route.partition(" ")[2]
        answer = ask("PATCH", path.format(name="main.js", identity="x"))
        allowed = ", ".join(main.app.routes[path])
        assert_problem(answer, "MethodNotTaken", 405, "This cannot be done here", f"Allowed here: {allowed}.")
        assert answer.headers["Allow"] == allowed

    @pytest.mark.parametrize("route", sorted(route for route in ROUTES if "{identity}" in route))
    def test_a_record_that_nobody_opened_is_not_found(self, ask: Ask, own: Settings, route: str) -> None:
        method, _, path = route.partition(" ")
        answer = ask(method, path.format(identity="0" * 32), b"{}", **{"If-Match": '"x"'})
        assert (answer.status, answer.headers["Content-Type"]) == (404, PROBLEM)
        assert answer.json["type"] == "/problems/RecordNotFound"
        assert answer.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize(
        "route",
        [
            "GET /health",
            "GET /classifications",
            "GET /classifications/{identity}",
            "GET /overview",
            "POST /classifications",
        ],
    )
    def test_aws_that_throttles_is_a_problem_worth_trying_again(
        self, client: Client, stack: Stack, fake_aws: FakeAws, route: str
    ) -> None:
        method, _, path = route.partition(" ")
        fake_aws.says(THROTTLED if path != "/classifications" or method == "GET" else Answer(503))
        body = b'{"key": "inbox/a.png"}' if method == "POST" else b""
        answer = client.http.request(method, path.format(identity="x"), body=body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.headers["Content-Type"] == PROBLEM
        assert answer.json_body["type"] == "/problems/StorageBusy"

    def test_it_is_for_whoever_signs_with_credentials(self, main: Any) -> None:
        authorizers = {route: entry.authorizer for route, entry in entries(main.app)}
        assert authorizers.keys() == ROUTES
        assert {type(authorizer) for authorizer in authorizers.values()} == {IAMAuthorizer}

    def test_with_a_user_pool_it_is_for_those_who_signed_in_but_for_the_page_itself(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in POOL.items():
            monkeypatch.setenv(name, value)
        authorizers = {route: entry.authorizer for route, entry in entries(runpy.run_path(str(ROOT / "app.py"))["app"])}
        assert {route for route, one in authorizers.items() if one is None} == {"GET /", "GET /assets/{name}"}
        (pool,) = {one for one in authorizers.values() if one}
        assert isinstance(pool, CognitoUserPoolAuthorizer)
        assert POOL["USER_POOL_ARN"] in json.dumps(pool.to_swagger())

    def test_no_request_asks_how_an_execution_goes(
        self, ask: Ask, keep: Callable[..., Record], held: threading.Event
    ) -> None:
        """The record is what there is to know."""
        record = keep(Status.FAILED)
        ask("POST", f"/classifications/{record.id}/attempts")
        for path in (f"/classifications/{record.id}", "/classifications", "/overview", "/health"):
            assert ask("GET", path).status == HTTPStatus.OK
        ask("POST", "/classifications", BICYCLE, **{"Content-Type": "image/png", "Prefer": "wait=1"})
        actions = {call.action for call in calls.made if call.function == calls.REST}
        assert {action for action in actions if action.startswith("states:")} == {"states:StartExecution"}
