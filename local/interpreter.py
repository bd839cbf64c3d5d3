"""Step Functions, embedded: moto's interpreter of the Amazon States Language, switched on, quicker, and less strict.

- The clients that call from inside it are made once, not once per task.
- A definition is parsed once, not once per execution, and so is each path into a state.
- The time at which a state was entered is written as on AWS, in milliseconds.
- A distributed map may have express executions, and may say how its results are written: moto's are standard ones, and
  it writes results one way.
"""

import json
from contextlib import ExitStack
from functools import cache
from typing import Any
from unittest.mock import patch

from moto.core.config import default_user_config
from moto.stepfunctions.parser.asl.component.state import state
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_dynamodb,
    state_task_service_sns,
)
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

from chalicelib import store


def seams(stack: ExitStack) -> None:
    """Put them in place.

    Args:
        stack: takes them out again when it ends.
    """
    plain_parse, plain_state_data = AmazonStateLanguageParser.parse, state.StateData

    @cache
    def parse(definition: str) -> Any:
        return plain_parse(json.dumps(_understood(json.loads(definition))))

    @cache
    def client(region: str, service: str) -> Any:
        return boto_client_for(region, service)

    def client_once(region: str, service: str, **_credentials: Any) -> Any:
        return client(region, service)

    def state_data(**data: Any) -> Any:
        return plain_state_data(**data | {"EnteredTime": store.now()})

    stack.enter_context(patch.object(state, "StateData", state_data))
    stack.enter_context(patch.dict(default_user_config["stepfunctions"], execute_state_machine=True))
    stack.enter_context(patch.object(json_path, "parse", cache(json_path.parse)))
    stack.enter_context(patch.object(AmazonStateLanguageParser, "parse", staticmethod(parse)))
    for module in (lambda_eval_utils, state_task_service_dynamodb, state_task_service_sns):
        stack.enter_context(patch.object(module, "boto_client_for", client_once))


def _understood(definition: Any) -> Any:
    """A definition without what moto refuses in a distributed map."""
    if isinstance(definition, list):
        return [_understood(one) for one in definition]
    if not isinstance(definition, dict):
        return definition
    kept = {name: _understood(one) for name, one in definition.items() if name != "WriterConfig"}
    return kept | ({"ExecutionType": "STANDARD"} if kept.get("ExecutionType") == "EXPRESS" else {})
