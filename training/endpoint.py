"""The endpoint of a stage on SageMaker: made or updated, waited for, scaled and deleted."""

import time
from collections.abc import Callable

from botocore.exceptions import ClientError

from training import aws, deploy
from training.deploy import Instances, Json, Plan, Serverless
from training.errors import EndpointFailed, InputError, TrainingError

BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
IN_SERVICE = "InService"
BROKEN = ("Failed", "OutOfService", "UpdateRollbackFailed")

POLL_INTERVAL = 2.0
"""Seconds between two looks at an endpoint."""

Tell = Callable[[str], None]
"""Told of the endpoint's state in words, as often as it changes."""


def describe(name: str) -> Json | None:
    """What SageMaker says of an endpoint; None if there is none."""
    try:
        found: Json = aws.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if aws.is_missing(error):
            return None
        raise
    return found


def bring_about(plan: Plan, tell: Tell, max_wait: float) -> bool:
    """Make the endpoint what it shall be, and wait until it is.

    Args:
        plan: what it shall be.
        tell: told of its state.
        max_wait: seconds.

    Returns:
        Whether that changed the endpoint.

    Raises:
        InputError: there is an endpoint of this name that is not ours, or cannot become what it shall be.
        EndpointFailed: it does not come up, or was rolled back.
    """
    deadline = time.monotonic() + max_wait
    found = settled(plan.endpoint, tell, deadline)
    before = _check_possible(plan, found) if found else {}
    for asked in deploy.alarm_requests(plan.stage):
        aws.client("cloudwatch").put_metric_alarm(**asked)
    _create_unless_there("model", plan.model, deploy.model_request(plan))
    _create_unless_there("endpoint_config", plan.config, deploy.config_request(plan))
    if found and found["EndpointStatus"] in BROKEN:
        tell(f"{plan.endpoint} is {found['EndpointStatus']}. It is made anew.")
        delete(plan.endpoint, tell, max_wait)
        found = None
    changes = found is None or found["EndpointConfigName"] != plan.config
    if found is None:
        aws.client("sagemaker").create_endpoint(
            EndpointName=plan.endpoint, EndpointConfigName=plan.config, Tags=aws.tags(plan.stage)
        )
    elif changes:
        same = isinstance(plan.capacity, Instances) and before.get("InstanceType") == plan.capacity.type
        if not same:  # AWS refuses to change the type of instances that are being scaled
            stop_scaling(plan.endpoint)
        aws.client("sagemaker").update_endpoint(**deploy.update_request(plan, keep_count=same))
    if changes:
        _check_outcome(plan, settled(plan.endpoint, tell, deadline))
    scale(plan.endpoint, plan.capacity)
    return changes


def _check_possible(plan: Plan, found: Json) -> Json:
    """Make sure that an endpoint may and can become what is planned; its variant as it was configured."""
    if not aws.is_ours(found["EndpointArn"], plan.stage):
        raise InputError(
            f"There is an endpoint {plan.endpoint} that this command has not made. It was left alone. Choose another "
            "--stage, or remove it yourself."
        )
    before = _variant(found["EndpointConfigName"])
    if "InstanceType" in before and isinstance(plan.capacity, Serverless):
        raise InputError(
            f"{plan.endpoint} runs on instances, and AWS does not make such an endpoint serverless. Remove it with "
            f"`python -m training teardown --stage {plan.stage}` first. Meanwhile pictures fail; they can be started "
            "again."
        )
    return before


def settled(name: str, tell: Tell, deadline: float) -> Json | None:
    """Wait until nothing changes about an endpoint.

    Args:
        name: its name.
        tell: told of its state.
        deadline: on the monotonic clock, in seconds.

    Returns:
        What SageMaker says of it; None if there is none.

    Raises:
        EndpointFailed: it takes too long.
        TrainingError: nobody wants to wait any longer; SageMaker goes on.
    """
    last = ""
    try:
        while True:
            found = describe(name)
            state = found["EndpointStatus"] if found else ""
            if state not in BUSY:
                return found
            if state != last:
                tell(f"{name} is {state}.")
                last = state
            if time.monotonic() > deadline:
                raise EndpointFailed(
                    f"{name} is still {state}. SageMaker goes on; run the same command again to go on waiting, or look "
                    f"at the log group {log_group(name)}."
                )
            time.sleep(POLL_INTERVAL)
    except KeyboardInterrupt as error:
        raise TrainingError(
            f"SageMaker goes on with {name} without you. Run the same command again to go on waiting."
        ) from error


def log_group(name: str) -> str:
    """Where the containers of an endpoint log: https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html."""
    return f"/aws/sagemaker/Endpoints/{name}"


def _check_outcome(plan: Plan, found: Json | None) -> None:
    if found is None:
        raise EndpointFailed(f"{plan.endpoint} was deleted by somebody meanwhile. Run the same command again.")
    reason = found.get("FailureReason") or "no reason given"
    if found["EndpointStatus"] != IN_SERVICE:
        raise EndpointFailed(
            f"{plan.endpoint} is {found['EndpointStatus']}: {reason} Its log is in the log group "
            f"{log_group(plan.endpoint)}. Deploy another model with --package, or remove what was made with "
            f"`python -m training teardown --stage {plan.stage}`."
        )
    if found["EndpointConfigName"] != plan.config:
        raise EndpointFailed(
            f"The update of {plan.endpoint} was rolled back; it serves what it served before. {reason} Its log is in "
            f"the log group {log_group(plan.endpoint)}."
        )


def _variant(config: str) -> Json:
    """The production variant of a configuration; an empty one if the configuration is gone."""
    try:
        found = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=config)
    except ClientError as error:
        if aws.is_missing(error):
            return {}
        raise
    variant: Json = found["ProductionVariants"][0]
    return variant


def _create_unless_there(kind: str, name: str, asked: Json) -> None:
    sagemaker = aws.client("sagemaker")
    key = "".join(part.capitalize() for part in kind.split("_")) + "Name"
    try:
        getattr(sagemaker, f"describe_{kind}")(**{key: name})
    except ClientError as error:
        if not aws.is_missing(error):
            raise
        getattr(sagemaker, f"create_{kind}")(**asked)


def delete(name: str, tell: Tell, max_wait: float) -> None:
    """Delete an endpoint, once it is in the middle of nothing, and wait until it is gone.

    Args:
        name: its name.
        tell: told of its state.
        max_wait: seconds.

    Raises:
        EndpointFailed: it takes too long.
    """
    deadline = time.monotonic() + max_wait
    if settled(name, tell, deadline):
        aws.client("sagemaker").delete_endpoint(EndpointName=name)
        settled(name, tell, deadline)


def scale(name: str, capacity: Instances | Serverless) -> None:
    """Let the number of an endpoint's instances follow its traffic, if it has instances."""
    if isinstance(capacity, Instances):
        scaling = aws.client("application-autoscaling")
        target, policy = deploy.scaling_requests(name, capacity)
        scaling.register_scalable_target(**target)
        scaling.put_scaling_policy(**policy)


def is_scaled(endpoint: str) -> bool:
    """Whether the number of an endpoint's instances follows its traffic."""
    target = deploy.scaling_target(endpoint)
    found = aws.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace=target["ServiceNamespace"], ResourceIds=[target["ResourceId"]]
    )
    return bool(found["ScalableTargets"])


def stop_scaling(endpoint: str) -> None:
    """Let an endpoint's instances stay as many as they are. Its policies, and their alarms, go with that."""
    if is_scaled(endpoint):
        aws.client("application-autoscaling").deregister_scalable_target(**deploy.scaling_target(endpoint))
