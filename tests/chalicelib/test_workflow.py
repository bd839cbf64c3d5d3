"""The identity of a picture, and the start of its execution."""

import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib import aws, store, workflow
from chalicelib.errors import ImageNotFound, InvalidRequest, NotNow, StorageBusy
from chalicelib.inbox import Source
from chalicelib.settings import Settings
from chalicelib.store import Record, Status
from chalicelib.workflow import execution_input, execution_name, identity, start
from local import samples
from local.endpoint import Fault
from local.stack import Stack
from tests.conftest import Answer, FakeAws

BICYCLE = samples.encode(samples.render(samples.draw_bicycle), "PNG")
REFUSED = Fault(424, "ModelError", "what is this?", original_status=415)

PARTS = st.text(max_size=6)
SOURCES = st.builds(Source, PARTS, PARTS, st.none() | PARTS.filter(bool), PARTS)


@pytest.fixture
def source(plain_bucket: str) -> Source:
    """A picture that nothing was told of yet."""
    key = f"inbox/{uuid4()}.png"
    made = aws.client("s3").put_object(Bucket=plain_bucket, Key=key, Body=BICYCLE)
    return Source(plain_bucket, key, None, made["ETag"].strip('"'))


def executions(stack: Stack, source: Source) -> dict[str, str]:
    """The statuses of a picture's executions by their names."""
    pages = aws.client("stepfunctions").get_paginator("list_executions")
    listed = pages.paginate(stateMachineArn=stack.settings.state_machine_arn).search("executions[]")
    return {one["name"]: one["status"] for one in listed if one["name"].startswith(identity(source))}


def abort(stack: Stack, source: Source, held: threading.Event) -> None:
    """Stop a picture's first execution and wait for it: the emulator lets a step that is under way end."""
    arn = stack.settings.state_machine_arn.replace(":stateMachine:", ":execution:")
    aws.client("stepfunctions").stop_execution(executionArn=f"{arn}:{identity(source)}")
    held.set()
    while executions(stack, source) != {identity(source): "ABORTED"}:
        time.sleep(0.01)
    held.clear()


def at_once(stack: Stack, source: Source, callers: int = 4) -> list[Record]:
    together = threading.Barrier(callers)

    def call(_: int) -> Record:
        together.wait()
        return start(stack.settings, source)

    with ThreadPoolExecutor(callers) as threads:
        return list(threads.map(call, range(callers)))


def test_an_id_never_changes_or_every_picture_would_be_classified_again() -> None:
    assert identity(Source("bucket", "inbox/a.jpg", "v1", "e7a6")) == "e71a42714907d23c2650571a4a4cd1fe"
    assert identity(Source("bucket", "inbox/été.jpg", None, "e7a6")) == "e2fa4411724b43e5837f7f085bea47dc"


@given(source=SOURCES)
def test_an_id_fits_whatever_carries_it(source: Source) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", identity(source))


@given(one=SOURCES, other=SOURCES)
def test_two_pictures_have_one_id_only_if_they_are_the_same(one: Source, other: Source) -> None:
    def named(source: Source) -> tuple[str, str, str | None]:
        return source.bucket, source.key, source.version_id or source.etag

    assert (identity(one) == identity(other)) == (named(one) == named(other))


@given(text=st.text(min_size=2), cut=st.integers(0), other=st.integers(0))
def test_it_matters_where_one_part_ends_and_the_next_begins(text: str, cut: int, other: int) -> None:
    here, there = cut % len(text), other % len(text)
    assume(here != there)
    assert identity(Source(text[:here], text[here:], "v")) != identity(Source(text[:there], text[there:], "v"))
    assert identity(Source("b", text[:here], text[here:] + "v")) != identity(
        Source("b", text[:there], text[there:] + "v")
    )


def test_with_a_version_the_entity_tag_does_not_matter() -> None:
    assert identity(Source("b", "k", "v1", "e1")) == identity(Source("b", "k", "v1", None))
    assert identity(Source("b", "k", None, "e1")) != identity(Source("b", "k", None, "e2"))


def record(attempt: int = 1, **changes: Any) -> Record:
    plain = Record("0" * 32, Status.PENDING, "b", "inbox/é.jpg", None, None, attempt, "then", "now")
    return replace(plain, **changes)


