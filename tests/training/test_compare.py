import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom

from chalicelib.store import NEITHER
from tests.training.predictions import LABELS, prediction
from training import compare, paired
from training.compare import Change, Opinion, Pair, Subject, Verdict
from training.errors import EndpointFailed
from training.layout import StagedPicture
from training.material import UNKNOWN, Kind, Material
from training.predict import Prediction

A, B = Subject("a", "a" * 64), Subject("b", "b" * 64)


def counted(only_a: int, only_b: int, both: int = 90, total: int = 100) -> paired.Paired:
    neither = total - both - only_a - only_b
    table = ((True, True), both), ((True, False), only_a), ((False, True), only_b), ((False, False), neither)
    return paired.paired([pair for pair, count in table for _ in range(count)])


def material(predictions: list[Prediction], **more: Any) -> Material:
    pictures = [StagedPicture(one.path, one.label, "test", "0") for one in predictions]
    return Material(Kind.TEST, "data", Path("data"), LABELS, pictures, "1" * 64, **more)


def judge(*both: tuple[Prediction, Prediction], **more: Any) -> Any:
    of_a, of_b = ([replace(pair[which], path=f"{number}.png") for number, pair in enumerate(both)] for which in (0, 1))
    return json.loads(compare.to_json(compare.judge(material(of_a, **more), A, B, of_a, of_b)))


RIGHT = prediction("bicycle", "bicycle", 0.9)
WRONG = prediction("bicycle", "motorcycle", 0.9)
UNSURE = prediction("bicycle", "bicycle", 0.6)
WRONG_UNSURE = prediction("bicycle", "motorcycle", 0.6)
STRANGE = prediction("bicycle", "bicycle", 0.9, known=0.1)


@pytest.mark.parametrize(
    ("table", "ends"),
    [
        # both, A alone, B alone, neither; Newcombe (1998), table III, and Cavo et al. (2012) by R's contingencytables
        ((36, 2, 12, 0), (0.0569, 0.3404)),
        ((59, 16, 6, 80), (-0.1186, -0.0046)),
    ],
)
def test_the_interval_is_that_of_published_examples(
    table: tuple[int, int, int, int], ends: tuple[float, float]
) -> None:
    assert paired.interval(*table) == pytest.approx(ends, abs=5e-5)


def test_the_interval_holds_the_difference_stays_within_bounds_and_turns_with_the_models() -> None:
    for both, only_a, only_b in product(range(7), repeat=3):
        neither = 6 - (both + only_a + only_b) % 7
        total = both + only_a + only_b + neither
        low, high = paired.interval(both, only_a, only_b, neither)
        if total:
            assert -1 <= low <= (only_b - only_a) / total <= high <= 1
        assert paired.interval(both, only_b, only_a, neither) == pytest.approx((-high, -low))
    assert paired.interval(0, 0, 0, 0) == (-1, 1)


def test_mcnemars_exact_test_calls_equal_models_different_in_one_of_20_cases_at_most() -> None:
    assert paired.mcnemar(0, 0) == 1
    assert paired.mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert paired.mcnemar(9, 1) == paired.mcnemar(1, 9)
    for count in range(1, 60):
        significant = [lead for lead in range(count + 1) if paired.mcnemar(count - lead, lead) <= paired.SIGNIFICANCE]
        assert sum(binom.pmf(lead, count, 0.5) for lead in significant) <= paired.SIGNIFICANCE


def test_reach_says_how_small_a_difference_so_many_pictures_could_show() -> None:
    found = paired.reach(counted(4, 6, both=180, total=200))
    assert (found.total, found.least, found.discordant, found.margin) == (200, 6, 10, 8)  # 9 to 1, but not 8 to 2
    assert found.likely is not None
    assert binom.sf(5, 200, found.likely) == pytest.approx(paired.POWER)
    few = paired.reach(counted(1, 2, both=90, total=100))
    assert few.margin is None
    assert paired.reach(counted(1, 2, both=2, total=5)).likely is None
    words = paired.could_show(vars(found))
    assert words.startswith("The least difference in accuracy that 200 pictures could show is 6 of them, 3.0%.")
    assert "right on 10: there one has to lead by 8" in words
    assert "too few" in paired.could_show(vars(few))
    assert "no difference could be shown" in paired.could_show(vars(paired.reach(counted(0, 0, 1, 1))))


