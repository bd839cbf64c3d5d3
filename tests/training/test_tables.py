"""The Markdown of a model card, as a reader of Markdown takes it."""

import re

from tests.training.predictions import LABELS, manifest_of, other, prediction
from tests.training.test_evaluate import FOLDER, WISHES
from training import tables
from training.evaluate import Beside, judge

CLASSES = [
    prediction("bicycle", "bicycle", 0.99, source="shop"),
    prediction("bicycle", "bicycle", 0.7, source="a | b"),
    prediction("motorcycle", "bicycle", 0.9, source="shop"),
]
OTHERS = [other("bicycle", 0.99, known=0.9, source="cars"), other("bicycle", 0.9, known=0.2, source="cats")]


def cells(text: str) -> list[list[str]]:
    """Rows of all tables, without the lines below their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def markdown(known: float | None = 0.9) -> str:
    classes = [prediction(one.label, one.predicted, one.confidence, known=known, source=one.source) for one in CLASSES]
    others = [
        other(one.predicted, one.confidence, known=one.known if known else None, source=one.source) for one in OTHERS
    ]
    metrics = judge(manifest_of(classes, LABELS), "test", classes, FOLDER, WISHES, Beside(others=others))
    return tables.to_markdown(metrics)


def test_every_class_and_source_has_a_row_with_shares_and_intervals() -> None:
    found = {(row[0], row[1]): row[2:] for row in cells(markdown())}
    assert found["bicycle", "all"][:2] == ["2", "100.0% (34.2%–100.0%)"]
    assert found["any", "all"] == ["3", "66.7% (20.8%–93.9%)", "100.0% (43.9%–100.0%)", "66.7% (20.8%–93.9%)",
                                   "50.0% (9.5%–90.5%)"]  # fmt: skip
    assert found["neither", "all"] == ["2", "–", "50.0% (9.5%–90.5%)", "50.0% (9.5%–90.5%)", "–"]


def test_all_rows_of_a_table_have_as_many_cells_whatever_a_source_is_called() -> None:
    rows = cells(markdown())
    assert [r"a \| b" in row for row in rows].count(True) == 1
    head = 0
    for place, row in enumerate(rows):
        if row[0] in ("class", "pictures", "short side, or source of others"):
            head = place
        assert len(row) == len(rows[head])


def test_how_well_known_tells_others_stands_there_by_size_and_source() -> None:
    found = {row[0]: row[1:] for row in cells(markdown())}
    assert found["every size"][:3] == ["3", "2", "0.7500"]
    assert found["up to 64 px"][:2] == ["3", "2"]
    assert found["cats"][2:] == ["1.0000", "100.0% (43.9%–100.0%)", "0.0% (0.0%–79.3%)", "0.0% (0.0%–79.3%)"]


def test_what_the_model_asks_for_and_takes_on_disk_stands_above() -> None:
    first = markdown().splitlines()[0]
    assert "threshold 0.8, min_known 0.5; 9,400,000 bytes on disk." in first


def test_a_model_that_tells_no_known_is_said_to_tell_none() -> None:
    assert "does not tell how surely a picture shows one of the classes" in markdown(known=None)
