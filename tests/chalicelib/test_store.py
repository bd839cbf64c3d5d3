"""The classification records, in DynamoDB."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from chalicelib import aws, listing, store, workflow
from chalicelib.decision import Reason
from chalicelib.errors import RecordChanged, RecordNotFound, StorageBusy
from chalicelib.inbox import Source
from chalicelib.store import NEITHER, Record, Status
from local import ROOT, samples
from local.endpoint import Fault
from local.resources import create_table
from local.stack import Stack
from tests.conftest import Answer, FakeAws

REFUSED = Fault(424, "ModelError", "what is this?", original_status=415)


@pytest.fixture
def table(stack: Stack) -> str:
    return stack.settings.records_table


def pending(**changes: Any) -> Record:
    at = store.now()
    record = Record(
        id=uuid4().hex,
        status=Status.PENDING,
        s3_bucket="bucket",
        s3_key="inbox/été ☂.jpg",
        version_id="v1",
        etag="e7a6",
        attempt=1,
        created_at=at,
        updated_at=at,
    )
    return replace(record, **changes)


def write(table: str, record: Record, status: Status, **values: dict[str, str]) -> None:
    """Set a record's status and whatever more, as a person or the state machine does."""
    values = {"status": {"S": str(status)}} | values
    aws.client("dynamodb").update_item(
        TableName=table,
        Key={"id": {"S": record.id}},
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
        ExpressionAttributeNames={f"#{name}": name for name in values},
        ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
    )


@pytest.mark.parametrize("without", [{}, {"version_id": None}, {"etag": None}, {"version_id": None, "etag": None}])
def test_a_record_is_read_back_as_it_was_opened(table: str, without: dict[str, None]) -> None:
    record = pending(**without)
    assert store.create(table, record) == record
    assert store.get(table, record.id) == record


def test_a_record_that_was_opened_twice_is_the_first(table: str) -> None:
    first = pending()
    second = replace(first, created_at="later", s3_key="inbox/other.jpg", attempt=7)
    store.create(table, first)
    assert store.create(table, second) == first
    assert store.get(table, first.id) == first


def test_a_record_that_has_ended_is_not_opened_again(table: str) -> None:
    record = store.create(table, pending())
    write(table, record, Status.REVIEWED, label={"S": "bicycle"})
    ended = replace(record, status=Status.REVIEWED, label="bicycle", ended_at=record.updated_at)
    assert store.create(table, record) == ended


def test_of_many_that_open_a_record_at_once_all_get_the_same(table: str) -> None:
    identity, together = uuid4().hex, threading.Barrier(4)

    def create(number: int) -> Record:
        together.wait()
        return store.create(table, pending(id=identity, s3_key=f"inbox/{number}.jpg"))

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(create, range(4))) == {store.get(table, identity)}


def test_a_record_that_nobody_opened_is_not_found(table: str) -> None:
    with pytest.raises(RecordNotFound, match="no classification 0123"):
        store.get(table, "0123")


def test_a_failed_record_that_is_started_again_counts_an_attempt_and_forgets_why(table: str) -> None:
    record = store.create(table, pending(created_at="2026-01-01T00:00:00.000Z", updated_at="2026-01-01T00:00:00.000Z"))
    write(table, record, Status.FAILED, error={"S": '{"Error": "ModelFailed", "Cause": "died"}'})
    failed = store.get(table, record.id)
    assert failed.reason == "died"
    again = store.restart(table, failed)
    assert again == store.get(table, record.id)
    assert again == replace(record, attempt=2, updated_at=again.updated_at)
    assert again.updated_at > record.updated_at


@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED])
def test_of_two_that_start_a_record_again_at_once_one_wins(table: str, status: Status) -> None:
    record = store.create(table, pending())
    write(table, record, status)
    together = threading.Barrier(2)

    def restart(_: int) -> Record:
        seen = store.get(table, record.id)
        together.wait()
        return store.restart(table, seen)

    with ThreadPoolExecutor(2) as threads:
        assert [again.attempt for again in threads.map(restart, range(2))] == [2, 2]
    assert store.get(table, record.id).attempt == 2


