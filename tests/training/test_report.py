import base64
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from PIL import Image

from tests.training import drawings
from training import disk, report


def picture(uri: str) -> Image.Image:
    kind, _, content = uri.partition(";base64,")
    assert kind == "data:image/png"
    return Image.open(io.BytesIO(base64.b64decode(content, validate=True)))


def chart() -> report.Chart:
    figure, axes = report.new_axes()
    axes.plot([0, 1], [0, 1], label="line")
    axes.legend()
    return report.Chart("Title", report.figure_uri(figure), "alt", "reading")


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "templates"
    folder.mkdir()
    monkeypatch.setattr(report, "TEMPLATES", folder)
    return folder


@pytest.mark.parametrize(("share", "text"), [(0.965, "96.5%"), (1, "100.0%"), (0, "0.0%"), (0.00049, "0.0%")])
def test_a_measured_share_has_one_digit_after_the_point(share: float, text: str) -> None:
    assert report.percent(share) == text


@pytest.mark.parametrize(("share", "text"), [(0.9, "90%"), (0.29, "29%"), (0.995, "99.5%"), (0.9999, "99.99%")])
def test_a_share_that_was_chosen_is_told_as_it_was_chosen(share: float, text: str) -> None:
    assert report.exact_percent(share) == text


def test_the_eighth_name_shares_its_colour_with_the_first() -> None:
    colours = report.colours("abcdefgh")
    assert len(set(colours.values())) == 7
    assert colours["h"] == colours["a"]


def test_the_same_chart_gives_the_same_text_and_asks_for_nothing() -> None:
    uri = chart().uri
    assert uri == chart().uri
    svg = base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,"), validate=True).decode()
    assert "<svg" in svg
    assert "<script" not in svg
    assert "<image" not in svg
    assert "@import" not in svg


@given(st.integers(1, 400), st.integers(1, 400))
def test_a_thumbnail_fits_its_side_keeps_its_shape_and_is_not_enlarged(width: int, height: int) -> None:
    small = picture(report.thumbnail_uri(drawings.encode(Image.new("RGB", (width, height), "red"))))
    assert small.format == "PNG"
    scale = min(1, report.THUMBNAIL / max(width, height))
    assert max(small.size) == round(scale * max(width, height))
    assert small.size == pytest.approx((scale * width, scale * height), abs=1)
    assert small.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_what_is_no_picture_becomes_a_crossed_box() -> None:
    box = picture(report.thumbnail_uri(b"no picture", side=40))
    assert box.size == (40, 40)
    assert box.getpixel((20, 20)) != box.getpixel((20, 5))


def test_a_template_writes_what_it_is_given_as_text_and_not_as_markup(templates: Path, tmp_path: Path) -> None:
    (templates / "one.html").write_text("<p>{{ name }} {{ share | percent }} {{ share | exact_percent }}</p>")
    report.write(tmp_path / "new" / "folder" / "report.html", "one.html", name="<b>&", share=0.5)
    assert (tmp_path / "new" / "folder" / "report.html").read_text() == "<p>&lt;b&gt;&amp; 50.0% 50%</p>"


def test_a_report_that_fails_leaves_the_one_that_is_there_and_nothing_beside_it(
    templates: Path, tmp_path: Path
) -> None:
    (templates / "one.html").write_text("{{ missing }}")
    path = tmp_path / "out" / "report.html"
    disk.write_text(path, "before")
    with pytest.raises(UndefinedError):
        report.write(path, "one.html")
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]
