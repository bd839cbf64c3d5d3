import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from chalicelib import metrics
from chalicelib.decision import Reason
from infrastructure import stack as stacks
from infrastructure import template
from infrastructure.checks.common import found
from infrastructure.checks.workflow import tasks
from infrastructure.names import INBOX_PREFIX, INDEX, REST, SURENESS_INDEX, Names
from local import ROOT
from local.resources import TRAINING_PREFIX
from local.stack import Stack
from tests.infrastructure.cloudformation import (
    NAMES,
    PARAMETERS,
    grants,
    named,
    of_type,
    outputs,
    resources,
    source,
    statements,
)
from tests.infrastructure.inventory import everything
from training import deploy

Json = dict[str, Any]

FUNCTIONS = sorted(json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]["dev"]["lambda_functions"])

EVERYWHERE = {
    "cloudwatch:PutMetricData": "has no resources; held to SageMaker's namespaces by a condition",
    "ecr:GetAuthorizationToken": "signs in to a registry, not to one of its repositories",
    "logs:CreateLogDelivery": "log deliveries have no ARN",
    "logs:DeleteLogDelivery": "log deliveries have no ARN",
    "logs:DescribeLogGroups": "lists all groups",
    "logs:DescribeResourcePolicies": "lists the policies of the whole account",
    "logs:GetLogDelivery": "log deliveries have no ARN",
    "logs:ListLogDeliveries": "lists all deliveries",
    "logs:PutResourcePolicy": "is about the policies of the whole account",
    "logs:UpdateLogDelivery": "log deliveries have no ARN",
    "xray:GetSamplingRules": "is about the whole account",
    "xray:GetSamplingTargets": "is about the whole account",
    "xray:PutTelemetryRecords": "X-Ray has no ARN for what is sent to it",
    "xray:PutTraceSegments": "X-Ray has no ARN for what is sent to it",
}
"""What AWS lets nobody restrict to a resource, and why."""

RAISES_ON_PURPOSE = {
    "serialize": "for pictures that are broken: the workflow's log tells of the endings that are our fault",
    "classify": "for an endpoint that is busy, and is tried again: the same",
    "filter": "for pictures that are held back: the same",
}
"""Functions whose metric Errors tells nothing."""

ENDS_ON_PURPOSE = {
    "InvalidImage": "the picture's fault",
    "InvalidInput": "the fault of whoever started the execution by hand",
    "ThresholdConfidenceNotMet": "a person decides",
}
"""States that an execution fails in without anybody's having to do something about the system."""

ALARMS = named("AWS::CloudWatch::Alarm")
BUCKETS = of_type("AWS::S3::Bucket")
ROLES = named("AWS::IAM::Role")


def named_one(kind: str) -> Json:
    """The properties of the one resource of a type."""
    (found,) = of_type(kind).values()
    return found


def found_by_cfn_lint(text: str) -> list[str]:
    """What cfn-lint finds, warnings and hints included."""
    return [f"{one.rule.id}: {one.message}" for one in lint(text, config=ManualArgs(include_checks=["I"]))]


def watched(alarm: Json) -> Iterator[Json]:
    """The metrics of an alarm, each with its period and its dimensions as pairs."""
    found = [one["MetricStat"] for one in alarm.get("Metrics", []) if "MetricStat" in one]
    for one in found or [{"Metric": alarm, "Period": alarm["Period"]}]:
        metric = one["Metric"]
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions", [])}
        yield {
            "Namespace": metric["Namespace"],
            "MetricName": metric["MetricName"],
            "Period": one["Period"],
            "Dimensions": dimensions,
        }


def fail_states() -> set[str]:
    states = json.loads((ROOT / "statemachine.json").read_text())["States"]
    return {name for name, state in states.items() if state["Type"] == "Fail"}


