"""InvokeEndpoint: asks the SageMaker endpoint about a picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.errors import EndpointBusy, EndpointUnavailable, InvalidInference, ModelFailed

READ_TIMEOUT = 20
"""Seconds to wait for the answer. SageMaker itself gives a model 60 s, ours answers within one:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"""

BUSY_CODES = aws.THROTTLED | {"InternalDependencyException", "ModelNotReadyException", "ServiceUnavailableException"}

BUSY_STATUSES = frozenset({429, 503, 504})
"""What a model's container answers while it is starting or has no worker free."""


@dataclass(frozen=True)
class Answer:
    """What the endpoint said.

    Attributes:
        labels: n names of classes.
        inferences: n probabilities in the order of the labels.
        known: how surely the picture shows one of the classes at all, 0 to 1; None where the model does not tell.
        threshold: the confidence that the model asks for; None where it does not tell.
        min_known: the `known` that the model asks for; None where it does not tell.
        model: the model's version; None where it does not tell.
    """

    labels: tuple[str, ...]
    inferences: tuple[float, ...]
    known: float | None = None
    threshold: float | None = None
    min_known: float | None = None
    model: str | None = None


def classify(endpoint: str, picture: bytes, content_type: str, inference_id: str, labels: Sequence[str]) -> Answer:
    """Ask the endpoint once.

    botocore does not retry here: the state machine does, with jitter, and shows each attempt.

    Args:
        endpoint: the endpoint's name.
        picture: a JPEG or PNG.
        content_type: `image/jpeg` or `image/png`.
        inference_id: at most 64 ASCII characters; data capture keeps it beside the picture.
        labels: the classes, for a model that does not name them.

    Raises:
        EndpointBusy: throttled, starting, out of reach or too slow.
        ModelFailed: the model's code failed.
        EndpointUnavailable: no such endpoint, or no permission to ask it.
        InvalidInference: the answer cannot be understood, or the model refused the picture.
    """
    try:
        response = aws.client("sagemaker-runtime", attempts=1, read_timeout=READ_TIMEOUT).invoke_endpoint(
            EndpointName=endpoint,
            Body=picture,
            ContentType=content_type,
            Accept="application/json",
            InferenceId=inference_id,
        )
        body = response["Body"].read()
    except aws.UNREACHABLE as error:
        raise EndpointBusy(f"The endpoint {endpoint} is out of reach or too slow: {error}") from error
    except ClientError as error:
        raise _translate(endpoint, error) from error
    return understand(body, labels)


def understand(body: bytes, labels: Sequence[str]) -> Answer:
    """Read an endpoint's answer.

    That is our own JSON object, or the bare list of probabilities of SageMaker's built-in image classification.

    Args:
        body: the answer's bytes, JSON.
        labels: the classes, for a model that does not name them.

    Raises:
        InvalidInference: it is neither.
    """
    try:
        answer = json.loads(body)
        if isinstance(answer, list):
            return Answer(tuple(labels), tuple(map(float, answer)))
        labels, inferences = answer["labels"], answer["inferences"]
        if not isinstance(labels, list) or not isinstance(inferences, list):
            raise TypeError("labels and inferences are lists")
        return Answer(
            labels=tuple(map(str, labels)),
            inferences=tuple(map(float, inferences)),
            known=_fraction(answer, "known"),
            threshold=_fraction(answer, "threshold"),
            min_known=_fraction(answer, "min_known"),
            model=None if answer.get("model") is None else str(answer["model"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise InvalidInference(f"The endpoint answered something else than probabilities: {body[:200]!r}.") from error


def _fraction(answer: Mapping[str, Any], name: str) -> float | None:
    value = answer.get(name)
    if value is not None and not 0 <= float(value) <= 1:
        raise ValueError(f"{name} is not from 0 to 1")
    return None if value is None else float(value)


def _translate(
    endpoint: str, error: ClientError
) -> EndpointBusy | ModelFailed | EndpointUnavailable | InvalidInference:
    code = aws.code(error)
    message = error.response.get("Error", {}).get("Message", "")
    if code == "ModelError":
        status = int(error.response.get("OriginalStatusCode", 500))  # type: ignore[call-overload]
        if status in BUSY_STATUSES:
            return EndpointBusy(f"The model behind {endpoint} is busy ({status}): {message}")
        if 400 <= status < 500:  # SageMaker says 0 where the model died or took too long
            return InvalidInference(f"The model behind {endpoint} refused the picture ({status}): {message}")
        return ModelFailed(f"The model behind {endpoint} failed ({status}): {message}")
    if code in BUSY_CODES:
        return EndpointBusy(f"The endpoint {endpoint} is busy: {code}.")
    return EndpointUnavailable(f"The endpoint {endpoint} cannot be asked: {code}: {message}")
