"""`backfill`, run in the embedded stack on drawn pictures in another bucket, and held against the workflow."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from click.testing import Result

from chalicelib import store, workflow
from chalicelib.inbox import Source
from chalicelib.store import Record, Status
from commandline import aws
from infrastructure import backfill
from infrastructure.backfill import Place, Run, State
from infrastructure.commands import backfill as command
from infrastructure.errors import InfrastructureError
from infrastructure.names import Names
from local import samples
from local.stack import Stack
from tests.infrastructure.backfills import ENDPOINT, LIMIT, say
from tests.infrastructure.commands import run
from tests.infrastructure.conftest import forget_clients
from tests.training.validation import checking_session

Json = dict[str, Any]

NAMES = Names("dev", "123456789012", "us-east-1")
ROLE = f"arn:aws:iam::{NAMES.account}:role/{NAMES.backfill}"
PATIENCE = 60.0

ELSEWHERE = {"id", "s3_bucket", "s3_key", "version_id", "created_at", "updated_at", "ended_at", "steps"}
"""What differs between the records of the same picture in two places."""

NAMED = {
    **{f"{name}Arn": NAMES.function_arn(name.lower()) for name in ("Serialize", "Classify", "Filter")},
    "OpenRecordArn": NAMES.function_arn("open_record"),
    "RecordsTable": NAMES.records_table,
    "ResultsBucket": NAMES.training_bucket,
}
"""What the template puts in the place of the placeholders."""


def with_short_waits(definition: str) -> Json:
    """The definition with all its names and retries, but at most a second before each."""
    outer: Json = json.loads(re.sub(r"\$\{(\w+)\}", lambda found: NAMED[found[1]], definition))
    for state in outer["States"][backfill.MAP]["ItemProcessor"]["States"].values():
        for retry in state.get("Retry", []):
            retry |= {"IntervalSeconds": 1, "BackoffRate": 1.0, "MaxDelaySeconds": 1}
    return outer


@pytest.fixture
def account(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The embedded stack, with the machine of backfills, what no emulator tells, and requests that AWS would take."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", checking_session())
    monkeypatch.setattr(command, "POLL_INTERVAL", 0.02)
    forget_clients()
    states = aws.client("stepfunctions")
    arn = states.create_state_machine(
        name=NAMES.backfill, definition=json.dumps(with_short_waits(backfill.definition())), roleArn=ROLE
    )["stateMachineArn"]
    say("sagemaker", "DescribeEndpoint", ENDPOINT)
    say("lambda", "GetAccountSettings", LIMIT)
    yield stack
    states.delete_state_machine(stateMachineArn=arn)
    forget_clients()


@dataclass
class Watch:
    """What the functions are called for.

    Attributes:
        calls: how often, by function and key.
        hold: the function and the end of a key at which pictures stay until `released`.
        held: set once one does.
        released: lets all go on.
        broken: functions that die.
    """

    calls: Counter[tuple[str, str]]
    hold: tuple[str, str]
    held: threading.Event
    released: threading.Event
    broken: set[str]

    def __call__(self, name: str, event: Mapping[str, Any]) -> None:
        key = str(event.get("s3_key", ""))
        self.calls[name, key] += 1
        if name == self.hold[0] and key.endswith(self.hold[1]):
            self.held.set()
            self.released.wait(PATIENCE)
        if name in self.broken:
            raise LookupError("planted")


@pytest.fixture
def watch(account: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    watch = Watch(Counter(), ("", ""), threading.Event(), threading.Event(), set())
    monkeypatch.setattr(account.functions, "before", watch)
    yield watch
    watch.released.set()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A bicycle, a house, and a picture that was cut off."""
    files = samples.write(tmp_path_factory.mktemp("drawn"))
    return {one.name: one.read_bytes() for one in files if one.name != "motorcycle.jpg"}


