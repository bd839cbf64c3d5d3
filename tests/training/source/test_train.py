import json
import re
import runpy
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training import drawings
from training.source import inference, train

ROOT = Path(__file__).parents[3]
BACKBONE = ROOT / "model" / "backbone.onnx"
METRIC = re.compile(r"^([a-z_]+)=([0-9.]+);$", re.MULTILINE)
DRAWINGS = {"bicycle": drawings.bicycle, "motorcycle": drawings.motorcycle}
THREE = DRAWINGS | {"house": drawings.house}


def draw_channel(folder: Path, count: int, first: int = 0, kinds: Mapping[str, drawings.Drawing] = DRAWINGS) -> Path:
    for label, draw in kinds.items():
        (folder / label).mkdir(parents=True)
        for number in range(first, first + count):
            image = draw(72, width=2 + number % 4, shift=(5 * (number % 5) - 10, 4 * (number % 3) - 4))
            image.save(folder / label / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_channel(tmp_path_factory.mktemp("channel"), 10)


def run(channel: Path, model: Path, *options: str) -> None:
    arguments = ["--train", str(channel), "--backbone", str(BACKBONE), "--model-dir", str(model), "--folds", "2"]
    train.train(train.parse([*arguments, *options]))


@pytest.fixture(scope="module")
def model(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    run(channel, folder)
    return folder


def test_training_twice_gives_identical_bytes(channel: Path, model: Path, tmp_path: Path) -> None:
    run(channel, tmp_path, "--head-only")
    assert (tmp_path / "head.json").read_bytes() == (model / "head.json").read_bytes()


def test_other_pictures_give_another_version(channel: Path, model: Path, tmp_path: Path) -> None:
    other = shutil.copytree(channel, tmp_path / "channel")
    (other / "bicycle" / "000.png").unlink()
    run(other, tmp_path / "model", "--head-only")
    heads = [json.loads((folder / "head.json").read_text()) for folder in (model, tmp_path / "model")]
    assert heads[0]["version"] != heads[1]["version"]
    assert heads[0]["provenance"]["data_sha256"] != heads[1]["provenance"]["data_sha256"]


def test_head_tells_the_drawings_apart_that_it_has_not_seen(model: Path) -> None:
    loaded = inference.model_fn(model)
    for label, draw in DRAWINGS.items():
        for shift in ((3, -6), (-7, 5)):
            picture = inference.decode(drawings.encode(draw(72, width=3.5, shift=shift)))
            answer = inference.classify([picture], loaded)[0]
            assert answer["inferences"][answer["labels"].index(label)] > 0.5


def test_head_only_writes_neither_backbone_nor_code(channel: Path, tmp_path: Path) -> None:
    run(channel, tmp_path, "--head-only")
    assert [path.name for path in tmp_path.iterdir()] == ["head.json"]


def test_sagemaker_layout_is_written_from_its_environment_by_files_that_stand_alone(
    channel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("train.py", "checkpoints.py", "inference.py", "requirements.txt"):
        shutil.copyfile(Path(train.__file__).with_name(name), source / name)
    validation = draw_channel(tmp_path / "validation", 2, first=20)
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(channel))
    monkeypatch.setenv("SM_CHANNEL_VALIDATION", str(validation))
    monkeypatch.setenv("SM_CHANNEL_BACKBONE", str(BACKBONE.parent))
    monkeypatch.setenv("SM_MODEL_DIR", str(tmp_path / "model"))
    monkeypatch.setattr("sys.argv", ["train.py", "--folds", "2"])
    monkeypatch.syspath_prepend(source)

    runpy.run_path(str(source / "train.py"), run_name="__main__")

    for name in ("checkpoints", "inference"):
        assert sys.modules.pop(name).__file__ == str(source / f"{name}.py")
    written = {path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*.*")}
    assert written == {"backbone.onnx", "head.json", "code/inference.py", "code/requirements.txt"}
    served = runpy.run_path(str(tmp_path / "model" / "code" / "inference.py"), run_name="inference_in_container")
    assert served["model_fn"](tmp_path / "model").labels == ("bicycle", "motorcycle")
    metrics = dict(METRIC.findall(capsys.readouterr().out))
    assert metrics["validation_accuracy"] == "1.000000"
    assert metrics["train_pictures"] == "20"
    assert {"cross_validation_accuracy", "cross_validation_nll", "cross_validation_threshold"} <= set(metrics)


def test_head_records_where_it_comes_from(channel: Path, tmp_path: Path) -> None:
    run(channel, tmp_path, "--head-only", "--date", "2001-02-03", "--seed", "7", "--name", "drawn")
    head = json.loads((tmp_path / "head.json").read_text())
    assert re.fullmatch(r"drawn-[0-9a-f]{12}", head["version"])
    assert head["provenance"]["date"] == "2001-02-03"
    assert head["provenance"]["hyperparameters"]["seed"] == 7
    assert head["provenance"]["pictures"] == {"bicycle": 10, "motorcycle": 10}
    assert set(head["provenance"]["libraries"]) == {"numpy", "onnxruntime", "pillow", "scikit-learn"}


def test_head_is_small_and_has_readable_lines(model: Path) -> None:
    text = (model / "head.json").read_text(encoding="utf-8")
    assert len(text) < 200_000
    assert max(map(len, text.splitlines())) <= 120


def test_labels_come_from_the_list_and_not_from_folders(tmp_path: Path) -> None:
    draw_channel(tmp_path, 2)
    (tmp_path / "train.lst").write_text("5\t1\tbicycle/000.png\n6\t0\tmotorcycle/001.png\n")
    samples = train.read_channel(tmp_path)
    assert [(sample.path.name, sample.label) for sample in samples] == [("000.png", 1), ("001.png", 0)]


def test_list_finds_pictures_by_name_in_subfolders(tmp_path: Path) -> None:
    draw_channel(tmp_path, 1)
    (tmp_path / "bicycle" / "000.png").rename(tmp_path / "bicycle" / "a.png")
    (tmp_path / "train.lst").write_text("1\t0\ta.png\n2\t1\t000.png\n")
    assert [sample.path.name for sample in train.read_channel(tmp_path)] == ["a.png", "000.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\t2\ta.png\n", "line 1: expected index, label 0 to 1"),
        ("1\t0\n", "line 1: expected"),
        ("1\t0\tb.png\n", "no picture b.png"),
    ],
)
def test_broken_list_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "train.lst").write_text(text)
    with pytest.raises(train.DataError, match=message):
        train.read_channel(tmp_path)


