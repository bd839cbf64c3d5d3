import io
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from infrastructure.commands import reconcile
from infrastructure.errors import InputError
from infrastructure.names import Names
from tests.infrastructure.commands import run, run_well
from tests.infrastructure.conftest import forget_clients
from tests.training.recorder import Recorder

NOTHING = {"listed": 0, "started": 0, "given_up": 0, "failed": 0, "after": None}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Recorder]]:
    """What the function answers, one after the other."""
    recorder = Recorder()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", recorder.session())
    forget_clients()
    recorder.answers["GetCallerIdentity"] = lambda _: {"Account": "123456789012"}

    def set_answers(*outcomes: dict[str, Any], **more: Any) -> Recorder:
        left = list(outcomes)
        recorder.answers["Invoke"] = lambda _: {"Payload": io.BytesIO(json.dumps(left.pop(0)).encode()), **more}
        return recorder

    yield set_answers
    forget_clients()


def asked(recorder: Recorder) -> list[dict[str, Any]]:
    return [json.loads(one["Payload"])["detail"] for one in recorder.of("Invoke")]


def record(names: Names, count: int) -> list[str]:
    """The states of all records, once there are so many that have ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        items = boto3.client("dynamodb").scan(TableName=names.records_table)["Items"]
        found = sorted(one["status"]["S"] for one in items)
        if len(found) == count and "PENDING" not in found:
            return found
        time.sleep(0.1)
    pytest.fail(f"not ended: {found}")


def test_a_picture_that_nobody_told_of_is_found_and_classified(deployed: Names, chalice: Path) -> None:
    s3 = boto3.client("s3")
    s3.put_bucket_notification_configuration(Bucket=deployed.inbox_bucket, NotificationConfiguration={})
    s3.put_object(Bucket=deployed.inbox_bucket, Key="inbox/lost.png", Body=b"no picture")
    time.sleep(2.1)  # the function of `empty_account` takes pictures for lost after a second; S3 tells whole ones
    done = json.loads(run_well("reconcile", "--since", "1", "--json", "--chalice", chalice).stdout)
    assert {name: done[name] for name in NOTHING if name != "after"} == {
        "listed": 1,
        "started": 1,
        "given_up": 0,
        "failed": 0,
    }
    assert record(deployed, 1) == ["REJECTED"]
    again = run_well("reconcile", "--chalice", chalice)
    assert "1 pictures looked at, 0 started" in again.output
    assert record(deployed, 1) == ["REJECTED"]


def test_it_is_asked_again_from_where_it_stopped_until_all_is_seen(
    answers: Callable[..., Recorder], chalice: Path
) -> None:
    recorder = answers(
        {"listed": 1000, "started": 2, "given_up": 0, "failed": 0, "after": ["inbox/a", "1"]},
        {"listed": 1000, "started": 1, "given_up": 1, "failed": 0, "after": ["", ""]},
        {"listed": 5, "started": 0, "given_up": 0, "failed": 0, "after": None},
    )
    done = run_well("reconcile", "--since", "2026-01-31T12:00:00+01:00", "--json", "--chalice", chalice)
    assert json.loads(done.stdout) == {
        "since": "2026-01-31T11:00:00Z",
        "listed": 2005,
        "started": 3,
        "given_up": 1,
        "failed": 0,
    }
    since = "2026-01-31T11:00:00Z"
    assert asked(recorder) == [
        {"since": since, "after": None},
        {"since": since, "after": ["inbox/a", "1"]},
        {"since": since, "after": ["", ""]},
    ]


def test_the_event_is_what_chalice_takes_for_one_of_eventbridge(
    answers: Callable[..., Recorder], chalice: Path
) -> None:
    recorder = answers(NOTHING)
    run_well("reconcile", "--chalice", chalice)
    event = json.loads(recorder.of("Invoke")[0]["Payload"])
    assert event.keys() == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    }  # fmt: skip
    assert recorder.of("Invoke")[0]["FunctionName"] == "scones-unlimited-dev-reconcile"


def test_pictures_that_could_not_be_started_end_with_1(answers: Callable[..., Recorder], chalice: Path) -> None:
    answers({**NOTHING, "listed": 9, "failed": 2})
    done = run("reconcile", "--json", "--chalice", chalice)
    assert done.exit_code == 1
    assert "2 pictures could not be started" in done.stderr
    assert json.loads(done.stdout)["failed"] == 2


def test_an_error_of_the_function_is_told(answers: Callable[..., Recorder], chalice: Path) -> None:
    answers({"errorMessage": "Could not list the inbox."}, FunctionError="Unhandled")
    done = run("reconcile", "--chalice", chalice)
    assert done.exit_code == 1
    assert "ended with an error: Could not list the inbox." in done.output


def test_a_function_that_is_not_there_is_told(account: dict[str, str], chalice: Path) -> None:
    done = run("reconcile", "--chalice", chalice)
    assert done.exit_code == 2
    assert "There is no function scones-unlimited-dev-reconcile in us-east-1. Run `deploy` first." in done.output


def test_an_answer_is_waited_for_longer_than_the_function_may_take_and_asked_for_once() -> None:
    timeout = json.loads(Path(".chalice/config.json").read_text())["stages"]["dev"]["lambda_functions"]["reconcile"]
    assert reconcile.CONFIG.read_timeout > timeout["lambda_timeout"]  # type: ignore[attr-defined]
    assert reconcile.CONFIG.retries["total_max_attempts"] == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "seconds"), [("0", 0.0), ("3", 3 * 86400.0), ("0.5", 43200.0), ("365", 365 * 86400.0)]
)
def test_days_count_back_from_now(given: str, seconds: float) -> None:
    at = datetime.fromisoformat(reconcile._time(given))
    assert abs(datetime.now(UTC) - timedelta(seconds=seconds) - at) < timedelta(seconds=2)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00-05:00", "2026-01-31T17:00:00Z"),
    ],
)
def test_a_time_is_that_of_utc_unless_it_says_otherwise(given: str, text: str) -> None:
    assert reconcile._time(given) == text


@pytest.mark.parametrize("given", ["", "yesterday", "-3", "1e9", "99999999999", "²"])
def test_what_is_no_time_is_told(given: str) -> None:
    with pytest.raises(InputError, match="neither a number of days nor a time"):
        reconcile._time(given)
