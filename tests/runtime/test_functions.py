"""Each function as it was deployed, in AWS's own runtime, on an event as AWS sends it."""

import base64
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from chalicelib import images, metrics, store
from chalicelib.inbox import Source
from local import ROOT, samples
from tests.calls import FUNCTIONS
from tests.runtime.account import NAMES, Account, Project, deploying, identity
from tests.runtime.emulator import Runtime

pytestmark = deploying

Json = dict[str, Any]
Running = Callable[[str], Runtime]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF")
STATES: dict[str, Json] = json.loads((ROOT / "statemachine.json").read_text())["States"]


def drawn(picture_format: str = "PNG") -> bytes:
    return samples.encode(samples.render(samples.draw_bicycle), picture_format)


def state(source: Source) -> Json:
    """What the state machine begins with."""
    fields = {"s3_bucket": source.bucket, "s3_key": source.key, "version_id": source.version_id, "etag": source.etag}
    return {"id": identity(source), "attempt": 1, **fields}


def caught(step: str) -> set[str]:
    """The errors that the state machine tells apart after a step."""
    return {name for one in STATES[step]["Catch"] for name in one["ErrorEquals"]}


def pending(account: Account, source: Source, seconds: float) -> str:
    """Write a record of a picture as it was so many seconds ago; its id."""
    at, name = store.now(ago=seconds), identity(source)
    texts = {"id": name, "status": "PENDING", "s3_bucket": source.bucket, "s3_key": source.key, "created_at": at}
    texts |= {"updated_at": at, "version_id": str(source.version_id)}
    item = {key: {"S": text} for key, text in texts.items()} | {"attempt": {"N": "1"}}
    account.client("dynamodb").put_item(TableName=NAMES.records_table, Item=item)
    return name


class TestSteps:
    @pytest.mark.parametrize("picture_format", FORMATS)
    def test_a_picture_is_read_classified_and_accepted(
        self, picture_format: str, runtime: Running, account: Account
    ) -> None:
        source = account.drop(f"inbox/{uuid4()}", drawn(picture_format))
        read = runtime("serialize").invoke(state(source))
        with Image.open(io.BytesIO(base64.b64decode(read["image_data"]))) as small:
            assert small.size[0] / small.size[1] == pytest.approx(samples.SIZE[0] / samples.SIZE[1], rel=0.02)
        classified = runtime("classify").invoke(read)
        assert "image_data" not in classified
        assert (classified["label"], classified["id"]) == ("bicycle", identity(source))
        decided = runtime("filter").invoke(classified)
        assert decided == {"label": "bicycle", "confidence": classified["confidence"]}

    def test_the_largest_picture_that_is_taken_fits_into_the_memory_of_its_function(
        self, runtime: Running, account: Account
    ) -> None:
        side = int(images.MAX_PIXELS**0.5)
        large = samples.encode(Image.new("RGBA", (side, side), (200, 30, 35, 255)), "PNG")
        read = runtime("serialize").invoke(state(account.drop(f"inbox/{uuid4()}.png", large)))
        assert read["image_data"]
        allowed = account.client("lambda").get_function_configuration(FunctionName=NAMES.function("serialize"))
        assert runtime("serialize").peak_memory < allowed["MemorySize"]

    def test_a_picture_that_is_not_there_is_an_error_that_the_workflow_tells_apart(self, runtime: Running) -> None:
        error = runtime("serialize").invoke({"s3_bucket": NAMES.inbox_bucket, "s3_key": "inbox/missing.png"})
        assert error["errorType"] == "ImageNotFound"
        assert error["errorType"] in caught("Serialize")

    def test_a_broken_picture_is_an_error_that_the_workflow_tells_apart(
        self, runtime: Running, account: Account
    ) -> None:
        error = runtime("serialize").invoke(state(account.drop(f"inbox/{uuid4()}.jpg", drawn("JPEG")[:6000])))
        assert error["errorType"] == "InvalidImage"
        assert error["errorType"] in caught("Serialize")

    def test_what_is_no_picture_to_the_endpoint_is_an_error_that_the_workflow_tells_apart(
        self, runtime: Running
    ) -> None:
        given = {"id": "1", "image_data": base64.b64encode(b"none").decode(), "content_type": "image/png"}
        error = runtime("classify").invoke(given)
        assert error["errorType"] == "InvalidInference", error
        assert error["errorType"] in caught("Classify")

    def test_a_picture_that_is_not_sure_enough_is_an_error_that_the_workflow_tells_apart(
        self, runtime: Running
    ) -> None:
        error = runtime("filter").invoke({"labels": ["bicycle", "motorcycle"], "inferences": [0.6, 0.4]})
        assert error["errorType"] == "ThresholdConfidenceNotMet"
        assert error["errorMessage"].startswith("Not sure whether bicycle or motorcycle: 60 % sure of bicycle")
        assert error["errorType"] in caught("Filter")


