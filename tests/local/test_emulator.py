"""What the embedded AWS does like AWS where moto by itself does not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import sleep
from typing import Any
from uuid import uuid4

import pytest
from moto.dynamodb.parsing.executors import SetExecutor

from chalicelib import aws
from local.resources import create_table
from local.stack import Stack

NAMES = ("one", "two", "three")


@pytest.fixture
def table(stack: Stack) -> Iterator[str]:
    name = f"table-{uuid4()}"
    create_table(aws.client("dynamodb"), name)
    yield name
    aws.client("dynamodb").delete_table(TableName=name)


def test_nobody_sees_half_of_an_update(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto changes one attribute after the other; here it takes its time, as on a busy machine."""
    plain_execute = SetExecutor.execute

    def execute(setter: Any, item: Any) -> None:
        plain_execute(setter, item)
        sleep(0.002)

    monkeypatch.setattr(SetExecutor, "execute", execute)
    client, done = aws.client("dynamodb"), Event()
    key = {"id": {"S": "one"}}

    def write(number: int) -> None:
        client.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET " + ", ".join(f"#{name} = :number" for name in NAMES),
            ExpressionAttributeNames={f"#{name}": name for name in NAMES},
            ExpressionAttributeValues={":number": {"N": str(number)}},
        )

    def read() -> list[set[str]]:
        seen = []
        while not done.is_set():
            item = client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
            seen.append({item[name]["N"] for name in NAMES})
        return seen

    write(0)
    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(read) for _ in range(4)]
        for number in range(1, 30):
            write(number)
        done.set()
    halves = [values for one in reading for values in one.result() if len(values) > 1]
    assert halves == []
