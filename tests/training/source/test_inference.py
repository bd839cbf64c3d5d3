import ast
import base64
import json
import math
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chalicelib import images
from tests.training import drawings
from training.source import inference

MODEL_FOLDER = Path(__file__).parents[3] / "model"
ANSWER_KEYS = ["labels", "inferences", "known", "threshold", "min_known", "model"]


@pytest.fixture(scope="module")
def model() -> inference.Model:
    return inference.model_fn(MODEL_FOLDER)


def classify(image: Image.Image, model: inference.Model) -> inference.Answer:
    return classify_bytes(drawings.encode(image), model)


def classify_bytes(body: bytes, model: inference.Model) -> inference.Answer:
    return inference.classify([inference.decode(body)], model)[0]


def answer_batch(bodies: Sequence[bytes], model: inference.Model) -> list[dict[str, Any]]:
    request = json.dumps({"instances": [{"b64": base64.b64encode(body).decode()} for body in bodies]}).encode()
    body, _ = inference.output_fn(inference.predict_fn(inference.input_fn(request, "application/json"), model), "*/*")
    answers: list[dict[str, Any]] = json.loads(body)["predictions"]
    return answers


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


def test_threads_share_a_model_and_get_what_one_thread_gets(model: inference.Model) -> None:
    pictures = [drawings.bicycle(shift=(x, 0)) for x in range(-8, 8)]
    alone = [classify(picture, model) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda picture: classify(picture, model), pictures)) == alone


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_of_any_mode_becomes_rgb(mode: str) -> None:
    grey = drawings.bicycle(160).convert("L")
    image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    decoded = inference.decode(drawings.encode(image)).image
    assert decoded.mode == "RGB"
    difference = np.abs(np.asarray(decoded, dtype=int) - np.asarray(grey.convert("RGB"), dtype=int))
    assert difference.mean() < 8


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_of_any_mode_becomes_rgb(mode: str) -> None:
    image = drawings.bicycle(160)
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


def test_large_picture_is_made_smaller_but_remembers_its_size() -> None:
    for kind in ("JPEG", "PNG"):
        picture = inference.decode(drawings.encode(drawings.bicycle(640).resize((3000, 2600)), kind))
        assert picture.short_side == 2600
        assert picture.image.size == (222, 192)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_every_format_that_the_workflow_takes_is_decoded(kind: str) -> None:
    image = drawings.motorcycle(160)
    decoded = inference.decode(drawings.encode(image, kind)).image
    assert np.abs(np.asarray(decoded, dtype=int) - np.asarray(image, dtype=int)).mean() < 5


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("size", [(1600, 1200), (1200, 1601), (3000, 400), (300, 220), (32, 32)])
def test_picture_gets_the_same_answer_straight_and_through_serialize(
    kind: str, size: tuple[int, int], model: inference.Model
) -> None:
    body = drawings.encode(drawings.bicycle(640).resize(size), kind)
    straight = classify_bytes(body, model)
    serialized = classify_bytes(images.prepare(body, "picture").data, model)
    assert straight == serialized


def test_pictures_are_shrunk_as_the_workflow_shrinks_them() -> None:
    ours, theirs = ((one.SHORT_SIDE, one.LONG_SIDE, one.MAX_PIXELS) for one in (inference, images))
    assert ours == theirs


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (10_000, 10_000)])
def test_pictures_of_one_pixel_and_of_a_hundred_megapixels_are_answered(
    size: tuple[int, int], model: inference.Model
) -> None:
    answer = classify_bytes(drawings.encode(Image.new("1", size), "PNG"), model)
    assert sum(answer["inferences"]) == pytest.approx(1)


@pytest.mark.parametrize(("mode", "white"), [("I", 255), ("I", 65_535), ("F", 1), ("F", 255)])
def test_deep_greys_are_brought_to_eight_bits_by_their_largest_tone(mode: str, white: int) -> None:
    tones = np.linspace(0, white, 64 * 64).reshape(64, 64)
    image = Image.fromarray(tones.astype(np.int32 if mode == "I" else np.float32))
    decoded = np.asarray(inference.decode(drawings.encode(image, "TIFF")).image)[..., 0].astype(float)
    assert np.abs(decoded - 255 * tones / white).max() <= 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no picture", id="text"),
        pytest.param(drawings.encode(drawings.bicycle())[:900], id="truncated PNG"),
        pytest.param(drawings.encode(drawings.bicycle(), "JPEG")[:900], id="truncated JPEG"),
        pytest.param(drawings.encode(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), id="no numbers"),
        pytest.param(drawings.encode(drawings.bicycle(), "BMP"), id="BMP"),
    ],
)
def test_unreadable_bytes_raise_the_typed_error(body: bytes) -> None:
    with pytest.raises(inference.UnreadableImageError) as caught:
        inference.input_fn(body, "image/jpeg")
    assert isinstance(caught.value, ValueError)


