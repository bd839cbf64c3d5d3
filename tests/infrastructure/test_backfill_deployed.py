"""`backfill` in an account that the template and the real `chalice deploy` have filled."""

import json
from pathlib import Path

import pytest

from commandline import aws
from infrastructure.commands import backfill as command
from infrastructure.names import Names
from local import samples
from tests.infrastructure.backfills import ENDPOINT, LIMIT, say
from tests.infrastructure.commands import run_well

BUCKET = "pictures-of-before"


@pytest.mark.timeout(300)  # Chalice builds packages, unless another test has had it do so
def test_pictures_of_a_bucket_beside_the_stage_are_classified_by_what_template_and_chalice_made(
    deployed: Names, chalice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "POLL_INTERVAL", 0.05)
    say("sagemaker", "DescribeEndpoint", ENDPOINT)
    say("lambda", "GetAccountSettings", LIMIT)
    s3, iam = aws.client("s3"), aws.client("iam")
    s3.create_bucket(Bucket=BUCKET)
    for file in samples.write(tmp_path / "drawn"):
        s3.put_object(Bucket=BUCKET, Key=f"2019/{file.name}", Body=file.read_bytes())

    told = json.loads(run_well("backfill", f"s3://{BUCKET}/2019/", "--yes", "--json", "--chalice", chalice).stdout)
    assert (told["status"], told["done"], told["failed"]) == ("SUCCEEDED", 4, 0)
    items = aws.client("dynamodb").scan(TableName=deployed.records_table)["Items"]
    assert {item["s3_key"]["S"].removeprefix("2019/"): item["status"]["S"] for item in items} == {
        "bicycle.png": "ACCEPTED",
        "motorcycle.jpg": "ACCEPTED",
        "house.webp": "REVIEW",
        "broken.jpg": "REJECTED",
    }
    lists, reads = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    roles = [iam.get_role(RoleName=f"{deployed.prefix}-{name}")["Role"]["Arn"] for name in ("backfill", "serialize")]
    assert lists["Principal"]["AWS"] == roles
    assert reads["Principal"]["AWS"] == roles[1]