@pytest.mark.parametrize(("attempt", "ending"), [(1, ""), (2, "-2"), (10**6, "-1000000")])
def test_an_execution_is_named_after_the_record_and_its_attempt(attempt: int, ending: str) -> None:
    name = execution_name(record(attempt))
    assert name == "0" * 32 + ending
    assert re.fullmatch(r"[\w-]{1,80}", name)


def test_the_input_of_an_execution_holds_what_is_known_and_nothing_that_changes() -> None:
    assert json.loads(execution_input(record(2, version_id="v1"))) == {
        "id": "0" * 32,
        "attempt": 2,
        "s3_bucket": "b",
        "s3_key": "inbox/é.jpg",
        "version_id": "v1",
    }
    assert execution_input(record(updated_at="later")) == execution_input(record())


def test_a_start_opens_a_record_and_runs_an_execution_of_its_name(
    stack: Stack, source: Source, held: threading.Event
) -> None:
    started = start(stack.settings, source)
    assert started == store.get(stack.settings.records_table, identity(source))
    assert (started.status, started.attempt, started.s3_key) == (Status.PENDING, 1, source.key)
    assert (started.etag, started.version_id) == (source.etag, None)
    assert executions(stack, source) == {started.id: "RUNNING"}


def test_a_picture_that_is_told_of_twice_runs_once(stack: Stack, source: Source, held: threading.Event) -> None:
    first = start(stack.settings, source)
    assert start(stack.settings, source) == first
    assert executions(stack, source) == {first.id: "RUNNING"}


def test_callers_at_the_same_time_run_one_execution(stack: Stack, source: Source, held: threading.Event) -> None:
    (started,) = set(at_once(stack, source))
    assert started.attempt == 1
    assert executions(stack, source) == {started.id: "RUNNING"}


def test_a_picture_that_has_ended_keeps_its_first_result(
    stack: Stack, source: Source, ended: Callable[[str], Record]
) -> None:
    first = ended(start(stack.settings, source).id)
    assert first.status is Status.ACCEPTED
    assert start(stack.settings, source) == first
    assert list(executions(stack, source)) == [first.id]


def test_a_failed_picture_that_is_told_of_again_runs_a_second_time(
    stack: Stack, source: Source, ended: Callable[[str], Record]
) -> None:
    stack.endpoint.faults.append(REFUSED)
    failed = ended(start(stack.settings, source).id)
    assert (failed.status, failed.attempt) == (Status.FAILED, 1)
    again = start(stack.settings, source)
    assert (again.status, again.attempt, again.id) == (Status.PENDING, 2, failed.id)
    accepted = ended(failed.id)
    assert (accepted.status, accepted.attempt, accepted.reason) == (Status.ACCEPTED, 2, None)
    assert set(executions(stack, source)) == {failed.id, f"{failed.id}-2"}


def test_a_failed_picture_that_several_tell_of_at_once_runs_one_more_time(
    stack: Stack, source: Source, ended: Callable[[str], Record]
) -> None:
    stack.endpoint.faults.append(REFUSED)
    failed = ended(start(stack.settings, source).id)
    assert {again.attempt for again in at_once(stack, source)} == {2}
    assert ended(failed.id).status is Status.ACCEPTED
    assert set(executions(stack, source)) == {failed.id, f"{failed.id}-2"}


def test_a_pending_picture_whose_execution_was_aborted_runs_again(
    stack: Stack, source: Source, held: threading.Event, ended: Callable[[str], Record]
) -> None:
    first = start(stack.settings, source)
    abort(stack, source, held)
    again = start(stack.settings, source)
    assert (again.status, again.attempt) == (Status.PENDING, 2)
    assert executions(stack, source) == {first.id: "ABORTED", f"{first.id}-2": "RUNNING"}
    held.set()
    assert (ended(first.id).status, ended(first.id).attempt) == (Status.ACCEPTED, 2)


def test_a_caller_that_saw_the_aborted_execution_late_does_not_run_a_third(
    stack: Stack, source: Source, held: threading.Event
) -> None:
    first = start(stack.settings, source)
    abort(stack, source, held)
    plain_get = store.get
    overtaken: list[str] = []

    def slow_get(table: str, name: str) -> Record:
        """Between the refused start and this read, another caller has started the second attempt."""
        if not overtaken:
            overtaken.append(name)
            assert start(stack.settings, source).attempt == 2
        return plain_get(table, name)

    with patch.object(store, "get", slow_get):
        assert start(stack.settings, source).attempt == 2
    assert executions(stack, source) == {first.id: "ABORTED", f"{first.id}-2": "RUNNING"}


