"""Many records at once, in DynamoDB: by status, page by page."""

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import aws, listing, store
from chalicelib.errors import InvalidRequest, StorageBusy
from chalicelib.listing import LEAST_SURE_FIRST, NEWEST_FIRST, Order
from chalicelib.store import Record, Status
from local.resources import create_table
from local.stack import Stack
from tests.conftest import FakeAws

EVERY = list(Status)


@pytest.fixture
def table(stack: Stack) -> str:
    """A table that no other test uses."""
    name = f"records-{uuid4().hex[:12]}"
    create_table(aws.client("dynamodb"), name)
    return name


@pytest.fixture(scope="module")
def shared(stack: Stack) -> str:
    """A table for many small sets of records, which a test takes away again."""
    name = f"records-{uuid4().hex[:12]}"
    create_table(aws.client("dynamodb"), name)
    return name


def time(minute: int) -> str:
    return f"2026-01-01T00:{minute:02}:00.000Z"


def write(table: str, status: Status, minute: int, sureness: str | None = None, identity: str = "") -> str:
    """A record as the state machine leaves it; its id."""
    identity = identity or uuid4().hex
    item: dict[str, Any] = {
        "id": {"S": identity},
        "status": {"S": str(status)},
        "s3_bucket": {"S": "bucket"},
        "s3_key": {"S": "inbox/a.jpg"},
        "attempt": {"N": "1"},
        "created_at": {"S": time(minute)},
        "updated_at": {"S": time(minute)},
    }
    if sureness is not None:
        item["sureness"] = {"N": sureness}
    aws.client("dynamodb").put_item(TableName=table, Item=item)
    return identity


def pages(table: str, statuses: Sequence[Status], order: Order, limit: int, most: int = 100) -> Iterator[list[Record]]:
    """All pages of a listing, the cursor of each given to the next."""
    after = None
    for number in count():
        page = listing.page(table, statuses, order, limit, after)
        yield page.records
        after = page.after
        if after is None:
            return
        assert number < most, "the listing does not end"


def ids(records: Sequence[Record]) -> list[str]:
    return [record.id for record in records]


def test_those_who_wait_are_told_in_the_order_in_which_they_came(table: str) -> None:
    first, second = write(table, Status.PENDING, 20), write(table, Status.PENDING, 40)
    between = write(table, Status.PENDING, 30)
    write(table, Status.REVIEW, 10)
    assert ids(list(listing.waiting(table, Status.PENDING))) == [first, between, second]


def test_those_who_came_later_are_left_out(table: str) -> None:
    early = write(table, Status.PENDING, 10)
    write(table, Status.PENDING, 20)
    assert ids(list(listing.waiting(table, Status.PENDING, until=time(20)))) == [early]


def test_those_who_came_since_are_told_newest_first_whatever_became_of_them(table: str) -> None:
    write(table, Status.ACCEPTED, 10)
    second, third, fourth = (
        write(table, status, minute)
        for minute, status in ((20, Status.ACCEPTED), (30, Status.REVIEW), (40, Status.ACCEPTED))
    )
    assert ids(list(listing.since(table, time(20)))) == [fourth, third, second]


