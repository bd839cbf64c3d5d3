"""SageMaker's runtime, embedded: models behind `POST /endpoints/{name}/invocations`, with data capture.

Calls a model's own `inference.py` the way SageMaker's scikit-learn container does: `model_fn` once, then `input_fn`,
`predict_fn` and `output_fn` for each request. Errors have the shapes that boto3 understands:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html

The stage's endpoint is served from the model folder of the repository until one of its name is deployed, and again
after that one has been deleted.
"""

import base64
import json
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
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

MAX_SERVERLESS_BODY = 4_000_000
"""Bytes of a request to a serverless endpoint: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html"""

VARIANT = "AllTraffic"
"""The production variant that SageMaker's own tools name when there is one."""

CAPTURE_INTERVAL = 0.5
"""Seconds between two capture files. SageMaker gathers for minutes."""

JSON_TYPE = "application/json"
ANY_TYPE = "*/*"


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


@dataclass(frozen=True)
class Captured:
    """What of the traffic is captured, and how it is written down.

    Attributes:
        modes: "Input", "Output" or both.
        json_types: content types whose bodies are written as they are, as JSON.
        csv_types: content types whose bodies are written as they are, as CSV. All others are written as base64.
        share: of the requests, 0 to 1.
    """

    modes: frozenset[str] = frozenset({"Input", "Output"})
    json_types: frozenset[str] = frozenset({JSON_TYPE})
    csv_types: frozenset[str] = frozenset()
    share: float = 1.0

    def side(self, mode: str, body: bytes, content_type: str) -> dict[str, str]:
        """What a line says about one direction."""
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type in self.json_types:
            data, encoding = body.decode(errors="replace"), "JSON"
        elif media_type in self.csv_types:
            data, encoding = body.decode(errors="replace"), "CSV"
        else:
            data, encoding = base64.b64encode(body).decode("ascii"), "BASE64"
        return {"observedContentType": content_type, "mode": mode.upper(), "data": data, "encoding": encoding}


EVERYTHING = Captured()


@dataclass(eq=False)
class Capture:
    """Gathers what an endpoint is asked and answers.

    Attributes:
        endpoint: the endpoint's name.
        variant: the name of its variant.
        write: takes a capture file's key, below the capture prefix, and its bytes.
        captured: what is captured.
    """

    endpoint: str
    variant: str
    write: Callable[[str, bytes], None]
    captured: Captured = EVERYTHING

    def __post_init__(self) -> None:
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def add(self, body: bytes, content_type: str, answer: str, inference_id: str) -> None:
        """Note a request and its answer."""
        if random.random() >= self.captured.share:  # noqa: S311 - a sample, no secret
            return
        line = capture_line(body, content_type, answer, inference_id, self.captured)
        with self._lock:
            self._lines.append(line)

    def flush(self) -> None:
        """Write what was captured since the last time, if anything, as one file; then all that was is written."""
        with self._writing:
            with self._lock:
                lines, self._lines = self._lines, []
            if not lines:
                return
            try:
                self.write(capture_key(self.endpoint, datetime.now(UTC), self.variant), "".join(lines).encode())
            except (BotoCoreError, ClientError) as error:
                logger.error("What %s captured is lost: %s", self.endpoint, error)


@dataclass(frozen=True)
class Variant:
    """A model in service.

    Attributes:
        name: the production variant's.
        functions: the module that has `input_fn`, `predict_fn` and `output_fn`.
        model: what its `model_fn` returned.
        capture: where requests and answers go; None captures nothing.
        max_body: bytes of a request.
        files: what the model lies in, closed when it goes out of service.
    """

    name: str
    functions: Any
    model: Any
    capture: Capture | None = None
    max_body: int = MAX_BODY
    files: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def close(self) -> None:
        """Take it out of service."""
        if self.capture:
            self.capture.flush()
        self.files.__exit__(None, None, None)


