import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training import drawings
from tests.training.captured import ALWAYS, line, read_lines, reading_of, record, said
from tests.training.pages import Page
from training import costs, threshold_report
from training.capture import Broken, Reading, Rules
from training.costs import Answers, Costs
from training.replay import OWN, Setting, by_model, last_answers, replay
from training.threshold_report import Findings, Pictures, Traffic

PRICE = Costs(wrong=5, review=0.1)
BICYCLE = drawings.encode(drawings.bicycle(64))


def answers(count: int = 80, others: int = 20, **changes: Any) -> Answers:
    """What a model in good order says."""
    generator = np.random.default_rng(0)
    confidence = 1 / (1 + np.exp(-np.abs(generator.normal(3, 2, count + others))))
    other = np.arange(count + others) >= count
    fields = {
        "confidence": confidence,
        "known": np.where(other, generator.beta(2, 8, count + others), generator.beta(8, 2, count + others)),
        "right": (generator.random(count + others) < confidence) & ~other,
        "other": other,
        "weight": np.ones(count + others),
    }
    return Answers(**fields | changes)


def findings_of(
    found: Answers,
    price: Costs = PRICE,
    what_ifs: Sequence[Setting] = (),
    reading: Reading | None = None,
    reviews: dict[str, str] | None = None,
    **about: Any,
) -> Findings:
    """Findings as the command makes them, of a model whose own thresholds are 0.93 and 0.5."""
    recommendation = costs.recommend(found, price, 0.93, 0.5)
    best = recommendation.recommended
    settings = [OWN, Setting("recommended", best.threshold, best.min_known), *what_ifs]
    traffic = None
    if reading:
        records = last_answers(reading.records)
        models = {name: replay(ours, settings, price, reviews or {}) for name, ours in by_model(records).items()}
        reviewed = None if reviews is None else sum(one.inference_id in reviews for one in records)
        traffic = Traffic("captured", ALWAYS, reading, records, models, reviewed)
    others = int(found.other.sum())
    fields: dict[str, Any] = {
        "model": "m1",
        "split": "validation",
        "classes": len(found.other) - others,
        "others": others,
        "others_share": None,
    }
    return Findings(
        Pictures(**fields | about),
        price,
        recommendation,
        [(one, costs.outcome(found, price, one.threshold or 0.93, one.min_known or 0.5)) for one in what_ifs],
        traffic,
    )


def page_of(findings: Findings, folder: Path) -> Page:
    threshold_report.write(folder / "report.html", findings)
    page = Page(folder / "report.html")
    page.check()
    return page


def test_report_stands_alone_and_shows_costs_coverage_and_known(tmp_path: Path) -> None:
    page = page_of(findings_of(answers(), what_ifs=[Setting("what if 0.9", 0.9)]), tmp_path)
    titles = [one.text for one in page.all("h3")]
    assert titles == [
        "What does a threshold cost?",
        "How much is accepted?",
        "What does it cost to ask for more known?",
    ]
    alt = page.images()[0].attributes["alt"]
    assert "the model's own 0.93" in alt
    assert "recommended 0.98" in alt
    assert "what if 0.9 0.9" in alt


def test_report_and_numbers_are_the_same_each_time(tmp_path: Path) -> None:
    findings = findings_of(answers(), reading=read_lines(line(picture=BICYCLE), rules=Rules(ALWAYS, keep=1)))
    for name in ("one", "two"):
        threshold_report.write(tmp_path / name, findings)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert json.dumps(threshold_report.summary(findings)) == json.dumps(threshold_report.summary(findings))


def test_what_differs_from_the_models_own_is_what_to_set() -> None:
    findings = findings_of(answers())
    assert findings.variables == {"CONFIDENCE_THRESHOLD": "0.98"}
    assert findings.lines == '"CONFIDENCE_THRESHOLD": "0.98"'
    assert findings_of(answers(), Costs(100, 7)).variables == {}
    assert findings_of(answers(), Costs(1, 1)).variables == {"CONFIDENCE_THRESHOLD": "0", "MIN_KNOWN": "0"}
    fine = findings_of(answers(), Costs(1_000_000, 9.0)).variables
    assert fine == {"CONFIDENCE_THRESHOLD": "0.999991"}


def test_nothing_to_set_is_told(tmp_path: Path) -> None:
    page = page_of(findings_of(answers(), Costs(100, 7)), tmp_path)
    assert "Nothing: the model's own thresholds are the recommended ones." in page.words()