def logged_by(function: str) -> set[str]:
    """The messages that a function of app.py, by its name in Python, gives to its logger."""
    (found,) = [
        node
        for node in ast.walk(ast.parse((ROOT / "app.py").read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    return {
        argument.value
        for call in ast.walk(found)
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("logger.")
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


# ---- The text


def test_cfn_lint_has_nothing_to_say() -> None:
    assert found_by_cfn_lint(template.render()) == []


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("BillingMode: PAY_PER_REQUEST", "BillingMode: PAY_PER_DAY", "E3030"),
        ("!GetAtt WorkflowRole.Arn", "!GetAtt WorkflowRole.ARN", "E1010"),
        ("arn:${AWS::Partition}:ecr", "arn:aws:ecr", "I3042"),
        ("Parameters:\n", "Parameters:\n  Unused: {Type: String}\n", "W2001"),
    ],
)
def test_cfn_lint_would_say_something(right: str, wrong: str, rule: str) -> None:
    text = template.render()
    assert right in text
    assert any(one.startswith(rule) for one in found_by_cfn_lint(text.replace(right, wrong)))


def test_all_parameters_but_the_stages_own_have_a_default() -> None:
    parameters = source()["Parameters"]
    assert {name for name, one in parameters.items() if "Default" not in one} == {"Stage", "EndpointName"}
    assert all(one["Description"] for one in parameters.values())


@pytest.mark.parametrize(("stage", "fits"), [("dev", True), ("a" * 20, True), ("a" * 21, False), ("Prod", False)])
def test_a_stage_is_taken_whose_names_aws_takes(stage: str, fits: bool) -> None:  # noqa: FBT001
    names = Names(stage, NAMES.account, NAMES.region)
    assert bool(re.fullmatch(source()["Parameters"]["Stage"]["AllowedPattern"], stage)) is fits
    if fits:
        assert len(names.training_bucket) <= 63
        assert max(len(names.function(name)) for name in FUNCTIONS) <= 64


@pytest.mark.parametrize(
    ("email", "fits"), [("", True), ("a.b+c@example.org", True), ("nobody", False), ("a b@c", False)]
)
def test_an_email_address_is_taken_or_none(email: str, fits: bool) -> None:  # noqa: FBT001
    assert bool(re.fullmatch(source()["Parameters"]["AlarmEmail"]["AllowedPattern"], email)) is fits


# ---- Names


def test_everything_is_called_as_names_py_says() -> None:
    assert set(named("AWS::Cognito::UserPool")) == {NAMES.user_pool}
    assert set(named("AWS::S3::Bucket")) == {NAMES.inbox_bucket, NAMES.training_bucket}
    assert set(named("AWS::DynamoDB::Table")) == {NAMES.records_table}
    assert set(named("AWS::StepFunctions::StateMachine")) == {NAMES.prefix, NAMES.backfill}
    assert set(ROLES) == {NAMES.workflow_role, NAMES.backfill, NAMES.training_role}
    assert set(named("AWS::SNS::Topic")) == {NAMES.alarms_topic, NAMES.held_back_topic}
    assert set(named("AWS::SQS::Queue")) == {NAMES.lost_events}
    assert set(named("AWS::CloudWatch::Dashboard")) == {NAMES.prefix}


def test_the_outputs_tell_what_others_have_to_know() -> None:
    found = dict(outputs())
    assert {name: found.pop(name) for name in list(found) if name.startswith("UserPool")} == {
        "UserPoolId": NAMES.user_pool,
        "UserPoolArn": NAMES.arn("cognito-idp", f"userpool/{NAMES.user_pool}"),
        "UserPoolClientId": "page",
        "UserPoolDomain": NAMES.sign_in,
    }
    assert found.pop("DashboardUrl").endswith(f"#dashboards:name={NAMES.prefix}")
    assert found == {
        "InboxBucket": NAMES.inbox_bucket,
        "TrainingBucket": NAMES.training_bucket,
        "TrainingRoleArn": f"arn:aws:iam::{NAMES.account}:role/{NAMES.training_role}",
        "RecordsTable": NAMES.records_table,
        "StateMachineArn": NAMES.state_machine_arn,
        "BackfillMachineArn": NAMES.arn("states", f"stateMachine:{NAMES.backfill}"),
        "AlarmsTopicArn": NAMES.arn("sns", NAMES.alarms_topic),
        "HeldBackTopicArn": NAMES.arn("sns", NAMES.held_back_topic),
        "LostEventsUrl": NAMES.lost_events,
        "LostEventsArn": NAMES.lost_events_arn,
    }


def test_every_function_and_every_machine_has_a_log_that_is_not_kept_forever() -> None:
    machines = {f"/aws/vendedlogs/states/{name}" for name in (NAMES.prefix, NAMES.backfill)}
    found = named("AWS::Logs::LogGroup")
    assert set(found) == {NAMES.function_log_group(name) for name in FUNCTIONS} | machines
    assert {one["RetentionInDays"] for one in found.values()} == {30}


# ---- Buckets, table, topics, queue


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_is_versioned_encrypted_and_nobodys_but_the_accounts(name: str) -> None:
    bucket = BUCKETS[name]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert list(bucket["PublicAccessBlockConfiguration"].values()) == [True] * 4
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


@pytest.mark.parametrize(
    ("kind", "about", "action", "resources_of"),
    [
        ("AWS::S3::BucketPolicy", "Bucket", "s3:*", ("arn:aws:s3:::{}", "arn:aws:s3:::{}/*")),
        ("AWS::SNS::TopicPolicy", "Topics", "sns:Publish", ("arn:aws:sns:us-east-1:123456789012:{}",)),
        ("AWS::SQS::QueuePolicy", "Queues", "sqs:*", ("arn:aws:sqs:us-east-1:123456789012:{}",)),
    ],
)
def test_nobody_is_heard_without_tls(kind: str, about: str, action: str, resources_of: tuple[str, ...]) -> None:
    for properties in of_type(kind).values():
        (denied,) = [one for one in statements(properties["PolicyDocument"]) if one["Effect"] == "Deny"]
        assert (denied["Principal"], denied["Action"]) == ("*", [action])
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": False}}
        (name,) = [properties[about]] if isinstance(properties[about], str) else properties[about]
        assert denied["Resource"] == [one.format(name.rpartition(":")[2]) for one in resources_of]


def test_every_bucket_topic_and_queue_has_such_a_policy() -> None:
    buckets = {one["Bucket"] for one in of_type("AWS::S3::BucketPolicy").values()}
    topics = {arn.rpartition(":")[2] for one in of_type("AWS::SNS::TopicPolicy").values() for arn in one["Topics"]}
    queues = {name for one in of_type("AWS::SQS::QueuePolicy").values() for name in one["Queues"]}
    assert buckets == set(named("AWS::S3::Bucket"))
    assert topics == set(named("AWS::SNS::Topic"))
    assert queues == set(named("AWS::SQS::Queue"))


def test_cloudwatch_may_tell_of_this_stages_alarms_and_the_key_of_aws_does_not_keep_it_from_that() -> None:
    (told,) = {one["AlarmActions"][0] for one in ALARMS.values()}
    (policy,) = [one["PolicyDocument"] for one in of_type("AWS::SNS::TopicPolicy").values() if one["Topics"] == [told]]
    (allowed,) = [one for one in statements(policy) if one["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Resource"] == [told]
    assert allowed["Condition"] == {
        "StringEquals": {"aws:SourceAccount": NAMES.account},
        "ArnLike": {"aws:SourceArn": NAMES.arn("cloudwatch", f"alarm:{NAMES.prefix}-*")},
    }
    assert "KmsMasterKeyId" not in named("AWS::SNS::Topic")[NAMES.alarms_topic]
    assert told == NAMES.arn("sns", NAMES.alarms_topic)


def test_somebody_is_told_of_alarms_if_an_address_is_given() -> None:
    (mail,) = of_type("AWS::SNS::Subscription").values()
    assert mail == {
        "TopicArn": NAMES.arn("sns", NAMES.alarms_topic),
        "Protocol": "email",
        "Endpoint": PARAMETERS["AlarmEmail"],
    }
    assert source()["Resources"]["AlarmsMail"]["Condition"] == "TellsSomebody"
    assert source()["Conditions"]["TellsSomebody"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]}]}


