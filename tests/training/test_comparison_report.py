from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.store import NEITHER
from tests.training.pages import Page
from tests.training.predictions import LABELS, draw, manifest_of, prediction
from training import compare, comparison_report
from training.compare import Subject
from training.errors import PicturesError
from training.material import Kind, Material
from training.predict import Prediction
from training.report import MOST_PICTURES

A, B = Subject("registry:approved", "a" * 64, "c" * 64), Subject("endpoint:<b>shop</b>", None, None, "<b>shop</b>")


def report(folder: Path, of_a: list[Prediction], of_b: list[Prediction]) -> Page:
    paths = [f"test/{number:02}.png" for number in range(len(of_a))]
    of_a, of_b = ([replace(one, path=path) for one, path in zip(all_, paths, strict=True)] for all_ in (of_a, of_b))
    draw(folder, of_a)
    pictures = manifest_of(of_a).pictures
    material = Material(Kind.TEST, "data", folder, LABELS, pictures, "1" * 64)
    content = compare.judge(material, A, B, of_a, of_b)
    comparison_report.write(folder / "report.html", content, material)
    page = Page(folder / "report.html")
    page.check()
    return page


def test_what_is_wrong_now_comes_first_then_what_is_right_then_what_else_is_held_back(tmp_path: Path) -> None:
    right, wrong = prediction("bicycle", "bicycle", 0.9), prediction("bicycle", "motorcycle", 0.9)
    unsure = prediction("bicycle", "bicycle", 0.7, model=None)
    page = report(tmp_path, [right, wrong, right], [replace(one, model=None) for one in (unsure, right, wrong)])
    headings = [one.text for one in page.all("h3")]
    assert headings == ["Wrongly accepted now: 1", "Wrong before, right now: 1", "Held back now: 1"]
    assert "B motorcycle, wrong" in page.words()
    assert "held back: not sure which" in page.words()
    assert "May endpoint:<b>shop</b> take the place of" in page.words()


def test_no_more_pictures_are_shown_than_anybody_looks_at_and_the_rest_is_counted(tmp_path: Path) -> None:
    number = MOST_PICTURES + 5
    right, other = prediction("bicycle", "bicycle", 0.9), prediction(NEITHER, "bicycle", 0.9)
    page = report(tmp_path, [right] * number + [other], [replace(right, known=0.1)] * number + [other])
    assert len(page.images()) == MOST_PICTURES
    assert "5 more stand in comparison.json." in page.words()
    assert "1 of the pictures show none of the classes" in page.words()
    assert "perhaps none of the classes" in page.words()


def test_where_nothing_changes_it_says_so(tmp_path: Path) -> None:
    right = prediction("bicycle", "bicycle", 0.9)
    page = report(tmp_path, [right], [right])
    assert "No difference is shown." in page.words()
    assert "Both decide alike about every picture." in page.words()


def test_a_picture_that_has_gone_is_told(tmp_path: Path) -> None:
    right, wrong = prediction("bicycle", "bicycle", 0.9), prediction("bicycle", "motorcycle", 0.9)
    content = compare.judge(
        Material(Kind.TEST, "data", tmp_path, LABELS, manifest_of([right]).pictures, "1"), A, A, [right], [wrong]
    )
    material = Material(Kind.TEST, "data", tmp_path, LABELS, manifest_of([right]).pictures, "1")
    with pytest.raises(PicturesError, match="cannot be read"):
        comparison_report.write(tmp_path / "report.html", content, material)
