"""`backfill`: the pictures that are in a bucket already are classified."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Column, Table

from commandline import console
from infrastructure import (
    backfill,
    backfill_estimate,
    bucket_policy,
    chalice_config,
    deployed,
    options,
    prices,
)
from infrastructure.backfill import Found, Place, Run, State
from infrastructure.errors import InfrastructureError, InputError
from infrastructure.names import Names

POLL_INTERVAL = 5.0
"""Seconds between two looks at a run."""

TELL_INTERVAL = 60.0
"""Seconds between two lines about it, where no progress can be shown."""

INTERRUPTED = 130
"""The exit code of a program that was told to stop by Ctrl-C."""


@click.command(name="backfill", short_help="Classify the pictures that are in a bucket already.")
@click.argument("url", metavar="s3://BUCKET/PREFIX")
@options.stage
@click.option(
    "--concurrency",
    type=click.IntRange(1, backfill.MAX_CONCURRENCY),
    help="Pictures at once; of a run that is going on, from now on.  [default: what the live path can spare]",
    show_default=False,
)
@click.option("--stop", is_flag=True, help="Stop the run for this place instead.")
@click.option("--withdraw", is_flag=True, help="Take the permission to read this place away again instead.")
@options.chalice
@options.yes
@options.as_json
def command(
    url: str,
    stage: str,
    folder: Path,
    *,
    concurrency: int | None,
    stop: bool,
    withdraw: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Classify the pictures that are in a bucket already.

    PREFIX is what their keys begin with. A state machine does with each what the workflow does with one that comes in,
    so that there are records like all others. It says beforehand how many they are and what they cost, and asks.

    Run this again to come back to a run that is going on, or to go on where one has stopped: what has ended is passed
    over. Exit code 1 says that some pictures failed for reasons that are not theirs.
    """
    names = options.names(stage, folder)
    place = backfill.place(url)
    backfill.check(names, place)
    if withdraw:
        _withdraw(names, place)
        return
    run = backfill.running(names, place)
    if stop:
        _stop(place, run)
        return
    if run is None:
        run = _begin(names, place, folder, concurrency, yes=yes)
    else:
        console.messages.print(f"A run for {place.url} is going on:", markup=False)
        if concurrency:
            backfill.change(run, concurrency)
    state = _follow(run, place, stage)
    _tell(names, place, run, state, as_json=as_json)
    _judge(state)


def _begin(names: Names, place: Place, folder: Path, concurrency: int | None, *, yes: bool) -> Run:
    """Say what it comes to, ask, and start."""
    endpoint = chalice_config.read(folder, names.stage).variables.get(chalice_config.ENDPOINT, names.prefix)
    spared = backfill_estimate.capacity(endpoint)
    access = backfill.access(names, place)
    found = _count(place)
    at_once = concurrency or spared.concurrency
    memory_mb = deployed.memory_mb(folder, names.stage)
    usd = backfill_estimate.usd(found.pictures, memory_mb, spared)
    _estimate(place, found, usd, backfill_estimate.passed_over_usd(found.pictures, memory_mb))
    duration = _duration(backfill_estimate.hours(found.pictures, at_once))
    why = "as you say" if concurrency else spared.why
    console.messages.print(f"It takes about {duration} with {_many(at_once, 'picture')} at once: {why}.")
    _permit(access, yes=yes)
    console.confirm(f"Classify {_many(found.pictures, 'picture')}?", yes=yes)
    return backfill.start(names, place, found.pictures, at_once)


def _count(place: Place) -> Found:
    found = Found()
    with console.messages.status("Counting") as shown:
        for found in backfill.count(place):
            shown.update(f"Counting: {_described(found)}")
    if not found.pictures:
        raise InputError(f"There are no pictures at {place.url}: {_described(found)}. Is the prefix right?")
    return found


def _estimate(place: Place, found: Found, usd: dict[str, float], known: float) -> None:
    table = Table(
        Column("part", "all"),
        Column("USD", _usd(sum(usd.values())), justify="right"),
        show_footer=True,
    )
    for part, amount in usd.items():
        table.add_row(part, _usd(amount))
    console.messages.print(f"{place.url}: {_described(found)}", markup=False)
    console.messages.print(table)
    console.messages.print(
        f"At list prices of {prices.REGION}, {prices.AS_OF}. "
        f"If all had ended before, it is {_usd(known)}: each is looked up."
    )


def _permit(access: bucket_policy.Access, *, yes: bool) -> None:
    """Have the bucket let our roles in, if it does not yet."""
    key = backfill.customer_key(access.bucket)
    if key:
        console.messages.print(
            f"Pictures in {access.bucket} are encrypted with {key}. The policy of this key has to allow kms:Decrypt to "
            f"{access.reader}, or all will fail."
        )
    policy = bucket_policy.read(access.bucket)
    missing = bucket_policy.missing(policy, access.statements)
    if not missing:
        return
    console.messages.print(
        f"The policy of {access.bucket} does not let this stage in yet. This would be added, all else stays as it is, "
        "and --withdraw takes it away again:"
    )
    console.messages.print(json.dumps(missing, indent=2), markup=False)
    console.confirm(f"Add this to the policy of {access.bucket}?", yes=yes)
    bucket_policy.write(access.bucket, bucket_policy.merged(policy, access.statements))