def test_two_lists_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.lst").touch()
    (tmp_path / "b.lst").touch()
    with pytest.raises(train.DataError, match=r"2 \.lst files"):
        train.read_channel(tmp_path)


def test_channel_without_a_class_is_refused(channel: Path, tmp_path: Path) -> None:
    shutil.copytree(channel / "bicycle", tmp_path / "bicycle")
    with pytest.raises(train.DataError, match="no picture of: motorcycle"):
        train.read_channel(tmp_path)


def test_data_digest_depends_on_bytes_and_labels_but_not_on_names(channel: Path, tmp_path: Path) -> None:
    samples = train.read_channel(channel)
    renamed = [train.Sample(tmp_path / f"{number}.png", s.label) for number, s in enumerate(reversed(samples))]
    for copy, sample in zip(renamed, reversed(samples), strict=True):
        shutil.copyfile(sample.path, copy.path)
    relabelled = [train.Sample(samples[0].path, 1 - samples[0].label), *samples[1:]]
    assert train.data_digest(renamed) == train.data_digest(samples)
    assert train.data_digest(relabelled) != train.data_digest(samples)


def test_cross_validation_finds_nothing_in_noise() -> None:
    random = np.random.default_rng(0)
    pictures = random.normal(size=(400, 1, 600)).repeat(2, axis=1)
    targets = np.arange(400) % 2
    found = train.cross_validate(pictures, [600], targets, alpha=1.0, folds=5, seed=0)
    assert 0.4 < ((found > 0) == targets).mean() < 0.6


def test_fit_does_not_depend_on_the_units_of_a_feature() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 1, 8)).repeat(2, axis=1)
    targets = (features[:, 0, 0] > 0).astype(int)
    stretched = features * np.geomspace(0.01, 100, 8) + 5
    plain, other = (train.scores(x, train.fit(x, [3, 5], targets, alpha=1.0)) for x in (features, stretched))
    assert other == pytest.approx(plain, abs=1e-3)
    assert ((plain > 0) == targets).mean() > 0.9


def test_threshold_is_the_smallest_that_reaches_the_precision() -> None:
    targets = np.array([1] * 100 + [0] * 100)
    found = np.array([2.0] * 90 + [0.5] * 10 + [-2.0] * 90 + [0.5] * 10)
    calibration = train.calibrate(found, targets, np.ones(200, bool), precision=0.99)
    probability = 1 / (1 + np.exp(-0.5 / calibration.temperature))
    assert probability < calibration.threshold < probability + 0.011
    assert calibration.accuracy == 0.95
    assert calibration.kept == 0.9
    assert calibration.kept_accuracy == 1.0


