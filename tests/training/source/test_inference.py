import ast
import json
import math
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training import drawings
from training.source import inference

MODEL_FOLDER = Path(__file__).parents[3] / "model"
ANSWER_KEYS = ["labels", "inferences", "known", "threshold", "min_known", "model"]


@pytest.fixture(scope="module")
def model() -> inference.Model:
    return inference.model_fn(MODEL_FOLDER)


def classify(image: Image.Image, model: inference.Model) -> inference.Answer:
    return inference.predict_fn(inference.input_fn(drawings.encode(image), "image/png"), model)


def test_answer_keeps_the_contract(model: inference.Model) -> None:
    answer = classify(drawings.bicycle(), model)
    assert list(answer) == ANSWER_KEYS
    assert answer["labels"] == ["bicycle", "motorcycle"]
    assert answer["known"] is not None
    for number in (*answer["inferences"], answer["known"], answer["threshold"], answer["min_known"]):
        assert isinstance(number, float)
        assert 0 <= number <= 1
        assert number == round(number, 6)
    assert len(answer["model"]) <= 40


@pytest.mark.parametrize("draw", [drawings.bicycle, drawings.motorcycle, drawings.house, drawings.flower])
def test_probabilities_sum_to_one(draw: drawings.Drawing, model: inference.Model) -> None:
    assert sum(classify(draw(), model)["inferences"]) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("size", [256, 640])
def test_drawn_bicycle_is_recognised_and_accepted(size: int, model: inference.Model) -> None:
    answer = classify(drawings.bicycle(size), model)
    assert answer["inferences"][0] >= answer["threshold"]
    assert answer["known"] is not None
    assert answer["known"] >= answer["min_known"]


def test_drawn_motorcycle_is_known(model: inference.Model) -> None:
    answer = classify(drawings.motorcycle(), model)
    assert answer["known"] is not None
    assert answer["known"] >= answer["min_known"]


def test_drawn_motorcycle_looks_more_like_one_than_a_drawn_bicycle(model: inference.Model) -> None:
    by_drawing = [classify(draw(), model)["inferences"][1] for draw in (drawings.bicycle, drawings.motorcycle)]
    assert by_drawing[0] < 0.05 < by_drawing[1]


@pytest.mark.parametrize("draw", [drawings.house, drawings.flower])
def test_other_drawings_are_not_known(draw: drawings.Drawing, model: inference.Model) -> None:
    answer = classify(draw(), model)
    assert answer["known"] is not None
    assert answer["known"] < answer["min_known"]


def test_mirror_image_gets_the_same_answer(model: inference.Model) -> None:
    image = drawings.motorcycle()
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert classify(mirrored, model)["inferences"] == pytest.approx(
        classify(image, model)["inferences"], abs=1e-5
    )


def test_threads_share_a_model_and_get_what_one_thread_gets(model: inference.Model) -> None:
    pictures = [drawings.bicycle(shift=(x, 0)) for x in range(-8, 8)]
    alone = [classify(picture, model) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda picture: classify(picture, model), pictures)) == alone


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_of_any_mode_becomes_rgb(mode: str) -> None:
    grey = drawings.bicycle().convert("L")
    image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    decoded = inference.decode(drawings.encode(image)).image
    assert decoded.mode == "RGB"
    difference = np.abs(np.asarray(decoded, dtype=int) - np.asarray(grey.convert("RGB"), dtype=int))
    assert difference.mean() < 5


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_of_any_mode_becomes_rgb(mode: str) -> None:
    image = drawings.bicycle()
    decoded = inference.decode(drawings.encode(image.convert(mode), "JPEG")).image
    assert decoded.mode == "RGB"
    assert np.abs(np.asarray(decoded, dtype=int) - np.asarray(image, dtype=int)).mean() < 5


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(mode: str) -> None:
    if mode == "P":
        body = drawings.encode(Image.new("P", (9, 9), 0), transparency=0)
    else:
        body = drawings.encode(Image.new("RGBA", (9, 9), (0, 0, 0, 0)).convert(mode))
    assert np.asarray(inference.decode(body).image).min() == 255


def test_exif_orientation_turns_the_picture_upright() -> None:
    upright = drawings.bicycle().crop((0, 40, 256, 220))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    decoded = inference.decode(drawings.encode(stored, exif=exif))
    assert np.array_equal(np.asarray(decoded.image), np.asarray(upright))
    assert decoded.short_side == 180


def test_large_jpeg_is_decoded_smaller_but_remembers_its_size() -> None:
    body = drawings.encode(drawings.bicycle(640).resize((3000, 2600)), "JPEG")
    picture = inference.decode(body)
    assert picture.short_side == 2600
    assert inference.DRAFT_SIDE <= picture.image.width < 3000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no picture", id="text"),
        pytest.param(drawings.encode(drawings.bicycle())[:900], id="truncated PNG"),
        pytest.param(drawings.encode(drawings.bicycle(), "JPEG")[:900], id="truncated JPEG"),
        pytest.param(drawings.encode(drawings.bicycle(), "GIF"), id="GIF"),
        pytest.param(drawings.encode(drawings.bicycle(), "BMP"), id="BMP"),
    ],
)
def test_unreadable_bytes_raise_the_typed_error(body: bytes) -> None:
    with pytest.raises(inference.UnreadableImageError) as caught:
        inference.input_fn(body, "image/jpeg")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("side", [8001, 10_000])