def test_those_who_came_since_are_read_no_further_than_they_are_taken(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(9):
        write(table, Status.ACCEPTED, minute)
    asked: list[Any] = []
    plain_query = aws.client("dynamodb").query

    def query(**request: Any) -> Any:
        asked.append(request)
        return plain_query(**request | {"Limit": 2})

    monkeypatch.setattr(aws.client("dynamodb"), "query", query)
    assert len(list(islice(listing.since(table, time(0)), 4))) == 4
    assert len(asked) <= len(EVERY) + 2


def test_what_takes_several_answers_of_dynamodb_is_read_to_its_end(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {write(table, Status.PENDING, minute) for minute in range(5)}
    plain_query = aws.client("dynamodb").query
    monkeypatch.setattr(aws.client("dynamodb"), "query", lambda **asked: plain_query(**asked | {"Limit": 2}))
    assert set(ids(list(listing.waiting(table, Status.PENDING)))) == known
    assert set(ids(list(listing.since(table, time(0))))) == known
    assert listing.count(table, Status.PENDING) == len(known)


def test_each_status_is_counted_by_itself(table: str) -> None:
    for minute, status in enumerate([Status.REVIEW, Status.REVIEW, Status.ACCEPTED]):
        write(table, status, minute)
    counts = {status: listing.count(table, status) for status in Status}
    assert {status: number for status, number in counts.items() if number} == {Status.REVIEW: 2, Status.ACCEPTED: 1}


def test_whoever_reviews_begins_with_what_the_model_is_least_sure_of(table: str) -> None:
    given = {sureness: write(table, Status.REVIEW, 10, sureness) for sureness in ("0.9", "0.09", "0.5", "0", "1E-7")}
    listed = [one for page in pages(table, [Status.REVIEW], LEAST_SURE_FIRST, 2) for one in ids(page)]
    assert listed == [given[sureness] for sureness in ("0", "1E-7", "0.09", "0.5", "0.9")]


def test_what_was_decided_is_not_among_those_who_wait_for_a_person(table: str) -> None:
    write(table, Status.REVIEWED, 10, "0.5")
    waiting = write(table, Status.REVIEW, 10, "0.6")
    assert [ids(page) for page in pages(table, [Status.REVIEW], LEAST_SURE_FIRST, 5)] == [[waiting]]


def test_records_of_all_statuses_are_merged_newest_first(table: str) -> None:
    minutes = [30, 10, 50, 20, 40, 0]
    given = {minute: write(table, status, minute) for minute, status in zip(minutes, EVERY, strict=True)}
    for limit in range(1, 8):
        listed = [one for page in pages(table, EVERY, NEWEST_FIRST, limit) for one in ids(page)]
        assert listed == [given[minute] for minute in sorted(minutes, reverse=True)]


def test_an_empty_listing_is_one_empty_page(table: str) -> None:
    assert list(pages(table, EVERY, NEWEST_FIRST, 5)) == [[]]


def test_a_page_is_as_long_as_asked_until_the_last(table: str) -> None:
    for minute in range(7):
        write(table, EVERY[minute % 3], minute)
    assert [len(page) for page in pages(table, EVERY, NEWEST_FIRST, 3)] == [3, 3, 1]


@settings(max_examples=25)
@given(
    placed=st.lists(st.tuples(st.sampled_from(EVERY), st.integers(0, 4)), max_size=12),
    limit=st.integers(1, 13),
    single=st.none() | st.sampled_from([one for one in EVERY if one is not Status.REVIEW]),
)
def test_every_record_is_on_exactly_one_page_and_they_are_in_order_also_where_times_are_equal(
    shared: str, placed: list[tuple[Status, int]], limit: int, single: Status | None
) -> None:
    given = {write(shared, status, minute): (status, minute) for status, minute in placed}
    try:
        asked = EVERY if single is None else [single]
        listed = [record for page in pages(shared, asked, NEWEST_FIRST, limit) for record in page]
    finally:
        for identity in given:
            aws.client("dynamodb").delete_item(TableName=shared, Key={"id": {"S": identity}})
    assert sorted(ids(listed)) == sorted(one for one, (status, _) in given.items() if status in asked)
    times = [record.updated_at for record in listed]
    assert times == sorted(times, reverse=True)


@settings(max_examples=15)
@given(surenesses=st.lists(st.sampled_from(["0", "0.25", "0.5", "0.75", "1"]), max_size=10), limit=st.integers(1, 11))
def test_every_record_of_the_queue_is_on_exactly_one_page_also_where_they_are_equally_sure(
    shared: str, surenesses: list[str], limit: int
) -> None:
    given = {write(shared, Status.REVIEW, 10, sureness): sureness for sureness in surenesses}
    try:
        listed = [one for page in pages(shared, [Status.REVIEW], LEAST_SURE_FIRST, limit) for one in ids(page)]
    finally:
        for identity in given:
            aws.client("dynamodb").delete_item(TableName=shared, Key={"id": {"S": identity}})
    assert sorted(listed) == sorted(given)
    assert [given[one] for one in listed] == sorted(surenesses)


def test_a_record_that_comes_in_meanwhile_keeps_none_back_and_doubles_none(table: str) -> None:
    known = [write(table, Status.ACCEPTED, minute) for minute in range(4)]
    first = listing.page(table, EVERY, NEWEST_FIRST, 2)
    write(table, Status.ACCEPTED, 50)
    second = listing.page(table, EVERY, NEWEST_FIRST, 2, first.after)
    assert ids([*first.records, *second.records]) == known[::-1]


def test_a_record_that_is_decided_meanwhile_keeps_none_of_the_others_back(table: str) -> None:
    known = [write(table, Status.REVIEW, 10, f"0.{place}") for place in range(1, 6)]
    first = listing.page(table, [Status.REVIEW], LEAST_SURE_FIRST, 2)
    write(table, Status.REVIEWED, 20, "0.2", identity=known[1])
    second = listing.page(table, [Status.REVIEW], LEAST_SURE_FIRST, 9, first.after)
    assert (ids(first.records), ids(second.records)) == (known[:2], known[2:])


def test_a_record_from_before_there_was_an_order_by_sureness_is_listed_all_the_same(table: str) -> None:
    """Only the queue leaves it out; a restart of the picture brings it there."""
    old = write(table, Status.REVIEW, 10)
    assert [ids(page) for page in pages(table, EVERY, NEWEST_FIRST, 5)] == [[old]]


def test_a_place_that_dynamodb_does_not_take_is_the_callers_fault(fake_aws: FakeAws) -> None:
    fake_aws.refuses("ValidationException")
    with pytest.raises(InvalidRequest, match="There is no page after this: ask for the first one"):
        listing.page("records", [Status.REVIEW], LEAST_SURE_FIRST, 5, {Status.REVIEW: ("0.5", "x" * 3000)})


def test_a_table_that_throttles_is_busy(fake_aws: FakeAws) -> None:
    fake_aws.refuses("ThrottlingException")
    for ask in (
        lambda: list(listing.waiting("records", Status.PENDING)),
        lambda: list(listing.since("records", store.now())),
        lambda: listing.count("records", Status.PENDING),
        lambda: listing.page("records", EVERY, NEWEST_FIRST, 5),
    ):
        with pytest.raises(StorageBusy, match="Could not look for records"):
            ask()
