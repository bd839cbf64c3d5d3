"""A stage as it is when everything is well, made in an embedded AWS of its own, so that a test can break one thing."""

import io
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from infrastructure import chalice
from infrastructure.checks import workflow
from infrastructure.checks.common import Site
from infrastructure.names import Names
from local import ROOT
from tests.infrastructure.conftest import forget_clients
from tests.training.validation import checking_session
from training.model_archive import pack

Json = dict[str, Any]

NAMES = Names("dev", "123456789012", "us-east-1")
LABELS = "bicycle/motorcycle"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
PATIENCE = 20.0


def allow(action: str | list[str], resource: str | list[str]) -> Json:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


STEPS = [NAMES.function_arn(name) for name in ("serialize", "classify", "filter")]
TABLE = NAMES.arn("dynamodb", f"table/{NAMES.records_table}")
EXECUTIONS = NAMES.arn("states", f"execution:{NAMES.backfill}")
RESULTS = f"arn:aws:s3:::{NAMES.training_bucket}/backfill/*"

WORKFLOW_MAY = [
    allow("lambda:InvokeFunction", STEPS),
    allow(["dynamodb:PutItem", "dynamodb:UpdateItem"], TABLE),
    allow("sns:Publish", NAMES.arn("sns", NAMES.held_back_topic)),
]
BACKFILL_MAY = [
    allow("lambda:InvokeFunction", [NAMES.function_arn("open_record"), *STEPS]),
    allow("dynamodb:UpdateItem", TABLE),
    allow("states:StartExecution", NAMES.arn("states", f"stateMachine:{NAMES.backfill}")),
    allow(["states:DescribeExecution", "states:StopExecution"], f"{EXECUTIONS}:*"),
    allow(["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"], RESULTS),
]
"""As `infrastructure/template.yaml` has it; written down here once more, since this is what is tested."""

STAND_IN = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
"""For the backfill's state machine, which moto cannot read: it knows no results of distributed maps."""

EMPTY_STACK = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "unused"}}}})


@dataclass
class Quotas:
    """What AWS allows, since no emulator tells: in the shapes that botocore's models of the services have.

    Attributes:
        concurrency: of Lambda, in all.
        reserved: how many of these are reserved for others.
        instances: of SageMaker, for endpoints, by type.
        backfill: the definition that Step Functions tells of the backfill's state machine.
        refused: operations that are answered with this error.
        altered: what is made of the answers of operations, for what no emulator can be brought to say.
    """

    concurrency: int = 1000
    reserved: int = 0
    instances: dict[str, int] = field(default_factory=lambda: {"ml.m5.large": 4})
    backfill: str = ""
    refused: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    altered: dict[str, Callable[[Json], None]] = field(default_factory=dict)

    def settings(self, **_: Any) -> tuple[Any, Json]:
        free = self.concurrency - self.reserved
        limit = {"ConcurrentExecutions": self.concurrency, "UnreservedConcurrentExecutions": free}
        return SimpleNamespace(status_code=200), {"AccountLimit": limit}

    def quotas(self, **_: Any) -> tuple[Any, Json]:
        found = [
            {"QuotaName": f"{kind} for endpoint usage", "Value": float(value)} for kind, value in self.instances.items()
        ]
        return SimpleNamespace(status_code=200), {"Quotas": found}

    def refuse(self, model: Any, **_: Any) -> tuple[Any, Json] | None:
        if model.name not in self.refused:
            return None
        status, code, message = self.refused[model.name]
        return SimpleNamespace(status_code=status), {"Error": {"Code": code, "Message": message}}

    def alter(self, model: Any, parsed: Json, **_: Any) -> None:
        if parsed.get("name") == NAMES.backfill and parsed.get("definition") == STAND_IN:
            parsed["definition"] = self.backfill
        if model.name in self.altered and "Error" not in parsed:
            self.altered[model.name](parsed)


@dataclass
class Stage:
    """The stage that is well.

    Attributes:
        folder: its `.chalice`, a copy that can be written into.
        quotas: what AWS allows.
        environment: the variables by which its AWS is found.
        names: of the stage.
    """

    folder: Path
    quotas: Quotas
    environment: dict[str, str]
    names: Names = NAMES

    def client(self, service: str) -> Any:
        return boto3.client(service)  # type: ignore[call-overload]

    @property
    def site(self) -> Site:
        return Site(self.names, self.folder)

    @contextmanager
    def config(self, change: Any) -> Iterator[None]:
        """`config.json` with a change in it."""
        path = self.folder / "config.json"
        before = path.read_text()
        content = json.loads(before)
        change(content["stages"][self.names.stage])
        path.write_text(json.dumps(content))
        yield
        path.write_text(before)

    @contextmanager
    def refusing(
        self, operation: str, code: str = "AccessDenied", message: str = "", status: int = 403
    ) -> Iterator[None]:
        """An operation of AWS that is answered with an error."""
        self.quotas.refused[operation] = (status, code, message)
        yield
        del self.quotas.refused[operation]

    @contextmanager
    def altering(self, operation: str, change: Callable[[Json], None]) -> Iterator[None]:
        """An operation of AWS whose answers are changed."""
        self.quotas.altered[operation] = change
        yield
        del self.quotas.altered[operation]


