import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import chalice
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import aws, reconcile, store, workflow
from chalicelib.store import Record, Status
from infrastructure import deployed, prices, traffic
from infrastructure.traffic import Round, Traffic
from local import ROOT, samples
from local.resources import create_table
from local.stack import Stack
from tests.infrastructure.stages import DEFINITION, MEASURED_STAGE, STAGE, TRAFFIC, ending

SAMPLES = {"bicycle.png": Status.ACCEPTED, "house.webp": Status.REVIEW, "broken.jpg": Status.REJECTED}


TASK = "/var/task"
"""Where Lambda puts a package."""


# What AWS would count, against what the embedded stack does


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in samples.write(tmp_path_factory.mktemp("samples"))}


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.02)
    pytest.fail("It did not come to that.")


@pytest.mark.parametrize(("name", "status"), SAMPLES.items())
def test_the_states_that_are_billed_are_those_that_an_execution_enters(
    name: str, status: Status, stack: Stack, drawn: dict[str, bytes], ended: Callable[[str], Record]
) -> None:
    source = stack.drop(f"billed/{name}", drawn[name])
    identity = workflow.identity(source)
    assert ended(identity).status is status
    execution = f"{stack.settings.state_machine_arn.replace(':stateMachine:', ':execution:')}:{identity}"
    client = aws.client("stepfunctions")
    until(lambda: client.describe_execution(executionArn=execution)["status"] != "RUNNING")
    events = client.get_execution_history(executionArn=execution, maxResults=1000)["events"]
    entered = tuple(event["stateEnteredEventDetails"]["name"] for event in events if event["type"].endswith("Entered"))
    assert entered == deployed.way(DEFINITION, status)


