"""What pictures cause, counted: calls, transitions, requests, what is kept, and the rounds of `reconcile`.

Counted are pictures as they go when nothing fails: no retries, no cold starts, no backfill, and nobody who looks at
dashboards, reviews or downloads pictures.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from infrastructure import prices
from infrastructure.deployed import Handler, Stage

DAYS = prices.HOURS / 24
"""In a month."""

RECONCILES = prices.HOURS
MEASURES = prices.HOURS * 12
"""Runs in a month, by the schedules in `app.py`."""

OLD_VERSION_DAYS = 30
"""That the buckets of `template.yaml` keep what was deleted."""

CAPTURE_DAYS = 90
"""That what was captured is kept, before it is deleted."""

LISTING_SECONDS = 60
"""That an hourly run of `reconcile` lists for, before it leaves the rest of the inbox to the next one."""

WINDOW_DAYS = 7
"""How far back `reconcile` looks for pictures that were lost."""

BOOKMARK_READS, BOOKMARK_WRITES = 1, 2
"""Units for what each run of `reconcile` keeps of where it is."""

LIST_PAGE = 1_000
"""Objects that one LIST request tells of:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html"""

LIST_WORK = Handler(0.065, 0.15)
LOOK_UP_WORK = Handler(0.035, 0.15)
"""What `reconcile` does for 1,000 pictures that it lists, and for 1,000 whose records it looks for besides. The
computing was measured in the embedded stack, with three such pages. The waits are estimates: one LIST, and ten
BatchGetItem one after the other."""

READ_KB = 4
"""That a read request unit reads; a write request unit writes 1:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html"""

EVENTUALLY = 0.5
"""Of a read request unit, where a read may be of a moment ago. A record that is not there costs as much."""

RECORD_KB = {"PENDING": 0.5, "ACCEPTED": 0.6, "REVIEW": 1.7, "REJECTED": 1.6}
"""Of a record, measured in the embedded stack. A reason holds the trace that Lambda gives with an error."""

RECORD_MONTHS = 12
"""Records are kept for good: counted are those of a year."""

CALL_LOG_KB = 0.6
"""Of log for a call of a function: Lambda's three lines and one of ours; an estimate."""

FAILURE_LOG_KB = 1.5
"""Of log for an execution that ends as failed, which held back and rejected pictures do; an estimate."""

EMAILS = 1
"""People who get an e-mail for each picture that is held back."""

KB_IN_GB, MB_IN_GB = 1024 * 1024, 1024


@dataclass(frozen=True)
class Traffic:
    """What comes in.

    Attributes:
        pictures: a month.
        held_back: share that waits for a person, 0 to 1.
        rejected: share that is broken or no picture, 0 to 1.
        picture_mb: MB of a picture as it comes in.
        kept_days: how long pictures stay in the inbox before they are deleted.
        rest: requests to the REST API for each picture.
    """

    pictures: int
    held_back: float
    rejected: float
    picture_mb: float
    kept_days: float
    rest: float

    @property
    def shares(self) -> dict[str, float]:
        """How much of it comes to which ending."""
        return {
            "ACCEPTED": 1 - self.held_back - self.rejected,
            "REVIEW": self.held_back,
            "REJECTED": self.rejected,
        }

    @property
    def ended_badly(self) -> float:
        """The share whose executions end as failed: a person or the sender has to do something."""
        return self.held_back + self.rejected

    @property
    def kept_months(self) -> float:
        """How long the inbox holds a picture in all."""
        return (self.kept_days + OLD_VERSION_DAYS) / DAYS

    def expected(self, of_ending: Callable[[str], float]) -> float:
        """The mean of something over all pictures.

        Args:
            of_ending: how much of it a picture of an ending has.
        """
        return math.fsum(share * of_ending(ending) for ending, share in self.shares.items())


@dataclass(frozen=True)
class Round:
    """One time through the inbox, by the hourly runs of `reconcile`.

    Attributes:
        listed: pictures that the inbox holds.
        looked_for: those of them whose records are looked for.
        seconds: that it takes in all.
    """

    listed: float
    looked_for: float
    seconds: float

    @property
    def hours(self) -> int:
        """How many runs it takes, one an hour."""
        return max(1, math.ceil(self.seconds / LISTING_SECONDS))

    @property
    def a_month(self) -> float:
        """How many are made."""
        return RECONCILES / self.hours

    @property
    def lists(self) -> float:
        """LIST requests in a month."""
        return self.a_month * max(1.0, self.listed / LIST_PAGE)

    @property
    def reads(self) -> float:
        """Read request units in a month."""
        return self.a_month * self.looked_for * EVENTUALLY * math.ceil(max(RECORD_KB.values()) / READ_KB)

    @property
    def in_time(self) -> bool:
        """Whether each picture is listed while lost ones are still looked for."""
        return self.hours <= WINDOW_DAYS * 24


