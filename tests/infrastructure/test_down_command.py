import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from infrastructure import chalice as deployment
from infrastructure import content, stack
from infrastructure.names import Names
from tests.infrastructure.commands import run, run_well
from tests.infrastructure.inventory import everything

NAMES = Names("dev", "123456789012", "us-east-1")


def fill(names: Names) -> None:
    """Two versions of a picture, one that is deleted, and two records."""
    s3 = boto3.client("s3")
    for body in (b"1", b"2"):
        s3.put_object(Bucket=names.inbox_bucket, Key="a.png", Body=body)
    s3.put_object(Bucket=names.inbox_bucket, Key="b.png", Body=b"1")
    s3.delete_object(Bucket=names.inbox_bucket, Key="b.png")
    for identity in ("1", "2"):
        item: dict[str, Any] = {"id": {"S": identity}}
        boto3.client("dynamodb").put_item(TableName=names.records_table, Item=item)


@pytest.fixture
def made(account: dict[str, str], chalice: Path) -> Names:
    """A stage with all that `up` makes, and nothing of Chalice."""
    run_well("up", "--yes", "--chalice", chalice)
    return NAMES


def test_content_is_refused_with_its_amount_and_everything_stays(deployed: Names, chalice: Path) -> None:
    fill(deployed)
    before = everything()
    done = run("down", "--yes", "--chalice", chalice)
    assert done.exit_code == 1
    assert f"bucket {deployed.inbox_bucket} with 4 versions" in done.output
    assert f"table {deployed.records_table} with 2 records" in done.output
    assert "--delete-content" in done.output
    assert everything() == before


def test_nothing_is_left_and_the_second_time_there_is_nothing_to_do(deployed: Names, chalice: Path) -> None:
    fill(deployed)
    logs = boto3.client("logs")
    late = deployed.function_log_group("reconcile")
    if not logs.describe_log_groups(logGroupNamePrefix=late)["logGroups"]:
        logs.create_log_group(logGroupName=late)
    done = run_well("down", "--yes", "--delete-content", "--chalice", chalice)
    assert done.output.index("To be removed") < done.output.index("Running chalice delete")
    assert "Nothing of stage dev is left." in done.output
    assert everything() == {}
    assert not deployment.record(deployed, chalice).exists()
    assert "There is nothing of stage dev to remove." in run_well("down", "--chalice", chalice).output
    assert json.loads(run_well("down", "--json", "--chalice", chalice).stdout) == {"removed": [], "endpoint": None}


def test_where_chalice_remembers_nothing_all_that_it_made_is_found_by_name(deployed: Names, chalice: Path) -> None:
    deployment.record(deployed, chalice).unlink()
    done = run_well("down", "--yes", "--chalice", chalice)
    assert "Running chalice" not in done.output
    assert f"Removed the function {deployed.function('serialize')}." in done.output
    assert everything() == {}


def test_where_chalice_fails_since_a_part_is_gone_the_rest_is_found_by_name(deployed: Names, chalice: Path) -> None:
    events = boto3.client("events")
    events.remove_targets(Rule=f"{deployed.function('measure')}-event", Ids=["1"])
    events.delete_rule(Name=f"{deployed.function('measure')}-event")
    boto3.client("lambda").delete_function(FunctionName=deployed.function("classify"))
    done = run_well("down", "--yes", "--chalice", chalice)
    assert "Here, what it left is removed by name." in done.output
    assert everything() == {}


def test_what_is_left_of_a_stack_that_somebody_deleted_goes(account: dict[str, str], chalice: Path) -> None:
    boto3.client("s3").create_bucket(Bucket=NAMES.inbox_bucket)
    boto3.client("s3").put_object(Bucket=NAMES.inbox_bucket, Key="a.png", Body=b"1")
    boto3.client("dynamodb").create_table(
        TableName=NAMES.records_table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    boto3.client("logs").create_log_group(logGroupName="/aws/vendedlogs/states/scones-unlimited-dev")
    done = run_well("down", "--yes", "--delete-content", "--chalice", chalice)
    assert f"Removed the bucket {NAMES.inbox_bucket}." in done.output
    assert everything() == {}


def test_a_plan_that_was_never_made_goes(account: dict[str, str], chalice: Path, template: Path) -> None:
    assert stack.plan(NAMES, {"Stage": "dev"}, print)
    run_well("down", "--yes", "--chalice", chalice)
    assert everything() == {}


def test_what_belongs_to_others_stays(made: Names, chalice: Path) -> None:
    boto3.client("s3").create_bucket(Bucket="scones-unlimited-prod-inbox-123456789012")
    boto3.client("logs").create_log_group(logGroupName="/aws/lambda/scones-unlimited-dev2-serialize")
    boto3.client("logs").create_log_group(logGroupName="/aws/lambda/scones-unlimited-dev-mine")
    run_well("down", "--yes", "--chalice", chalice)
    assert everything() == {
        "list_buckets": ["scones-unlimited-prod-inbox-123456789012"],
        "describe_log_groups": [
            "/aws/lambda/scones-unlimited-dev-mine",
            "/aws/lambda/scones-unlimited-dev2-serialize",
        ],
    }


@pytest.mark.parametrize("answer", ["n\n", None])
def test_no_is_an_answer_and_everything_stays(made: Names, chalice: Path, answer: str | None) -> None:
    before = everything()
    done = run("down", "--chalice", chalice, answer=answer)
    assert done.exit_code == 1
    assert "othing was done" in done.output
    assert everything() == before


def test_an_endpoint_is_told_of_and_left(made: Names, chalice: Path) -> None:
    sagemaker = boto3.client("sagemaker")
    boto3.client("s3").create_bucket(Bucket="models")
    boto3.client("s3").put_object(Bucket="models", Key="x", Body=b"x")
    role = "arn:aws:iam::123456789012:role/x"
    image = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1", "ModelDataUrl": "s3://models/x"}
    sagemaker.create_model(ModelName="m", PrimaryContainer=image, ExecutionRoleArn=role)
    variant: Any = {"VariantName": "a", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="scones-unlimited-dev", EndpointConfigName="c")
    done = run_well("down", "--yes", "--json", "--chalice", chalice)
    assert "python -m training teardown --stage dev" in done.stderr
    assert json.loads(done.stdout)["endpoint"] == "scones-unlimited-dev"
    assert sagemaker.describe_endpoint(EndpointName="scones-unlimited-dev")


def test_what_was_removed_is_told_to_machines(made: Names, chalice: Path) -> None:
    removed = json.loads(run_well("down", "--yes", "--json", "--chalice", chalice).stdout)["removed"]
    assert {"kind": "stack", "name": "scones-unlimited-dev"} in removed
    assert {"kind": "bucket", "name": NAMES.inbox_bucket} in removed


def test_more_than_a_page_of_objects_is_counted_and_deleted_and_counting_ends_somewhere(
    made: Names, chalice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = boto3.client("s3")
    for number in range(1005):
        s3.put_object(Bucket=NAMES.training_bucket, Key=str(number), Body=b"")
    assert [str(one) for one in content.find(NAMES) if one.count] == ["1,005 versions"]
    monkeypatch.setattr(content, "ENOUGH", 100)
    assert [str(one) for one in content.find(NAMES) if one.count] == ["more than 100 versions"]
    run_well("down", "--yes", "--delete-content", "--chalice", chalice)
    assert everything() == {}
