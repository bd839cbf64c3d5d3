"""How tests ask the REST API: plain HTTP, a connection for each request, many at the same time."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from local.stack import Stack

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that an answer may take, and that all pictures of a test may take to end."""


@dataclass(frozen=True)
class Answer:
    """What the API said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(stack: Stack, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """Ask once, over a connection of its own; `Content_Type` stands for the header Content-Type."""
    connection = http.client.HTTPConnection(urlsplit(stack.api_url).netloc, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of this at the same moment, each in a thread of its own; the results in the order of the calls."""
    start = threading.Barrier(len(calls))

    def when_all_are_there(call: Callable[[], T]) -> T:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(when_all_are_there, calls))


def end_of(stack: Stack, identity: str, deadline: float) -> dict[str, Any]:
    """A classification, once it is no longer PENDING."""
    while True:
        answer = ask(stack, "GET", f"/classifications/{identity}")
        assert answer.status == 200, answer
        if answer.json["status"] != "PENDING":
            return dict(answer.json)
        assert time.monotonic() < deadline, f"{identity} has not ended"
        time.sleep(0.1)
