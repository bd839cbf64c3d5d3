from collections.abc import Iterator
from pathlib import Path

import pytest

from local import ROOT
from local.stack import Stack
from tests.local.deployments import Deployments, other_model, packed


@pytest.fixture
def deployments(stack: Stack, tmp_path: Path) -> Iterator[Deployments]:
    made = Deployments(stack, tmp_path)
    yield made
    made.clear()


@pytest.fixture(scope="session")
def old_model(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The archive of a model that calls itself "old", in S3."""
    folder = tmp_path_factory.mktemp("models")
    return Deployments(stack, folder).upload(packed(other_model(folder / "old", "old")))


@pytest.fixture(scope="session")
def new_model(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The archive of a model that calls itself "new", in S3."""
    folder = tmp_path_factory.mktemp("models")
    return Deployments(stack, folder).upload(packed(other_model(folder / "new", "new")))


@pytest.fixture(scope="session")
def model_files() -> dict[str, bytes]:
    """What an archive of the repository's model consists of."""
    code = ROOT / "training" / "source"
    return {
        "head.json": (ROOT / "model" / "head.json").read_bytes(),
        "backbone.onnx": (ROOT / "model" / "backbone.onnx").read_bytes(),
        "code/inference.py": (code / "inference.py").read_bytes(),
    }
