"""S3, Step Functions, DynamoDB and the rest of AWS: moto's server in this process, with seams.

moto gives the services and a real interpreter of the Amazon States Language. The seams, in `_seams` unless said
otherwise, make it behave like AWS where a picture passes, and where a stage is deployed:

- an invocation of a Lambda function reaches the handlers of the app (moto would want Docker);
- S3's notifications are delivered in the background and tried again (moto calls within PutObject and drops errors);
- S3's events carry the version of the object, and a sequencer (moto leaves them out);
- definitions are read once, with what moto does not know, and its clients are made once (`local/interpreter.py`);
- requests to SageMaker reach `local/sagemaker.py`, which makes endpoints and training jobs of moto's records;
- requests to Application Auto Scaling reach `local/scaling.py`, since moto's targets know nothing of endpoints;
- executions that end badly, and events that a function gives up, are told of (`local/events.py`);
- state machines that CloudFormation makes are run, and its outputs told (`local/cloudformation.py`);
- what `chalice deploy` sends is taken as AWS takes it (`local/deployer.py`);
- requests to IAM reach `local/roles.py`, which can tell what a role may do;
- requests to DynamoDB are dealt with one at a time, so that nobody sees half of an update (moto changes an item
  attribute by attribute, while others read it);
- instance types of endpoints are those that boto3 knows (moto knows older ones alone).
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any
from unittest.mock import patch

import moto.applicationautoscaling.urls
import moto.awslambda.models
import moto.iam.urls
import moto.s3.notifications
import moto.sagemaker.urls
from moto.dynamodb.responses import DynamoHandler
from moto.moto_api._internal import moto_api_backend
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.sagemaker.models import FakeEndpointConfig

from local import HOST, cloudformation, deployer, events, interpreter
from local.functions import Functions
from local.roles import Roles
from local.sagemaker import check_instance_type
from local.scaling import Scaling

EVERY_PATH = "{0}/$"
"""How moto writes down where services are that have one address for all operations."""


@contextmanager
def emulator(port: int, functions: Functions, sagemaker: Any) -> Iterator[str]:
    """Run the emulator.

    Args:
        port: where to listen; 0 for any that is free.
        functions: where invocations go.
        sagemaker: the class that answers requests to SageMaker.

    Yields:
        The URL that stands for AWS.
    """
    with ExitStack() as stack:
        _seams(stack, functions, sagemaker)
        interpreter.seams(stack)
        events.seams(stack, functions)
        cloudformation.seams(stack)
        deployer.seams(stack)
        server = ThreadedMotoServer(HOST, port, verbose=False)
        server.start()
        stack.callback(moto_api_backend.reset)
        stack.callback(server.stop)
        port = server.get_host_and_port()[1]
        stack.enter_context(patch.dict(os.environ, MOTO_PORT=str(port)))
        yield f"http://{HOST}:{port}"


def _seams(stack: ExitStack, functions: Functions, sagemaker: Any) -> None:
    def invoke(function: Any, body: str, request_headers: Any, response_headers: dict[str, str]) -> str:
        name = functions.short_name(function.function_name)
        if request_headers.get("x-amz-invocation-type") == "Event":
            functions.deliver(name, body or "{}")
            return ""
        result = functions.invoke(name, body or "{}")
        if result.failed:
            response_headers["x-amz-function-error"] = "Unhandled"
        return result.payload

    def notify(_account: str, event: Any, function_arn: str, _region: str) -> None:
        functions.deliver(functions.short_name(function_arn.rpartition(":")[2]), json.dumps(event))

    plain_event = moto.s3.notifications._get_s3_event  # noqa: SLF001 - a seam

    def versioned_event(event_name: str, bucket: Any, key: Any, notification_id: str) -> dict[str, Any]:
        event: dict[str, Any] = plain_event(event_name, bucket, key, notification_id)
        item = event["Records"][0]["s3"]["object"]
        item["sequencer"] = f"{time.time_ns():018X}"
        if bucket.is_versioned:
            item["versionId"] = key.version_id
        return event

    plain_call, one_at_a_time = DynamoHandler.call_action, Lock()

    def call(handler: Any) -> Any:
        with one_at_a_time:
            return plain_call(handler)

    stack.enter_context(patch.object(DynamoHandler, "call_action", call))
    stack.enter_context(patch.object(moto.awslambda.models.LambdaFunction, "invoke", invoke))
    stack.enter_context(patch.object(moto.s3.notifications, "_invoke_awslambda", notify))
    stack.enter_context(patch.object(moto.s3.notifications, "_get_s3_event", versioned_event))
    stack.enter_context(patch.dict(moto.sagemaker.urls.url_paths, {EVERY_PATH: sagemaker.dispatch}))
    stack.enter_context(patch.dict(moto.applicationautoscaling.urls.url_paths, {EVERY_PATH: Scaling.dispatch}))
    stack.enter_context(patch.dict(moto.iam.urls.url_paths, {EVERY_PATH: Roles.dispatch}))
    stack.enter_context(patch.object(FakeEndpointConfig, "validate_instance_type", check_instance_type))
