import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from local.stack import Stack
from tests.training.conftest import forget_clients
from tests.training.jobs import recording
from tests.training.recorder import Recorder
from tests.training.staged import write_data
from training import aws
from training.cli import main

BUCKET = "upload-command"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_data(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def place(embedded: Stack) -> Iterator[str]:
    """A place in the embedded stack."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    yield f"s3://{BUCKET}/data"
    for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=one["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with recording(monkeypatch) as jobs:
        yield jobs.recorder


def upload(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["upload", *map(str, arguments)])


def test_counts_are_told_and_a_second_run_changes_nothing(place: str, data: Path) -> None:
    first = upload(data, place)
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout == f"{place}: 22 uploaded, 0 unchanged, 0 deleted.\n"
    next(data.glob("test/*/*.png")).unlink()
    second = upload(data, f"{place}/", "--delete", "--json")
    assert second.exit_code == 0
    assert json.loads(second.stdout) == {
        "folder": str(data),
        "place": place,
        "uploaded": 0,
        "unchanged": 21,
        "deleted": 1,
    }


def test_bucket_of_somebody_else_ends_with_exit_code_2(recorder: Recorder, data: Path) -> None:
    recorder.answers["ListObjectsV2"] = lambda _: {"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}
    result = upload(data, "s3://theirs/data")
    assert result.exit_code == 2
    assert "The bucket theirs belongs to another account" in result.stderr
    assert result.stdout == ""


def test_bucket_that_is_not_there_ends_with_exit_code_2(place: str, data: Path) -> None:
    result = upload(data, "s3://nowhere-at-all/data")
    assert result.exit_code == 2
    assert "There is no bucket nowhere-at-all. Make it, or name another." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{data}", "bucket/prefix"), "write it as s3://bucket/prefix"),
        (("{data}", "s3://"), "write it as s3://bucket/prefix"),
        (("{data}/none", "s3://bucket/prefix"), "does not exist"),
        (("{data}/manifest.json", "s3://bucket/prefix"), "is a file"),
        (("{data}", "s3://bucket", "--delete"), "would empty the whole bucket bucket. Name a prefix"),
    ],
)
def test_what_has_to_change_is_told_with_exit_code_2(
    arguments: tuple[str, ...], message: str, recorder: Recorder, data: Path
) -> None:
    result = upload(*(argument.format(data=data) for argument in arguments))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not recorder.sent


def test_missing_credentials_are_told_with_exit_code_2(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    forget_clients()
    result = upload(data, "s3://bucket/prefix")
    forget_clients()
    assert result.exit_code == 2
    assert "aws configure" in result.stderr


def test_refusal_of_s3_ends_with_exit_code_1(recorder: Recorder, data: Path) -> None:
    recorder.answers["PutObject"] = lambda _: {"Error": {"Code": "InternalError", "Message": "We are sorry."}}
    result = upload(data, "s3://bucket/prefix")
    assert result.exit_code == 1
    assert "AWS refused PutObject: InternalError: We are sorry." in result.stderr
