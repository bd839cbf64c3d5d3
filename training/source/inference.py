"""Inference: the one implementation, run by SageMaker's scikit-learn container, by the local stack and by training.

A model folder holds `backbone.onnx` (a frozen network from pixels to features) and `head.json` (a linear head on them,
its calibration and its thresholds). The container calls the four functions in turn:

    model_fn(folder) -> Model                    once
    input_fn(body, content_type) -> Picture      bytes to an upright RGB picture
    predict_fn(picture, model) -> Answer         pixels to probabilities
    output_fn(answer, accept) -> (body, type)    JSON

The answer:

    {"labels": ["bicycle", "motorcycle"], "inferences": [0.98, 0.02], "known": 0.91,
     "threshold": 0.8, "min_known": 0.5, "model": "lite0-ridge-0123456789ab"}

`inferences` are probabilities: they say which of the labels it is, given that it is one of them, and sum to 1. `known`
says how surely the picture shows one of them at all, and is null where the model cannot tell. The model takes part in no
decision: whoever asks compares the largest probability with `threshold` and `known` with `min_known`.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image, ImageOps

BACKBONE_FILE = "backbone.onnx"
HEAD_FILE = "head.json"
FORMATS = ("JPEG", "PNG")
CONTENT_TYPES = ("image/jpeg", "image/png", "application/x-image")
JSON_TYPE = "application/json"
ACCEPTED = ("", "*/*", "application/*", JSON_TYPE)
MAX_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded: 64 megapixels are 192 MB of RGB."""
DRAFT_SIDE = 640
"""A JPEG at least twice as large as this, in px, is decoded at a half, a quarter or an eighth: several times faster."""
THREADS_VARIABLE = "INFERENCE_THREADS"
DIGITS = 6

Pixels = NDArray[np.uint8]
Vector = NDArray[np.float64]
Features = Mapping[str, NDArray[np.float32]]


class UnsupportedContentTypeError(ValueError):
    """The caller sends, or asks for, a content type that is not spoken here."""


class UnreadableImageError(ValueError):
    """The bytes are not a whole JPEG or PNG picture of a size that is handled; the sender's fault."""


class ModelFolderError(RuntimeError):
    """The model folder does not hold a backbone and a head that belong together."""


class Answer(TypedDict):
    """What the model says about one picture; the endpoint's JSON."""

    labels: list[str]
    inferences: list[float]
    known: float | None
    threshold: float
    min_known: float
    model: str


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture.

    Attributes:
        image: Mode RGB; a large JPEG may have been decoded smaller than it was stored.
        short_side: The shorter side as stored, in px.
    """

    image: Image.Image
    short_side: int


@dataclass(frozen=True)
class KnownRule:
    """How the backbone's ImageNet classes tell whether a picture shows one of the labels at all.

    Attributes:
        classes: Indices of the ImageNet classes that count.
        picture_cut: Their summed probability at which `known` is 0.5.
        thumbnail_cut: The same for thumbnails, on which the backbone is less sure of everything.
        thumbnail_side: A picture with a shorter side up to this, in px, is a thumbnail.
    """

    classes: tuple[int, ...]
    picture_cut: float
    thumbnail_cut: float
    thumbnail_side: int

    def known(self, mass: float, short_side: int) -> float:
        """Maps the classes' summed probability to 0..1 such that the cut becomes 0.5: the ratio of their odds.

        Args:
            mass: Summed probability of `classes`, 0..1.
            short_side: Of the picture as stored, in px.
        """
        cut = self.thumbnail_cut if short_side <= self.thumbnail_side else self.picture_cut
        ours, theirs = mass * (1 - cut), (1 - mass) * cut
        return ours / (ours + theirs)


@dataclass(frozen=True)
class Model:
    """A loaded model; immutable, so that threads may share it.

    Attributes:
        session: The backbone; onnxruntime runs it from several threads at once.
        labels: In the order of the probabilities.
        size: Side of the square that a picture is resized to, in px.
        weights: For each output of the backbone that the head reads a vector (length,), whose score is positive for the
            second of two labels; for K more labels an array (K, length) of a vector for each label.
        bias: Added to the weighted features; for K > 2 labels (K,).
        temperature: Divides the scores before they become probabilities.
        threshold: Confidence from which an answer may be trusted.
        min_known: `known` from which a picture counts as showing one of the labels.
        known: The rule behind `known`; without one the answer's `known` is null.
        version: Name of this model, at most 40 characters.
    """

    session: ort.InferenceSession
    labels: tuple[str, ...]
    size: int
    weights: Mapping[str, Vector]
    bias: Vector
    temperature: float
    threshold: float
    min_known: float
    known: KnownRule | None
    version: str


def open_backbone(path: Path, threads: int | None = None) -> ort.InferenceSession:
    """Loads the backbone.

    Args:
        path: The ONNX file.
        threads: Threads for one picture; by default `INFERENCE_THREADS` from the environment, or 1.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or int(os.environ.get(THREADS_VARIABLE, "1"))
    options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def model_fn(model_dir: str | Path, threads: int | None = None) -> Model:
    """Loads a model folder.

    Args:
        model_dir: Folder with `backbone.onnx` and `head.json`.
        threads: Threads for one picture; by default `INFERENCE_THREADS` from the environment, or 1.

    Raises:
        ModelFolderError: A file is missing, or the head was trained on another backbone.
    """
    folder = Path(model_dir)
    try:
        head: dict[str, Any] = json.loads((folder / HEAD_FILE).read_text(encoding="utf-8"))
        digest = hashlib.sha256((folder / BACKBONE_FILE).read_bytes()).hexdigest()
    except (OSError, json.JSONDecodeError) as error:
        raise ModelFolderError(f"{folder} holds no readable model: {error}") from error
    if digest != head["provenance"]["backbone_sha256"]:
        raise ModelFolderError(f"{folder / HEAD_FILE} was trained on another backbone than the one beside it.")
    rule = head["known"]
    return Model(
        session=open_backbone(folder / BACKBONE_FILE, threads),
        labels=tuple(head["labels"]),
        size=head["size"],
        weights={name: np.asarray(values, dtype=np.float64) for name, values in head["weights"].items()},
        bias=np.asarray(head["bias"], dtype=np.float64),
        temperature=head["temperature"],
        threshold=head["threshold"],
        min_known=head["min_known"],
        known=None if rule is None else _known_rule(rule),
        version=head["version"],
    )