@pytest.fixture
def bucket(account: Stack, request: pytest.FixtureRequest) -> str:
    """Another bucket than the inbox, with nothing in it."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-60:].strip("-")
    aws.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def full(bucket: str, drawn: dict[str, bytes]) -> Place:
    """The drawings in a folder, with a marker as consoles make for it, and something beside it."""
    put = aws.client("s3").put_object
    put(Bucket=bucket, Key="old/", Body=b"")
    put(Bucket=bucket, Key="older.jpg", Body=b"not below old/")
    for name, data in drawn.items():
        put(Bucket=bucket, Key=f"old/{name}", Body=data)
    return Place(bucket, "old/")


def record(place: Place, name: str) -> Record:
    etag = aws.client("s3").head_object(Bucket=place.bucket, Key=place.prefix + name)["ETag"].strip('"')
    source = Source(place.bucket, place.prefix + name, None, etag)
    return store.get(NAMES.records_table, workflow.identity(source))


def keys_with_records(place: Place) -> set[str]:
    items = aws.client("dynamodb").get_paginator("scan").paginate(TableName=NAMES.records_table)
    found = [item for page in items for item in page["Items"]]
    return {one["s3_key"]["S"] for one in found if one["s3_bucket"]["S"] == place.bucket}


def backfilled(place: Place, *options: str) -> Result:
    return run("backfill", place.url, "--yes", *options)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status(run: Run) -> str:
    return backfill.look(run).status


class TestPictures:
    def test_they_get_the_records_that_they_would_have_got_as_they_came_in(
        self, account: Stack, full: Place, drawn: dict[str, bytes], ended: Callable[[str], Record]
    ) -> None:
        done = backfilled(full)
        assert done.exit_code == 0, done.output
        for name, data in drawn.items():
            live = ended(workflow.identity(account.drop(f"{full.bucket}/{name}", data)))
            here = record(full, name)
            assert {
                one.name for one in fields(Record) if getattr(here, one.name) != getattr(live, one.name)
            } == ELSEWHERE
            assert [one.step for one in here.steps] == [one.step for one in live.steps]
        statuses = {name: record(full, name).status for name in drawn}
        assert statuses == {"bicycle.png": "ACCEPTED", "house.webp": "REVIEW", "broken.jpg": "REJECTED"}

    def test_what_is_beside_them_gets_none(self, full: Place, drawn: dict[str, bytes]) -> None:
        assert backfilled(full).exit_code == 0
        assert keys_with_records(full) == {f"old/{name}" for name in drawn}

    def test_all_that_ends_as_it_should_counts_as_done(self, full: Place) -> None:
        told = json.loads(backfilled(full, "--json").stdout)
        assert (told["status"], told["pictures"], told["done"], told["failed"]) == ("SUCCEEDED", 3, 4, 0)
        assert (
            told["results"] == f"s3://{NAMES.training_bucket}/backfill/{told['map_run'].split(':')[-1]}/manifest.json"
        )
        assert aws.client("s3").head_object(Bucket=NAMES.training_bucket, Key=told["results"].split("/", 3)[3])

    def test_each_says_how_it_ended(self, account: Stack, full: Place) -> None:
        """moto's list of results is empty, so they are read where they stand if there is no list: in the output."""
        states, definition = aws.client("stepfunctions"), with_short_waits(backfill.definition())
        del definition["States"][backfill.MAP]["ResultWriter"]
        arn = states.create_state_machine(name="unwritten", definition=json.dumps(definition), roleArn=ROLE)
        given = {"bucket": full.bucket, "prefix": full.prefix, "concurrency": 2, "tolerated": 0}
        begun = states.start_execution(
            stateMachineArn=arn["stateMachineArn"], name=full.bucket, input=json.dumps(given)
        )
        running = Run(begun["executionArn"], 3)
        until(lambda: status(running) != "RUNNING")
        output = json.loads(states.describe_execution(executionArn=running.execution)["output"])
        endings = {"bicycle.png": "ACCEPTED", "broken.jpg": "REJECTED", "house.webp": "REVIEW"}
        assert output == [
            {"status": "PASSED_OVER"},
            *({"id": record(full, name).id, "s3_key": f"old/{name}", "status": end} for name, end in endings.items()),
        ]
        states.delete_state_machine(stateMachineArn=arn["stateMachineArn"])

    def test_the_whole_bucket_is_a_place_too(self, bucket: str, drawn: dict[str, bytes]) -> None:
        aws.client("s3").put_object(Bucket=bucket, Key="1 & 2/ä+b.png", Body=drawn["bicycle.png"])
        assert backfilled(Place(bucket, "")).exit_code == 0
        assert record(Place(bucket, ""), "1 & 2/ä+b.png").status is Status.ACCEPTED


