"""What a model says about a data set: from a folder, and from an endpoint that is really asked."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.decision import Reason, decide
from chalicelib.errors import ThresholdConfidenceNotMet
from local.endpoint import Fault
from local.stack import Stack
from tests.conftest import Answer, FakeAws
from tests.training.predictions import prediction
from tests.training.staged import write_data
from training import predict
from training.capture import brightness
from training.errors import EndpointFailed, ModelError, PicturesError
from training.layout import COMMITTED_MODEL, Manifest
from training.predict import Prediction, Predictor
from training.source import inference

LABELS = ("bicycle", "motorcycle")


def unseen() -> None:
    """Shows nothing."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged") / "data"
    write_data(folder, each={"train": 1, "validation": 1, "test": 8})
    return folder


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    return shutil.copytree(data, tmp_path / "data")


def ask(data: Path, predictor: Predictor, labels: tuple[str, ...] = LABELS) -> list[Prediction]:
    return predict.predict(data, Manifest.read(data).split("test"), labels, predictor, unseen)


def test_each_picture_gets_the_answer_that_the_model_gives_it(data: Path) -> None:
    model, pictures = inference.model_fn(COMMITTED_MODEL), Manifest.read(data).split("test")
    predictions = ask(data, predict.from_folder(COMMITTED_MODEL))
    assert [one.path for one in predictions] == [picture.path for picture in pictures]
    for one in predictions:
        decoded = inference.decode((data / one.path).read_bytes())
        (answer,) = inference.classify([decoded], model)
        assert list(one.probabilities) == answer["labels"]
        assert list(one.probabilities.values()) == answer["inferences"]
        assert (one.predicted, one.confidence) == max(one.probabilities.items(), key=lambda pair: pair[1])
        assert (one.known, one.threshold, one.min_known) == (
            answer["known"], answer["threshold"], answer["min_known"]
        )  # fmt: skip
        assert one.model == answer["model"]
        assert (one.label, one.brightness, one.short_side) == (Path(one.path).parent.name, brightness(decoded), 72)
        assert one.milliseconds > 0


def test_an_answer_keeps_the_source_of_its_picture(tmp_path: Path) -> None:
    manifest = write_data(tmp_path, each={"test": 1}, others={"test": 2})
    predictions = predict.predict(
        tmp_path, manifest.others("test"), LABELS, predict.from_folder(COMMITTED_MODEL), unseen
    )
    assert [(one.label, one.source) for one in predictions] == [("neither", "flowers"), ("neither", "houses")]