def test_a_caller_that_comes_late_does_not_take_an_attempt_back(table: str) -> None:
    record = store.create(table, pending())
    third = store.restart(table, store.restart(table, record))
    assert third.attempt == 3
    assert store.restart(table, record) == third == store.get(table, record.id)


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.REVIEW, Status.REVIEWED, Status.REJECTED])
def test_a_record_that_ended_meanwhile_is_not_started_again(table: str, status: Status) -> None:
    record = store.create(table, pending())
    write(table, record, status)
    assert store.restart(table, record) == replace(record, status=status, ended_at=record.updated_at)


def test_a_record_that_was_deleted_meanwhile_is_not_brought_back(table: str) -> None:
    with pytest.raises(RecordNotFound):
        store.restart(table, pending())


@pytest.fixture
def run(stack: Stack, plain_bucket: str, ended: Callable[[str], Record]) -> Iterator[Callable[[bytes], Record]]:
    """Classify a picture by the real state machine, and read what it wrote."""

    def classify(data: bytes) -> Record:
        key = f"inbox/{uuid4()}"
        aws.client("s3").put_object(Bucket=plain_bucket, Key=key, Body=data)
        source = Source(plain_bucket, key)
        return ended(workflow.start(stack.settings, source).id)

    yield classify
    stack.endpoint.faults.clear()


def assert_classified(record: Record, stack: Stack) -> None:
    assert record.labels == ("bicycle", "motorcycle")
    assert record.inferences is not None
    assert sum(record.inferences) == pytest.approx(1)
    assert record.confidence == max(record.inferences)
    assert record.label == record.labels[record.inferences.index(record.confidence)]
    assert record.known is not None
    assert 0 <= record.known <= 1
    model = json.loads((ROOT / "model" / "head.json").read_text())
    assert (record.threshold, record.min_known, record.model) == (
        model["threshold"],
        model["min_known"],
        model["version"],
    )
    assert record.updated_at > record.created_at


def test_what_the_workflow_accepted_is_read_with_its_classification(
    stack: Stack, run: Callable[[bytes], Record]
) -> None:
    record = run(samples.encode(samples.render(samples.draw_bicycle), "PNG"))
    assert (record.status, record.label, record.reason) == (Status.ACCEPTED, "bicycle", None)
    assert record.reason_code is None
    assert_classified(record, stack)


def test_what_the_workflow_holds_back_is_read_with_its_classification_and_why(
    stack: Stack, run: Callable[[bytes], Record]
) -> None:
    record = run(samples.encode(samples.render(samples.draw_house), "WEBP"))
    assert record.status is Status.REVIEW
    assert re.search(r"^This may be neither bicycle nor motorcycle: \S+ % sure .* \S+ % needed\.$", record.reason or "")
    assert record.reason_code is Reason.UNKNOWN_OBJECT
    assert_classified(record, stack)


def test_a_record_from_before_there_were_codes_has_none(table: str) -> None:
    record = held_back(table, error={"S": '{"Error": "ThresholdConfidenceNotMet", "Cause": "Not sure."}'})
    assert (record.status, record.reason, record.reason_code) == (Status.REVIEW, "Not sure.", None)


@pytest.mark.parametrize("code", Reason)
def test_the_code_stays_while_a_person_decides_and_goes_when_the_picture_is_started_again(
    table: str, code: Reason
) -> None:
    record = held_back(table, reason_code={"S": json.dumps(code)})
    decided = store.decide(table, record, "bicycle", "jo")
    assert [one.reason_code for one in (record, decided, store.undecide(table, decided))] == [code] * 3
    assert store.restart(table, store.get(table, record.id)).reason_code is None
    assert store.get(table, record.id).reason_code is None


def test_what_the_workflow_rejected_is_read_with_why_and_no_classification(run: Callable[[bytes], Record]) -> None:
    record = run(b"no picture at all")
    assert record.status is Status.REJECTED
    assert record.reason
    assert not record.reason.startswith("{")
    assert (record.label, record.confidence, record.labels, record.inferences, record.model) == (None,) * 5