def test_a_picture_of_a_backfill_gets_a_record(runtime: Running, account: Account, waiting: list[Source]) -> None:
    listed = {"s3_bucket": waiting[0].bucket, "s3_key": waiting[0].key, "etag": f'"{waiting[0].etag}"'}
    opened = runtime("open_record").invoke(listed)
    assert (opened["done"], opened["attempt"], opened["s3_key"]) == (False, 1, waiting[0].key)
    assert account.item(opened["id"])["status"] == {"S": "PENDING"}
    account.client("dynamodb").delete_item(TableName=NAMES.records_table, Key={"id": {"S": opened["id"]}})


def test_a_picture_that_s3_tells_of_comes_out_with_a_record(
    runtime: Running, account: Account, waiting: list[Source]
) -> None:
    source = waiting[1]
    told = {
        "Records": [
            {
                "eventVersion": "2.6",
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": source.bucket, "arn": f"arn:aws:s3:::{source.bucket}"},
                    "object": {"key": source.key, "size": 1, "eTag": source.etag, "versionId": source.version_id},
                },
            }
        ]
    }
    assert runtime("on_picture").invoke(told) is None
    assert account.status(identity(source)) == "ACCEPTED"


def test_the_event_by_which_s3_tries_a_trigger_out_does_no_harm(runtime: Running) -> None:
    tried = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": NAMES.inbox_bucket}
    assert runtime("on_picture").invoke(tried) is None


def test_an_event_that_is_none_fails_so_that_lambda_keeps_it(runtime: Running) -> None:
    assert runtime("on_picture").invoke({"Records": [{}]})["errorType"] == "InvalidRequest"


def test_an_execution_that_ran_out_of_time_is_written_down(runtime: Running, account: Account) -> None:
    name = pending(account, Source(NAMES.inbox_bucket, f"inbox/{uuid4()}", "1"), seconds=5)
    execution = NAMES.arn("states", f"execution:{NAMES.prefix}:{name}")
    told = {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": NAMES.account,
        "time": "2026-01-31T00:00:00Z",
        "region": NAMES.region,
        "resources": [execution],
        "detail": {
            "executionArn": execution,
            "stateMachineArn": NAMES.state_machine_arn,
            "name": name,
            "status": "TIMED_OUT",
            "input": json.dumps({"id": name, "attempt": 1}),
            "error": None,
            "cause": None,
        },
    }
    assert runtime("on_stopped").invoke(told) is None
    assert account.status(name) == "FAILED"
    assert json.loads(account.item(name)["error"]["S"])["Error"] == "TIMED_OUT"


def scheduled(name: str) -> Json:
    """What EventBridge sends when it is time."""
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": NAMES.account,
        "time": "2026-01-31T00:00:00Z",
        "region": NAMES.region,
        "resources": [NAMES.arn("events", f"rule/{NAMES.prefix}-{name}-event")],
        "detail": {},
    }


def test_a_picture_that_is_stuck_is_measured_and_started_again(
    runtime: Running, account: Account, waiting: list[Source]
) -> None:
    name = pending(account, waiting[2], seconds=86_400)
    assert runtime("measure").invoke(scheduled("measure")) is None
    lines = [line for line in runtime("measure").printed.splitlines() if line.startswith("{") and '"_aws"' in line]
    told = json.loads(lines[-1])
    (metric,) = told["_aws"]["CloudWatchMetrics"]
    assert (metric["Namespace"], metric["Dimensions"]) == (metrics.NAMESPACE, [[metrics.DIMENSION]])
    assert metric["Metrics"][0]["Name"] == metrics.OLDEST == "OldestUnfinished"
    assert metric["Metrics"][0]["Unit"] == "Seconds"
    assert told[metrics.DIMENSION] == NAMES.records_table
    assert 86_400 <= told[metrics.OLDEST][0] < 90_000
    outcome = runtime("reconcile").invoke(scheduled("reconcile"))
    assert (outcome["started"], outcome["failed"], outcome["after"]) == (1, 0, None)
    assert account.status(name) == "ACCEPTED"