def test_lost_events_are_encrypted_and_kept_for_as_long_as_aws_keeps_them() -> None:
    queue = named("AWS::SQS::Queue")[NAMES.lost_events]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 86400


def test_the_table_can_be_brought_back_and_is_not_deleted_by_the_way() -> None:
    table = named("AWS::DynamoDB::Table")[NAMES.records_table]
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True


def test_what_has_content_outlives_being_replaced() -> None:
    for name, one in resources().items():
        if one["Type"] in stacks.STATEFUL:
            assert (one["DeletionPolicy"], one["UpdateReplacePolicy"]) == ("Delete", "Retain"), name


def rules(bucket: str) -> Iterator[Json]:
    yield from named("AWS::S3::Bucket")[bucket]["LifecycleConfiguration"]["Rules"]


@pytest.mark.parametrize(
    ("bucket", "prefix", "days"),
    [(NAMES.inbox_bucket, INBOX_PREFIX, 365), (NAMES.training_bucket, f"{TRAINING_PREFIX}/capture/", 90)],
)
def test_a_bucket_does_not_grow_forever(bucket: str, prefix: str, days: int) -> None:
    expiring, remains = rules(bucket)
    assert {one["Status"] for one in rules(bucket)} == {"Enabled"}
    assert (expiring["Prefix"], expiring["ExpirationInDays"]) == (prefix, days)
    assert remains.keys().isdisjoint({"Prefix", "ExpirationInDays"})
    assert remains["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert remains["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert remains["ExpiredObjectDeleteMarker"] is True


# ---- The page


ORIGINS_HERE = ["http://127.0.0.1:*", "http://localhost:*"]
"""Where this machine serves the page, at whatever port."""

POOL = named_one("AWS::Cognito::UserPool")
CLIENT = named_one("AWS::Cognito::UserPoolClient")


def test_a_browser_may_post_pictures_from_the_page_and_from_nowhere_else() -> None:
    """An origin may have one star: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html"""
    (rule,) = named("AWS::S3::Bucket")[NAMES.inbox_bucket]["CorsConfiguration"]["CorsRules"]
    assert rule == {
        "AllowedMethods": ["POST"],
        "AllowedOrigins": [*ORIGINS_HERE, "https://page.example.org"],
        "MaxAge": 3600,
    }
    assert all(origin.count("*") <= 1 for origin in rule["AllowedOrigins"])
    assert "CorsConfiguration" not in named("AWS::S3::Bucket")[NAMES.training_bucket]


def test_people_are_invited_and_nobody_signs_up() -> None:
    assert POOL["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert POOL["UsernameAttributes"] == ["email"]
    assert (POOL["MfaConfiguration"], POOL["EnabledMfas"]) == ("OPTIONAL", ["SOFTWARE_TOKEN_MFA"])
    assert POOL["Policies"]["PasswordPolicy"]["MinimumLength"] == 12


def test_the_page_signs_in_by_a_code_without_a_secret_and_comes_back_to_itself_alone() -> None:
    assert CLIENT["GenerateSecret"] is False
    assert (CLIENT["AllowedOAuthFlowsUserPoolClient"], CLIENT["AllowedOAuthFlows"]) == (True, ["code"])
    assert CLIENT["CallbackURLs"] == CLIENT["LogoutURLs"] == [PARAMETERS["PageUrl"]]
    assert CLIENT["AllowedOAuthScopes"] == ["openid", "email"]
    assert CLIENT["PreventUserExistenceErrors"] == "ENABLED"


def test_who_signed_in_stays_so_for_a_working_day_and_a_token_for_an_hour() -> None:
    units = CLIENT["TokenValidityUnits"]
    assert {name: (CLIENT[f"{name}Validity"], units[name]) for name in units} == {
        "IdToken": (60, "minutes"),
        "AccessToken": (60, "minutes"),
        "RefreshToken": (12, "hours"),
    }


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("", True),
        ("https://a1.execute-api.us-east-1.amazonaws.com/api/", True),
        ("https://pictures.example.org/", True),
        ("https://pictures.example.org", False),
        ("http://pictures.example.org/", False),
        ("https://*/", False),
        ("https://pictures.example.org/api/?a", False),
    ],
)
def test_the_pages_address_is_a_whole_one_or_none(url: str, fits: bool) -> None:  # noqa: FBT001
    assert bool(re.fullmatch(source()["Parameters"]["PageUrl"]["AllowedPattern"], url)) is fits


