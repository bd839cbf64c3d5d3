"""The embedded endpoint answers as SageMaker does, and captures as SageMaker does."""

import asyncio
import base64
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from local import ROOT, samples
from local.endpoint import MAX_BODY, VARIANT, Endpoint, Fault, capture_key

BICYCLE = samples.encode(samples.render(samples.draw_bicycle), "PNG")
PNG = {"content-type": "image/png"}
URL = "/endpoints/shop/invocations"


def post(endpoint: Endpoint, content: bytes, headers: dict[str, str], url: str = URL) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(endpoint.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://endpoint") as client:
            return await client.post(url, content=content, headers=headers)

    return asyncio.run(ask())


@pytest.fixture
def written() -> dict[str, bytes]:
    return {}


@pytest.fixture
def endpoint(written: dict[str, bytes]) -> Endpoint:
    return Endpoint("shop", ROOT / "model", written.__setitem__)


def test_the_answer_is_that_of_the_model_with_the_variant_that_gave_it(endpoint: Endpoint) -> None:
    answer = post(endpoint, BICYCLE, PNG)
    assert answer.status_code == 200
    assert answer.headers["x-amzn-invoked-production-variant"] == VARIANT
    assert answer.json()["labels"] == ["bicycle", "motorcycle"]


@pytest.mark.parametrize(
    ("url", "content", "content_type", "status", "error_type", "original"),
    [
        ("/endpoints/other/invocations", BICYCLE, "image/png", 400, "ValidationError", None),
        (URL, b"not a picture", "image/png", 424, "ModelError", 415),
        (URL, BICYCLE, "text/csv", 424, "ModelError", 415),
        (URL, bytes(MAX_BODY + 1), "image/png", 400, "ValidationError", None),
    ],
)
def test_an_error_has_the_shape_that_boto3_understands(
    endpoint: Endpoint, url: str, content: bytes, content_type: str, status: int, error_type: str, original: int | None
) -> None:
    answer = post(endpoint, content, {"content-type": content_type}, url)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (status, error_type)
    assert answer.json().get("OriginalStatusCode") == original


def test_a_fault_is_answered_once_in_place_of_the_model(endpoint: Endpoint) -> None:
    endpoint.faults.append(Fault(400, "ThrottlingException", "Rate exceeded"))
    assert post(endpoint, BICYCLE, PNG).status_code == 400
    assert post(endpoint, BICYCLE, PNG).status_code == 200


def test_every_answer_is_captured_in_lines_as_sagemaker_writes_them(
    endpoint: Endpoint, written: dict[str, bytes]
) -> None:
    for inference_id in ("a" * 32, ""):
        post(endpoint, BICYCLE, {**PNG, "x-amzn-sagemaker-inference-id": inference_id})
    endpoint.flush_capture()
    ((key, content),) = written.items()
    assert re.fullmatch(rf"shop/{VARIANT}/\d{{4}}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{{3}}-[0-9a-f-]{{36}}\.jsonl", key)
    first, second = map(json.loads, content.splitlines())
    assert first["eventMetadata"]["inferenceId"] == "a" * 32
    assert "inferenceId" not in second["eventMetadata"]
    assert base64.b64decode(first["captureData"]["endpointInput"]["data"]) == BICYCLE
    assert first["captureData"]["endpointInput"]["observedContentType"] == "image/png"
    assert set(json.loads(first["captureData"]["endpointOutput"]["data"])) >= {"labels", "inferences"}


def test_nothing_captured_writes_no_file(endpoint: Endpoint, written: dict[str, bytes]) -> None:
    endpoint.flush_capture()
    assert written == {}


def test_a_capture_file_lies_in_the_folder_of_its_hour() -> None:
    key = Path(capture_key("shop", datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)))
    assert key.parent == Path("shop") / VARIANT / "2026/01/02/03"
    assert key.name.startswith("04-05-678-")
