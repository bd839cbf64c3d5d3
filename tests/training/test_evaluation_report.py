"""The report, read as a browser reads it."""

import base64
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.training.pages import Page
from tests.training.predictions import LABELS, PICTURE, draw, manifest_of, other, prediction
from training import evaluation_charts, evaluation_report, report
from training.breakdown import Json
from training.errors import PicturesError
from training.evaluate import Beside, Subject, Wishes, judge
from training.layout import NearDuplicate
from training.predict import Prediction

MANY = (
    "bicycle", "pickup_truck", "<script>alert(1)</script>", 'a "quoted" & rather long name', "Straßenbahnhaltestelle",
    "lawn_mower", "streetcar", "tank", "tractor", "train",
)  # fmt: skip


def some(labels: Sequence[str] = LABELS, each: int = 12, **changes: Any) -> list[Prediction]:
    """Predictions, every fifth of them wrong."""
    chance = random.Random(0)
    return [
        prediction(
            label,
            labels[(number + (place % 5 == 4)) % len(labels)],
            chance.uniform(0.55, 1),
            labels=labels,
            path=f"test/{number}/{place:03}.png",
            **{"known": chance.uniform(0.3, 1)} | changes,
        )
        for number, label in enumerate(labels)
        for place in range(each)
    ]


def written(tmp_path: Path, predictions: Sequence[Prediction], labels: Sequence[str] = LABELS, **more: Any) -> Page:
    draw(tmp_path, predictions)
    manifest = manifest_of(predictions, labels, **more)
    evaluation_report.write(tmp_path / "report.html", judged(predictions, labels), predictions, tmp_path, manifest)
    return Page(tmp_path / "report.html")


def judged(predictions: Sequence[Prediction], labels: Sequence[str] = LABELS, **wishes: float) -> Json:
    asked = Wishes(**{"min_accuracy": 0.5, "precision": 0.95} | wishes)
    return judge(manifest_of(predictions, labels), "test", predictions, Subject("ab" * 32, None), asked)


