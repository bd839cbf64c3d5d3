"""What ends badly is told: events that a function gives up, and executions."""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest

from local.stack import Stack

PATIENCE = 15.0


@pytest.fixture
def queue(stack: Stack) -> Iterator[str]:
    """The queue of lost events, empty before and after."""
    url = boto3.client("sqs").get_queue_url(QueueName=stack.functions.full_name("lost-events"))["QueueUrl"]
    drain(url)
    yield url
    drain(url)
    stack.functions.lost.clear()


def drain(url: str) -> None:
    sqs = boto3.client("sqs")
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def received(url: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        messages = boto3.client("sqs").receive_message(QueueUrl=url).get("Messages", [])
        if messages:
            body: dict[str, Any] = json.loads(messages[0]["Body"])
            return body
        time.sleep(0.05)
    pytest.fail("nothing came")


def die(_name: str, _event: Any) -> None:
    raise SystemExit(137)


def test_an_event_that_the_trigger_gives_up_is_kept_in_the_queue(
    stack: Stack, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.functions.RETRY_DELAYS", (0.01, 0.01))
    monkeypatch.setattr(stack.functions, "before", die)
    source = stack.drop(f"{uuid4()}.png", b"no picture")
    kept = received(queue)
    (record,) = kept["requestPayload"]["Records"]
    assert record["s3"]["object"]["versionId"] == source.version_id
    assert kept["requestContext"]["approximateInvokeCount"] == 3
    assert kept["requestContext"]["condition"] == "RetriesExhausted"
    assert kept["responsePayload"]["errorType"] == "Runtime.ExitError"


def test_a_function_that_asks_for_no_retries_gets_none(
    stack: Stack, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.functions, "before", die)
    stack.functions.deliver("reconcile", "{}")
    assert received(queue)["requestContext"]["approximateInvokeCount"] == 1


def test_an_event_of_a_function_that_names_no_queue_is_lost(
    stack: Stack, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.functions.RETRY_DELAYS", (0.01, 0.01))
    monkeypatch.setattr(stack.functions, "before", die)
    stack.functions.deliver("measure", "{}")
    deadline = time.monotonic() + PATIENCE
    while not stack.functions.lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [lost.function for lost in stack.functions.lost] == ["measure"]
    assert "Messages" not in boto3.client("sqs").receive_message(QueueUrl=queue)


def test_the_last_configuration_of_a_function_is_the_one_that_counts(stack: Stack) -> None:
    client, name = boto3.client("lambda"), stack.functions.full_name("filter")
    for retries in (2, 1):
        client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=retries)
    assert client.get_function_event_invoke_config(FunctionName=name)["MaximumRetryAttempts"] == 1
    client.delete_function_event_invoke_config(FunctionName=name)


def test_a_rule_that_is_disabled_tells_nobody(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(stack.functions, "deliver", lambda name, _payload: told.append(name))
    rule = stack.functions.full_name("on_stopped-event")
    machine = stack.settings.state_machine_arn
    events, states = boto3.client("events"), boto3.client("stepfunctions")
    try:
        for switch in (events.disable_rule, events.enable_rule):
            switch(Name=rule)
            started = states.start_execution(stateMachineArn=machine, name=uuid4().hex, input='{"nothing": 1}')
            while states.describe_execution(executionArn=started["executionArn"])["status"] == "RUNNING":
                time.sleep(0.01)
            time.sleep(0.1)
    finally:
        events.enable_rule(Name=rule)
    assert told == ["on_stopped"]
