"""The embedded Lambda behaves like Lambda where the workflow can see it."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from chalice.app import Chalice
from chalice.config import Config

from local.functions import Functions

CONFIG = {
    "app_name": "shop",
    "stages": {"dev": {"lambda_memory_size": 512, "lambda_timeout": 1}},
}


def functions(handler: Callable[[Any, Any], Any]) -> Functions:
    app = Chalice(app_name="shop", configure_logs=False)
    app.lambda_function(name="work")(handler)
    return Functions(app, Config(chalice_stage="dev", config_from_disk=CONFIG))


def test_the_handler_s_answer_is_the_payload() -> None:
    result = functions(lambda event, _: {"twice": event["n"] * 2}).invoke("work", '{"n": 21}')
    assert (json.loads(result.payload), result.failed) == ({"twice": 42}, False)


def test_the_context_is_that_of_the_stage() -> None:
    answer = functions(lambda _, context: [context.function_name, context.memory_limit_in_mb]).invoke("work", "{}")
    assert json.loads(answer.payload) == ["shop-dev-work", 512]


def test_an_error_is_told_as_lambda_tells_it() -> None:
    def fail(_event: Any, _context: Any) -> None:
        raise KeyError("milk")

    error = json.loads(functions(fail).invoke("work", "{}").payload)
    assert error["errorType"] == "KeyError"
    assert error["errorMessage"] == "'milk'"
    assert any("fail" in line for line in error["stackTrace"])
    assert error["requestId"]


def test_an_answer_that_is_not_json_is_an_error() -> None:
    assert functions(lambda *_: object()).invoke("work", "{}").failed


def test_a_handler_over_its_time_is_told_as_timed_out() -> None:
    release = threading.Event()
    result = functions(lambda *_: release.wait(30)).invoke("work", "{}")
    release.set()
    assert json.loads(result.payload)["errorType"] == "Sandbox.Timedout"


def test_a_handler_that_raises_a_timeout_of_its_own_is_not_taken_for_timed_out() -> None:
    def fail(_event: Any, _context: Any) -> None:
        raise TimeoutError("the shop is closed")

    assert json.loads(functions(fail).invoke("work", "{}").payload)["errorType"] == "TimeoutError"


def test_a_dying_process_is_told_as_an_exit() -> None:
    def die(_event: Any, _context: Any) -> None:
        raise SystemExit(1)

    assert json.loads(functions(die).invoke("work", "{}").payload)["errorType"] == "Runtime.ExitError"


def test_an_event_is_delivered_in_the_background_and_tried_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.functions.RETRY_DELAYS", (0.01, 0.01))
    tries: list[Any] = []

    def fail(event: Any, _context: Any) -> None:
        tries.append(event)
        raise ValueError

    under_test = functions(fail)
    under_test.deliver("work", '{"n": 1}')
    deadline = time.monotonic() + 10
    while not under_test.lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert tries == [{"n": 1}] * 3
    assert [lost.event for lost in under_test.lost] == ['{"n": 1}']