def test_pictures_that_are_not_known_are_not_kept_and_do_not_count_for_the_threshold() -> None:
    targets = np.array([1] * 100 + [0] * 100)
    found = np.array([2.0] * 90 + [0.5] * 10 + [-2.0] * 90 + [0.5] * 10)
    calibration = train.calibrate(found, targets, np.abs(found) > 1, precision=0.99)
    assert (calibration.threshold, calibration.kept, calibration.kept_accuracy) == (0.5, 0.9, 1.0)
    assert calibration.accuracy == 0.95


def test_temperature_follows_the_scale_of_the_scores() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=4000)
    targets = (random.random(4000) < 1 / (1 + np.exp(-logits))).astype(int)
    assert train.calibrate(logits, targets, np.ones(4000, bool), 0.9).temperature == pytest.approx(1, rel=0.1)
    assert train.calibrate(logits / 5, targets, np.ones(4000, bool), 0.9).temperature == pytest.approx(0.2, rel=0.1)


def test_json_fills_numbers_into_lines_and_reads_back_the_same() -> None:
    content = {"labels": ["a", "b"], "weights": {"x": [0.5, -1e-05, 3.0] * 40}, "none": None}
    text = train.to_json(content)
    assert json.loads(text) == content
    assert len(text.splitlines()) < 20


def test_name_that_makes_the_version_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path, "--name", "x" * 28)


def test_folders_are_required_where_the_environment_does_not_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SM_CHANNEL_TRAIN", raising=False)
    with pytest.raises(SystemExit):
        train.parse(["--backbone", "b", "--model-dir", "m"])


@pytest.fixture(scope="module")
def three_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    draw_channel(folder / "train", 4, kinds=THREE)
    draw_channel(folder / "validation", 1, first=20, kinds=THREE)
    validation = ("--validation", str(folder / "validation"))
    run(folder / "train", folder / "model", "--labels", "motorcycle,bicycle,house", *validation)
    return folder


def test_head_of_three_labels_tells_the_drawings_apart_in_the_order_of_its_labels(three_labels: Path) -> None:
    loaded = inference.model_fn(three_labels / "model")
    assert loaded.labels == ("motorcycle", "bicycle", "house")
    for label, draw in THREE.items():
        picture = inference.decode(drawings.encode(draw(72, width=3.5, shift=(3, -6))))
        answer = inference.classify([picture], loaded)[0]
        assert answer["labels"][np.argmax(answer["inferences"])] == label
        assert sum(answer["inferences"]) == pytest.approx(1, abs=3e-6)
        assert answer["known"] is None


def test_head_of_three_labels_scores_as_training_did(three_labels: Path) -> None:
    head = json.loads((three_labels / "model" / "head.json").read_text())
    loaded = inference.model_fn(three_labels / "model")
    samples = train.read_channel(three_labels / "validation", loaded.labels)
    backbone = train.Backbone(loaded.session, loaded.size, "key", None)
    features = train.stacked(train.extract_all(samples, backbone))
    weights = np.concatenate([np.array(head["weights"][name]) for name in train.HEAD_FEATURES], axis=-1)
    found = train.scores(features, train.Head(weights, np.array(head["bias"])))
    logarithms = train.log_probabilities(found, head["temperature"])
    for sample, row in zip(samples, logarithms, strict=True):
        answer = inference.classify([inference.decode(sample.path.read_bytes())], loaded)[0]
        assert answer["inferences"] == pytest.approx(list(np.exp(row)), abs=2e-5)


@pytest.mark.parametrize("labels", ["motorcycle,bicycle", "bicycle,house"])
def test_without_other_pictures_known_is_what_the_backbone_says_and_only_of_bicycles_and_motorcycles(
    labels: str, tmp_path: Path
) -> None:
    draw_channel(tmp_path / "train", 2, kinds=THREE)
    run(tmp_path / "train", tmp_path / "model", "--head-only", "--labels", labels)
    head = json.loads((tmp_path / "model" / "head.json").read_text())
    assert head["labels"] == labels.split(",")
    assert head["provenance"]["others"] == 0
    rule = {"classes": train.LOOK_ALIKES, "weights": {}, "bias": 0.0}
    tells = "motorcycle" in labels
    assert head["known"] == (rule if tells else None)
    assert (head["min_known"] > 0) == tells


