"""Lambda, embedded: invokes the handlers of the real app, in this process.

What is like AWS: the handlers and their wrapping by Chalice, the context, the shape of an error, the timeout of
`.chalice/config.json`, and that an asynchronous event is tried three times before it counts as failed. What is not: a
handler that runs into its timeout is left behind rather than killed, and IAM is not enforced.
"""

import json
import logging
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from chalice.app import Chalice
from chalice.config import Config
from chalice.local import LambdaContext

from local import ACCOUNT, REGION

logger = logging.getLogger(__name__)

CONCURRENCY = 32
"""How many handlers run at once; an account on AWS has 1,000."""

RETRY_DELAYS = (1.0, 2.0)
"""Seconds before the second and the third try of an asynchronous event. Lambda waits one minute and then two:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"""


@dataclass(frozen=True)
class Result:
    """What an invocation came to.

    Attributes:
        payload: JSON: what the handler returned, or the error as Lambda describes it.
        failed: whether it is an error.
    """

    payload: str
    failed: bool


@dataclass(frozen=True)
class LostEvent:
    """An asynchronous event that failed each time it was tried.

    Attributes:
        function: the function's short name.
        event: the event's JSON.
        error: the last error as Lambda describes it, JSON.
        tries: how often it was tried.
    """

    function: str
    event: str
    error: str
    tries: int


@dataclass
class Functions:
    """The app's functions.

    Attributes:
        app: the Chalice app.
        config: the stage of `.chalice/config.json`.
        lost: the asynchronous events that were given up, oldest first.
        before: called with a function's short name and event before its handler; raising in it makes the handler
            fail, which is how tests let a function die.
        retries: called with a function's short name; how often an asynchronous event is tried again.
        on_lost: called with each event that is given up.
        after: called with a function's short name and the seconds that its handler took.
    """

    app: Chalice
    config: Config
    lost: list[LostEvent] = field(default_factory=list)
    before: Callable[[str, Any], None] = lambda _name, _event: None
    retries: Callable[[str], int] = lambda _name: len(RETRY_DELAYS)
    on_lost: Callable[[LostEvent], None] = lambda _lost: None
    after: Callable[[str, float], None] = lambda _name, _seconds: None

    def __post_init__(self) -> None:
        self._handlers = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="lambda")
        self._deliveries = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="lambda-async")

    @property
    def names(self) -> list[str]:
        """The short names of the functions that can be invoked."""
        return sorted(self.app.handler_map)

    def full_name(self, name: str) -> str:
        """The name that `chalice deploy` gives a function."""
        return f"{self.config.app_name}-{self.config.chalice_stage}-{name}"

    def short_name(self, full_name: str) -> str:
        """The name that `app.py` gives a function."""
        return full_name.removeprefix(self.full_name(""))

    def invoke(self, name: str, payload: str) -> Result:
        """Invoke a function and wait for it, as `InvocationType: RequestResponse` does.

        Args:
            name: the function's short name.
            payload: the event, JSON.
        """
        config = self.config.scope(self.config.chalice_stage, name)
        request_id = str(uuid4())
        running = self._handlers.submit(self._run, name, json.loads(payload), config)
        try:
            return Result(json.dumps(running.result(timeout=config.lambda_timeout)), failed=False)
        except BaseException as failure:  # noqa: BLE001 - a handler may die of anything, SystemExit included
            if not running.done():
                timed_out = f"Task timed out after {config.lambda_timeout}.00 seconds"
                error = {"errorType": "Sandbox.Timedout", "errorMessage": timed_out}
            else:
                error = _describe(failure)
        return Result(json.dumps({**error, "requestId": request_id}), failed=True)

    def deliver(self, name: str, payload: str) -> None:
        """Invoke a function in the background, as `InvocationType: Event` does.

        It is tried three times, or as often as the function asks; then the event is lost, and said so.
        """
        self._deliveries.submit(self._deliver, name, payload)

    def stop(self) -> None:
        """Take no more events; what is running is left to end by itself."""
        self._deliveries.shutdown(wait=False, cancel_futures=True)
        self._handlers.shutdown(wait=False, cancel_futures=True)

    def _run(self, name: str, event: Any, config: Config) -> Any:
        self.before(name, event)
        context = LambdaContext(self.full_name(name), config.lambda_memory_size, config.lambda_timeout * 1000)
        context.invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.full_name(name)}"
        started = time.perf_counter()
        try:
            return self.app.handler_map[name](event, context)
        finally:
            self.after(name, time.perf_counter() - started)

    def _deliver(self, name: str, payload: str) -> None:
        delays = RETRY_DELAYS[: self.retries(name)]
        for delay in (*delays, None):
            result = self.invoke(name, payload)
            if not result.failed:
                return
            if delay is not None:
                time.sleep(delay)
        lost = LostEvent(name, payload, result.payload, tries=len(delays) + 1)
        logger.error("%s failed %s times, its event is lost: %s", self.full_name(name), lost.tries, lost.error)
        self.on_lost(lost)
        self.lost.append(lost)


def _describe(failure: BaseException) -> dict[str, Any]:
    if not isinstance(failure, Exception):
        return {"errorType": "Runtime.ExitError", "errorMessage": f"Runtime exited with error: {failure!r}"}
    return {
        "errorType": type(failure).__name__,
        "errorMessage": str(failure),
        "stackTrace": traceback.format_tb(failure.__traceback__),
    }
