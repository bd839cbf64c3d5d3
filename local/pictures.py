"""What `classify` does: finds pictures, drops them into the inbox, and follows each to its end."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import workflow
from chalicelib.errors import InvalidRequest, RecordNotFound
from chalicelib.inbox import Source
from chalicelib.store import Record, Status
from local.endpoint import Fault
from local.stack import Client, Stack

AT_ONCE = 8
"""Pictures on their way at the same time."""

POLL_INTERVAL = 0.05
"""Seconds between two looks at a record."""

WAITING = "WAITING"
"""Not dropped yet: there is no record, so no status either."""

PATIENCE = 120.0
"""Seconds after which a picture counts as stuck."""


@dataclass(frozen=True)
class Progress:
    """Where one picture stands.

    Attributes:
        path: the file.
        key: what it is called in the inbox.
        status: the record's status, or what stands in for it while there is none.
        seconds: from the drop to the record's end.
        source: the object in the inbox, once dropped.
        record: the record, once there is one.
        reason: why the picture is not accepted, in words.
    """

    path: Path
    key: str
    status: str = WAITING
    seconds: float = 0.0
    source: Source | None = None
    record: Record | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The record with the file's path, as `--json` prints it."""
        record = (
            self.record.as_dict() if self.record else {"id": workflow.identity(self.source) if self.source else None}
        )
        return {
            "path": str(self.path),
            **record,
            "status": self.status,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
        }


def find(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """The files to classify, each with a key that no other has.

    A folder stands for all files below it, hidden ones left out. A file that is no picture is kept: it ends as
    REJECTED, visibly.

    Args:
        paths: files and folders.

    Returns:
        Pairs of file and key below the inbox's prefix.
    """
    found = [(file, base) for path in paths for file, base in _files(path)]
    keys: dict[str, Path] = {}
    for file, base in found:
        key = file.relative_to(base).as_posix()
        number = 1
        while keys.get(key, file) != file:
            number += 1
            key = f"{number}/{file.relative_to(base).as_posix()}"
        keys[key] = file
    return [(file, key) for key, file in keys.items()]


def _files(path: Path) -> Iterator[tuple[Path, Path]]:
    if path.is_file():
        yield path, path.parent
    else:
        for file in sorted(path.rglob("*")):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
                yield file, path.parent


def classify(stack: Client, files: list[tuple[Path, str]], show: Callable[[int, Progress], None]) -> list[Progress]:
    """Drop pictures into the inbox and follow each to its end.

    Args:
        stack: the running system.
        files: pairs of file and key.
        show: called with a picture's place in the list and where it stands, whenever that changes.

    Returns:
        Where each picture ended, in the order of the files.
    """
    ended: list[Progress] = [Progress(path, key) for path, key in files]

    def run(place: int, path: Path, key: str) -> Progress:
        latest = Progress(path, key)
        for latest in follow_one(stack, path, key):
            show(place, latest)
        return latest

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        running = {pool.submit(run, place, path, key): place for place, (path, key) in enumerate(files)}
        for future in as_completed(running):
            ended[running[future]] = future.result()
    finally:
        pool.shutdown(cancel_futures=True)
    return ended


def follow_one(stack: Client, path: Path, key: str) -> Iterator[Progress]:
    """Drop one picture and tell where it stands, each time that changes, until it has ended."""
    started = time.monotonic()
    try:
        source = stack.drop(key, path.read_bytes())
    except (OSError, ClientError, InvalidRequest) as error:
        yield Progress(path, key, Status.FAILED, reason=f"Could not be dropped: {error}")
        return
    yield from follow(stack, Progress(path, key, Status.PENDING, source=source), source, started)


def follow(stack: Client, now: Progress, source: Source, started: float) -> Iterator[Progress]:
    """Tell where a picture that is in the inbox stands, each time that changes, until it has ended.

    Args:
        stack: the running system.
        now: the picture, pending.
        source: the object in the inbox.
        started: when the clock was started, as `time.monotonic` has it.
    """
    yield now
    while now.status == Status.PENDING:
        time.sleep(POLL_INTERVAL)
        now = _look(stack, source, replace(now, seconds=time.monotonic() - started))
    yield now


def _look(stack: Client, source: Source, now: Progress) -> Progress:
    try:
        record = stack.record(source)
    except RecordNotFound:
        if stack.lost(source):
            return replace(now, status=Status.FAILED, reason="The trigger failed three times: nothing was started.")
        record = None
    if record and record.status is not Status.PENDING:
        return replace(now, status=record.status, record=record, reason=record.reason)
    if now.seconds > PATIENCE:
        return replace(now, status=Status.FAILED, record=record, reason=f"Still pending after {PATIENCE:.0f} s.")
    return now


def fail_and_start_again(stack: Stack, path: Path) -> list[Progress]:
    """Drop a picture while the endpoint is missing, and start it again once it is back.

    Returns:
        Where it stood after the first attempt, and after the second.
    """
    name = stack.settings.endpoint_name
    stack.endpoint.faults.append(Fault(HTTPStatus.BAD_REQUEST, "ValidationError", f"Endpoint {name} not found."))
    *_, failed = follow_one(stack, path, f"again/{path.name}")
    if failed.source is None:
        return [failed]
    started = time.monotonic()
    workflow.start(stack.settings, failed.source)
    again = replace(failed, status=Status.PENDING, record=None, reason=None)
    *_, ended = follow(stack, again, failed.source, started)
    return [failed, ended]
