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
says how surely the picture shows one of them at all, and is null where the model cannot tell. The model does not
decide: whoever asks compares the largest probability with `threshold` and `known` with `min_known`.

Several pictures at once are sent as JSON, and answered in their order; one that cannot be read spoils no other:

    {"instances": [{"b64": "/9j/4AAQ..."}, ...]} -> {"predictions": [{"labels": ..., ...} or {"error": "..."}, ...]}
"""

from __future__ import annotations

import base64
import binascii
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
from PIL import Image, ImageOps, UnidentifiedImageError

BACKBONE_FILE = "backbone.onnx"
HEAD_FILE = "head.json"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF")
_FORMAT_NAMES = "JPEG, PNG, WebP, GIF or TIFF"
JSON_TYPE = "application/json"
CONTENT_TYPES = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "image/tiff",
    "application/x-image",
    "application/octet-stream",
    JSON_TYPE,
)
ACCEPTED = ("", "*/*", "application/*", JSON_TYPE)
MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded: 100 megapixels are 300 MB of RGB."""
MAX_INSTANCES = 64
"""Pictures of one request: what the backbone holds of so many at once stays below 1 GB."""
SHORT_SIDE, LONG_SIDE = 192, 768
"""A larger picture is first shrunk until neither its short nor its long side exceeds these, in px: as the workflow does
it before it asks, so that a picture gets the same answer either way."""
REDUCING_GAP = 2.0
"""Averaging whole blocks of pixels stops at so many times the final size."""
BAND_PIXELS = 1 << 20
"""Pixels that are averaged at once, which saves a second copy in full size."""
THREADS_VARIABLE = "INFERENCE_THREADS"
DIGITS = 6

Pixels = NDArray[np.uint8]
Vector = NDArray[np.float64]
Features = Mapping[str, NDArray[np.float32]]


class UnsupportedContentTypeError(ValueError):
    """The caller sends, or asks for, a content type that is not spoken here."""


class UnreadableImageError(ValueError):
    """The bytes are no whole picture of a format and size that are handled; the sender's fault."""


class BatchError(ValueError):
    """A request of several pictures is not written as this module's head says; the sender's fault."""


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


class Refusal(TypedDict):
    """Why one picture of several gets no answer."""

    error: str


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture.

    Attributes:
        image: Mode RGB; a large picture may have been made smaller than it was stored.
        short_side: The shorter side as stored, in px.
    """

    image: Image.Image
    short_side: int


Batch = Sequence[Picture | UnreadableImageError]
"""Several pictures, and in the place of each that cannot be read the reason."""


@dataclass(frozen=True)
class KnownRule:
    """How surely a picture shows one of the labels at all, by one rule for pictures of every size.

    Attributes:
        classes: Indices of the backbone's own ImageNet classes that look like the labels, whose summed probability is
            the answer; empty where none do.
        weights: Without such classes, for each output of the backbone that counts a vector (length,), learnt from
            pictures of other things; the logistic function of their sum is the answer.
        bias: Added to that sum.
    """

    classes: tuple[int, ...]
    weights: Mapping[str, Vector]
    bias: float

    @property
    def outputs(self) -> tuple[str, ...]:
        """The backbone's outputs that it needs."""
        return ("logits",) if self.classes else tuple(self.weights)

    def known(self, features: Features) -> list[float]:
        """The answers for N pictures, 0..1.

        Args:
            features: For each name in `outputs` an array (N, length).
        """
        if self.classes:
            return [float(mass) for mass in class_mass(features["logits"], self.classes)]
        return [logistic(float(score)) for score in weighted(features, self.weights) + self.bias]


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
    return read_head(head, open_backbone(folder / BACKBONE_FILE, threads))


def read_head(head: Mapping[str, Any], session: ort.InferenceSession) -> Model:
    """The model of a head.

    Args:
        head: Content of `head.json`.
        session: The backbone that it was trained on.
    """
    rule = head["known"]
    return Model(
        session=session,
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
        weights={name: np.asarray(values, dtype=np.float64) for name, values in rule["weights"].items()},
        bias=rule["bias"],
    )


