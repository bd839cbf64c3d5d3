"""The error tree: what Lambda, Step Functions and the REST API make of it."""

import json
from http import HTTPStatus
from pathlib import Path

import pytest

from chalicelib import errors
from chalicelib.errors import SconesError

MACHINE = json.loads((Path(__file__).resolve().parents[2] / "statemachine.json").read_text())

STATUSES = {
    "BodyNotTaken": 415,
    "BodyTooLarge": 413,
    "EndpointBusy": 503,
    "EndpointUnavailable": 502,
    "EtagMissing": 428,
    "IdempotencyKeyReused": 422,
    "ImageNotFound": 404,
    "ImageTooLarge": 413,
    "InvalidImage": 422,
    "InvalidInference": 502,
    "InvalidRequest": 422,
    "MethodNotTaken": 405,
    "ModelFailed": 502,
    "NotNow": 409,
    "PageNotFound": 404,
    "RecordChanged": 412,
    "RecordNotFound": 404,
    "SettingsError": 500,
    "StorageBusy": 503,
    "ThresholdConfidenceNotMet": 500,
    "UnsupportedImage": 415,
}

TITLES = {
    "EndpointBusy": "The model did not answer",
    "EndpointUnavailable": "The model did not answer",
    "InvalidInference": "The model did not answer",
    "ModelFailed": "The model did not answer",
}
"""What a caller cannot tell apart and need not."""


def leaves(error: type[SconesError] = SconesError) -> list[type[SconesError]]:
    below = error.__subclasses__()
    return [leaf for one in below for leaf in leaves(one)] if below else [error]


EACH_LEAF = pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.__name__)


def test_every_leaf_has_a_name_of_its_own_since_step_functions_compares_names() -> None:
    assert sorted(leaf.__name__ for leaf in leaves()) == sorted(STATUSES)


@EACH_LEAF
def test_an_error_answers_with_the_status_that_callers_rely_on(leaf: type[SconesError]) -> None:
    assert leaf.status == STATUSES[leaf.__name__]
    assert isinstance(leaf.status, HTTPStatus)


@EACH_LEAF
def test_an_error_has_a_headline_for_a_person(leaf: type[SconesError]) -> None:
    assert leaf.title != SconesError.title
    assert leaf.title[0].isupper()
    assert not leaf.title.endswith(".")


def test_only_the_faults_of_the_endpoint_share_a_headline() -> None:
    own = [leaf.title for leaf in leaves() if leaf.__name__ not in TITLES]
    assert len(own) == len(set(own))
    assert {leaf.__name__: leaf.title for leaf in leaves(errors.EndpointError)} == TITLES


@EACH_LEAF
def test_a_problem_has_the_members_of_rfc_9457_and_no_other(leaf: type[SconesError]) -> None:
    assert leaf("What happened.").problem() == {
        "type": f"/problems/{leaf.__name__}",
        "title": leaf.title,
        "status": STATUSES[leaf.__name__],
        "detail": "What happened.",
    }


def test_a_problem_is_json() -> None:
    written = json.dumps(errors.RecordNotFound("There is no classification x.").problem())
    assert written == (
        '{"type": "/problems/RecordNotFound", "title": "No such classification", "status": 404, '
        '"detail": "There is no classification x."}'
    )


@EACH_LEAF
def test_the_tree_that_is_drawn_names_every_error(leaf: type[SconesError]) -> None:
    assert f"── {leaf.__name__} " in (errors.__doc__ or "")


def test_every_error_of_ours_that_the_state_machine_names_is_a_leaf() -> None:
    rules = [
        rule for state in MACHINE["States"].values() for rule in [*state.get("Retry", []), *state.get("Catch", [])]
    ]
    named = {name for rule in rules for name in rule["ErrorEquals"] if "." not in name}
    assert named
    assert named <= {leaf.__name__ for leaf in leaves()}