def test_nothing_of_signing_in_is_made_unless_it_is_asked_for() -> None:
    conditional = {name for name, one in source()["Resources"].items() if one.get("Condition") == "SignsIn"}
    assert conditional == {name for name, one in source()["Resources"].items() if ":Cognito:" in one["Type"]}
    told = {name for name, one in source()["Outputs"].items() if one.get("Condition") == "SignsIn"}
    assert told == {name for name in source()["Outputs"] if name.startswith("UserPool")}
    has_page = {"Fn::Not": [{"Fn::Equals": [{"Ref": "PageUrl"}, ""]}]}
    assert source()["Conditions"]["SignsIn"] == {"Fn::And": [{"Fn::Equals": [{"Ref": "SignIn"}, "yes"]}, has_page]}
    assert source()["Parameters"]["SignIn"]["Default"] == "no"


# ---- Nothing runs in circles


def test_the_trigger_is_left_to_chalice() -> None:
    assert all("NotificationConfiguration" not in bucket for bucket in BUCKETS.values())


@pytest.mark.parametrize("role", ROLES)
def test_nobody_here_writes_into_the_inbox(role: str) -> None:
    for action, resource in grants(role):
        if action.startswith("s3:"):
            assert resource.startswith(f"arn:aws:s3:::{NAMES.training_bucket}"), action


def test_captured_pictures_and_results_go_to_folders_that_nothing_watches() -> None:
    written = {
        resource.removeprefix(f"arn:aws:s3:::{NAMES.training_bucket}/")
        for role in ROLES
        for action, resource in grants(role)
        if action == "s3:PutObject"
    }
    assert {"training/capture/*", "backfill/*"} <= written
    assert not any(folder.startswith(INBOX_PREFIX) for folder in written)


# ---- Who may do what


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_nothing_by_a_star(role: str) -> None:
    for action, resource in grants(role):
        assert "*" not in action
        assert resource != "*" or action in EVERYWHERE, action


def test_every_exception_is_needed() -> None:
    used = {action for role in ROLES for action, resource in grants(role) if resource == "*"}
    assert used == set(EVERYWHERE)


@pytest.mark.parametrize(
    ("role", "machine", "more"),
    [
        (NAMES.workflow_role, NAMES.prefix, set()),
        (
            NAMES.backfill,
            NAMES.backfill,
            {
                ("states:StartExecution", NAMES.arn("states", f"stateMachine:{NAMES.backfill}")),
                ("states:DescribeExecution", NAMES.arn("states", f"execution:{NAMES.backfill}:*")),
                ("states:StopExecution", NAMES.arn("states", f"execution:{NAMES.backfill}:*")),
                *(
                    (f"s3:{action}", f"arn:aws:s3:::{NAMES.training_bucket}/backfill/*")
                    for action in ("AbortMultipartUpload", "GetObject", "ListMultipartUploadParts", "PutObject")
                ),
            },
        ),
    ],
)
def test_a_workflow_may_do_what_its_states_do_and_nothing_else(
    role: str, machine: str, more: set[tuple[str, str]]
) -> None:
    """The rest is what AWS's page on distributed maps lists."""
    properties = named("AWS::StepFunctions::StateMachine")[machine]
    text = properties["DefinitionString"]
    for placeholder, value in properties["DefinitionSubstitutions"].items():
        text = text.replace(f"${{{placeholder}}}", value)
    needed = set()
    for called, given in tasks(json.loads(text)):
        service, action = called.split(":")
        if service == "lambda":
            needed.add(("lambda:InvokeFunction", given["FunctionName"]))
        elif service == "dynamodb":
            needed.add(
                (f"dynamodb:{action[0].upper()}{action[1:]}", NAMES.arn("dynamodb", f"table/{given['TableName']}"))
            )
        else:
            needed.add(("sns:Publish", given["TopicArn"]))
    has = {(action, resource) for action, resource in grants(role) if not action.startswith(("logs:", "xray:"))}
    assert has == needed | more
    assert properties["RoleArn"] == f"arn:aws:iam::{NAMES.account}:role/{role}"


