import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from infrastructure import template as rendering
from local import ROOT
from tests.infrastructure.commands import run, run_well

NAME = "scones-unlimited-dev"
INBOX = "scones-unlimited-dev-inbox-123456789012"


EXTRA = """\
  Extra:
    Type: AWS::SQS::Queue
    Properties: {QueueName: extra}
"""


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template, to be changed."""
    path = tmp_path / "infrastructure" / rendering.TEMPLATE.name
    path.parent.mkdir()
    shutil.copy(rendering.TEMPLATE, path)
    shutil.copy(ROOT / "statemachine.json", tmp_path)
    monkeypatch.setattr(rendering, "TEMPLATE", path)
    return path


def add(template: Path, text: str) -> None:
    template.write_text(template.read_text().replace("\nResources:\n", f"\nResources:\n{text}"))


def there() -> str | None:
    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
    except boto3.client("cloudformation").exceptions.ClientError:
        return None
    return str(found[0]["StackStatus"])


def test_the_first_time_everything_is_shown_made_and_written_down(account: dict[str, str], chalice: Path) -> None:
    variables = rewrite(chalice, INBOX_BUCKET="my-pictures", RECORDS_TABLE="my-records")
    done = run_well("up", "--yes", "--chalice", chalice)
    assert done.output.index("What changes in scones-unlimited-dev") < done.output.index("CREATE_COMPLETE")
    assert f"{NAME} is there." in done.output
    assert f"config.json: INBOX_BUCKET is {INBOX}" in done.output
    assert there() == "CREATE_COMPLETE"
    assert boto3.client("s3").head_bucket(Bucket=INBOX)
    written = read(chalice)["stages"]
    assert written["dev"]["environment_variables"] == {
        **variables,
        "INBOX_BUCKET": INBOX,
        "RECORDS_TABLE": "scones-unlimited-dev-records",
    }
    assert written["prod"] == json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]["prod"]


def test_how_long_pictures_stay_is_said_once_and_kept(account: dict[str, str], chalice: Path) -> None:
    def days() -> str:
        (stack,) = boto3.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
        return str(next(one["ParameterValue"] for one in stack["Parameters"] if one["ParameterKey"] == "PictureDays"))

    run_well("up", "--yes", "--chalice", chalice)
    assert days() == "365"
    run_well("up", "--yes", "--picture-days", "30", "--chalice", chalice)
    assert days() == "30"
    run_well("up", "--yes", "--alarm-email", "a@example.com", "--chalice", chalice)
    assert days() == "30"
    assert run("up", "--picture-days", "3", "--chalice", chalice).exit_code == 2


def test_the_second_time_nothing_is_done_and_nobody_is_asked(account: dict[str, str], chalice: Path) -> None:
    first = run_well("up", "--yes", "--json", "--chalice", chalice)
    again = run_well("up", "--chalice", chalice)
    assert "nothing is to be changed" in again.output
    assert json.loads(first.stdout)["outcome"] == "created"
    done = json.loads(run_well("up", "--json", "--chalice", chalice).stdout)
    assert (done["outcome"], done["changes"], done["written"]) == ("unchanged", [], [])


def test_a_change_is_applied_and_told(account: dict[str, str], chalice: Path, whole: Path) -> None:
    run_well("up", "--yes", "--chalice", chalice)
    add(whole, EXTRA)
    done = json.loads(run_well("up", "--yes", "--json", "--chalice", chalice).stdout)
    assert done["outcome"] == "updated"
    assert done["changes"] == [{"action": "Add", "resource": "Extra", "type": "AWS::SQS::Queue", "replacement": ""}]
    assert boto3.client("sqs").get_queue_url(QueueName="extra")


def test_the_endpoint_that_is_watched_is_that_of_the_stage_unless_told_otherwise(
    account: dict[str, str], chalice: Path
) -> None:
    rewrite(chalice, ENDPOINT_NAME="of-the-stage")
    run_well("up", "--yes", "--chalice", chalice)
    assert parameters()["EndpointName"] == "of-the-stage"
    run_well("up", "--yes", "--endpoint-name", "another", "--chalice", chalice)
    assert parameters()["EndpointName"] == "another"
    assert read(chalice)["stages"]["dev"]["environment_variables"]["ENDPOINT_NAME"] == "of-the-stage"


def test_who_is_told_of_alarms_stays_until_another_is_named(account: dict[str, str], chalice: Path) -> None:
    run_well("up", "--yes", "--alarm-email", "a@example.com", "--chalice", chalice)
    run_well("up", "--yes", "--endpoint-name", "another", "--chalice", chalice)
    assert parameters()["AlarmEmail"] == "a@example.com"


@pytest.mark.parametrize("answer", ["n\n", None])
def test_no_is_an_answer_and_nothing_is_left_of_the_plan(
    account: dict[str, str], chalice: Path, answer: str | None
) -> None:
    done = run("up", "--chalice", chalice, answer=answer)
    assert done.exit_code == 1
    assert "othing was done" in done.output
    assert there() is None


def test_yes_is_an_answer(account: dict[str, str], chalice: Path) -> None:
    assert run("up", "--chalice", chalice, answer="y\n").exit_code == 0
    assert there() == "CREATE_COMPLETE"


def test_content_is_not_given_up_by_yes_alone(account: dict[str, str], chalice: Path, whole: Path) -> None:
    without = whole.read_text()
    add(whole, EXTRA)
    run_well("up", "--yes", "--chalice", chalice)
    whole.write_text(without)
    done = run("up", "--yes", "--chalice", chalice)
    assert done.exit_code == 1
    assert "removes or replaces Extra, with what is in it" in done.output
    assert boto3.client("sqs").get_queue_url(QueueName="extra")
    run_well("up", "--yes", "--delete-content", "--chalice", chalice)
    assert not boto3.client("sqs").list_queues(QueueNamePrefix="extra").get("QueueUrls")


def test_a_template_that_is_wrong_is_told_and_writes_nothing(
    account: dict[str, str], chalice: Path, whole: Path
) -> None:
    rewrite(chalice, INBOX_BUCKET="my-pictures")
    add(whole, EXTRA.replace("extra", "!GetAtt Nothing.Arn"))
    done = run("up", "--yes", "--chalice", chalice)
    assert done.exit_code == 1
    assert "Nothing" in done.output
    assert read(chalice)["stages"]["dev"]["environment_variables"]["INBOX_BUCKET"] == "my-pictures"


def test_a_stage_that_is_not_there_is_told_before_aws_is_asked(chalice: Path) -> None:
    for command in ("up", "deploy", "down", "status", "reconcile"):
        done = run(command, "--stage", "test", "--chalice", chalice)
        assert done.exit_code == 2, done.output
        assert "has no stage test; it has: dev, prod." in done.output


@pytest.mark.parametrize("command", ["up", "down", "status", "reconcile"])
@pytest.mark.parametrize("missing", ["credentials", "region"])
def test_without_credentials_or_region_every_command_says_what_to_do(chalice: Path, command: str, missing: str) -> None:
    before = sorted(path.name for path in chalice.iterdir())
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_") or name.endswith("_FILE")
    }
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "PYTHONPATH": str(ROOT)}
    environment |= {"AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    if missing == "region":
        environment |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    else:
        environment |= {"AWS_DEFAULT_REGION": "us-east-1"}
    command_line = [sys.executable, "-m", "infrastructure", command, "--chalice", str(chalice)]
    done = subprocess.run(  # noqa: S603 - this Python, our own command
        command_line, cwd=chalice.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert {"credentials": "There are no AWS credentials", "region": "There is no AWS region"}[missing] in done.stderr
    assert sorted(path.name for path in chalice.iterdir()) == before


@pytest.mark.parametrize("command", ["up", "deploy", "down", "status", "reconcile"])
def test_help_explains_all_options(command: str) -> None:
    done = run_well(command, "--help")
    for option in ("--stage", "--chalice", "--json"):
        assert option in done.output


def test_people_cannot_sign_in_to_a_page_that_is_not_there_yet(account: dict[str, str], chalice: Path) -> None:
    done = run("up", "--yes", "--sign-in", "--chalice", chalice)
    assert done.exit_code == 2
    assert f"{NAME} has no REST API yet. Run `python -m infrastructure deploy --stage dev` first." in done.output
    assert there() is None


def test_people_sign_in_from_then_on_until_it_is_said_otherwise(account: dict[str, str], chalice: Path) -> None:
    content: dict[str, Any] = read(chalice)
    content["stages"]["dev"]["api_gateway_custom_domain"] = {"domain_name": "pictures.example.org"}
    (chalice / "config.json").write_text(json.dumps(content))
    run_well("up", "--yes", "--sign-in", "--chalice", chalice)
    (pool,) = boto3.client("cognito-idp").list_user_pools(MaxResults=10)["UserPools"]
    assert parameters()["PageUrl"] == "https://pictures.example.org/"
    run_well("up", "--yes", "--alarm-email", "a@example.com", "--chalice", chalice)
    assert parameters()["PageUrl"] == "https://pictures.example.org/"
    variables = read(chalice)["stages"]["dev"]["environment_variables"]
    assert variables["USER_POOL_ARN"].endswith(pool["Id"])
    done = run("up", "--yes", "--no-sign-in", "--chalice", chalice)
    assert done.exit_code == 1
    assert "This change removes or replaces UserPool, with what is in it." in done.output
    run_well("up", "--yes", "--no-sign-in", "--delete-content", "--chalice", chalice)
    assert (parameters()["SignIn"], parameters()["PageUrl"]) == ("no", "")
    assert boto3.client("cognito-idp").list_user_pools(MaxResults=10)["UserPools"] == []
    assert not [one for one in read(chalice)["stages"]["dev"]["environment_variables"] if one.startswith("USER_POOL")]


def test_the_page_may_send_pictures_where_people_sign_in_at_a_pool_of_your_own(
    account: dict[str, str], chalice: Path
) -> None:
    own = {"USER_POOL_ARN": "arn", "USER_POOL_CLIENT_ID": "client", "USER_POOL_DOMAIN": "https://login.example.org"}
    rewrite(chalice, **own)
    run_well("up", "--yes", "--chalice", chalice)
    assert parameters()["PageUrl"] == "", "nothing is deployed yet"
    content: dict[str, Any] = read(chalice)
    content["stages"]["dev"]["api_gateway_custom_domain"] = {"domain_name": "pictures.example.org"}
    (chalice / "config.json").write_text(json.dumps(content))
    run_well("up", "--yes", "--chalice", chalice)
    (rule,) = boto3.client("s3").get_bucket_cors(Bucket=INBOX)["CORSRules"]
    assert "https://pictures.example.org" in rule["AllowedOrigins"]
    assert boto3.client("cognito-idp").list_user_pools(MaxResults=10)["UserPools"] == []
    assert own.items() <= read(chalice)["stages"]["dev"]["environment_variables"].items()


def read(chalice: Path) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    content: dict[str, dict[str, dict[str, dict[str, str]]]] = json.loads((chalice / "config.json").read_text())
    return content


def rewrite(chalice: Path, **variables: str) -> dict[str, str]:
    content = read(chalice)
    told = content["stages"]["dev"]["environment_variables"]
    told |= variables
    (chalice / "config.json").write_text(json.dumps(content))
    return told


def parameters() -> dict[str, str]:
    found = boto3.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]["Parameters"]
    return {one["ParameterKey"]: one["ParameterValue"] for one in found}
