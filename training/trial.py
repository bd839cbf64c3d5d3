"""A model asked about a few pictures, to see it answer."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from chalicelib import decision
from chalicelib.errors import InvalidInference
from training import predict
from training.errors import EndpointFailed, PicturesError
from training.layout import MANIFEST_FILE, Manifest
from training.predict import Predictor
from training.source import inference


@dataclass(frozen=True)
class Picture:
    """A picture to ask about.

    Attributes:
        name: what to call it.
        body: a PNG.
        shows: its label; None where nobody knows.
    """

    name: str
    body: bytes
    shows: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the model said.

    Attributes:
        picture: the picture's name.
        shows: its label; None where nobody knows.
        label: the likeliest class.
        confidence: its probability, 0 to 1.
        known: how surely the picture shows one of the classes at all, 0 to 1; None where the model does not tell.
        model: the model's version; None where it does not tell.
        milliseconds: that the answer took.
    """

    picture: str
    shows: str | None
    label: str
    confidence: float
    known: float | None
    model: str | None
    milliseconds: float


def choose(paths: Sequence[Path], data: Path) -> list[Picture]:
    """Pictures to ask about.

    Args:
        paths: JPEG or PNG files.
        data: a data set; the first test picture of each label is taken where no file is named. Where there is none
            either, a grey square has to do.

    Raises:
        PicturesError: a file is no picture.
    """
    if paths:
        return [Picture(path.name, _as_png(path)) for path in paths]
    if not (data / MANIFEST_FILE).is_file():
        return [Picture("a grey square", _png(Image.new("RGB", (64, 64), "grey")))]
    manifest = Manifest.read(data)
    firsts = {picture.label: picture for picture in reversed(manifest.split("test"))}
    return [
        Picture(firsts[label].path, predict.read(data, firsts[label]), label)
        for label in manifest.labels
        if label in firsts
    ]


def ask(pictures: Sequence[Picture], predictor: Predictor) -> list[Answer]:
    """Ask about each picture, one after the other.

    Raises:
        EndpointFailed: the model does not answer, or not with probabilities.
    """
    return [_ask(picture, predictor) for picture in pictures]


def _ask(picture: Picture, predictor: Predictor) -> Answer:
    start = time.perf_counter()
    try:
        said = predictor.ask(picture.body)
        likeliest = decision.likeliest(said.labels, said.inferences)
    except InvalidInference as error:
        raise EndpointFailed(f"The endpoint is in service, but its answer is of no use: {error}") from error
    milliseconds = 1000 * (time.perf_counter() - start)
    return Answer(
        picture.name, picture.shows, likeliest.label, likeliest.confidence, said.known, said.model, milliseconds
    )


def _as_png(path: Path) -> bytes:
    try:
        return _png(inference.decode(path.read_bytes()).image)
    except (OSError, inference.UnreadableImageError) as error:
        raise PicturesError(f"{path} is no picture that can be read: {error} Name a JPEG or PNG file.") from error


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
