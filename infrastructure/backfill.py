"""Pictures that are in a bucket already, through a state machine that does with each what the workflow does."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from commandline import aws
from infrastructure import machine
from infrastructure.bucket_policy import Access
from infrastructure.errors import AccountError, InfrastructureError, InputError
from infrastructure.names import Names

Json = dict[str, Any]

OUTER = Path(__file__).with_name("backfill.json")
WORKFLOW = OUTER.parent.parent / "statemachine.json"

MAP = "EachPicture"
"""The state of backfill.json that starts an execution for each picture."""

FIRST = "Serialize"
"""The state of statemachine.json that a picture comes to once its record is open."""

LEFT_OUT = ("TellHeldBack",)
"""States that a picture does not come to here: nobody wants to be told of 100,000 pictures one by one."""

ENDINGS = {"THRESHOLD_CONFIDENCE_NOT_MET": "REVIEW", "INVALID_IMAGE": "REJECTED"}
"""What the workflow fails with though nobody failed, and the record that goes with it. Here such a picture is done: a
failed execution says that something of ours went wrong, so that the counts tell whether all is well."""

ACCEPTED = "ACCEPTED"

EXPRESS_SECONDS = 300
"""That an execution may take for one picture, all retries within:
https://docs.aws.amazon.com/step-functions/latest/dg/choosing-workflow-type.html"""

MAX_CONCURRENCY = 10_000
"""Executions that a run has going at once: https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html"""

TOLERATED_SHARE, TOLERATED_LEAST = 0.05, 100
"""Pictures that may fail for reasons of ours before the run stops by itself, as a share of all and at least: what is
broken for so many would be so for the rest."""

RESULTS = "backfill"
"""Below which Step Functions writes what became of each picture, in the training bucket."""

MAX_TALLY_BYTES = 300_000_000
"""Of results that are read in order to count how pictures ended; two million pictures are about as much."""


@dataclass(frozen=True)
class Place:
    """Where pictures are.

    Attributes:
        bucket: its name.
        prefix: what their keys begin with; empty for the whole bucket.
    """

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """As it is written on the command line."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def id(self) -> str:
        """What the names of its executions begin with."""
        return hashlib.sha256(json.dumps([self.bucket, self.prefix]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Found:
    """What lies at a place.

    Attributes:
        pictures: objects that are classified; whether they are pictures is seen then.
        folders: objects that consoles make to show a folder, which are passed over.
        size: bytes of the pictures.
    """

    pictures: int = 0
    folders: int = 0
    size: int = 0


@dataclass(frozen=True)
class Run:
    """A run of the state machine.

    Attributes:
        execution: its ARN.
        pictures: how many were counted before it began.
    """

    execution: str
    pictures: int


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        status: of the execution: RUNNING, SUCCEEDED, FAILED, ABORTED, TIMED_OUT.
        done: pictures that have come to an end, those among them that had before.
        failed: pictures that failed for reasons of ours.
        timed_out: pictures that took longer than an execution may.
        aborted: pictures that were broken off when the run was stopped.
        going: pictures that are being classified.
        map_run: ARN of what Step Functions calls a map run; None if it has not begun.
        why: why the execution failed.
    """

    status: str
    done: int = 0
    failed: int = 0
    timed_out: int = 0
    aborted: int = 0
    going: int = 0
    map_run: str | None = None
    why: str = ""

    @property
    def ended(self) -> int:
        """Pictures that nothing more is done with."""
        return self.done + self.failed + self.timed_out + self.aborted

    @property
    def results(self) -> str | None:
        """The key of the file that lists the files with results, in the training bucket."""
        return f"{RESULTS}/{self.map_run.rpartition(':')[2]}/manifest.json" if self.map_run else None


