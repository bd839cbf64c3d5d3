"""What neither AWS nor the embedded stack tells about statemachine.json before it is too late."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chalicelib import aws, endpoint, errors, store
from chalicelib.store import Status
from infrastructure.machine import problems
from tests.attributes import attributes

ROOT = Path(__file__).resolve().parents[1]
MACHINE: dict[str, Any] = json.loads((ROOT / "statemachine.json").read_text())
STATES: dict[str, dict[str, Any]] = MACHINE["States"]
STAGES: dict[str, Any] = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]

TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
STEPS = {name: state for name, state in TASKS.items() if state["Resource"] == "arn:aws:states:::lambda:invoke"}
RECORDS = {name: state for name, state in TASKS.items() if state["Resource"] == "arn:aws:states:::dynamodb:updateItem"}
ENDS = {name for name, state in STATES.items() if state["Type"] in ("Succeed", "Fail")}

FUNCTIONS = {"${SerializeArn}": "serialize", "${ClassifyArn}": "classify", "${FilterArn}": "filter"}
CODE = {"serialize": "steps.serialize", "classify": "steps.classify", "filter": "steps.decide"}
"""The function of chalicelib behind each Lambda function of the workflow."""

PLACEHOLDERS = {*FUNCTIONS, "${RecordsTable}", "${HeldBackTopic}"}

RESOURCES = {
    "arn:aws:states:::lambda:invoke",
    "arn:aws:states:::sns:publish",
    "arn:aws:states:::dynamodb:putItem",
    "arn:aws:states:::dynamodb:updateItem",
}

UNRECORDED_ENDS = {"NotRecorded", "InvalidInput"}

LONGEST_EXECUTION = 3600
"""Seconds after which nobody waits for a picture any more."""

PERMANENT = {
    "EndpointUnavailable",
    "ImageNotFound",
    "ImageTooLarge",
    "InvalidImage",
    "InvalidInference",
    "InvalidRequest",
    "ThresholdConfidenceNotMet",
    "UnsupportedImage",
    "DynamoDB.ConditionalCheckFailedException",
    "SNS.AuthorizationErrorException",
    "SNS.NotFoundException",
}


def leaves(error: type[errors.SconesError] = errors.SconesError) -> set[str]:
    below = error.__subclasses__()
    return {name for one in below for name in leaves(one)} if below else {error.__name__}


def ways(state: dict[str, Any]) -> set[str]:
    """The states that come next, whatever happens."""
    rules = [*state.get("Choices", []), *state.get("Catch", [])]
    return {rule["Next"] for rule in rules} | {state[name] for name in ("Next", "Default") if name in state}


def reachable(start: str, without: frozenset[str] = frozenset()) -> set[str]:
    """The states that an execution can come to from one of them, itself included, if it may not enter some."""
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in without:
            seen.add(name)
            waiting.extend(ways(STATES.get(name, {})))
    return seen


def end(name: str) -> str:
    """Where an execution ends that goes on from here without a fault."""
    return name if name in ENDS else end(STATES[name]["Next"])


def caught(state: dict[str, Any]) -> list[str]:
    return [error for catcher in state.get("Catch", []) for error in catcher["ErrorEquals"]]


def retried(state: dict[str, Any]) -> list[str]:
    return [error for retry in state.get("Retry", []) for error in retry["ErrorEquals"]]


def texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a piece of JSON, with its key."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from texts(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one, key)
    elif isinstance(value, str):
        yield key, value


def longest_wait(state: dict[str, Any]) -> float:
    """Seconds that a task can take at most: each try its whole timeout, each pause as long as jitter allows."""
    tries, pauses = 1, 0.0
    for retry in state.get("Retry", []):
        tries += retry["MaxAttempts"]
        for attempt in range(retry["MaxAttempts"]):
            pause = retry["IntervalSeconds"] * retry["BackoffRate"] ** attempt
            pauses += min(pause, retry.get("MaxDelaySeconds", pause))
    return float(tries * state["TimeoutSeconds"] + pauses)


def longest_path(name: str) -> float:
    own = longest_wait(STATES[name]) if name in TASKS else 0.0
    return own + max((longest_path(target) for target in ways(STATES[name])), default=0.0)


@cache
def module(name: str) -> dict[str, ast.AST]:
    """The functions and classes at the top of a module of chalicelib."""
    tree = ast.parse((ROOT / "chalicelib" / f"{name}.py").read_text())
    return {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)}


def raised_by(function: str) -> set[str]:
    """The errors of ours that a function of chalicelib makes, and whatever it calls: those that it can end with."""
    modules = {path.stem for path in (ROOT / "chalicelib").glob("*.py")}
    seen: set[str] = set()
    found: set[str] = set()
    waiting = [function]
    while waiting:
        name = waiting.pop()
        home, _, own = name.partition(".")
        if name in seen or own not in module(home):
            continue
        seen.add(name)
        for node in ast.walk(module(home)[own]):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in leaves():
                found.add(node.func.id)
            if isinstance(node, ast.Name):
                waiting.append(f"{home}.{node.id}")
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                waiting.append(f"{node.value.id}.{node.attr}")
    return found


def test_nothing_is_wrong_that_is_wrong_in_any_state_machine() -> None:
    assert problems(MACHINE, filled={name.strip("${}") for name in PLACEHOLDERS}) == []


def test_an_execution_never_returns_to_a_state() -> None:
    for name, state in STATES.items():
        assert not any(name in reachable(target) for target in ways(state))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", STEPS)
def test_a_function_times_out_before_its_task_so_that_its_own_error_is_seen(name: str, stage: str) -> None:
    function = FUNCTIONS[STEPS[name]["Parameters"]["FunctionName"]]
    assert STEPS[name]["TimeoutSeconds"] > STAGES[stage]["lambda_functions"][function]["lambda_timeout"]


def test_an_execution_ends_within_the_hour() -> None:
    assert 0 < MACHINE["TimeoutSeconds"] <= LONGEST_EXECUTION


def test_an_execution_never_runs_out_of_time_before_its_record_is_written() -> None:
    """Nothing catches the timeout of an execution: its record would stay PENDING."""
    assert MACHINE["TimeoutSeconds"] >= longest_path(MACHINE["StartAt"])


@pytest.mark.parametrize("name", TASKS)
def test_every_error_of_ours_that_is_named_exists(name: str) -> None:
    assert {error for error in (*caught(TASKS[name]), *retried(TASKS[name])) if "." not in error} <= leaves()


@pytest.mark.parametrize("name", STEPS)
def test_the_errors_of_ours_that_are_caught_by_name_are_those_that_the_function_raises(name: str) -> None:
    function = FUNCTIONS[STEPS[name]["Parameters"]["FunctionName"]]
    assert set(caught(STEPS[name])) & leaves() == raised_by(CODE[function])


@pytest.mark.parametrize("name", STEPS)
def test_only_what_the_function_raises_is_retried(name: str) -> None:
    function = FUNCTIONS[STEPS[name]["Parameters"]["FunctionName"]]
    assert set(retried(STEPS[name])) & leaves() <= raised_by(CODE[function])


def test_every_leaf_of_the_tree_that_a_step_can_raise_belongs_to_a_step() -> None:
    raised = set().union(*map(raised_by, CODE.values()))
    assert leaves(errors.PictureError) | leaves(errors.EndpointError) | {"ThresholdConfidenceNotMet"} <= raised
    assert leaves() - raised == (leaves(errors.RequestError) - {"InvalidRequest"}) | {"SettingsError"}


def test_a_fault_of_the_picture_ends_as_rejected_doubt_as_review_and_the_rest_as_failed() -> None:
    expected = dict.fromkeys(leaves(errors.PictureError), "REJECTED") | {"ThresholdConfidenceNotMet": "REVIEW"}
    for state in STEPS.values():
        for catcher in state["Catch"]:
            values = STATES[catcher["Next"]]["Parameters"]["ExpressionAttributeValues"]
            assert {expected.get(error, "FAILED") for error in catcher["ErrorEquals"]} == {values[":status"]["S"]}


@pytest.mark.parametrize("name", TASKS)
def test_what_cannot_pass_is_not_retried(name: str) -> None:
    assert not set(retried(TASKS[name])) & PERMANENT


@pytest.mark.parametrize("name", TASKS)
def test_every_retry_has_jitter_backs_off_and_ends(name: str) -> None:
    for retry in TASKS[name]["Retry"]:
        assert retry["JitterStrategy"] == "FULL"
        assert 1 <= retry["MaxAttempts"] <= 10
        assert retry["IntervalSeconds"] >= 1
        assert retry["BackoffRate"] > 1


@pytest.mark.parametrize("name", TASKS)
def test_whatever_else_goes_wrong_in_a_task_is_caught(name: str) -> None:
    assert TASKS[name]["Catch"][-1]["ErrorEquals"] == ["States.ALL"]


@pytest.mark.parametrize("name", STEPS)
def test_what_was_caught_is_kept_for_the_record(name: str) -> None:
    assert {catcher["ResultPath"] for catcher in STEPS[name]["Catch"]} == {"$.error"}


def test_no_execution_ends_without_a_record_but_those_that_say_so() -> None:
    assert reachable(MACHINE["StartAt"], without=frozenset(RECORDS)) & ENDS == UNRECORDED_ENDS


def test_a_record_that_could_not_be_written_never_ends_as_if_it_had_been() -> None:
    for name, state in RECORDS.items():
        assert STATES[name]["Catch"][-1]["Next"] == "NotRecorded"
        assert {end(target) for target in ways(state)} == {end(name), "NotRecorded"}


def test_every_ending_is_written_by_one_state() -> None:
    written = [state["Parameters"]["ExpressionAttributeValues"][":status"]["S"] for state in RECORDS.values()]
    assert sorted(written) == sorted([Status.ACCEPTED, Status.REVIEW, Status.REJECTED, Status.FAILED])


def test_every_ending_has_an_end_of_its_own() -> None:
    ends = [end(name) for name in RECORDS]
    assert sorted([*ends, *UNRECORDED_ENDS]) == sorted(ENDS)


def test_only_what_was_accepted_succeeds() -> None:
    written = {STATES[name]["Parameters"]["ExpressionAttributeValues"][":status"]["S"]: name for name in RECORDS}
    succeeding = {name for name, state in STATES.items() if state["Type"] == "Succeed"}
    assert succeeding == {end(written["ACCEPTED"])}


@pytest.mark.parametrize("name", RECORDS)
def test_an_ending_is_written_only_over_the_pending_record_of_the_same_attempt(name: str) -> None:
    parameters = RECORDS[name]["Parameters"]
    assert parameters["ConditionExpression"] == "#status = :pending AND attempt = :attempt"
    assert parameters["ExpressionAttributeNames"]["#status"] == "status"
    assert parameters["ExpressionAttributeValues"][":pending"] == {"S": "PENDING"}
    assert parameters["ExpressionAttributeValues"][":attempt"] == {"N.$": "States.Format('{}', $.attempt)"}
    assert parameters["Key"] == {"id": {"S.$": "$.id"}}


def test_whoever_waits_for_pictures_is_told_once_the_record_waits_and_whether_they_are_changes_no_ending() -> None:
    assert STATES["RecordReview"]["Next"] == "TellHeldBack"
    assert ways(STATES["TellHeldBack"]) == {end("RecordReview")}
    assert reachable(MACHINE["StartAt"], without=frozenset({"RecordReview"})).isdisjoint({"TellHeldBack"})
    assert {catcher["ResultPath"] for catcher in STATES["TellHeldBack"]["Catch"]} == {None}


def test_how_sure_the_model_is_is_kept_of_what_is_held_back_and_of_nothing_else() -> None:
    """Else the queue of those who review would hold what does not wait for them."""
    kept = {name for name, state in RECORDS.items() if "sureness" in state["Parameters"]["UpdateExpression"]}
    assert kept == {"RecordReview"}
    values = STATES["RecordReview"]["Parameters"]["ExpressionAttributeValues"]
    assert values[":sureness"] == {"N.$": "States.Format('{}', $.sureness)"}


@pytest.mark.parametrize("name", RECORDS)
def test_an_ending_changes_nothing_that_people_and_steps_have_written(name: str) -> None:
    """Which is how `ended_at` is told from a record that nobody has reviewed."""
    parameters = RECORDS[name]["Parameters"]
    assert "updated_at = :now" in parameters["UpdateExpression"]
    assert attributes("dynamodb", "UpdateItem", parameters).isdisjoint({"steps", "review", "reviews", "ended_at"})


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", STEPS)
def test_a_table_that_hangs_leaves_a_step_the_time_for_its_work(name: str, stage: str) -> None:
    function = FUNCTIONS[STEPS[name]["Parameters"]["FunctionName"]]
    longest = {"classify": endpoint.READ_TIMEOUT, "serialize": aws.READ_TIMEOUT, "filter": 0}[function]
    work = longest + aws.CONNECT_TIMEOUT
    timeout = STAGES[stage]["lambda_functions"][function]["lambda_timeout"]
    assert timeout > aws.CONNECT_TIMEOUT + store.STEP_TIMEOUT + work


def test_a_record_is_opened_only_once() -> None:
    assert STATES["OpenRecord"]["Parameters"]["ConditionExpression"] == "attribute_not_exists(id)"


@pytest.mark.parametrize("name", TASKS)
def test_what_dynamodb_or_sns_answers_does_not_replace_the_state(name: str) -> None:
    if name not in STEPS:
        assert TASKS[name]["ResultPath"] is None


@pytest.mark.parametrize("name", sorted(reachable("Classify") - {"Classify"}))
def test_no_state_after_the_classification_needs_the_picture(name: str) -> None:
    assert not [text for _, text in texts(STATES[name]) if "image_data" in text]


def test_placeholders_stand_where_they_belong() -> None:
    assert {name: state["Parameters"]["FunctionName"] for name, state in STEPS.items()} == {
        "Serialize": "${SerializeArn}",
        "Classify": "${ClassifyArn}",
        "Filter": "${FilterArn}",
    }
    for name in TASKS.keys() - STEPS.keys() - {"TellHeldBack"}:
        assert TASKS[name]["Parameters"]["TableName"] == "${RecordsTable}"
    assert TASKS["TellHeldBack"]["Parameters"]["TopicArn"] == "${HeldBackTopic}"


@pytest.mark.parametrize("name", TASKS)
def test_a_task_calls_what_it_may(name: str) -> None:
    assert TASKS[name]["Resource"] in RESOURCES


@pytest.mark.parametrize("name", [name for name in STATES if STATES[name]["Type"] == "Fail"])
def test_a_failure_says_what_and_why(name: str) -> None:
    state = STATES[name]
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", state["Error"])
    assert ("Cause" in state) != ("CausePath" in state)
