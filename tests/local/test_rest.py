"""The REST API over HTTP on this machine: what API Gateway would do before it asks the app, and what is logged."""

import http.client
import io
import json
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from threading import Barrier
from urllib.parse import urlsplit

import pytest

from chalicelib import aws, inbox
from local import HOST, rest
from local.stack import Stack

JSON = "application/json"
PROBLEM = "application/problem+json"


@contextmanager
def connected(stack: Stack) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(stack.api_url).netloc, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask over a connection that stays open; `Content_Type` stands for the header Content-Type."""
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response, response.read()


def sent(stack: Stack, head: str) -> bytes:
    """All that the server says to these lines before it hangs up."""
    url = urlsplit(stack.api_url)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        with connection.makefile("rb") as answer:
            return answer.read()


@pytest.fixture
def lines() -> Iterator[Callable[[], list[str]]]:
    """What the server logs."""
    written, level = io.StringIO(), rest.logger.level
    handler = logging.StreamHandler(written)
    rest.logger.addHandler(handler)
    rest.logger.setLevel(logging.INFO)
    yield lambda: written.getvalue().splitlines()
    rest.logger.setLevel(level)
    rest.logger.removeHandler(handler)


def test_a_request_is_logged_in_one_line_that_a_person_can_read(stack: Stack, lines: Callable[[], list[str]]) -> None:
    with connected(stack) as connection:
        ask(connection, "GET", "/health")
        ask(connection, "GET", "/classifications?limit=0")
        ask(connection, "GET", "/nowhere")
        ask(connection, "GET", "/health")
    whole = lines()
    assert [re.sub(r"\d+ ms$", "N ms", line) for line in whole[:3]] == [
        "GET /health → 200, N ms",
        "GET /classifications?limit=0 → 422, N ms",
        "GET /nowhere → 403, N ms",
    ]


def test_nobody_outside_of_this_machine_is_answered(stack: Stack) -> None:
    assert urlsplit(stack.api_url).hostname == HOST == "127.0.0.1"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE"])
def test_a_path_that_the_api_does_not_have_is_answered_as_by_api_gateway(stack: Stack, method: str) -> None:
    with connected(stack) as connection:
        response, body = ask(connection, method, "/nowhere")
    assert (response.status, json.loads(body)) == (403, {"message": "Missing Authentication Token"})


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "QUERY", "CONNECT", "POST"])
def test_a_method_that_a_route_does_not_have_is_refused_in_the_one_shape(stack: Stack, method: str) -> None:
    with connected(stack) as connection:
        response, body = ask(connection, method, "/health")
    assert (response.status, response.getheader("Content-Type")) == (405, PROBLEM)
    assert json.loads(body)["type"] == "/problems/MethodNotTaken"
    assert response.getheader("Allow") == "GET"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "TRACE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/health", "/nowhere", "/assets/main.js"])
def test_whatever_is_asked_the_connection_can_be_used_again(stack: Stack, method: str, path: str) -> None:
    with connected(stack) as connection:
        ask(connection, method, path)
        response, body = ask(connection, "GET", "/health")
    assert (response.status, json.loads(body)) == (200, {"status": "ok"})


def test_a_body_that_api_gateway_would_not_pass_on_is_refused_before_it_is_sent(stack: Stack) -> None:
    head = f"POST /classifications HTTP/1.1\nHost: x\nContent-Length: {rest.MAX_BODY + 1}\n\n"
    answer = sent(stack, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b'\r\n\r\n{"message": "Request Entity Too Large"}')
    assert b"Connection: close" in answer


def test_the_largest_body_that_api_gateway_passes_on_comes_to_the_app(stack: Stack) -> None:
    with connected(stack) as connection:
        response, body = ask(connection, "POST", "/classifications", bytes(rest.MAX_BODY), Content_Type="image/png")
    assert (response.status, response.getheader("Content-Type")) == (413, PROBLEM)
    assert json.loads(body)["type"] == "/problems/BodyTooLarge"


@pytest.mark.parametrize("length", ["-1", "many", "1.5", "²", "", "+5", "9" * 5000])
def test_a_length_that_is_none_is_refused_and_nothing_breaks(
    stack: Stack, lines: Callable[[], list[str]], length: str
) -> None:
    answer = sent(stack, f"POST /classifications HTTP/1.1\nHost: x\nContent-Length: {length}\n\n")
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if length.startswith("9") else HTTPStatus.BAD_REQUEST
    assert answer.startswith(f"HTTP/1.1 {status.value} ".encode())


def test_the_answer_to_head_has_no_body(stack: Stack) -> None:
    answer = sent(stack, "HEAD /health HTTP/1.1\nHost: x\nConnection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_body_in_chunks_is_refused_rather_than_taken_for_requests(stack: Stack) -> None:
    head = "POST /uploads HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nContent-Type: application/json\n\n2\n{}\n0\n\n"
    answer = sent(stack, head)
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_many_who_come_at_the_same_moment_are_all_answered(stack: Stack) -> None:
    callers = 100
    together = Barrier(callers)

    def call(_: int) -> int:
        with connected(stack) as connection:
            together.wait(30)
            return ask(connection, "GET", "/assets/icon.svg")[0].status

    with ThreadPoolExecutor(callers) as threads:
        assert list(threads.map(call, range(callers))) == [200] * callers


def test_one_who_says_nothing_keeps_nobody_waiting(stack: Stack) -> None:
    url = urlsplit(stack.api_url)
    with socket.create_connection((url.hostname, url.port), timeout=30) as silent, connected(stack) as connection:
        silent.sendall(b"POST /classifications HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        assert ask(connection, "GET", "/health")[0].status == HTTPStatus.OK


def test_one_who_hangs_up_in_the_middle_of_a_body_is_told_in_one_line_and_nothing_is_done(
    stack: Stack, lines: Callable[[], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    before = aws.client("s3").list_object_versions(Bucket=stack.settings.inbox_bucket, Prefix=inbox.UPLOADS)
    head = "POST /classifications HTTP/1.1\nHost: x\nContent-Type: image/png\nContent-Length: 50\n\nhalf of it"
    url = urlsplit(stack.api_url)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
    deadline, hung_up = time.monotonic() + 10, "127.0.0.1 hung up before the end"
    while hung_up not in lines() and time.monotonic() < deadline:
        time.sleep(0.01)
    late = "GET /health"  # of the test before, which has its answer before the server has written its line
    assert [line for line in lines() if not line.startswith(late)] == [hung_up]
    after = aws.client("s3").list_object_versions(Bucket=stack.settings.inbox_bucket, Prefix=inbox.UPLOADS)
    assert after.get("Versions") == before.get("Versions")
    assert "Traceback" not in "".join(capfd.readouterr())


def test_requests_at_the_same_time_are_not_taken_for_each_other(stack: Stack) -> None:
    """Chalice keeps the current request; here each thread has its own."""

    def call(number: int) -> str:
        with connected(stack) as connection:
            return str(json.loads(ask(connection, "GET", f"/classifications/{number:032}")[1])["detail"])

    with ThreadPoolExecutor(16) as threads:
        details = list(threads.map(call, range(64)))
    assert details == [f"There is no classification {number:032}." for number in range(64)]
