"""The committed model folder."""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.training import drawings
from training.source import inference

ROOT = Path(__file__).parents[2]
MODEL_FOLDER = ROOT / "model"


@pytest.fixture(scope="module")
def head() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((MODEL_FOLDER / "head.json").read_text(encoding="utf-8"))
    return content


def test_head_belongs_to_the_backbone_beside_it(head: dict[str, Any]) -> None:
    digest = hashlib.sha256((MODEL_FOLDER / "backbone.onnx").read_bytes()).hexdigest()
    assert head["provenance"]["backbone_sha256"] == digest


def test_version_is_the_digest_of_the_rest_of_the_head(head: dict[str, Any]) -> None:
    rest = {key: value for key, value in head.items() if key != "version"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    assert head["version"].rpartition("-")[2] == digest[:12]


def test_card_and_notice_speak_of_this_model(head: dict[str, Any]) -> None:
    card = (MODEL_FOLDER / "README.md").read_text(encoding="utf-8")
    assert head["version"] in card
    assert head["provenance"]["data_sha256"] in card
    assert head["provenance"]["backbone_sha256"] in card
    assert f"{head['provenance']['cross_validation']['accuracy']:.1%}" in card
    assert "Apache License" in (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_folder_packed_as_sagemaker_wants_it_loads_and_answers(tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("backbone.onnx", "head.json"):
            tar.add(MODEL_FOLDER / name, name)
        for name in ("inference.py", "requirements.txt"):
            tar.add(ROOT / "training" / "source" / name, f"code/{name}")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "model", filter="data")
    model = inference.model_fn(str(tmp_path / "model"))
    (answer,) = inference.classify([inference.decode(drawings.encode(drawings.bicycle()))], model)
    assert answer["inferences"][0] > 0.9