@pytest.mark.parametrize("machine", [NAMES.prefix, NAMES.backfill])
def test_a_definition_has_all_its_placeholders_filled_in_and_no_other_given(machine: str) -> None:
    properties = named("AWS::StepFunctions::StateMachine")[machine]
    used = set(re.findall(r"\$\{(\w+)\}", properties["DefinitionString"]))
    assert used == set(properties["DefinitionSubstitutions"])


def test_a_workflow_calls_the_functions_by_the_names_that_chalice_gives_them() -> None:
    functions = {NAMES.function_arn(name) for name in FUNCTIONS}
    for machine in named("AWS::StepFunctions::StateMachine").values():
        called = {value for value in machine["DefinitionSubstitutions"].values() if ":lambda:" in value}
        assert called <= functions


@pytest.mark.parametrize("role", [NAMES.workflow_role, NAMES.backfill])
def test_only_step_functions_of_this_account_works_as_a_workflows_role(role: str) -> None:
    (trust,) = ROLES[role]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "states.amazonaws.com"}
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": NAMES.account},
        "ArnLike": {"aws:SourceArn": NAMES.arn("states", "*")},
    }


def test_sagemakers_role_is_the_one_that_training_shows() -> None:
    trust, policy = ((ROOT / "training" / f"role-{kind}.json").read_text() for kind in ("trust", "policy"))
    policy = policy.replace("BUCKET", NAMES.training_bucket).replace("PREFIX", TRAINING_PREFIX)
    role = ROLES[NAMES.training_role]
    assert role["AssumeRolePolicyDocument"] == json.loads(trust)
    assert [one["PolicyDocument"] for one in role["Policies"]] == [json.loads(policy)]


@pytest.mark.parametrize("machine", [NAMES.prefix, NAMES.backfill])
def test_a_workflow_logs_its_errors_and_no_picture(machine: str) -> None:
    logging = named("AWS::StepFunctions::StateMachine")[machine]["LoggingConfiguration"]
    (destination,) = logging.pop("Destinations")
    assert logging == {"Level": "ERROR", "IncludeExecutionData": False}
    group = NAMES.arn("logs", f"log-group:/aws/vendedlogs/states/{machine}:*")
    assert destination == {"CloudWatchLogsLogGroup": {"LogGroupArn": group}}


def test_the_workflow_is_traced_and_a_million_pictures_at_once_are_not() -> None:
    machines = named("AWS::StepFunctions::StateMachine")
    assert machines[NAMES.prefix]["TracingConfiguration"] == {"Enabled": True}
    assert "TracingConfiguration" not in machines[NAMES.backfill]


# ---- Alarms


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_to_do_and_tells_somebody_of_its_begin_and_end(name: str) -> None:
    alarm = ALARMS[name]
    assert name.startswith(f"{NAMES.prefix}-")
    assert re.fullmatch(r"[A-Z].{60,}\.", alarm["AlarmDescription"]), alarm["AlarmDescription"]
    assert alarm["AlarmActions"] == alarm["OKActions"] == [NAMES.arn("sns", NAMES.alarms_topic)]
    assert alarm["TreatMissingData"] == "notBreaching"
    assert {one["Period"] for one in watched(alarm)} == {300}
    assert alarm["EvaluationPeriods"] in (1, 2, 3)
    assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]


@pytest.mark.parametrize("name", [name for name, alarm in ALARMS.items() if "Metrics" in alarm])
def test_an_alarm_on_several_metrics_rings_for_their_sum(name: str) -> None:
    total, *parts = ALARMS[name]["Metrics"]
    assert total["Expression"] == "SUM(METRICS())"
    assert {part["ReturnData"] for part in parts} == {False}
    assert len({part["Id"] for part in parts}) == len(parts) <= 9


def test_no_alarm_takes_the_name_of_one_that_training_makes() -> None:
    assert set(deploy.alarm_names(NAMES.stage)).isdisjoint(ALARMS)


def every_metric() -> list[Json]:
    return [one for alarm in ALARMS.values() for one in watched(alarm)]


def values(namespace: str, metric: str, dimension: str) -> set[str]:
    """The values of a dimension that some alarm watches a metric of."""
    return {
        one["Dimensions"][dimension]
        for one in every_metric()
        if (one["Namespace"], one["MetricName"]) == (namespace, metric)
    }


def test_every_function_is_watched_for_throttles_and_for_errors_unless_it_raises_on_purpose() -> None:
    functions = {NAMES.function(name) for name in FUNCTIONS}
    assert values("AWS/Lambda", "Throttles", "FunctionName") == functions
    on_purpose = {NAMES.function(name) for name in RAISES_ON_PURPOSE}
    assert values("AWS/Lambda", "Errors", "FunctionName") == functions - on_purpose


def test_every_way_in_which_an_execution_fails_is_watched_or_meant() -> None:
    assert values(NAMES.prefix, "Endings", "ending") == fail_states() - set(ENDS_ON_PURPOSE)
    assert set(ENDS_ON_PURPOSE) <= fail_states()
    for metric in ("ExecutionsTimedOut", "ExecutionsAborted"):
        assert NAMES.state_machine_arn in values("AWS/States", metric, "StateMachineArn")