def decode(body: bytes) -> Picture:
    """Decodes a JPEG, PNG, WebP, GIF or TIFF of any mode to an upright RGB picture: its first frame, over white.

    Raises:
        UnreadableImageError: No whole picture of a handled format and size.
    """
    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnreadableImageError(f"The picture has {width} x {height} pixels, more than {MAX_PIXELS}.")
            size = _fit(width, height)
            drafted = None if size == image.size else image.draft(None, size)
            image.load()
            small = _shrink(image, size, drafted[1] if drafted else (0, 0, width, height))
            upright = ImageOps.exif_transpose(small)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"The bytes are no {_FORMAT_NAMES} picture.") from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        LookupError,
        EOFError,
        OverflowError,
        MemoryError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise UnreadableImageError(f"The bytes are not a readable {_FORMAT_NAMES} picture: {error}") from error
    return Picture(upright, min(width, height))


def _fit(width: int, height: int) -> tuple[int, int]:
    """The size in px that a picture is shrunk to: the same shape, never larger than it was."""
    scale = min(1.0, SHORT_SIDE / min(width, height), LONG_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrink(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """The picture as RGB of that size, with its EXIF data.

    Args:
        image: decoded, of any mode.
        size: of the result, in px.
        box: the part of `image` that counts: all of it but for the padding of a JPEG that was decoded smaller.
    """
    tones = _tones(image)
    across, down = (max(1, int(have / want / REDUCING_GAP)) for have, want in zip(image.size, size, strict=True))
    if (across, down) == (1, 1):
        small = _to_rgb(image, tones)
    else:
        width, height = image.size
        small = Image.new("RGB", (math.ceil(width / across), math.ceil(height / down)))
        rows = down * max(1, BAND_PIXELS // (width * down))
        for top in range(0, height, rows):
            band = image.crop((0, top, width, min(top + rows, height)))
            small.paste(_to_rgb(band, tones).reduce((across, down)), (0, top // down))
    if small.size != size:
        small = small.resize(size, Image.Resampling.BICUBIC, (0, 0, box[2] / across, box[3] / down))
    small.info = {"exif": image.getexif().tobytes()}
    return small


def _to_rgb(image: Image.Image, tones: tuple[float, float] | None) -> Image.Image:
    if tones:
        scale, offset = tones
        return image.convert("F").point(lambda tone: tone * scale + offset).convert("L").convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _tones(image: Image.Image) -> tuple[float, float] | None:
    """Factor and offset that bring a grey of more than 8 bits to 0..255; None for any other picture.

    White is 65,535 in 16 bits. In 32 bits it is the least of 1 (fractions alone), 255 and 65,535 that no tone exceeds;
    where one does, the tones found are spread.
    """
    if image.mode.startswith("I;16"):
        return 255 / 65_535, 0.5
    if image.mode not in ("I", "F"):
        return None
    low, high = (float(tone) for tone in np.asarray(image.getextrema()))
    if not math.isfinite(low + high):
        raise UnreadableImageError("The picture holds tones that are no numbers.")
    whites = (1, 255, 65_535) if image.mode == "F" else (255, 65_535)
    black, white = next(((0.0, float(white)) for white in whites if low >= 0 and high <= white), (low, high))
    scale = 255 / max(white - black, 1e-9)
    return scale, 0.5 - black * scale


def prepare(picture: Picture, size: int) -> Pixels:
    """Resizes a picture to a square, its sides stretched to fit.

    Args:
        picture: An upright RGB picture.
        size: Side of the square in px.

    Returns:
        uint8 (size, size, 3).
    """
    return np.asarray(picture.image.resize((size, size), Image.Resampling.BICUBIC))


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


def weighted(features: Features, weights: Mapping[str, Vector]) -> Vector:
    """Sum of the weighted features.

    Args:
        features: For each name in `weights` an array (N, length).
        weights: For each name a vector (length,), or an array (K, length).

    Returns:
        (N,), or (N, K).
    """
    return np.asarray(sum(features[name] @ vectors.T for name, vectors in weights.items()))


def probabilities(scores: Vector, temperature: float) -> list[float]:
    """Scores to probabilities, rounded: the logistic function for two labels, softmax for more.

    Args:
        scores: Of one picture: a number, positive for the second of two labels; or (K,), a number for each label.
        temperature: Divides the scores.
    """
    if np.ndim(scores) == 0:
        second = round(logistic(float(scores) / temperature), DIGITS)
        return [round(1 - second, DIGITS), second]
    exponentials = np.exp((scores - scores.max()) / temperature)
    return [round(float(share), DIGITS) for share in exponentials / exponentials.sum()]


def class_mass(logits: NDArray[np.float32], classes: Sequence[int]) -> Vector:
    """Summed softmax probability of some classes.

    Args:
        logits: (N, number of classes).
        classes: Indices of the classes to sum.

    Returns:
        (N,), 0..1.
    """
    exponentials = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
    mass: Vector = exponentials[:, list(classes)].sum(axis=1) / exponentials.sum(axis=1)
    return mass


def logistic(x: float) -> float:
    """1 / (1 + exp(-x)), safe for every finite x."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def input_fn(body: bytes, content_type: str) -> Picture | Batch:
    """Decodes what the caller sent: one picture, or with `application/json` several.

    Raises:
        UnsupportedContentTypeError: The content type is none of `CONTENT_TYPES`.
        UnreadableImageError: The bytes are no picture that is handled.
        BatchError: The JSON does not hold pictures.
    """
    kind = _media_type(content_type)
    if kind not in CONTENT_TYPES:
        raise UnsupportedContentTypeError(f"{content_type!r} is not supported; send one of {', '.join(CONTENT_TYPES)}.")
    return _read_batch(body) if kind == JSON_TYPE else decode(body)


def _read_batch(body: bytes) -> Batch:
    try:
        bodies = [base64.b64decode(one["b64"], validate=True) for one in json.loads(body)["instances"]]
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise BatchError(f'Several pictures are sent as {{"instances": [{{"b64": ...}}, ...]}}: {error!r}') from error
    if not 0 < len(bodies) <= MAX_INSTANCES:
        raise BatchError(f"{len(bodies)} pictures were sent; send 1 to {MAX_INSTANCES}.")
    return [_decoded(one) for one in bodies]


def _decoded(body: bytes) -> Picture | UnreadableImageError:
    try:
        return decode(body)
    except UnreadableImageError as error:
        return error


def predict_fn(data: Picture | Batch, model: Model) -> Answer | list[Answer | Refusal]:
    """Classifies one picture or several; may run in several threads at once."""
    if isinstance(data, Picture):
        return classify([data], model)[0]
    answers = iter(classify([one for one in data if isinstance(one, Picture)], model))
    return [next(answers) if isinstance(one, Picture) else Refusal(error=str(one)) for one in data]


def classify(pictures: Sequence[Picture], model: Model) -> list[Answer]:
    """Classifies N pictures in one run of the backbone."""
    if not pictures:
        return []
    rule = model.known
    names = list(dict.fromkeys([*model.weights, *(rule.outputs if rule else ())]))
    features = extract(model.session, np.stack([prepare(one, model.size) for one in pictures]), names)
    scores = weighted(features, model.weights) + model.bias
    known = [round(one, DIGITS) for one in rule.known(features)] if rule else [None] * len(pictures)
    return [
        Answer(
            labels=list(model.labels),
            inferences=probabilities(score, model.temperature),
            known=sure,
            threshold=model.threshold,
            min_known=model.min_known,
            model=model.version,
        )
        for score, sure in zip(scores, known, strict=True)
    ]


def output_fn(prediction: Answer | list[Answer | Refusal], accept: str) -> tuple[str, str]:
    """Writes the answer, or several as `predictions`, as JSON.

    Returns:
        The body and its content type, the pair that the container makes its response of.

    Raises:
        UnsupportedContentTypeError: The caller accepts no JSON.
    """
    wanted = [_media_type(entry) for entry in accept.split(",")]
    if not any(entry in ACCEPTED for entry in wanted):
        raise UnsupportedContentTypeError(f"The answer is {JSON_TYPE}; {accept!r} does not accept it.")
    return json.dumps({"predictions": prediction} if isinstance(prediction, list) else prediction), JSON_TYPE


def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()
