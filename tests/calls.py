"""Every call to AWS that the functions of the app make while tests run, as IAM names it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import botocore.client
import botocore.signers
from chalice.app import Chalice

from local import ACCOUNT, REGION
from local.functions import Functions
from tests.attributes import attributes

REST = "api_handler"
"""Chalice's name for the function behind the REST routes."""

FUNCTIONS = (
    "serialize",
    "classify",
    "filter",
    "open_record",
    "on_picture",
    "on_stopped",
    "reconcile",
    "measure",
    REST,
)
"""All that the app has, by their short names."""

current: ContextVar[str | None] = ContextVar("current", default=None)
"""The function that runs in this thread."""


@dataclass(frozen=True, order=True)
class Call:
    """A call that a function made.

    Attributes:
        function: its short name.
        action: what IAM has to allow, like "s3:GetObject".
        resource: the ARN of what it is done to.
        attributes: of a DynamoDB item, which the call names; see `tests.attributes`.
    """

    function: str
    action: str
    resource: str
    attributes: frozenset[str] = frozenset()


made: set[Call] = set()
"""All of them, in this process."""


@contextmanager
def recorded() -> Iterator[None]:
    """Write down what the functions call, and what whoever gets a link or a form from them may call in their name.

    Clients sign links as botocore does when they are made: those that are made in here are watched.
    """
    plain_call = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]
    plain_url, plain_post = botocore.signers.generate_presigned_url, botocore.signers.generate_presigned_post
    plain_run, plain_rest = Functions._run, Chalice.__call__

    def call(client: Any, operation: str, params: dict[str, Any]) -> Any:
        write_down(client, operation, params)
        return plain_call(client, operation, params)

    def url(client: Any, method: str, Params: dict[str, Any], **more: Any) -> str:  # noqa: N803 - botocore's name
        write_down(client, client.meta.method_to_api_mapping[method], Params)
        return str(plain_url(client, method, Params=Params, **more))

    def post(client: Any, bucket: str, key: str, **more: Any) -> Any:
        write_down(client, "PutObject", {"Bucket": bucket, "Key": key})
        return plain_post(client, bucket, key, **more)

    def run(functions: Any, name: str, *arguments: Any) -> Any:
        return within(name, lambda: plain_run(functions, name, *arguments))

    def rest(app: Any, *arguments: Any) -> Any:
        return within(REST, lambda: plain_rest(app, *arguments))

    with ExitStack() as stack:
        stack.enter_context(patch.object(botocore.client.BaseClient, "_make_api_call", call))
        stack.enter_context(patch.object(botocore.signers, "generate_presigned_url", url))
        stack.enter_context(patch.object(botocore.signers, "generate_presigned_post", post))
        stack.enter_context(patch.object(Functions, "_run", run))
        stack.enter_context(patch.object(Chalice, "__call__", rest))
        yield


def write_down(client: Any, operation: str, params: dict[str, Any]) -> None:
    """Keep what a call needs, if a function of the app makes it; on a table of a test's own, nobody allows it."""
    function, table = current.get(), os.environ.get("RECORDS_TABLE")
    if function and params.get("TableName", table) == table:
        service = client.meta.service_model.service_name
        named = attributes(service, operation, params)
        made.update(Call(function, action, resource, named) for action, resource in needed(service, operation, params))


def within(function: str, run: Callable[[], Any]) -> Any:
    """Run something as a function of the app."""
    token = current.set(function)
    try:
        return run()
    finally:
        current.reset(token)


def needed(service: str, operation: str, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What IAM has to allow for a call, actions with resources.

    https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html

    Raises:
        LookupError: nobody has said yet what this operation needs: say it here.
    """
    match service, operation:
        case "s3", "GetObject" | "HeadObject":
            version = "Version" if params.get("VersionId") else ""
            yield f"s3:GetObject{version}", f"arn:aws:s3:::{params['Bucket']}/{params['Key']}"
        case "s3", "PutObject":
            yield "s3:PutObject", f"arn:aws:s3:::{params['Bucket']}/{params['Key']}"
        case "s3", "ListObjectVersions":
            yield "s3:ListBucketVersions", f"arn:aws:s3:::{params['Bucket']}"
        case "dynamodb", "BatchGetItem":
            yield from (("dynamodb:BatchGetItem", table_arn(name)) for name in params["RequestItems"])
        case "dynamodb", "GetItem" | "PutItem" | "UpdateItem" | "Query":
            index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
            yield f"dynamodb:{operation}", table_arn(params["TableName"]) + index
        case "stepfunctions", "StartExecution":
            yield "states:StartExecution", params["stateMachineArn"]
        case "sagemaker-runtime", "InvokeEndpoint":
            endpoint = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{params['EndpointName']}"
            yield "sagemaker:InvokeEndpoint", endpoint
        case _:
            raise LookupError(f"What does {operation} of {service} need?")


def table_arn(name: str) -> str:
    """The ARN of a table."""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
