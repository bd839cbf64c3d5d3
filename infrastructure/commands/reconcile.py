"""`reconcile`: what was lost on the way in is found and started again, by the function that does so every hour."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import click
from botocore.config import Config

from commandline import console
from infrastructure import options
from infrastructure.errors import InfrastructureError, InputError
from infrastructure.names import Names

FUNCTION = "reconcile"

READ_TIMEOUT = 930
"""Seconds that an answer may take: more than the 900 that the function has:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html"""

CONFIG = Config(read_timeout=READ_TIMEOUT, retries={"total_max_attempts": 1}, tcp_keepalive=True)
"""A run that is still going on must not be started a second time beside itself."""


@dataclass
class Sums:
    """What all runs came to.

    Attributes:
        listed: pictures of the inbox that were looked at.
        started: pictures that were started, or started again.
        given_up: records that are FAILED now, since they were started often enough.
        failed: pictures that could not be started.
    """

    listed: int = 0
    started: int = 0
    given_up: int = 0
    failed: int = 0

    def add(self, outcome: dict[str, Any]) -> None:
        """Take in what a run came to."""
        for name in asdict(self):
            setattr(self, name, getattr(self, name) + outcome[name])

    def __str__(self) -> str:
        return (
            f"{self.listed:,} pictures looked at, {self.started:,} started, {self.given_up:,} given up, "
            f"{self.failed:,} could not be started"
        )


@click.command(name="reconcile", short_help="Find pictures that were lost on the way in, and start them again.")
@options.stage
@click.option(
    "--since",
    default="8",
    metavar="DAYS|TIME",
    help="Look for pictures that came in from then on: days back from now, or a time such as 2026-01-31T12:00:00Z.",
)
@options.chalice
@options.as_json
def command(stage: str, since: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Find pictures that were lost on the way in, and start them again.

    Lost are pictures without a record, and records that have been PENDING for a quarter of an hour. The function that
    does this every hour is asked to, as often as it takes to see the whole inbox. A picture is classified once, however
    often this is run. Exit code 1 says that some pictures could not be started.
    """
    begin = _time(since)
    names = options.names(stage, folder)
    sums = Sums()
    with console.messages.status("Looking through the inbox") as shown:
        for outcome in run(names, begin):
            sums.add(outcome)
            shown.update(str(sums))
    if as_json:
        console.print_json({"since": begin, **asdict(sums)})
    else:
        console.messages.print(f"{sums}.")
    if sums.failed:
        raise InfrastructureError(
            f"{sums.failed:,} pictures could not be started. Why is in the log of {names.function(FUNCTION)}; mend "
            "that, and run this again."
        )


def run(names: Names, since: str) -> Iterator[dict[str, Any]]:
    """Have the function look, again and again, until it has seen all.

    Args:
        names: of the stage.
        since: the time from which on pictures are looked for, ISO 8601.

    Yields:
        What each run came to.

    Raises:
        InputError: the function is not there.
        InfrastructureError: it ended with an error.
    """
    client = boto3.client("lambda", config=CONFIG)
    after: Any = None
    while True:
        try:
            answer = client.invoke(
                FunctionName=names.function(FUNCTION), Payload=json.dumps(_event(names, since, after)).encode()
            )
        except client.exceptions.ResourceNotFoundException as error:
            raise InputError(
                f"There is no function {names.function(FUNCTION)} in {names.region}. Run `deploy` first."
            ) from error
        outcome = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise InfrastructureError(
                f"{names.function(FUNCTION)} ended with an error: {outcome.get('errorMessage', outcome)} Its log says "
                "more. Mend that, and run this again."
            )
        yield outcome
        after = outcome["after"]
        if after is None:
            return


def _event(names: Names, since: str, after: Any) -> dict[str, Any]:
    """What EventBridge would send, with what is asked in its detail; one that is empty would be the hourly run."""
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Asked by hand",
        "source": names.prefix,
        "account": names.account,
        "time": _text(datetime.now(UTC)),
        "region": names.region,
        "resources": [],
        "detail": {"since": since, "after": after},
    }


def _time(given: str) -> str:
    """The time that is meant, ISO 8601, UTC."""
    try:
        if given.replace(".", "", 1).isdecimal():
            return _text(datetime.now(UTC) - timedelta(days=float(given)))
        at = datetime.fromisoformat(given)
        return _text((at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{given!r} is neither a number of days nor a time. Say --since 7, or --since 2026-01-31T12:00:00Z."
        ) from error


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