def definition() -> str:
    """The state machine: backfill.json, with the states of statemachine.json for each picture, as JSON.

    A picture is taken out of a listing rather than announced, so it begins where its record is open; nobody is told of
    one that is held back; and only what is our fault fails.
    """
    outer: Json = json.loads(OUTER.read_text(encoding="utf-8"))
    workflow: Json = json.loads(WORKFLOW.read_text(encoding="utf-8"))["States"]
    states = {name: _ended(state) for name, state in workflow.items()}
    around = {name: states.pop(name)["Next"] for name in LEFT_OUT}
    for state in states.values():
        if state.get("Next") in around:
            state["Next"] = around[state["Next"]]
    reached = machine.reachable(states, FIRST)
    outer["States"][MAP]["ItemProcessor"]["States"] |= {name: states[name] for name in states if name in reached}
    return json.dumps(outer, indent=2)


def place(url: str) -> Place:
    """Understand `s3://bucket/prefix`.

    Raises:
        InputError: it is something else.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise InputError(f"{url!r} is no place in S3. Say s3://bucket, or s3://bucket/prefix.")
    return Place(parts.netloc, url.partition("//")[2].partition("/")[2])


def check(names: Names, where: Place) -> None:
    """Whether the stage can classify what lies there.

    Raises:
        InputError: it is the stage's inbox, or there is no such bucket, or it is in another region.
        AccountError: it belongs to another account, or may not be looked at.
    """
    if where.bucket == names.inbox_bucket:
        raise InputError(
            f"{where.bucket} is the stage's own inbox, whose pictures are classified as they come. For those that were "
            f"lost on the way in, run `python -m infrastructure reconcile --stage {names.stage} --since DAYS`."
        )
    s3 = aws.client("s3")
    try:
        region = s3.head_bucket(Bucket=where.bucket, ExpectedBucketOwner=names.account).get("BucketRegion")
    except ClientError as error:
        code = aws.error_code(error)
        if code in aws.DENIED:
            raise AccountError(
                f"{where.bucket} belongs to another account than {names.account}, or these credentials may not list "
                "it. Step Functions lists buckets of its own account alone: copy the pictures into one of these."
            ) from error
        if code in ("404", "NoSuchBucket"):
            raise InputError(f"There is no bucket {where.bucket}. Is the name right?") from error
        region = error.response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        if code not in ("301", "PermanentRedirect", "400") or not region:
            raise
    if region and region != names.region:
        raise InputError(
            f"{where.bucket} is in {region} and the stage in {names.region}. Step Functions lists buckets of its own "
            "region alone: copy the pictures into one there."
        )


def count(where: Place) -> Iterator[Found]:
    """Count what lies there, as Step Functions will list it.

    Yields:
        What was found so far, after each thousand.
    """
    pictures = folders = size = 0
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=where.bucket, Prefix=where.prefix)
    for page in pages:
        for one in page.get("Contents", []):
            if one["Key"].endswith("/"):
                folders += 1
            else:
                pictures += 1
                size += one["Size"]
        yield Found(pictures, folders, size)


def access(names: Names, where: Place) -> Access:
    """What the policy of the bucket has to allow to whom.

    Raises:
        InputError: the stage is not deployed.
    """
    functions = aws.client("lambda")
    try:
        reader = functions.get_function_configuration(FunctionName=names.function("serialize"))["Role"]
    except functions.exceptions.ResourceNotFoundException as error:
        raise InputError(
            f"There is no function {names.function('serialize')}. Run `python -m infrastructure deploy "
            f"--stage {names.stage}` first."
        ) from error
    lister = aws.client("stepfunctions").describe_state_machine(stateMachineArn=names.backfill_arn)["roleArn"]
    return Access(where.bucket, where.prefix, lister, reader, names.prefix)


def customer_key(bucket: str) -> str | None:
    """The key of yours that new objects of a bucket are encrypted with; None if there is none, or AWS does not tell."""
    try:
        rules = aws.client("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    except ClientError:
        return None
    keys = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID") for rule in rules]
    return next((key for key in keys if key and not key.endswith("alias/aws/s3")), None)


def running(names: Names, where: Place) -> Run | None:
    """The run that is going on for a place.

    Raises:
        InputError: the stage is not deployed.
    """
    states = aws.client("stepfunctions")
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=names.backfill_arn, statusFilter="RUNNING")
    try:
        for page in pages:
            for one in page["executions"]:
                if one["name"].startswith(where.id):
                    given = json.loads(states.describe_execution(executionArn=one["executionArn"])["input"])
                    return Run(one["executionArn"], int(given.get("pictures", 0)))
    except states.exceptions.StateMachineDoesNotExist as error:
        raise InputError(
            f"There is no state machine {names.backfill}. Run `python -m infrastructure deploy --stage {names.stage}` "
            "first."
        ) from error
    return None


def start(names: Names, where: Place, pictures: int, concurrency: int) -> Run:
    """Begin.

    Args:
        names: of the stage.
        where: the pictures are.
        pictures: how many were counted.
        concurrency: how many are classified at once.
    """
    given = {
        "bucket": where.bucket,
        "prefix": where.prefix,
        "concurrency": concurrency,
        "tolerated": tolerated(pictures),
        "pictures": pictures,
    }
    started = aws.client("stepfunctions").start_execution(
        stateMachineArn=names.backfill_arn,
        name=f"{where.id}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}",
        input=json.dumps(given),
    )
    return Run(started["executionArn"], pictures)


def tolerated(pictures: int) -> int:
    """How many of so many pictures may fail for reasons of ours before the run stops by itself."""
    return max(TOLERATED_LEAST, int(pictures * TOLERATED_SHARE))


def look(run: Run) -> State:
    """How far a run is."""
    states = aws.client("stepfunctions")
    told = states.describe_execution(executionArn=run.execution)
    why = ": ".join(told[name] for name in ("error", "cause") if told.get(name))
    latest = _map_run(run)
    if latest is None:
        return State(told["status"], why=why)
    counts: Mapping[str, int] = states.describe_map_run(mapRunArn=latest)["itemCounts"]
    return State(
        status=told["status"],
        done=counts["succeeded"],
        failed=counts["failed"],
        timed_out=counts["timedOut"],
        aborted=counts["aborted"],
        going=counts["running"],
        map_run=latest,
        why=why,
    )


def change(run: Run, concurrency: int) -> None:
    """Let a run that is going on classify more, or fewer, pictures at once."""
    latest = _map_run(run)
    if latest is None:
        raise InfrastructureError("The run has only just begun. Say this again in a few seconds.")
    aws.client("stepfunctions").update_map_run(mapRunArn=latest, maxConcurrency=concurrency)


def stop(run: Run) -> None:
    """Stop a run. Pictures whose records are still PENDING are started again within two hours, by `reconcile`."""
    aws.client("stepfunctions").stop_execution(
        executionArn=run.execution, error="STOPPED", cause="Stopped by `python -m infrastructure backfill --stop`."
    )


def tally(names: Names, state: State) -> dict[str, int] | None:
    """How the pictures of a run ended, by the status of their records; "PASSED_OVER" for those that had ended before.

    Returns:
        None if there are too many results to read them all, or none have been written.
    """
    s3 = aws.client("s3")
    if state.results is None:
        return None
    try:
        manifest = json.load(s3.get_object(Bucket=names.training_bucket, Key=state.results)["Body"])
    except s3.exceptions.NoSuchKey:
        return None
    files = manifest["ResultFiles"]["SUCCEEDED"]
    if not files or sum(one["Size"] for one in files) > MAX_TALLY_BYTES:
        return None
    counts: Counter[str] = Counter()
    for one in files:
        lines = s3.get_object(Bucket=names.training_bucket, Key=one["Key"])["Body"].iter_lines()
        counts.update(json.loads(line)["status"] for line in lines if line)
    return dict(counts)


def _map_run(run: Run) -> str | None:
    """The latest map run of an execution: there are more if the bucket could not be listed at first."""
    pages = aws.client("stepfunctions").get_paginator("list_map_runs").paginate(executionArn=run.execution)
    runs = [one for page in pages for one in page["mapRuns"]]
    return max(runs, key=lambda one: one["startDate"])["mapRunArn"] if runs else None


def _ended(state: Json) -> Json:
    """A state; where it ends a picture as it should, one that says how."""
    status = ACCEPTED if state["Type"] == "Succeed" else ENDINGS.get(state.get("Error", ""))
    if status is None:
        return state
    return {
        "Type": "Pass",
        "Parameters": {"id.$": "$.id", "s3_key.$": "$.s3_key", "status": status},
        "End": True,
    }
