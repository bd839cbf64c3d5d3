"""The endpoint of a stage as it shall be, and what is asked of AWS for that: `endpoint.py` asks it.

Each thing bears a name that follows from what it is, so that a second run finds what the first has made:

    scones-unlimited-STAGE                      the endpoint
    scones-unlimited-STAGE-0123456789ab         a model, and a configuration, by a digest of what they say
    scones-unlimited-STAGE-errors, -latency     the alarms that roll an update back

An update is a blue/green deployment: a second fleet is started, one instance of it gets a part of the traffic, and all
of it only once the alarms have stayed quiet for `BAKING` seconds.
https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from training import aws, prices
from training.aws import Place
from training.errors import InputError
from training.layout import APP
from training.prices import Cost
from training.registry import Package

VARIANT = "AllTraffic"
"""The name of the one production variant, as SageMaker's own tools choose it. An update has to keep it."""

STARTUP_SECONDS = 600
"""Until the container has to answer: it installs onnxruntime first, which takes a minute or two."""

BAKING = 300
"""Seconds that the alarms have to stay quiet, once with the canary and once with all traffic on the new fleet."""

MAX_UPDATE_SECONDS = 3600
"""After which SageMaker gives an update up and rolls it back; between 600 and 28,800."""

ERROR_SHARE = 0.05
"""Of the requests that may fail within a minute. Pictures that the model refuses count, too."""

LATENCY_MICROSECONDS = 2_000_000
"""That all but one of a hundred answers stay under; a picture takes the model 12,000."""

PER_INSTANCE_MINUTE = 2_400
"""Requests a minute that an instance shall get: half of what two processors can do at 24 ms each, since half a core is
what SageMaker calls one. https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-loadtest.html"""

SCALE_IN_SECONDS, SCALE_OUT_SECONDS = 300, 60
"""Between two changes of the number of instances."""

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
POLICY = "requests-per-instance"

Json = dict[str, Any]


@dataclass(frozen=True)
class Instances:
    """Runs day and night.

    Attributes:
        type: of each instance.
        count: how many there are at least.
        most: how many there are while there is much to do.
    """

    type: str
    count: int
    most: int


@dataclass(frozen=True)
class Serverless:
    """Runs while it is asked.

    Attributes:
        memory: in MB: 1024, 2048, ... 6144.
        concurrency: requests at the same time, 1 to 200.
    """

    memory: int
    concurrency: int


@dataclass(frozen=True)
class Capture:
    """What of the traffic is kept for `monitor`.

    Attributes:
        place: where it goes.
        percent: of the requests.
    """

    place: Place
    percent: int


@dataclass(frozen=True)
class Plan:
    """An endpoint as it shall be.

    Attributes:
        stage: whose it is.
        package: the registered model.
        role: ARN of the role that SageMaker works as.
        capacity: what it runs on.
        capture: what is kept of the traffic; None for nothing.
    """

    stage: str
    package: Package
    role: str
    capacity: Instances | Serverless
    capture: Capture | None

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        return endpoint_name(self.stage)

    @property
    def model(self) -> str:
        """The model's name."""
        archive = self.package.properties.get("archive_sha256")  # a new registry counts from 1 again
        return self._name({"package": self.package.arn, "archive": archive, "role": self.role})

    @property
    def config(self) -> str:
        """The configuration's name."""
        return self._name({"variant": variant(self), "capture": data_capture(self.capture)})

    def _name(self, content: Json) -> str:
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{self.endpoint}-{digest[:12]}"


def endpoint_name(stage: str) -> str:
    """The name of a stage's endpoint."""
    return f"{APP}-{stage}"


def alarm_names(stage: str) -> list[str]:
    """The names of the alarms of a stage's endpoint."""
    return [f"{endpoint_name(stage)}-{what}" for what in ("errors", "latency")]


def check(plan: Plan) -> None:
    """Make sure that AWS can do what is planned, as far as that is known beforehand.

    Raises:
        InputError: it cannot.
    """
    if isinstance(plan.capacity, Serverless) and plan.capture:
        raise InputError(
            "A serverless endpoint captures no data, so `monitor` would see nothing. Leave out --capture, or "
            "--serverless."
        )
    if isinstance(plan.capacity, Instances) and plan.capacity.most < plan.capacity.count:
        raise InputError("--max-instances is less than --instances.")


def costs(plan: Plan) -> list[Cost]:
    """What the endpoint will cost at list prices.

    Raises:
        InputError: the price of the instances is not known.
    """
    match plan.capacity:
        case Instances(kind, count, most):
            found = prices.instances(kind, count, most)
        case Serverless(memory, _):
            found = prices.serverless(memory / 1024)
    if plan.capture:
        found.append(prices.captured(plan.capture.percent / 100))
    return [*found, prices.alarms(len(alarm_names(plan.stage)))]


