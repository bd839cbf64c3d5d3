"""The picture of the workflow: whole, well-formed, and always the same."""

import copy
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from local.diagram import draw

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"

Box = tuple[float, float, float, float]

LOOP: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {
        "Ask": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage",
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Lost"}],
            "Next": "Answered",
        },
        "Answered": {
            "Type": "Choice",
            "Choices": [
                {"Not": {"Variable": "$.answer", "IsPresent": True}, "Next": "Wait"},
                {"Variable": "$.answer", "BooleanEquals": True, "Next": "Yes"},
            ],
            "Default": "Lost",
        },
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Ask"},
        "Yes": {"Type": "Succeed"},
        "Lost": {"Type": "Fail", "Error": "LOST"},
    },
}
"""What the workflow has not, and might have one day: a way back."""


@pytest.fixture
def machine() -> dict[str, Any]:
    definition: dict[str, Any] = json.loads((ROOT / "statemachine.json").read_text())
    return definition


@pytest.fixture(params=["workflow", "loop"])
def any_machine(request: pytest.FixtureRequest, machine: dict[str, Any]) -> dict[str, Any]:
    return machine if request.param == "workflow" else LOOP


def parsed(machine: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(draw(machine))  # noqa: S314 - our own


def words(element: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in element.iter(f"{SVG}text")]


def boxes(picture: ElementTree.Element) -> dict[str, Box]:
    """Left, top, right and bottom of each state."""
    found = {}
    for group in picture.iter(f"{SVG}g"):
        if name := group.get("data-state"):
            rectangle = group.find(f"{SVG}rect")
            assert rectangle is not None
            x, y, width, height = (float(rectangle.attrib[one]) for one in ("x", "y", "width", "height"))
            found[name] = (x, y, x + width, y + height)
    return found


def edges(picture: ElementTree.Element) -> dict[tuple[str, str], ElementTree.Element]:
    groups = [group for group in picture.iter(f"{SVG}g") if group.get("data-from")]
    found = {(group.attrib["data-from"], group.attrib["data-to"]): group for group in groups}
    assert len(found) == len(groups), "two lines between the same two states"
    return found


def corners(edge: ElementTree.Element) -> list[tuple[float, float]]:
    path = edge.find(f"{SVG}path")
    assert path is not None
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.attrib["d"])]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def transitions(machine: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Source, target, and the error that leads there, if it is one."""
    for name, state in machine["States"].items():
        onward = [state.get("Next"), state.get("Default"), *(rule["Next"] for rule in state.get("Choices", []))]
        yield from ((name, target, "") for target in onward if target)
        for catcher in state.get("Catch", []):
            yield from ((name, catcher["Next"], error) for error in catcher["ErrorEquals"])


def test_every_state_is_in_the_picture_with_its_name(any_machine: dict[str, Any]) -> None:
    picture = parsed(any_machine)
    assert set(boxes(picture)) == set(any_machine["States"])
    assert set(any_machine["States"]) <= set(words(picture))


def test_every_transition_is_in_the_picture_and_nothing_more(any_machine: dict[str, Any]) -> None:
    drawn = edges(parsed(any_machine))
    assert set(drawn) == {(source, target) for source, target, _ in transitions(any_machine)}
    for source, target, error in transitions(any_machine):
        assert error in (drawn[source, target].findtext(f"{SVG}title") or "")


def test_a_line_that_only_errors_take_is_dashed(any_machine: dict[str, Any]) -> None:
    plain = {(source, target) for source, target, error in transitions(any_machine) if not error}
    for ends, edge in edges(parsed(any_machine)).items():
        assert ("caught" in edge.attrib["class"].split()) == (ends not in plain)


def test_the_main_path_is_one_straight_column(machine: dict[str, Any]) -> None:
    states, name, lefts = machine["States"], "Serialize", set()
    places = boxes(parsed(machine))
    while name:
        lefts.add(places[name][0])
        name = states[name].get("Next")
    assert lefts == {min(left for left, *_ in places.values())}


def test_no_two_states_overlap(any_machine: dict[str, Any]) -> None:
    for one, other in itertools.combinations(boxes(parsed(any_machine)).values(), 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


def test_no_line_crosses_a_state(any_machine: dict[str, Any]) -> None:
    picture = parsed(any_machine)
    for ends, edge in edges(picture).items():
        for (x0, y0), (x1, y1) in itertools.pairwise(corners(edge)):
            for name, (left, top, right, bottom) in boxes(picture).items():
                beside = max(x0, x1) <= left or min(x0, x1) >= right or max(y0, y1) <= top or min(y0, y1) >= bottom
                assert beside, f"{ends} crosses {name}"


def test_everything_is_inside_the_picture(any_machine: dict[str, Any]) -> None:
    picture = parsed(any_machine)
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    places = [corner for box in boxes(picture).values() for corner in (box[:2], box[2:])]
    places += [corner for edge in edges(picture).values() for corner in corners(edge)]
    assert all(0 < x < width and 0 < y < height for x, y in places)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("Serialize", "Lambda serialize"),
        ("RecordReview", "DynamoDB updateItem REVIEW"),
        ("OpenRecord", "DynamoDB putItem"),
        ("ThresholdConfidenceNotMet", "THRESHOLD_CONFIDENCE_NOT_MET"),
    ],
)
def test_a_state_says_what_it_does(machine: dict[str, Any], state: str, says: str) -> None:
    group = next(group for group in parsed(machine).iter(f"{SVG}g") if group.get("data-state") == state)
    assert says in words(group)


def test_a_long_list_of_errors_is_cut_short_in_the_label_alone(machine: dict[str, Any]) -> None:
    edge = edges(parsed(machine))["Classify", "RecordFailed"]
    assert words(edge) == ["EndpointBusy, EndpointUnavailable +4"]
    assert "InvalidInference" in (edge.findtext(f"{SVG}title") or "")


def test_a_new_state_changes_the_picture(machine: dict[str, Any]) -> None:
    changed = copy.deepcopy(machine)
    changed["States"]["Filter"]["Next"] = "Tell"
    changed["States"]["Tell"] = {"Type": "Pass", "Next": "RecordAccepted"}
    assert set(boxes(parsed(changed))) == {*machine["States"], "Tell"}
    assert draw(changed) != draw(machine)


def test_names_are_escaped() -> None:
    name = """<b>&"'"""
    machine = {"StartAt": name, "Comment": "a < b", "States": {name: {"Type": "Fail", "Error": "<&>"}}}
    picture = parsed(machine)
    assert set(boxes(picture)) == {name}
    assert {name, "<&>", "a < b"} <= set(words(picture))


def test_the_same_definition_gives_the_same_bytes(machine: dict[str, Any]) -> None:
    assert draw(machine) == draw(copy.deepcopy(machine))


def test_the_picture_needs_nothing_from_elsewhere(machine: dict[str, Any]) -> None:
    drawn = draw(machine).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|<script|<image|@import|foreignObject", drawn)


def test_the_picture_in_the_documentation_is_fresh(machine: dict[str, Any]) -> None:
    kept = (ROOT / "docs" / "workflow.svg").read_text(encoding="utf-8")
    assert kept == draw(machine), "docs/workflow.svg is out of date: run `python -m local diagram`."