def _known_rule(rule: Mapping[str, Any]) -> KnownRule:
    return KnownRule(
        classes=tuple(int(index) for index in rule["classes"]),
        picture_cut=rule["picture_cut"],
        thumbnail_cut=rule["thumbnail_cut"],
        thumbnail_side=rule["thumbnail_side"],
    )


def decode(body: bytes) -> Picture:
    """Decodes a JPEG or PNG of any mode to an upright RGB picture, transparency over white.

    Raises:
        UnreadableImageError: No whole picture of a handled format and size.
    """
    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnreadableImageError(f"The picture has {width} x {height} pixels, more than {MAX_PIXELS}.")
            image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
            upright = _to_rgb(ImageOps.exif_transpose(image))
    except UnreadableImageError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        LookupError,
        EOFError,
        OverflowError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise UnreadableImageError(f"The bytes are not a readable JPEG or PNG picture: {error}") from error
    return Picture(upright, min(width, height))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def prepare(picture: Picture, size: int) -> Pixels:
    """Resizes a picture to a square, its sides stretched to fit.

    Args:
        picture: An upright RGB picture.
        size: Side of the square in px.

    Returns:
        The picture and its mirror image, uint8 (2, size, size, 3).
    """
    pixels = np.asarray(picture.image.resize((size, size), Image.Resampling.BICUBIC))
    return np.stack([pixels, pixels[:, ::-1]])


def extract(session: ort.InferenceSession, pixels: Pixels, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Runs the backbone.

    Args:
        session: The backbone.
        pixels: RGB pictures, uint8 (N, height, width, 3).
        names: The outputs wanted.

    Returns:
        For each name a float32 array (N, length of that output).
    """
    return dict(zip(names, session.run(list(names), {"pixels": pixels}), strict=True))


def score(features: Features, weights: Mapping[str, Vector], bias: Vector) -> Vector:
    """The head: weighted features of a picture and its mirror image, averaged.

    Args:
        features: For each name in `weights` an array (N, length); the N rows are views of one picture.
        weights: For each name a vector (length,), or an array (K, length).
        bias: Added to the sum; a number, or (K,).

    Returns:
        A number, positive for the second of two labels; or (K,), a number for each of K labels.
    """
    return sum((features[name].mean(axis=0) @ vectors.T for name, vectors in weights.items()), bias)


def probabilities(scores: Vector, temperature: float) -> list[float]:
    """Scores to probabilities, rounded: the logistic function for two labels, softmax for more.

    Args:
        scores: What `score` gives.
        temperature: Divides the scores.
    """
    if np.ndim(scores) == 0:
        second = round(logistic(float(scores) / temperature), DIGITS)
        return [round(1 - second, DIGITS), second]
    exponentials = np.exp((scores - scores.max()) / temperature)
    return [round(float(share), DIGITS) for share in exponentials / exponentials.sum()]


def class_mass(logits: NDArray[np.float32], classes: Sequence[int]) -> float:
    """Summed softmax probability of some classes, averaged over the rows.

    Args:
        logits: (N, number of classes).
        classes: Indices of the classes to sum.
    """
    exponentials = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return float(probabilities[:, list(classes)].sum(axis=1).mean())


def logistic(x: float) -> float:
    """1 / (1 + exp(-x)), safe for every finite x."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def input_fn(body: bytes, content_type: str) -> Picture:
    """Decodes what the caller sent.

    Raises:
        UnsupportedContentTypeError: The content type is none of `CONTENT_TYPES`.
        UnreadableImageError: The bytes are no picture that is handled.
    """
    if _media_type(content_type) not in CONTENT_TYPES:
        raise UnsupportedContentTypeError(f"{content_type!r} is not supported; send one of {', '.join(CONTENT_TYPES)}.")
    return decode(body)


def predict_fn(data: Picture, model: Model) -> Answer:
    """Classifies one picture; may run in several threads at once."""
    names = [*model.weights, "logits"]
    features = extract(model.session, prepare(data, model.size), names)
    known = None
    if model.known is not None:
        known = round(model.known.known(class_mass(features["logits"], model.known.classes), data.short_side), DIGITS)
    return Answer(
        labels=list(model.labels),
        inferences=probabilities(score(features, model.weights, model.bias), model.temperature),
        known=known,
        threshold=model.threshold,
        min_known=model.min_known,
        model=model.version,
    )


def output_fn(prediction: Answer, accept: str) -> tuple[str, str]:
    """Writes the answer as JSON.

    Returns:
        The body and its content type, the pair that the container makes its response of.

    Raises:
        UnsupportedContentTypeError: The caller accepts no JSON.
    """
    wanted = [_media_type(entry) for entry in accept.split(",")]
    if not any(entry in ACCEPTED for entry in wanted):
        raise UnsupportedContentTypeError(f"The answer is {JSON_TYPE}; {accept!r} does not accept it.")
    return json.dumps(prediction), JSON_TYPE


def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()