@pytest.mark.parametrize(("name", "status"), SAMPLES.items())
def test_the_functions_that_are_billed_are_those_that_are_called(
    name: str, status: Status, stack: Stack, drawn: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(stack.functions, "after", lambda function, _seconds: called.append(function))
    billed = Counter({f: int(often) for f, often in traffic.calls(ending(status), STAGE).items() if often})
    stack.drop(f"called/{name}", drawn[name])
    until(lambda: len(called) >= billed.total())
    time.sleep(0.2)
    assert Counter(called) == billed


@pytest.mark.parametrize(("name", "status"), SAMPLES.items())
def test_a_record_is_written_as_often_as_is_billed(
    name: str, status: Status, stack: Stack, drawn: dict[str, bytes], ended: Callable[[str], Record]
) -> None:
    """By the functions; the workflow ends it, which is one write more."""
    key = f"written/{name}"
    with asked() as seen:
        identity = workflow.identity(stack.drop(key, drawn[name]))
        assert ended(identity).status is status
        refused = int(status is not Status.ACCEPTED)  # what `on_stopped` would write
        billed = Counter({"PutItem": 1, "UpdateItem": traffic.steps(STAGE, status) + refused})

        def writes() -> Counter[str]:
            of_it = [one for one in seen if identity in json.dumps(one[1], default=str)]
            return Counter(operation for operation, _ in of_it if operation in ("PutItem", "UpdateItem"))

        until(lambda: writes().total() >= billed.total())
        time.sleep(0.2)
        assert writes() == billed


@pytest.mark.parametrize(("name", "status"), SAMPLES.items())
def test_records_are_as_large_as_they_are_counted(
    name: str, status: Status, stack: Stack, drawn: dict[str, bytes], ended: Callable[[str], Record]
) -> None:
    identity = workflow.identity(stack.drop(f"sized/{name}", drawn[name]))
    assert ended(identity).status is status
    item = aws.client("dynamodb").get_item(TableName=stack.settings.records_table, Key={"id": {"S": identity}})["Item"]
    kb = sum(len(name.encode()) + size(value) for name, value in item.items()) / 1024
    assert kb == pytest.approx(traffic.RECORD_KB[status], abs=0.2)
    assert math.ceil(kb) == math.ceil(traffic.RECORD_KB[status])


def size(value: Mapping[str, Any]) -> int:
    """Bytes of a value in DynamoDB:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    ((kind, content),) = value.items()
    if kind == "L":
        return 3 + sum(1 + size(one) for one in content)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + size(one) for name, one in content.items())
    return len(as_on_lambda(content).encode())


def as_on_lambda(text: str) -> str:
    """A text; an error with the trace that Lambda gives: from Chalice on, with files where Lambda has them."""
    if '"Cause"' not in text:
        return text
    error = json.loads(text)
    cause = json.loads(error["Cause"])
    packaged = (str(Path(chalice.__file__).parents[1]), str(ROOT / "app.py"), str(ROOT / "chalicelib"))
    kept = [frame for frame in cause["stackTrace"] if any(f'"{place}' in frame for place in packaged)]
    cause["stackTrace"] = [frame.replace(packaged[0], TASK).replace(str(ROOT), TASK) for frame in kept]
    return json.dumps(error | {"Cause": json.dumps(cause)})


def test_the_schedules_are_those_of_the_app(stack: Stack) -> None:
    sources = {one.name: one for one in sys.modules["app"].app.event_sources if hasattr(one, "schedule_expression")}
    an_hour = {name: str(one.schedule_expression.to_string()) for name, one in sources.items()}
    assert an_hour == {"reconcile": "rate(1 hour)", "measure": "rate(5 minutes)"}
    assert traffic.RECONCILES == prices.HOURS
    assert traffic.MEASURES == prices.HOURS * 60 / 5


def test_reconcile_has_the_time_and_the_window_that_are_counted() -> None:
    assert traffic.LISTING_SECONDS == reconcile.LISTING_TIME
    assert traffic.WINDOW_DAYS * 86_400 == reconcile.WINDOW
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]["prod"]["lambda_functions"]
    assert config["reconcile"]["lambda_timeout"] - reconcile.ENOUGH_TIME > traffic.LISTING_SECONDS


@contextmanager
def asked() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What is asked of S3 and DynamoDB meanwhile: operations and their parameters."""
    seen: list[tuple[str, dict[str, Any]]] = []
    impatient = aws.client("dynamodb", attempts=1, read_timeout=store.STEP_TIMEOUT)
    clients = [*(aws.client(service) for service in ("s3", "dynamodb")), impatient]

    def see(params: dict[str, Any], model: Any, **_: Any) -> None:
        seen.append((model.name, params))

    for client in clients:
        client.meta.events.register("before-parameter-build", see)
    try:
        yield seen
    finally:
        for client in clients:
            client.meta.events.unregister("before-parameter-build", see)


def test_a_run_of_reconcile_asks_what_is_billed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"billed-{uuid4().hex[:12]}"
    aws.client("s3").create_bucket(Bucket=name)
    create_table(aws.client("dynamodb"), name)
    settings = replace(stack.settings, inbox_bucket=name, records_table=name)
    with asked() as seen:
        reconcile.keep_up(settings, lambda: 900.0)
    billed = {
        "Query": 1,
        "GetItem": traffic.BOOKMARK_READS,
        "PutItem": traffic.BOOKMARK_WRITES,
        "ListObjectVersions": 1,
    }
    assert Counter(operation for operation, _ in seen) == billed

    aws.client("s3").put_object(Bucket=name, Key="inbox/lost.png", Body=b"no picture")
    monkeypatch.setattr(reconcile, "GRACE", -60)
    with asked() as seen:
        reconcile.keep_up(settings, lambda: 900.0)
    (looked_for,) = [params["RequestItems"][name] for operation, params in seen if operation == "BatchGetItem"]
    assert len(looked_for["Keys"]) == 1
    assert not looked_for.get("ConsistentRead"), "as of a moment ago, which costs half"
    assert traffic.EVENTUALLY == 1 / 2


# The rounds of reconcile, worked out by hand


LIST, LOOK_UP = (work.compute * 1769 / 1024 + work.waits for work in (traffic.LIST_WORK, traffic.LOOK_UP_WORK))
"""Seconds for 1,000 pictures, with 1 GB."""


def day(pictures: int, kept_days: float) -> Traffic:
    """So many pictures each day, kept for so many days and then 30 more."""
    return replace(TRAFFIC, pictures=round(pictures * traffic.DAYS), kept_days=kept_days)


def test_a_round_through_a_small_inbox_is_made_every_hour() -> None:
    small = traffic.reconciled(day(1_000, 10), STAGE)
    assert small.listed == pytest.approx(40_000, rel=1e-3)
    assert small.looked_for == pytest.approx(7_000, rel=1e-3)
    assert small.seconds == pytest.approx(40 * LIST + 7 * LOOK_UP, rel=1e-3)
    assert small.hours == 1
    assert small.in_time
    assert small.lists == pytest.approx(730 * 40, rel=1e-3)
    assert small.reads == pytest.approx(730 * 7_000 / 2, rel=1e-3)


def test_a_round_through_a_large_inbox_takes_as_many_hours_as_it_has_minutes() -> None:
    large = traffic.reconciled(day(100_000, 70), STAGE)
    seconds = 10_000 * LIST + 700 * LOOK_UP
    assert large.seconds == pytest.approx(seconds, rel=1e-3)
    assert large.hours == math.ceil(large.seconds / 60) > 40
    assert large.lists == pytest.approx(730 / large.hours * 10_000, rel=1e-3)
    assert large.reads == pytest.approx(730 / large.hours * 700_000 / 2, rel=1e-3)


def test_an_inbox_with_nothing_in_it_is_listed_every_hour_all_the_same() -> None:
    assert Round(0, 0, 0).lists == traffic.RECONCILES
    assert Round(0, 0, 0).reads == 0


@pytest.mark.parametrize(("seconds", "hours"), [(0, 1), (60, 1), (60.1, 2), (120, 2), (121, 3)])
def test_what_a_run_does_not_get_to_is_left_to_the_next_one(seconds: float, hours: int) -> None:
    assert Round(1, 1, seconds).hours == hours


@pytest.mark.parametrize(("hours", "in_time"), [(168, True), (169, False)])
def test_a_round_is_in_time_while_it_takes_no_longer_than_lost_pictures_are_looked_for(
    hours: int, *, in_time: bool
) -> None:
    assert Round(1, 1, hours * 60).in_time is in_time


INBOXES = st.builds(day, st.integers(1, 10**9), st.floats(0, 3650))


@given(INBOXES)
def test_a_run_costs_no_more_however_much_the_inbox_holds(inbox: Traffic) -> None:
    rounds = traffic.reconciled(inbox, MEASURED_STAGE)
    assert rounds.a_month * rounds.seconds <= 730 * 60 * (1 + 1e-9)
    assert rounds.lists <= 730 * max(1, 60 / LIST) * (1 + 1e-9)
    assert rounds.reads <= 730 * 60 / LOOK_UP * 1000 / 2 * (1 + 1e-9)


@given(st.integers(1_000, 10**6))
def test_pictures_that_are_kept_for_as_long_as_is_told_are_gone_through_in_time(a_day: int) -> None:
    days = traffic.kept_in_time(day(a_day, 0), STAGE)
    assert days > 0
    assert traffic.reconciled(day(a_day, days * 0.99), STAGE).in_time
    assert not traffic.reconciled(day(a_day, days * 1.01 + 1), STAGE).in_time


def test_for_too_many_pictures_no_time_is_short_enough() -> None:
    assert traffic.kept_in_time(day(10**8, 0), STAGE) < 0
    assert not traffic.reconciled(day(10**8, 0), STAGE).in_time