def reconciled(traffic: Traffic, stage: Stage) -> Round:
    """How `reconcile` gets through the inbox once it holds as many pictures as it ever will.

    Args:
        traffic: what comes in.
        stage: what is deployed.
    """
    listed, looked_for = traffic.pictures * traffic.kept_months, traffic.pictures * WINDOW_DAYS / DAYS
    memory = stage.memory_mb["reconcile"]
    work = listed * LIST_WORK.seconds(memory) + looked_for * LOOK_UP_WORK.seconds(memory)
    return Round(listed, looked_for, work / LIST_PAGE)


def kept_in_time(traffic: Traffic, stage: Stage) -> float:
    """For how many days pictures may be kept so that `reconcile` gets through the inbox within its window.

    Args:
        traffic: what comes in.
        stage: what is deployed.

    Returns:
        Days, below 0 where there is no such number.
    """
    memory = stage.memory_mb["reconcile"]
    seconds = WINDOW_DAYS * 24 * LISTING_SECONDS * LIST_PAGE / (traffic.pictures / DAYS)  # for what comes in in a day
    return (seconds - WINDOW_DAYS * LOOK_UP_WORK.seconds(memory)) / LIST_WORK.seconds(memory) - OLD_VERSION_DAYS


def calls(traffic: Traffic, stage: Stage) -> dict[str, float]:
    """How often a picture has each function called.

    Args:
        traffic: what comes in.
        stage: what is deployed.
    """
    return {
        "on_picture": 1.0,
        **{name: entered(traffic, stage, name) for name in stage.functions.values()},
        "on_stopped": traffic.ended_badly,  # each execution that ends as failed is looked at
        "api_handler": traffic.rest,
    }


def entered(traffic: Traffic, stage: Stage, function: str) -> float:
    """How often the workflow calls a function for a picture.

    Args:
        traffic: what comes in.
        stage: what is deployed.
        function: its name.
    """
    return traffic.expected(
        lambda ending: float(sum(stage.functions.get(state) == function for state in stage.ways[ending]))
    )


def transitions(traffic: Traffic, stage: Stage) -> float:
    """How many states a picture's execution enters.

    Args:
        traffic: what comes in.
        stage: what is deployed.
    """
    return traffic.expected(lambda ending: float(len(stage.ways[ending])))


def published(traffic: Traffic, stage: Stage) -> float:
    """How many messages a picture has sent to a topic.

    Args:
        traffic: what comes in.
        stage: what is deployed.
    """
    return traffic.expected(lambda ending: float(len(stage.published & set(stage.ways[ending]))))


def write_units(traffic: Traffic, stage: Stage) -> float:
    """Write request units for a picture: in the table, and as often in the index `by_status`, which holds all of it.

    A new status moves a record within the index, which is a deletion and a write:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html

    Args:
        traffic: what comes in.
        stage: what is deployed.
    """

    def refused(ending: str) -> float:  # `on_stopped` finds the record ended
        return 0.0 if ending == "ACCEPTED" else math.ceil(RECORD_KB[ending])

    return traffic.expected(lambda ending: recorded_units(ending, steps(stage, ending)) + refused(ending))


def steps(stage: Stage, ending: str) -> int:
    """How many functions write themselves down in a record on its way to an ending.

    Args:
        stage: what is deployed.
        ending: its status then.
    """
    return sum(state in stage.functions for state in stage.ways[ending])


def recorded_units(ending: str, steps: int) -> float:
    """Write request units for a record that is opened, tells of each step, and comes to an ending.

    Args:
        ending: its status then.
        steps: functions that write themselves down.
    """
    opened, ended = math.ceil(RECORD_KB["PENDING"]), math.ceil(RECORD_KB[ending])
    in_sureness = ended if ending == "REVIEW" else 0  # the index `by_sureness` holds those alone
    return 2.0 * opened + 2.0 * steps * opened + 2.0 * ended + opened + in_sureness


def record_kb(traffic: Traffic) -> float:
    """KB of a picture's record, once it has ended.

    Args:
        traffic: what comes in.
    """
    return traffic.expected(RECORD_KB.__getitem__)


def held_back_kb(traffic: Traffic) -> float:
    """KB of a picture's record that lie in the index `by_sureness`, too.

    Args:
        traffic: what comes in.
    """
    return traffic.held_back * RECORD_KB["REVIEW"]


def log_kb(traffic: Traffic, stage: Stage) -> float:
    """KB of log that a picture causes.

    Args:
        traffic: what comes in.
        stage: what is deployed.
    """
    return math.fsum(calls(traffic, stage).values()) * CALL_LOG_KB + traffic.ended_badly * FAILURE_LOG_KB
