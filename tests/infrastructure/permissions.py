"""What is asked of AWS, written down, and the permissions that it takes."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import boto3

SITE = """
import os
import botocore.client

plain = botocore.client.BaseClient._make_api_call

def call(client, operation, parameters):
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(f"{client.meta.service_model.service_name}:{operation}\\n")
    return plain(client, operation, parameters)

botocore.client.BaseClient._make_api_call = call
"""
"""Put into the way of a Python of another process, which then writes down its calls."""

PREFIXES = {"stepfunctions": "states", "service-quotas": "servicequotas"}
"""Services whose permissions are called otherwise than botocore calls them."""

OTHERWISE = {
    "s3:HeadBucket": ["s3:ListBucket"],
    "s3:HeadObject": ["s3:GetObject"],
    "s3:ListObjectVersions": ["s3:ListBucketVersions"],
    "s3:DeleteObjects": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
    "s3:GetBucketEncryption": ["s3:GetEncryptionConfiguration"],
    "s3:GetBucketLifecycleConfiguration": ["s3:GetLifecycleConfiguration"],
    "s3:GetBucketNotificationConfiguration": ["s3:GetBucketNotification"],
    "s3:PutBucketNotificationConfiguration": ["s3:PutBucketNotification"],
    "s3:GetBucketReplication": ["s3:GetReplicationConfiguration"],
    "s3:GetPublicAccessBlock": ["s3:GetBucketPublicAccessBlock"],
    "lambda:Invoke": ["lambda:InvokeFunction"],
    "apigateway:ImportRestApi": ["apigateway:POST"],
    "apigateway:PutRestApi": ["apigateway:PUT"],
    "apigateway:CreateDeployment": ["apigateway:POST"],
    "apigateway:UpdateRestApi": ["apigateway:PATCH"],
    "apigateway:DeleteRestApi": ["apigateway:DELETE"],
    "sts:GetCallerIdentity": [],
}
"""Operations whose permissions have other names: https://docs.aws.amazon.com/service-authorization/latest/reference/"""


def record_here(calls: Path) -> None:
    """Write down the calls of this process's session."""

    def write(model: Any, **_: Any) -> None:
        with calls.open("a") as file:
            file.write(f"{model.service_model.service_name}:{model.name}\n")

    session = boto3.DEFAULT_SESSION
    assert session
    session.events.register("before-call", write)


def needed(calls: Iterable[str]) -> set[str]:
    """The permissions that calls take."""
    found: set[str] = set()
    for call in calls:
        service, _, operation = call.partition(":")
        if call in OTHERWISE:
            found.update(OTHERWISE[call])
        elif service == "apigateway":
            found.add("apigateway:GET")
            assert operation.startswith("Get"), call
        else:
            found.add(f"{PREFIXES.get(service, service)}:{operation}")
    return found


def allowed(policy: Path) -> dict[str, list[str]]:
    """By permission, on what a policy allows it."""
    found: dict[str, list[str]] = {}
    for statement in json.loads(policy.read_text())["Statement"]:
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            found.setdefault(action, []).extend(statement["Resource"])
    return found
