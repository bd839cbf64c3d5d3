"""Everything that training has made on AWS for a stage, found by name and tag, and removed.

A thing that does not bear the tags of `aws.tags` is left alone, whatever its name. Training jobs stay: AWS does not
delete any, and they cost nothing.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from commandline.removal import Found
from training import aws, deploy, endpoint, registry, upload
from training.aws import Place
from training.endpoint import Tell
from training.errors import AccountError
from training.layout import S3_CAPTURE, S3_FOLDERS


def find(stage: str, tell: Tell, max_wait: float) -> list[Found]:
    """What `deploy` has made for a stage, in the order in which it is removed.

    Args:
        stage: its name.
        tell: told of the endpoint's state while it is being deleted.
        max_wait: seconds to wait for that.
    """
    name = deploy.endpoint_name(stage)
    return [
        *_scaling(name),
        *_endpoint(name, stage, tell, max_wait),
        *_named("endpoint configuration", "endpoint_config", "EndpointConfig", name, stage),
        *_named("model", "model", "Model", name, stage),
        *_alarms(stage),
        *_log_group(endpoint.log_group(name)),
    ]


def find_registry() -> list[Found]:
    """All versions in the model registry, and their group."""
    sagemaker = aws.client("sagemaker")
    try:
        group = sagemaker.describe_model_package_group(ModelPackageGroupName=registry.GROUP)
    except ClientError as error:
        if aws.is_missing(error):
            return []
        raise
    if not aws.is_ours(group["ModelPackageGroupArn"]):
        return []
    versions = [
        Found("model version", arn, partial(sagemaker.delete_model_package, ModelPackageName=arn))
        for arn in registry.arns()
    ]
    remove = partial(sagemaker.delete_model_package_group, ModelPackageGroupName=registry.GROUP)
    return [*versions, Found("model group", registry.GROUP, remove)]


def find_data(place: Place, *, is_captured: bool) -> list[Found]:
    """What training has put below a place in S3: one entry for each of its folders that is not empty.

    Args:
        place: in S3.
        is_captured: whether there is an endpoint that may still write what it has captured, until it is gone.

    Raises:
        AccountError: there is no such bucket.
    """
    return [
        Found("folder in S3", f"{place / folder}/, {count} objects", partial(_empty, place / folder))
        for folder in S3_FOLDERS
        if (count := sum(len(page) for page in _versions(place / folder))) or (is_captured and folder == S3_CAPTURE)
    ]


def _scaling(name: str) -> Iterator[Found]:
    if endpoint.is_scaled(name):
        yield Found("autoscaling", deploy.scaling_target(name)["ResourceId"], partial(endpoint.stop_scaling, name))


def _endpoint(name: str, stage: str, tell: Tell, max_wait: float) -> Iterator[Found]:
    found = endpoint.describe(name)
    if found and aws.is_ours(found["EndpointArn"], stage):
        yield Found("endpoint", name, partial(endpoint.delete, name, tell, max_wait))


def _named(kind: str, operation: str, key: str, name: str, stage: str) -> list[Found]:
    """Models or configurations whose names begin with an endpoint's name and a digest follows."""
    sagemaker = aws.client("sagemaker")
    remove = getattr(sagemaker, f"delete_{operation}")
    pages = sagemaker.get_paginator(f"list_{operation}s").paginate(NameContains=f"{name}-")
    return [
        Found(kind, one[f"{key}Name"], partial(remove, **{f"{key}Name": one[f"{key}Name"]}))
        for page in pages
        for one in page[f"{key}s"]
        if one[f"{key}Name"].startswith(f"{name}-") and aws.is_ours(one[f"{key}Arn"], stage)
    ]


def _alarms(stage: str) -> list[Found]:
    cloudwatch = aws.client("cloudwatch")
    found = cloudwatch.describe_alarms(AlarmNames=deploy.alarm_names(stage))["MetricAlarms"]
    names = sorted(one["AlarmName"] for one in found)
    return [Found("alarm", name, partial(cloudwatch.delete_alarms, AlarmNames=[name])) for name in names]


def _log_group(name: str) -> list[Found]:
    logs = aws.client("logs")
    found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return [
        Found("log group", name, partial(logs.delete_log_group, logGroupName=name))
        for one in found
        if one["logGroupName"] == name
    ]


def _versions(place: Place) -> Iterator[list[dict[str, str]]]:
    """Keys and versions of all objects below a place, deleted ones among them, page by page."""
    s3 = aws.client("s3")
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=place.bucket,
        Prefix=f"{place.prefix}/",
        ExpectedBucketOwner=aws.account(),
    )
    try:
        for page in pages:
            found: list[dict[str, Any]] = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
    except s3.exceptions.NoSuchBucket as error:
        raise AccountError(f"There is no bucket {place.bucket}. Name another with --s3.") from error


def _empty(place: Place) -> None:
    for objects in _versions(place):
        upload.delete_objects(place.bucket, objects)