SAME, MORE, FEWER = counted(2, 2), counted(0, 8), counted(8, 0)
ONE_MORE, ONE_FEWER = counted(0, 1), counted(1, 0)


@pytest.mark.parametrize(
    ("right", "decided_rightly", "wrongly_accepted", "verdict"),
    [
        (MORE, SAME, SAME, Verdict.BETTER),
        (SAME, MORE, SAME, Verdict.BETTER),
        (SAME, SAME, FEWER, Verdict.BETTER),
        (MORE, MORE, ONE_FEWER, Verdict.BETTER),
        (SAME, SAME, SAME, Verdict.NO_DIFFERENCE),
        (SAME, SAME, ONE_MORE, Verdict.NO_DIFFERENCE),
        (MORE, MORE, ONE_MORE, Verdict.MIXED),
        (SAME, FEWER, FEWER, Verdict.MIXED),
        (MORE, FEWER, SAME, Verdict.MIXED),
        (FEWER, SAME, SAME, Verdict.WORSE),
        (FEWER, MORE, FEWER, Verdict.WORSE),
        (SAME, SAME, MORE, Verdict.WORSE),
        (MORE, MORE, MORE, Verdict.WORSE),
        (SAME, FEWER, SAME, Verdict.WORSE),
    ],
)
def test_the_verdict_follows_the_rule(
    right: paired.Paired, decided_rightly: paired.Paired, wrongly_accepted: paired.Paired, verdict: Verdict
) -> None:
    found, reasons = compare.verdict(right, decided_rightly, wrongly_accepted)
    assert found == verdict
    assert len(reasons) == 3


def test_reasons_say_in_words_what_was_found() -> None:
    _, reasons = compare.verdict(FEWER, SAME, MORE)
    assert reasons == [
        "B names the right class on 90 of 100 pictures, A on 98: significantly fewer (p = 0.0078).",
        "B decides rightly on 92 of 100 pictures, A on 92: no significant difference (p = 1).",
        "B wrongly accepts 98 of 100 pictures, A 90: significantly more (p = 0.0078).",
    ]
    assert compare.verdict(counted(60, 0, 10), SAME, SAME)[1][0].endswith("significantly fewer (p <0.001).")


def opinion(label: str = "bicycle", reason: str | None = None, *, right: bool | None = True) -> Opinion:
    return Opinion(label, 0.9, 0.9, reason, right)


LOW, STRANGER = "LOW_CONFIDENCE", "UNKNOWN_OBJECT"
ERROR = opinion("motorcycle", right=False)


@pytest.mark.parametrize(
    ("a", "b", "change"),
    [
        (opinion(), opinion(), None),
        (ERROR, ERROR, None),
        (opinion(), ERROR, Change.WRONGLY_ACCEPTED),
        (opinion("motorcycle", LOW, right=False), ERROR, Change.WRONGLY_ACCEPTED),
        (opinion(), opinion("motorcycle", LOW, right=False), Change.WRONG),
        (opinion(reason=LOW), opinion("motorcycle", LOW, right=False), Change.WRONG),
        (ERROR, opinion("house", right=False), Change.ANOTHER_CLASS),
        (opinion(right=None), opinion("motorcycle", right=None), Change.ANOTHER_CLASS),
        (ERROR, opinion(), Change.RIGHT),
        (ERROR, opinion(reason=STRANGER), Change.RIGHT),
        (ERROR, opinion("motorcycle", LOW, right=False), Change.NOT_WRONGLY_ACCEPTED),
        (opinion(), opinion(reason=LOW), Change.HELD_BACK),
        (opinion(right=None), opinion(reason=LOW, right=None), Change.HELD_BACK),
        (opinion(reason=LOW), opinion(), Change.ACCEPTED),
        (opinion(reason=LOW), opinion(reason=STRANGER), Change.ANOTHER_REASON),
        (opinion(reason=LOW, right=None), opinion("motorcycle", LOW, right=None), None),
    ],
)
def test_what_becomes_of_a_picture_has_one_name(a: Opinion, b: Opinion, change: Change | None) -> None:
    assert Pair("p.png", "bicycle", a, b).change == change