def test_a_start_that_was_cut_off_before_its_execution_is_mended_by_the_next(
    stack: Stack, source: Source, held: threading.Event
) -> None:
    with patch.object(workflow, "_launch", side_effect=StorageBusy), pytest.raises(StorageBusy):
        start(stack.settings, source)
    assert executions(stack, source) == {}
    assert start(stack.settings, source).attempt == 1
    assert executions(stack, source) == {identity(source): "RUNNING"}


THROTTLED = ["ThrottlingException", "ServiceUnavailable", "ProvisionedThroughputExceededException"]
ANY_SOURCE = Source("bucket", "inbox/a.jpg", "v1")


@pytest.mark.parametrize("code", THROTTLED)
def test_a_table_that_throttles_is_busy(stack: Stack, fake_aws: FakeAws, code: str) -> None:
    fake_aws.refuses(code)
    with pytest.raises(StorageBusy, match="Could not open the record"):
        start(stack.settings, ANY_SOURCE)


@pytest.mark.parametrize("code", [*THROTTLED[:2], "ExecutionLimitExceeded"])
def test_a_workflow_that_throttles_is_busy(stack: Stack, fake_aws: FakeAws, code: str) -> None:
    refusal = Answer(400, json.dumps({"__type": code, "message": "no"}).encode())
    fake_aws.says(Answer(body=b"{}"), refusal)
    with pytest.raises(StorageBusy, match=f"Could not start the workflow: AWS answered {code}"):
        start(stack.settings, ANY_SOURCE)


def test_a_workflow_that_is_missing_is_not_taken_for_busy(stack: Stack, fake_aws: FakeAws) -> None:
    fake_aws.says(Answer(body=b"{}"), Answer(400, b'{"__type": "StateMachineDoesNotExist"}'))
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        start(stack.settings, ANY_SOURCE)


@pytest.mark.usefixtures("no_aws")
def test_aws_out_of_reach_is_busy(stack: Stack) -> None:
    with pytest.raises(StorageBusy, match="Could not open the record"):
        start(stack.settings, ANY_SOURCE)


@pytest.fixture
def plain(stack: Stack, plain_bucket: str) -> Settings:
    """The same system with an inbox that nothing tells of."""
    return replace(stack.settings, inbox_bucket=plain_bucket)


def ended_as(settings: Settings, source: Source, status: Status) -> Record:
    """The record of a picture that has come to an end, as it stands in the table."""
    taken = workflow.take(settings, source)
    assert taken
    aws.client("dynamodb").update_item(
        TableName=settings.records_table,
        Key={"id": {"S": taken.id}},
        UpdateExpression="SET #status = :status",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":status": {"S": str(status)}},
    )
    return store.get(settings.records_table, taken.id)