def test_what_failed_is_read_with_why_and_no_classification(stack: Stack, run: Callable[[bytes], Record]) -> None:
    stack.endpoint.faults.append(REFUSED)
    record = run(samples.encode(samples.render(samples.draw_bicycle), "PNG"))
    assert record.status is Status.FAILED
    assert "refused the picture (415): what is this?" in (record.reason or "")
    assert (record.label, record.confidence, record.labels, record.inferences, record.model) == (None,) * 5


def test_a_model_that_does_not_tell_is_read_as_none(table: str) -> None:
    record = store.create(table, pending())
    untold = {"S": "null"}
    write(table, record, Status.ACCEPTED, known=untold, model=untold, labels={"S": '["a", "b"]'})
    found = store.get(table, record.id)
    assert (found.known, found.model, found.labels) == (None, None, ("a", "b"))


@pytest.mark.parametrize("status", Status)
def test_a_record_of_any_status_is_json(table: str, status: Status) -> None:
    record = store.create(table, pending())
    write(table, record, status, inferences={"S": "[0.25, 0.75]"})
    shown = json.loads(json.dumps(store.get(table, record.id).as_dict()))
    ended_at = None if status is Status.PENDING else record.updated_at
    told = {"status": status.value, "inferences": [0.25, 0.75], "steps": [], "ended_at": ended_at}
    assert shown == asdict(record) | told


def caught(error: str, cause: str | None) -> str:
    return json.dumps({"Error": error} | ({} if cause is None else {"Cause": cause}))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (caught("InvalidImage", json.dumps({"errorMessage": "Cut short.", "errorType": "InvalidImage"})), "Cut short."),
        (caught("X", json.dumps({"errorMessage": "Été ☂", "stackTrace": ["a", "b"]})), "Été ☂"),
        (caught("DynamoDB.X", "Rate exceeded (Service: DynamoDb)"), "Rate exceeded (Service: DynamoDb)"),
        (caught("States.Timeout", None), "The step ended with States.Timeout."),
        (caught("States.Timeout", ""), "The step ended with States.Timeout."),
        (caught("X", json.dumps({"errorMessage": ""})), "The step ended with X."),
        (caught("X", "null"), "null"),
        (caught("X", "[1, 2]"), "[1, 2]"),
        (caught("X", '"text"'), '"text"'),
        (caught("X", '{"errorMessage": "cut sh'), '{"errorMessage": "cut sh'),
        (caught("X", '{"message": "elsewhere"}'), '{"message": "elsewhere"}'),
    ],
)
def test_what_went_wrong_is_told_in_words(error: str, words: str) -> None:
    assert store.explain(error) == words


def test_a_function_that_timed_out_is_told_in_words() -> None:
    cause = {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 45.00 seconds", "requestId": "1"}
    assert store.explain(caught("Sandbox.Timedout", json.dumps(cause))) == "Task timed out after 45.00 seconds"


def test_the_time_sorts_as_step_functions_writes_it() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", store.now())


CALLS: list[Callable[[Record], object]] = [
    lambda record: store.create("records", record),
    lambda record: store.restart("records", record),
    lambda record: store.get("records", record.id),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "InternalServerError"]
)
def test_dynamodb_that_throttles_or_fails_is_busy(
    fake_aws: FakeAws, call: Callable[[Record], object], code: str
) -> None:
    fake_aws.refuses(f"com.amazonaws.dynamodb.v20120810#{code}", 500 if code.startswith("Internal") else 400)
    with pytest.raises(StorageBusy, match=code):
        call(pending())
    assert len(fake_aws.asked) == 3


@pytest.mark.parametrize("call", CALLS)
def test_dynamodb_that_hangs_up_is_busy(fake_aws: FakeAws, call: Callable[[Record], object]) -> None:
    fake_aws.says(Answer(body=None))
    with pytest.raises(StorageBusy, match="Could not"):
        call(pending())


@pytest.mark.parametrize("call", CALLS)
def test_a_table_that_is_missing_is_not_taken_for_busy(fake_aws: FakeAws, call: Callable[[Record], object]) -> None:
    fake_aws.refuses("ResourceNotFoundException")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        call(pending())


def test_an_id_longer_than_dynamodb_takes_is_not_found_rather_than_asked_for() -> None:
    with pytest.raises(RecordNotFound):
        store.get("records", "x" * (store.MAX_ID_BYTES + 1))


