"""EventBridge and Lambda's destinations, embedded: what is told when an execution or an event ends badly.

moto keeps rules and configurations, and tells nobody. Here, a rule whose pattern fits an execution's end reaches its
functions, and an event that a function could not deal with goes to the queue that the function names. Schedules are
kept and not run.

https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from moto.awslambda.models import LambdaBackend, lambda_backends
from moto.events.models import events_backends
from moto.sqs.models import sqs_backends
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication

from local import ACCOUNT, REGION
from local.functions import RETRY_DELAYS, Functions, LostEvent

Json = dict[str, Any]


def seams(stack: ExitStack, functions: Functions) -> None:
    """Let moto tell of ends, and let a function's latest configuration be the one that counts.

    Args:
        stack: takes the seams out again when it ends.
        functions: the functions of the app.
    """
    plain_end = BaseExecutionWorkerCommunication.terminated
    plain_config = LambdaBackend.put_function_event_invoke_config

    def end(communication: Any) -> None:
        plain_end(communication)
        announce(functions, communication.execution)

    def put_config(backend: Any, function_name: str, config: Json) -> Any:
        backend.get_function(function_name).event_invoke_config.clear()
        return plain_config(backend, function_name, config)

    def retries(name: str) -> int:
        return int(invoke_config(functions, name).get("MaximumRetryAttempts", len(RETRY_DELAYS)))

    functions.retries, functions.on_lost = retries, partial(keep, functions)
    stack.enter_context(patch.object(BaseExecutionWorkerCommunication, "terminated", end))
    stack.enter_context(patch.object(LambdaBackend, "put_function_event_invoke_config", put_config))


def announce(functions: Functions, execution: Any) -> None:
    """Tell of an execution's end whoever has a rule for it.

    Args:
        functions: the functions of the app.
        execution: moto's.
    """
    event = {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": ACCOUNT,
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "region": REGION,
        "resources": [execution.exec_arn],
        "detail": {
            "executionArn": execution.exec_arn,
            "stateMachineArn": execution.state_machine.arn,
            "name": execution.name,
            "status": execution.status,
            "startDate": _milliseconds(execution.start_date),
            "stopDate": _milliseconds(execution.stop_date),
            "input": json.dumps(execution.input_data),
            "inputDetails": {"included": True},
            "error": execution.error,
            "cause": execution.cause,
        },
    }
    for name in _listening(event):
        functions.deliver(functions.short_name(name), json.dumps(event))


def keep(functions: Functions, lost: LostEvent) -> None:
    """Put an event that a function could not deal with into the queue that it names for such, if it names one."""
    config = invoke_config(functions, lost.function)
    destination = config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    if not destination:
        return
    record = {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": str(uuid4()),
            "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{functions.full_name(lost.function)}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": lost.tries,
        },
        "requestPayload": json.loads(lost.event),
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": json.loads(lost.error),
    }
    sqs_backends[ACCOUNT][REGION].send_message(destination.rpartition(":")[2], json.dumps(record))


def invoke_config(functions: Functions, name: str) -> Json:
    """What a function asks of Lambda for its asynchronous events; nothing if it asks for nothing."""
    backend = lambda_backends[ACCOUNT][REGION]
    found = backend.get_function(functions.full_name(name)).event_invoke_config
    config: Json = found[-1].config if found else {}
    return config


def _listening(event: Json) -> Iterator[str]:
    """The names of the functions that enabled rules send an event to."""
    for rule in list(events_backends[ACCOUNT][REGION].event_buses["default"].rules.values()):
        if rule.state == "ENABLED" and not rule.scheduled_expression and rule.event_pattern.matches_event(event):
            for target in rule.targets:
                if ":lambda:" in target["Arn"]:
                    yield target["Arn"].rpartition(":")[2]


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
