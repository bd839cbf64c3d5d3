"""Each function may do what it was seen doing while the tests ran, and nothing else. Runs after all other tests."""

import json
from typing import Any
from unittest.mock import patch
from urllib.parse import quote_plus
from uuid import uuid4

import httpx
import pytest
from moto.iam.access_control import IAMPolicy, PermissionResult

from chalicelib import aws, reconcile, workflow
from chalicelib.inbox import Source
from chalicelib.reconcile import GRACE
from chalicelib.store import Record, Status
from local import ROOT, samples
from local.roles import conditions, given
from local.stack import Stack
from tests import calls
from tests.calls import Call
from tests.conftest import wait_for

FOLDER = ROOT / ".chalice"
STAGE: dict[str, Any] = json.loads((FOLDER / "config.json").read_text())["stages"]["dev"]
FUNCTIONS = sorted(STAGE["lambda_functions"])
BICYCLE = samples.encode(samples.render(samples.draw_bicycle), "PNG")
OK, ACCEPTED = 200, 202

ATTRIBUTES = "dynamodb:Attributes"
"""The key of a condition on the attributes that a request names."""

UNSEEN = {
    "logs:CreateLogStream": "Lambda's runtime writes the log",
    "logs:PutLogEvents": "Lambda's runtime writes the log",
    "sqs:SendMessage": "Lambda sends what a function gave up to its destination, as the function's role",
    "s3:ListBucket": "without it, S3 answers 403 in place of 404 for an object that is not there",
}
"""What is done in a function's name without a call of its own, and by whom."""


def statements(function: str) -> list[dict[str, Any]]:
    file = FOLDER / STAGE["lambda_functions"][function]["iam_policy_file"]
    found: list[dict[str, Any]] = json.loads(file.read_text())["Statement"]
    return found


def allows(statement: dict[str, Any], call: Call) -> bool:
    policy = given({"Version": "2012-10-17", "Statement": [statement]}, told(call))
    permitted = IAMPolicy(json.dumps(policy)).is_action_permitted(call.action, call.resource)
    return bool(permitted == PermissionResult.PERMITTED)


def told(call: Call) -> dict[str, list[str]]:
    """What a condition can look at in a call."""
    return {ATTRIBUTES: sorted(call.attributes)} if call.attributes else {}


def of_the_stage(call: Call) -> bool:
    """Whether this is about the stage's own things: tests have buckets of their own, whose policies would allow it."""
    return (
        not call.resource.startswith("arn:aws:s3:::") or STAGE["environment_variables"]["INBOX_BUCKET"] in call.resource
    )


@pytest.fixture(scope="module")
def seen(stack: Stack) -> dict[str, set[Call]]:
    """The calls of each function: those of all tests before, and of what is done here, so that it suffices alone."""
    everything_once(stack)
    return {name: {call for call in calls.made if call.function == name and of_the_stage(call)} for name in FUNCTIONS}


def everything_once(stack: Stack) -> None:
    """Have each function do all that it can do."""
    source = stack.drop(f"{uuid4()}.png", BICYCLE)
    record = wait_for(stack, workflow.identity(source))
    for named in ({}, {"version_id": source.version_id}):
        assert httpx.post(f"{stack.api_url}/classifications", json={"key": source.key} | named).status_code == OK
    assert httpx.get(f"{stack.api_url}/classifications/{record.id}").status_code == OK
    state = {"s3_bucket": source.bucket, "s3_key": source.key}
    invoke(stack, "serialize", state)
    invoke(stack, "open_record", state | {"etag": '"e7a6"'})
    with patch.object(reconcile, "GRACE", -GRACE):
        aws.client("dynamodb").delete_item(TableName=stack.settings.records_table, Key={"id": {"S": record.id}})
        invoke(stack, "reconcile", scheduled({}))
        wait_for(stack, record.id)
        rewrite(stack, record, status={"S": Status.PENDING})
        invoke(stack, "reconcile", scheduled({}))
        wait_for(stack, record.id)
        rewrite(stack, record, status={"S": Status.PENDING}, attempt={"N": str(reconcile.MAX_ATTEMPTS)})
        invoke(stack, "reconcile", scheduled({}))
    assert wait_for(stack, record.id).status is Status.FAILED
    again = httpx.post(f"{stack.api_url}/classifications", json={"key": source.key}, timeout=30)
    assert again.status_code == ACCEPTED
    wait_for(stack, record.id)
    rewrite(stack, record, status={"S": Status.PENDING})
    invoke(stack, "on_picture", {"Records": [{"s3": {"bucket": {"name": source.bucket}, "object": s3_object(source)}}]})
    wait_for(stack, record.id)
    invoke(stack, "on_stopped", scheduled({"name": record.id, "status": "ABORTED"}))
    invoke(stack, "measure", scheduled({}))
    review(stack, record)


