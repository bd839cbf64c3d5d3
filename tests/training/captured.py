"""Capture files as SageMaker writes them, of answers and pictures that a test chooses."""

import base64
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from training import evaluate
from training.capture import File, Reading, Record, Rules, Span, read
from training.layout import Manifest, StagedPicture
from training.predict import Prediction

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
ALWAYS = Span(datetime(2001, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC))
LABELS = ("bicycle", "motorcycle")


def said(confidence: float = 0.97, label: str = "bicycle", **more: Any) -> str:
    """An answer of our own model."""
    probabilities = [confidence, 1 - confidence] if label == LABELS[0] else [1 - confidence, confidence]
    rest = {"known": 0.9, "threshold": 0.8, "min_known": 0.5, "model": "m1"} | more
    return json.dumps({"labels": LABELS, "inferences": probabilities} | rest)


def side(mode: str, data: bytes, encoding: str, content_type: str) -> dict[str, str]:
    """One direction of a request."""
    text = base64.b64encode(data).decode("ascii") if encoding == "BASE64" else data.decode()
    return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding}


def line(
    event: str = "e1",
    answer: str | None = None,
    at: datetime | str = NOON,
    picture: bytes | None = None,
    encoding: str = "JSON",
    inference_id: str | None = None,
) -> str:
    """A line of a capture file.

    Args:
        event: the `eventId`.
        answer: the endpoint's; one of our model where none is given.
        at: the `inferenceTime`, to the second where it is no text.
        picture: what the endpoint was asked about; None where requests are not captured.
        encoding: of the answer.
        inference_id: None where the caller names none.
    """
    metadata = {"eventId": event, "inferenceTime": at if isinstance(at, str) else f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    if inference_id:
        metadata["inferenceId"] = inference_id
    data = {"endpointOutput": side("OUTPUT", (answer or said()).encode(), encoding, "application/json")}
    if picture is not None:
        data["endpointInput"] = side("INPUT", picture, "BASE64", "image/png")
    return json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"})


def key(at: datetime = NOON, name: str = "00-00-000-a", variant: str = "shop/AllTraffic") -> str:
    """Where a capture file lies, below the destination of the capture."""
    return f"{variant}/{at:%Y/%m/%d/%H}/{name}.jsonl"


def write(folder: Path, lines: Iterable[str | bytes], at: datetime = NOON, name: str = "00-00-000-a") -> Path:
    """Write a capture file below a folder."""
    path = folder / key(at, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((one.encode() if isinstance(one, str) else one) + b"\n" for one in lines))
    return path


def hourly(count: int, hours: float = 1.0) -> list[datetime]:
    """So many moments, as far apart, from noon on."""
    return [NOON + timedelta(hours=hours * number) for number in range(count)]


def record(number: int = 0, **changes: Any) -> Record:
    """A record as `read` makes it."""
    fields: dict[str, Any] = {
        "event": f"e{number}",
        "inference_id": None,
        "time": NOON,
        "place": "a.jsonl:1",
        "label": "bicycle",
        "confidence": 0.9,
        "known": 0.9,
        "threshold": 0.8,
        "min_known": 0.5,
        "model": "m1",
        "brightness": 0.5,
        "short_side": 64,
    }
    return Record(**fields | changes)


def read_lines(*lines: str | bytes, rules: Rules | None = None) -> Reading:
    """Read one file of lines."""
    content = b"\n".join(one.encode() if isinstance(one, str) else one for one in lines)
    return read([File("a.jsonl", lambda: content)], rules or Rules(ALWAYS, LABELS), lambda: None)


def reading_of(records: Iterable[Record], **changes: Any) -> Reading:
    """A reading that has found these records."""
    fields: dict[str, Any] = {"pictures": {}, "files": 1, "broken": [], "repeated": 0, "outside": 0}
    return Reading(records=sorted(records, key=lambda one: (one.time, one.event)), **fields | changes)


def metrics_of(records: Sequence[Record]) -> Any:
    """`metrics.json` of an evaluation on the pictures of these records, to which the model said the same."""
    predictions = [_prediction(one) for one in records]
    pictures = [StagedPicture(one.path, one.label, "test", "0") for one in predictions]
    manifest = Manifest({"kind": "folder", "sha256": None}, list(LABELS), 0, 0.1, pictures)
    subject, wishes = evaluate.Subject(None, None), evaluate.Wishes(0.5, 0.9)
    return json.loads(evaluate.to_json(evaluate.judge(manifest, "test", predictions, subject, wishes)))


def _prediction(one: Record) -> Prediction:
    first = one.confidence if one.label == LABELS[0] else 1 - one.confidence
    return Prediction(
        path=f"test/{one.label}/{one.event}.png",
        label=one.label,
        predicted=one.label,
        confidence=one.confidence,
        probabilities={LABELS[0]: first, LABELS[1]: 1 - first},
        known=one.known,
        threshold=one.threshold,
        min_known=one.min_known,
        model=one.model,
        brightness=one.brightness or 0.0,
        short_side=one.short_side or 0,
        milliseconds=1.0,
    )


def sample(generator: np.random.Generator, count: int, motorcycles: float = 0.5, light: float = 1.0) -> list[Record]:
    """Records as an endpoint in good order makes them, a minute apart.

    Args:
        generator: of random numbers.
        count: how many.
        motorcycles: their share.
        light: 1 for pictures as light as ever, less for darker ones.
    """
    confidence = 0.5 + 0.5 * generator.beta(5, 1, count)
    known, brightness = generator.beta(6, 2, count), light * generator.beta(5, 5, count)
    sides = generator.choice([32, 64, 200, 448], count)
    labels = generator.random(count) < motorcycles
    return [
        record(
            number,
            time=NOON + timedelta(minutes=number),
            label=LABELS[int(labels[number])],
            confidence=float(confidence[number]),
            known=float(known[number]),
            brightness=float(brightness[number]),
            short_side=int(sides[number]),
        )
        for number in range(count)
    ]