def test_endings_are_counted_by_what_step_functions_logs_of_them() -> None:
    """The level and the shape of the log: https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html"""
    found = named("AWS::Logs::MetricFilter")["endings"]
    assert found["LogGroupName"] == f"/aws/vendedlogs/states/{NAMES.prefix}"
    assert found["FilterPattern"] == '{ $.type = "FailStateEntered" }'
    (made,) = found["MetricTransformations"]
    assert made == {
        "MetricNamespace": NAMES.prefix,
        "MetricName": "Endings",
        "MetricValue": "1",
        "Dimensions": [{"Key": "ending", "Value": "$.details.name"}],
    }


def test_pictures_that_are_held_back_are_counted_by_the_reason_that_filter_logs() -> None:
    found = named("AWS::Logs::MetricFilter")["held-back"]
    assert found["LogGroupName"] == NAMES.function_log_group("filter")
    assert found["FilterPattern"] == '{ $.message = "picture is held back" }'
    assert "picture is held back" in logged_by("filter_")
    (made,) = found["MetricTransformations"]
    assert made == {
        "MetricNamespace": NAMES.prefix,
        "MetricName": "HeldBack",
        "MetricValue": "1",
        "Dimensions": [{"Key": "reason", "Value": "$.reason_code"}],
    }


@pytest.mark.parametrize(
    ("filter_name", "function", "in_python"),
    [("unended", "on_stopped", "on_stopped"), ("requests-failed", REST, "route")],
)
def test_lines_are_counted_that_the_functions_log(filter_name: str, function: str, in_python: str) -> None:
    found = named("AWS::Logs::MetricFilter")[filter_name]
    assert found["LogGroupName"] == NAMES.function_log_group(function)
    message = re.fullmatch(r'\{ \$\.message = "(.+)" \}', found["FilterPattern"])
    assert message
    assert message[1] in logged_by(in_python)
    (made,) = found["MetricTransformations"]
    assert (made["MetricNamespace"], made["MetricName"]) in {
        (one["Namespace"], one["MetricName"]) for one in every_metric() if not one["Dimensions"]
    }


def test_the_oldest_picture_is_watched_under_the_name_that_measure_gives_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics.tell_oldest(NAMES.records_table, 5.0)
    told = json.loads(capsys.readouterr().out)
    (made,) = told["_aws"]["CloudWatchMetrics"]
    (watch,) = watched(ALARMS[f"{NAMES.prefix}-oldest-unfinished"])
    assert watch["Namespace"] == made["Namespace"]
    assert watch["MetricName"] == made["Metrics"][0]["Name"]
    assert watch["Dimensions"] == {name: told[name] for (name,) in made["Dimensions"]}
    assert made["Metrics"][0]["Unit"] == "Seconds"


@pytest.mark.parametrize(("name", "metric"), [("errors", "Invocation5XXErrors"), ("latency", "ModelLatency")])
def test_the_endpoint_is_watched_by_the_measure_that_rolls_its_updates_back(name: str, metric: str) -> None:
    (ours,) = watched(ALARMS[f"{NAMES.prefix}-endpoint-{name}"])
    (theirs,) = [one for one in deploy.alarm_requests(NAMES.stage) if one["MetricName"] == metric]
    assert ours["MetricName"] == metric
    assert ours["Dimensions"] == {"EndpointName": PARAMETERS["EndpointName"], "VariantName": deploy.VARIANT}
    assert ALARMS[f"{NAMES.prefix}-endpoint-{name}"]["Threshold"] == theirs["Threshold"]


def test_the_table_is_watched_with_its_indexes() -> None:
    watch = [one["Dimensions"] for one in watched(ALARMS[f"{NAMES.prefix}-table-throttled"])]
    own = {"TableName": NAMES.records_table}
    indexes = [own | {"GlobalSecondaryIndexName": name} for name in (INDEX, SURENESS_INDEX)]
    assert watch == [one for each in (own, *indexes) for one in (each, each)]


def test_lost_events_ring_at_the_first() -> None:
    alarm = ALARMS[f"{NAMES.prefix}-lost-events"]
    (watch,) = watched(alarm)
    assert watch["Dimensions"] == {"QueueName": NAMES.lost_events}
    assert (alarm["Statistic"], alarm["Threshold"], alarm["EvaluationPeriods"]) == ("Maximum", 0, 1)


# ---- The dashboard


def spelled_out(rows: list[list[Any]]) -> Iterator[list[str]]:
    """The metrics of a widget without CloudWatch's short forms: "..." for all that is as above, "." for one that is."""
    above: list[str] = []
    for row in rows:
        texts = [one for one in row if isinstance(one, str)]
        if texts[0] == "...":
            texts = [*above[: len(above) - len(texts) + 1], *texts[1:]]
        above = [above[at] if one == "." else one for at, one in enumerate(texts)]
        yield above


def widgets() -> list[Json]:
    found: list[Json] = json.loads(named("AWS::CloudWatch::Dashboard")[NAMES.prefix]["DashboardBody"])["widgets"]
    return found


