from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from training import costs
from training.costs import Answers, Costs, by_min_known, by_threshold, check, outcome, recommend, weights
from training.metrics import Flags, Floats

FIVE = Costs(wrong=5, review=0.1)
CUT = 0.98
"""What follows from `FIVE`."""

STEPS = st.integers(0, 20).map(lambda step: step / 20)
"""Few values, so that many are the same."""

PRICES = st.builds(Costs, wrong=st.floats(0.01, 100), review=st.floats(0, 100))


@st.composite
def some_answers(draw: st.DrawFn) -> Answers:
    """Any answers to 1 to 25 pictures, some of them of none of the classes."""
    rows = draw(
        st.lists(st.tuples(STEPS, STEPS, st.booleans(), st.booleans(), st.floats(0.1, 3)), min_size=1, max_size=25)
    )
    confidence, known, right, other, weight = map(np.array, zip(*rows, strict=True))
    return Answers(confidence, known, right & ~other, other, weight)


def answers_of(confidence: ArrayLike, right: ArrayLike, **more: Floats | Flags) -> Answers:
    """Answers about pictures of the classes, all known."""
    count = len(np.asarray(right))
    fields: dict[str, Any] = {
        "known": np.full(count, 0.9),
        "other": np.zeros(count, np.bool_),
        "weight": np.ones(count),
    } | more
    return Answers(confidence=np.array(confidence, np.float64), right=np.array(right, np.bool_), **fields)


def simulated(seed: int, count: int, sharpness: float = 1.0) -> Answers:
    """Answers of a model that is right as often as it says, if its sharpness is 1; with more it says too much."""
    generator = np.random.default_rng(seed)
    scores = np.abs(generator.normal(3, 2, count))
    right = generator.random(count) < 1 / (1 + np.exp(-scores))
    return answers_of(1 / (1 + np.exp(-sharpness * scores)), right)


def by_hand(answers: Answers, price: Costs, threshold: float, min_known: float) -> float:
    """The costs, picture by picture."""
    spent = 0.0
    for confidence, known, right, weight in zip(
        answers.confidence, answers.known, answers.right, answers.weight, strict=True
    ):
        is_accepted = confidence >= threshold and known >= min_known
        spent += weight * ((0 if right else price.wrong) if is_accepted else price.review)
    return 1000 * spent / float(answers.weight.sum())


@given(some_answers(), PRICES, STEPS, STEPS)
def test_curves_cost_what_adding_up_picture_by_picture_costs(
    answers: Answers, price: Costs, threshold: float, min_known: float
) -> None:
    for curve, pairs in (
        (by_threshold(answers, price, min_known), lambda cut: (cut, min_known)),
        (by_min_known(answers, price, threshold), lambda cut: (threshold, cut)),
    ):
        for cut, cost in zip(curve.cuts, curve.cost, strict=True):
            assert cost == pytest.approx(by_hand(answers, price, *pairs(cut)))


@given(some_answers(), PRICES, STEPS, st.floats(0, 1))
def test_no_threshold_is_cheaper_than_the_cheapest_cut(
    answers: Answers, price: Costs, min_known: float, threshold: float
) -> None:
    curve = by_threshold(answers, price, min_known)
    cheapest = by_hand(answers, price, curve.cheapest, min_known)
    assert cheapest == pytest.approx(curve.cost.min())
    assert cheapest <= by_hand(answers, price, threshold, min_known) + 1e-9 * (price.wrong + price.review) * 1000


@given(some_answers(), PRICES, STEPS, STEPS)
def test_outcome_counts_each_picture_once_and_costs_the_same(
    answers: Answers, price: Costs, threshold: float, min_known: float
) -> None:
    found = outcome(answers, price, threshold, min_known)
    assert found.accepted + found.held_back == len(answers.confidence)
    assert found.wrong <= found.accepted
    assert found.cost == pytest.approx(by_hand(answers, price, threshold, min_known))
    held_back = outcome(answers, price, None, min_known)
    assert held_back.accepted == 0
    assert held_back.cost == pytest.approx(1000 * price.review)


