"""Many records at once, in DynamoDB: by status, page by page.

Two indexes hold them in order: `by_status`, by when they came to where they stand, and `by_sureness`, by how sure the
model is of those that were held back. Both lag behind the table by moments.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.errors import InvalidRequest
from chalicelib.store import Record, Status, parse


@dataclass(frozen=True)
class Order:
    """In which order records are listed.

    Attributes:
        index: the index that has them so.
        attribute: what it is ordered by.
        kind: DynamoDB's type of that, "S" or "N".
        forward: whether the least comes first.
    """

    index: str
    attribute: str
    kind: str
    forward: bool


OLDEST_FIRST = Order("by_status", "updated_at", "S", forward=True)
NEWEST_FIRST = Order("by_status", "updated_at", "S", forward=False)
LEAST_SURE_FIRST = Order("by_sureness", "sureness", "N", forward=True)
"""Of those that were held back: no other record is in this index."""

Place = tuple[str, str]
"""Where a record stands in an order, as text, and its id."""

Position = dict[Status, Place | None]
"""How far a listing has come, by status: None for its beginning; a status that is not there has come to its end."""


@dataclass(frozen=True)
class Page:
    """A page of a listing.

    Attributes:
        records: in the listing's order.
        after: where the next page begins; None after the last.
    """

    records: list[Record]
    after: Position | None


def waiting(table: str, status: Status, until: str | None = None) -> Iterator[Record]:
    """The records of a status, those that came to it first foremost.

    The index that is read lags behind the table by moments.

    Args:
        table: the table's name.
        status: the status.
        until: only what came to it before this time, as `now` writes it.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    bound = ("updated_at < :bound", until) if until else None
    for answer in _answers(_query(table, status, OLDEST_FIRST, bound)):
        yield from map(parse, answer["Items"])


def since(table: str, begin: str) -> Iterator[Record]:
    """The records of whatever status that came to it since a time, the newest first.

    Args:
        table: the table's name.
        begin: the time, as `store.now` writes it.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """

    def of(status: Status) -> Iterator[Record]:
        for answer in _answers(_query(table, status, NEWEST_FIRST, ("updated_at >= :bound", begin))):
            yield from map(parse, answer["Items"])

    yield from merge(*map(of, Status), key=lambda record: record.updated_at, reverse=True)


def count(table: str, status: Status) -> int:
    """How many records have a status.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    query = _query(table, status, OLDEST_FIRST) | {"Select": "COUNT"}
    return sum(answer["Count"] for answer in _answers(query))


def page(table: str, statuses: Sequence[Status], order: Order, limit: int, after: Position | None = None) -> Page:
    """A page of the records of some statuses.

    Args:
        table: the table's name.
        statuses: which.
        order: in which order.
        limit: most records of a page, from 1.
        after: where the page before ended.

    Raises:
        InvalidRequest: `after` is not of this listing.
        StorageBusy: DynamoDB is throttling or failing.
    """
    position: Position = dict.fromkeys(statuses) if after is None else after
    found: list[list[tuple[Place, dict[str, Any]]]] = []
    ended = set()
    for status, place in position.items():
        query = _query(table, status, order) | {"Limit": limit}
        if place:
            query["ExclusiveStartKey"] = _key(status, order, place)
        answer = _ask(query)
        if "LastEvaluatedKey" not in answer:
            ended.add(status)
        found.append([(_place(item, order), item) for item in answer["Items"]])
    taken = list(islice(merge(*found, key=lambda one: one[0], reverse=not order.forward), limit))
    left: Position = {}
    for (status, place), items in zip(position.items(), found, strict=True):
        own = [place for place, item in taken if item["status"]["S"] == status]
        if len(own) < len(items) or status not in ended:
            left[status] = own[-1] if own else place
    return Page([parse(item) for _, item in taken], left or None)


def _query(table: str, status: Status, order: Order, bound: tuple[str, str] | None = None) -> dict[str, Any]:
    condition, value = bound or ("", "")
    return {
        "TableName": table,
        "IndexName": order.index,
        "KeyConditionExpression": "#status = :status" + (f" AND {condition}" if bound else ""),
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {":status": {"S": status}} | ({":bound": {"S": value}} if bound else {}),
        "ScanIndexForward": order.forward,
    }


def _answers(query: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    while True:
        answer = _ask(query)
        yield answer
        if "LastEvaluatedKey" not in answer:
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _ask(query: dict[str, Any]) -> Mapping[str, Any]:
    try:
        with aws.storage("look for records"):
            answer: Mapping[str, Any] = aws.client("dynamodb").query(**query)
            return answer
    except ClientError as error:
        if aws.code(error) == "ValidationException" and "ExclusiveStartKey" in query:
            raise InvalidRequest("There is no page after this: ask for the first one, without `after`.") from error
        raise


def _key(status: Status, order: Order, place: Place) -> dict[str, dict[str, str]]:
    at, identity = place
    return {"status": {"S": status}, order.attribute: {order.kind: at}, "id": {"S": identity}}


def _place(item: Mapping[str, Any], order: Order) -> Place:
    return item[order.attribute][order.kind], item["id"]["S"]
