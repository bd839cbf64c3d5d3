"""One thing is broken at a time, and exactly that is told; mended, all is well again."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    DataNotFoundError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from click.testing import CliRunner, Result

from infrastructure import backfill, chalice, doctor, template
from infrastructure.checks import account, roles, workflow
from infrastructure.checks.common import Check, Finding, Severity, Site, fine
from infrastructure.cli import main
from infrastructure.errors import InfrastructureError
from infrastructure.names import Names
from local import ROOT
from tests.infrastructure import healthy
from tests.infrastructure.healthy import NAMES, Stage

Json = dict[str, Any]
Broken = Callable[[Stage], AbstractContextManager[None]]

DEPLOY = "python -m infrastructure deploy --stage dev"
UP = "python -m infrastructure up --stage dev"
CHECKS = {check.name: check for check in doctor.CHECKS}


@pytest.fixture(scope="module")
def well(empty_account: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with healthy.stage(empty_account, tmp_path_factory.mktemp("stage")) as made:
        yield made


def wrong(well: Stage, *, before: bool = False, names: Names = NAMES) -> list[Finding]:
    """What is not well. What runs Chalice here is left out: it is not part of the stage."""
    found = doctor.examine(names, well.folder, live=False, before=before)
    return [one for one in found if one.severity is not Severity.OK and one.check != "tools"]


@dataclass(frozen=True)
class Case:
    """Something that is broken, and what has to be told of it."""

    broken: Broken
    check: str
    what: str
    fix: str
    severity: Severity
    also: tuple[str, ...]


CASES: list[Case] = []


def case(
    check: str, what: str, fix: str, *, severity: Severity = Severity.PROBLEM, also: tuple[str, ...] = ()
) -> Callable[[Callable[[Stage], Iterator[None]]], None]:
    """Write a case down. What it decorates breaks something, yields, and mends it."""

    def write(broken: Callable[[Stage], Iterator[None]]) -> None:
        CASES.append(Case(contextmanager(broken), check, what, fix, severity, also))

    return write


# ---- The way in


@case("trigger", "tells nobody of pictures", DEPLOY)
def no_trigger(well: Stage) -> Iterator[None]:
    healthy.put_rules(well, [])
    yield
    healthy.put_rules(well, [healthy.lambda_rule()])


@case("trigger", "has 2 rules that call on_picture: on_picture-inbox/, again", "Remove all but one")
def two_triggers(well: Stage) -> Iterator[None]:
    healthy.put_rules(well, [healthy.lambda_rule(), {**healthy.lambda_rule(), "Id": "again"}])
    yield
    healthy.put_rules(well, [healthy.lambda_rule()])


@case("trigger", "on_picture is called for 'pictures/', not for 'inbox/'", DEPLOY)
def other_prefix(well: Stage) -> Iterator[None]:
    healthy.put_rules(well, [healthy.lambda_rule("pictures/")])
    yield
    healthy.put_rules(well, [healthy.lambda_rule()])


@case("trigger", "on_picture is called for 'inbox/' … '.jpg', not for 'inbox/'", DEPLOY)
def only_some(well: Stage) -> Iterator[None]:
    rule = healthy.lambda_rule()
    rule["Filter"]["Key"]["FilterRules"].append({"Name": "suffix", "Value": ".jpg"})
    healthy.put_rules(well, [rule])
    yield
    healthy.put_rules(well, [healthy.lambda_rule()])


@case("trigger", "is called for s3:ObjectCreated:Put, not for s3:ObjectCreated:*", DEPLOY)
def only_put(well: Stage) -> Iterator[None]:
    healthy.put_rules(well, [healthy.lambda_rule(event="s3:ObjectCreated:Put")])
    yield
    healthy.put_rules(well, [healthy.lambda_rule()])


@case("trigger", f"does not let arn:aws:s3:::{NAMES.inbox_bucket} call it", DEPLOY)
def bucket_may_not_call(well: Stage) -> Iterator[None]:
    healthy.forbid(well, "on_picture", "s3")
    yield
    healthy.make_trigger(well)


@case("trigger", "whosever it is", "aws lambda remove-permission", severity=Severity.WARNING)
def any_account_may_call(well: Stage) -> Iterator[None]:
    healthy.forbid(well, "on_picture", "s3")
    healthy.permit(well, "on_picture", "s3", f"arn:aws:s3:::{NAMES.inbox_bucket}")
    yield
    healthy.forbid(well, "on_picture", "s3")
    healthy.make_trigger(well)


@case("clashes", "below 'inbox/small/'", "does not overlap inbox/")
def rule_of_others_inside(well: Stage) -> Iterator[None]:
    healthy.put_rules(well, [healthy.lambda_rule(), healthy.lambda_rule("inbox/small/", "filter")])
    yield
    healthy.put_rules(well, [healthy.lambda_rule()])


@case("clashes", NAMES.lost_events_arn, "does not overlap inbox/")
def rule_of_others_for_everything(well: Stage) -> Iterator[None]:
    rule = {"Id": "all", "QueueArn": NAMES.lost_events_arn, "Events": ["s3:ObjectCreated:Put"]}
    healthy.put_rules(well, [healthy.lambda_rule()], QueueConfigurations=[rule])
    empty_queue(well)  # of S3's test event
    yield
    healthy.put_rules(well, [healthy.lambda_rule()])


@case("recursion", f"the capture of {NAMES.prefix}", f"Send it to {NAMES.training_bucket}")
def capture_into_inbox(well: Stage) -> Iterator[None]:
    place = f"s3://{NAMES.inbox_bucket}/inbox/capture"
    with well.altering(
        "DescribeEndpointConfig", lambda answer: answer["DataCaptureConfig"].update(DestinationS3Uri=place)
    ):
        yield


@case("recursion", f"the access log of {NAMES.training_bucket}", f"Send it to {NAMES.training_bucket}")
def log_into_inbox(well: Stage) -> Iterator[None]:
    target = {"TargetBucket": NAMES.inbox_bucket, "TargetPrefix": "inbox/log"}

    def change(answer: Json) -> None:
        answer["LoggingEnabled"] = target

    with well.altering("GetBucketLogging", change):
        yield


@case("recursion", f"copies of {NAMES.training_bucket}", f"Send it to {NAMES.training_bucket}")
def copies_into_inbox(well: Stage) -> Iterator[None]:
    s3 = well.client("s3")
    rule = {
        "ID": "copies",
        "Priority": 1,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{NAMES.inbox_bucket}"},
    }
    role = f"arn:aws:iam::{NAMES.account}:role/copies"
    s3.put_bucket_replication(Bucket=NAMES.training_bucket, ReplicationConfiguration={"Role": role, "Rules": [rule]})
    yield
    s3.delete_bucket_replication(Bucket=NAMES.training_bucket)


@case("recursion", f"the results of {NAMES.backfill}", f"Send it to {NAMES.training_bucket}", also=("state machines",))
def results_into_inbox(well: Stage) -> Iterator[None]:
    inbox = {"Bucket": NAMES.inbox_bucket, "Prefix": "inbox/results"}
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": inbox}
    item = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
    state = {"Type": "Map", "ItemProcessor": item, "ResultWriter": writer, "End": True}
    definition = json.dumps({"StartAt": "All", "States": {"All": state}})
    with well.altering(
        "DescribeStateMachine",
        lambda answer: answer.update(definition=definition) if answer["name"] == NAMES.backfill else None,
    ):
        yield


# ---- Functions


@case("functions", "Not there: open_record.", DEPLOY)
def no_function(well: Stage) -> Iterator[None]:
    well.client("lambda").delete_function(FunctionName=NAMES.function("open_record"))
    yield
    delete_role(well, f"{NAMES.prefix}-open_record")
    healthy.make_function(well, "open_record")


@case("functions", "classify has other variables than config.json: LABELS, MORE.", DEPLOY)
def other_variables(well: Stage) -> Iterator[None]:
    there = well.site.environment
    configure(well, "classify", Environment={"Variables": {**there, "LABELS": "cat,dog", "MORE": "1"}})
    yield
    configure(well, "classify", Environment={"Variables": there})


@case("functions", "serialize has 128 MB (MemorySize), and config.json says 2048.", DEPLOY)
def less_memory(well: Stage) -> Iterator[None]:
    configure(well, "serialize", MemorySize=128)
    yield
    configure(well, "serialize", MemorySize=2048)


@case("functions", "classify has 3 s (Timeout), and config.json says 45.", DEPLOY)
def less_time(well: Stage) -> Iterator[None]:
    configure(well, "classify", Timeout=3)
    yield
    configure(well, "classify", Timeout=45)


@case("functions", "on_picture is stopped", "aws lambda delete-function-concurrency")
def no_concurrency(well: Stage) -> Iterator[None]:
    def stop(answer: Json) -> None:
        if answer["Configuration"]["FunctionName"] == NAMES.function("on_picture"):
            answer["Concurrency"] = {"ReservedConcurrentExecutions": 0}

    with well.altering("GetFunction", stop):
        yield


@case("functions", "filter is Failed: no such key", "look again")
def function_failed(well: Stage) -> Iterator[None]:
    with well.altering("GetFunction", of_function("filter", State="Failed", StateReason="no such key")):
        yield


@case("functions", "The last change of filter is Failed: no such role", "look again")
def change_failed(well: Stage) -> Iterator[None]:
    change = of_function("filter", LastUpdateStatus="Failed", LastUpdateStatusReason="no such role")
    with well.altering("GetFunction", change):
        yield


@case("runtimes", "filter on python3.13", DEPLOY)
def other_runtime(well: Stage) -> Iterator[None]:
    configure(well, "filter", Runtime="python3.13")
    yield
    configure(well, "filter", Runtime="python3.12")


@case("runtimes", "All functions run on python3.11, on which Pillow cannot be loaded.", "make deploying")
def old_runtime(well: Stage) -> Iterator[None]:
    with well.altering("GetFunction", lambda answer: answer["Configuration"].update(Runtime="python3.11")):
        yield


def configure(well: Stage, name: str, **change: Any) -> None:
    well.client("lambda").update_function_configuration(FunctionName=NAMES.function(name), **change)


def of_function(name: str, **change: str) -> Callable[[Json], None]:
    def alter(answer: Json) -> None:
        if answer["Configuration"]["FunctionName"] == NAMES.function(name):
            answer["Configuration"].update(change)

    return alter


# ---- What they may do


@case("policies", "classify lacks a permission: sagemaker:InvokeEndpoint on arn:aws:sagemaker", DEPLOY)
def permission_lacks(well: Stage) -> Iterator[None]:
    policy = json.loads(well.site.policy_file("classify").read_text())
    healthy.put_policy(well, "classify", {**policy, "Statement": policy["Statement"][1:]})
    yield
    healthy.put_policy(well, "classify", policy)


@case("policies", "filter may do more than it needs: s3:* on *.", DEPLOY)
def permission_too_many(well: Stage) -> Iterator[None]:
    policy = json.loads(well.site.policy_file("filter").read_text())
    more = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    healthy.put_policy(well, "filter", {**policy, "Statement": [*policy["Statement"], more]})
    yield
    healthy.put_policy(well, "filter", policy)


@case("policies", "filter may do more than it needs: AmazonS3FullAccess is attached", "aws iam detach-role-policy")
def policy_attached(well: Stage) -> Iterator[None]:
    with attached(well, f"{NAMES.prefix}-filter"):
        yield


@case("policies", "filter: its role is lent to ec2.amazonaws.com, not to lambda alone.", DEPLOY)
def lent_to_others(well: Stage) -> Iterator[None]:
    with lent(well, f"{NAMES.prefix}-filter", "ec2", "lambda"):
        yield


@case("policies", f"filter has no role: {NAMES.prefix}-filter is not there.", DEPLOY)
def role_gone(well: Stage) -> Iterator[None]:
    delete_role(well, f"{NAMES.prefix}-filter")
    yield
    healthy.make_role(well, f"{NAMES.prefix}-filter", "lambda")
    healthy.put_policy(well, "filter", json.loads(well.site.policy_file("filter").read_text()))


@case("permissions", "reconcile may not do what its role says: s3:ListBucketVersions", "Ask whoever runs the account")
def boundary(well: Stage) -> Iterator[None]:
    with well.altering("SimulatePrincipalPolicy", denied("s3:ListBucketVersions")):
        yield


def denied(action: str) -> Callable[[Json], None]:
    def alter(answer: Json) -> None:
        for result in answer["EvaluationResults"]:
            if result["EvalActionName"] == action:
                result["EvalDecision"] = "implicitDeny"

    return alter


@contextmanager
def attached(well: Stage, role: str) -> Iterator[None]:
    iam, policy = well.client("iam"), "arn:aws:iam::aws:policy/AmazonS3FullAccess"
    name = policy.rpartition("/")[2]
    arn = iam.create_policy(
        PolicyName=name,
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        ),
    )["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    yield
    iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)


@contextmanager
def lent(well: Stage, role: str, to: str, owner: str) -> Iterator[None]:
    for service in (to, owner):
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": f"{service}.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        well.client("iam").update_assume_role_policy(RoleName=role, PolicyDocument=trust)
        if service == to:
            yield


def delete_role(well: Stage, role: str) -> None:
    iam = well.client("iam")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    iam.delete_role(RoleName=role)


# ---- What calls them, and what is kept of it


@case("rules", "No rule of EventBridge calls measure.", DEPLOY)
def no_rule(well: Stage) -> Iterator[None]:
    events, rule = well.client("events"), f"{NAMES.function('measure')}-event"
    events.remove_targets(Rule=rule, Ids=["1"])
    events.delete_rule(Name=rule)
    yield
    healthy.make_rule(well, "measure")


@case(
    "rules",
    "The rule that calls reconcile is off.",
    "aws events enable-rule --name scones-unlimited-dev-reconcile-event",
)
def rule_off(well: Stage) -> Iterator[None]:
    rule = f"{NAMES.function('reconcile')}-event"
    well.client("events").disable_rule(Name=rule)
    yield
    well.client("events").enable_rule(Name=rule)


@case("rules", "on_stopped hears of ['arn:aws:states:us-east-1:123456789012:stateMachine:other']", DEPLOY)
def hears_of_another(well: Stage) -> Iterator[None]:
    healthy.make_rule(well, "on_stopped", healthy.pattern(NAMES.arn("states", "stateMachine:other")))
    yield
    healthy.make_rule(well, "on_stopped")


@case("rules", "does not hear of each bad end", DEPLOY)
def hears_of_some(well: Stage) -> Iterator[None]:
    healthy.make_rule(well, "on_stopped", healthy.pattern(endings=("FAILED",)))
    yield
    healthy.make_rule(well, "on_stopped")


@case("rules", f"The rule of measure calls {NAMES.function_arn('filter')}.", DEPLOY)
def calls_another(well: Stage) -> Iterator[None]:
    rule = f"{NAMES.function('measure')}-event"
    well.client("events").put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": NAMES.function_arn("filter")}])
    yield
    healthy.make_rule(well, "measure")


@case("rules", "measure does not let its rule call it.", DEPLOY)
def rule_may_not_call(well: Stage) -> Iterator[None]:
    healthy.forbid(well, "measure", "events")
    yield
    healthy.permit(well, "measure", "events", NAMES.arn("events", f"rule/{NAMES.function('measure')}-event"))


@case("rules", "The rule that calls measure has no schedule.", DEPLOY)
def no_schedule(well: Stage) -> Iterator[None]:
    with well.altering(
        "DescribeRule", lambda answer: answer.pop("ScheduleExpression", None) if "measure" in answer["Name"] else None
    ):
        yield


@case("lost events", "Events that on_picture cannot deal with go to nowhere", DEPLOY)
def nothing_kept(well: Stage) -> Iterator[None]:
    well.client("lambda").delete_function_event_invoke_config(FunctionName=NAMES.function("on_picture"))
    yield
    keep(well, "on_picture", 2)


@case("lost events", "go to arn:aws:sqs:us-east-1:123456789012:elsewhere", DEPLOY)
def kept_elsewhere(well: Stage) -> Iterator[None]:
    keep(well, "on_stopped", 2, NAMES.arn("sqs", "elsewhere"))
    yield
    keep(well, "on_stopped", 2)


@case("lost events", "reconcile is tried again 2 times, not 0.", DEPLOY)
def tried_again(well: Stage) -> Iterator[None]:
    keep(well, "reconcile", 2)
    yield
    keep(well, "reconcile", 0)


def keep(well: Stage, name: str, retries: int, queue: str = NAMES.lost_events_arn) -> None:
    well.client("lambda").put_function_event_invoke_config(
        FunctionName=NAMES.function(name),
        MaximumRetryAttempts=retries,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )


@case("function logs", f"so what they log is lost: {NAMES.function_log_group('filter')}.", UP)
def no_log_group(well: Stage) -> Iterator[None]:
    well.client("logs").delete_log_group(logGroupName=NAMES.function_log_group("filter"))
    yield
    well.client("logs").create_log_group(logGroupName=NAMES.function_log_group("filter"))
    healthy.keep_logs(well, NAMES.function_log_group("filter"))


@case(
    "function logs",
    f"Kept for ever, and paid for: the logs in {NAMES.function_log_group('api_handler')}.",
    UP,
    severity=Severity.WARNING,
)
def logs_for_ever(well: Stage) -> Iterator[None]:
    well.client("logs").delete_retention_policy(logGroupName=NAMES.function_log_group("api_handler"))
    yield
    healthy.keep_logs(well, NAMES.function_log_group("api_handler"))


# ---- The REST API


@case("REST API", "Anybody in the world may POST /classifications.", "its authorizer in app.py")
def open_route(well: Stage) -> Iterator[None]:
    with other_api(well, "NONE"):
        yield


@case("REST API", "POST /classifications is guarded by CUSTOM, not by AWS_IAM.", DEPLOY)
def other_guard(well: Stage) -> Iterator[None]:
    with other_api(well, "CUSTOM"):
        yield


@case("REST API", "is not published as api.", DEPLOY)
def not_published(well: Stage) -> Iterator[None]:
    with other_api(well, "AWS_IAM", "another"):
        yield


@case("REST API", "api_handler does not let the REST API call it.", DEPLOY)
def api_may_not_call(well: Stage) -> Iterator[None]:
    (api,) = apis(well)
    healthy.forbid(well, "api_handler", f"api-{api}")
    yield
    healthy.permit_api(well, api)


@case("REST API", "No REST API leads to the functions.", DEPLOY)
def no_api(well: Stage) -> Iterator[None]:
    healthy.remove_api(well, *apis(well))
    yield
    healthy.make_api(well)


@case("REST API", "2 REST APIs lead to the functions", "chalice url --stage dev", severity=Severity.WARNING)
def two_apis(well: Stage) -> Iterator[None]:
    more = healthy.make_api(well)
    yield
    healthy.remove_api(well, more)


def apis(well: Stage) -> list[str]:
    return [one["id"] for one in well.client("apigateway").get_rest_apis()["items"]]


@contextmanager
def other_api(well: Stage, kind: str, stage_name: str = "api") -> Iterator[None]:
    healthy.remove_api(well, *apis(well))
    other = healthy.make_api(well, kind, stage_name)
    yield
    healthy.remove_api(well, other)
    healthy.make_api(well)


# ---- The workflow


@case("state machines", f"The state machine {NAMES.backfill} is not there.", UP)
def no_machine(well: Stage) -> Iterator[None]:
    arn = NAMES.arn("states", f"stateMachine:{NAMES.backfill}")
    well.client("stepfunctions").delete_state_machine(stateMachineArn=arn)
    yield
    healthy.make_machine(well, NAMES.backfill)


@case("state machines", f"{NAMES.prefix} is another one than the repository's: see Classify.", UP)
def other_definition(well: Stage) -> Iterator[None]:
    definition = json.loads(workflow.definition(well.site, NAMES.prefix))
    definition["States"]["Classify"]["TimeoutSeconds"] = 1
    change_machine(well, definition=json.dumps(definition))
    yield
    change_machine(well, definition=workflow.definition(well.site, NAMES.prefix))


@case("state machines", f"{NAMES.prefix} is another one than the repository's: see what stands beside its states.", UP)
def other_timeout(well: Stage) -> Iterator[None]:
    definition = json.loads(workflow.definition(well.site, NAMES.prefix))
    change_machine(well, definition=json.dumps({**definition, "TimeoutSeconds": 1}))
    yield
    change_machine(well, definition=workflow.definition(well.site, NAMES.prefix))


@case("state machines", f"{NAMES.prefix} logs nothing", UP)
def logs_nothing(well: Stage) -> Iterator[None]:
    change_machine(well, loggingConfiguration={**healthy.logging_to(NAMES.prefix), "level": "OFF"})
    yield
    change_machine(well, loggingConfiguration=healthy.logging_to(NAMES.prefix))


@case("state machines", f"{NAMES.prefix} logs pictures", UP)
def logs_pictures(well: Stage) -> Iterator[None]:
    change_machine(well, loggingConfiguration=healthy.logging_to(NAMES.prefix, data=True))
    yield
    change_machine(well, loggingConfiguration=healthy.logging_to(NAMES.prefix))


@case("state machines", f"{NAMES.prefix} is not traced", UP)
def not_traced(well: Stage) -> Iterator[None]:
    change_machine(well, tracingConfiguration={"enabled": False})
    yield
    change_machine(well, tracingConfiguration={"enabled": True})


@case("state machines", f"{NAMES.prefix} works as arn:aws:iam::123456789012:role/other, not as", UP)
def works_as_another(well: Stage) -> Iterator[None]:
    change_machine(well, roleArn=f"arn:aws:iam::{NAMES.account}:role/other")
    yield
    change_machine(well, roleArn=f"arn:aws:iam::{NAMES.account}:role/{NAMES.workflow_role}")


@case("state machines", f"{NAMES.prefix} is DELETING.", UP, also=("state machines",))
def going(well: Stage) -> Iterator[None]:
    with well.altering("DescribeStateMachine", lambda answer: answer.update(status="DELETING")):
        yield


def change_machine(well: Stage, **change: Any) -> None:
    well.client("stepfunctions").update_state_machine(stateMachineArn=NAMES.state_machine_arn, **change)


@case("workflow role", "The workflow lacks a permission: sns:Publish on", UP)
def workflow_lacks(well: Stage) -> Iterator[None]:
    with workflow_policy(well, lambda statements: [one for one in statements if one["Action"] != "sns:Publish"]):
        yield


@case("workflow role", "The workflow may do more than it needs: dynamodb:DeleteTable on *.", UP)
def workflow_may_more(well: Stage) -> Iterator[None]:
    more = {"Effect": "Allow", "Action": "dynamodb:DeleteTable", "Resource": "*"}
    with workflow_policy(well, lambda statements: [*statements, more]):
        yield


@case("workflow role", "The workflow may do more than it needs: AmazonS3FullAccess", "aws iam detach-role-policy")
def workflow_attached(well: Stage) -> Iterator[None]:
    with attached(well, NAMES.workflow_role):
        yield


@case("workflow role", "The workflow: its role is lent to ec2.amazonaws.com", UP)
def workflow_lent(well: Stage) -> Iterator[None]:
    with lent(well, NAMES.workflow_role, "ec2", "states"):
        yield


@case("workflow role", "The workflow may not do what its role says: sns:Publish", "Ask whoever runs the account")
def workflow_boundary(well: Stage) -> Iterator[None]:
    with well.altering("SimulatePrincipalPolicy", denied("sns:Publish")):
        yield


@case("workflow role", f"The workflow has no role: {NAMES.workflow_role} is not there.", UP)
def workflow_role_gone(well: Stage) -> Iterator[None]:
    delete_role(well, NAMES.workflow_role)
    yield
    healthy.make_role(well, NAMES.workflow_role, "states")
    healthy.put_machine_policy(well, NAMES.workflow_role, healthy.WORKFLOW_MAY)


@contextmanager
def workflow_policy(well: Stage, change: Callable[[list[Json]], list[Json]]) -> Iterator[None]:
    healthy.put_machine_policy(well, NAMES.workflow_role, change(healthy.WORKFLOW_MAY))
    yield
    healthy.put_machine_policy(well, NAMES.workflow_role, healthy.WORKFLOW_MAY)


@case("training role", f"SageMaker has no role: {NAMES.training_role} is not there.", UP)
def training_role_gone(well: Stage) -> Iterator[None]:
    iam = well.client("iam")
    policy = iam.get_role_policy(RoleName=NAMES.training_role, PolicyName="training")["PolicyDocument"]
    delete_role(well, NAMES.training_role)
    yield
    healthy.make_role(well, NAMES.training_role, "sagemaker")
    iam.put_role_policy(RoleName=NAMES.training_role, PolicyName="training", PolicyDocument=json.dumps(policy))


@case("training role", "SageMaker may do more than it needs: s3:* on *.", UP)
def training_may_more(well: Stage) -> Iterator[None]:
    more = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
    well.client("iam").put_role_policy(RoleName=NAMES.training_role, PolicyName="more", PolicyDocument=more)
    yield
    well.client("iam").delete_role_policy(RoleName=NAMES.training_role, PolicyName="more")


@case("backfill role", f"The backfill has no role: {NAMES.backfill} is not there.", UP)
def backfill_role_gone(well: Stage) -> Iterator[None]:
    delete_role(well, NAMES.backfill)
    yield
    healthy.make_role(well, NAMES.backfill, "states")
    healthy.put_machine_policy(well, NAMES.backfill, healthy.BACKFILL_MAY)


@case("backfill role", "The backfill lacks a permission: states:StartExecution on arn:aws:states", UP)
def backfill_lacks(well: Stage) -> Iterator[None]:
    without = [one for one in healthy.BACKFILL_MAY if one["Action"] != "states:StartExecution"]
    healthy.put_machine_policy(well, NAMES.backfill, without)
    yield
    healthy.put_machine_policy(well, NAMES.backfill, healthy.BACKFILL_MAY)


@case("workflow logs", f"There is no log group /aws/vendedlogs/states/{NAMES.prefix}.", UP)
def no_workflow_log(well: Stage) -> Iterator[None]:
    group = f"/aws/vendedlogs/states/{NAMES.prefix}"
    well.client("logs").delete_log_group(logGroupName=group)
    yield
    well.client("logs").create_log_group(logGroupName=group)
    healthy.keep_logs(well, group)


@case(
    "workflow logs",
    f"The logs in /aws/vendedlogs/states/{NAMES.backfill} are kept for ever",
    UP,
    severity=Severity.WARNING,
)
def workflow_log_for_ever(well: Stage) -> Iterator[None]:
    group = f"/aws/vendedlogs/states/{NAMES.backfill}"
    well.client("logs").delete_retention_policy(logGroupName=group)
    yield
    healthy.keep_logs(well, group)


@case("stack", f"There is no stack {NAMES.prefix}.", UP)
def no_stack(well: Stage) -> Iterator[None]:
    well.client("cloudformation").delete_stack(StackName=NAMES.prefix)
    yield
    well.client("cloudformation").create_stack(StackName=NAMES.prefix, TemplateBody=healthy.EMPTY_STACK)


@case("stack", f"The stack {NAMES.prefix} is UPDATE_ROLLBACK_FAILED: no permission.", UP)
def stack_failed(well: Stage) -> Iterator[None]:
    with well.altering("DescribeStacks", stack_is("UPDATE_ROLLBACK_FAILED", "no permission")):
        yield


@case("stack", f"The stack {NAMES.prefix} is changing: UPDATE_IN_PROGRESS.", "Wait")
def stack_changes(well: Stage) -> Iterator[None]:
    with well.altering("DescribeStacks", stack_is("UPDATE_IN_PROGRESS", "")):
        yield


def stack_is(status: str, reason: str) -> Callable[[Json], None]:
    return lambda answer: answer["Stacks"][0].update(StackStatus=status, StackStatusReason=reason)


# ---- Pictures, records and the endpoint


@case("buckets", f"There is no bucket {NAMES.inbox_bucket}.", UP, also=("buckets",))
def no_buckets(well: Stage) -> Iterator[None]:
    with well.refusing("HeadBucket", "404", status=404):
        yield


@case("buckets", f"{NAMES.inbox_bucket} keeps no versions", UP)
def no_versions(well: Stage) -> Iterator[None]:
    change = {"Bucket": NAMES.inbox_bucket, "VersioningConfiguration": {"Status": "Suspended"}}
    well.client("s3").put_bucket_versioning(**change)
    yield
    well.client("s3").put_bucket_versioning(**{**change, "VersioningConfiguration": {"Status": "Enabled"}})


@case("buckets", f"{NAMES.training_bucket} is not encrypted.", UP)
def not_encrypted(well: Stage) -> Iterator[None]:
    well.client("s3").delete_bucket_encryption(Bucket=NAMES.training_bucket)
    yield
    healthy.encrypt(well, NAMES.training_bucket)


@case("buckets", f"{NAMES.inbox_bucket} can be opened to the world.", UP)
def may_be_opened(well: Stage) -> Iterator[None]:
    healthy.block_public_access(well, NAMES.inbox_bucket, all_of_it=False)
    yield
    healthy.block_public_access(well, NAMES.inbox_bucket)


@case("buckets", f"{NAMES.inbox_bucket} can be opened to the world.", UP)
def nothing_blocked(well: Stage) -> Iterator[None]:
    well.client("s3").delete_public_access_block(Bucket=NAMES.inbox_bucket)
    yield
    healthy.block_public_access(well, NAMES.inbox_bucket)


@case("buckets", f"{NAMES.inbox_bucket} may be read and written without TLS.", UP)
def without_tls(well: Stage) -> Iterator[None]:
    well.client("s3").delete_bucket_policy(Bucket=NAMES.inbox_bucket)
    yield
    healthy.require_tls(well, NAMES.inbox_bucket)


@case("table", f"There is no table {NAMES.records_table}.", UP)
def no_table(well: Stage) -> Iterator[None]:
    protect(well, on=False)
    well.client("dynamodb").delete_table(TableName=NAMES.records_table)
    yield
    healthy.make_table(well)


@case("table", f"One call deletes the table {NAMES.records_table}", UP)
def not_protected(well: Stage) -> Iterator[None]:
    protect(well, on=False)
    yield
    protect(well, on=True)


@case("table", "by mistake cannot be had back", UP)
def no_backups(well: Stage) -> Iterator[None]:
    healthy.keep_backups(well, on=False)
    yield
    healthy.keep_backups(well, on=True)


@case("table", "The table lacks the index by_status: nobody finds the pictures that wait.", UP)
def no_index(well: Stage) -> Iterator[None]:
    with without_index(well, "by_status", "updated_at"):
        yield


@case("table", "The table lacks the index by_sureness: nobody can review the pictures that were held back.", UP)
def no_index_for_reviews(well: Stage) -> Iterator[None]:
    with without_index(well, "by_sureness", "sureness"):
        yield


@contextmanager
def without_index(well: Stage, name: str, second: str) -> Iterator[None]:
    client, index = well.client("dynamodb"), {"Delete": {"IndexName": name}}
    client.update_table(TableName=NAMES.records_table, GlobalSecondaryIndexUpdates=[index])
    yield
    client.update_table(
        TableName=NAMES.records_table,
        AttributeDefinitions=healthy.ATTRIBUTES,
        GlobalSecondaryIndexUpdates=[{"Create": healthy.table_index(name, second)}],
    )


@case("table", "The index by_status is CREATING.", "Wait until it is ACTIVE")
def index_not_ready(well: Stage) -> Iterator[None]:
    def change(answer: Json) -> None:
        (index,) = [one for one in answer["Table"]["GlobalSecondaryIndexes"] if one["IndexName"] == "by_status"]
        index["IndexStatus"] = "CREATING"

    with well.altering("DescribeTable", change):
        yield


@case("uploads", "Pages of http://127.0.0.1:*, http://localhost:* cannot send large pictures to", UP)
def nobody_may_post(well: Stage) -> Iterator[None]:
    well.client("s3").delete_bucket_cors(Bucket=NAMES.inbox_bucket)
    yield
    healthy.let_pages_post(well, *healthy.PAGES_HERE)


@case("uploads", "Pages of http://localhost:* cannot send large pictures to", UP)
def some_may_post(well: Stage) -> Iterator[None]:
    healthy.let_pages_post(well, "http://127.0.0.1:*")
    yield
    healthy.let_pages_post(well, *healthy.PAGES_HERE)


@case("table", f"The table {NAMES.records_table} is CREATING.", "look again")
def table_not_ready(well: Stage) -> Iterator[None]:
    with well.altering("DescribeTable", lambda answer: answer["Table"].update(TableStatus="CREATING")):
        yield


@case("table", "has another key than id", "rename or remove it")
def other_key(well: Stage) -> Iterator[None]:
    key = [{"AttributeName": "key", "KeyType": "HASH"}]
    with well.altering("DescribeTable", lambda answer: answer["Table"].update(KeySchema=key)):
        yield


@case("table", "has a fixed capacity", UP, severity=Severity.WARNING)
def fixed_capacity(well: Stage) -> Iterator[None]:
    with well.altering("DescribeTable", lambda answer: answer["Table"].pop("BillingModeSummary")):
        yield


def protect(well: Stage, *, on: bool) -> None:
    well.client("dynamodb").update_table(TableName=NAMES.records_table, DeletionProtectionEnabled=on)


@case("endpoint", f"There is no endpoint {NAMES.prefix}", "python -m training deploy --stage dev")
def no_endpoint(well: Stage) -> Iterator[None]:
    healthy.delete_endpoint(well)
    yield
    well.client("s3").delete_bucket_policy(Bucket=NAMES.training_bucket)
    healthy.create_endpoint(well, "config")
    healthy.require_tls(well, NAMES.training_bucket)


@case("endpoint", f"The endpoint {NAMES.prefix} is Creating.", "Wait")
def endpoint_not_ready(well: Stage) -> Iterator[None]:
    with well.altering("DescribeEndpoint", lambda answer: answer.update(EndpointStatus="Creating")):
        yield


@case("endpoint", f"The endpoint {NAMES.prefix} is Failed: no such model.", "python -m training deploy --stage dev")
def endpoint_failed(well: Stage) -> Iterator[None]:
    change = {"EndpointStatus": "Failed", "FailureReason": "no such model"}
    with well.altering("DescribeEndpoint", lambda answer: answer.update(change)):
        yield


@case("endpoint", "The model tells cat, dog, and LABELS says bicycle, motorcycle.", "Set LABELS to cat,dog")
def other_labels(well: Stage) -> Iterator[None]:
    labels = {"labels": "cat/dog"}
    with well.altering("DescribeModelPackage", lambda answer: answer.update(CustomerMetadataProperties=labels)):
        yield


# ---- What tells


@case("topics", "Nobody hears of alarms.", "up --stage dev --alarm-email", severity=Severity.WARNING)
def nobody_hears(well: Stage) -> Iterator[None]:
    sns, topic = well.client("sns"), NAMES.arn("sns", NAMES.alarms_topic)
    (one,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
    yield
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="person@example.com")


@case("topics", "person@example.com has not agreed", "Follow the link", severity=Severity.WARNING)
def not_agreed(well: Stage) -> Iterator[None]:
    def change(answer: Json) -> None:
        for one in answer["Subscriptions"]:
            one["SubscriptionArn"] = "PendingConfirmation"

    with well.altering("ListSubscriptionsByTopic", change):
        yield


@case("topics", f"There is no topic {NAMES.held_back_topic}.", UP)
def no_topic(well: Stage) -> Iterator[None]:
    well.client("sns").delete_topic(TopicArn=NAMES.arn("sns", NAMES.held_back_topic))
    yield
    well.client("sns").create_topic(Name=NAMES.held_back_topic)


@case(
    "alarms",
    f"The alarm {NAMES.prefix}-failed-executions rings: Executions of the workflow fail.",
    "docs/operations.md",
)
def alarm_rings(well: Stage) -> Iterator[None]:
    ring = {"AlarmName": f"{NAMES.prefix}-failed-executions", "StateReason": "a test"}
    well.client("cloudwatch").set_alarm_state(**ring, StateValue="ALARM")
    yield
    well.client("cloudwatch").set_alarm_state(**ring, StateValue="OK")


@case("alarms", "There are no alarms", UP, severity=Severity.WARNING)
def no_alarms(well: Stage) -> Iterator[None]:
    well.client("cloudwatch").delete_alarms(AlarmNames=[f"{NAMES.prefix}-failed-executions"])
    yield
    healthy.make_alarm(well)


@case("queue", f"Lost events are in {NAMES.lost_events}: 1.", "python -m infrastructure reconcile --stage dev")
def event_lost(well: Stage) -> Iterator[None]:
    sqs = well.client("sqs")
    url = sqs.get_queue_url(QueueName=NAMES.lost_events)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    yield
    empty_queue(well)


def empty_queue(well: Stage) -> None:
    sqs = well.client("sqs")
    url = sqs.get_queue_url(QueueName=NAMES.lost_events)["QueueUrl"]
    for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


@case("queue", f"There is no queue {NAMES.lost_events}", UP)
def no_queue(well: Stage) -> Iterator[None]:
    sqs = well.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=NAMES.lost_events)["QueueUrl"])
    yield
    sqs.create_queue(QueueName=NAMES.lost_events)


@case("unfinished", "more than 2 hours: 1, like stuck.", "python -m infrastructure reconcile --stage dev")
def picture_stuck(well: Stage) -> Iterator[None]:
    item = {"id": "stuck", "status": "PENDING", "updated_at": "2026-01-01T00:00:00.000Z"}
    well.client("dynamodb").put_item(
        TableName=NAMES.records_table, Item={name: {"S": value} for name, value in item.items()}
    )
    yield
    well.client("dynamodb").delete_item(TableName=NAMES.records_table, Key={"id": {"S": "stuck"}})


# ---- What AWS allows


@case("Lambda quota", "at most 10 functions at the same time here.", "Ask for 1,000", severity=Severity.WARNING)
def few_functions(well: Stage) -> Iterator[None]:
    well.quotas.concurrency = 10
    yield
    well.quotas.concurrency = 1000


@case("Lambda quota", "here, 950 of them reserved for others", "Ask for 1,000", severity=Severity.WARNING)
def reserved_for_others(well: Stage) -> Iterator[None]:
    well.quotas.reserved = 950
    yield
    well.quotas.reserved = 0


@case("endpoint quota", "SageMaker allows 0 ml.m5.large for endpoints here, and the endpoint needs 1.", "Ask for 2")
def no_instances(well: Stage) -> Iterator[None]:
    well.quotas.instances["ml.m5.large"] = 0
    yield
    well.quotas.instances["ml.m5.large"] = 4


@case("endpoint quota", "an update needs 2", "Ask for 2", severity=Severity.WARNING)
def one_instance(well: Stage) -> Iterator[None]:
    well.quotas.instances["ml.m5.large"] = 1
    yield
    well.quotas.instances["ml.m5.large"] = 4


@case("endpoint quota", "does not know 'ml.m5.large for endpoint usage'", "Look it up", severity=Severity.WARNING)
def unknown_instances(well: Stage) -> Iterator[None]:
    allowed = well.quotas.instances.pop("ml.m5.large")
    yield
    well.quotas.instances["ml.m5.large"] = allowed


# ---- The tests


def test_a_stage_that_is_well_has_nothing_to_be_mended(well: Stage) -> None:
    assert wrong(well) == []


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.broken.__name__)
def test_what_is_broken_is_told_with_its_fix_and_nothing_else(well: Stage, one: Case) -> None:
    with one.broken(well):
        found = wrong(well)
    assert sorted(finding.check for finding in found) == sorted((one.check, *one.also))
    told = next(finding for finding in found if finding.check == one.check)
    assert one.what in told.what
    assert one.fix in told.fix
    assert told.severity is one.severity
    mended = [finding for check in (one.check, *one.also) for finding in doctor.results(CHECKS[check], well.site)]
    assert all(finding.severity is Severity.OK for finding in mended)


def test_everything_that_was_broken_is_mended_again(well: Stage) -> None:
    assert wrong(well) == []


def test_every_check_of_the_table_has_something_broken_for_it() -> None:
    elsewhere = {"credentials", "configuration", "tools", "definitions", "bucket names"}  # below
    elsewhere |= {"sign-in"}  # in test_doctor_page.py
    assert {one.check for one in CASES} | elsewhere == set(CHECKS)


# ---- What is known before anything is deployed


def told(well: Stage, check: str, site: Site | None = None) -> list[Finding]:
    """What one check finds that is not well."""
    found = doctor.results(CHECKS[check], site or well.site)
    return [one for one in found if one.severity is not Severity.OK]


def test_other_credentials_than_the_names_are_of_are_told(well: Stage) -> None:
    (found,) = told(well, "credentials", Site(replace(NAMES, account="999999999999"), well.folder))
    assert "are of the account 123456789012, and the names are of 999999999999" in found.what
    assert "AWS_PROFILE" in found.fix


def test_who_asks_is_told(well: Stage) -> None:
    (found,) = doctor.results(CHECKS["credentials"], well.site)
    assert found.what == "arn:aws:sts::123456789012:user/moto, account 123456789012, region us-east-1."


@pytest.mark.parametrize("names", [replace(NAMES, account="999999999999"), replace(NAMES, region="eu-central-1")])
def test_files_of_another_account_or_region_are_told(well: Stage, names: Names) -> None:
    (found,) = told(well, "configuration", Site(names, well.folder))
    assert found.severity is Severity.PROBLEM
    assert (
        "STATE_MACHINE_ARN is 'arn:aws:states:us-east-1:123456789012:stateMachine:scones-unlimited-dev'" in found.what
    )
    assert UP in found.fix


def test_the_account_that_stands_for_one_is_only_a_warning_before_up_has_written_the_real_one(well: Stage) -> None:
    (found,) = told(well, "configuration", Site(replace(NAMES, account="999999999999"), well.folder, before=True))
    assert found.severity is Severity.WARNING
    assert "`up` writes the account" in found.fix


def test_a_policy_file_of_another_account_is_told(well: Stage) -> None:
    path = well.folder / "policy-dev-filter.json"
    text = path.read_text()
    path.write_text(text.replace(NAMES.account, "111111111111"))
    (found,) = told(well, "configuration")
    path.write_text(text)
    assert "policy files name the account 111111111111" in found.what


def test_what_the_configuration_leaves_out_is_told(well: Stage) -> None:
    def change(stage: Json) -> None:
        stage["environment_variables"]["LABELS"] = " "
        stage["autogen_policy"] = True
        stage["lambda_functions"]["filter"]["iam_policy_file"] = "none.json"

    with well.config(change):
        found = told(well, "configuration")
    assert [one.what for one in found] == [
        "LABELS is not set for the stage dev.",
        "Chalice would guess what these may do: serialize, classify, filter and 6 more.",
        "The policy of filter is of no use.",
    ]
    assert all(one.fix for one in found)


@pytest.mark.parametrize("text", ["", "[]", '{"stages": {"prod": {}}}'])
def test_a_configuration_that_is_of_no_use_is_told_and_the_rest_is_looked_at(well: Stage, text: str) -> None:
    path = well.folder / "config.json"
    before = path.read_text()
    path.write_text(text)
    found = wrong(well)
    path.write_text(before)
    assert {"configuration", "functions"} <= {one.check for one in found}
    assert "table" not in {one.check for one in found}
    assert all("config.json" in one.what for one in found)


def test_chalice_that_is_not_there_is_told(well: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chalice, "PROGRAM", tmp_path / "chalice")
    (found,) = told(well, "tools")
    assert "Chalice is not installed beside this Python" in found.what
    assert "make deploying" in found.fix


def test_chalice_that_does_not_start_is_told(well: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "chalice"
    broken.write_text("#!/bin/sh\necho no module named chalice >&2\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setattr(chalice, "PROGRAM", tmp_path / "chalice")
    (found,) = told(well, "tools")
    assert "no module named chalice" in found.what


@pytest.mark.parametrize(
    ("version", "severity"),
    [
        ((3, 9), Severity.PROBLEM),
        ((3, 10), Severity.WARNING),
        ((3, 11), Severity.WARNING),
        ((3, 12), Severity.OK),
        ((3, 14), Severity.OK),
        ((3, 16), Severity.PROBLEM),
    ],
)
def test_the_python_that_runs_chalice_decides(version: tuple[int, int], severity: Severity) -> None:
    (found,) = account.python_runs_on_lambda("1.34.0", version)
    assert found.severity is severity
    assert "make deploying" in found.fix or severity is Severity.OK


def test_this_chalice_tells_which_python_runs_it(well: Stage) -> None:
    (found,) = doctor.results(CHECKS["tools"], well.site)
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in found.what


def test_a_state_machine_that_breaks_a_rule_is_told(
    well: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    definition = json.loads((ROOT / "statemachine.json").read_text())
    definition["States"]["Classify"]["Next"] = "Nowhere"
    (tmp_path / "statemachine.json").write_text(json.dumps(definition))
    monkeypatch.setattr(backfill, "WORKFLOW", tmp_path / "statemachine.json")
    found = told(well, "definitions")
    assert "scones-unlimited-dev: Classify: it goes on to Nowhere, which is not there." in {one.what for one in found}
    assert all("statemachine.json" in one.fix for one in found)


def test_a_template_that_is_too_large_is_told(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "MAX_TEMPLATE_BYTES", 1000)
    (found,) = told(well, "definitions")
    assert found.severity is Severity.PROBLEM
    assert "and CloudFormation takes 1,000" in found.what


@pytest.mark.parametrize(
    ("status", "what", "fix"),
    [(403, "is somebody else's", "choose another stage name"), (301, "is in another region", "AWS_DEFAULT_REGION")],
)
def test_a_bucket_that_is_not_ours_is_told(well: Stage, status: int, what: str, fix: str) -> None:
    with well.refusing("HeadBucket", str(status), status=status):
        found = told(well, "bucket names")
    assert [one.severity for one in found] == [Severity.PROBLEM] * 2
    assert f"{NAMES.inbox_bucket} {what}" in found[0].what
    assert fix in found[0].fix


def test_whose_buckets_they_are_is_told(well: Stage) -> None:
    found = doctor.results(CHECKS["bucket names"], Site(replace(NAMES, stage="other"), well.folder))
    assert [one.what for one in found + doctor.results(CHECKS["bucket names"], well.site)] == [
        "scones-unlimited-other-inbox-123456789012 is free.",
        "scones-unlimited-other-training-123456789012 is free.",
        f"{NAMES.inbox_bucket} is ours.",
        f"{NAMES.training_bucket} is ours.",
    ]


def test_a_serverless_endpoint_needs_no_instances(well: Stage) -> None:
    variant = {"VariantName": "AllTraffic", "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 8}}
    with well.altering("DescribeEndpointConfig", lambda answer: answer.update(ProductionVariants=[variant])):
        (found,) = doctor.results(CHECKS["endpoint quota"], well.site)
    assert found.severity is Severity.OK
    assert "serverless" in found.what


def test_before_anything_is_deployed_nothing_is_missed_but_a_quota_is_told(well: Stage) -> None:
    nothing = replace(NAMES, stage="prod")
    assert wrong(well, before=True, names=nothing) == []
    well.quotas.instances["ml.m5.large"] = 0
    (found,) = wrong(well, before=True, names=nothing)
    well.quotas.instances["ml.m5.large"] = 4
    assert found.check == "endpoint quota"


def test_where_nothing_is_deployed_everything_is_missed_and_nothing_crashes(well: Stage) -> None:
    found = wrong(well, names=replace(NAMES, stage="prod"))
    assert all(one.severity is Severity.PROBLEM or one.check == "alarms" for one in found)
    assert not [one for one in found if "Could not look" in one.what]
    seen = {one.check for one in doctor.examine(replace(NAMES, stage="prod"), well.folder, live=False, before=False)}
    assert CHECKS.keys() - seen == {
        "runtimes",
        "policies",
        "permissions",
        "trigger",
        "recursion",
        "rules",
        "REST API",
        "uploads",
        "lost events",
        "unfinished",
    }
    assert {"stack", "buckets", "table", "state machines", "functions", "endpoint", "queue", "topics"} <= {
        one.check for one in found
    }


# ---- What cannot be looked at


def test_a_permission_that_lacks_is_named_and_the_others_go_on(well: Stage) -> None:
    message = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: iam:GetRole on resource: role x"
    with well.refusing("GetRole", "AccessDenied", message):
        found = wrong(well)
    assert {one.check for one in found} == {
        "workflow role",
        "backfill role",
        "training role",
        "policies",
        "permissions",
    }
    assert {one.what for one in found} == {"Could not look: needs permission iam:GetRole."}
    assert {one.severity for one in found} == {Severity.WARNING}


@pytest.mark.parametrize(("operation", "permission"), sorted(doctor.PERMISSIONS.items()))
def test_a_permission_that_aws_does_not_name_is_named(well: Stage, operation: str, permission: str) -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, operation)
    assert doctor.results(failing(error), well.site)[1].what == f"Could not look: needs permission {permission}."


def failing(error: Exception) -> Check:
    def look(_site: Site) -> Iterator[Finding]:
        yield fine("seen before it failed")
        raise error

    return Check("failing", "", look)


@pytest.mark.parametrize(
    ("error", "what", "severity"),
    [
        (KeyError("Stage"), "Could not look: KeyError: 'Stage'", Severity.WARNING),
        (InfrastructureError("This is wrong."), "This is wrong.", Severity.PROBLEM),
        (NoCredentialsError(), "There are no AWS credentials.", Severity.PROBLEM),
        (EndpointConnectionError(endpoint_url="https://x"), "AWS cannot be reached", Severity.PROBLEM),
        (ReadTimeoutError(endpoint_url="https://x"), "The connection to AWS broke off", Severity.PROBLEM),
        (DataNotFoundError(data_path="x"), "Could not look: Unable to load data", Severity.WARNING),
        (
            ClientError({"Error": {"Code": "ExpiredToken", "Message": "old"}}, "GetRole"),
            "AWS does not take these credentials: old",
            Severity.PROBLEM,
        ),
        (
            ClientError({"Error": {"Code": "AuthorizationError", "Message": "not authorized to perform: SNS:X"}}, "X"),
            "Could not look: needs permission SNS:X.",
            Severity.WARNING,
        ),
        (
            ClientError({"Error": {"Code": "500", "Message": "<html>\n<p>no</p>" + "x" * 999}}, "GetRole"),
            "Could not look: AWS refused GetRole: 500: no xx",
            Severity.WARNING,
        ),
    ],
)
def test_a_check_that_fails_says_why_and_keeps_what_it_had_seen(
    well: Stage, error: Exception, what: str, severity: Severity
) -> None:
    seen, failed = doctor.results(failing(error), well.site)
    assert seen.what == "seen before it failed"
    assert what in failed.what
    assert len(failed.what) < 300
    assert failed.severity is severity
    assert failed.fix


def test_without_credentials_only_the_files_are_looked_at(well: Stage) -> None:
    with well.refusing("GetCallerIdentity", "ExpiredToken", "The security token is expired"):
        found = doctor.examine(NAMES, well.folder, live=True, before=False)
    assert {one.check for one in found} == {"credentials", "configuration", "tools", "definitions"}
    assert found[0].severity is Severity.PROBLEM


def test_all_that_a_check_asks_for_has_a_task_that_is_known() -> None:
    site = Site(NAMES, ROOT / ".chalice")
    texts = [workflow.definition(site, name) for name in (NAMES.prefix, NAMES.backfill)]
    called = {action for text in texts for action, _ in workflow.tasks(json.loads(text))}
    assert called == set(roles.NEEDS)
    assert not [text for text in texts if "${" in text]


# ---- How it is told


def run(well: Stage, *options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--chalice", str(well.folder), *options])


def test_a_stage_that_is_well_is_told_with_exit_code_0(well: Stage) -> None:
    done = run(well)
    assert done.exit_code == 0, done.output
    assert all(len(line.rstrip()) <= 80 for line in done.stdout.splitlines())
    assert f"{len(doctor.CHECKS)} checks: no problem" in done.stdout
    assert "✓  table" in done.stdout
    assert "✗" not in done.stdout


def test_what_has_to_be_mended_is_told_with_its_fix_and_exit_code_1(well: Stage) -> None:
    with CASES[0].broken(well):
        done = run(well)
    assert done.exit_code == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "✗ trigger scones-unlimited-dev-inbox-123456789012 tells nobody of" in lines
    assert "→ Run `python -m infrastructure deploy --stage dev`." in lines
    assert "1 problem" in done.stdout
    assert "Mend what is marked, and run this again." in done.stderr


def test_a_warning_does_not_fail(well: Stage) -> None:
    well.quotas.concurrency = 10
    done = run(well, "--before")
    well.quotas.concurrency = 1000
    assert done.exit_code == 0
    assert "!  Lambda quota" in done.stdout


def test_for_machines_it_is_one_json_object(well: Stage) -> None:
    done = run(well, "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert {one["check"] for one in found["findings"]} == set(CHECKS)
    assert found["findings"][0].keys() == {"check", "severity", "what", "fix"}


def test_before_and_live_do_not_go_together(well: Stage) -> None:
    done = run(well, "--before", "--live")
    assert done.exit_code == 2
    assert "--live needs what --before says is not there yet" in done.stderr


def test_a_stage_that_is_not_there_is_told(well: Stage) -> None:
    done = run(well, "--stage", "none")
    assert done.exit_code == 2
    assert "none" in done.stderr


@pytest.mark.parametrize(
    ("severities", "sentence"),
    [
        ([], "0 checks: no problem."),
        ([Severity.OK], "1 check: no problem."),
        ([Severity.WARNING, Severity.PROBLEM], "2 checks: 1 problem, 1 warning."),
        ([Severity.WARNING] * 2, "2 checks: no problem, 2 warnings."),
        ([Severity.PROBLEM] * 2, "2 checks: 2 problems."),
    ],
)
def test_the_sentence_counts(severities: list[Severity], sentence: str) -> None:
    findings = [Finding(str(number), severity, "") for number, severity in enumerate(severities)]
    assert doctor.summary(findings) == sentence
