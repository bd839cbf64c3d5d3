"""A picture put into the inbox of the running embedded system: it comes out, or it is told where it is stuck."""

import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from chalicelib import workflow
from chalicelib.inbox import Source
from infrastructure import doctor
from infrastructure.checks import live
from infrastructure.doctor import Finding, Severity
from tests.infrastructure import healthy
from tests.infrastructure.healthy import NAMES, Stage

WAIT = 20.0
"""Seconds until what was left behind has to be gone."""


@pytest.fixture(scope="module")
def well(empty_account: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with healthy.stage(empty_account, tmp_path_factory.mktemp("stage")) as made:
        made.client("s3").delete_bucket_policy(Bucket=NAMES.inbox_bucket)  # moto would let nobody in
        yield made


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_INTERVAL", 0.05)


def look(well: Stage) -> Finding:
    (found,) = doctor.results(doctor.LIVE, well.site)
    return found


def left(well: Stage) -> dict[str, Any]:
    """What lies in the inbox and in the table."""
    listed = well.client("s3").list_object_versions(Bucket=NAMES.inbox_bucket)
    items = well.client("dynamodb").scan(TableName=NAMES.records_table)["Items"]
    return {"versions": listed.get("Versions", []), "markers": listed.get("DeleteMarkers", []), "records": items}


NOTHING: dict[str, Any] = {"versions": [], "markers": [], "records": []}


def test_a_picture_comes_out_and_nothing_is_left_of_it(well: Stage) -> None:
    found = look(well)
    assert found.severity is Severity.OK, found.what
    assert "A picture that was put into the inbox came out" in found.what
    assert any(f"out {status} as " in found.what for status in ("REVIEW", "ACCEPTED"))
    assert found.what.endswith(" s.")
    assert left(well) == NOTHING


def test_live_is_part_of_the_whole_when_it_is_asked_for(well: Stage) -> None:
    found = [one for one in doctor.examine(NAMES, well.folder, live=True, before=False) if one.check == "live"]
    assert [one.severity for one in found] == [Severity.OK]


@pytest.mark.parametrize("put_says", ["null", None])
def test_a_picture_in_a_bucket_that_keeps_no_versions_is_found_again(
    well: Stage, monkeypatch: pytest.MonkeyPatch, put_says: str | None
) -> None:
    def forget_version(answer: dict[str, Any]) -> None:
        answer.pop("VersionId")
        answer.update({"VersionId": put_says} if put_says else {})

    with well.altering("PutObject", forget_version):
        dropped = live._drop(NAMES.inbox_bucket)
    etag = well.client("s3").head_object(Bucket=dropped.bucket, Key=dropped.key)["ETag"].strip('"')
    source = Source(dropped.bucket, dropped.key, None, etag)
    assert live.identity(dropped.bucket, dropped.key, dropped.version) == workflow.identity(source)
    await_record(well)
    empty(well)


def await_record(well: Stage) -> None:
    """Wait until the picture, which has a version here after all, has come to its end."""
    deadline = time.monotonic() + WAIT
    while not any(one["status"]["S"] != "PENDING" for one in left(well)["records"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def empty(well: Stage) -> None:
    for one in left(well)["records"]:
        well.client("dynamodb").delete_item(TableName=NAMES.records_table, Key={"id": one["id"]})
    for one in left(well)["versions"]:
        well.client("s3").delete_object(Bucket=NAMES.inbox_bucket, Key=one["Key"], VersionId=one["VersionId"])


def test_a_trigger_that_does_not_work_is_told(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RECORD_PATIENCE", 0.5)
    healthy.put_rules(well, [])
    found = look(well)
    healthy.put_rules(well, [healthy.lambda_rule()])
    assert found.severity is Severity.PROBLEM
    assert "it has no record: the trigger does not work" in found.what
    assert NAMES.function_log_group("on_picture") in found.fix
    assert left(well) == NOTHING


def test_a_workflow_that_comes_to_no_end_is_told(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PATIENCE", 1.0)
    hanging = '{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3, "End": true}}}'
    machine = {"stateMachineArn": NAMES.state_machine_arn}
    right = well.client("stepfunctions").describe_state_machine(**machine)["definition"]
    well.client("stepfunctions").update_state_machine(**machine, definition=hanging)
    found = look(well)
    well.client("stepfunctions").update_state_machine(**machine, definition=right)
    assert found.severity is Severity.PROBLEM
    assert "it is still PENDING" in found.what
    assert f"of {NAMES.prefix} in the console of Step Functions" in found.fix
    assert left(well) == NOTHING


def test_a_table_that_cannot_be_read_leaves_no_picture_behind(well: Stage) -> None:
    with well.refusing("GetItem", "AccessDeniedException", "not authorized to perform: dynamodb:GetItem on resource"):
        found = look(well)
    assert found.what == "Could not look: needs permission dynamodb:GetItem."
    deadline = time.monotonic() + WAIT
    while left(well)["versions"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_inbox_that_is_not_there_is_told(well: Stage) -> None:
    with well.refusing("HeadBucket", "404", status=404):
        found = look(well)
    assert found.what == f"There is no bucket {NAMES.inbox_bucket} to put a picture into."


@pytest.mark.parametrize(
    ("source", "version"),
    [
        (Source("b", "inbox/a.jpg", "v"), "v"),
        (Source('b"', 'inbox/", "ä.jpg', "null"), "null"),
        (Source("b", "inbox/a.jpg", None, "etag"), "etag"),
    ],
)
def test_the_record_of_a_picture_has_the_id_that_the_functions_give_it(source: Source, version: str) -> None:
    assert live.identity(source.bucket, source.key, version) == workflow.identity(source)


def test_the_picture_is_a_png_that_others_can_read() -> None:
    with Image.open(io.BytesIO(live.picture())) as image:
        image.load()
        assert (image.format, image.size, image.mode) == ("PNG", (live.SIDE, live.SIDE), "RGB")
        assert image.getpixel((0, 0)) == (0, 0, 128)
        assert image.getpixel((live.SIDE - 1, 0)) == (252, 0, 128)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ('{"Error": "ModelFailed", "Cause": "{\\"errorMessage\\": \\"It died.\\"}"}', "It died."),
        ('{"Error": "States.Timeout", "Cause": ""}', "States.Timeout."),
        ('{"Error": "GivenUp", "Cause": "Started 5 times."}', "Started 5 times."),
        ("{}", "nobody knows why."),
    ],
)
def test_why_it_failed_is_told_in_words(error: str, reason: str) -> None:
    assert live._reason({"error": {"S": error}}) == reason
