"""The workflow as the page shows it: what a person waits for, taken from the definition, and nothing else."""

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from chalicelib.store import Status
from local.outline import outline

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"

Box = tuple[float, float, float, float]

STEPS = ["Serialize", "Classify", "Filter"]
ENDINGS = {
    "Accepted": "ACCEPTED",
    "ThresholdConfidenceNotMet": "REVIEW",
    "ClassificationFailed": "FAILED",
    "InvalidImage": "REJECTED",
}
WAYS = {
    ("Serialize", "Classify"),
    ("Classify", "Filter"),
    ("Filter", "Accepted"),
    ("Filter", "ThresholdConfidenceNotMet"),
    ("Serialize", "InvalidImage"),
    *((step, "ClassificationFailed") for step in STEPS),
}


@pytest.fixture
def machine() -> dict[str, Any]:
    definition: dict[str, Any] = json.loads((ROOT / "statemachine.json").read_text())
    return definition


def parsed(machine: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(outline(machine))  # noqa: S314 - our own


def states(picture: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {group.attrib["data-state"]: group for group in picture.iter(f"{SVG}g") if "data-state" in group.attrib}


def ways(picture: ElementTree.Element) -> dict[tuple[str, str], ElementTree.Element]:
    groups = [group for group in picture.iter(f"{SVG}g") if "data-from" in group.attrib]
    return {(group.attrib["data-from"], group.attrib["data-to"]): group for group in groups}


def boxes(picture: ElementTree.Element) -> dict[str, Box]:
    """Left, top, right and bottom of each state."""
    found = {}
    for name, group in states(picture).items():
        rectangle = group.find(f"{SVG}rect")
        assert rectangle is not None
        x, y, width, height = (float(rectangle.attrib[one]) for one in ("x", "y", "width", "height"))
        found[name] = (x, y, x + width, y + height)
    return found


def corners(way: ElementTree.Element) -> list[tuple[float, float]]:
    path = way.find(f"{SVG}path")
    assert path is not None
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.attrib["d"])]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def segments(way: ElementTree.Element) -> list[Box]:
    """The straight lines of a way, as boxes without width or height."""
    pairs = itertools.pairwise(corners(way))
    return [
        (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)) for (x0, y0), (x1, y1) in pairs if x0 == x1 or y0 == y1
    ]


def test_the_page_has_the_steps_and_the_endings_of_a_record(machine: dict[str, Any]) -> None:
    found = states(parsed(machine))
    assert {name: group.get("data-status") for name, group in found.items()} == dict.fromkeys(STEPS) | ENDINGS
    assert set(ENDINGS.values()) == set(Status) - {Status.PENDING, Status.REVIEWED}


def test_the_page_has_every_way_between_them(machine: dict[str, Any]) -> None:
    assert set(ways(parsed(machine))) == WAYS


def test_a_step_that_is_put_in_between_is_in_the_picture(machine: dict[str, Any]) -> None:
    changed = copy.deepcopy(machine)
    changed["States"]["Classify"]["Next"] = "Blur"
    changed["States"]["Blur"] = {**machine["States"]["Classify"], "Next": "Filter"}
    assert set(ways(parsed(changed))) == WAYS - {("Classify", "Filter")} | {
        ("Classify", "Blur"),
        ("Blur", "Filter"),
        ("Blur", "ClassificationFailed"),
    }


def test_what_runs_no_function_is_left_out_and_the_way_goes_on(machine: dict[str, Any]) -> None:
    changed = copy.deepcopy(machine)
    changed["States"]["Classify"]["Next"] = "Wait"
    changed["States"]["Wait"] = {"Type": "Wait", "Seconds": 1, "Next": "Filter"}
    assert set(ways(parsed(changed))) == WAYS


def test_steps_that_part_are_refused_by_name(machine: dict[str, Any]) -> None:
    machine["States"]["Serialize"]["Catch"].append({"ErrorEquals": ["Odd"], "Next": "Filter"})
    with pytest.raises(ValueError, match="Serialize leads to Classify, Filter, and only"):
        outline(machine)


def test_the_steps_are_one_row_and_the_endings_one_column(machine: dict[str, Any]) -> None:
    places = boxes(parsed(machine))
    assert [places[name][0] for name in STEPS] == sorted({places[name][0] for name in STEPS})
    assert len({places[name][1] for name in STEPS}) == 1
    assert len({places[name][0] for name in ENDINGS}) == 1


def test_nothing_overlaps_and_no_line_crosses_a_state(machine: dict[str, Any]) -> None:
    picture = parsed(machine)
    found = boxes(picture)
    for one, other in itertools.combinations(found.values(), 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    for way in ways(picture).values():
        for line, box in itertools.product(segments(way), found.values()):
            assert line[2] <= box[0] or box[2] <= line[0] or line[3] <= box[1] or box[3] <= line[1]


def test_lines_meet_only_where_they_begin_or_end_together(machine: dict[str, Any]) -> None:
    found = ways(parsed(machine))
    for (ends, one), (others, other) in itertools.combinations(found.items(), 2):
        if ends[0] == others[0] or ends[1] == others[1]:
            continue
        for line, another in itertools.product(segments(one), segments(other)):
            apart = line[2] < another[0] or another[2] < line[0] or line[3] < another[1] or another[3] < line[1]
            assert apart, f"{ends} and {others} cross"


def test_everything_is_inside_the_picture(machine: dict[str, Any]) -> None:
    picture = parsed(machine)
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    places = [corner for box in boxes(picture).values() for corner in (box[:2], box[2:])]
    places += [corner for way in ways(picture).values() for corner in corners(way)]
    assert all(0 < x < width and 0 < y < height for x, y in places)


def test_a_page_with_a_strict_policy_can_hold_it_many_times(machine: dict[str, Any]) -> None:
    drawn = outline(machine).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"style|\bid=|https?:|<script|<image|url\(|foreignObject", drawn)


def test_names_are_escaped(machine: dict[str, Any]) -> None:
    text = json.dumps(machine).replace('"Classify"', json.dumps("<b>&\"'"))
    assert "<b>&\"'" in states(parsed(json.loads(text)))


def test_the_same_definition_gives_the_same_bytes(machine: dict[str, Any]) -> None:
    assert outline(machine) == outline(copy.deepcopy(machine))


def test_the_picture_on_the_page_is_fresh(machine: dict[str, Any]) -> None:
    kept = (ROOT / "chalicelib" / "static" / "workflow.svg").read_text(encoding="utf-8")
    assert kept == outline(machine), "chalicelib/static/workflow.svg is out of date: run `python -m local diagram`."