def test_a_record_that_was_deleted_meanwhile_is_not_started_again(stack: Stack) -> None:
    with pytest.raises(RecordNotFound):
        store.restart(stack.settings.records_table, pending())


def test_a_record_that_is_given_up_has_failed_and_says_why(table: str) -> None:
    record = store.create(table, pending())
    assert store.fail(table, record.id, 1, "TIMED_OUT", "It took an hour.")
    failed = store.get(table, record.id)
    assert (failed.status, failed.reason) == (Status.FAILED, "It took an hour.")
    assert failed.updated_at >= record.updated_at


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
def test_a_record_that_has_ended_is_not_given_up(table: str, status: Status) -> None:
    record = store.create(table, pending())
    write(table, record, status)
    assert not store.fail(table, record.id, 1, "TIMED_OUT", "Late.")
    assert store.get(table, record.id) == replace(record, status=status, ended_at=record.updated_at)


def test_a_record_that_was_started_again_is_not_given_up_for_its_first_attempt(table: str) -> None:
    record = store.create(table, pending(attempt=2))
    assert not store.fail(table, record.id, 1, "TIMED_OUT", "Late.")
    assert store.get(table, record.id) == record


def test_no_record_is_made_by_giving_one_up(table: str) -> None:
    identity = uuid4().hex
    assert not store.fail(table, identity, 1, "TIMED_OUT", "Late.")
    assert store.missing(table, [identity]) == {identity}


def held_back(table: str, **values: dict[str, str]) -> Record:
    """A record that waits for a person."""
    record = store.create(table, pending(updated_at=store.now(ago=60)))
    known = {"labels": {"S": '["bicycle", "motorcycle"]'}, "sureness": {"N": "0.5"}}
    write(table, record, Status.REVIEW, **known | values)
    return store.get(table, record.id)