def rest(method: str, resource: str, body: Json | None = None, **parameters: str) -> Json:
    """What API Gateway sends."""
    path = "/api" + resource.format(**parameters)
    return {
        "resource": resource,
        "path": path.removeprefix("/api"),
        "httpMethod": method,
        "headers": {"Content-Type": "application/json", "Accept": "*/*"},
        "multiValueHeaders": {"Content-Type": ["application/json"], "Accept": ["*/*"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {
            "httpMethod": method,
            "resourcePath": resource,
            "path": path,
            "stage": "api",
            "requestId": str(uuid4()),
            "identity": {"sourceIp": "127.0.0.1", "userArn": f"arn:aws:iam::{NAMES.account}:user/somebody"},
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def test_the_rest_api_classifies_a_picture_and_tells_what_became_of_it(
    runtime: Running, account: Account, waiting: list[Source]
) -> None:
    source = waiting[3]
    answer = runtime("api_handler").invoke(rest("POST", "/classifications", {"key": source.key}))
    assert (answer["statusCode"], json.loads(answer["body"])["status"]) == (202, "PENDING")
    assert answer["headers"]["Location"] == f"/api/classifications/{identity(source)}"
    assert account.status(identity(source)) == "ACCEPTED"
    read = runtime("api_handler").invoke(rest("GET", "/classifications/{identity}", identity=identity(source)))
    assert (read["statusCode"], json.loads(read["body"])["label"]) == (200, "bicycle")


def test_the_page_comes_out_of_the_package_and_knows_where_it_is(runtime: Running) -> None:
    answer = runtime("api_handler").invoke(rest("GET", "/"))
    assert (answer["statusCode"], answer["headers"]["Content-Type"].split(";")[0]) == (200, "text/html")
    assert '<base href="/api/"' in answer["body"]
    assert "{{" not in answer["body"]
    assert "default-src 'none'" in answer["headers"]["Content-Security-Policy"]


def test_every_file_of_the_page_comes_out_of_the_package_as_it_is(runtime: Running, task: Path) -> None:
    files = [path for path in (task / "chalicelib" / "static").iterdir() if path.name != "index.html"]
    assert files
    for path in files:
        answer = runtime("api_handler").invoke(rest("GET", "/assets/{name}", name=path.name))
        assert answer["statusCode"] == 200, path.name
        body = base64.b64decode(answer["body"]) if answer.get("isBase64Encoded") else answer["body"].encode()
        assert body == path.read_bytes(), path.name
        assert answer["headers"]["Content-Type"], path.name
    missing = runtime("api_handler").invoke(rest("GET", "/assets/{name}", name="../app.py"))
    assert (missing["statusCode"], missing["headers"]["Content-Type"]) == (404, "application/problem+json")


def test_the_rest_api_answers_a_problem_with_its_own_content_type(runtime: Running) -> None:
    answer = runtime("api_handler").invoke(rest("GET", "/classifications/{identity}", identity="none"))
    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (404, "application/problem+json")
    assert json.loads(answer["body"])["title"]


def test_what_a_function_logs_is_json_that_names_the_picture(runtime: Running, waiting: list[Source]) -> None:
    told = {"Records": [{"s3": {"bucket": {"name": NAMES.inbox_bucket}, "object": {"key": "inbox/x", "eTag": "1"}}}]}
    runtime("on_picture").invoke(told)
    lines = [json.loads(line) for line in runtime("on_picture").printed.splitlines() if line.startswith("{")]
    assert any((line["message"], line["key"]) == ("picture came in", "inbox/x") for line in lines)


def test_no_function_writes_beside_its_code_which_lambda_would_not_let_it(
    runtime: Running, project: Project, task: Path
) -> None:
    for name in FUNCTIONS:
        runtime(name).invoke({})
    with zipfile.ZipFile(project.package) as package:
        packed = {name for name in package.namelist() if not name.endswith("/")}
    assert {str(path.relative_to(task)) for path in task.rglob("*") if path.is_file()} == packed