def test_too_many_pixels_are_refused(side: int) -> None:
    body = drawings.encode(Image.new("1", (side, side)))
    with pytest.raises(inference.UnreadableImageError, match="pixels"):
        inference.decode(body)


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", "application/x-image", "IMAGE/PNG; q=1"])
def test_picture_content_types_are_taken_whatever_the_bytes_are(content_type: str) -> None:
    assert inference.input_fn(drawings.encode(drawings.house()), content_type).image.size == (256, 256)


@pytest.mark.parametrize("content_type", ["", "text/csv", "image/gif", "application/json"])
def test_other_content_types_are_refused_as_value_errors(content_type: str) -> None:
    with pytest.raises(inference.UnsupportedContentTypeError, match="send one of image/jpeg") as caught:
        inference.input_fn(drawings.encode(drawings.house()), content_type)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/html, application/json;q=0.9"])
def test_answer_is_written_as_json(accept: str, model: inference.Model) -> None:
    answer = classify(drawings.bicycle(), model)
    body, content_type = inference.output_fn(answer, accept)
    assert json.loads(body) == answer
    assert content_type == "application/json"


def test_answer_is_refused_to_who_accepts_no_json(model: inference.Model) -> None:
    with pytest.raises(inference.UnsupportedContentTypeError, match="text/csv"):
        inference.output_fn(classify(drawings.bicycle(), model), "text/csv")


@pytest.mark.parametrize(("short_side", "cut"), [(1, 0.02), (64, 0.02), (65, 0.1), (4000, 0.1)])
def test_known_is_one_half_at_the_cut_of_the_size(short_side: int, cut: float) -> None:
    rule = inference.KnownRule((1,), picture_cut=0.1, thumbnail_cut=0.02, thumbnail_side=64)
    assert rule.known(cut, short_side) == pytest.approx(0.5)
    assert rule.known(0, short_side) == 0
    assert rule.known(1, short_side) == 1
    assert rule.known(cut * 0.9, short_side) < 0.5 < rule.known(cut * 1.1, short_side)


def test_model_without_a_rule_answers_null_for_known(model: inference.Model) -> None:
    assert classify(drawings.bicycle(), replace(model, known=None))["known"] is None


def test_class_mass_averages_softmax_over_the_rows() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], dtype=np.float32))
    assert inference.class_mass(logits, [0, 1]) == pytest.approx((0.75 + 0.2) / 2)


@pytest.mark.parametrize("x", [-1e4, -3.0, 0.0, 3.0, 1e4])
def test_logistic_is_safe_and_symmetric(x: float) -> None:
    assert inference.logistic(x) == pytest.approx(1 - inference.logistic(-x))
    assert math.isfinite(inference.logistic(x))


def test_score_averages_the_views_and_adds_the_bias() -> None:
    features = {"a": np.array([[1, 2], [3, 4]], dtype=np.float32), "b": np.array([[1], [0]], dtype=np.float32)}
    weights = {"a": np.array([1.0, 10.0]), "b": np.array([4.0])}
    assert inference.score(features, weights, np.array(0.5)) == 2 + 30 + 2 + 0.5


def test_score_of_three_labels_is_one_for_each() -> None:
    features = {"a": np.array([[1, 2], [3, 4]], dtype=np.float32)}
    found = inference.score(features, {"a": np.array([[1.0, 10.0], [0.0, 0.0], [0.0, 1.0]])}, np.array([0.5, 7.0, 0.0]))
    assert found.tolist() == [32.5, 7.0, 3.0]


@pytest.mark.parametrize("scores", [[1.0, 2.0, 4.0], [-900.0, 900.0, 0.0, 0.0]])
def test_probabilities_of_more_labels_are_softmax_of_the_scores_by_the_temperature(scores: list[float]) -> None:
    found = inference.probabilities(np.array(scores), temperature=2.0)
    highest = max(scores)
    exponentials = [math.exp((score - highest) / 2) for score in scores]
    assert found == pytest.approx([one / sum(exponentials) for one in exponentials], abs=1e-6)
    assert found == [round(one, 6) for one in found]


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(inference.ModelFolderError, match="holds no readable model"):
        inference.model_fn(tmp_path)


def test_head_of_another_backbone_is_refused(tmp_path: Path) -> None:
    shutil.copyfile(MODEL_FOLDER / "head.json", tmp_path / "head.json")
    (tmp_path / "backbone.onnx").write_bytes((MODEL_FOLDER / "backbone.onnx").read_bytes() + b"\0")
    with pytest.raises(inference.ModelFolderError, match="another backbone"):
        inference.model_fn(tmp_path)


@pytest.mark.parametrize("variable", [None, "2"])
def test_threads_come_from_the_environment_and_are_one_by_default(
    variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(inference.THREADS_VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(inference.THREADS_VARIABLE, variable)
    session = inference.open_backbone(MODEL_FOLDER / "backbone.onnx")
    assert session.get_session_options().intra_op_num_threads == int(variable or "1")


def test_module_imports_nothing_that_the_container_lacks() -> None:
    tree = ast.parse(Path(inference.__file__).read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outside = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert outside == {"numpy", "onnxruntime", "PIL"}
