"""The judgement: every key of metrics.json against figures made by hand."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.predictions import LABELS, manifest_of, other, prediction
from training import drift, evaluate
from training.breakdown import Json
from training.errors import EndpointFailed
from training.evaluate import Beside, Subject, Wishes, judge, to_json
from training.layout import FORMAT_VERSION, NearDuplicate
from training.metrics import wilson
from training.predict import Prediction

FOLDER = Subject("ab" * 32, None, 9_400_000)
WISHES = Wishes(min_accuracy=0.75, precision=0.9)

PREDICTIONS = [
    prediction("bicycle", "bicycle", 0.99),
    prediction("bicycle", "bicycle", 0.9),
    prediction("bicycle", "motorcycle", 0.7, known=0.3),
    prediction("bicycle", "motorcycle", 0.85),
    prediction("motorcycle", "motorcycle", 0.95),
    prediction("motorcycle", "motorcycle", 0.8),
    prediction("motorcycle", "motorcycle", 0.6),
    prediction("motorcycle", "motorcycle", 0.97, known=0.1),
]


@pytest.fixture(scope="module")
def metrics() -> Json:
    alike = [NearDuplicate(PREDICTIONS[0].path, "train/bicycle/1.png", 0.01, same_label=True)]
    return judge(manifest_of(PREDICTIONS, near_duplicates=alike), "test", PREDICTIONS, FOLDER, WISHES)


def share(count: int, total: int) -> Json:
    low, high = wilson(count, total)
    return {"value": count / total, "low": low, "high": high, "count": count, "total": total}


def test_every_key_is_documented_and_every_documented_key_is_there(metrics: Json) -> None:
    documented = re.findall(r"^\| `(\w+)` \|", evaluate.__doc__ or "", re.MULTILINE)
    assert documented == list(metrics)


def test_model_and_data_are_named(metrics: Json) -> None:
    assert metrics["version"] == FORMAT_VERSION
    assert metrics["model"] == {
        "version": "lite0-ridge-0123456789ab", "head_sha256": "ab" * 32, "endpoint": None, "bytes": 9_400_000
    }  # fmt: skip
    data = manifest_of(PREDICTIONS).digest("test")
    assert metrics["data"] == {
        "labels": list(LABELS), "split": "test", "pictures": 8, "others": 0, "sha256": data, "near_duplicates": 1
    }  # fmt: skip


def test_accuracy_counts_all_pictures_and_once_more_without_near_duplicates(metrics: Json) -> None:
    assert metrics["accuracy"] == share(6, 8)
    assert metrics["accuracy_without_near_duplicates"] == share(5, 7)


def test_rows_of_the_confusion_are_the_true_classes(metrics: Json) -> None:
    assert metrics["confusion"] == [[2, 2], [0, 4]]
    bicycle, motorcycle = metrics["classes"]
    assert bicycle == {
        "label": "bicycle", "support": 4, "predicted": 2, "precision": share(2, 2), "recall": share(2, 4)
    }  # fmt: skip
    assert (motorcycle["precision"], motorcycle["recall"]) == (share(4, 6), share(4, 4))


def test_calibration_is_what_it_is_by_hand(metrics: Json) -> None:
    calibration = metrics["calibration"]
    of_the_true = [0.99, 0.9, 0.3, 0.15, 0.95, 0.8, 0.6, 0.97]
    assert calibration["nll"] == pytest.approx(-sum(map(math.log, of_the_true)) / 8)
    assert calibration["brier"] == pytest.approx(sum(2 * (1 - one) ** 2 for one in of_the_true) / 8)
    # of 15 bins: 0.6 | 0.7 | 0.8 | 0.85 | 0.9 | 0.95, 0.97, 0.99
    assert [one["count"] for one in calibration["bins"] if one["count"]] == [1, 1, 1, 1, 1, 3]
    assert calibration["ece"] == pytest.approx((0.4 + 0.7 + 0.2 + 0.85 + 0.1 + 0.09) / 8)


def test_coverage_follows_threshold_and_known(metrics: Json) -> None:
    coverage = metrics["coverage"]
    assert (coverage["threshold"], coverage["min_known"]) == (0.8, 0.5)
    assert (coverage["kept"], coverage["kept_accuracy"], coverage["held_back"]) == (share(5, 8), share(4, 5), 3)
    assert coverage["curve"][:2] == [
        {"threshold": 0.6, "kept": 6, "right": 5}, {"threshold": 0.8, "kept": 5, "right": 4}
    ]  # fmt: skip
    assert coverage["reasons"] == {"UNKNOWN_OBJECT": 2, "LOW_CONFIDENCE": 1}
    assert (coverage["sure"], coverage["sure_accuracy"]) == (share(6, 8), share(5, 6))
    assert [one["accuracy"] for one in coverage["surest"]] == [share(5, 6), share(5, 7), share(6, 8), share(6, 8)]
    assert metrics["wished"] == {"precision": 0.9, "threshold": 0.9, "kept": share(3, 8), "accuracy": share(3, 3)}


def test_baseline_is_what_monitor_reads(metrics: Json) -> None:
    baseline = drift.Baseline.parse(json.loads(to_json(metrics)))
    assert (baseline.labels, baseline.held_back, baseline.total) == ({"bicycle": 2, "motorcycle": 6}, 3, 8)
    assert set(baseline.histograms) == {"confidence", "known", "brightness", "short_side"}
    assert all(sum(one.counts) == 8 for one in baseline.histograms.values())
    short_side = baseline.histograms["short_side"]
    assert short_side.counts[short_side.edges.index(32)] == 8


def test_surest_mistakes_and_least_sure_pictures_come_first(metrics: Json) -> None:
    assert [one["confidence"] for one in metrics["mistakes"]] == [0.85, 0.7]
    assert set(metrics["mistakes"][0]) == {"path", "label", "predicted", "confidence"}
    assert [one.confidence for one in evaluate.held_back(PREDICTIONS)] == [0.6, 0.7, 0.97]


def test_the_same_answers_give_the_same_text_however_long_they_took(metrics: Json) -> None:
    slower = [prediction(one.label, one.predicted, one.confidence, known=one.known, milliseconds=99.0)
              for one in PREDICTIONS]  # fmt: skip
    again = judge(manifest_of(slower), "test", slower, FOLDER, WISHES)
    plain = judge(manifest_of(PREDICTIONS), "test", PREDICTIONS, FOLDER, WISHES)
    assert to_json(again) == to_json(plain)
    assert json.loads(to_json(metrics)) == metrics


@given(st.integers(1, 60).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_exactly_the_floor_is_enough_and_one_picture_less_is_not(pair: tuple[int, int]) -> None:
    right, total = pair
    predictions = [prediction("bicycle", "bicycle", 0.9)] * right
    predictions += [prediction("bicycle", "motorcycle", 0.9)] * (total - right)

    def passes(floor: float) -> bool:
        metrics = judge(manifest_of(predictions[:1]), "test", predictions, FOLDER, Wishes(floor, 0.9))
        return bool(metrics["floor"]["passed"])

    assert passes(right / total)
    assert not passes((right + 1) / total)


def test_a_model_that_does_not_tell_what_is_known_has_no_baseline_of_it() -> None:
    predictions = [prediction(one.label, one.predicted, one.confidence, known=None) for one in PREDICTIONS]
    metrics = judge(manifest_of(predictions), "test", predictions, Subject(None, "endpoint"), WISHES)
    assert metrics["baseline"]["known"] is None
    assert metrics["coverage"]["kept"]["count"] == 6
    assert metrics["model"]["endpoint"] == "endpoint"


OTHERS = [other("bicycle", 0.99), other("motorcycle", 0.9, known=0.7), other("bicycle", 0.7, known=0.8)]


def test_others_tell_what_is_let_through_and_change_nothing_else() -> None:
    manifest = manifest_of([*PREDICTIONS, *OTHERS])
    with_them = judge(manifest, "test", PREDICTIONS, FOLDER, WISHES, Beside(others=OTHERS))
    without = judge(manifest, "test", PREDICTIONS, FOLDER, WISHES)
    assert with_them["neither"]["accepted"] == share(1, 3)
    assert [one["predicted"] for one in with_them["neither"]["mistakes"]] == ["motorcycle"]
    assert with_them["by_source"][-1]["label"] == "neither"
    assert (with_them["data"]["pictures"], with_them["data"]["others"]) == (8, 3)
    for key in ("accuracy", "classes", "confusion", "calibration", "coverage", "wished", "floor", "baseline"):
        assert with_them[key] == without[key]


def test_median_and_nearly_slowest_answer_are_told_of_all_pictures() -> None:
    times = [prediction("bicycle", "bicycle", 0.9, milliseconds=float(one)) for one in range(1, 20)]
    slowest = other("bicycle", 0.9, milliseconds=20.0)
    timing = evaluate.timing(times, Beside(others=[slowest]))
    assert timing["median_ms"] == 10.5
    assert timing["p95_ms"] == pytest.approx(19.05)


def test_of_three_classes_one_without_pictures_has_no_recall() -> None:
    labels = ("bicycle", "house", "motorcycle")
    predictions = [
        prediction("bicycle", "bicycle", 0.9, labels=labels),
        prediction("bicycle", "house", 0.5, labels=labels),
        prediction("motorcycle", "motorcycle", 0.7, labels=labels),
    ]
    metrics = judge(manifest_of(predictions, labels), "test", predictions, FOLDER, WISHES)
    assert metrics["confusion"] == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert [one["recall"]["value"] for one in metrics["classes"]] == [0.5, None, 1.0]
    assert metrics["calibration"]["brier"] == pytest.approx(
        ((0.1**2 + 2 * 0.05**2) + (0.75**2 + 0.5**2 + 0.25**2) + (0.3**2 + 2 * 0.15**2)) / 3
    )


def test_probabilities_rounded_to_0_cost_much_but_not_everything() -> None:
    predictions = [prediction("bicycle", "motorcycle", 1.0)]
    metrics = judge(manifest_of(predictions), "test", predictions, FOLDER, WISHES)
    assert metrics["calibration"]["nll"] == pytest.approx(-math.log(5e-7), rel=1e-4)


@pytest.mark.parametrize("change", [{"model": "other"}, {"threshold": 0.7}, {"min_known": 0.4}, {"model": None}])
def test_two_models_are_not_judged_as_one(change: Json) -> None:
    predictions: list[Prediction] = [*PREDICTIONS, prediction("bicycle", "bicycle", 0.5, **change)]
    with pytest.raises(EndpointFailed, match=r"Several models answered: .*try again when it is over"):
        judge(manifest_of(predictions), "test", predictions, FOLDER, WISHES)
