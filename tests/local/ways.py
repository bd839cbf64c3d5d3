"""Every way that a state machine can go: what it is, how to make an execution take it, and whether one did."""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

State = Mapping[str, Any]
States = Mapping[str, State]

KINDS = ("Choice", "Fail", "Pass", "Succeed", "Task")
"""The types of state that can be driven. Whoever adds another teaches this module to drive it."""

ALWAYS = 10**6
"""Times that a fault comes back: longer than any Retry lasts."""

NOT_WRITTEN = "DynamoDB.ConditionalCheckFailedException"
"""The error that needs no injection: the record is there already, or is not."""

ANYTHING = "States.ALL"
TIMEOUT = "States.Timeout"

BROKEN = {"IsString": 7, "IsNumeric": "7"}
"""What does not pass a condition; what IsPresent asks for is left out."""

PREFIXES = {"dynamodb": "DynamoDB.", "sns": "SNS."}
"""What the names of errors of a service begin with; those of our own functions have no prefix."""


class NotDriven(Exception):
    """Nobody knows how to make an execution go this way."""


@dataclass(frozen=True)
class Way:
    """One thing that can happen to an execution in a state.

    Attributes:
        state: the state's name.
        kind: "next", "rule", "condition", "default", "retry", "gives up", "catch" or "end".
        place: of the rule, the Retry or the Catch in its list.
        name: the error's, as the state machine names it; of a condition its place in the rule.
    """

    state: str
    kind: str
    place: int = 0
    name: str = ""

    def __str__(self) -> str:
        where = "" if self.kind in ("next", "default", "end") else f" {self.place}"
        return f"{self.state} {self.kind}{where} {self.name}".strip()


