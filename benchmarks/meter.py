"""Takes times inside the running system: when each record came to its end, and what the handlers and the model took.

Everything runs in this process, so it can be timed where it happens, by one clock and without asking: five places are
wrapped while `watching`, each for about a microsecond a call.

- The table's `update_item`: the one call that the state machine ends a record with. Its return is the end.
- `Functions.before` and `Functions.after`: around each handler, in its thread.
- botocore's `send` and `read`, where a handler is what calls: the time that it waits for an answer.
- The endpoint's `_predict`: decoding, the model, and the answer's JSON.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any
from unittest.mock import patch

from botocore.httpsession import URLLib3Session
from botocore.response import StreamingBody
from moto.dynamodb.models import DynamoDBBackend

from local.stack import Stack


@dataclass
class Spent:
    """Seconds that passed, and seconds of a processor, in all pictures together.

    Attributes:
        handlers: in the handlers of `app.py`, all of it.
        waits: of those, waiting for an answer of AWS or the endpoint.
        model: in the model, which `waits` contain.
        handlers_cpu: of a processor in the handlers, with what botocore takes to send and to receive.
        model_cpu: of a processor in the model.
    """

    handlers: float = 0.0
    waits: float = 0.0
    model: float = 0.0
    handlers_cpu: float = 0.0
    model_cpu: float = 0.0

    @property
    def own(self) -> float:
        """Seconds in the handlers' own code: what they took without their waits."""
        return self.handlers - self.waits

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(*(getattr(self, field.name) - getattr(other, field.name) for field in fields(self)))


class Meter:
    """What `watching` notes."""

    def __init__(self) -> None:
        self._endings: dict[str, tuple[threading.Event, list[float]]] = {}
        self._spent = Spent()
        self._lock = threading.Lock()
        self._thread = threading.local()

    def spent(self) -> Spent:
        """All that was spent so far."""
        with self._lock:
            return Spent(*(getattr(self._spent, field.name) for field in fields(Spent)))

    def wait(self, identity: str, patience: float) -> float:
        """Wait until a record has come to its end.

        Returns:
            When it did, by `time.perf_counter`.

        Raises:
            TimeoutError: it has not, within `patience` seconds.
        """
        ended, at = self._ending(identity)
        if not ended.wait(patience):
            raise TimeoutError(f"The picture {identity} has not ended within {patience:.0f} s.")
        return at[0]

    def note_end(self, identity: str) -> None:
        """A record has come to its end, now."""
        ended, at = self._ending(identity)
        at.append(time.perf_counter())
        ended.set()

    def enter_handler(self) -> None:
        """A handler begins in this thread."""
        self._thread.waits = 0.0
        self._thread.began_cpu = time.thread_time()

    def leave_handler(self, seconds: float) -> None:
        """A handler ends in this thread, having taken these seconds."""
        cpu, waits = time.thread_time() - self._thread.began_cpu, self._thread.waits
        del self._thread.waits
        with self._lock:
            self._spent.handlers += seconds
            self._spent.waits += waits
            self._spent.handlers_cpu += cpu

    def waiting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call that counts as waiting where a handler makes it."""

        @wraps(call)
        def timed(*arguments: Any, **named: Any) -> Any:
            if not hasattr(self._thread, "waits"):
                return call(*arguments, **named)
            started = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self._thread.waits += time.perf_counter() - started

        return timed

    def modelling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call that counts as the model's."""

        @wraps(call)
        def timed(*arguments: Any, **named: Any) -> Any:
            started, started_cpu = time.perf_counter(), time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                seconds, cpu = time.perf_counter() - started, time.thread_time() - started_cpu
                with self._lock:
                    self._spent.model += seconds
                    self._spent.model_cpu += cpu

        return timed

    def _ending(self, identity: str) -> tuple[threading.Event, list[float]]:
        with self._lock:
            return self._endings.setdefault(identity, (threading.Event(), []))


@contextmanager
def watching(stack: Stack) -> Iterator[Meter]:
    """Note what happens in the running system."""
    meter = Meter()
    plain_update = DynamoDBBackend.update_item

    @wraps(plain_update)
    def update(backend: Any, table_name: str, key: Any, *arguments: Any, **named: Any) -> Any:
        item = plain_update(backend, table_name, key, *arguments, **named)
        if table_name == stack.settings.records_table:
            meter.note_end(key["id"]["S"])
        return item

    wrapped = [
        (DynamoDBBackend, "update_item", update),
        (URLLib3Session, "send", meter.waiting(URLLib3Session.send)),
        (StreamingBody, "read", meter.waiting(StreamingBody.read)),
        (stack.functions, "before", lambda _name, _event: meter.enter_handler()),
        (stack.functions, "after", lambda _name, seconds: meter.leave_handler(seconds)),
        (stack.endpoint, "_predict", meter.modelling(stack.endpoint._predict)),  # noqa: SLF001 - the place to time
    ]
    with ExitStack() as patches:
        for owner, name, replacement in wrapped:
            patches.enter_context(patch.object(owner, name, replacement))
        yield meter
