"""What `infrastructure/template.yaml` and `chalice deploy` make on AWS, at once; a test says that it is the same."""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import boto3
from chalice.app import CloudWatchEventConfig, S3EventConfig, ScheduledEventConfig

from chalicelib import listing
from chalicelib.settings import Settings
from local import ACCOUNT, REGION, ROOT
from local.functions import Functions

MAX_RETRY_SECONDS = 1
"""The embedded workflow tries again as often as on AWS, but waits at most this long before each try."""

TRAINING_PREFIX = "training"
"""Below which `python -m training` puts everything in the training bucket."""

UPLOADS_RULE = {
    "AllowedMethods": ["POST"],
    "AllowedOrigins": ["http://127.0.0.1:*", "http://localhost:*"],
    "MaxAgeSeconds": 3600,
}
"""What the inbox lets a page of this machine do: post a picture, and read the answer."""

ASYNCHRONOUS = {"on_picture": 2, "on_stopped": 2, "reconcile": 0}
"""The functions whose lost events are kept, and how often each event is tried again."""


def create(settings: Settings, capture_bucket: str, training_bucket: str, functions: Functions) -> None:
    """Make everything.

    Args:
        settings: the names.
        capture_bucket: for what the stage's own endpoint captures; it is not there on AWS.
        training_bucket: for what training makes.
        functions: the functions of the app.
    """
    clients: dict[str, Any] = {
        name: boto3.client(name)
        for name in ("s3", "dynamodb", "iam", "lambda", "stepfunctions", "events", "sns", "sqs")
    }
    for bucket in (settings.inbox_bucket, capture_bucket, training_bucket):
        clients["s3"].create_bucket(Bucket=bucket)
    for bucket in (settings.inbox_bucket, training_bucket):
        clients["s3"].put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    clients["s3"].put_bucket_cors(Bucket=settings.inbox_bucket, CORSConfiguration={"CORSRules": [UPLOADS_RULE]})
    create_table(clients["dynamodb"], settings.records_table)
    topic = clients["sns"].create_topic(Name=functions.full_name("held-back"))["TopicArn"]
    clients["sqs"].create_queue(QueueName=functions.full_name("lost-events"))
    role = clients["iam"].create_role(RoleName="local", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    arns = _create_functions(clients["lambda"], functions, role)
    _keep_lost_events(clients["lambda"], functions)
    clients["stepfunctions"].create_state_machine(
        name=settings.state_machine_arn.rpartition(":")[2],
        definition=definition(
            {
                "SerializeArn": arns["serialize"],
                "ClassifyArn": arns["classify"],
                "FilterArn": arns["filter"],
                "RecordsTable": settings.records_table,
                "HeldBackTopic": topic,
            }
        ),
        roleArn=role,
    )
    _add_triggers(clients, functions, arns)
    _create_training_role(clients["iam"], functions.full_name("training"), training_bucket)


def training_role(functions: Functions) -> str:
    """The ARN of the role that SageMaker works as."""
    return f"arn:aws:iam::{ACCOUNT}:role/{functions.full_name('training')}"


def definition(substitutions: Mapping[str, str]) -> str:
    """`statemachine.json` with its placeholders filled in and its waits cut short: as many retries, within seconds."""
    text = (ROOT / "statemachine.json").read_text()
    machine = json.loads(re.sub(r"\$\{(\w+)\}", lambda placeholder: substitutions[placeholder[1]], text))
    for state in machine["States"].values():
        for retry in state.get("Retry", []):
            retry["IntervalSeconds"] = min(retry["IntervalSeconds"], MAX_RETRY_SECONDS)
            retry["BackoffRate"] = 1.0
            retry.pop("MaxDelaySeconds", None)
    return json.dumps(machine)


def create_table(client: Any, name: str) -> None:
    """Make a table of records.

    Args:
        client: of DynamoDB.
        name: the table's name.
    """
    orders = (listing.OLDEST_FIRST, listing.LEAST_SURE_FIRST)
    types = {"id": "S", "status": "S"} | {order.attribute: order.kind for order in orders}
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": one, "AttributeType": kind} for one, kind in types.items()],
        GlobalSecondaryIndexes=[
            {
                "IndexName": order.index,
                "KeySchema": [
                    {"AttributeName": "status", "KeyType": "HASH"},
                    {"AttributeName": order.attribute, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for order in orders
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def _create_functions(client: Any, functions: Functions, role: str) -> dict[str, str]:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", "")
    sources: list[Any] = [*functions.app.pure_lambda_functions, *functions.app.event_sources]
    configs = {one.name: functions.config.scope(functions.config.chalice_stage, one.name) for one in sources}
    return {
        one.name: client.create_function(
            FunctionName=functions.full_name(one.name),
            Runtime="python3.11",
            Role=role,
            Handler=one.handler_string,
            MemorySize=configs[one.name].lambda_memory_size,
            Timeout=configs[one.name].lambda_timeout,
            Environment={"Variables": configs[one.name].environment_variables},
            Code={"ZipFile": package.getvalue()},
        )["FunctionArn"]
        for one in sources
    }


def _keep_lost_events(client: Any, functions: Functions) -> None:
    """What `python -m infrastructure deploy` sets once the functions are there."""
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{functions.full_name('lost-events')}"
    for name, retries in ASYNCHRONOUS.items():
        client.put_function_event_invoke_config(
            FunctionName=functions.full_name(name),
            MaximumRetryAttempts=retries,
            DestinationConfig={"OnFailure": {"Destination": queue}},
        )


def _add_triggers(clients: Mapping[str, Any], functions: Functions, arns: Mapping[str, str]) -> None:
    """What the decorators in `app.py` ask for: a notification of the bucket, and rules of EventBridge."""
    for trigger in functions.app.event_sources:
        if isinstance(trigger, S3EventConfig):
            prefix = {"Name": "prefix", "Value": trigger.prefix}
            rule = {
                "LambdaFunctionArn": arns[trigger.name],
                "Events": trigger.events,
                "Filter": {"Key": {"FilterRules": [prefix]}},
            }
            clients["s3"].put_bucket_notification_configuration(
                Bucket=trigger.bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [rule]}
            )
            continue
        name = functions.full_name(f"{trigger.name}-event")
        if isinstance(trigger, CloudWatchEventConfig):
            clients["events"].put_rule(Name=name, EventPattern=json.dumps(trigger.event_pattern))
        elif isinstance(trigger, ScheduledEventConfig):
            clients["events"].put_rule(Name=name, ScheduleExpression=_expression(trigger))
        clients["events"].put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arns[trigger.name]}])


def _expression(trigger: ScheduledEventConfig) -> str:
    expression = trigger.schedule_expression
    return expression if isinstance(expression, str) else expression.to_string()


def _create_training_role(client: Any, name: str, bucket: str) -> None:
    """The role of the template, from the files that docs/training.md shows."""
    trust, policy = ((ROOT / "training" / f"role-{kind}.json").read_text() for kind in ("trust", "policy"))
    client.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    policy = policy.replace("BUCKET", bucket).replace("PREFIX", TRAINING_PREFIX)
    client.put_role_policy(RoleName=name, PolicyName="training", PolicyDocument=policy)