def test_the_dashboard_shows_every_alarm() -> None:
    (shown,) = [one["properties"]["alarms"] for one in widgets() if one["type"] == "alarm"]
    assert shown == [NAMES.arn("cloudwatch", f"alarm:{name}") for name in ALARMS]


def test_the_dashboard_shows_every_function_and_every_ending_and_the_stages_own_things_alone() -> None:
    rows = [row for one in widgets() if one["type"] == "metric" for row in spelled_out(one["properties"]["metrics"])]
    shown = {(row[0], row[1], *row[3::2]) for row in rows}
    for name in FUNCTIONS:
        assert ("AWS/Lambda", "Errors", NAMES.function(name)) in shown
        assert ("AWS/Lambda", "Duration", NAMES.function(name)) in shown
    endings = {row[2] for row in shown if row[1] == "Endings"}
    assert endings == fail_states() - {"InvalidInput"}
    assert {row[2] for row in shown if row[1] == "HeldBack"} == set(Reason)
    known = {
        "AWS/DynamoDB": {NAMES.records_table},
        "AWS/Lambda": {NAMES.function(name) for name in FUNCTIONS},
        "AWS/SQS": {NAMES.lost_events},
        "AWS/SageMaker": {PARAMETERS["EndpointName"]},
        "AWS/States": {NAMES.state_machine_arn},
        metrics.NAMESPACE: {NAMES.records_table},
        NAMES.prefix: fail_states() | set(Reason),
    }
    assert all(row[2] in known[row[0]] for row in shown)


def test_the_widgets_of_the_dashboard_do_not_overlap() -> None:
    taken: list[tuple[int, int]] = []
    for one in widgets():
        columns, lines = range(one["x"], one["x"] + one["width"]), range(one["y"], one["y"] + one["height"])
        assert max(columns) < 24
        taken += [(x, y) for x in columns for y in lines]
    assert len(taken) == len(set(taken))


# ---- Made, changed and deleted


@pytest.fixture
def made(account: dict[str, str]) -> list[str]:
    """The stack of a stage, made by a change set; what was told meanwhile."""
    told: list[str] = []
    plan = stacks.plan(NAMES, PARAMETERS, told.append)
    assert plan
    assert {one.resource for one in plan.changes} == set(source()["Resources"])
    stacks.apply(plan, told.append)
    return told


def test_everything_is_made(made: list[str]) -> None:
    assert {one["LogicalResourceId"] for one in stacks.resources(NAMES)} == set(resources())
    there = stacks.outputs(NAMES)
    made_up = ("LostEventsUrl", "UserPoolId", "UserPoolArn", "UserPoolClientId")
    assert there == outputs() | {name: there[name] for name in made_up}


def test_a_picture_can_be_dropped_and_read_again(made: list[str]) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=NAMES.inbox_bucket, Key="inbox/a.png", Body=b"picture")
    assert s3.get_object(Bucket=NAMES.inbox_bucket, Key="inbox/a.png")["Body"].read() == b"picture"


def test_what_is_filled_in_here_is_what_the_embedded_cloudformation_fills_in(made: list[str]) -> None:
    iam, machines = boto3.client("iam"), boto3.client("stepfunctions")
    for name, role in ROLES.items():
        assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == role["AssumeRolePolicyDocument"]
        for policy in role["Policies"]:
            there = iam.get_role_policy(RoleName=name, PolicyName=policy["PolicyName"])["PolicyDocument"]
            assert there == policy["PolicyDocument"]
    body = boto3.client("cloudwatch").get_dashboard(DashboardName=NAMES.prefix)["DashboardBody"]
    assert json.loads(body)["widgets"] == widgets()
    definition = machines.describe_state_machine(stateMachineArn=NAMES.state_machine_arn)["definition"]
    assert "${" not in definition
    assert (
        json.loads(definition)["States"].keys() == json.loads((ROOT / "statemachine.json").read_text())["States"].keys()
    )


def test_alarms_and_filters_are_made_as_they_are_written(made: list[str]) -> None:
    there = {one["AlarmName"]: one for one in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]}
    assert there.keys() == ALARMS.keys()
    for name, alarm in ALARMS.items():
        plain = alarm.keys() - {"Metrics"}
        assert {key: there[name][key] for key in plain} == {key: alarm[key] for key in plain}
        assert list(watched(there[name])) == list(watched(alarm))
    filters = boto3.client("logs").describe_metric_filters()["metricFilters"]
    written = named("AWS::Logs::MetricFilter")
    assert {one["filterName"]: one["logGroupName"] for one in filters} == {
        name: one["LogGroupName"] for name, one in written.items()
    }


