"""What moto's CloudFormation passes over, made by calls of the services themselves: kinds, and properties of kinds.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError

Json = dict[str, Any]


class Declared:
    """Something of a template, for moto to remember and to delete.

    Attributes:
        physical_resource_id: the name that AWS knows it by.
        arn: what it is called elsewhere.
    """

    def __init__(self, name: str, arn: str, undo: Callable[[], object]) -> None:
        self.physical_resource_id, self.arn, self._undo = name, arn, undo

    def get_cfn_attribute(self, _name: str) -> str:
        """Its ARN, the one attribute that a template asks for."""
        return self.arn

    def is_created(self) -> bool:
        """At once."""
        return True

    def delete(self, _account: str, _region: str) -> None:
        """Take it away; what it belonged to may be gone already."""
        try:
            self._undo()
        except ClientError:
            return


def _bucket_policy(properties: Json) -> Declared:
    bucket, client = properties["Bucket"], boto3.client("s3")
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(properties["PolicyDocument"]))
    return Declared(bucket, "", lambda: client.delete_bucket_policy(Bucket=bucket))


def _topic_policy(properties: Json) -> Declared:
    document = json.dumps(properties["PolicyDocument"])
    for topic in properties["Topics"]:
        boto3.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=document)
    return Declared(properties["Topics"][0], "", lambda: None)


def _queue_policy(properties: Json) -> Declared:
    document = json.dumps(properties["PolicyDocument"])
    for queue in properties["Queues"]:
        boto3.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": document})
    return Declared(properties["Queues"][0], "", lambda: None)


def _subscription(properties: Json) -> Declared:
    client = boto3.client("sns")
    arn = client.subscribe(**properties, ReturnSubscriptionArn=True)["SubscriptionArn"]
    return Declared(arn, arn, lambda: client.unsubscribe(SubscriptionArn=arn))


def _metric_filter(properties: Json) -> Declared:
    group, name, client = properties["LogGroupName"], properties["FilterName"], boto3.client("logs")
    client.put_metric_filter(
        logGroupName=group,
        filterName=name,
        filterPattern=properties["FilterPattern"],
        metricTransformations=[_transformation(one) for one in properties["MetricTransformations"]],
    )
    return Declared(name, "", lambda: client.delete_metric_filter(logGroupName=group, filterName=name))


def _transformation(given: Json) -> Json:
    named = {name[0].lower() + name[1:]: value for name, value in given.items()}
    dimensions = {one["Key"]: one["Value"] for one in named.pop("dimensions", [])}
    return named | ({"dimensions": dimensions} if dimensions else {})


def _alarm(properties: Json) -> Declared:
    name, client = properties["AlarmName"], boto3.client("cloudwatch")
    client.put_metric_alarm(**{key: value for key, value in properties.items() if key != "Tags"})
    (alarm,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return Declared(name, alarm["AlarmArn"], lambda: client.delete_alarms(AlarmNames=[name]))


def _user_pool(properties: Json) -> Declared:
    client = boto3.client("cognito-idp")
    wanted = {key: value for key, value in properties.items() if key not in ("UserPoolName", "EnabledMfas")}
    wanted["UserPoolTags"] = {one["Key"]: one["Value"] for one in wanted.pop("Tags", [])}
    name, standing = properties["UserPoolName"], client.list_user_pools(MaxResults=60)["UserPools"]
    if identity := next((one["Id"] for one in standing if one["Name"] == name), None):
        client.update_user_pool(UserPoolId=identity, **{key: wanted[key] for key in wanted.keys() - FIXED})
    else:
        identity = client.create_user_pool(PoolName=name, **wanted)["UserPool"]["Id"]
    arn = client.describe_user_pool(UserPoolId=identity)["UserPool"]["Arn"]
    return Declared(identity, arn, lambda: client.delete_user_pool(UserPoolId=identity))


def _user_pool_domain(properties: Json) -> Declared:
    client = boto3.client("cognito-idp")
    if not client.describe_user_pool_domain(Domain=properties["Domain"])["DomainDescription"]:
        client.create_user_pool_domain(**properties)
    return Declared(properties["Domain"], "", lambda: client.delete_user_pool_domain(**properties))


def _user_pool_client(properties: Json) -> Declared:
    client, pool = boto3.client("cognito-idp"), properties["UserPoolId"]
    standing = client.list_user_pool_clients(UserPoolId=pool, MaxResults=60)["UserPoolClients"]
    identity = next((one["ClientId"] for one in standing if one["ClientName"] == properties["ClientName"]), None)
    if identity:
        changed = {key: value for key, value in properties.items() if key != "GenerateSecret"}
        client.update_user_pool_client(ClientId=identity, **changed)
    else:
        identity = client.create_user_pool_client(**properties)["UserPoolClient"]["ClientId"]
    return Declared(identity, "", lambda: client.delete_user_pool_client(UserPoolId=pool, ClientId=identity))


FIXED = {"UsernameAttributes", "UsernameConfiguration"}
"""Of a user pool: what stays as it was made."""

KINDS: Mapping[str, Callable[[Json], Declared]] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::Cognito::UserPool": _user_pool,
    "AWS::Cognito::UserPoolClient": _user_pool_client,
    "AWS::Cognito::UserPoolDomain": _user_pool_domain,
    "AWS::Logs::MetricFilter": _metric_filter,
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::SNS::Subscription": _subscription,
    "AWS::SNS::TopicPolicy": _topic_policy,
    "AWS::SQS::QueuePolicy": _queue_policy,
}


def finish_bucket(name: str, properties: Json) -> None:
    """Give a bucket the properties that moto leaves out.

    Args:
        name: the bucket's.
        properties: as the template has them.
    """
    client = boto3.client("s3")
    for operation, argument in (
        (client.put_bucket_versioning, "VersioningConfiguration"),
        (client.put_public_access_block, "PublicAccessBlockConfiguration"),
        (client.put_bucket_ownership_controls, "OwnershipControls"),
    ):
        if argument in properties:
            operation(Bucket=name, **{argument: properties[argument]})
    cors = [_cors_rule(rule) for rule in properties.get("CorsConfiguration", {}).get("CorsRules", [])]
    if cors:
        client.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": cors})
    rules = [_lifecycle_rule(rule) for rule in properties.get("LifecycleConfiguration", {}).get("Rules", [])]
    if rules:
        client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})


def _cors_rule(given: Json) -> Json:
    """A rule of a template as S3 takes it, without what was not to be there, which moto makes None of."""
    origins = [one for one in given["AllowedOrigins"] if one is not None]
    rule = given | {"AllowedOrigins": origins}
    return {"MaxAgeSeconds" if key == "MaxAge" else key: value for key, value in rule.items()}


def finish_table(properties: Json) -> None:
    """Give a table what moto leaves out.

    Args:
        properties: as the template has them.
    """
    if "PointInTimeRecoverySpecification" in properties:
        boto3.client("dynamodb").update_continuous_backups(
            TableName=properties["TableName"],
            PointInTimeRecoverySpecification=properties["PointInTimeRecoverySpecification"],
        )


def _lifecycle_rule(given: Json) -> Json:
    """A rule of a template as S3 takes it."""
    same = ("Status", "AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration")
    renamed = {"ExpirationInDays": "Days", "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker"}
    rule = {"ID": given["Id"], "Filter": {"Prefix": given.get("Prefix", "")}}
    expiration = {name: given[key] for key, name in renamed.items() if key in given}
    return rule | {key: given[key] for key in same if key in given} | ({"Expiration": expiration} if expiration else {})
