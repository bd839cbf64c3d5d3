"""Finds what was lost on the way in, and starts it again: safe at any time, since a picture is classified once.

Lost are pictures in the inbox that have no record, because nobody told of them or nobody could hear it, and records
that are still PENDING, because no execution was started for them or it ended without a word.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib import inbox, listing, store, workflow
from chalicelib.errors import InvalidRequest
from chalicelib.inbox import Marker, Source
from chalicelib.settings import Settings
from chalicelib.store import Record, Status

GRACE = 900
"""Seconds that a picture has to come to an end by itself: Lambda tries an event again after one minute and after two:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"""

WINDOW = 7 * 86400
"""Seconds back from now in which pictures without a record are looked for, unless told otherwise. It has to be longer
than the inbox takes to be looked through."""

LISTING_TIME = 60.0
"""Seconds that the schedule lists for, every hour: a hundred pages or more of 1,000 pictures, and so millions a day.
What is left is listed by the next runs, so that an inbox of any size costs the same."""

MAX_ATTEMPTS = 5
"""How often a picture is started in all, before it is given up as FAILED."""

ENOUGH_TIME = 60.0
"""Seconds that have to be left for another page of the listing: 1,000 pictures, perhaps none of them known."""

BEGINNING: Marker = ("", "")

logger = logging.getLogger("scones-unlimited")


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        listed: pictures of the inbox that were looked at.
        started: pictures that were started, or started again.
        given_up: records that are FAILED now, since they were started often enough.
        failed: pictures that could not be started.
        after: where the next run goes on, key and version, both empty for the beginning; None if nothing is left.
    """

    listed: int = 0
    started: int = 0
    given_up: int = 0
    failed: int = 0
    after: Marker | None = None

    def as_dict(self) -> dict[str, Any]:
        """The outcome as JSON takes it."""
        return asdict(self)


def keep_up(settings: Settings, seconds_left: Callable[[], float]) -> Outcome:
    """What the schedule does: all records that are PENDING for long, and the next part of the inbox.

    Args:
        settings: the names of the stage.
        seconds_left: how long this may still take.

    Raises:
        StorageBusy: a listing failed; calling again does no harm.
    """
    outcome = Outcome(after=BEGINNING)
    if _restart_pending(settings, outcome, seconds_left):
        end = max(seconds_left() - LISTING_TIME, ENOUGH_TIME)
        since = datetime.now(UTC) - timedelta(seconds=WINDOW)
        begin = store.bookmark(settings.records_table)
        store.set_bookmark(settings.records_table, *BEGINNING)  # so that a marker that fails is not tried for ever
        _start_unknown(settings, outcome, since, begin, lambda: seconds_left() - end)
        store.set_bookmark(settings.records_table, *(outcome.after or BEGINNING))
    return outcome


def look_through(settings: Settings, asked: Mapping[str, Any], seconds_left: Callable[[], float]) -> Outcome:
    """What a person asks for: the same for the whole inbox, in as many calls as it takes.

    Args:
        settings: the names of the stage.
        asked: `since`, the ISO 8601 time from which on pictures are looked for, and `after`, where an earlier call
            stopped; both optional.
        seconds_left: how long this may still take.

    Raises:
        InvalidRequest: what is asked cannot be understood.
        StorageBusy: a listing failed; calling again does no harm.
    """
    since, begin = _understand(asked)
    outcome = Outcome(after=BEGINNING)
    if begin != BEGINNING or _restart_pending(settings, outcome, seconds_left):
        _start_unknown(settings, outcome, since, begin, lambda: seconds_left() - ENOUGH_TIME)
    return outcome


def oldest_unfinished(settings: Settings) -> float:
    """Seconds since the picture that waits longest came to be PENDING; 0 if none does.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    record = next(listing.waiting(settings.records_table, Status.PENDING), None)
    return 0.0 if record is None else max(0.0, (datetime.now(UTC) - _time(record.updated_at)).total_seconds())


def _understand(asked: Mapping[str, Any]) -> tuple[datetime, Marker]:
    try:
        since = _time(asked["since"]) if asked.get("since") else datetime.now(UTC) - timedelta(seconds=WINDOW)
        key, version = asked.get("after") or BEGINNING
        if not isinstance(key, str) or not isinstance(version, str):
            raise TypeError("a marker is two texts")
    except (TypeError, ValueError) as error:
        raise InvalidRequest(
            f'Ask for {{"since": "2026-01-31T00:00:00Z", "after": [key, version]}}, both optional: {error}.'
        ) from error
    return since, (key, version)


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _restart_pending(settings: Settings, outcome: Outcome, seconds_left: Callable[[], float]) -> bool:
    """Start what is PENDING for long; whether there was time for all."""
    for record in listing.waiting(settings.records_table, Status.PENDING, until=store.now(ago=GRACE)):
        if seconds_left() < ENOUGH_TIME:
            return False
        _again(settings, record, outcome)
    return True


def _start_unknown(
    settings: Settings, outcome: Outcome, since: datetime, begin: Marker, time_left: Callable[[], float]
) -> None:
    """List the inbox from a marker on, and start what has no record though it had time to get one."""
    for listed, outcome.after in inbox.versions(settings.inbox_bucket, None if begin == BEGINNING else begin):
        until = datetime.now(UTC) - timedelta(seconds=GRACE)
        due = {workflow.identity(one.source): one.source for one in listed if since <= one.at < until}
        for identity in store.missing(settings.records_table, list(due)):
            _start(settings, due[identity], outcome)
        outcome.listed += len(listed)
        if time_left() < 0:
            break


def _again(settings: Settings, record: Record, outcome: Outcome) -> None:
    if record.attempt < MAX_ATTEMPTS:
        _start(settings, Source(record.s3_bucket, record.s3_key, record.version_id, record.etag), outcome)
    elif store.fail(
        settings.records_table,
        record.id,
        record.attempt,
        "GivenUp",
        f"Started {record.attempt} times, and never came to an end. Look at the executions of this id, and at the "
        "alarms of the workflow.",
    ):
        outcome.given_up += 1


def _start(settings: Settings, source: Source, outcome: Outcome) -> None:
    try:
        record = workflow.start(settings, source)
    except Exception:
        logger.exception("picture could not be started", extra={"key": source.key})
        outcome.failed += 1
    else:
        logger.warning("picture was lost and is started", extra={"id": record.id, "key": source.key})
        outcome.started += 1