class TestReviews:
    @pytest.mark.parametrize(
        ("label", "note"), [("bicycle", None), (NEITHER, "Été ☂ 🚲\n“quoted”"), ("x" * 500, "n" * 1000)]
    )
    def test_what_a_person_decides_is_kept_with_who_and_when(self, table: str, label: str, note: str | None) -> None:
        record = held_back(table)
        before = store.now()
        decided = store.decide(table, record, label, "jo@example.org", note)
        assert decided == store.get(table, record.id)
        assert decided.review
        assert (decided.review.label, decided.review.note, decided.review.by) == (label, note, "jo@example.org")
        assert before <= decided.review.at <= decided.updated_at <= store.now()
        changed = replace(
            record, status=Status.REVIEWED, review=decided.review, reviews=1, updated_at=decided.updated_at
        )
        assert decided == changed

    def test_when_the_workflow_ended_stays_known_however_often_people_decide(self, table: str) -> None:
        record = held_back(table)
        assert record.ended_at == record.updated_at
        decided = store.decide(table, record, "bicycle", "jo")
        again = store.decide(table, decided, "motorcycle", "jo")
        back = store.undecide(table, again)
        assert {decided.ended_at, again.ended_at, back.ended_at} == {record.ended_at}
        assert record.updated_at < decided.updated_at <= again.updated_at <= back.updated_at

    def test_a_person_may_change_their_mind(self, table: str) -> None:
        decided = store.decide(table, held_back(table), "bicycle", "jo", "sure")
        again = store.decide(table, decided, "motorcycle", "bo")
        assert again.review
        assert (again.review.label, again.review.note, again.review.by, again.reviews) == ("motorcycle", None, "bo", 2)

    def test_what_is_taken_back_waits_again_where_it_waited_before(self, own_table: str) -> None:
        record = held_back(own_table)
        queue = listing.LEAST_SURE_FIRST
        decided = store.decide(own_table, record, "bicycle", "jo", "sure")
        assert listing.page(own_table, [Status.REVIEW], queue, 5).records == []
        back = store.undecide(own_table, decided)
        assert back == replace(record, reviews=2, updated_at=back.updated_at)
        assert listing.page(own_table, [Status.REVIEW], queue, 5).records == [back] == [store.get(own_table, record.id)]

    @pytest.mark.parametrize("callers", [2, 5])
    def test_of_several_who_decide_at_once_one_wins_and_the_others_are_told(self, table: str, callers: int) -> None:
        record, together, told = held_back(table), threading.Barrier(callers), list[str]()

        def decide(number: int) -> Record | None:
            together.wait()
            try:
                return store.decide(table, record, "bicycle", f"caller {number}")
            except RecordChanged as refused:
                told.append(str(refused))
                return None

        with ThreadPoolExecutor(callers) as threads:
            won = [one for one in threads.map(decide, range(callers)) if one]
        assert told == ["Somebody else has decided since you looked: read it again, then decide."] * (callers - 1)
        assert won == [store.get(table, record.id)]
        assert won[0].reviews == 1

    def test_of_one_who_decides_again_and_one_who_takes_back_at_once_one_wins(self, table: str) -> None:
        decided, together = store.decide(table, held_back(table), "bicycle", "jo"), threading.Barrier(2)

        def change(act: Callable[[], Record]) -> Record | None:
            together.wait()
            try:
                return act()
            except RecordChanged:
                return None

        acts = [
            lambda: store.decide(table, decided, "motorcycle", "bo"),
            lambda: store.undecide(table, decided),
        ]
        with ThreadPoolExecutor(2) as threads:
            won = [one for one in threads.map(change, acts) if one]
        assert won == [store.get(table, decided.id)]
        assert won[0].reviews == 2

    def test_a_decision_about_what_was_decided_and_taken_back_meanwhile_is_refused(self, table: str) -> None:
        record = held_back(table)
        back = store.undecide(table, store.decide(table, record, "bicycle", "jo"))
        assert back.status is record.status
        with pytest.raises(RecordChanged):
            store.decide(table, record, "bicycle", "bo")
        assert store.get(table, record.id) == back

    def test_a_decision_about_a_picture_that_was_started_again_meanwhile_is_refused(self, table: str) -> None:
        record = held_back(table)
        again = store.restart(table, record)
        with pytest.raises(RecordChanged):
            store.decide(table, record, "bicycle", "jo")
        write(table, again, Status.REVIEW)
        with pytest.raises(RecordChanged):
            store.decide(table, record, "bicycle", "jo")
        assert store.get(table, record.id).review is None

    def test_a_picture_that_was_decided_meanwhile_is_not_started_again(self, table: str) -> None:
        record = held_back(table)
        decided = store.decide(table, record, "bicycle", "jo")
        assert store.restart(table, record) == decided == store.get(table, record.id)

    def test_a_picture_that_is_started_again_forgets_what_was_found_and_noted(self, table: str) -> None:
        record = store.undecide(table, store.decide(table, held_back(table), "bicycle", "jo"))
        store.enter(table, record.id, 1, "Serialize")
        again = store.restart(table, record)
        assert (again.steps, again.reviews, again.ended_at, again.labels) == ((), 0, None, None)
        item = aws.client("dynamodb").get_item(TableName=table, Key={"id": {"S": record.id}})["Item"]
        assert not item.keys() & {"steps", "reviews", "review", "sureness", "ended_at"}

    def test_no_record_is_made_by_a_decision(self, table: str) -> None:
        never = pending(status=Status.REVIEW)
        with pytest.raises(RecordChanged):
            store.decide(table, never, "bicycle", "jo")
        with pytest.raises(RecordChanged):
            store.undecide(table, never)
        assert store.missing(table, [never.id]) == {never.id}

    @pytest.mark.parametrize(
        "act",
        [lambda record: store.decide("records", record, "a", "jo"), lambda record: store.undecide("records", record)],
    )
    def test_a_table_that_throttles_is_busy_and_one_that_is_missing_is_not(
        self, fake_aws: FakeAws, act: Callable[[Record], Record]
    ) -> None:
        record = pending(status=Status.REVIEW)
        fake_aws.refuses("ThrottlingException")
        with pytest.raises(StorageBusy, match="Could not keep the review"):
            act(record)
        fake_aws.refuses("ResourceNotFoundException")
        with pytest.raises(ClientError):
            act(record)