def test_too_many_pixels_are_refused() -> None:
    body = drawings.encode(Image.new("1", (10_001, 10_000)))
    with pytest.raises(inference.UnreadableImageError, match="pixels"):
        inference.decode(body)


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "image/webp", "application/x-image", "application/octet-stream", "IMAGE/PNG; q=1"]
)
def test_picture_content_types_are_taken_whatever_the_bytes_are(content_type: str) -> None:
    picture = inference.input_fn(drawings.encode(drawings.house()), content_type)
    assert isinstance(picture, inference.Picture)
    assert picture.image.size == (192, 192)


@pytest.mark.parametrize("content_type", ["", "text/csv", "image/svg+xml", "application/xml"])
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


def test_several_pictures_are_answered_in_their_order_and_as_each_alone(model: inference.Model) -> None:
    bodies = [drawings.encode(draw()) for draw in (drawings.bicycle, drawings.motorcycle, drawings.house)]
    answers = answer_batch([bodies[0], b"no picture", *bodies[1:]], model)
    assert "no JPEG, PNG" in answers.pop(1)["error"]
    for body, answer in zip(bodies, answers, strict=True):
        alone = classify_bytes(body, model)
        assert answer["inferences"] == pytest.approx(alone["inferences"], abs=1e-4)
        assert answer["known"] == pytest.approx(alone["known"], abs=1e-4)
        assert answer["model"] == model.version


def test_a_batch_without_a_single_picture_gets_its_refusals(model: inference.Model) -> None:
    assert [list(answer) for answer in answer_batch([b"", b"text"], model)] == [["error"], ["error"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"instances": 3}',
        b'{"instances": ["x"]}',
        b'{"instances": [{"b64": "?"}]}',
        b"\xff",
        b'{"instances": []}',
        json.dumps({"instances": [{"b64": ""}] * 65}).encode(),
    ],
)
def test_json_that_holds_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(inference.BatchError) as caught:
        inference.input_fn(body, "application/json")
    assert isinstance(caught.value, ValueError)


def test_known_is_the_summed_probability_of_the_look_alikes_where_there_are_any() -> None:
    logits = np.log(np.array([[0.7, 0.1, 0.2], [0.2, 0.4, 0.4]], dtype=np.float32))
    rule = inference.KnownRule((0, 1), {}, 0.0)
    assert rule.outputs == ("logits",)
    assert rule.known({"logits": logits}) == pytest.approx([0.8, 0.6])


def test_known_is_the_logistic_function_of_the_weighted_features_where_it_was_learnt() -> None:
    rule = inference.KnownRule((), {"a": np.array([3.0])}, -3.0)
    assert rule.outputs == ("a",)
    found = rule.known({"a": np.array([[1.0], [2.0]], dtype=np.float32)})
    assert found == pytest.approx([0.5, inference.logistic(3)])


def test_model_without_a_rule_answers_null_for_known(model: inference.Model) -> None:
    assert classify(drawings.bicycle(), replace(model, known=None))["known"] is None


def test_class_mass_is_the_summed_softmax_of_each_row() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], dtype=np.float32))
    assert inference.class_mass(logits, [0, 1]) == pytest.approx([0.75, 0.2])


@pytest.mark.parametrize("x", [-1e4, -3.0, 0.0, 3.0, 1e4])
def test_logistic_is_safe_and_symmetric(x: float) -> None:
    assert inference.logistic(x) == pytest.approx(1 - inference.logistic(-x))
    assert math.isfinite(inference.logistic(x))


def test_weighted_features_are_summed_over_the_outputs() -> None:
    features = {"a": np.array([[1, 2], [3, 4]], dtype=np.float32), "b": np.array([[1], [0]], dtype=np.float32)}
    weights = {"a": np.array([1.0, 10.0]), "b": np.array([4.0])}
    assert inference.weighted(features, weights).tolist() == [25, 43]
    assert inference.weighted({"a": features["a"]}, {"a": np.array([[1.0, 10.0], [0.0, 1.0]])}).tolist() == [
        [21, 2],
        [43, 4],
    ]


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
