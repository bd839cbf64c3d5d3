"""Predictions made up by hand, with the data set that they are about."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chalicelib.store import NEITHER
from tests.training import drawings
from training.layout import Manifest, StagedPicture
from training.predict import Prediction

LABELS = ("bicycle", "motorcycle")


def prediction(label: str, predicted: str, confidence: float, **changes: Any) -> Prediction:
    """What a model of two or more classes might have said about a picture of `label`."""
    labels: Sequence[str] = changes.pop("labels", LABELS)
    rest = (1 - confidence) / (len(labels) - 1)
    fields: dict[str, Any] = {
        "path": f"test/{label}/{predicted}-{confidence}.png",
        "probabilities": {one: confidence if one == predicted else rest for one in labels},
        "known": 0.9,
        "threshold": 0.8,
        "min_known": 0.5,
        "model": "lite0-ridge-0123456789ab",
        "brightness": 0.5,
        "short_side": 32,
        "milliseconds": 7.0,
    }
    return Prediction(label=label, predicted=predicted, confidence=confidence, **(fields | changes))


def other(predicted: str, confidence: float, **changes: Any) -> Prediction:
    """What a model might have said about a picture of none of the classes."""
    path = f"test/{NEITHER}/{predicted}-{confidence}.png"
    return prediction(NEITHER, predicted, confidence, **({"path": path, "known": 0.1} | changes))


def manifest_of(predictions: Sequence[Prediction], labels: Sequence[str] = LABELS, **more: Any) -> Manifest:
    """The manifest of a data set whose test split is what was predicted."""
    pictures = [StagedPicture(one.path, one.label, "test", DIGEST, one.source) for one in predictions]
    return Manifest({"kind": "folder", "sha256": None}, list(labels), 0, 0.1, pictures, **more)


def draw(folder: Path, predictions: Sequence[Prediction]) -> None:
    """The pictures of `manifest_of`."""
    for one in predictions:
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)


PICTURE = drawings.encode(drawings.bicycle(32))
DIGEST = hashlib.sha256(PICTURE).hexdigest()
