"""What the tests share: the embedded AWS, answers that it cannot give, and no way to the real one."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hypothesis
import pytest

from chalicelib import aws, store
from chalicelib.errors import RecordNotFound
from chalicelib.store import Record, Status
from local.stack import Stack, running
from tests import calls

NOWHERE = "http://127.0.0.1:1"
"""An address where nothing listens: what a test asks AWS for while no stack runs goes nowhere."""

PATIENCE = 30.0
"""Seconds after which a picture counts as stuck."""

hypothesis.settings.register_profile("shared-machine", deadline=None, max_examples=60)
hypothesis.settings.load_profile("shared-machine")


def hide_real_aws() -> None:
    """Before anything is collected: no profile, credentials that are none, and every service at NOWHERE.

    A running stack sets its own address and credentials, and takes these back when it ends.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID="none",
        AWS_SECRET_ACCESS_KEY="none",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        AWS_ENDPOINT_URL=NOWHERE,
    )


hide_real_aws()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore:.*is not a supported in local mode:UserWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Last comes what looks back at what all others had the functions call."""
    items.sort(key=lambda item: item.path.name == "test_permissions.py")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The embedded AWS with the app, the workflow and the model, up for all tests that ask for it."""
    with calls.recorded(), running() as started:
        for service in ("s3", "dynamodb", "stepfunctions"):
            aws.client(service)  # what runs in the background keeps these whatever a test puts in AWS's place
        yield started


@pytest.fixture(scope="session")
def versioned_bucket(stack: Stack) -> str:
    """A bucket like the inbox, but without a trigger."""
    aws.client("s3").create_bucket(Bucket="versioned")
    aws.client("s3").put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    return "versioned"


@pytest.fixture(scope="session")
def plain_bucket(stack: Stack) -> str:
    """A bucket without versions and without a trigger."""
    aws.client("s3").create_bucket(Bucket="plain")
    return "plain"


def wait_for(stack: Stack, identity: str) -> Record:
    """The record of a picture, once it has come to an end."""
    deadline = time.monotonic() + PATIENCE
    record = None
    while time.monotonic() < deadline:
        try:
            record = store.get(stack.settings.records_table, identity)
        except RecordNotFound:
            record = None
        if record and record.status is not Status.PENDING:
            return record
        time.sleep(0.02)
    pytest.fail(f"{identity} has not ended: {record}")


@pytest.fixture
def ended(stack: Stack) -> Callable[[str], Record]:
    """Wait until a picture's record has come to an end."""
    return partial(wait_for, stack)


@pytest.fixture
def held(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Executions stay in their first step until this is set."""
    released = threading.Event()

    def hold(name: str, _event: Any) -> None:
        if name == "serialize":
            released.wait(PATIENCE)

    monkeypatch.setattr(stack.functions, "before", hold)
    yield released
    released.set()


@dataclass(frozen=True)
class Answer:
    """What the fake says to one request.

    Attributes:
        status: the HTTP status.
        body: what follows the headers; None to hang up without a word.
        headers: names and values.
        length: the content length that it claims.
        seconds: how long it thinks first.
    """

    status: int = 200
    body: bytes | None = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A request that the fake got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeAws:
    """An HTTP server in AWS's place, for answers that no emulator gives.

    Attributes:
        url: where it listens.
        answers: what it says, one after the other; the last is repeated.
        asked: the requests that it got.
    """

    url: str
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def says(self, *answers: Answer) -> None:
        self.answers[:] = answers

    def refuses(self, code: str, status: int = 400, **more: Any) -> None:
        """Answer with an error, as the JSON services word it."""
        body = {"__type": code, "message": "no", "Message": "no", **more}
        self.says(Answer(status, json.dumps(body).encode(), {"x-amzn-errortype": code}))

    def refuses_xml(self, code: str, status: int) -> None:
        """Answer with an error, as S3 words it."""
        self.says(Answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()))


@pytest.fixture
def fake_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """A fake that the code under test talks to in this thread, with retries that do not wait and timeouts of 0.3 s."""
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fake.asked.append(Asked(self.command, self.path, dict(self.headers.items()), body))
            answer = fake.answers.pop(0) if len(fake.answers) > 1 else fake.answers[0]
            done.wait(answer.seconds)
            self.close_connection = True
            if answer.body is None:
                return
            self.send_response(answer.status)
            length = len(answer.body) if answer.length is None else answer.length
            claimed = {"Content-Length": str(length), "Connection": "close"}
            for name, value in (claimed | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 - the standard library's names

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that gives up is what is tested
    fake = FakeAws(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    stand_in(monkeypatch, fake.url)
    yield fake
    done.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens where the code under test looks for AWS."""
    stand_in(monkeypatch, NOWHERE)


def stand_in(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Send the clients of this thread to a URL; what runs in the background keeps its own."""
    plain, owner = aws.client, threading.get_ident()
    made: dict[str, Any] = {}

    def client(service: str, **options: Any) -> Any:
        if threading.get_ident() != owner:
            return plain(service, **options)
        if service not in made:
            with pytest.MonkeyPatch.context() as environment:
                for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"):
                    environment.setenv(name, url)
                made[service] = plain.__wrapped__(service, **options | {"read_timeout": 0.3})
        return made[service]

    monkeypatch.setattr(aws, "client", client)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