def test_a_models_size_is_that_of_backbone_and_head_without_code(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    for name, size in (("backbone.onnx", 7), ("head.json", 4), ("code/inference.py", 2), ("README.md", 1)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert predict.bytes_on_disk(tmp_path) == 11


def test_progress_is_told_picture_by_picture(data: Path) -> None:
    told: list[None] = []
    pictures = Manifest.read(data).split("test")
    predict.predict(data, pictures, LABELS, predict.from_folder(COMMITTED_MODEL), lambda: told.append(None))
    assert len(told) == len(pictures)


def test_the_endpoint_is_asked_about_the_same_bytes_and_gives_the_same_answers(embedded: Stack, data: Path) -> None:
    here = ask(data, predict.from_folder(COMMITTED_MODEL))
    there = ask(data, predict.from_endpoint(embedded.settings.endpoint_name, LABELS))
    assert [replace(one, milliseconds=0.0) for one in there] == [replace(one, milliseconds=0.0) for one in here]


def test_an_endpoint_that_is_not_there_is_told_with_what_to_do(embedded: Stack, data: Path) -> None:
    with pytest.raises(EndpointFailed, match=r"endpoint missing cannot be asked: .*python -m training deploy"):
        ask(data, predict.from_endpoint("missing", LABELS))


def test_a_model_that_fails_behind_its_endpoint_is_told_with_its_log(embedded: Stack, data: Path) -> None:
    name = embedded.settings.endpoint_name
    embedded.endpoint.faults.extend([Fault(424, "ModelError", "out of memory", 500)] * 16)
    try:
        with pytest.raises(EndpointFailed, match=f"out of memory .*/aws/sagemaker/Endpoints/{name}"):
            ask(data, predict.from_endpoint(name, LABELS))
    finally:
        embedded.endpoint.faults.clear()


def test_an_endpoint_that_hangs_up_is_told(fake_endpoint: FakeAws, data: Path) -> None:
    fake_endpoint.says(Answer(body=None))
    with pytest.raises(EndpointFailed, match="does not answer"):
        ask(data, predict.from_endpoint("endpoint", LABELS))


def test_a_refused_permission_is_left_to_the_one_place_that_words_it(fake_endpoint: FakeAws, data: Path) -> None:
    fake_endpoint.refuses("AccessDeniedException", status=403)
    with pytest.raises(ClientError, match="AccessDenied"):
        ask(data, predict.from_endpoint("endpoint", LABELS))


def test_a_bare_list_of_probabilities_is_understood_by_the_order_of_the_labels(
    fake_endpoint: FakeAws, data: Path
) -> None:
    fake_endpoint.says(Answer(body=b"[0.04, 0.96]"))
    one, *_ = ask(data, predict.from_endpoint("endpoint", LABELS))
    assert one.probabilities == {"bicycle": 0.04, "motorcycle": 0.96}
    assert (one.predicted, one.known, one.model, one.threshold, one.min_known) == ("motorcycle", None, None, 0.93, 0.0)
    assert one.is_kept


def test_a_model_that_tells_its_thresholds_is_taken_at_its_word(fake_endpoint: FakeAws, data: Path) -> None:
    answer = {"labels": LABELS, "inferences": [0.7, 0.3], "known": 0.2, "threshold": 0.6, "min_known": 0.1}
    fake_endpoint.says(Answer(body=json.dumps(answer | {"model": "m"}).encode()))
    one, *_ = ask(data, predict.from_endpoint("endpoint", LABELS))
    assert (one.known, one.threshold, one.min_known, one.model) == (0.2, 0.6, 0.1, "m")
    assert one.is_kept


@pytest.mark.parametrize("body", [b"[0.2, 0.3, 0.5]", b'"hello"', b"[0.4, 0.4]", b"<html>", b""])
def test_what_is_no_answer_about_these_classes_is_told(fake_endpoint: FakeAws, data: Path, body: bytes) -> None:
    fake_endpoint.says(Answer(body=body))
    with pytest.raises(EndpointFailed, match="Judge another model or endpoint"):
        ask(data, predict.from_endpoint("endpoint", LABELS))


def test_a_model_of_other_classes_is_refused(tmp_path: Path) -> None:
    write_data(tmp_path, ("bicycle", "house"))
    with pytest.raises(ModelError, match="The model knows bicycle, motorcycle, the data set bicycle, house"):
        ask(tmp_path, predict.from_folder(COMMITTED_MODEL), ("bicycle", "house"))


def test_labels_in_another_order_are_the_same_labels(data: Path) -> None:
    predictor = predict.from_folder(COMMITTED_MODEL)
    swapped, straight = ask(data, predictor, ("motorcycle", "bicycle")), ask(data, predictor)
    assert [one.probabilities for one in swapped] == [one.probabilities for one in straight]


def test_a_folder_of_the_built_in_algorithm_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "image-classification-0010.params").write_bytes(b"weights")
    (tmp_path / "image-classification-symbol.json").write_text("{}")
    with pytest.raises(ModelError, match=r"runs on SageMaker alone.*--endpoint"):
        predict.from_folder(tmp_path)


def test_a_folder_without_a_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no head.json.*python -m training train"):
        predict.from_folder(tmp_path / "missing")


@pytest.mark.parametrize("head", ["{", "{}", "[]", '{"provenance": {"backbone_sha256": "00"}}'])
def test_a_damaged_model_is_told(tmp_path: Path, head: str) -> None:
    shutil.copy(COMMITTED_MODEL / "backbone.onnx", tmp_path)
    (tmp_path / "head.json").write_text(head)
    with pytest.raises(ModelError, match=r"holds no model that can be used: .*python -m training train"):
        predict.from_folder(tmp_path)


def test_a_picture_that_has_changed_since_it_was_staged_is_told(copy: Path) -> None:
    path = copy / Manifest.read(copy).split("test")[3].path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(PicturesError, match=rf"{path} has changed since .*python -m training stage"):
        ask(copy, predict.from_folder(COMMITTED_MODEL))


def test_a_picture_that_has_gone_is_told(copy: Path) -> None:
    path = copy / Manifest.read(copy).split("test")[-1].path
    path.unlink()
    with pytest.raises(PicturesError, match=f"{path} cannot be read: No such file"):
        ask(copy, predict.from_folder(COMMITTED_MODEL))


def test_a_file_that_is_no_picture_is_told(copy: Path) -> None:
    manifest = Manifest.read(copy)
    broken = manifest.split("test")[0]
    (copy / broken.path).write_bytes(b"no picture")
    digest = hashlib.sha256(b"no picture").hexdigest()
    pictures = [replace(one, sha256=digest) if one == broken else one for one in manifest.pictures]
    replace(manifest, pictures=pictures).write(copy)
    with pytest.raises(PicturesError, match=f"{copy / broken.path} is no readable picture"):
        ask(copy, predict.from_folder(COMMITTED_MODEL))


@given(st.floats(0.5, 1), st.floats(0, 1), st.none() | st.floats(0, 1), st.floats(0, 1))
def test_what_is_kept_is_what_the_app_accepts(
    confidence: float, threshold: float, known: float | None, min_known: float
) -> None:
    one = prediction("bicycle", "bicycle", confidence, threshold=threshold, known=known, min_known=min_known)
    try:
        decide(LABELS, tuple(one.probabilities.values()), threshold, known, min_known)
        is_refused = False
    except ThresholdConfidenceNotMet:
        is_refused = True
    assert one.is_kept == (one.reason is None) == (not is_refused)
    assert (one.reason is Reason.UNKNOWN_OBJECT) == (not one.is_known)


def test_answers_of_several_models_or_thresholds_are_those_of_no_model() -> None:
    one = prediction("bicycle", "bicycle", 0.9)
    assert predict.one_model([one, one]) == (one.model, one.threshold, one.min_known)
    for changes in ({"model": "another"}, {"model": None}, {"threshold": 0.9}, {"min_known": 0.4}):
        with pytest.raises(EndpointFailed, match=r"Several models answered behind b: .*try again when it is over"):
            predict.one_model([one, replace(one, **changes)], "behind b")
