"""What the tests of training share: commands that talk to the embedded stack."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from local.stack import Stack
from tests.conftest import FakeAws
from tests.training.lifecycle import Project, make_project, run_well
from tests.training.staged import write_data
from tests.training.validation import checking_session
from training import aws, endpoint, model_archive
from training.layout import COMMITTED_MODEL


def forget_clients() -> None:
    """Clients of one test are not those of the next: each may talk to another AWS."""
    aws.client.cache_clear()
    aws.account.cache_clear()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, as `stage` would have made it."""
    folder = tmp_path_factory.mktemp("staged") / "data"
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The committed model, packed for SageMaker."""
    path = tmp_path_factory.mktemp("archive") / "model.tar.gz"
    model_archive.pack(COMMITTED_MODEL, path)
    return path.read_bytes()


@pytest.fixture
def embedded(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The embedded stack, with commands set up to use it, as `python -m local run` does."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(endpoint, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", checking_session())
    forget_clients()
    yield stack
    forget_clients()


@pytest.fixture
def project(embedded: Stack, tmp_path: Path) -> Iterator[Project]:
    """A project with a model; what it makes on AWS is removed in the end."""
    project = make_project(tmp_path)
    project.write_model(version="drawn-1")
    yield project
    place = embedded.environment()["TRAINING_S3"]
    run_well("teardown", "--registry", "--data", "--s3", place, "--yes")


@pytest.fixture
def fake_endpoint(fake_aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """A fake that stands where an endpoint is asked."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", fake_aws.url)
    forget_clients()
    yield fake_aws
    forget_clients()