class TestRunningAgain:
    @pytest.mark.parametrize("status", [Status.ACCEPTED, Status.REVIEW, Status.REJECTED, Status.FAILED])
    def test_what_has_ended_runs_at_a_new_attempt(
        self, stack: Stack, plain: Settings, source: Source, held: threading.Event, status: Status
    ) -> None:
        record = ended_as(plain, source, status)
        again = workflow.run_again(plain, record)
        assert again == store.get(plain.records_table, record.id)
        assert (again.status, again.attempt, again.ended_at) == (Status.PENDING, 2, None)
        assert executions(stack, source) == {f"{record.id}-2": "RUNNING"}

    def test_it_comes_to_a_new_end(
        self, stack: Stack, plain: Settings, source: Source, ended: Callable[[str], Record]
    ) -> None:
        record = ended_as(plain, source, Status.REJECTED)
        workflow.run_again(plain, record)
        done = ended(record.id)
        assert (done.status, done.attempt, done.label) == (Status.ACCEPTED, 2, "bicycle")
        assert [step.step for step in done.steps] == ["Serialize", "Classify", "Filter"]

    def test_what_still_runs_stays_as_it_is(
        self, stack: Stack, plain: Settings, source: Source, held: threading.Event
    ) -> None:
        record = start(plain, source)
        assert workflow.run_again(plain, record) == record
        assert executions(stack, source) == {record.id: "RUNNING"}

    def test_what_a_person_decided_is_not_run_over(self, stack: Stack, plain: Settings, source: Source) -> None:
        record = ended_as(plain, source, Status.REVIEWED)
        with pytest.raises(NotNow, match="take that back first"):
            workflow.run_again(plain, record)
        assert store.get(plain.records_table, record.id) == record
        assert executions(stack, source) == {}

    def test_what_a_person_decided_meanwhile_is_not_run_over_either(
        self, stack: Stack, plain: Settings, source: Source
    ) -> None:
        record = ended_as(plain, source, Status.REVIEW)
        decided = store.decide(plain.records_table, record, "bicycle", "jo")
        with pytest.raises(NotNow, match="take that back first"):
            workflow.run_again(plain, record)
        assert store.get(plain.records_table, record.id) == decided
        assert executions(stack, source) == {}

    def test_a_picture_that_is_gone_is_told_and_its_record_stays(
        self, stack: Stack, plain: Settings, source: Source
    ) -> None:
        record = ended_as(plain, source, Status.FAILED)
        aws.client("s3").delete_object(Bucket=source.bucket, Key=source.key)
        with pytest.raises(ImageNotFound):
            workflow.run_again(plain, record)
        assert store.get(plain.records_table, record.id) == record

    def test_a_picture_of_another_bucket_is_not_looked_for(self, stack: Stack, source: Source) -> None:
        record = ended_as(stack.settings, source, Status.FAILED)
        with pytest.raises(ImageNotFound, match="lies in another bucket"):
            workflow.run_again(stack.settings, record)
        assert executions(stack, source) == {}

    def test_of_several_who_ask_at_once_one_starts_it(
        self, stack: Stack, plain: Settings, source: Source, held: threading.Event
    ) -> None:
        record, together = ended_as(plain, source, Status.ACCEPTED), threading.Barrier(4)

        def ask(_: int) -> Record:
            together.wait()
            return workflow.run_again(plain, record)

        with ThreadPoolExecutor(4) as threads:
            assert {again.attempt for again in threads.map(ask, range(4))} == {2}
        assert executions(stack, source) == {f"{record.id}-2": "RUNNING"}


