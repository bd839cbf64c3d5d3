"""What the three functions of the workflow do: each takes the state of the execution and gives the next one."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from chalicelib import decision, endpoint, inbox, store, workflow
from chalicelib.errors import InvalidRequest
from chalicelib.inbox import Source
from chalicelib.settings import DEFAULT_THRESHOLD, Settings

State = dict[str, Any]


def serialize(state: Mapping[str, Any]) -> State:
    """Read the picture and make it small enough for the state.

    Args:
        state: `s3_bucket`, `s3_key`, and where known `version_id`, `etag`, `id`.

    Returns:
        The same plus `id`, `image_data` (base64 of a JPEG or PNG), `content_type`, and `inferences`, empty yet.

    Raises:
        InvalidRequest: the bucket or the key is missing.
        PictureError: the picture cannot be classified.
        StorageBusy: S3 is throttling or failing.
    """
    from chalicelib import images  # here, because Pillow is for this step alone and would slow the start of all others

    source = Source(_text(state, "s3_bucket"), _text(state, "s3_key"), state.get("version_id"), state.get("etag"))
    picture = images.prepare(inbox.read(source), source.key)
    return {
        **state,
        "id": state.get("id") or workflow.identity(source),
        "image_data": base64.b64encode(picture.data).decode("ascii"),
        "content_type": picture.content_type,
        "inferences": [],
    }


def classify(settings: Settings, state: Mapping[str, Any]) -> State:
    """Ask the endpoint about the picture, which then leaves the state.

    Args:
        settings: the endpoint, and the thresholds if the stage has its own.
        state: `image_data`, `content_type`, `id`.

    Returns:
        The same without the picture, plus `labels`, `inferences` (their probabilities), the likeliest `label` and its
        `confidence`, `known` and `model` (None where the model does not tell), `sureness` of it all, what the decision
        will ask for: `threshold` and `min_known`, the stage's if it has its own, else the model's, and by these the
        `reason_code` for the record, None for a picture that is accepted: the error of `filter` has no place for it.

    Raises:
        InvalidRequest: there is no picture in the state.
        EndpointError: the endpoint gave no answer, or none that can be understood.
    """
    try:
        picture = base64.b64decode(_text(state, "image_data"), validate=True)
    except ValueError as error:
        raise InvalidRequest(f"image_data takes base64: {error}.") from error
    answer = endpoint.classify(
        settings.endpoint_name,
        picture,
        _text(state, "content_type"),
        inference_id=_text(state, "id"),
        labels=settings.labels,
    )
    likeliest = decision.likeliest(answer.labels, answer.inferences)
    threshold = _first(settings.threshold, answer.threshold, DEFAULT_THRESHOLD)
    min_known = _first(settings.min_known, answer.min_known, 0.0)
    kept = {name: value for name, value in state.items() if name not in ("image_data", "content_type")}
    return {
        **kept,
        "labels": list(answer.labels),
        "inferences": list(answer.inferences),
        "label": likeliest.label,
        "confidence": likeliest.confidence,
        "known": answer.known,
        "sureness": decision.sureness(likeliest.confidence, answer.known),
        "model": answer.model,
        "threshold": threshold,
        "min_known": min_known,
        "reason_code": decision.reason(likeliest.confidence, threshold, answer.known, min_known),
    }


def decide(settings: Settings, state: Mapping[str, Any]) -> State:
    """Accept the likeliest class, or hold the picture back.

    Args:
        settings: the classes and thresholds for a state that does not carry them.
        state: `inferences`, and where known `labels`, `known`, `threshold`, `min_known`.

    Returns:
        `label` and `confidence`.

    Raises:
        ThresholdConfidenceNotMet: there is a reason to hold it back.
        InvalidInference: these are not probabilities.
    """
    accepted = decision.decide(
        state.get("labels") or settings.labels,
        state.get("inferences") or (),
        threshold=_first(state.get("threshold"), settings.threshold, DEFAULT_THRESHOLD),
        known=state.get("known"),
        min_known=_first(state.get("min_known"), settings.min_known, 0.0),
    )
    return {"label": accepted.label, "confidence": accepted.confidence}


def open_record(settings: Settings, state: Mapping[str, Any]) -> State:
    """Open the record of a picture that a listing of a bucket names, before the other steps.

    Args:
        settings: the table.
        state: `s3_bucket`, `s3_key`, and where known `version_id` and `etag`, perhaps in quotes.

    Returns:
        What the other steps begin with, plus `done`: whether nothing is left to do, since the picture has come to an
        end before or is no picture but a folder.

    Raises:
        InvalidRequest: the bucket or the key is missing.
        StorageBusy: DynamoDB is throttling or failing.
    """
    etag = str(state.get("etag") or "").strip('"') or None
    source = Source(_text(state, "s3_bucket"), _text(state, "s3_key"), state.get("version_id"), etag)
    record = None if source.key.endswith("/") else workflow.take(settings, source)
    return {"done": True} if record is None else {**json.loads(workflow.execution_input(record)), "done": False}


def enter(settings: Settings, state: Mapping[str, Any], step: str) -> None:
    """Note in the record that an execution has come to a step.

    Args:
        settings: the table.
        state: `id` and `attempt`; one without them has no record.
        step: the step's name in `statemachine.json`.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    identity, attempt = state.get("id"), state.get("attempt")
    if isinstance(identity, str) and isinstance(attempt, int):
        store.enter(settings.records_table, identity, attempt, step)


def _text(state: Mapping[str, Any], name: str) -> str:
    value = state.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"The state has no {name}.")
    return value


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