@given(st.lists(st.floats(0.5, 1), min_size=1, max_size=40), PRICES)
def test_no_cut_is_cheaper_than_chows_where_pictures_are_right_exactly_as_often_as_the_model_says(
    confidences: list[float], price: Costs
) -> None:
    confidence = np.array(confidences)
    answers = answers_of(
        np.tile(confidence, 2),
        np.repeat([True, False], len(confidence)),
        weight=np.concatenate([confidence, 1 - confidence]),
    )
    curve = by_threshold(answers, price, 0.0)
    assert by_hand(answers, price, price.chow, 0.0) <= curve.cost.min() + 1e-6 * (price.wrong + price.review)


@pytest.mark.parametrize(
    ("price", "expected"),
    [(FIVE, CUT), (Costs(1, 0.5), 0.5), (Costs(1, 1), 0.0), (Costs(1, 7), 0.0), (Costs(1, 0), 1.0)],
)
def test_chows_threshold_is_where_a_mistake_to_fear_costs_a_review(price: Costs, expected: float) -> None:
    assert price.chow == pytest.approx(expected)


def test_setting_of_a_calibrated_model_seldom_gives_way() -> None:
    verdicts = []
    for seed in range(60):
        answers = simulated(seed, 300)
        verdicts.append(check(answers.confidence, answers.right, answers.weight, CUT, CUT).stands)
    assert verdicts.count(False) <= 8  # 3 are to be expected, 9 or more come up once in 300 times


@pytest.mark.parametrize("sharpness", [2.5, 0.5])
def test_where_the_model_says_too_much_or_too_little_its_pictures_correct_the_threshold(sharpness: float) -> None:
    found = recommend(simulated(1, 1000, sharpness), FIVE, 0.93, 0.5)
    best = 1 / (1 + (0.02 / 0.98) ** sharpness)
    assert not found.check.stands
    recommended = found.recommended.threshold or 0.0
    assert (recommended > CUT) == (sharpness > 1)
    fresh = simulated(2, 20_000, sharpness)
    costs_of = {cut: outcome(fresh, FIVE, cut, 0.5).cost for cut in (CUT, best, recommended)}
    assert costs_of[recommended] < costs_of[CUT] - 0.8 * (costs_of[CUT] - costs_of[best])


def test_recommended_costs_less_on_other_pictures_than_what_looked_cheapest() -> None:
    fresh = simulated(99, 50_000)
    recommended, cheapest = [], []
    for seed in range(12):
        found = recommend(simulated(seed, 150), FIVE, 0.93, 0.5)
        recommended.append(outcome(fresh, FIVE, found.recommended.threshold, 0.5).cost)
        cheapest.append(outcome(fresh, FIVE, found.cheapest.threshold, 0.5).cost)
    assert np.mean(recommended) < np.mean(cheapest) - 2


@pytest.mark.parametrize("right", [True, False])
def test_few_pictures_that_are_all_alike_leave_the_setting_as_it_is(right: bool) -> None:  # noqa: FBT001
    found = recommend(answers_of([0.99, 0.97, 0.985], [right] * 3), FIVE, 0.93, 0.5)
    assert found.check.stands is right
    assert found.recommended.threshold == (CUT if right else found.check.recommended)


def test_very_many_right_answers_speak_for_accepting_more_but_nothing_that_was_not_seen() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.8, 1, 2000)
    found = recommend(answers_of(confidence, np.ones(2000)), FIVE, 0.93, 0.5)
    assert not found.check.stands
    assert found.recommended.threshold == pytest.approx(0.8, abs=0.01)


def with_others(known_of_others: float, share: float | None = None) -> Answers:
    """200 pictures of classes that are known well, and 50 that are of none of them."""
    generator = np.random.default_rng(3)
    ours = simulated(3, 200)
    other = np.repeat([False, True], [200, 50])
    spread = generator.normal(0, 0.6, 250)
    logits = np.where(other, np.log(known_of_others / (1 - known_of_others)), 4.0) + spread
    return Answers(
        confidence=np.concatenate([ours.confidence, np.full(50, 0.995)]),
        known=1 / (1 + np.exp(-logits)),
        right=np.concatenate([ours.right, np.zeros(50, np.bool_)]),
        other=other,
        weight=weights(other, share),
    )