def test_each_figure_counts_the_pictures_that_it_is_about() -> None:
    other = prediction(NEITHER, "bicycle", 0.9)
    nobody_knows = replace(RIGHT, label=UNKNOWN)
    content = judge((RIGHT, WRONG), (UNSURE, RIGHT), (replace(other, known=0.1), other), (nobody_knows, nobody_knows))
    counts = {name: (one["a"], one["b"], one["total"]) for name, one in content["figures"].items()}
    assert counts == {
        "right": (2, 1, 2),
        "decided_rightly": (2, 1, 3),
        "wrongly_accepted": (0, 2, 3),
        "held_back": (2, 0, 4),
    }
    assert [content["data"][name] for name in ("pictures", "with_truth", "others")] == [4, 3, 1]
    assert content["figures"]["right"]["only_a"] == 1
    assert content["figures"]["right"]["difference"] == -0.5


def test_changed_decisions_come_in_the_order_in_which_to_look_at_them_with_what_they_were() -> None:
    content = judge((RIGHT, RIGHT), (RIGHT, UNSURE), (WRONG, RIGHT), (RIGHT, WRONG), (RIGHT, WRONG_UNSURE))
    assert [(one["path"], one["change"]) for one in content["changed"]] == [
        ("3.png", "wrongly accepted now"),
        ("4.png", "right before, wrong now"),
        ("2.png", "wrong before, right now"),
        ("1.png", "held back now"),
    ]
    assert content["changed"][0]["label"] == "bicycle"
    assert content["changed"][3]["b"]["reason"] == "LOW_CONFIDENCE"
    assert {"was": "accepted, right", "now": "held back, LOW_CONFIDENCE, wrong", "count": 1} in content["moves"]


def test_where_nobody_knows_what_pictures_show_changes_are_told_and_nothing_is_judged() -> None:
    right, strange = (replace(one, label=UNKNOWN) for one in (RIGHT, STRANGE))
    content = judge((right, strange), (right, strange), (right, right))
    assert content["verdict"]["verdict"] == "not judged"
    assert content["moves"] == [{"was": "accepted as bicycle", "now": "held back, UNKNOWN_OBJECT", "count": 2}]
    assert content["changed"][0]["label"] is None
    assert content["figures"]["right"]["difference"] is None


@pytest.mark.parametrize(
    ("by", "judged"), [("older", True), (RIGHT.model, False), (None, False)], ids=["neither", "one", "nobody knows"]
)
def test_pictures_that_one_of_the_two_was_unsure_of_are_no_judgement_between_them(
    by: str | None, *, judged: bool
) -> None:
    content = judge((UNSURE, RIGHT), held_back_by={"0.png": by})
    assert (content["verdict"]["verdict"] != "not judged") == judged


def test_an_endpoint_in_the_middle_of_an_update_is_not_compared() -> None:
    with pytest.raises(EndpointFailed, match="Several models answered behind b"):
        judge((RIGHT, RIGHT), (RIGHT, replace(RIGHT, model="another")))


def test_the_same_answers_give_the_same_bytes_however_long_they_took() -> None:
    slow = replace(WRONG, milliseconds=99.0)
    assert judge((RIGHT, WRONG)) == judge((RIGHT, slow))
    content = judge((RIGHT, WRONG))
    assert content["a"] == {
        "name": "a",
        "head_sha256": "a" * 64,
        "archive_sha256": None,
        "endpoint": None,
        "version": RIGHT.model,
        "threshold": 0.8,
        "min_known": 0.5,
    }