class TestSteps:
    def test_steps_are_noted_in_the_order_entered_and_a_retried_one_again(self, table: str) -> None:
        record = store.create(table, pending())
        names = ["Serialize", "Classify", "Classify", "Filter"]
        assert all(store.enter(table, record.id, 1, name) for name in names)
        noted = store.get(table, record.id)
        assert [step.step for step in noted.steps] == names
        times = [step.at for step in noted.steps]
        assert record.created_at <= times[0]
        assert times == sorted(times)
        assert noted == replace(record, steps=noted.steps)

    def test_a_step_of_an_older_attempt_is_not_noted(self, table: str) -> None:
        record = store.restart(table, store.create(table, pending()))
        assert not store.enter(table, record.id, 1, "Classify")
        assert store.enter(table, record.id, 2, "Serialize")
        assert [step.step for step in store.get(table, record.id).steps] == ["Serialize"]

    def test_no_record_is_made_by_noting_a_step(self, table: str) -> None:
        identity = uuid4().hex
        assert not store.enter(table, identity, 1, "Serialize")
        assert store.missing(table, [identity]) == {identity}

    def test_an_ending_that_is_written_meanwhile_is_not_undone(self, table: str) -> None:
        record = held_back(table)
        assert store.enter(table, record.id, 1, "Filter")
        assert store.get(table, record.id).status is Status.REVIEW

    def test_a_table_that_throttles_is_asked_once(self, fake_aws: FakeAws) -> None:
        fake_aws.refuses("ThrottlingException")
        with pytest.raises(StorageBusy, match="Could not note the step"):
            store.enter("records", "id", 1, "Serialize")
        assert len(fake_aws.asked) == 1


@pytest.fixture
def own_table(stack: Stack) -> str:
    """A table that no other test uses."""
    name = f"records-{uuid4().hex[:12]}"
    create_table(aws.client("dynamodb"), name)
    return name


def test_ids_without_a_record_are_found_among_more_than_one_batch(own_table: str) -> None:
    known = [store.create(own_table, pending()).id for _ in range(store.MAX_BATCH + 5)]
    unknown = [uuid4().hex for _ in range(3)]
    assert store.missing(own_table, [*known, *unknown, *unknown]) == set(unknown)
    assert store.missing(own_table, []) == set()


def test_keys_that_dynamodb_had_no_room_for_are_asked_for_again(fake_aws: FakeAws) -> None:
    table, keys = "records", [{"id": {"S": name}} for name in "ab"]
    found = [{"id": {"S": "a"}}], [{"id": {"S": "b"}}]
    first = {"Responses": {table: found[0]}, "UnprocessedKeys": {table: {"Keys": keys[1:]}}}
    second = {"Responses": {table: found[1]}, "UnprocessedKeys": {}}
    fake_aws.says(*(Answer(body=json.dumps(one).encode()) for one in (first, second)))
    assert store.missing(table, ["a", "b"]) == set()
    assert json.loads(fake_aws.asked[1].body)["RequestItems"][table]["Keys"] == keys[1:]


def test_a_table_without_room_for_a_single_key_is_busy(fake_aws: FakeAws) -> None:
    nothing = {"Responses": {"records": []}, "UnprocessedKeys": {"records": {"Keys": [{"id": {"S": "a"}}]}}}
    fake_aws.says(Answer(body=json.dumps(nothing).encode()))
    with pytest.raises(StorageBusy):
        store.missing("records", ["a"])


def test_giving_up_and_looking_tell_when_dynamodb_is_busy(fake_aws: FakeAws) -> None:
    fake_aws.refuses("ThrottlingException")
    for call in (
        lambda: store.fail("records", "id", 1, "Error", "cause"),
        lambda: store.missing("records", ["id"]),
    ):
        with pytest.raises(StorageBusy):
            call()


def test_a_bookmark_is_kept_and_is_no_record(own_table: str) -> None:
    assert store.bookmark(own_table) == ("", "")
    store.set_bookmark(own_table, "inbox/été.png", "v1")
    store.set_bookmark(own_table, "inbox/b.png", "")
    assert store.bookmark(own_table) == ("inbox/b.png", "")
    with pytest.raises(RecordNotFound):
        store.get(own_table, store.BOOKMARK)
    assert not list(listing.waiting(own_table, Status.PENDING))
