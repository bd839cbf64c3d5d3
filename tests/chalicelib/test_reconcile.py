"""What was lost on the way in is found, and started again once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from chalicelib import aws, inbox, reconcile, store, workflow
from chalicelib.errors import InvalidRequest, RecordNotFound, StorageBusy
from chalicelib.inbox import Source
from chalicelib.reconcile import ENOUGH_TIME, GRACE, MAX_ATTEMPTS, Outcome
from chalicelib.settings import Settings
from chalicelib.store import Record, Status
from local.resources import create_table
from local.stack import Stack

LONG = 900.0
SOON = "2099-01-01T00:00:00Z"


@dataclass(frozen=True)
class Inbox:
    """An inbox and a table that no other test uses; nothing tells of what is put there."""

    settings: Settings

    def put(self, key: str, data: bytes = b"no picture") -> Source:
        put = aws.client("s3").put_object(Bucket=self.settings.inbox_bucket, Key=inbox.PREFIX + key, Body=data)
        return Source(self.settings.inbox_bucket, inbox.PREFIX + key, put["VersionId"], put["ETag"].strip('"'))

    def record(self, source: Source) -> Record:
        return store.get(self.settings.records_table, workflow.identity(source))

    def is_known(self, source: Source) -> bool:
        try:
            return bool(self.record(source))
        except RecordNotFound:
            return False

    def open(self, source: Source, **changes: Any) -> Record:
        at = store.now(ago=2 * GRACE)
        record = Record(
            id=workflow.identity(source),
            status=Status.PENDING,
            s3_bucket=source.bucket,
            s3_key=source.key,
            version_id=source.version_id,
            etag=source.etag,
            attempt=1,
            created_at=at,
            updated_at=at,
        )
        return store.create(self.settings.records_table, replace(record, **changes))

    def run(self, seconds_left: Callable[[], float] = lambda: LONG, **asked: Any) -> Outcome:
        return reconcile.look_through(self.settings, asked, seconds_left)

    def keep_up(self, seconds_left: Callable[[], float] = lambda: LONG) -> Outcome:
        return reconcile.keep_up(self.settings, seconds_left)


@pytest.fixture
def place(stack: Stack) -> Inbox:
    name = f"reconcile-{uuid4().hex[:12]}"
    aws.client("s3").create_bucket(Bucket=name)
    aws.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    create_table(aws.client("dynamodb"), name)
    return Inbox(replace(stack.settings, inbox_bucket=name, records_table=name))


@pytest.fixture
def aged(place: Inbox, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """The same, as if all that is there were there for longer than `GRACE`."""
    monkeypatch.setattr(reconcile, "GRACE", -60)
    return place


def test_a_picture_that_nobody_told_of_is_started(aged: Inbox) -> None:
    source = aged.put("lost.png")
    assert aged.run() == Outcome(listed=1, started=1)
    assert aged.record(source).status is Status.PENDING


def test_a_second_run_starts_nothing(aged: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    aged.put("lost.png")
    aged.run()
    monkeypatch.setattr(reconcile, "GRACE", GRACE)
    assert aged.run() == Outcome(listed=1)


def test_what_came_in_just_now_has_time_to_come_to_an_end_by_itself(place: Inbox) -> None:
    source = place.put("new.png")
    assert place.run() == Outcome(listed=1)
    assert not place.is_known(source)


def test_what_came_in_before_the_time_that_is_asked_for_is_left(aged: Inbox) -> None:
    source = aged.put("old.png")
    assert aged.run(since=SOON) == Outcome(listed=1)
    assert not aged.is_known(source)
    assert aged.run(since="2020-01-01") == Outcome(listed=1, started=1)


def test_older_versions_and_those_of_deleted_pictures_are_found_and_folders_are_none(aged: Inbox) -> None:
    sources = [aged.put("again.png", b"one"), aged.put("again.png", b"two"), aged.put("deleted.png")]
    aws.client("s3").delete_object(Bucket=aged.settings.inbox_bucket, Key=sources[-1].key)
    aged.put("folder/", b"")
    assert aged.run() == Outcome(listed=3, started=3)
    assert all(map(aged.is_known, sources))


def test_what_lies_outside_of_the_inbox_is_none_of_its_business(aged: Inbox) -> None:
    aws.client("s3").put_object(Bucket=aged.settings.inbox_bucket, Key="elsewhere.png", Body=b"")
    assert aged.run() == Outcome()


def test_a_picture_that_has_ended_is_left(aged: Inbox) -> None:
    source = aged.put("failed.png")
    record = aged.open(source)
    store.fail(aged.settings.records_table, record.id, 1, "Some", "thing")
    assert aged.run() == Outcome(listed=1)
    assert aged.record(source).status is Status.FAILED


def test_a_record_for_which_no_execution_was_started_gets_one(place: Inbox, stack: Stack) -> None:
    record = place.open(place.put("pending.png"))
    assert place.run() == Outcome(listed=1, started=1)
    arn = stack.settings.state_machine_arn.replace(":stateMachine:", ":execution:")
    assert aws.client("stepfunctions").describe_execution(executionArn=f"{arn}:{record.id}")["name"] == record.id


def test_a_record_that_was_opened_just_now_is_left(place: Inbox) -> None:
    place.open(place.put("pending.png"), updated_at=store.now())
    assert place.run() == Outcome(listed=1)


def test_a_record_that_was_started_often_enough_is_given_up_and_says_so(place: Inbox) -> None:
    source = place.put("hopeless.png")
    place.open(source, attempt=MAX_ATTEMPTS)
    assert place.run() == Outcome(listed=1, given_up=1)
    record = place.record(source)
    assert record.status is Status.FAILED
    assert str(record.reason).startswith(f"Started {MAX_ATTEMPTS} times")


def test_a_picture_that_cannot_be_started_does_not_keep_back_the_others(
    aged: Inbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sources = [aged.put(f"{name}.png") for name in "abc"]
    plain_start = workflow.start

    def start(settings: Settings, source: Source) -> Record:
        if source == sources[1]:
            raise StorageBusy("Could not start the workflow.")
        return plain_start(settings, source)

    monkeypatch.setattr(workflow, "start", start)
    assert aged.run() == Outcome(listed=3, started=2, failed=1)
    assert [aged.is_known(source) for source in sources] == [True, False, True]
    monkeypatch.setattr(workflow, "start", plain_start)
    assert aged.run().failed == 0


@pytest.fixture
def pages_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 gives 1,000 to a page; here it gives two."""
    plain_list = aws.client("s3").list_object_versions
    monkeypatch.setattr(aws.client("s3"), "list_object_versions", lambda **asked: plain_list(**asked | {"MaxKeys": 2}))