def variant(plan: Plan) -> Json:
    """The production variant."""
    common = {"VariantName": VARIANT, "ModelName": plan.model, "InitialVariantWeight": 1.0}
    match plan.capacity:
        case Serverless(memory, concurrency):
            return common | {"ServerlessConfig": {"MemorySizeInMB": memory, "MaxConcurrency": concurrency}}
        case Instances(kind, count, _):
            return common | {
                "InstanceType": kind,
                "InitialInstanceCount": count,
                "ContainerStartupHealthCheckTimeoutInSeconds": STARTUP_SECONDS,
            }


def data_capture(capture: Capture | None) -> Json | None:
    """What is captured: both pictures and answers, pictures as base64 and answers as JSON."""
    if capture is None:
        return None
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": capture.percent,
        "DestinationS3Uri": str(capture.place),
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }


def model_request(plan: Plan) -> Json:
    """What `CreateModel` is asked."""
    return {
        "ModelName": plan.model,
        "PrimaryContainer": {"ModelPackageName": plan.package.arn},
        "ExecutionRoleArn": plan.role,
        "Tags": aws.tags(plan.stage),
    }


def config_request(plan: Plan) -> Json:
    """What `CreateEndpointConfig` is asked."""
    captured = data_capture(plan.capture)
    return {
        "EndpointConfigName": plan.config,
        "ProductionVariants": [variant(plan)],
        "Tags": aws.tags(plan.stage),
        **({"DataCaptureConfig": captured} if captured else {}),
    }


def update_request(plan: Plan, *, keep_count: bool) -> Json:
    """What `UpdateEndpoint` is asked.

    With one instance there is nothing to divide, and all traffic goes to the new one at once; the old one stays until
    the alarms have stayed quiet. A serverless endpoint takes no such policy: SageMaker puts it in force as soon as it
    answers. https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html

    Args:
        plan: the endpoint as it shall be.
        keep_count: whether as many instances stay as there are now. Otherwise there are as many as planned.
    """
    request: Json = {
        "EndpointName": plan.endpoint,
        "EndpointConfigName": plan.config,
        "RetainAllVariantProperties": keep_count,
    }
    if isinstance(plan.capacity, Serverless):
        return request
    routing: Json = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    if plan.capacity.count > 1:
        size = {"Type": "INSTANCE_COUNT", "Value": 1}
        routing = {"Type": "CANARY", "WaitIntervalInSeconds": BAKING, "CanarySize": size}
    return request | {
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing,
                "TerminationWaitInSeconds": BAKING,
                "MaximumExecutionTimeoutInSeconds": MAX_UPDATE_SECONDS,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarm_names(plan.stage)]},
        }
    }


def alarm_requests(stage: str) -> list[Json]:
    """What `PutMetricAlarm` is asked: that requests fail, and that answers are slow."""
    endpoint = endpoint_name(stage)
    errors, latency = alarm_names(stage)
    common = {
        "Namespace": "AWS/SageMaker",
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": VARIANT}],
        "Period": 60,
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "Tags": aws.tags(stage),
    }
    return [
        {
            "AlarmName": errors,
            "AlarmDescription": f"More than {ERROR_SHARE:.0%} of the requests to {endpoint} fail.",
            "MetricName": "Invocation5XXErrors",
            "Statistic": "Average",
            "Threshold": ERROR_SHARE,
            **common,
        },
        {
            "AlarmName": latency,
            "AlarmDescription": f"{endpoint} takes longer than {LATENCY_MICROSECONDS / 1e6:g} s.",
            "MetricName": "ModelLatency",
            "ExtendedStatistic": "p99",
            "Threshold": LATENCY_MICROSECONDS,
            **common,
        },
    ]


def scaling_target(endpoint: str) -> dict[str, str]:
    """An endpoint as Application Auto Scaling names it."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }


def scaling_requests(endpoint: str, capacity: Instances) -> tuple[Json, Json]:
    """What `RegisterScalableTarget` and `PutScalingPolicy` are asked: instances that follow the traffic.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-code-apply.html
    """
    target = scaling_target(endpoint)
    return target | {"MinCapacity": capacity.count, "MaxCapacity": capacity.most}, target | {
        "PolicyName": POLICY,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": float(PER_INSTANCE_MINUTE),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleInCooldown": SCALE_IN_SECONDS,
            "ScaleOutCooldown": SCALE_OUT_SECONDS,
        },
    }