def _follow(run: Run, place: Place, stage: str) -> State:
    """Show how far it is until it ends, or until Ctrl-C."""
    told = time.monotonic()
    try:
        with console.progress() as bar:
            task = bar.add_task("Classifying", total=run.pictures)
            while True:
                state = backfill.look(run)
                bar.update(task, completed=state.ended)
                if state.status != "RUNNING":
                    return state
                if not console.messages.is_terminal and time.monotonic() - told > TELL_INTERVAL:
                    console.messages.print(f"{state.ended:,} of {run.pictures:,} pictures have ended.")
                    told = time.monotonic()
                time.sleep(POLL_INTERVAL)
    except KeyboardInterrupt as error:
        same = f"`python -m infrastructure backfill {place.url} --stage {stage}`"
        console.messages.print(
            f"\nIt goes on without you. {same} comes back to it, and the same with --stop ends it.", markup=False
        )
        raise click.exceptions.Exit(INTERRUPTED) from error


def _tell(names: Names, place: Place, run: Run, state: State, *, as_json: bool) -> None:
    """What it came to."""
    records = backfill.tally(names, state)
    results = f"s3://{names.training_bucket}/{state.results}" if state.results else None
    if as_json:
        content: dict[str, Any] = {
            "place": place.url,
            "pictures": run.pictures,
            "execution": run.execution,
            **asdict(state),
            "records": records,
            "results": results,
        }
        console.print_json(content)
        return
    console.results.print(f"{place.url}:", soft_wrap=True, markup=False)
    table = Table(Column("pictures"), Column("how many", justify="right"))
    for what, number in _counts(state, records).items():
        table.add_row(what, f"{number:,}")
    console.results.print(table)
    if records and records.keys() == {"PASSED_OVER"} and state.ended == state.done:
        console.results.print("All had ended before, so there was nothing to do.")
    if results:
        console.results.print(f"What became of each is listed in {results}", soft_wrap=True)


def _counts(state: State, records: dict[str, int] | None) -> dict[str, int]:
    names = {"PASSED_OVER": "ended before, or folders"}
    ended = {names.get(status, status): number for status, number in sorted((records or {}).items())}
    others = {
        "FAILED, for reasons of ours": state.failed,
        "took too long": state.timed_out,
        "broken off": state.aborted,
    }
    return (ended or {"ended": state.done}) | {what: number for what, number in others.items() if number}


def _judge(state: State) -> None:
    """End with an error where something is left to do.

    Raises:
        InfrastructureError: pictures failed, or the run did not come to its end.
    """
    again = "Run this again afterwards: what has ended is passed over."
    if state.status == "ABORTED":
        raise InfrastructureError("The run was stopped. Run this again to go on: what has ended is passed over.")
    if state.status != "SUCCEEDED":
        raise InfrastructureError(f"The run ended as {state.status}: {state.why or 'AWS does not say why'}. {again}")
    if state.failed:
        raise InfrastructureError(
            f"{_many(state.failed, 'picture')} failed for reasons that are not theirs; their records, and the "
            f"file FAILED_0 beside the results, say why. Mend that. {again}"
        )
    if state.timed_out:
        raise InfrastructureError(
            f"{_many(state.timed_out, 'picture')} took longer than the {backfill.EXPRESS_SECONDS // 60} minutes that "
            "one has. Their records are PENDING: `reconcile` starts them again within two hours. If they are many, "
            "give --concurrency a smaller number the next time."
        )


def _stop(place: Place, run: Run | None) -> None:
    if run is None:
        console.messages.print(f"No run for {place.url} is going on.", markup=False)
        return
    backfill.stop(run)
    console.messages.print(
        "Stopped. Pictures that were on their way are PENDING: `reconcile` starts them again within two hours, and so "
        "does a next run."
    )


def _withdraw(names: Names, place: Place) -> None:
    if bucket_policy.withdraw(names, place.bucket, place.prefix):
        console.messages.print(f"The policy of {place.bucket} lets this stage into {place.url} no more.", markup=False)
    else:
        console.messages.print(
            f"The policy of {place.bucket} says nothing of this stage and {place.url}.", markup=False
        )


def _described(found: Found) -> str:
    folders = f", and besides them {_many(found.folders, 'folder')} to be passed over" if found.folders else ""
    return f"{_many(found.pictures, 'object')}, {_size(found.size)}{folders}"


def _many(number: float, what: str) -> str:
    return f"{number:,.0f} {what}{'s' * (number != 1)}"


def _usd(amount: float) -> str:
    return "< 0.01" if 0 < amount < 0.01 else f"{amount:,.2f}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _duration(hours: float) -> str:
    if hours >= 48:
        return _many(round(hours / 24), "day")
    return _many(round(hours), "hour") if hours >= 2 else _many(max(1, round(hours * 60)), "minute")
