"""Folders of further pictures, and whether it matters how a picture comes to the model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from chalicelib import images
from tests.training import drawings
from tests.training.staged import write_data
from training import further, predict
from training.errors import PicturesError
from training.folders import Row
from training.further import Further
from training.layout import COMMITTED_MODEL, Manifest
from training.source import inference

LABELS = ("bicycle", "motorcycle")
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF"}


def photo(draw: drawings.Drawing, size: int) -> Image.Image:
    """A drawing soft enough for a large picture of it to be made small without a difference to the eye."""
    soft: Image.Image = draw(size).filter(ImageFilter.GaussianBlur(size / 160))
    return soft


def ask(folder: Path, data: Path | None = None) -> Further:
    rows = further.listed(folder, LABELS)
    trained = further.trained_on(data, Manifest.read(data)) if data else further.NOTHING
    return further.ask(folder, rows, LABELS, predict.from_folder(COMMITTED_MODEL), trained, lambda: None)


def write(folder: Path, names: Sequence[str], size: int = 96) -> None:
    """Drawings in the formats that their names say; what they show is in the first folder of the name."""
    kinds = {"bicycle": drawings.bicycle, "motorcycle": drawings.motorcycle}
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            drawings.encode(photo(kinds.get(name.split("/")[0], drawings.house), size), FORMATS[path.suffix[1:]])
        )


def test_a_table_tells_what_pictures_show_and_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        "path,class,source\nx/1.jpg,bicycle,web\nx/2.jpg,cat,pets\nx/3.jpg,dog,\n", encoding="utf-8"
    )
    assert further.listed(tmp_path, LABELS) == [
        Row("x/1.jpg", "bicycle", "web"), Row("x/2.jpg", "neither", "pets"), Row("x/3.jpg", "neither", "dog")
    ]  # fmt: skip


def test_subfolders_are_classes_and_what_is_no_class_of_the_model_is_an_other(tmp_path: Path) -> None:
    write(tmp_path, ["bicycle/a.png", "bicycle/shop/2024/b.png", "cats/c.png", "cats/.hidden.png", "stray.png"])
    assert further.listed(tmp_path, LABELS) == [
        Row("bicycle/a.png", "bicycle", ""), Row("bicycle/shop/2024/b.png", "bicycle", "shop"),
        Row("cats/c.png", "neither", "cats"),
    ]  # fmt: skip


def test_a_folder_without_pictures_of_a_known_class_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(PicturesError, match=r"a manifest.csv that names them, or a subfolder for each class"):
        further.listed(tmp_path, LABELS)


def test_a_picture_is_judged_as_the_workflow_would_send_it(tmp_path: Path) -> None:
    write(tmp_path, ["bicycle/large.jpg"], size=1200)
    (one,) = ask(tmp_path).classes
    body = (tmp_path / "bicycle/large.jpg").read_bytes()
    sent = inference.decode(images.prepare(body, "").data)
    (answer,) = inference.classify([sent], inference.model_fn(COMMITTED_MODEL))
    assert list(one.probabilities.values()) == answer["inferences"]
    assert (one.known, one.short_side, one.label) == (answer["known"], images.SHORT_SIDE, "bicycle")


def test_every_format_that_the_workflow_takes_is_judged(tmp_path: Path) -> None:
    write(tmp_path, [f"bicycle/{ending}.{ending}" for ending in FORMATS] + ["house/1.webp"])
    found = ask(tmp_path)
    assert (len(found.classes), len(found.others), found.skipped) == (5, 1, [])
    assert [one.source for one in found.others] == ["house"]


def test_a_file_that_goes_to_the_model_byte_for_byte_cannot_be_decided_otherwise(tmp_path: Path) -> None:
    write(tmp_path, ["bicycle/1.jpg", "motorcycle/1.png"])
    agreement = further.agreement_of(ask(tmp_path))
    assert (agreement["compared"], agreement["unchanged"], agreement["largest_change"]) == (2, 2, 0.0)
    assert (agreement["same"]["value"], agreement["same_of_reworked"]["value"]) == (1, None)


def test_large_files_are_asked_about_both_ways_and_the_largest_change_is_told(tmp_path: Path) -> None:
    write(tmp_path, ["bicycle/1.jpg", "motorcycle/1.png"], size=1200)
    noise = np.random.default_rng(0).integers(0, 256, (400, 1600, 3), dtype=np.uint8)
    (tmp_path / "house").mkdir()
    Image.fromarray(noise).save(tmp_path / "house" / "more_than_fits_without_loss.png")
    found = ask(tmp_path)
    agreement = further.agreement_of(found)
    assert (agreement["compared"], agreement["unchanged"]) == (3, 0)
    changes = []
    for one in found.asked:
        assert one.straight
        straight, sent = one.straight.probabilities, one.sent.probabilities
        assert one.straight.known is not None
        assert one.sent.known is not None
        changes += [abs(straight[label] - sent[label]) for label in LABELS]
        changes.append(abs(one.straight.known - one.sent.known))
    assert agreement["largest_change"] == max(changes) > 0
    assert agreement["same"]["count"] == 3 - len(agreement["changed"])
    assert agreement["same_of_reworked"] == agreement["same"]


def test_a_picture_that_is_decided_otherwise_is_named_with_both_answers(tmp_path: Path) -> None:
    write(tmp_path, ["bicycle/1.png"])
    found = ask(tmp_path)
    (one,) = found.asked
    other_way = predict.answered(
        drawings.encode(drawings.house(96)), one.picture, LABELS, predict.from_folder(COMMITTED_MODEL).ask
    )
    assert other_way.reason != one.sent.reason
    changed = replace(one, straight=other_way, unchanged=False)
    agreement = further.agreement_of(Further(tmp_path, list(LABELS), [changed], []))
    assert agreement["same"]["count"] == 0
    (named,) = agreement["changed"]
    assert (named["path"], named["sent"]["known"], named["straight"]["known"]) == (
        "bicycle/1.png", one.sent.known, other_way.known
    )  # fmt: skip


def test_what_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path, ["bicycle/1.png"])
    (tmp_path / "bicycle" / "broken.jpg").write_bytes(b"no picture")
    found = ask(tmp_path)
    assert len(found.asked) == 1
    (skipped,) = found.skipped
    assert (skipped.path, "not a picture" in skipped.reason) == ("bicycle/broken.jpg", True)


def test_a_folder_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,class\nmissing.jpg,bicycle\n", encoding="utf-8")
    with pytest.raises(PicturesError, match=r"holds no picture that can be read. missing.jpg: It is no file"):
        ask(tmp_path)


def test_thumbnails_are_of_what_the_workflow_sends_and_a_file_that_has_gone_is_told(tmp_path: Path) -> None:
    write(tmp_path, ["bicycle/1.webp"])
    found = ask(tmp_path)
    assert inference.decode(found.read("bicycle/1.webp")).image.size == (96, 96)
    (tmp_path / "bicycle/1.webp").unlink()
    with pytest.raises(PicturesError, match="cannot be read any more"):
        found.read("bicycle/1.webp")


def test_digest_of_a_folder_follows_files_and_classes_alone(tmp_path: Path) -> None:
    write(tmp_path / "a", ["bicycle/1.png", "house/1.png"])
    write(tmp_path / "b", ["bicycle/other-name.png", "house/2.png"])
    write(tmp_path / "c", ["bicycle/1.png", "house/1.png", "house/3.jpg"])
    digests = [ask(tmp_path / name).sha256 for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_what_looks_like_a_picture_that_is_trained_on_is_found_mirrored_or_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    manifest = write_data(data, each={"train": 1, "test": 1}, others={"train": 1})
    seen = Image.open(data / manifest.split("train")[0].path).resize((300, 300))
    seen_other = Image.open(data / manifest.others("train")[0].path)
    folder = tmp_path / "folder"
    for name, image in (
        ("bicycle/seen.jpg", seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        ("bicycle/new.jpg", drawings.motorcycle(300, width=9)),
        ("flower/seen.png", seen_other),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    assert ask(folder, data).near_duplicates == {"bicycle/seen.jpg", "flower/seen.png"}