@contextmanager
def stage(environment: dict[str, str], folder: Path) -> Iterator[Stage]:
    """Make everything, in an AWS that is emptied first.

    Args:
        environment: the variables by which the AWS is found.
        folder: for a copy of `.chalice`.
    """
    with urlopen(Request(f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")):  # noqa: S310
        pass
    quotas, session = Quotas(), checking_session()
    listen: Any = session.events  # whose answers are taken for AWS's, which its types do not say
    listen.register("before-call.lambda.GetAccountSettings", quotas.settings)
    listen.register("before-call.service-quotas.ListServiceQuotas", quotas.quotas)
    listen.register("before-call.service-quotas.ListAWSDefaultServiceQuotas", quotas.quotas)
    listen.register_first("before-call", quotas.refuse)
    listen.register("after-call", quotas.alter)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", session)
        forget_clients()
        made = Stage(folder / ".chalice", quotas, environment)
        shutil.copytree(ROOT / ".chalice", made.folder, ignore=shutil.ignore_patterns("deploy*"))
        _make(made, folder)
        yield made
    forget_clients()


def _make(made: Stage, folder: Path) -> None:
    for bucket in (NAMES.inbox_bucket, NAMES.training_bucket):
        make_bucket(made, bucket)
    let_pages_post(made, *PAGES_HERE)
    make_table(made)
    iam = made.client("iam")
    for role, service in (
        (NAMES.backfill, "states"),
        (NAMES.training_role, "sagemaker"),
        (NAMES.workflow_role, "states"),
    ):
        make_role(made, role, service)
    policy = (ROOT / "training" / "role-policy.json").read_text()
    policy = policy.replace("BUCKET", NAMES.training_bucket).replace("PREFIX", "training")
    iam.put_role_policy(RoleName=NAMES.training_role, PolicyName="training", PolicyDocument=policy)
    make_messages(made)
    make_workflow(made)
    for name in made.site.functions:
        make_function(made, name)
    chalice.keep_lost_events(NAMES)
    make_trigger(made)
    make_rules(made)
    make_api(made)
    make_endpoint(made, folder)
    for bucket in (NAMES.inbox_bucket, NAMES.training_bucket):
        require_tls(made, bucket)  # at last: moto takes its condition for met, and lets nobody in any more
    made.client("cloudformation").create_stack(StackName=NAMES.prefix, TemplateBody=EMPTY_STACK)


def make_bucket(made: Stage, bucket: str) -> None:
    s3 = made.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    encrypt(made, bucket)
    block_public_access(made, bucket)


def encrypt(made: Stage, bucket: str) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    made.client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


def block_public_access(made: Stage, bucket: str, *, all_of_it: bool = True) -> None:
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    block = {name: all_of_it or name != "BlockPublicPolicy" for name in names}
    made.client("s3").put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)


def require_tls(made: Stage, bucket: str) -> None:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    made.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def make_table(made: Stage) -> None:
    dynamodb = made.client("dynamodb")
    dynamodb.create_table(
        TableName=NAMES.records_table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=ATTRIBUTES,
        GlobalSecondaryIndexes=[table_index("by_status", "updated_at"), table_index("by_sureness", "sureness")],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    keep_backups(made, on=True)


ATTRIBUTES = [
    {"AttributeName": name, "AttributeType": kind}
    for name, kind in (("id", "S"), ("status", "S"), ("updated_at", "S"), ("sureness", "N"))
]


def table_index(name: str, second: str) -> Json:
    keys = [{"AttributeName": "status", "KeyType": "HASH"}, {"AttributeName": second, "KeyType": "RANGE"}]
    return {"IndexName": name, "KeySchema": keys, "Projection": {"ProjectionType": "ALL"}}


def let_pages_post(made: Stage, *origins: str) -> None:
    rule = {"AllowedMethods": ["POST"], "AllowedOrigins": [*origins]}
    made.client("s3").put_bucket_cors(Bucket=NAMES.inbox_bucket, CORSConfiguration={"CORSRules": [rule]})


PAGES_HERE = ("http://127.0.0.1:*", "http://localhost:*")


def keep_backups(made: Stage, *, on: bool) -> None:
    made.client("dynamodb").update_continuous_backups(
        TableName=NAMES.records_table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on}
    )


def make_role(made: Stage, role: str, service: str) -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made.client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=trust)