def test_reasons_tell_the_rule_and_what_the_pictures_say() -> None:
    first, second, third, fourth, fifth = findings_of(answers()).reasons
    assert "from a confidence of 1 - 0.1/5 = 0.98 on (Chow's rule)" in first
    assert re.search(r"do not speak against that \(p = [\d.]+\)", second)
    assert "the model's own 0.5 for known" in third
    assert "On these very pictures" in fourth
    assert "Beside the model's own thresholds" in fifth
    too_sure = answers(1000, 0, confidence=np.full(1000, 0.985), right=np.arange(1000) % 10 > 0)
    assert "The pictures speak against that" in findings_of(too_sure).reasons[1]
    assert "less often than it says" in findings_of(too_sure).reasons[1]
    assert "without pictures of none of the classes" in findings_of(too_sure).reasons[2]
    assert "nothing is worth holding back" in findings_of(answers(), Costs(1, 2)).reasons[0]


def test_saving_that_is_none_is_not_called_one() -> None:
    sure = answers(40, 0, confidence=np.full(40, 0.95), right=np.ones(40, np.bool_))
    last = findings_of(sure).reasons[-1]
    assert "cost 97.50 (92.50 to 100.00) USD more" in last


def test_chows_rule_has_a_row_of_its_own_where_pictures_speak_against_it() -> None:
    assert "Chow's rule" not in findings_of(answers()).rows
    too_sure = answers(1000, 0, confidence=np.full(1000, 0.985), right=np.arange(1000) % 10 > 0)
    assert findings_of(too_sure).rows["Chow's rule"].threshold == 0.98


@pytest.mark.parametrize("known", [np.full(30, 0.1), np.full(30, np.inf)])
def test_report_is_made_where_nothing_can_be_accepted_or_nobody_tells_what_is_known(known: Any, tmp_path: Path) -> None:
    found = answers(30, 0, known=known, right=np.zeros(30, np.bool_))
    page = page_of(findings_of(found, reading=reading_of([record(known=None)])), tmp_path)
    assert len(page.images()) == 2
    content = threshold_report.summary(findings_of(found))
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_report_is_made_of_one_picture_and_of_certainty(tmp_path: Path) -> None:
    one = answers(1, 0, confidence=np.ones(1), right=np.ones(1, np.bool_))
    page_of(findings_of(one, reading=reading_of([record(confidence=1.0)])), tmp_path)


def test_least_sure_that_would_be_accepted_are_shown_with_the_rules_that_accept_them(tmp_path: Path) -> None:
    lines = [
        line("a", said(0.85), picture=BICYCLE, inference_id="first"),
        line("b", said(0.99), picture=BICYCLE, inference_id="second"),
    ]
    what_if = Setting("what if 0.82", 0.82)
    reading = read_lines(*lines, rules=Rules(ALWAYS, keep=5))
    page = page_of(findings_of(answers(), what_ifs=[what_if], reading=reading), tmp_path)
    first, second = [one.text for one in page.all("li")][-2:]
    assert "bicycle 0.850" in first
    assert "accepted by: the model's own; what if 0.82" in first
    assert "first" in first
    assert "accepted by: the model's own; recommended; what if 0.82" in second


def test_reviewed_pictures_have_a_column_where_somebody_looked(tmp_path: Path) -> None:
    reading = reading_of([record(0, inference_id="a", confidence=0.99), record(1, inference_id="b", confidence=0.99)])
    page = page_of(findings_of(answers(), reading=reading, reviews={"a": "bicycle", "b": "neither"}), tmp_path)
    assert "Right, of the reviewed" in page.words()
    assert "1 of 2" in page.words()
    assert "Right, of the reviewed" not in page_of(findings_of(answers(), reading=reading), tmp_path).words()
    nobody = findings_of(answers(), reading=reading, reviews={})
    assert "Nobody has reviewed any of these pictures." in nobody.remarks


def test_names_with_angle_brackets_and_broken_lines_are_shown_as_they_are(tmp_path: Path) -> None:
    reading = reading_of([record(model="<b>m</b>")], broken=[Broken("<i>:1", "no <JSON>")])
    findings = findings_of(answers(), reading=reading, model="<script>1</script>")
    words = page_of(findings, tmp_path).words()
    for one in ("<script>1</script>", "<b>m</b>", "<i>:1: no <JSON>"):
        assert one in words
    assert "Left out: 1 broken line, the first at <i>:1: no <JSON>." in findings.remarks