@pytest.mark.usefixtures("pages_of_two")
def test_a_run_that_has_no_time_left_tells_where_the_next_goes_on(aged: Inbox) -> None:
    sources = [aged.put(f"{number}.png") for number in range(5)]
    outcome = aged.run(lambda: ENOUGH_TIME - 1)
    assert (outcome.listed, outcome.started, outcome.after is None) == (2, 2, False)
    outcome = aged.run(after=list(outcome.after or ()))
    assert outcome == Outcome(listed=3, started=3)
    assert all(map(aged.is_known, sources))


@pytest.mark.usefixtures("pages_of_two")
def test_the_schedule_looks_through_a_part_each_time_and_then_begins_again(
    aged: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "LISTING_TIME", -1.0)
    sources = [aged.put(f"{number}.png") for number in range(5)]
    seen = []
    for _ in range(4):
        listed = aged.keep_up().listed
        seen.append((listed, sum(map(aged.is_known, sources))))
    assert seen == [(2, 2), (2, 4), (1, 5), (2, 5)]


def test_the_schedule_looks_through_all_that_there_is_time_for(aged: Inbox) -> None:
    aged.put("lost.png")
    assert aged.keep_up() == Outcome(listed=1, started=1)


def test_the_schedule_leaves_what_came_in_long_ago_to_people(aged: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "WINDOW", -60)
    aged.put("old.png")
    assert aged.keep_up() == Outcome(listed=1)


def test_a_marker_with_which_the_listing_fails_is_not_tried_again(aged: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    table, source = aged.settings.records_table, aged.put("lost.png")
    store.set_bookmark(table, source.key, "no version")

    def fail(*_: Any) -> None:
        raise StorageBusy("InvalidArgument")

    with monkeypatch.context() as patched:
        patched.setattr(inbox, "versions", fail)
        with pytest.raises(StorageBusy):
            aged.keep_up()
    assert aged.keep_up() == Outcome(listed=1, started=1)


def test_a_schedule_without_time_for_the_pending_begins_with_them_the_next_time(place: Inbox) -> None:
    place.open(place.put("pending.png"))
    assert place.keep_up(lambda: ENOUGH_TIME - 1) == Outcome(after=("", ""))
    assert place.keep_up() == Outcome(listed=1, started=1)


def test_a_run_without_time_for_the_pending_begins_again_with_them(place: Inbox) -> None:
    place.open(place.put("pending.png"))
    outcome = place.run(lambda: ENOUGH_TIME - 1)
    assert outcome == Outcome(after=("", ""))
    assert place.run(after=list(outcome.after or ())) == Outcome(listed=1, started=1)


@pytest.mark.parametrize("asked", [{"since": "yesterday"}, {"since": 7}, {"after": "key"}, {"after": ["a", 1]}])
def test_what_cannot_be_understood_is_told(place: Inbox, asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        place.run(**asked)


def test_the_oldest_unfinished_picture_is_the_one_that_waits_longest(place: Inbox) -> None:
    assert reconcile.oldest_unfinished(place.settings) == 0
    for ago in (30, 300, 3):
        place.open(place.put(f"{ago}.png"), updated_at=store.now(ago=ago))
    assert 300 <= reconcile.oldest_unfinished(place.settings) < 330