def make_messages(made: Stage) -> None:
    sns = made.client("sns")
    sns.create_topic(Name=NAMES.held_back_topic)
    topic = sns.create_topic(Name=NAMES.alarms_topic)["TopicArn"]
    queue = made.client("sqs").create_queue(QueueName=NAMES.lost_events)["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="person@example.com")
    assert queue
    make_alarm(made)


def make_alarm(made: Stage) -> None:
    made.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{NAMES.prefix}-failed-executions",
        AlarmDescription="Executions of the workflow fail.",
        Namespace="AWS/States",
        MetricName="ExecutionsFailed",
        Statistic="Sum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
    )


def make_workflow(made: Stage) -> None:
    for name in (NAMES.prefix, NAMES.backfill):
        made.client("logs").create_log_group(logGroupName=f"/aws/vendedlogs/states/{name}")
        keep_logs(made, f"/aws/vendedlogs/states/{name}")
        make_machine(made, name)
    put_machine_policy(made, NAMES.workflow_role, WORKFLOW_MAY)
    put_machine_policy(made, NAMES.backfill, BACKFILL_MAY)


def put_machine_policy(made: Stage, role: str, statements: list[Json]) -> None:
    logs = allow("logs:CreateLogDelivery", "*")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [*statements, logs]})
    made.client("iam").put_role_policy(RoleName=role, PolicyName="tasks", PolicyDocument=policy)


def make_machine(made: Stage, name: str) -> None:
    role = NAMES.workflow_role if name == NAMES.prefix else NAMES.backfill
    definition = workflow.definition(made.site, name)
    if name == NAMES.backfill:
        made.quotas.backfill, definition = definition, STAND_IN
    made.client("stepfunctions").create_state_machine(
        name=name,
        definition=definition,
        roleArn=f"arn:aws:iam::{NAMES.account}:role/{role}",
        loggingConfiguration=logging_to(name),
        tracingConfiguration={"enabled": True},
    )


def logging_to(name: str, *, data: bool = False) -> Json:
    arn = NAMES.arn("logs", f"log-group:/aws/vendedlogs/states/{name}:*")
    destinations = [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]
    return {"level": "ERROR", "includeExecutionData": data, "destinations": destinations}


def keep_logs(made: Stage, group: str) -> None:
    made.client("logs").put_retention_policy(logGroupName=group, retentionInDays=30)


def make_function(made: Stage, name: str) -> None:
    site, role = made.site, f"{NAMES.prefix}-{name}"
    make_role(made, role, "lambda")
    put_policy(made, name, json.loads(site.policy_file(name).read_text()))
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", "")
    made.client("lambda").create_function(
        FunctionName=NAMES.function(name),
        Runtime="python3.12",
        Role=f"arn:aws:iam::{NAMES.account}:role/{role}",
        Handler="app.app",
        MemorySize=site.setting(name, "lambda_memory_size", 128),
        Timeout=site.setting(name, "lambda_timeout", 60),
        Environment={"Variables": site.environment},
        Code={"ZipFile": package.getvalue()},
    )
    groups = {one["logGroupName"] for one in made.client("logs").describe_log_groups()["logGroups"]}
    if NAMES.function_log_group(name) not in groups:
        made.client("logs").create_log_group(logGroupName=NAMES.function_log_group(name))
        keep_logs(made, NAMES.function_log_group(name))


def put_policy(made: Stage, name: str, policy: Json) -> None:
    role = f"{NAMES.prefix}-{name}"
    made.client("iam").put_role_policy(RoleName=role, PolicyName=role, PolicyDocument=json.dumps(policy))


def make_trigger(made: Stage) -> None:
    permit(made, "on_picture", "s3", f"arn:aws:s3:::{NAMES.inbox_bucket}", SourceAccount=NAMES.account)
    put_rules(made, [lambda_rule()])


def permit(made: Stage, name: str, service: str, source: str, **more: str) -> None:
    made.client("lambda").add_permission(
        FunctionName=NAMES.function(name),
        StatementId=service,
        Action="lambda:InvokeFunction",
        Principal=f"{service}.amazonaws.com",
        SourceArn=source,
        **more,
    )


def forbid(made: Stage, name: str, service: str) -> None:
    made.client("lambda").remove_permission(FunctionName=NAMES.function(name), StatementId=service)


def lambda_rule(prefix: str = "inbox/", function: str = "on_picture", event: str = "s3:ObjectCreated:*") -> Json:
    return {
        "Id": f"{function}-{prefix}",
        "LambdaFunctionArn": NAMES.function_arn(function),
        "Events": [event],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
    }


