"""What a model says about pictures, asked on this machine or at its endpoint."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from chalicelib import decision, endpoint
from chalicelib.decision import Reason
from chalicelib.endpoint import Answer
from chalicelib.errors import InvalidInference
from chalicelib.settings import DEFAULT_THRESHOLD
from training import aws, model_archive, parallel
from training.capture import brightness
from training.errors import EndpointFailed, InputError, ModelError, PicturesError
from training.layout import MODEL, Manifest, StagedPicture
from training.source import inference

CONTENT_TYPE = "application/x-image"
"""Of a picture of any format; SageMaker's built-in algorithm takes it, too."""

WORKERS = 8
"""Pictures that an endpoint is asked about at the same time."""

STAGE_AGAIN = "Make the data set again with `python -m training stage`."

Ask = Callable[[bytes], Answer]
"""Asks a model about a picture: a PNG, a JPEG, or whatever else it takes."""

Advance = Callable[[], None]
"""Told that one more picture is done."""


@dataclass(frozen=True)
class Prediction:
    """What a model said about a picture.

    Attributes:
        path: below its folder.
        label: what the picture shows: a class, or `NEITHER` where it shows none of them.
        predicted: the likeliest label.
        confidence: its probability, 0 to 1.
        probabilities: by label; they sum to 1.
        known: how surely the picture shows one of the classes at all, 0 to 1; None where the model does not tell.
        threshold: the confidence from which on the app accepts.
        min_known: the `known` from which on the app accepts.
        model: the model's version; None where it does not tell.
        brightness: of the picture, 0 to 1, as `training.capture.brightness` defines it.
        short_side: of the picture, in px.
        milliseconds: from the picture's bytes to the answer.
        source: where the picture comes from; "" where nothing tells.
    """

    path: str
    label: str
    predicted: str
    confidence: float
    probabilities: dict[str, float]
    known: float | None
    threshold: float
    min_known: float
    model: str | None
    brightness: float
    short_side: int
    milliseconds: float
    source: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the likeliest class is what the picture shows."""
        return self.predicted == self.label

    @property
    def is_known(self) -> bool:
        """Whether the picture shows one of the classes at all, as far as the model can tell."""
        return decision.is_known(self.known, self.min_known)

    @property
    def reason(self) -> Reason | None:
        """Why the app asks a person; None where it accepts the class."""
        return decision.reason(self.confidence, self.threshold, self.known, self.min_known)

    @property
    def is_kept(self) -> bool:
        """Whether the app accepts the class instead of asking a person."""
        return self.reason is None


@dataclass(frozen=True)
class Predictor:
    """A model that can be asked.

    Attributes:
        ask: asks it about a picture.
        workers: how many pictures it is asked about at the same time.
    """

    ask: Ask
    workers: int


def chosen(model: Path | None, endpoint: str | None, labels: Sequence[str]) -> Predictor:
    """The model that `--model` or `--endpoint` names; `MODEL` where neither does.

    Args:
        model: its folder.
        endpoint: the name of its endpoint.
        labels: K classes, for a model that does not name them.

    Raises:
        InputError: both were named.
        ModelError: the folder holds none that can be used here.
    """
    if endpoint is None:
        return from_folder(model or MODEL)
    if model:
        raise InputError("Say either --model or --endpoint: one of the two is asked.")
    return from_endpoint(endpoint, labels)


def from_folder(model: Path) -> Predictor:
    """The model in a folder, asked through the four functions that serve an endpoint, on one thread.

    Raises:
        ModelError: the folder holds none that can be used here.
    """
    if not (model / model_archive.HEAD).is_file() and list(model.glob("*.params")):
        raise ModelError(
            f"{model} holds a model of SageMaker's built-in algorithm, which runs on SageMaker alone. Deploy it, and "
            "evaluate its endpoint with --endpoint."
        )
    model_archive.head_sha256(model)
    try:
        loaded = inference.model_fn(model, threads=1)
    except (inference.ModelFolderError, KeyError, TypeError) as error:
        raise ModelError(
            f"{model} holds no model that can be used: {error}. Train it again with `python -m training train`."
        ) from error

    def ask(body: bytes) -> Answer:
        answer = inference.predict_fn(inference.input_fn(body, CONTENT_TYPE), loaded)
        content, _ = inference.output_fn(answer, inference.JSON_TYPE)
        return endpoint.understand(content.encode(), loaded.labels)

    return Predictor(ask, workers=1)


def bytes_on_disk(model: Path) -> int:
    """Bytes that a model in a folder takes, without the code that a folder may hold beside it."""
    names = [name for name in model_archive.OWN if name not in model_archive.CODE]
    return sum((model / name).stat().st_size for name in names)


def from_endpoint(name: str, labels: Sequence[str]) -> Predictor:
    """The model behind a SageMaker endpoint.

    Args:
        name: of the endpoint.
        labels: K classes, for a model that does not name them, as SageMaker's built-in image classification.
    """
    aws.client("sagemaker-runtime")
    return Predictor(partial(_invoke, name, labels), WORKERS)


def _invoke(name: str, labels: Sequence[str], body: bytes) -> Answer:
    try:
        response = aws.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=name, Body=body, ContentType=CONTENT_TYPE, Accept=inference.JSON_TYPE
        )
        body = response["Body"].read()
    except ClientError as error:
        raise _refused(name, error) from error
    except (ReadTimeoutError, ConnectionClosedError) as error:
        raise EndpointFailed(f"The endpoint {name} does not answer: {error} Look at its log.") from error
    return endpoint.understand(body, labels)


def _refused(name: str, error: ClientError) -> Exception:
    """The error to raise; one about permissions or the network stays as it is and is told elsewhere."""
    code, message = aws.error_code(error), error.response.get("Error", {}).get("Message", "")
    if code == "ModelError":
        return EndpointFailed(
            f"The model behind {name} failed: {message} Its log is in the log group /aws/sagemaker/Endpoints/{name}."
        )
    if code in ("ValidationError", "ValidationException"):
        return EndpointFailed(
            f"The endpoint {name} cannot be asked: {message} Is the name right and the endpoint in service in "
            f"{aws.region()}? Make one with `python -m training deploy`."
        )
    return error


def one_model(predictions: Sequence[Prediction], where: str = "") -> tuple[str | None, float, float]:
    """The version, the threshold and the `min_known` of the one model that answered.

    Args:
        predictions: at least one.
        where: that was, where it might be one of several places; to follow a verb.

    Raises:
        EndpointFailed: several models answered, or one with other thresholds each time.
    """
    found = sorted({(one.model, one.threshold, one.min_known) for one in predictions}, key=str)
    if len(found) > 1:
        versions = ", ".join(str(version) for version, *_ in found)
        raise EndpointFailed(
            f"Several models answered{where and f' {where}'}: {versions}. The endpoint may be in the middle of an "
            "update: try again when it is over."
        )
    return found[0]


def of_split(data: Path, manifest: Manifest, split: str) -> list[StagedPicture]:
    """The pictures of the classes that a split of a data set has, at least one.

    Raises:
        PicturesError: it has none.
    """
    pictures = manifest.split(split)
    if not pictures:
        raise PicturesError(
            f"{data} has no {split} pictures. Choose another split, or make the data set again with "
            "`python -m training stage`."
        )
    return pictures


def predict(
    data: Path, pictures: Sequence[StagedPicture], labels: Sequence[str], predictor: Predictor, advance: Advance
) -> list[Prediction]:
    """Ask a model about pictures.

    Args:
        data: the data set's folder.
        pictures: some of it.
        labels: the data set's labels.
        predictor: the model.
        advance: told of progress.

    Returns:
        What it said, in the order of the pictures.

    Raises:
        PicturesError: a picture is missing, or is not the one that `stage` wrote.
        ModelError: the model knows other labels than the data set.
        EndpointFailed: the endpoint does not answer, or not with probabilities.
    """
    predictions = []
    for prediction in parallel.each(partial(_predict, data, labels, predictor.ask), pictures, predictor.workers):
        predictions.append(prediction)
        advance()
    return predictions


def read(data: Path, picture: StagedPicture) -> bytes:
    """The bytes of a picture of a data set.

    Raises:
        PicturesError: it is missing, or is not the one that `stage` wrote.
    """
    path = data / picture.path
    try:
        body = path.read_bytes()
    except OSError as error:
        raise PicturesError(f"{path} cannot be read: {error.strerror}. {STAGE_AGAIN}") from error
    if hashlib.sha256(body).hexdigest() != picture.sha256:
        raise PicturesError(f"{path} has changed since the data set was made. {STAGE_AGAIN}")
    return body


def _predict(data: Path, labels: Sequence[str], ask: Ask, picture: StagedPicture) -> Prediction:
    try:
        return answered(read(data, picture), picture, labels, ask)
    except inference.UnreadableImageError as error:
        raise PicturesError(f"{data / picture.path} is no readable picture: {error} {STAGE_AGAIN}") from error


def answered(body: bytes, picture: StagedPicture, labels: Sequence[str], ask: Ask) -> Prediction:
    """Ask a model about one picture.

    Args:
        body: the picture.
        picture: what is known of it.
        labels: K classes, which the model has to know and no others.
        ask: asks the model.

    Raises:
        UnreadableImageError: it is no picture that the model takes.
        ModelError: the model knows other labels.
        EndpointFailed: the endpoint does not answer, or not with probabilities.
    """
    decoded = inference.decode(body)
    start = time.perf_counter()
    try:
        answer = ask(body)
        milliseconds = 1000 * (time.perf_counter() - start)
        likeliest = decision.likeliest(answer.labels, answer.inferences)
    except InvalidInference as error:
        raise EndpointFailed(
            f"{error} No model that was trained on this data set answers like that. Judge another model or endpoint."
        ) from error
    if set(answer.labels) != set(labels):
        raise ModelError(
            f"The model knows {', '.join(answer.labels)}, the data set {', '.join(labels)}. Train a model on this data "
            "set, or make a data set of the model's classes."
        )
    return Prediction(
        path=picture.path,
        label=picture.label,
        predicted=likeliest.label,
        confidence=likeliest.confidence,
        probabilities=dict(zip(answer.labels, answer.inferences, strict=True)),
        known=answer.known,
        threshold=DEFAULT_THRESHOLD if answer.threshold is None else answer.threshold,
        min_known=answer.min_known or 0.0,
        model=answer.model,
        brightness=brightness(decoded),
        short_side=decoded.short_side,
        milliseconds=milliseconds,
        source=picture.source,
    )