class TestWaiting:
    def test_whoever_waits_gets_the_end(
        self, stack: Stack, source: Source, held: threading.Event, ended: Callable[[str], Record]
    ) -> None:
        started = start(stack.settings, source)
        releasing = threading.Timer(0.3, held.set)
        releasing.start()
        done = workflow.wait(stack.settings, started, 20)
        releasing.join()
        assert done.status is Status.ACCEPTED
        assert done == ended(started.id)

    def test_nobody_waits_longer_than_asked(self, stack: Stack, source: Source, held: threading.Event) -> None:
        started, begun = start(stack.settings, source), time.monotonic()
        assert workflow.wait(stack.settings, started, 0.5).status is Status.PENDING
        assert 0.5 <= time.monotonic() - begun < 2

    @pytest.mark.parametrize(("status", "seconds"), [(Status.PENDING, 0), (Status.ACCEPTED, 20), (Status.FAILED, 20)])
    def test_without_a_wish_to_wait_or_at_the_end_the_table_is_not_asked(
        self, stack: Stack, fake_aws: FakeAws, status: Status, seconds: int
    ) -> None:
        standing = record(status=status)
        assert workflow.wait(stack.settings, standing, seconds) is standing
        assert fake_aws.asked == []

    def test_a_long_wait_asks_less_often(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[float] = []
        clock = [0.0]

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            clock[0] += seconds

        monkeypatch.setattr(store, "get", lambda *_: record())
        monkeypatch.setattr("chalicelib.workflow.time", SimpleNamespace(sleep=sleep, monotonic=lambda: clock[0]))
        workflow.wait(stack.settings, record(), 25)
        assert sum(pauses) == pytest.approx(25)
        assert len(pauses) < 35
        assert max(pauses) == workflow.MAX_WAIT_PAUSE


def test_the_arn_of_an_execution_is_that_of_its_machine_and_its_name(
    stack: Stack, source: Source, held: threading.Event
) -> None:
    started = start(stack.settings, source)
    arn = workflow.execution_arn(stack.settings, started)
    assert aws.client("stepfunctions").describe_execution(executionArn=arn)["name"] == started.id
    assert workflow.execution_arn(stack.settings, replace(started, attempt=3)) == f"{arn}-3"


def ending(name: str, status: str = "TIMED_OUT", **more: Any) -> dict[str, Any]:
    """What Step Functions tells of an execution that has ended badly."""
    return {"name": name, "status": status, "input": None, "error": None, "cause": None} | more


class TestGivingUp:
    def test_an_execution_that_was_stopped_leaves_a_failed_record(
        self, stack: Stack, held: threading.Event, ended: Callable[[str], Record]
    ) -> None:
        """By the event of Step Functions, the rule, and the function that it names."""
        source = stack.drop(f"{uuid4()}.png", BICYCLE)
        while not executions(stack, source):
            time.sleep(0.01)
        abort(stack, source, held)
        record = ended(identity(source))
        assert (record.status, record.attempt) == (Status.FAILED, 1)
        assert "ended as ABORTED" in str(record.reason)

    def test_an_ending_that_was_written_stands(self, stack: Stack, ended: Callable[[str], Record]) -> None:
        record = ended(identity(stack.drop(f"{uuid4()}.png", BICYCLE)))
        assert not workflow.give_up(stack.settings, ending(record.id, input=execution_input(record)))
        assert store.get(stack.settings.records_table, record.id) == record

    @pytest.mark.parametrize(
        ("more", "reason"),
        [
            ({}, "ended as TIMED_OUT without writing down why"),
            ({"error": "States.DataLimitExceeded", "cause": "Too much."}, "Too much."),
        ],
    )
    def test_the_record_says_what_step_functions_says(
        self, stack: Stack, source: Source, more: dict[str, str], reason: str
    ) -> None:
        record = workflow.take(stack.settings, source)
        assert record
        assert workflow.give_up(stack.settings, ending(record.id, input=execution_input(record), **more))
        assert reason in str(store.get(stack.settings.records_table, record.id).reason)

    def test_an_earlier_attempt_does_not_end_a_later_one(self, stack: Stack, source: Source) -> None:
        first = workflow.take(stack.settings, source)
        assert first
        workflow.give_up(stack.settings, ending(first.id))
        second = workflow.take(stack.settings, source)
        assert second
        assert second.attempt == 2
        assert not workflow.give_up(stack.settings, ending(first.id, input=execution_input(first)))
        assert workflow.give_up(stack.settings, ending(f"{first.id}-2", input=execution_input(second)))

    def test_an_execution_that_was_started_by_hand_is_known_by_its_name(self, stack: Stack, source: Source) -> None:
        record = workflow.take(stack.settings, source)
        assert record
        given = json.dumps({"s3_bucket": source.bucket, "s3_key": source.key})
        assert workflow.give_up(stack.settings, ending(record.id, input=given))

    @pytest.mark.parametrize("told", [{}, {"name": "x"}, {"name": "x", "status": "FAILED", "input": "{"}])
    def test_what_is_no_event_of_an_execution_is_told(self, stack: Stack, told: dict[str, Any]) -> None:
        with pytest.raises(InvalidRequest):
            workflow.give_up(stack.settings, told)


class TestTaking:
    def test_a_picture_is_taken_and_nothing_is_started(self, stack: Stack, source: Source) -> None:
        record = workflow.take(stack.settings, source)
        assert record
        assert (record.status, record.attempt, record.etag) == (Status.PENDING, 1, source.etag)
        assert executions(stack, source) == {}
        assert workflow.take(stack.settings, source) == record

    def test_a_picture_that_has_failed_is_taken_with_an_attempt_more(self, stack: Stack, source: Source) -> None:
        record = workflow.take(stack.settings, source)
        assert record
        workflow.give_up(stack.settings, ending(record.id))
        again = workflow.take(stack.settings, source)
        assert again
        assert (again.status, again.attempt) == (Status.PENDING, 2)

    def test_a_picture_that_has_ended_is_not_taken(
        self, stack: Stack, source: Source, ended: Callable[[str], Record]
    ) -> None:
        start(stack.settings, source)
        assert ended(identity(source)).status is Status.ACCEPTED
        assert workflow.take(stack.settings, source) is None