class TestAgain:
    def test_a_second_run_classifies_nothing_twice(self, full: Place, watch: Watch) -> None:
        assert backfilled(full).exit_code == 0
        first = record(full, "bicycle.png")
        watch.calls.clear()
        again = backfilled(full)
        assert again.exit_code == 0, again.output
        assert {name for name, _ in watch.calls} == {"open_record"}
        assert record(full, "bicycle.png") == first

    def test_a_run_that_was_stopped_goes_on_where_it_was(
        self, full: Place, watch: Watch, drawn: dict[str, bytes]
    ) -> None:
        watch.hold = ("classify", "house.webp")
        stopped = backfill.start(NAMES, full, 3, 1)
        assert watch.held.wait(PATIENCE)
        told = run("backfill", full.url, "--stop")
        assert told.exit_code == 0, told.output
        watch.released.set()
        until(lambda: status(stopped) == "ABORTED")
        assert record(full, "bicycle.png").status is Status.ACCEPTED
        assert record(full, "house.webp").status is Status.PENDING
        watch.hold = ("", "")
        assert backfilled(full).exit_code == 0
        assert {name: record(full, name).status for name in drawn} == {
            "bicycle.png": "ACCEPTED",
            "house.webp": "REVIEW",
            "broken.jpg": "REJECTED",
        }
        assert watch.calls["classify", "old/bicycle.png"] == 1
        assert watch.calls["classify", "old/house.webp"] == 2

    def test_what_failed_for_our_reasons_is_said_so_and_started_again(self, full: Place, watch: Watch) -> None:
        watch.broken = {"classify"}
        failed = backfilled(full)
        assert failed.exit_code == 1
        assert "2 pictures failed for reasons that are not theirs" in failed.output
        assert record(full, "bicycle.png").status is Status.FAILED
        assert record(full, "broken.jpg").status is Status.REJECTED
        watch.broken = set()
        assert backfilled(full).exit_code == 0
        assert (record(full, "bicycle.png").status, record(full, "bicycle.png").attempt) == ("ACCEPTED", 2)

    def test_one_that_goes_on_is_come_back_to_and_no_other_started(
        self, full: Place, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch.hold = ("serialize", "bicycle.png")
        going = backfill.start(NAMES, full, 3, 1)
        assert watch.held.wait(PATIENCE)
        monkeypatch.setattr(command, "time", polling(watch.released.set))
        told = backfilled(full, "--concurrency", "7")
        assert told.exit_code == 0, told.output
        assert "is going on" in told.output
        states = aws.client("stepfunctions")
        runs = states.list_executions(stateMachineArn=NAMES.arn("states", f"stateMachine:{NAMES.backfill}"))[
            "executions"
        ]
        assert [one["executionArn"] for one in runs] == [going.execution]
        (one,) = states.list_map_runs(executionArn=going.execution)["mapRuns"]
        assert states.describe_map_run(mapRunArn=one["mapRunArn"])["maxConcurrency"] == 7

    def test_ctrl_c_leaves_it_going_on_and_says_how_to_come_back_and_how_to_stop_it(
        self, full: Place, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        watch.hold = ("serialize", "bicycle.png")
        monkeypatch.setattr(command, "time", polling(interrupt))
        left = backfilled(full)
        assert left.exit_code == 130
        assert f"`python -m infrastructure backfill {full.url} --stage dev` comes back to it" in left.output
        assert "--stop" in left.output
        going = backfill.running(NAMES, full)
        assert going
        assert going.pictures == 3
        watch.released.set()
        until(lambda: status(going) == "SUCCEEDED")

    def test_a_run_for_another_place_is_another_run(self, full: Place, watch: Watch) -> None:
        watch.hold = ("serialize", "bicycle.png")
        backfill.start(NAMES, full, 3, 1)
        assert watch.held.wait(PATIENCE)
        assert backfill.running(NAMES, full)
        assert backfill.running(NAMES, Place(full.bucket, "")) is None

    def test_stopping_where_nothing_runs_does_no_harm(self, full: Place) -> None:
        told = run("backfill", f"{full.url}[bold]", "--stop")
        assert (told.exit_code, told.output) == (0, f"No run for {full.url}[bold] is going on.\n")


def polling(instead: Callable[[], None]) -> Any:
    """A clock that does this in place of each pause."""

    def sleep(_seconds: float) -> None:
        instead()
        time.sleep(0.02)

    return SimpleNamespace(monotonic=time.monotonic, sleep=sleep)


def test_where_no_progress_can_be_shown_it_is_told_in_lines(
    full: Place, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.hold = ("serialize", "house.webp")
    monkeypatch.setattr(command, "TELL_INTERVAL", 0.0)
    monkeypatch.setattr(command, "time", polling(lambda: watch.released.set() if watch.held.is_set() else None))
    told = backfilled(full)
    assert told.exit_code == 0
    assert re.search(r"\d of 3 pictures have ended\.", told.output)


class TestQuestion:
    def test_number_size_cost_duration_and_permission_are_told_before_anything_is_done(
        self, full: Place, drawn: dict[str, bytes]
    ) -> None:
        told = run("backfill", full.url, answer="y\nn\n")
        assert told.exit_code == 1
        assert "3 objects" in told.output
        assert "1 folder to be passed over" in told.output
        assert "Step Functions, a transition each" in told.output
        assert "with 20 pictures at once: 40 pictures a second for 2 instances" in told.output
        assert "Classify 3 pictures?" in told.output
        assert keys_with_records(full) == set()

    def test_no_to_the_permission_leaves_the_policy_alone(self, full: Place) -> None:
        told = run("backfill", full.url, answer="n\n")
        assert told.exit_code == 1
        assert "s3:GetObject" in told.output
        with pytest.raises(aws.client("s3").exceptions.from_code("NoSuchBucketPolicy")):
            aws.client("s3").get_bucket_policy(Bucket=full.bucket)

    def test_nobody_who_answers_is_a_no(self, full: Place) -> None:
        told = run("backfill", full.url, "--json")
        assert told.exit_code == 1
        assert "--yes" in told.output
        assert told.stdout == ""

    def test_an_account_with_few_functions_at_once_keeps_half_of_them(self, full: Place) -> None:
        say("lambda", "GetAccountSettings", {"AccountLimit": {"UnreservedConcurrentExecutions": 10}})
        told = run("backfill", full.url, answer="n\n")
        assert "with 5 pictures at once: half of the 10 functions" in told.output

    def test_an_aws_that_does_not_tell_how_many_functions_is_done_without(self, full: Place) -> None:
        say("lambda", "GetAccountSettings", {"Error": {"Code": "AccessDeniedException", "Message": "no"}}, 403)
        assert "with 20 pictures at once" in run("backfill", full.url, answer="n\n").output

    def test_a_serverless_endpoint_is_left_half_of_what_it_answers_at_once(self, full: Place) -> None:
        config = {"MemorySizeInMB": 2048, "MaxConcurrency": 8}
        say("sagemaker", "DescribeEndpoint", {"ProductionVariants": [{"CurrentServerlessConfig": config}]})
        told = run("backfill", full.url, answer="n\n")
        assert "with 4 pictures at once: half of the 8 that the serverless endpoint answers" in told.output

    def test_a_large_fleet_is_bounded_by_the_index_of_records(self, full: Place) -> None:
        fleet = {"ProductionVariants": [{"VariantName": "AllTraffic", "CurrentInstanceCount": 40}]}
        say("sagemaker", "DescribeEndpoint", fleet)
        told = run("backfill", full.url, answer="n\n")
        assert "with 100 pictures at once: more records at once the index by status does not take" in told.output

    def test_what_is_said_beforehand_holds_against_all_that_is_reckoned(self, full: Place) -> None:
        told = run("backfill", full.url, "--concurrency", "3", answer="n\n")
        assert "with 3 pictures at once: as you say" in told.output

    def test_a_key_of_yours_is_pointed_at(self, full: Place) -> None:
        key = "arn:aws:kms:us-east-1:123456789012:key/0123"
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
        aws.client("s3").put_bucket_encryption(Bucket=full.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
        assert f"encrypted with {key}" in run("backfill", full.url, answer="n\n").output


class TestPermission:
    OTHER: Json = {"Sid": "Kept", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "*"}  # noqa: RUF012

    def policy(self, place: Place) -> list[Json]:
        policy = json.loads(aws.client("s3").get_bucket_policy(Bucket=place.bucket)["Policy"])
        statements: list[Json] = policy["Statement"]
        return statements

    def test_it_is_added_once_to_what_was_there_and_taken_away_alone(self, full: Place) -> None:
        kept = {"Version": "2012-10-17", "Statement": [self.OTHER]}
        aws.client("s3").put_bucket_policy(Bucket=full.bucket, Policy=json.dumps(kept))
        assert backfilled(full).exit_code == 0
        first, lists, reads = self.policy(full)
        assert first == self.OTHER
        assert lists["Principal"]["AWS"] == [ROLE, f"arn:aws:iam::{NAMES.account}:role/local"]
        assert reads["Resource"] == f"arn:aws:s3:::{full.bucket}/old/*"
        assert backfilled(full).exit_code == 0
        assert self.policy(full) == [first, lists, reads]
        assert run("backfill", full.url, "--withdraw").exit_code == 0
        assert self.policy(full) == [self.OTHER]

    def test_a_policy_that_has_nothing_else_is_gone_afterwards(self, full: Place) -> None:
        assert backfilled(full).exit_code == 0
        assert "no more" in run("backfill", full.url, "--withdraw").output
        with pytest.raises(aws.client("s3").exceptions.from_code("NoSuchBucketPolicy")):
            self.policy(full)
        assert "says nothing" in run("backfill", full.url, "--withdraw").output

    def test_another_prefix_of_the_bucket_is_a_permission_of_its_own(self, full: Place) -> None:
        assert backfilled(full).exit_code == 0
        assert backfilled(Place(full.bucket, "old")).exit_code == 0
        assert len(self.policy(full)) == 4
        run("backfill", f"s3://{full.bucket}/old", "--withdraw")
        assert [one["Resource"] for one in self.policy(full)][1:] == [f"arn:aws:s3:::{full.bucket}/old/*"]


class TestRefused:
    def refusal(self, url: str) -> str:
        told = run("backfill", url, "--yes")
        assert told.exit_code == 2, told.output
        return told.output

    def test_the_inbox_has_a_command_of_its_own(self, account: Stack) -> None:
        assert "python -m infrastructure reconcile" in self.refusal(f"s3://{NAMES.inbox_bucket}/inbox/")

    def test_a_bucket_that_is_not_there(self, account: Stack) -> None:
        assert "There is no bucket nowhere-at-all" in self.refusal("s3://nowhere-at-all/x")

    def test_a_place_with_nothing_in_it(self, bucket: str) -> None:
        assert "There are no pictures at" in self.refusal(f"s3://{bucket}/x")

    def test_a_bucket_of_another_account(self, full: Place) -> None:
        say("s3", "HeadBucket", {"Error": {"Code": "403", "Message": "Forbidden"}}, 403)
        assert "belongs to another account than 123456789012" in self.refusal(full.url)

    @pytest.mark.parametrize("code", ["301", "400"])
    def test_a_bucket_of_another_region_that_s3_points_away_from(self, full: Place, code: str) -> None:
        region = {"x-amz-bucket-region": "eu-north-1"}
        say("s3", "HeadBucket", {"Error": {"Code": code, "Message": "Moved"}}, int(code), **region)
        assert "is in eu-north-1 and the stage in us-east-1" in self.refusal(full.url)

    def test_a_bucket_of_another_region_that_is_found_all_the_same(self, full: Place) -> None:
        say("s3", "HeadBucket", {"BucketRegion": "eu-north-1"})
        assert "is in eu-north-1 and the stage in us-east-1" in self.refusal(full.url)

    def test_a_stage_without_an_endpoint(self, full: Place) -> None:
        missing = {"Error": {"Code": "ValidationException", "Message": "Could not find endpoint"}}
        say("sagemaker", "DescribeEndpoint", missing, 400)
        assert "There is no endpoint scones-unlimited-dev" in self.refusal(full.url)
        assert keys_with_records(full) == set()

    def test_an_endpoint_that_has_failed(self, full: Place) -> None:
        say("sagemaker", "DescribeEndpoint", {"EndpointStatus": "Failed"})
        assert "is Failed and answers nobody" in self.refusal(full.url)

    def test_a_stage_that_is_not_deployed(self, stack: Stack, plain_bucket: str) -> None:
        forget_clients()
        assert "Run `python -m infrastructure deploy --stage dev`" in self.refusal(f"s3://{plain_bucket}/x")
        forget_clients()


class TestEnd:
    """What AWS writes and moto does not: results, and a run that too many failures have stopped."""

    def written(self, statuses: list[str], size: int | None = None) -> State:
        folder = f"backfill/{len(statuses)}-{size}"
        lines = "\n".join(json.dumps({"id": "1", "s3_key": "a", "status": one}) for one in statuses)
        files = [{"Key": f"{folder}/SUCCEEDED_0.jsonl", "Size": size or len(lines)}] if statuses else []
        manifest = {
            "DestinationBucket": NAMES.training_bucket,
            "MapRunArn": f"arn:x/pictures:{folder[9:]}",
            "ResultFiles": {"FAILED": [], "PENDING": [], "SUCCEEDED": files},
        }
        put = aws.client("s3").put_object
        put(Bucket=NAMES.training_bucket, Key=f"{folder}/manifest.json", Body=json.dumps(manifest).encode())
        put(Bucket=NAMES.training_bucket, Key=f"{folder}/SUCCEEDED_0.jsonl", Body=lines.encode())
        return State("SUCCEEDED", done=len(statuses), map_run=manifest["MapRunArn"])  # type: ignore[arg-type]

    def test_how_pictures_ended_is_counted_from_the_results(self, account: Stack) -> None:
        state = self.written(["ACCEPTED", "REVIEW", "ACCEPTED", "PASSED_OVER"])
        assert backfill.tally(NAMES, state) == {"ACCEPTED": 2, "REVIEW": 1, "PASSED_OVER": 1}

    def test_too_many_results_are_not_read(self, account: Stack) -> None:
        assert backfill.tally(NAMES, self.written(["ACCEPTED"], backfill.MAX_TALLY_BYTES + 1)) is None

    @pytest.mark.parametrize("state", [State("FAILED"), State("FAILED", map_run="arn:x/pictures:none")])
    def test_no_results_are_none(self, account: Stack, state: State) -> None:
        assert backfill.tally(NAMES, state) is None

    def test_a_run_over_what_has_all_ended_says_so(self, full: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "_follow", lambda *_: self.written(["PASSED_OVER", "PASSED_OVER", "PASSED_OVER"]))
        told = backfilled(full)
        assert told.exit_code == 0
        assert "All had ended before, so there was nothing to do." in told.output

    def test_of_several_attempts_to_list_the_bucket_the_last_counts(self, account: Stack) -> None:
        runs = [{"mapRunArn": f"arn:x/pictures:{n}", "startDate": datetime(2026, 1, n, tzinfo=UTC)} for n in (1, 3, 2)]
        counts = {"pending": 0, "running": 1, "succeeded": 2, "failed": 3, "timedOut": 4, "aborted": 5, "total": 15}
        say("stepfunctions", "DescribeExecution", {"status": "FAILED", "error": "E", "cause": "C"})
        say("stepfunctions", "ListMapRuns", {"mapRuns": runs})
        say("stepfunctions", "DescribeMapRun", {"itemCounts": counts})
        state = backfill.look(Run(f"{NAMES.state_machine_arn}:x", 15))
        assert state == State("FAILED", 2, 3, 4, 5, 1, "arn:x/pictures:3", "E: C")
        assert (state.ended, state.results) == (14, "backfill/3/manifest.json")

    def test_a_run_that_has_only_just_begun_has_no_counts_and_cannot_be_changed(self, account: Stack) -> None:
        just = Run(f"{NAMES.state_machine_arn}:x", 3)
        say("stepfunctions", "DescribeExecution", {"status": "RUNNING"})
        say("stepfunctions", "ListMapRuns", {"mapRuns": []})
        assert backfill.look(just) == State("RUNNING")
        assert backfill.look(just).results is None
        with pytest.raises(InfrastructureError, match="only just begun"):
            backfill.change(just, 7)

    @pytest.mark.parametrize(
        ("state", "said"),
        [
            (State("FAILED", why="States.ExceedToleratedFailureThreshold: 101"), "ExceedToleratedFailureThreshold"),
            (State("TIMED_OUT"), "TIMED_OUT"),
            (State("ABORTED", done=1, aborted=2), "was stopped. Run this again"),
            (State("SUCCEEDED", done=1, failed=2), "2 pictures failed for reasons that are not theirs"),
            (State("SUCCEEDED", done=1, timed_out=2), "2 pictures took longer than the 5 minutes"),
        ],
    )
    def test_what_is_left_to_do_is_an_error(
        self, full: Place, monkeypatch: pytest.MonkeyPatch, state: State, said: str
    ) -> None:
        monkeypatch.setattr(command, "_follow", lambda *_: state)
        told = backfilled(full)
        assert told.exit_code == 1
        assert said in told.output