@dataclass
class Endpoint:
    """The stage's endpoint, and all that are deployed beside it or in its place.

    Attributes:
        name: the name of the stage's endpoint.
        model_dir: the folder with the model that it has until one of its name is deployed.
        write_capture: takes a capture file's key, below the capture prefix, and its bytes.
        faults: answers to give instead of the stage's endpoint's, first come, first served.
    """

    name: str
    model_dir: Path
    write_capture: Callable[[str, bytes], None]
    faults: deque[Fault] = field(default_factory=deque)

    def __post_init__(self) -> None:
        model = inference.model_fn(str(self.model_dir))
        self._own = Variant(VARIANT, inference, model, Capture(self.name, VARIANT, self.write_capture))
        self._deployed: dict[str, Variant] = {}
        self._tried: dict[str, tuple[Variant, float]] = {}
        self._captures = {self._own.capture}
        self.app = Starlette(routes=[Route("/endpoints/{name}/invocations", self._invoke, methods=["POST"])])

    def deploy(self, name: str, variant: Variant) -> None:
        """Put a model into service under an endpoint's name, in place of the one that it had."""
        replaced = self._deployed.get(name)
        self._captures.add(variant.capture)
        self._deployed[name] = variant
        self._tried.pop(name, None)
        if replaced:
            replaced.close()

    @contextmanager
    def trying(self, name: str, variant: Variant, share: float) -> Iterator[None]:
        """Let a model answer a share of what an endpoint is asked, 0 to 1, beside the one that is in service."""
        self._captures.add(variant.capture)
        self._tried[name] = variant, share
        try:
            yield
        finally:
            self._tried.pop(name, None)

    def remove(self, name: str) -> None:
        """Take an endpoint out of service, if it is in service."""
        variant = self._deployed.pop(name, None)
        if variant:
            variant.close()

    def flush_capture(self) -> None:
        """Write what each model has captured since the last time, those out of service among them."""
        for capture in filter(None, list(self._captures)):
            capture.flush()

    def close(self) -> None:
        """Take all out of service."""
        for name in list(self._deployed):
            self.remove(name)

    async def _invoke(self, request: Request) -> Response:
        name = request.path_params["name"]
        variant = self._in_service(name)
        if variant is None:
            return _invalid(f"Endpoint {name} of account {ACCOUNT} not found.")
        if self.faults and name == self.name:
            return self.faults.popleft().response()
        body = await request.body()
        if len(body) > variant.max_body:
            return _invalid(f"Body of {len(body)} bytes is too long.")
        content_type = request.headers.get("content-type", "application/octet-stream")
        accept = request.headers.get("accept", ANY_TYPE)
        try:
            answer, answer_type = await run_in_threadpool(self._predict, variant, body, content_type, accept)
        except ValueError as error:
            return Fault(424, "ModelError", str(error), HTTPStatus.UNSUPPORTED_MEDIA_TYPE).response()
        except Exception as error:
            logger.exception("the model failed")
            return Fault(424, "ModelError", repr(error), HTTPStatus.INTERNAL_SERVER_ERROR).response()
        if variant.capture:
            inference_id = request.headers.get("x-amzn-sagemaker-inference-id", "")
            variant.capture.add(body, content_type, answer, inference_id)
        headers = {"x-amzn-invoked-production-variant": variant.name}
        return Response(answer, media_type=answer_type, headers=headers)

    def _in_service(self, name: str) -> Variant | None:
        tried, share = self._tried.get(name, (None, 0.0))
        if tried and random.random() < share:  # noqa: S311 - a share, no secret
            return tried
        return self._deployed.get(name) or (self._own if name == self.name else None)

    def _predict(self, variant: Variant, body: bytes, content_type: str, accept: str) -> tuple[str, str]:
        functions = variant.functions
        prediction = functions.predict_fn(functions.input_fn(body, content_type), variant.model)
        answer, answer_type = functions.output_fn(prediction, JSON_TYPE if accept == ANY_TYPE else accept)
        return answer, answer_type


def _invalid(message: str) -> Response:
    return Fault(HTTPStatus.BAD_REQUEST, "ValidationError", message).response()


def capture_line(
    body: bytes, content_type: str, answer: str, inference_id: str, captured: Captured = EVERYTHING
) -> str:
    """A line of a capture file, as SageMaker writes it.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
    """
    event = {"eventId": str(uuid4()), "inferenceTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    if inference_id:
        event["inferenceId"] = inference_id
    sides = {
        "endpointInput": captured.side("Input", body, content_type),
        "endpointOutput": captured.side("Output", answer.encode(), JSON_TYPE),
    }
    data = {name: side for name, side in sides.items() if side["mode"].capitalize() in captured.modes}
    return json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"}) + "\n"


def capture_key(endpoint: str, at: datetime, variant: str = VARIANT) -> str:
    """Where SageMaker puts a capture file, below the prefix that was configured."""
    millisecond = at.microsecond // 1000
    return f"{endpoint}/{variant}/{at:%Y/%m/%d/%H}/{at:%M-%S}-{millisecond:03d}-{uuid4()}.jsonl"
