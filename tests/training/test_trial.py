from pathlib import Path

import pytest
from PIL import Image

from chalicelib.endpoint import understand
from tests.training import drawings
from tests.training.staged import write_data
from training import predict, trial
from training.errors import EndpointFailed, PicturesError
from training.layout import COMMITTED_MODEL
from training.predict import Predictor
from training.source import inference


def test_a_test_picture_of_each_label_is_taken_from_the_data_set(tmp_path: Path) -> None:
    manifest = write_data(tmp_path, each={"train": 1, "test": 3})
    chosen = trial.choose([], tmp_path)
    firsts = {label: next(one for one in manifest.split("test") if one.label == label) for label in manifest.labels}
    assert [(one.name, one.shows) for one in chosen] == [(firsts[label].path, label) for label in manifest.labels]
    assert [one.body for one in chosen] == [(tmp_path / firsts[label].path).read_bytes() for label in manifest.labels]


def test_named_files_come_first_and_a_jpeg_becomes_an_upright_png(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    drawings.bicycle(96).resize((96, 48)).save(tmp_path / "turned.jpg", exif=exif)
    (picture,) = trial.choose([tmp_path / "turned.jpg"], tmp_path)
    assert picture.shows is None
    assert inference.decode(picture.body).image.size == (48, 96)
    assert picture.body.startswith(b"\x89PNG")


def test_a_file_that_is_no_picture_is_told_before_anything_is_deployed(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no picture")
    with pytest.raises(PicturesError, match=r"note\.txt is no picture that can be read"):
        trial.choose([tmp_path / "note.txt"], tmp_path)


def test_without_files_and_without_a_data_set_a_grey_square_has_to_do(tmp_path: Path) -> None:
    (picture,) = trial.choose([], tmp_path)
    assert picture.name == "a grey square"
    assert inference.decode(picture.body).short_side == 64


def test_answers_are_those_of_the_model(tmp_path: Path) -> None:
    write_data(tmp_path, each={"train": 1, "test": 1})
    bicycle, motorcycle = trial.ask(trial.choose([], tmp_path), predict.from_folder(COMMITTED_MODEL))
    assert (bicycle.shows, bicycle.label) == ("bicycle", "bicycle")
    assert (motorcycle.shows, motorcycle.picture) == ("motorcycle", "test/motorcycle/004.png")
    assert bicycle.model == inference.model_fn(COMMITTED_MODEL).version
    assert bicycle.milliseconds > 0


@pytest.mark.parametrize("body", [b"Hello", b"[0.9, 0.9]", b"[1.0]"])
def test_an_endpoint_that_answers_something_else_is_told(tmp_path: Path, body: bytes) -> None:
    nonsense = Predictor(lambda _: understand(body, ["bicycle", "motorcycle"]), workers=1)
    with pytest.raises(EndpointFailed, match="its answer is of no use"):
        trial.ask(trial.choose([], tmp_path), nonsense)
