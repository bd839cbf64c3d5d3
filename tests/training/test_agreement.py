"""How a model does on reviewed pictures: figures made by hand, and how they are told."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.training.pages import Page
from tests.training.predictions import DIGEST, LABELS, draw, manifest_of, prediction
from tests.training.reviewing import review
from training import agreement, evaluation_report
from training.agreement import Json
from training.errors import EndpointFailed
from training.evaluate import Beside, Subject, Wishes, judge, to_json
from training.layout import Manifest, NearDuplicate, Review, StagedPicture
from training.metrics import wilson
from training.predict import Prediction

Case = tuple[Prediction, Review]


def case(name: str, shown: str, now: tuple[str, float, float], before: tuple[str, float, float], **more: Any) -> Case:
    """A reviewed picture: what a person said it shows; label, confidence and known of the models now and before."""
    label, confidence, known = now
    path = f"reviewed/{shown}/{name}.png"
    said: dict[str, Any] = dict(zip(("label", "confidence", "known"), before, strict=True))
    return prediction(shown, label, confidence, known=known, path=path, labels=LABELS), review(**said | more)


CASES = [
    case("same", "bicycle", ("bicycle", 0.7, 0.9), ("bicycle", 0.6, 0.9)),
    case("won", "bicycle", ("bicycle", 0.95, 0.9), ("motorcycle", 0.7, 0.9)),
    case("lost", "motorcycle", ("bicycle", 0.6, 0.9), ("motorcycle", 0.7, 0.9), model="old-2"),
    case("worst", "motorcycle", ("bicycle", 0.9, 0.9), ("motorcycle", 0.7, 0.9)),
    case("seen", "neither", ("bicycle", 0.9, 0.2), ("bicycle", 0.7, 0.8)),
    case("unseen", "neither", ("motorcycle", 0.99, 0.6), ("motorcycle", 0.99, 0.1), model=None),
]


def together(cases: Sequence[Case], **more: Any) -> Manifest:
    """A data set of a few test pictures and these."""
    staged = [StagedPicture(one.path, one.label, "reviewed", DIGEST) for one, _ in cases]
    reviews = {one.path: found for one, found in cases} | {"train/bicycle/x.png": review(by="ben")}
    manifest = manifest_of(TESTS, reviews=reviews, reviewed_share=0.5, **more)
    manifest.pictures.extend(staged)
    return manifest


TESTS = [prediction("bicycle", "bicycle", 0.99), prediction("motorcycle", "motorcycle", 0.98)]


@pytest.fixture(scope="module")
def reviewed() -> Json:
    alike = [
        NearDuplicate(CASES[0][0].path, "train/bicycle/x.png", 0.01, same_label=True),
        NearDuplicate(TESTS[0].path, "train/bicycle/x.png", 0.01, same_label=True),
    ]
    return agreement.judge(together(CASES, near_duplicates=alike), [one for one, _ in CASES])


def share(count: int, total: int) -> Json:
    low, high = wilson(count, total)
    return {"value": count / total if total else None, "low": low, "high": high, "count": count, "total": total}


def test_every_key_is_documented_and_every_documented_key_is_there(reviewed: Json) -> None:
    assert re.findall(r"^\| `(\w+)` \|", agreement.__doc__ or "", re.MULTILINE) == list(reviewed)


def test_people_are_agreed_with_or_not_before_and_now(reviewed: Json) -> None:
    assert (reviewed["before"]["agrees"], reviewed["now"]["agrees"]) == (share(3, 4), share(2, 4))
    assert (reviewed["before"]["neither_seen"], reviewed["now"]["neither_seen"]) == (share(1, 2), share(1, 2))


def test_all_had_been_held_back_and_what_is_accepted_now_may_be_wrong(reviewed: Json) -> None:
    assert (reviewed["before"]["held_back"], reviewed["now"]["held_back"]) == (share(6, 6), share(3, 6))
    assert (reviewed["before"]["accepted_right"], reviewed["now"]["accepted_right"]) == (share(0, 0), share(1, 3))


def test_it_counts_what_it_knows_of_the_pictures(reviewed: Json) -> None:
    assert (reviewed["pictures"], reviewed["trained_on"], reviewed["near_duplicates"]) == (6, 1, 1)
    assert reviewed["models"] == {"": 1, "old-1": 4, "old-2": 1}
    assert reviewed["sha256"] == together(CASES).digest("reviewed")


def test_what_is_wrongly_accepted_comes_first_and_what_stayed_is_not_there(reviewed: Json) -> None:
    names = [Path(one["path"]).stem for one in reviewed["changed"]]
    assert names == ["unseen", "worst", "lost", "won", "seen"]
    assert reviewed["changed"][0] == {
        "path": "reviewed/neither/unseen.png",
        "label": "neither",
        "by": "ann",
        "before": {"right": True, "label": "motorcycle", "confidence": 0.99, "known": 0.1, "is_known": False,
                   "accepted": False},
        "now": {"right": False, "label": "motorcycle", "confidence": 0.99, "known": 0.6, "is_known": True,
                "accepted": True},
    }  # fmt: skip


def judged(cases: Sequence[Case], **more: Any) -> tuple[Manifest, Json]:
    manifest = together(cases, **more)
    wishes = Wishes(min_accuracy=0.5, precision=0.9)
    beside = Beside(reviewed=[one for one, _ in cases])
    return manifest, judge(manifest, "test", TESTS, Subject("ab" * 32, None), wishes, beside)


def test_neither_accuracy_nor_floor_nor_baseline_count_them() -> None:
    (_, with_them), (_, without) = judged(CASES), judged([])
    assert without.pop("reviewed") is None
    assert with_them.pop("reviewed")["pictures"] == 6
    assert to_json(with_them) == to_json(without)


def test_two_models_in_one_judgement_are_refused() -> None:
    other, found = CASES[0]
    changed = prediction(other.label, other.predicted, 0.7, path=other.path, model="another")
    with pytest.raises(EndpointFailed, match="Several models answered"):
        judged([(changed, found)])


def report(tmp_path: Path, cases: Sequence[Case], **more: Any) -> Page:
    manifest, metrics = judged(cases, **more)
    draw(tmp_path, [*TESTS, *(one for one, _ in cases)])
    evaluation_report.write(tmp_path / "report.html", metrics, TESTS, tmp_path, manifest)
    page = Page(tmp_path / "report.html")
    page.check()
    return page


def test_the_report_shows_before_and_now_and_says_what_that_is_worth(tmp_path: Path) -> None:
    page = report(tmp_path, CASES)
    words = page.words()
    assert "6 that were kept out of training, beside 1 that are trained on." in words
    assert "any other looks better beside it than it is" in words
    rows = [" ".join(row.text.split()) for row in page.all("tr")]
    assert "names the class the person named 3 of 4 30.1% to 95.4% 2 of 4 15.0% to 85.0%" in rows
    assert "sees that it is none of the classes 1 of 2 9.5% to 90.5% 1 of 2 9.5% to 90.5%" in rows
    assert "holds it back 6 of 6 61.0% to 100.0% 3 of 6 18.8% to 81.2%" in rows
    assert "right, of the accepted – 1 of 3 6.1% to 79.2%" in rows
    assert "Held back by a model without a name (1), old-1 (4), old-2 (1)." in words


def test_changed_decisions_are_shown_with_their_pictures(tmp_path: Path) -> None:
    page = report(tmp_path, CASES)
    words = page.words()
    assert "Decided otherwise: 5. What is wrongly accepted comes first." in words
    assert (
        "before: motorcycle 0.990, known 0.100, held back, perhaps none of the classes now: motorcycle 0.990" in words
    )
    assert "before: motorcycle 0.700, known 0.900, held back now: bicycle 0.950, known 0.900, accepted" in words
    assert len([one for one in page.images() if one.attributes["alt"].startswith("reviewed as ")]) == 5


def test_where_nothing_changed_it_says_so_and_hostile_words_stay_words(tmp_path: Path) -> None:
    hostile = case("same", "bicycle", ("bicycle", 0.7, 0.9), ("bicycle", 0.6, 0.9), model="<script>alert(1)</script>")
    still_none = case("none", "neither", ("bicycle", 0.9, 0.1), ("motorcycle", 0.9, 0.2), model="old")
    words = report(tmp_path, [hostile, still_none]).words()
    assert "Each is decided as before." in words
    assert "Held back by <script>alert(1)</script> (1), old (1)." in words


def test_without_reviewed_pictures_the_report_does_not_speak_of_them(tmp_path: Path) -> None:
    assert "What people have decided" not in report(tmp_path, []).words()


def test_a_manifest_with_reviews_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = together(CASES)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert json.loads((tmp_path / "manifest.json").read_text())["counts"]["reviewed"]["neither"] == 2
