"""Every state, rule, condition, retry and catch of statemachine.json happens, for each error that it names.

The ways are read from the file, so whatever is added to it is driven, too, or fails here. What an execution really did
is read from its history.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import StateTaskService
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_dynamodb import (
    StateTaskServiceDynamoDB,
)

from chalicelib import aws, store
from chalicelib.inbox import Source
from chalicelib.store import Record, Status
from local import ROOT, samples
from local.stack import Stack
from tests.local.ways import NOT_WRITTEN, TIMEOUT, Ended, NotDriven, Plan, Way, plan, read, taken, ways

MACHINE: dict[str, Any] = json.loads((ROOT / "statemachine.json").read_text())

TIMEOUT_SECONDS = 3
"""Of a task that is made to hang: long enough for the try after it, on a busy machine."""

PATIENCE = 60.0
AT_ONCE = 8
"""Executions beside each other: more do not end sooner, and their tasks would take too long each."""

SERVICES = ("Lambda.", "DynamoDB.", "SNS.")
"""What the names of errors begin with that a service answers, and no function of ours raises."""


@dataclass
class Drive:
    """Runs executions and makes their tasks fail as planned.

    Attributes:
        stack: the embedded AWS.
        source: a picture that is clear.
        released: set when tasks that hang may end.
        faults: for each execution, the error of each state's tries, and how many are left.
    """

    stack: Stack
    source: Source
    released: threading.Event = field(default_factory=threading.Event)
    faults: dict[str, dict[str, tuple[str, int]]] = field(default_factory=dict)

    @cached_property
    def definition(self) -> dict[str, Any]:
        """The state machine of the stage, with all its placeholders filled in."""
        machine = self.stack.settings.state_machine_arn
        described = aws.client("stepfunctions").describe_state_machine(stateMachineArn=machine)
        definition: dict[str, Any] = json.loads(described["definition"])
        return definition

    @cached_property
    def states_of(self) -> dict[str, str]:
        """The state behind each function."""
        return {
            self.stack.functions.short_name(state["Parameters"]["FunctionName"].rpartition(":")[2]): name
            for name, state in self.definition["States"].items()
            if "FunctionName" in state.get("Parameters", {})
        }

    def due(self, execution: str, state: str, *, of_a_service: bool) -> str | None:
        """The error that this try is to end with, if it is one of a service, or of a function."""
        error, left = self.faults.get(execution, {}).get(state, ("", 0))
        if not left or error == NOT_WRITTEN or of_a_service != error.startswith((*SERVICES, TIMEOUT)):
            return None
        self.faults[execution][state] = error, left - 1
        return error

    def fail_function(self, function: str, event: Mapping[str, Any]) -> None:
        """Before a handler: its error, or its death."""
        error = self.due(str(event.get("id")), self.states_of.get(function, ""), of_a_service=False)
        if error == "Runtime.ExitError":
            raise SystemExit(137)
        if error:
            raise type(error, (Exception,), {})("made to fail")

    def fail_service(self, execution: str, state: str) -> None:
        """Before a task's call, once it is scheduled: what the service answers, or nothing for too long."""
        error = self.due(execution, state, of_a_service=True)
        if error == TIMEOUT:
            self.released.wait(PATIENCE)
        if error:
            answer: Any = {"Error": {"Code": error.partition(".")[2], "Message": "made to fail"}}
            raise ClientError(answer | {"ResponseMetadata": {"HTTPStatusCode": 400, "RequestId": "-"}}, "Task")

    def create(self, name: str, machine: Mapping[str, Any]) -> str:
        """A state machine; its ARN."""
        role = "arn:aws:iam::123456789012:role/local"
        created = aws.client("stepfunctions").create_state_machine(
            name=f"{name}-{uuid4()}", definition=json.dumps(machine), roleArn=role
        )
        return str(created["stateMachineArn"])

    def run(self, machine: str, planned: Plan) -> Ended:
        """Make an execution go a way."""
        name = str(uuid4())
        self.faults[name] = dict(planned.faults)
        picture: dict[str, Any] = {
            "s3_bucket": self.source.bucket,
            "s3_key": self.source.key,
            "version_id": self.source.version_id,
        }
        given = {"id": name, "attempt": 1, **picture, **planned.replaced}
        if planned.opened:
            now = store.now()
            record = Record(name, Status.PENDING, **picture, etag=None, attempt=1, created_at=now, updated_at=now)
            store.create(self.stack.settings.records_table, record)
        client = aws.client("stepfunctions")
        started = client.start_execution(
            stateMachineArn=machine,
            name=name,
            input=json.dumps({key: value for key, value in given.items() if key not in planned.left_out}),
        )
        arn, deadline = started["executionArn"], time.monotonic() + PATIENCE
        while (described := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            if time.monotonic() > deadline:
                break
            time.sleep(0.03)
        events = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return Ended(read(events, json.loads), described["status"], described.get("error"))

    def all(self, definition: Mapping[str, Any], plans: list[Plan]) -> dict[Way, Ended]:
        """Make executions go their ways, beside each other; those that wait for a timeout first."""
        plans = sorted(plans, key=lambda one: not hangs(one))
        machine = self.create("every-way", definition)
        machines = [self.create("timeout", impatient(definition, one)) if hangs(one) else machine for one in plans]
        hanging = sum(map(hangs, plans))
        with ThreadPoolExecutor(AT_ONCE + hanging) as pool:
            return dict(zip((one.way for one in plans), pool.map(self.run, machines, plans), strict=True))


def hangs(planned: Plan) -> bool:
    return planned.faults.get(planned.way.state, ("",))[0] == TIMEOUT


def impatient(definition: Mapping[str, Any], planned: Plan) -> dict[str, Any]:
    """A copy in which the state that is to hang is not waited for for long."""
    copy: dict[str, Any] = deepcopy(dict(definition))
    copy["States"][planned.way.state]["TimeoutSeconds"] = TIMEOUT_SECONDS
    return copy


@pytest.fixture(scope="module")
def drive(stack: Stack) -> Iterator[Drive]:
    picture = samples.encode(samples.render(samples.draw_bicycle), "PNG")
    with patch("moto.s3.notifications._invoke_awslambda"):
        driving = Drive(stack, stack.drop(f"every-way/{uuid4()}.png", picture))
    schedule, name_error = StateTaskService._before_eval_execution, StateTaskServiceDynamoDB._from_error

    def before(self: Any, env: Any, **arguments: Any) -> None:
        schedule(self, env=env, **arguments)
        execution = env.states.context_object.context_object_data["Execution"]["Name"]
        driving.fail_service(execution, env.next_state_name)

    def named(self: Any, env: Any, ex: Exception) -> Any:
        """moto takes the timeout of a task of DynamoDB for an error of DynamoDB."""
        return self._get_timed_out_failure_event(env) if isinstance(ex, EvalTimeoutError) else name_error(self, env, ex)

    with pytest.MonkeyPatch.context() as seams:
        seams.setattr(retrier_decl, "time", SimpleNamespace(sleep=lambda _seconds: None))
        seams.setattr(StateTaskService, "_before_eval_execution", before)
        seams.setattr(StateTaskServiceDynamoDB, "_from_error", named)
        seams.setattr(stack.functions, "before", driving.fail_function)
        yield driving
        driving.released.set()


@pytest.fixture(scope="module")
def driven(drive: Drive) -> dict[Way, Ended]:
    """What became of one execution for each way."""
    return drive.all(drive.definition, [plan(MACHINE, way) for way in ways(MACHINE)])


@pytest.mark.parametrize("way", ways(MACHINE), ids=str)
def test_every_way_is_taken(way: Way, driven: dict[Way, Ended]) -> None:
    if way not in taken(MACHINE, driven[way]):
        pytest.fail(f"The execution that should have gone `{way}` did not.\n{driven[way]}", pytrace=False)


def test_every_state_is_entered(driven: dict[Way, Ended]) -> None:
    assert {visit.state for ended in driven.values() for visit in ended.visits} == set(MACHINE["States"])


def test_what_is_driven_is_what_is_deployed(drive: Drive) -> None:
    assert ways(drive.definition) == ways(MACHINE)


class TestTheDriveItself:
    """What nobody can drive, or what never happens, fails."""

    def test_a_state_that_nothing_leads_to_cannot_be_driven(self) -> None:
        machine = changed(lambda states: states.update(Forgotten={"Type": "Succeed"}))
        with pytest.raises(NotDriven, match="Forgotten: nothing leads there"):
            plan(machine, Way("Forgotten", "end"))

    def test_a_state_of_a_type_that_is_new_here_cannot_be_driven(self) -> None:
        machine = changed(lambda states: states["MergeName"].update(Type="Map"))
        assert Way("MergeName", "next") in ways(machine)
        with pytest.raises(NotDriven, match="nobody knows how to drive a Map"):
            plan(machine, Way("MergeName", "next"))

    def test_a_condition_of_a_kind_that_is_new_here_cannot_be_driven(self) -> None:
        condition = {"Variable": "$.attempt", "NumericGreaterThan": 0}
        machine = changed(lambda states: states["HasRecord"]["Choices"][0]["And"].append(condition))
        assert Way("HasRecord", "condition", 0, "4") in ways(machine)
        with pytest.raises(NotDriven, match="nobody knows what does not pass"):
            plan(machine, Way("HasRecord", "condition", 0, "4"))

    @pytest.mark.parametrize(
        ("change", "way"),
        [
            pytest.param(
                lambda states: states["Filter"]["Retry"][1]["ErrorEquals"].append("Lambda.ServiceException"),
                Way("Filter", "retry", 1, "Lambda.ServiceException"),
                id="a retry",
            ),
            pytest.param(
                lambda states: states["Filter"]["Catch"].reverse(),
                Way("Filter", "catch", 2, "ThresholdConfidenceNotMet"),
                id="a catch",
            ),
            pytest.param(
                lambda states: states["HasRecord"]["Choices"].insert(
                    1, states["HasRecord"]["Choices"][0] | {"Next": "InvalidInput"}
                ),
                Way("HasRecord", "rule", 1),
                id="a rule",
            ),
        ],
    )
    def test_what_stands_behind_something_else_is_never_taken(
        self, drive: Drive, change: Callable[[dict[str, Any]], Any], way: Way
    ) -> None:
        machine = changed(change, drive.definition)
        assert way in ways(machine)
        (ended,) = drive.all(machine, [plan(machine, way)]).values()
        assert len(ended.visits) > 1
        assert way not in taken(machine, ended)

    @pytest.mark.parametrize(
        ("change", "way"),
        [
            pytest.param(
                lambda states: states["Serialize"]["Retry"][0]["ErrorEquals"].remove("StorageBusy"),
                Way("Serialize", "retry", 0, "StorageBusy"),
                id="a retry that is not made",
            ),
            pytest.param(
                lambda states: states["Classify"]["Retry"][0].update(MaxAttempts=7),
                Way("Classify", "gives up", 0),
                id="a retry that gives up early",
            ),
            pytest.param(
                lambda states: states["Filter"]["Catch"][1].update(ResultPath="$.fault"),
                Way("Filter", "catch", 1, "InvalidInference"),
                id="a catch that puts the error elsewhere",
            ),
            pytest.param(
                lambda states: states["OpenRecord"]["Catch"][0].pop("ResultPath"),
                Way("OpenRecord", "catch", 0, NOT_WRITTEN),
                id="a catch that replaces the state",
            ),
            pytest.param(
                lambda states: states["Serialize"]["Catch"][0].update(Next="RecordFailed"),
                Way("Serialize", "catch", 0, "ImageTooLarge"),
                id="a catch that goes elsewhere",
            ),
            pytest.param(
                lambda states: states["TellHeldBack"].pop("ResultPath"),
                Way("TellHeldBack", "next"),
                id="a task whose answer replaces the state",
            ),
            pytest.param(
                lambda states: states["RecordReview"]["Parameters"].update({"Key": {"id": {"S.$": "$.ID"}}}),
                Way("RecordReview", "next"),
                id="a task whose input is not there",
            ),
            pytest.param(
                lambda states: states["HasRecord"]["Choices"][0]["And"].pop(1),
                Way("HasRecord", "condition", 0, "1"),
                id="a condition that is not asked",
            ),
            pytest.param(
                lambda states: states["InvalidInput"].update(Error="INVALID"),
                Way("InvalidInput", "end"),
                id="an end with another error",
            ),
        ],
    )
    def test_what_goes_otherwise_than_the_file_says_is_not_taken(
        self, drive: Drive, change: Callable[[dict[str, Any]], Any], way: Way
    ) -> None:
        assert way in ways(MACHINE)
        (ended,) = drive.all(changed(change, drive.definition), [plan(MACHINE, way)]).values()
        assert ended.status != "RUNNING"
        assert way not in taken(MACHINE, ended)


def changed(change: Callable[[dict[str, Any]], Any], machine: Mapping[str, Any] = MACHINE) -> dict[str, Any]:
    copy: dict[str, Any] = deepcopy(dict(machine))
    change(copy["States"])
    return copy