def test_a_report_is_one_page_that_stands_alone(tmp_path: Path) -> None:
    page = written(tmp_path, some())
    page.check()
    policy = next(one for one in page.all("meta") if "http-equiv" in one.attributes)
    assert policy.attributes["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_it_says_what_was_measured(tmp_path: Path) -> None:
    predictions = some()
    metrics, words = judged(predictions), written(tmp_path, predictions).words()
    assert "Good enough: at least 50% had to be right." in words
    for share in (metrics["accuracy"], metrics["coverage"]["kept"], metrics["coverage"]["kept_accuracy"]):
        assert report.percent(share["value"]) in words
    assert f"a person is asked about {metrics['coverage']['held_back']}" in words
    assert f"95 % interval {report.percent(metrics['accuracy']['low'])} to" in words
    assert f"{metrics['calibration']['ece']:.1%}" in words
    assert metrics["data"]["sha256"] in words
    wished = metrics["wished"]
    assert f"95% right of the accepted is {wished['threshold']:.6g}: {wished['kept']['count']} of 24 would" in words


def test_confusion_stands_in_the_table_row_by_row(tmp_path: Path) -> None:
    page = written(tmp_path, [*some(), prediction("bicycle", "motorcycle", 0.7)])
    text = " ".join(next(one for one in page.all("table") if one.attributes.get("class") == "confusion").text.split())
    assert text == "Confusion matrix Shows bicycle motorcycle bicycle 10 3 motorcycle 2 10"


def test_every_mistake_is_shown_with_its_picture(tmp_path: Path) -> None:
    predictions = some(known=0.9)
    page = written(tmp_path, predictions)
    wrong = [one for one in predictions if not one.is_right]
    back = [one for one in predictions if not one.is_kept]
    thumbnails = [one for one in page.images() if one.attributes["src"].startswith("data:image/png")]
    assert len(wrong) > 0 < len(back)
    assert len(thumbnails) == len(wrong) + len(back)
    assert [one.attributes["alt"] for one in thumbnails][: len(wrong)] == [
        f"{one.label}, taken for {one.predicted}" for one in sorted(wrong, key=lambda one: -one.confidence)
    ]
    for one in (*wrong, *back):
        assert one.path in page.words()
    shown = base64.b64decode(thumbnails[0].attributes["src"].partition("base64,")[2])
    assert shown == base64.b64decode(report.thumbnail_uri(PICTURE).partition("base64,")[2])


def test_of_many_held_back_the_least_sure_are_shown_and_the_number_is_told(tmp_path: Path) -> None:
    predictions = some(each=40, threshold=1.0)
    page = written(tmp_path, predictions)
    assert f"Held back: {len(predictions)}. The least sure come first; 24 are shown." in page.words()
    least = min(predictions, key=lambda one: one.confidence)
    assert sum("held back" in one.attributes["alt"] for one in page.images()) == report.MOST_PICTURES
    assert least.path in page.words()


def test_reasons_for_holding_back_are_told_apart(tmp_path: Path) -> None:
    predictions = [
        prediction("bicycle", "bicycle", 0.9, known=0.2),
        prediction("bicycle", "bicycle", 0.7),
        prediction("bicycle", "bicycle", 0.6, known=0.1),
    ]
    items = [one.text for one in written(tmp_path, predictions).all("li")]
    assert ["perhaps none" in one for one in items] == [True, False, True]
    assert ["not sure which" in one for one in items] == [False, True, False]


def test_ten_classes_with_long_and_hostile_names_fit_and_stay_text(tmp_path: Path) -> None:
    page = written(tmp_path, some(MANY), MANY)
    page.check()
    for label in MANY:
        assert sum(one.text.strip() == label for one in page.all("th")) == 4
    assert len(page.all("td")) > len(MANY) ** 2
    assert "120 pictures of 10 classes" in page.words()


def test_hostile_file_and_model_names_stay_text(tmp_path: Path) -> None:
    hostile = "test/bicycle/<img src=x onerror=alert(1)>.png"
    predictions = [prediction("bicycle", "motorcycle", 0.9, path=hostile, model="</title><script>alert(1)</script>")]
    page = written(tmp_path, predictions)
    page.check()
    assert hostile in page.words()
    assert page.one("title").text == "Evaluation of </title><script>alert(1)</script>"


def test_without_a_mistake_and_without_doubt_there_is_nothing_to_show(tmp_path: Path) -> None:
    page = written(tmp_path, [prediction("bicycle", "bicycle", 0.99), prediction("motorcycle", "motorcycle", 1.0)])
    page.check()
    assert "Not one picture is taken for something else." in page.words()
    assert "Every picture is accepted." in page.words()


def test_where_nothing_is_known_nothing_is_accepted_and_no_threshold_is_named(tmp_path: Path) -> None:
    page = written(tmp_path, some(known=0.1))
    page.check()
    assert "nothing is accepted" in page.words()
    assert "No threshold reaches 95% right of the accepted." in page.words()


def test_where_all_that_is_accepted_is_wrong_the_chart_says_so(tmp_path: Path) -> None:
    page = written(tmp_path, [prediction("bicycle", "motorcycle", 0.9), prediction("bicycle", "bicycle", 0.6)])
    (coverage,) = (one.attributes["alt"] for one in page.images() if "coverage" in one.attributes["alt"])
    assert "50.0% are accepted, of which 100.0% are wrong." in coverage


def test_under_the_floor_the_verdict_says_so(tmp_path: Path) -> None:
    predictions = some()
    draw(tmp_path, predictions)
    metrics = judged(predictions, min_accuracy=0.995)
    evaluation_report.write(tmp_path / "report.html", metrics, predictions, tmp_path, manifest_of(predictions))
    assert "Not good enough: at least 99.5% had to be right." in Page(tmp_path / "report.html").words()


def test_near_duplicates_are_told_where_there_are_some(tmp_path: Path) -> None:
    predictions = some()
    draw(tmp_path, predictions)
    manifest = manifest_of(
        predictions, near_duplicates=[NearDuplicate(predictions[0].path, "train/1", 0, same_label=True)]
    )
    metrics = judge(manifest, "test", predictions, Subject(None, "endpoint"), Wishes(0.5, 0.9))
    evaluation_report.write(tmp_path / "report.html", metrics, predictions, tmp_path, manifest)
    assert "Without near-duplicates" in Page(tmp_path / "report.html").words()
    assert "Without near-duplicates" not in written(tmp_path, predictions).words()


def test_a_picture_that_has_gone_meanwhile_is_told(tmp_path: Path) -> None:
    predictions = [prediction("bicycle", "motorcycle", 0.9)]
    with pytest.raises(PicturesError, match="cannot be read"):
        evaluation_report.write(
            tmp_path / "report.html", judged(predictions), predictions, tmp_path, manifest_of(predictions)
        )


def luminance(colour: Sequence[float]) -> float:
    """WCAG's relative luminance of a colour with parts from 0 to 1."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("matrix", [[[7, 0], [0, 9]], [[0, 7], [9, 0]], [[99, 1], [1, 99]], [[1, 1], [0, 0]]])
def test_numbers_in_the_confusion_can_be_read_and_every_mistake_be_seen(matrix: list[list[int]]) -> None:
    ink = luminance([int(report.INK[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    for row in evaluation_report.shades(matrix):
        for cell in row:
            found = re.fullmatch(r"rgba\((\d+), (\d+), (\d+), (\d\.\d\d)\)", cell.colour)
            assert found
            *parts, alpha = map(float, found.groups())
            ground = luminance([1 - alpha + alpha * part / 255 for part in parts])
            assert (ground + 0.05) / (ink + 0.05) >= 4.5
            assert (1 + 0.05) / (ground + 0.05) >= 1.1


OTHERS = [
    other("bicycle", 0.95, known=0.9, source="cars", path="test/neither/sure.png"),
    other("bicycle", 0.85, known=0.8, source="cars", path="test/neither/less.png"),
    other("motorcycle", 0.99, known=0.1, source="cats", path="test/neither/seen.png"),
]


def written_beside(tmp_path: Path, predictions: Sequence[Prediction], others: Sequence[Prediction]) -> Page:
    """The report on classes and others of a split."""
    draw(tmp_path, [*predictions, *others])
    manifest = manifest_of([*predictions, *others])
    beside = Beside(others=others)
    metrics = judge(manifest, "test", predictions, Subject("ab" * 32, None), Wishes(0.5, 0.95), beside)
    evaluation_report.write(tmp_path / "report.html", metrics, predictions, tmp_path, manifest, beside)
    page = Page(tmp_path / "report.html")
    page.check()
    return page


def rows_of(page: Page) -> list[str]:
    return [" ".join(one.text.split()) for one in page.all("tr")]


def test_figures_stand_by_class_and_source(tmp_path: Path) -> None:
    predictions = [
        prediction("bicycle", "bicycle", 0.9, source="shop"),
        prediction("bicycle", "motorcycle", 0.9, source="street"),
        prediction("motorcycle", "motorcycle", 0.9, source="street"),
    ]
    page = written_beside(tmp_path, predictions, OTHERS)
    rows = rows_of(page)
    assert any(row.startswith("bicycle street 1 0.0%") for row in rows)
    assert any(row.startswith("any class all 3 66.7%") for row in rows)
    assert any(row.startswith("neither cars 2 – 100.0%") for row in rows)
    (chart,) = (one.attributes["alt"] for one in page.images() if "by class and source" in one.attributes["alt"])
    assert "bicycle, street: 0.0% of 1 right" in chart
    assert "neither, cars: 0.0% of 2 held back; neither, cats: 100.0% of 1 held back" in chart


def test_others_that_are_accepted_are_shown_the_surest_first(tmp_path: Path) -> None:
    page = written_beside(tmp_path, some(known=0.9), OTHERS)
    alts = [one.attributes["alt"] for one in page.images()]
    assert alts.count("None of the classes, accepted as bicycle") == 2
    words = page.words()
    assert words.index("test/neither/sure.png") < words.index("test/neither/less.png")
    assert "test/neither/seen.png" not in words
    assert "Of 3 pictures that show none of the classes 2 are accepted as one, 66.7%" in words


def test_how_well_known_tells_others_stands_in_words_and_in_a_chart(tmp_path: Path) -> None:
    page = written_beside(tmp_path, some(known=0.85), OTHERS)
    rows = rows_of(page)
    assert any(row.startswith("of every size 24 3 0.6667 100.0%") for row in rows)
    assert any(row.startswith("others of cats 24 1 1.0000") for row in rows)
    (chart,) = (one.attributes["alt"] for one in page.images() if "Histograms of known" in one.attributes["alt"])
    assert "needed is 0.5. bicycle: 12 of 12 pass; motorcycle: 12 of 12 pass; cars: 2 of 2 others pass; " in chart
    assert "cats: 0 of 1 others pass" in chart


def test_many_sources_are_put_together_in_the_chart_and_stand_apart_in_the_table(tmp_path: Path) -> None:
    many = [
        other("bicycle", 0.5, source=f"source-{number:02}", path=f"test/neither/{number}.png") for number in range(40)
    ]
    page = written_beside(tmp_path, some(), many)
    (chart,) = (one.attributes["alt"] for one in page.images() if "Histograms of known" in one.attributes["alt"])
    assert chart.count("others pass") == evaluation_charts.MOST_SOURCES - len(LABELS)
    assert "all smaller sources: 0 of 27 others pass" in chart
    assert sum(row.startswith("neither source-") for row in rows_of(page)) == 40


def test_a_model_that_tells_no_known_is_said_to_tell_none(tmp_path: Path) -> None:
    others = [other("bicycle", 0.95, known=None)]
    page = written_beside(tmp_path, some(known=None), others)
    words = page.words()
    assert "This model does not tell how surely a picture shows one of the classes at all" in words
    assert "Of 1 pictures that show none of the classes 1 are accepted as one" in words
    assert not any("Histograms of known" in one.attributes["alt"] for one in page.images())


def test_a_split_without_others_says_that_nobody_can_tell(tmp_path: Path) -> None:
    words = written(tmp_path, some()).words()
    assert "The test split holds no pictures that show none of the classes, so nobody can tell" in words


def test_selective_accuracy_and_reasons_stand_in_words(tmp_path: Path) -> None:
    predictions = [prediction("bicycle", "bicycle", 0.9), prediction("motorcycle", "bicycle", 0.7, known=0.1)]
    words = written(tmp_path, predictions).words()
    assert "Leaving “known” aside, 1 of 2 reach the model's threshold, of which 1 are right, 100.0%." in words
    assert "Held back as perhaps none of the classes: 1; as not sure enough which: 0." in words
    assert "100% of the pictures 50.0%." in words


def test_the_chart_of_coverage_marks_the_models_threshold_and_what_is_wished(tmp_path: Path) -> None:
    page = written(tmp_path, some())
    (chart,) = (one for one in page.images() if one.attributes["alt"].startswith("Error against coverage"))
    svg = base64.b64decode(chart.attributes["src"].partition("base64,")[2]).decode()
    for comment in ("the model's threshold, 0.8", "95% right", "the smallest that reaches it"):
        assert f"<!-- {comment}" in svg


def test_a_class_without_pictures_is_judged_and_shown_as_one_of_which_nothing_is_known(tmp_path: Path) -> None:
    bicycles = [one for one in some(known=None) if one.label == "bicycle"]
    metrics = judged(bicycles)
    assert metrics["classes"][1]["recall"]["value"] is None
    assert [row["label"] for row in metrics["by_source"]] == ["bicycle", None]
    page = written(tmp_path, bicycles)
    page.check()
    assert "motorcycle" in page.words()
