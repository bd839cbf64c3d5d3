"""What is deployed, counted: the states, functions, alarms and metrics of a stage, and how long its functions work."""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infrastructure import chalice_config, machine, prices
from infrastructure.errors import InputError

Json = dict[str, Any]

ENDINGS = ("ACCEPTED", "REVIEW", "REJECTED")
"""What is counted: how a picture ends unless something is broken."""

VCPU_MB = 1769
"""MB of memory that come with a whole processor; fewer come with a part of one:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""

DEFAULT_MEMORY_MB = 128
"""Of a function that names none."""

ENDPOINT_ALARMS = 2
"""That `python -m training deploy` makes for the endpoint."""

MEASURED_METRICS = 1
"""That the function `measure` writes."""

REASONS = 2
"""To hold a picture back, each of which has a metric: those of `chalicelib/decision.py`."""


@dataclass(frozen=True)
class Handler:
    """How long a function works.

    Attributes:
        compute: seconds of a whole processor.
        waits: seconds for answers of AWS or the endpoint.
    """

    compute: float
    waits: float

    def seconds(self, memory_mb: int) -> float:
        """How long it takes on Lambda, which gives a small function a part of a processor."""
        return self.compute / min(1.0, memory_mb / VCPU_MB) + self.waits

    def __add__(self, other: "Handler") -> "Handler":
        """One after the other."""
        return Handler(self.compute + other.compute, self.waits + other.waits)


STEPS = ("serialize", "classify", "filter")
"""The functions that write down in the record when they begin."""

WRITES_DOWN = Handler(0.0015, 0.0037)
"""That one update of a record takes: the time of `on_stopped`, which does nothing else."""

MEASURED = {
    "on_picture": Handler(0.0026, 0.0123),
    "serialize": Handler(0.0284, 0.0298),
    "classify": Handler(0.0014, 0.0139),
    "filter": Handler(0.0001, 0.0),
    "on_stopped": WRITES_DOWN,
    "reconcile": Handler(0.0055, 0.0150),
    "measure": Handler(0.0018, 0.0125),
    "api_handler": Handler(0.0026, 0.0034),
}
"""Means in the embedded stack on 2026-11-25, one picture at a time: 60 phone photos of 16 megapixels and 3 MB, on two
cores of a shared virtual machine (AMD EPYC), with Python 3.11. The three steps wrote nothing into the record.
`reconcile` found an empty inbox, while the machine was busy with other things; `api_handler` was POSTed to.