def test_min_known_stays_where_it_parts_the_others_already() -> None:
    found = recommend(with_others(0.05), FIVE, 0.93, 0.5)
    assert found.known_check
    assert found.known_check.stands
    assert found.recommended.min_known == 0.5


def test_min_known_that_lets_others_through_is_raised_and_that_is_cheaper() -> None:
    answers = with_others(0.7)
    found = recommend(answers, FIVE, 0.93, 0.5)
    assert found.known_check
    assert not found.known_check.stands
    assert 0.8 < found.recommended.min_known < 0.98
    assert found.known_curve
    assert found.recommended.cost < outcome(answers, FIVE, CUT, 0.5).cost / 2
    assert found.saved.low > 0


def test_others_that_are_rare_in_the_traffic_count_less() -> None:
    answers = with_others(0.7, share=0.02)
    assert answers.weight[answers.other].sum() / answers.weight.sum() == pytest.approx(0.02)
    assert set(answers.weight[~answers.other]) == {1.0}
    rare, many = (outcome(one, FIVE, 0.0, 0.0).cost for one in (answers, with_others(0.7)))
    assert rare < many / 2
    assert recommend(with_others(0.7, share=0.0), FIVE, 0.93, 0.5).known_check is None


def test_nothing_is_said_of_min_known_where_no_picture_or_no_answer_tells() -> None:
    assert recommend(simulated(0, 50), FIVE, 0.93, 0.5).known_check is None
    silent = answers_of([0.99, 0.6], [True, False], known=np.full(2, np.inf), other=np.array([False, True]))
    found = recommend(silent, FIVE, 0.93, 0.5)
    assert (found.known_check, found.known_curve, found.recommended.min_known) == (None, None, 0.5)


def test_everything_is_accepted_where_a_review_costs_as_much_as_a_mistake() -> None:
    found = recommend(with_others(0.05), Costs(1, 1), 0.93, 0.5)
    assert (found.recommended.threshold, found.recommended.min_known) == (0.0, 0.0)
    assert found.recommended.held_back == 0


def test_nothing_but_certainty_is_accepted_where_reviews_cost_nothing() -> None:
    found = recommend(simulated(0, 60), Costs(5, 0), 0.93, 0.5)
    assert found.recommended.threshold == 1.0
    assert found.recommended.cost == 0


def test_between_two_thresholds_what_is_wrong_stands_beside_what_is_expected() -> None:
    found = recommend(answers_of([0.9, 0.95, 0.97, 0.99], [True] * 4), FIVE, 0.93, 0.5)
    assert found.cheapest.threshold == 0.9
    assert (found.between.pictures, found.between.wrong) == (3, 0)
    assert found.between.expected == pytest.approx(0.1 + 0.05 + 0.03)


def test_pictures_that_the_model_is_certain_of_lie_between_a_threshold_and_holding_all_back() -> None:
    found = recommend(answers_of([1.0, 1.0, 0.99, 0.5], [False] * 4), FIVE, 0.93, 0.5)
    assert found.cheapest.threshold is None
    assert found.between.pictures == found.recommended.accepted == found.between.wrong


def test_intervals_hold_their_value_and_are_the_same_each_time() -> None:
    first, second = (recommend(simulated(4, 150), FIVE, 0.93, 0.5) for _ in range(2))
    assert (first.saved, first.missed, first.cheapest_cut) == (second.saved, second.missed, second.cheapest_cut)
    for one in (first.saved, first.missed, first.cheapest_cut):
        assert one.low <= one.value <= one.high
    assert first.saved.value == pytest.approx(first.own.cost - first.recommended.cost)
    assert first.missed.value == pytest.approx(first.recommended.cost - first.cheapest.cost)


def test_interval_of_a_share_is_as_wide_as_theory_has_it() -> None:
    flags = np.arange(400) < 100
    (interval,) = costs.bootstrap(lambda weight: weight @ flags / weight.sum(), np.ones(400))
    deviation = np.sqrt(0.25 * 0.75 / 400)
    assert interval.low == pytest.approx(0.25 - 1.96 * deviation, abs=0.005)
    assert interval.high == pytest.approx(0.25 + 1.96 * deviation, abs=0.005)
