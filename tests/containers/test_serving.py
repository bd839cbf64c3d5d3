import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.container import ROOT, SOURCE, Answer, ask, serving, unpack
from tests.training import drawings
from training.source import inference

PICTURES = {
    "image/png": drawings.encode(drawings.bicycle()),
    "image/jpeg": drawings.encode(drawings.motorcycle(640), "JPEG"),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed model, packed as SageMaker wants it."""
    path = tmp_path_factory.mktemp("archive") / "model.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for name in (inference.BACKBONE_FILE, inference.HEAD_FILE):
            packed.add(ROOT / "model" / name, name)
        for name in ("inference.py", "requirements.txt"):
            packed.add(SOURCE / name, f"code/{name}")
    return path


@pytest.fixture(scope="module", params=["serve", "multi-model"])
def port(request: pytest.FixtureRequest, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    base = tmp_path_factory.mktemp("ml")
    unpack(archive, base)
    with serving(request.param, base) as listening:
        yield listening


@pytest.fixture(scope="module")
def model() -> inference.Model:
    return inference.model_fn(ROOT / "model")


def invoke(port: int, body: bytes, content_type: str, **headers: str) -> Answer:
    return ask(port, "/invocations", body, {"Content-Type": content_type} | headers)


@pytest.mark.parametrize("content_type", PICTURES)
@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_a_picture_gets_the_answer_that_it_gets_here(
    port: int, model: inference.Model, content_type: str, accept: str
) -> None:
    body = PICTURES[content_type]
    (here,) = inference.classify([inference.decode(body)], model)
    answer = invoke(port, body, content_type, Accept=accept)
    assert (answer.status, answer.content_type) == (200, "application/json")
    there = json.loads(answer.body)
    assert list(there) == list(here)
    for key, value in here.items():
        assert there[key] == (value if isinstance(value, str) or key == "labels" else pytest.approx(value, abs=1e-4))


def test_a_picture_is_answered_in_json_to_who_says_not_what_they_accept(port: int) -> None:
    answer = invoke(port, PICTURES["image/png"], "image/png")
    assert (answer.status, answer.content_type) == (200, "application/json")


@pytest.mark.parametrize(
    ("content_type", "body", "accept"),
    [
        pytest.param("text/csv", PICTURES["image/png"], "application/json", id="another content type"),
        pytest.param("image/png", b"no picture", "application/json", id="no picture"),
        pytest.param("image/png", PICTURES["image/png"], "text/csv", id="another answer wanted"),
    ],
)
def test_whatever_the_model_refuses_is_an_internal_error_to_the_toolkits(
    port: int, content_type: str, body: bytes, accept: str
) -> None:
    assert invoke(port, body, content_type, Accept=accept).status == 500
    assert ask(port, "/ping").status == 200
    assert invoke(port, PICTURES["image/png"], "image/png").status == 200


def test_a_model_whose_head_belongs_to_another_backbone_never_gets_healthy(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path)
    with (tmp_path / "model" / inference.BACKBONE_FILE).open("ab") as backbone:
        backbone.write(b"\0")
    with serving("serve", tmp_path, ping=500) as port:
        assert invoke(port, PICTURES["image/png"], "image/png").status == 500
    assert "was trained on another backbone" in (tmp_path / "log.txt").read_text()