The waits are those for an emulator beside the functions. On AWS calls cross a network and may take a few times as long;
what that comes to is little beside the transitions. CloudWatch tells the real ones, as the metric `Duration`.
"""


@dataclass(frozen=True)
class Stage:
    """What is deployed.

    Attributes:
        ways: by ending, the names of the states that an execution enters.
        functions: by state, the function that it invokes.
        published: states that tell a topic.
        memory_mb: by function.
        seconds: by function, how long a call takes, where that is known better than by `MEASURED`.
        alarm_metrics: what the alarms look at; an alarm that reckons with several metrics is billed for each.
        own_metrics: that are written or made of logs; one that never came up is not billed.
        dashboards: how many.
    """

    ways: Mapping[str, tuple[str, ...]]
    functions: Mapping[str, str]
    published: frozenset[str]
    memory_mb: Mapping[str, int]
    seconds: Mapping[str, float]
    alarm_metrics: int
    own_metrics: int
    dashboards: int

    def call(self, function: str, *, records: bool = True) -> float:
        """What one call of a function costs, in USD.

        Args:
            function: its name.
            records: whether there are records to write into.
        """
        memory = self.memory_mb[function]
        return prices.lambda_usd(1, self.seconds.get(function, work(function, records=records).seconds(memory)), memory)


def work(function: str, *, records: bool = True) -> Handler:
    """How long a function works.

    Args:
        function: its name.
        records: whether there are records, in which each step of the workflow writes itself down.
    """
    return MEASURED[function] + WRITES_DOWN if records and function in STEPS else MEASURED[function]


def way(definition: Json, ending: str) -> tuple[str, ...]:
    """The states that an execution enters on the shortest way to an ending, and from there to its end.

    AWS bills each state that is entered, and each retry: https://aws.amazon.com/step-functions/pricing/

    Args:
        definition: the state machine.
        ending: the status that a state writes into the record.

    Raises:
        InputError: no state writes it.
    """
    states = definition["States"]
    waiting: deque[tuple[str, ...]] = deque([(definition["StartAt"],)])
    seen = {definition["StartAt"]}
    while waiting:
        path = waiting.popleft()
        if _records(states[path[-1]], ending):
            while "Next" in states[path[-1]]:
                path = (*path, states[path[-1]]["Next"])
            return path
        for name in machine.following(states[path[-1]]):
            if name not in seen:
                seen.add(name)
                waiting.append((*path, name))
    raise InputError(f"No state of the workflow ends a record as {ending}, so its transitions cannot be counted.")


def stage(
    definition: Json, template: str, memory_mb: Mapping[str, int], seconds: Mapping[str, float] | None = None
) -> Stage:
    """What is deployed, counted.

    Args:
        definition: the state machine.
        template: the text of the stack's template.
        memory_mb: by function.
        seconds: by function, how long a call takes, in place of what was measured here.

    Raises:
        InputError: something is missing in one of them.
    """
    functions = {
        name: match[1].lower()
        for name, state in definition["States"].items()
        if (match := re.fullmatch(r"\$\{(\w+)Arn\}", str(state.get("Parameters", {}).get("FunctionName"))))
    }
    if unmeasured := set(functions.values()) - set(MEASURED):
        raise InputError(
            f"How long {', '.join(sorted(unmeasured))} takes has not been measured, see MEASURED in deployed.py."
        )
    if unknown := set(seconds or {}) - set(MEASURED):
        raise InputError(f"No function is called {', '.join(sorted(unknown))}. They are: {', '.join(MEASURED)}.")
    if lacking := set(MEASURED) - set(memory_mb):
        raise InputError(f"The stage has no function {', '.join(sorted(lacking))}.")
    failures = sum(state["Type"] == "Fail" for state in definition["States"].values())
    return Stage(
        ways={ending: way(definition, ending) for ending in ENDINGS},
        functions=functions,
        published=frozenset(
            name
            for name, state in definition["States"].items()
            if state.get("Resource", "").startswith("arn:aws:states:::sns:publish")
        ),
        memory_mb=memory_mb,
        seconds=seconds or {},
        alarm_metrics=sum(one.count("MetricName:") for one in _resources(template, "CloudWatch::Alarm"))
        + ENDPOINT_ALARMS,
        own_metrics=sum(
            failures if "Key: ending" in one else REASONS if "Key: reason" in one else 1
            for one in _resources(template, "Logs::MetricFilter")
        )
        + MEASURED_METRICS,
        dashboards=len(_resources(template, "CloudWatch::Dashboard")),
    )


def picture_days(template: str) -> int:
    """How long pictures stay in the inbox, unless the stack is told otherwise.

    Args:
        template: the text of the stack's template.

    Raises:
        InputError: it does not say.
    """
    found = re.search(r"^  PictureDays:\n(?:    .*\n)*?    Default: (\d+)$", template, re.MULTILINE)
    if not found:
        raise InputError("The template has no default for PictureDays. Say how long pictures stay with --kept-days.")
    return int(found[1])


def memory_mb(folder: Path, name: str) -> dict[str, int]:
    """The memory of a stage's functions.

    Args:
        folder: usually `.chalice`.
        name: of the stage.

    Raises:
        InputError: there is no such stage, or the file cannot be understood.
    """
    found = chalice_config.described(folder, name)
    common = found.get("lambda_memory_size", DEFAULT_MEMORY_MB)
    return {one: int(own.get("lambda_memory_size", common)) for one, own in found.get("lambda_functions", {}).items()}


def _records(state: Json, ending: str) -> bool:
    values: Json = state.get("Parameters", {}).get("ExpressionAttributeValues", {})
    return values.get(":status") == {"S": ending}


def _resources(template: str, kind: str) -> list[str]:
    """The texts of a template's resources of a kind."""
    blocks = re.findall(r"^  \w+:\n((?:    .*\n|\n)+)", template + "\n", re.MULTILINE)
    return [block for block in blocks if re.search(rf"^    Type: AWS::{kind}$", block, re.MULTILINE)]
