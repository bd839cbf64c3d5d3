"""Models by their names, for `compare`: where they lie, what tells them from others, and how they are asked.

build/model               a folder, as `train` made it
build/model.tar.gz        an archive
registry:approved         the approved version that was registered last
registry:3                a version by its number
endpoint:NAME             what an endpoint serves; the only way for models of SageMaker's built-in algorithm
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from training import job, model_archive, predict, registry
from training.compare import Subject
from training.errors import ModelError
from training.predict import Predictor

ENDPOINT, REGISTRY, APPROVED = "endpoint:", "registry:", "approved"
ARCHIVES = (".tar.gz", ".tgz")


@dataclass(frozen=True)
class Contestant:
    """A model that is compared with another.

    Attributes:
        subject: what tells it from others.
        predictor: asks it.
        labels: the classes that it tells apart; empty where only its answers say them.
    """

    subject: Subject
    predictor: Predictor
    labels: tuple[str, ...]


def find(name: str, labels: Sequence[str]) -> Contestant:
    """A model by its name.

    Args:
        name: as the module says.
        labels: K classes, for a model that does not name them; empty if they are not known.

    Raises:
        ModelError: there is none, or none that can be asked.
    """
    if name.startswith(ENDPOINT):
        return _behind(name, name.removeprefix(ENDPOINT), labels)
    if name.startswith(REGISTRY):
        return _registered(name, name.removeprefix(REGISTRY))
    path = Path(name)
    if path.is_dir():
        return _in_folder(name, path)
    if path.is_file() and name.endswith(ARCHIVES):
        return _in_archive(name, path)
    raise ModelError(
        f"There is no model {name}. Name a model's folder, a model.tar.gz, registry:approved, registry:NUMBER, or "
        "endpoint:NAME."
    )


def check(a: Contestant, b: Contestant) -> None:
    """Make sure that two models tell the same classes apart.

    Raises:
        ModelError: they do not.
    """
    if a.labels and b.labels and set(a.labels) != set(b.labels):
        raise ModelError(
            f"{a.subject.name} knows {', '.join(a.labels)}; {b.subject.name} knows {', '.join(b.labels)}. Models of "
            "other classes cannot be compared. If it is to take the other's place all the same: `python -m training "
            "register --approve --uncompared`."
        )


def _in_folder(name: str, folder: Path) -> Contestant:
    predictor = predict.from_folder(folder)
    labels = json.loads((folder / model_archive.HEAD).read_bytes())["labels"]
    return Contestant(Subject(name, model_archive.head_sha256(folder)), predictor, tuple(labels))


def _in_archive(name: str, archive: Path) -> Contestant:
    with TemporaryDirectory() as folder:
        made = Path(folder) / "model"
        model_archive.unpack(archive, made)
        found = _in_folder(name, made)
    return replace(found, subject=replace(found.subject, archive_sha256=model_archive.sha256(archive)))


def _registered(name: str, number: str) -> Contestant:
    package = registry.newest(approved=True) if number == APPROVED else registry.numbered(number)
    if package.properties.get("algorithm") == job.BUILT_IN:
        raise ModelError(
            f"{name} is a model of SageMaker's built-in algorithm, which runs on SageMaker alone. Compare the endpoint "
            "that serves it: endpoint:NAME."
        )
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "model.tar.gz"
        registry.fetch(package, archive)
        try:
            return _in_archive(name, archive)
        except ModelError as error:
            raise ModelError(
                f"{name}, version {package.number}, cannot be asked on this machine: {error} Where an endpoint serves "
                "it, compare that: endpoint:NAME."
            ) from error


def _behind(name: str, endpoint: str, labels: Sequence[str]) -> Contestant:
    package = registry.served_by(endpoint)
    properties = package.properties if package else {}
    named = package.labels if package else []
    subject = Subject(name, properties.get("head_sha256"), properties.get("archive_sha256"), endpoint)
    return Contestant(subject, predict.from_endpoint(endpoint, named or labels), tuple(named))
