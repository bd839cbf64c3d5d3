"""A SageMaker endpoint, embedded: the model behind `POST /endpoints/{name}/invocations`, with data capture.

Runs `training/source/inference.py` the way SageMaker's scikit-learn container does: `model_fn` once, then `input_fn`,
`predict_fn` and `output_fn` for each request. Errors have the shapes that boto3 understands:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import base64
import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local import ACCOUNT
from training.source import inference

logger = logging.getLogger(__name__)

MAX_BODY = 25_000_000
"""Bytes of a request: https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints.html"""

VARIANT = "AllTraffic"
"""The production variant that SageMaker's own tools name when there is one."""

CAPTURE_INTERVAL = 5.0
"""Seconds between two capture files. SageMaker gathers for minutes."""


@dataclass(frozen=True)
class Fault:
    """An answer to give instead of the model's, for tests of what goes wrong.

    Attributes:
        status: the HTTP status.
        error_type: the error's name, as boto3 sees it.
        message: what it says.
        original_status: what the model's container answered, for a `ModelError`.
    """

    status: int
    error_type: str
    message: str = ""
    original_status: int | None = None

    def response(self) -> Response:
        """The answer as SageMaker words it."""
        body: dict[str, Any] = {"message": self.message, "Message": self.message}
        if self.original_status is not None:
            body |= {"OriginalStatusCode": self.original_status, "OriginalMessage": self.message}
        return JSONResponse(body, status_code=self.status, headers={"x-amzn-errortype": self.error_type})


@dataclass
class Endpoint:
    """An endpoint in service.

    Attributes:
        name: the endpoint's name.
        model_dir: the folder with the model.
        write_capture: takes a capture file's key, below the capture prefix, and its bytes.
        faults: answers to give instead of the model's, first come, first served.
    """

    name: str
    model_dir: Path
    write_capture: Callable[[str, bytes], None]
    faults: deque[Fault] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._model = inference.model_fn(str(self.model_dir))
        self._captured: list[str] = []
        self._capture_lock = threading.Lock()
        self.app = Starlette(routes=[Route("/endpoints/{name}/invocations", self._invoke, methods=["POST"])])

    async def _invoke(self, request: Request) -> Response:
        if request.path_params["name"] != self.name:
            missing = f"Endpoint {request.path_params['name']} of account {ACCOUNT} not found."
            return Fault(HTTPStatus.BAD_REQUEST, "ValidationError", missing).response()
        if self.faults:
            return self.faults.popleft().response()
        body = await request.body()
        if len(body) > MAX_BODY:
            return Fault(
                HTTPStatus.BAD_REQUEST, "ValidationError", f"Body of {len(body)} bytes is too long."
            ).response()
        content_type = request.headers.get("content-type", "application/octet-stream")
        try:
            answer = await run_in_threadpool(self._predict, body, content_type)
        except ValueError as error:
            return Fault(424, "ModelError", str(error), HTTPStatus.UNSUPPORTED_MEDIA_TYPE).response()
        except Exception as error:
            logger.exception("the model failed")
            return Fault(424, "ModelError", repr(error), HTTPStatus.INTERNAL_SERVER_ERROR).response()
        inference_id = request.headers.get("x-amzn-sagemaker-inference-id", "")
        with self._capture_lock:
            self._captured.append(capture_line(body, content_type, answer, inference_id))
        headers = {"x-amzn-invoked-production-variant": VARIANT}
        return Response(answer, media_type="application/json", headers=headers)

    def _predict(self, body: bytes, content_type: str) -> str:
        prediction = inference.predict_fn(inference.input_fn(body, content_type), self._model)
        answer, _ = inference.output_fn(prediction, "application/json")
        return answer

    def flush_capture(self) -> None:
        """Write what was captured since the last time, if anything, as one file."""
        with self._capture_lock:
            lines, self._captured = self._captured, []
        if lines:
            self.write_capture(capture_key(self.name, datetime.now(UTC)), "".join(lines).encode())


def capture_line(body: bytes, content_type: str, answer: str, inference_id: str) -> str:
    """A line of a capture file, as SageMaker writes it.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
    """
    event = {"eventId": str(uuid4()), "inferenceTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    if inference_id:
        event["inferenceId"] = inference_id
    line = {
        "captureData": {
            "endpointInput": {
                "observedContentType": content_type,
                "mode": "INPUT",
                "data": base64.b64encode(body).decode("ascii"),
                "encoding": "BASE64",
            },
            "endpointOutput": {
                "observedContentType": "application/json",
                "mode": "OUTPUT",
                "data": answer,
                "encoding": "JSON",
            },
        },
        "eventMetadata": event,
        "eventVersion": "0",
    }
    return json.dumps(line) + "\n"


def capture_key(endpoint: str, at: datetime) -> str:
    """Where SageMaker puts a capture file, below the prefix that was configured."""
    millisecond = at.microsecond // 1000
    return f"{endpoint}/{VARIANT}/{at:%Y/%m/%d/%H}/{at:%M-%S}-{millisecond:03d}-{uuid4()}.jsonl"