@pytest.fixture(scope="module")
def with_others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("others")
    kinds = {"bicycle": drawings.bicycle, "house": drawings.house, "neither": drawings.flower}
    draw_channel(folder / "train", 12, kinds=kinds)
    for number, path in enumerate(sorted((folder / "train" / "neither").iterdir())):
        drawings.flower(72 if number % 2 else 300, width=2 + number % 4).save(path)
    draw_channel(folder / "validation", 3, first=40, kinds=kinds)
    validation = ("--validation", str(folder / "validation"))
    run(folder / "train", folder / "model", "--labels", "bicycle,house", *validation)
    return folder


def test_with_other_pictures_known_is_learnt_for_any_labels_and_holds_for_large_pictures_too(with_others: Path) -> None:
    loaded = inference.model_fn(with_others / "model")
    assert loaded.known is not None
    assert loaded.known.classes == ()
    for size in (72, 400):
        ours, theirs = (
            inference.classify([inference.decode(drawings.encode(draw(size, width=3)))], loaded)[0]["known"]
            for draw in (drawings.house, drawings.flower)
        )
        assert ours is not None
        assert theirs is not None
        assert theirs < 0.5 < ours


def test_head_says_how_many_other_pictures_it_has_seen_and_how_well_it_tells_them(with_others: Path) -> None:
    provenance = json.loads((with_others / "model" / "head.json").read_text())["provenance"]
    assert provenance["others"] == 12
    assert provenance["pictures"] == {"bicycle": 12, "house": 12}
    figures = provenance["cross_validation"]
    assert figures["known_auroc"] == 1
    assert figures["others_known"] == 0
    assert figures["known"] >= 0.9


def test_other_pictures_are_shrunk_to_sizes_of_the_labels_pictures_and_never_enlarged(with_others: Path) -> None:
    samples = train.shrink_others(train.read_channel(with_others / "train", ("bicycle", "house")))
    others = [sample for sample in samples if sample.label == train.OTHER]
    assert sorted({sample.side for sample in others}, key=str) == [72, None]
    assert all(sample.side is None for sample in samples if sample.label != train.OTHER)


def test_a_label_may_be_called_neither_and_then_is_one(with_others: Path) -> None:
    samples = train.read_channel(with_others / "train", ("bicycle", "neither"))
    assert {sample.label for sample in samples} == {0, 1}


def test_fewer_other_pictures_than_folds_are_refused(with_others: Path, tmp_path: Path) -> None:
    shutil.copytree(with_others / "train", tmp_path / "train")
    for path in sorted((tmp_path / "train" / "neither").iterdir())[1:]:
        path.unlink()
    with pytest.raises(train.DataError, match="neither needs at least 2 training pictures"):
        run(tmp_path / "train", tmp_path / "model", "--labels", "bicycle,house")


@pytest.mark.parametrize("labels", ["bicycle", "bicycle,bicycle", "bicycle,,house", ""])
def test_labels_that_are_not_two_or_more_different_ones_are_refused(labels: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path, "--labels", labels)


def test_fewer_pictures_than_folds_are_refused(tmp_path: Path) -> None:
    draw_channel(tmp_path / "train", 1)
    with pytest.raises(train.DataError, match="at least 2 training pictures"):
        run(tmp_path / "train", tmp_path / "model")


def test_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    draw_channel(tmp_path / "train", 2)
    (tmp_path / "train" / "bicycle" / "001.png").write_bytes(b"no picture")
    with pytest.raises(train.DataError, match=r"bicycle/001\.png cannot be read"):
        run(tmp_path / "train", tmp_path / "model")


def test_two_labels_are_softmax_over_no_score_and_the_score() -> None:
    found = np.array([-3.0, 0.0, 0.5, 800.0])
    logarithms = train.log_probabilities(found, 0.5)
    assert np.exp(logarithms[:, 1]) == pytest.approx([inference.logistic(2 * score) for score in found])
    assert np.exp(logarithms).sum(axis=1) == pytest.approx(1)


def test_likelihood_of_certain_and_right_answers_is_zero_without_a_sign() -> None:
    assert str(train.negative_log_likelihood(np.array([900.0, -900.0]), np.array([1, 0]), 1.0)) == "0.0"


def test_interrupted_training_goes_on_from_its_checkpoints_to_the_same_bytes(
    channel: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "checkpoints"
    kept.mkdir()
    extract, count = inference.extract, 0

    def counted(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 12:
            raise KeyboardInterrupt
        return extract(*arguments)

    monkeypatch.setattr(inference, "extract", counted)
    with pytest.raises(KeyboardInterrupt):
        run(channel, tmp_path / "model", "--head-only", "--checkpoints", str(kept))
    count = 100
    run(channel, tmp_path / "model", "--head-only", "--checkpoints", str(kept))
    assert count == 110
    assert (tmp_path / "model" / "head.json").read_bytes() == (model / "head.json").read_bytes()
