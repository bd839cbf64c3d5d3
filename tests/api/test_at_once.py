"""Many callers at the same moment: nothing is lost, nothing is there twice, and nobody is turned away."""

import time
from collections import Counter
from functools import partial
from urllib.parse import quote
from uuid import uuid4

from PIL import Image

from chalicelib import aws, inbox
from local import samples
from local.stack import Stack
from tests.api.asking import PATIENCE, Answer, ask, at_once, end_of

PICTURES = 200
SAME_PICTURE = 50
SAME_KEY = 20


def different_pictures(count: int) -> list[bytes]:
    """Bicycles, motorcycles and houses, each of another width, and every tenth cut off."""
    drawings = [samples.render(draw) for draw in (samples.draw_bicycle, samples.draw_motorcycle, samples.draw_house)]
    pictures = [
        samples.encode(drawings[number % 3].resize((200 + number, 240), Image.Resampling.BILINEAR), "JPEG")
        for number in range(count)
    ]
    return [data[: len(data) // 2] if number % 10 == 9 else data for number, data in enumerate(pictures)]


def executions_of(stack: Stack, identity: str) -> list[str]:
    pages = (
        aws.client("stepfunctions")
        .get_paginator("list_executions")
        .paginate(stateMachineArn=stack.settings.state_machine_arn)
    )
    return [one["name"] for page in pages for one in page["executions"] if one["name"].startswith(identity)]


def everything_listed(stack: Stack) -> Counter[str]:
    """How often each id is on the list, all of its pages together."""
    ids: Counter[str] = Counter()
    path = "/classifications?limit=100"
    while True:
        page = ask(stack, "GET", path).json
        ids.update(one["id"] for one in page["classifications"])
        if not page["next"]:
            return ids
        path = f"/classifications?limit=100&after={quote(page['next'])}"


def test_200_pictures_at_once_are_200_classifications_that_all_come_to_an_end(stack: Stack) -> None:
    pictures = different_pictures(PICTURES)
    answers = at_once(
        [partial(ask, stack, "POST", "/classifications", data, Content_Type="image/jpeg") for data in pictures]
    )
    assert {answer.status for answer in answers} <= {200, 202}, refused(answers)
    ids = [answer.json["id"] for answer in answers]
    assert len(set(ids)) == PICTURES

    deadline = time.monotonic() + PATIENCE
    ended = [end_of(stack, identity, deadline) for identity in ids]
    for number, one in enumerate(ended):
        expected = {"REJECTED"} if number % 10 == 9 else {"ACCEPTED", "REVIEW"}
        assert one["status"] in expected, one
        assert one["attempt"] == 1
    listed = everything_listed(stack)
    assert {identity: listed[identity] for identity in ids} == dict.fromkeys(ids, 1)
    assert {len(executions_of(stack, identity)) for identity in ids[:3]} == {1}


def test_50_callers_who_name_one_version_of_a_picture_at_once_get_one_classification(stack: Stack) -> None:
    key = f"{inbox.PREFIX}at-once/{uuid4().hex}.jpg"
    (data,) = different_pictures(1)
    version = aws.client("s3").put_object(Bucket=stack.settings.inbox_bucket, Key=key, Body=data)["VersionId"]
    body = f'{{"key": "{key}", "version_id": "{version}"}}'.encode()
    answers = at_once(
        [partial(ask, stack, "POST", "/classifications", body, Content_Type="application/json")] * SAME_PICTURE
    )
    assert {answer.status for answer in answers} <= {200, 202}, refused(answers)
    (identity,) = {answer.json["id"] for answer in answers}
    ended = end_of(stack, identity, time.monotonic() + PATIENCE)
    assert (ended["status"], ended["attempt"], ended["version_id"]) == ("ACCEPTED", 1, version)
    assert executions_of(stack, identity) == [identity]
    assert everything_listed(stack)[identity] == 1


def test_an_upload_that_is_sent_20_times_at_once_with_one_key_is_one_picture(stack: Stack) -> None:
    (data,) = different_pictures(1)
    upload = partial(
        ask, stack, "POST", "/classifications", data, Content_Type="image/jpeg", Idempotency_Key=uuid4().hex
    )
    answers = at_once([upload] * SAME_KEY)
    assert {answer.status for answer in answers} <= {200, 202}, refused(answers)
    (identity,) = {answer.json["id"] for answer in answers}
    ended = end_of(stack, identity, time.monotonic() + PATIENCE)
    assert (ended["status"], ended["attempt"]) == ("ACCEPTED", 1)
    assert executions_of(stack, identity) == [identity]
    listing = aws.client("s3").list_object_versions(Bucket=stack.settings.inbox_bucket, Prefix=ended["s3_key"])
    assert [one["VersionId"] for one in listing["Versions"]] == [ended["version_id"]]


def refused(answers: list[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status not in (200, 202)]