def test_buckets_topics_and_the_queue_are_made_as_they_are_written(made: list[str]) -> None:
    s3, sns, sqs = boto3.client("s3"), boto3.client("sns"), boto3.client("sqs")
    for name, bucket in named("AWS::S3::Bucket").items():
        block = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        assert block == bucket["PublicAccessBlockConfiguration"]
        assert s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"] == bucket["OwnershipControls"]
        assert s3.get_bucket_versioning(Bucket=name)["Status"] == bucket["VersioningConfiguration"]["Status"]
        cors = bucket.get("CorsConfiguration", {}).get("CorsRules", [])
        assert allowed_origins(s3, name) == [one["AllowedOrigins"] for one in cors]
        lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
        assert [one["ID"] for one in lifecycle] == [one["Id"] for one in bucket["LifecycleConfiguration"]["Rules"]]
    for one in of_type("AWS::S3::BucketPolicy").values():
        assert json.loads(s3.get_bucket_policy(Bucket=one["Bucket"])["Policy"]) == one["PolicyDocument"]
    for one in of_type("AWS::SNS::TopicPolicy").values():
        there = sns.get_topic_attributes(TopicArn=one["Topics"][0])["Attributes"]["Policy"]
        assert json.loads(there) == one["PolicyDocument"]
    (queue,) = of_type("AWS::SQS::QueuePolicy").values()
    address = sqs.get_queue_url(QueueName=queue["Queues"][0])["QueueUrl"]
    there = sqs.get_queue_attributes(QueueUrl=address, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert json.loads(there) == queue["PolicyDocument"]


def test_the_user_pool_is_made_as_it_is_written(made: list[str]) -> None:
    client, there = boto3.client("cognito-idp"), stacks.outputs(NAMES)
    pool = client.describe_user_pool(UserPoolId=there["UserPoolId"])["UserPool"]
    written = POOL
    assert pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] is True
    assert (pool["MfaConfiguration"], pool["UsernameAttributes"]) == ("OPTIONAL", ["email"])
    assert pool["Policies"] == written["Policies"]
    found = client.describe_user_pool_client(UserPoolId=there["UserPoolId"], ClientId=there["UserPoolClientId"])
    page = found["UserPoolClient"]
    assert "ClientSecret" not in page
    for key in CLIENT.keys() - {"UserPoolId", "GenerateSecret"}:
        assert page[key] == CLIENT[key], key
    domain = client.describe_user_pool_domain(Domain=named_one("AWS::Cognito::UserPoolDomain")["Domain"])
    assert domain["DomainDescription"]["UserPoolId"] == there["UserPoolId"]


def test_where_nobody_signs_in_there_is_no_user_pool_and_one_that_goes_is_content(made: list[str]) -> None:
    plan = stacks.plan(NAMES, PARAMETERS | {"SignIn": "no", "PageUrl": ""}, made.append)
    assert plan
    gone = {one.resource for one in plan.changes if one.action == "Remove"}
    assert gone == {"UserPool", "UserPoolDomain", "UserPoolClient"}
    assert [one.resource for one in plan.losses] == ["UserPool"]
    stacks.apply(plan, made.append)
    assert not [name for name in stacks.outputs(NAMES) if name.startswith("UserPool")]
    assert boto3.client("cognito-idp").list_user_pools(MaxResults=10)["UserPools"] == []
    (origins,) = allowed_origins(boto3.client("s3"), NAMES.inbox_bucket)
    assert origins == ORIGINS_HERE


def allowed_origins(client: Any, bucket: str) -> list[list[str]]:
    """From where a browser may write into a bucket, by rule."""
    answer = found(client.get_bucket_cors, Bucket=bucket) or {"CORSRules": []}
    return [one["AllowedOrigins"] for one in answer["CORSRules"]]


def test_a_second_time_changes_nothing(made: list[str]) -> None:
    plan = stacks.plan(NAMES, PARAMETERS, made.append)
    assert not (plan and plan.changes)


def test_nothing_is_left_of_it(made: list[str]) -> None:
    assert everything()
    stacks.unprotect(NAMES)
    assert stacks.delete(NAMES, made.append)
    assert everything() == {}


def described(client: Any) -> Json:
    """What there is to a table, apart from when and where it was made."""
    table = client.describe_table(TableName=NAMES.records_table)["Table"]
    indexes = sorted(table["GlobalSecondaryIndexes"], key=lambda one: str(one["IndexName"]))
    return {
        "keys": table["KeySchema"],
        "attributes": sorted(table["AttributeDefinitions"], key=lambda one: str(one["AttributeName"])),
        "billing": table["BillingModeSummary"]["BillingMode"],
        "indexes": [{key: index[key] for key in ("IndexName", "KeySchema", "Projection")} for index in indexes],
    }


def test_the_embedded_system_has_the_same_table_and_buckets(stack: Stack, made: list[str]) -> None:
    """`stack` is what `python -m local` makes by itself, in this process; `made` is the template, in another's AWS."""
    dynamodb, s3 = boto3.client("dynamodb", endpoint_url=stack.aws_url), boto3.client("s3", endpoint_url=stack.aws_url)
    assert described(boto3.client("dynamodb")) == described(dynamodb)
    for bucket, properties in named("AWS::S3::Bucket").items():
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == properties["VersioningConfiguration"]["Status"]
    assert {one["Name"] for one in boto3.client("s3").list_buckets()["Buckets"]} == set(named("AWS::S3::Bucket"))


def test_the_embedded_system_lets_the_page_of_this_machine_write_as_the_bucket_does(stack: Stack) -> None:
    there = allowed_origins(boto3.client("s3", endpoint_url=stack.aws_url), stack.settings.inbox_bucket)
    assert there == [ORIGINS_HERE]