def review(stack: Stack, record: Record) -> None:
    """What the page does: upload, list, look, decide, take it back, and have it classified once more."""
    with httpx.Client(base_url=stack.api_url, timeout=30) as client:
        posted = client.post("/classifications", content=BICYCLE, headers={"Content-Type": "image/png"})
        assert posted.status_code in (OK, ACCEPTED)
        wait_for(stack, posted.json()["id"])
        assert client.post("/uploads", json={"content_type": "image/png"}).status_code == OK
        rewrite(stack, record, status={"S": Status.REVIEW}, sureness={"N": "0.1"})
        for path in ("health", "overview", "classifications", "classifications?status=REVIEW"):
            assert client.get(f"/{path}").status_code == OK, path
        place = f"/classifications/{record.id}"
        assert client.get(f"{place}/picture", headers={"Accept": "application/json"}).status_code == OK
        seen = {"If-Match": client.get(place).headers["ETag"]}
        decided = client.put(f"{place}/review", json={"label": "bicycle"}, headers=seen)
        assert decided.status_code == OK, decided.text
        taken_back = client.delete(f"{place}/review", headers={"If-Match": decided.headers["ETag"]})
        assert taken_back.status_code == OK, taken_back.text
        assert client.post(f"{place}/attempts").status_code == ACCEPTED
    wait_for(stack, record.id)


def invoke(stack: Stack, function: str, event: dict[str, Any]) -> None:
    result = stack.functions.invoke(function, json.dumps(event))
    assert not result.failed, result.payload


def scheduled(detail: dict[str, Any]) -> dict[str, Any]:
    """An event of EventBridge."""
    empty = dict.fromkeys(("version", "id", "account", "region", "time", "source", "detail-type"), "")
    return empty | {"resources": [], "detail": detail}


def s3_object(source: Source) -> dict[str, Any]:
    return {"key": quote_plus(source.key), "versionId": source.version_id, "eTag": source.etag, "size": 1}


def rewrite(stack: Stack, record: Record, **values: dict[str, str]) -> None:
    aws.client("dynamodb").update_item(
        TableName=stack.settings.records_table,
        Key={"id": {"S": record.id}},
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
        ExpressionAttributeNames={f"#{name}": name for name in values},
        ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_everything_that_it_does(function: str, seen: dict[str, set[Call]]) -> None:
    refused = {call for call in seen[function] if not any(allows(one, call) for one in statements(function))}
    assert not refused


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_nothing_that_it_does_not_do(function: str, seen: dict[str, set[Call]]) -> None:
    unused = {
        (action, resource)
        for statement in statements(function)
        for action in set(statement["Action"]) - UNSEEN.keys()
        for resource in statement["Resource"]
        if not any(allows(statement | {"Action": action, "Resource": resource}, call) for call in seen[function])
    }
    assert not unused


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_condition_leaves_to_a_function_what_it_touches_and_no_attribute_more(
    function: str, seen: dict[str, set[Call]]
) -> None:
    for statement in statements(function):
        for _, key, values in conditions(statement):
            if key == ATTRIBUTES:
                calls = [call for call in seen[function] if call.action in statement["Action"]]
                assert set(values) == {name for call in calls for name in call.attributes}