def put_rules(made: Stage, rules: list[Json], **others: list[Json]) -> None:
    made.client("s3").put_bucket_notification_configuration(
        Bucket=NAMES.inbox_bucket, NotificationConfiguration={"LambdaFunctionConfigurations": rules, **others}
    )


def make_rules(made: Stage) -> None:
    for name in ("on_stopped", "reconcile", "measure"):
        make_rule(made, name)
        permit(made, name, "events", NAMES.arn("events", f"rule/{NAMES.function(name)}-event"))


def pattern(
    machine: str = NAMES.state_machine_arn, endings: tuple[str, ...] = ("FAILED", "TIMED_OUT", "ABORTED")
) -> str:
    return json.dumps(
        {
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {"status": list(endings), "stateMachineArn": [machine]},
        }
    )


def make_rule(made: Stage, name: str, text: str = "") -> None:
    events, rule = made.client("events"), f"{NAMES.function(name)}-event"
    what = {"EventPattern": text or pattern()} if name == "on_stopped" else {"ScheduleExpression": "rate(1 hour)"}
    events.put_rule(Name=rule, **what)
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": NAMES.function_arn(name)}])


def make_api(made: Stage, kind: str = "AWS_IAM", stage_name: str = "api") -> str:
    api = made.client("apigateway")
    identity: str = api.create_rest_api(name="scones-unlimited")["id"]
    parent = api.get_resources(restApiId=identity)["items"][0]["id"]
    resource = api.create_resource(restApiId=identity, parentId=parent, pathPart="classifications")["id"]
    where = {"restApiId": identity, "resourceId": resource, "httpMethod": "POST"}
    api.put_method(**where, authorizationType=kind)
    api.put_integration(
        **where,
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{NAMES.region}:lambda:path/2015-03-31/functions/{NAMES.function_arn('api_handler')}"
        "/invocations",
    )
    api.create_deployment(restApiId=identity, stageName=stage_name)
    permit_api(made, identity)
    return identity


def permit_api(made: Stage, identity: str) -> None:
    made.client("lambda").add_permission(
        FunctionName=NAMES.function("api_handler"),
        StatementId=f"api-{identity}",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=NAMES.arn("execute-api", f"{identity}/*"),
    )


def remove_api(made: Stage, identity: str) -> None:
    made.client("apigateway").delete_rest_api(restApiId=identity)
    forbid(made, "api_handler", f"api-{identity}")


def make_endpoint(made: Stage, folder: Path) -> None:
    sagemaker, archive = made.client("sagemaker"), folder / "model.tar.gz"
    pack(ROOT / "model", archive)
    made.client("s3").put_object(Bucket=NAMES.training_bucket, Key="training/model.tar.gz", Body=archive.read_bytes())
    sagemaker.create_model_package_group(ModelPackageGroupName="scones-unlimited")
    container = {
        "Image": IMAGE,
        "ModelDataUrl": f"s3://{NAMES.training_bucket}/training/model.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    }
    package = sagemaker.create_model_package(
        ModelPackageGroupName="scones-unlimited",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["image/png"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        CustomerMetadataProperties={"labels": LABELS},
    )["ModelPackageArn"]
    sagemaker.create_model(
        ModelName="model",
        PrimaryContainer={"ModelPackageName": package},
        ExecutionRoleArn=f"arn:aws:iam::{NAMES.account}:role/{NAMES.training_role}",
    )
    make_endpoint_config(made, "config", f"s3://{NAMES.training_bucket}/training/capture/dev")
    create_endpoint(made, "config")


def make_endpoint_config(made: Stage, name: str, capture: str = "", **capacity: Any) -> None:
    captured = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": capture,
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    }
    capacity = capacity or {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    made.client("sagemaker").create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": "model", **capacity}],
        **({"DataCaptureConfig": captured} if capture else {}),
    )


def create_endpoint(made: Stage, config: str) -> None:
    made.client("sagemaker").create_endpoint(EndpointName=NAMES.prefix, EndpointConfigName=config)
    settle(made)


def settle(made: Stage) -> None:
    """Wait until nothing is done to the endpoint."""
    sagemaker, deadline = made.client("sagemaker"), time.monotonic() + PATIENCE
    while sagemaker.describe_endpoint(EndpointName=NAMES.prefix)["EndpointStatus"] not in ("InService", "Failed"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def delete_endpoint(made: Stage) -> None:
    sagemaker, deadline = made.client("sagemaker"), time.monotonic() + PATIENCE
    sagemaker.delete_endpoint(EndpointName=NAMES.prefix)
    while any(one["EndpointName"] == NAMES.prefix for one in sagemaker.list_endpoints()["Endpoints"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