@dataclass
class Visit:
    """An execution's stay in a state, as its history tells it.

    Attributes:
        state: the state's name.
        input: what it entered with.
        scheduled: how often its task was tried.
        errors: what the tries that failed ended with.
    """

    state: str
    input: Any
    scheduled: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """An execution that is over.

    Attributes:
        visits: the states that it was in, in order.
        status: as DescribeExecution tells it.
        error: what it failed with.
    """

    visits: list[Visit]
    status: str
    error: str | None

    def __str__(self) -> str:
        lines = [f"It ended as {self.status} {self.error or ''}, after:".replace(" ,", ",")]
        for visit in self.visits:
            tried = f": {visit.scheduled} tries, of which failed {visit.errors}" if visit.scheduled else ""
            lines.append(f"    {visit.state}{tried}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Plan:
    """How an execution is made to go a way.

    Attributes:
        way: the way.
        left_out: the fields of the whole input that it does without.
        replaced: the fields of the input that are not what they should be.
        opened: whether the record is there, and PENDING, before the execution.
        faults: the error that the tries of a state's task end with, and how many of them.
    """

    way: Way
    left_out: frozenset[str]
    replaced: Mapping[str, Any]
    opened: bool
    faults: Mapping[str, tuple[str, int]]


def ways(machine: Mapping[str, Any]) -> list[Way]:
    """Every way of every state."""
    return [way for name, state in machine["States"].items() for way in (*_routes(name, state), *_others(name, state))]


def _routes(name: str, state: State) -> Iterator[Way]:
    """The ways that lead on."""
    if "Next" in state:
        yield Way(name, "next")
    yield from (Way(name, "rule", place) for place, _ in enumerate(state.get("Choices", ())))
    if "Default" in state:
        yield Way(name, "default")
    for place, catcher in enumerate(state.get("Catch", ())):
        yield from (Way(name, "catch", place, error) for error in catcher["ErrorEquals"])


def _others(name: str, state: State) -> Iterator[Way]:
    for place, rule in enumerate(state.get("Choices", ())):
        yield from (Way(name, "condition", place, str(number)) for number, _ in enumerate(rule.get("And", ())))
    for place, retrier in enumerate(state.get("Retry", ())):
        yield from (Way(name, "retry", place, error) for error in retrier["ErrorEquals"])
        yield Way(name, "gives up", place)
    if "Next" not in state and state["Type"] != "Choice":
        yield Way(name, "end")


def _target(state: State, way: Way) -> str:
    targets = {
        "next": lambda: state["Next"],
        "default": lambda: state["Default"],
        "rule": lambda: state["Choices"][way.place]["Next"],
        "catch": lambda: state["Catch"][way.place]["Next"],
    }
    return str(targets[way.kind]())


def plan(machine: Mapping[str, Any], way: Way) -> Plan:
    """How to make an execution go a way.

    Raises:
        NotDriven: it cannot be done by what this module knows.
    """
    states: States = machine["States"]
    kind = states[way.state]["Type"]
    if kind not in KINDS:
        raise NotDriven(f"{way.state}: nobody knows how to drive a {kind}.")
    faults: dict[str, tuple[str, int]] = {}
    left_out: frozenset[str] = frozenset()
    replaced: dict[str, Any] = {}
    opened = False
    for one in (*_path(machine, way.state), way):
        state = states[one.state]
        if one.kind in ("catch", "gives up", "retry"):
            faults[one.state] = _error(state, one), 1 if one.kind == "retry" else ALWAYS
        if one.kind in ("rule", "default", "condition"):
            left_out, replaced = _input(state, one)
            opened = one.kind == "rule" and "id" in _variables(state["Choices"][one.place])
    failed = any(error == NOT_WRITTEN for error, _ in faults.values())
    return Plan(way, left_out, replaced, opened != failed, faults)


def _path(machine: Mapping[str, Any], target: str) -> list[Way]:
    """The shortest way from the start to a state."""
    states: States = machine["States"]
    waiting: deque[tuple[str, list[Way]]] = deque([(machine["StartAt"], [])])
    seen: set[str] = set()
    while waiting:
        name, path = waiting.popleft()
        if name == target:
            return path
        if name in seen or name not in states:
            continue
        seen.add(name)
        for way in _routes(name, states[name]):
            waiting.append((_target(states[name], way), [*path, way]))
    raise NotDriven(f"{target}: nothing leads there.")


def _error(state: State, way: Way) -> str:
    """The error that makes a task go a way."""
    if way.kind == "gives up":
        names = state["Retry"][way.place]["ErrorEquals"]
        return next((name for name in names if name != TIMEOUT), TIMEOUT)
    if way.name == ANYTHING:
        return f"{PREFIXES.get(_service(state), '')}SurpriseException"
    return way.name


def _service(state: State) -> str:
    return str(state["Resource"].split(":")[-2])


def _variables(rule: Mapping[str, Any]) -> list[str]:
    return [condition["Variable"].removeprefix("$.") for condition in rule.get("And", [rule])]


def _input(state: State, way: Way) -> tuple[frozenset[str], dict[str, Any]]:
    """What the input leaves out, and what is wrong in it, so that a choice goes a way.

    A rule gets all that there is, less what the rules before it want and it does not.
    """
    rules = state["Choices"]
    if way.kind == "default":
        return frozenset(name for rule in rules for name in _variables(rule)), {}
    wanted = _variables(rules[way.place])
    others = frozenset(name for rule in rules[: way.place] for name in _variables(rule)) - set(wanted)
    if way.kind == "rule":
        return others, {}
    condition = rules[way.place]["And"][int(way.name)]
    variable = condition["Variable"].removeprefix("$.")
    if condition.get("IsPresent") is True:
        return others | {variable}, {}
    wrong = [value for test, value in BROKEN.items() if condition.get(test) is True]
    if not wrong:
        raise NotDriven(f"{way}: nobody knows what does not pass {condition}.")
    return others, {variable: wrong[0]}


def taken(machine: Mapping[str, Any], ended: Ended) -> set[Way]:
    """The ways that an execution went, by its history."""
    states: States = machine["States"]
    found: set[Way] = set()
    for visit, following in zip(ended.visits, [*ended.visits[1:], None], strict=True):
        state = states[visit.state]
        if following is None:
            found |= _ended(state, visit, ended)
        elif state["Type"] == "Choice":
            found |= _chosen(state, visit, following)
        elif visit.errors and visit.scheduled == len(visit.errors):
            found |= _caught(state, visit, following)
        elif following.state == state["Next"] and (following.input == visit.input or not _kept(state)):
            found.add(Way(visit.state, "next"))
        for error in visit.errors[: visit.scheduled - 1]:
            found |= {Way(visit.state, "retry", place, error) for place in _naming(state, "Retry", error)}
    return found


def _kept(state: State) -> bool:
    """Whether what comes next gets the same input, whatever a task answers."""
    return "ResultPath" in state and state["ResultPath"] is None


def _naming(state: State, part: str, error: str) -> list[int]:
    """The place of the first Retry or Catch that names an error: the only one that counts."""
    rules = state.get(part, ())
    return [place for place, rule in enumerate(rules) if {error, ANYTHING} & set(rule["ErrorEquals"])][:1]


def _caught(state: State, visit: Visit, following: Visit) -> set[Way]:
    """All tries are used up, the state is that of the Catch, and what went wrong stands where the Catch puts it."""
    error = visit.errors[-1]
    used_up = {
        Way(visit.state, "gives up", place)
        for place in _naming(state, "Retry", error)
        if visit.errors.count(error) == state["Retry"][place]["MaxAttempts"] + 1
    }
    if _naming(state, "Retry", error) and not used_up:
        return set()
    for place in _naming(state, "Catch", error):
        catcher = state["Catch"][place]
        expected = dict(visit.input)
        if catcher["ResultPath"] is not None:
            name = catcher["ResultPath"].removeprefix("$.")
            told = following.input.get(name, {})
            expected[name] = told if told.get("Error") == error and set(told) == {"Error", "Cause"} else None
        if following.state == catcher["Next"] and following.input == expected:
            named = error if error in catcher["ErrorEquals"] else ANYTHING
            return used_up | {Way(visit.state, "catch", place, named)}
    return set()


def _chosen(state: State, visit: Visit, following: Visit) -> set[Way]:
    rules = state["Choices"]
    found = {Way(visit.state, "rule", place) for place, rule in enumerate(rules) if rule["Next"] == following.state}
    if not found and following.state == state["Default"]:
        found = {Way(visit.state, "default")}
    for place, rule in enumerate(rules):
        conditions = rule.get("And", ())
        failing = [number for number, one in enumerate(conditions) if not _holds(one, visit.input)]
        alone = {conditions[number]["Variable"] for number in failing}
        if len(alone) == 1 and rule["Next"] != following.state:
            found.add(Way(visit.state, "condition", place, str(failing[0])))
    return found


def _holds(condition: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    name = condition["Variable"].removeprefix("$.")
    value = given.get(name)
    tests = {
        "IsPresent": name in given,
        "IsString": isinstance(value, str),
        "IsNumeric": isinstance(value, int | float) and not isinstance(value, bool),
    }
    return all(holds == condition[test] for test, holds in tests.items() if test in condition)


def _ended(state: State, visit: Visit, ended: Ended) -> set[Way]:
    expected = ("FAILED", state["Error"]) if state["Type"] == "Fail" else ("SUCCEEDED", None)
    return {Way(visit.state, "end")} if (ended.status, ended.error) == expected else set()


def read(events: list[dict[str, Any]], parse: Any) -> list[Visit]:
    """The visits in a history, as GetExecutionHistory tells it.

    Args:
        events: in order.
        parse: what reads JSON.
    """
    visits: list[Visit] = []
    for event in events:
        if entered := event.get("stateEnteredEventDetails"):
            visits.append(Visit(entered["name"], parse(entered["input"])))
        elif event["type"] == "TaskScheduled":
            visits[-1].scheduled += 1
        elif re.fullmatch("Task(Failed|TimedOut)", event["type"]):
            details = event.get("taskFailedEventDetails") or event["taskTimedOutEventDetails"]
            visits[-1].errors.append(details["error"])
    return visits
