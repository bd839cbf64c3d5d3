"""InvokeEndpoint: what is asked, and what each answer means."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib import endpoint
from chalicelib.endpoint import Answer, classify, understand
from chalicelib.errors import EndpointBusy, EndpointError, EndpointUnavailable, InvalidInference, ModelFailed
from local.stack import Stack
from tests import conftest
from tests.conftest import FakeAws

LABELS = ("bicycle", "motorcycle")
OURS = {"labels": ["a", "b", "c"], "inferences": [0.1, 0.2, 0.7]}

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=5), below, max_size=4),
    max_leaves=8,
)


def ask() -> Answer:
    return classify("cyclops", b"\xff\xd8\xff picture", "image/jpeg", "0123abcd", LABELS)


def understood(answer: Any) -> Answer:
    return understand(json.dumps(answer).encode(), LABELS)


def test_our_own_answer_tells_all() -> None:
    told = {"known": 0.8, "threshold": 0.93, "min_known": 0.5, "model": "lite0-1"}
    assert understood(OURS | told) == Answer(("a", "b", "c"), (0.1, 0.2, 0.7), 0.8, 0.93, 0.5, "lite0-1")


@pytest.mark.parametrize("more", [{}, dict.fromkeys(("known", "threshold", "min_known", "model"))])
def test_what_our_own_answer_leaves_out_is_none(more: dict[str, None]) -> None:
    assert understood(OURS | more) == Answer(("a", "b", "c"), (0.1, 0.2, 0.7), None, None, None, None)


def test_the_bare_list_of_the_built_in_algorithm_goes_with_the_labels_of_the_stage() -> None:
    assert understand(b"[0.25, 0.75]", LABELS) == Answer(LABELS, (0.25, 0.75))


@pytest.mark.parametrize("value", [0, 1, 0.5])
@pytest.mark.parametrize("name", ["known", "threshold", "min_known"])
def test_a_fraction_may_be_anything_from_0_to_1(name: str, value: float) -> None:
    assert getattr(understood(OURS | {name: value}), name) == value


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf, 10**400, "high", [], {}])
@pytest.mark.parametrize("name", ["known", "threshold", "min_known"])
def test_a_fraction_that_is_none_is_refused_since_no_comparison_with_it_holds(name: str, value: Any) -> None:
    with pytest.raises(InvalidInference):
        understood(OURS | {name: value})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"true",
        b"5",
        b'"text"',
        b"{}",
        b"[[0.5, 0.5]]",
        b'["a"]',
        b"[null]",
        b"[1" + b"0" * 400 + b"]",
        b"[1" + b"0" * 5000 + b"]",
        b'{"labels": null, "inferences": []}',
        b'{"labels": ["a"]}',
        b'{"labels": ["a"], "inferences": {"a": 1}}',
        b'{"error": "out of memory"}',
        b"<html>Bad gateway</html>",
        b"\xff\xd8\xff\xe0",
        b"[0.5, 0.5",
        b"[" * 100_000,
        b'{"labels":' * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_are_no_probabilities_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInference, match="something else than probabilities"):
        understand(body, LABELS)


def test_a_refusal_quotes_the_beginning_of_the_answer_alone() -> None:
    with pytest.raises(InvalidInference) as refused:
        understand(b"<html>" + b"x" * 100_000, LABELS)
    assert "<html>" in str(refused.value)
    assert len(str(refused.value)) < 400


def assert_answer_or_our_error(body: bytes) -> None:
    try:
        answer = understand(body, LABELS)
    except InvalidInference:
        return
    assert all(isinstance(label, str) for label in answer.labels)
    assert all(isinstance(one, float) for one in answer.inferences)
    assert answer.model is None or isinstance(answer.model, str)
    for fraction in (answer.known, answer.threshold, answer.min_known):
        assert fraction is None or 0 <= fraction <= 1


@given(answer=ANY_JSON)
@example(answer=math.nan)
@example(answer=[True, False])
def test_any_json_is_understood_or_refused(answer: Any) -> None:
    assert_answer_or_our_error(json.dumps(answer).encode())


@given(
    answer=st.fixed_dictionaries(
        {"labels": ANY_JSON | st.lists(st.text(max_size=3)), "inferences": ANY_JSON | st.lists(st.floats(0, 1))},
        optional=dict.fromkeys(("known", "threshold", "min_known", "model"), ANY_JSON),
    )
)
def test_any_values_in_our_own_answer_are_understood_or_refused(answer: dict[str, Any]) -> None:
    assert_answer_or_our_error(json.dumps(answer).encode())


@given(body=st.binary(max_size=40))
def test_any_bytes_are_understood_or_refused(body: bytes) -> None:
    assert_answer_or_our_error(body)


def test_the_endpoint_gets_the_picture_its_type_and_its_id(fake_aws: FakeAws) -> None:
    fake_aws.says(conftest.Answer(body=b"[0.25, 0.75]"))
    assert ask() == Answer(LABELS, (0.25, 0.75))
    (asked,) = fake_aws.asked
    assert (asked.method, asked.path) == ("POST", "/endpoints/cyclops/invocations")
    assert asked.body == b"\xff\xd8\xff picture"
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert headers["content-type"] == "image/jpeg"
    assert headers["accept"] == "application/json"
    assert headers["x-amzn-sagemaker-inference-id"] == "0123abcd"


@pytest.mark.parametrize(
    ("original_status", "expected"),
    [
        (400, InvalidInference),
        (413, InvalidInference),
        (415, InvalidInference),
        (429, EndpointBusy),
        (500, ModelFailed),
        (502, ModelFailed),
        (503, EndpointBusy),
        (504, EndpointBusy),
        (0, ModelFailed),
        (None, ModelFailed),
    ],
)
def test_an_error_of_the_model_is_told_by_the_status_of_its_container(
    fake_aws: FakeAws, original_status: int | None, expected: type[EndpointError]
) -> None:
    more = {} if original_status is None else {"OriginalStatusCode": original_status}
    fake_aws.refuses("ModelError", 424, **more)
    with pytest.raises(EndpointError, match="cyclops") as raised:
        ask()
    assert type(raised.value) is expected


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ThrottlingException", 400, EndpointBusy),
        ("ModelNotReadyException", 429, EndpointBusy),
        ("ServiceUnavailable", 503, EndpointBusy),
        ("InternalFailure", 500, EndpointBusy),
        ("InternalDependencyException", 530, EndpointBusy),
        ("ValidationError", 400, EndpointUnavailable),
        ("AccessDeniedException", 403, EndpointUnavailable),
        ("ExpiredTokenException", 403, EndpointUnavailable),
    ],
)
def test_an_error_of_sagemaker_is_told_by_its_code_and_not_tried_again_here(
    fake_aws: FakeAws, code: str, status: int, expected: type[EndpointError]
) -> None:
    fake_aws.refuses(code, status)
    with pytest.raises(EndpointError, match=f"cyclops.*{code}") as raised:
        ask()
    assert type(raised.value) is expected
    assert len(fake_aws.asked) == 1


def test_an_answer_of_something_in_between_counts_as_busy(fake_aws: FakeAws) -> None:
    fake_aws.says(conftest.Answer(503, b"<html>Service Unavailable</html>", {"Content-Type": "text/html"}))
    with pytest.raises(EndpointBusy):
        ask()


@pytest.mark.parametrize(
    "answer",
    [
        conftest.Answer(seconds=2, body=b"[0.5, 0.5]"),
        conftest.Answer(body=None),
        conftest.Answer(body=b"[0.5", length=10),
    ],
    ids=["too slow", "hangs up", "hangs up in the middle"],
)
def test_an_answer_that_does_not_come_counts_as_busy(fake_aws: FakeAws, answer: conftest.Answer) -> None:
    fake_aws.says(answer)
    with pytest.raises(EndpointBusy, match="cyclops is out of reach or too slow"):
        ask()
    assert len(fake_aws.asked) == 1


@pytest.mark.usefixtures("no_aws")
def test_an_endpoint_out_of_reach_counts_as_busy() -> None:
    with pytest.raises(EndpointBusy, match="out of reach"):
        ask()


def test_an_answer_that_is_slow_is_given_up_before_the_function_times_out(stack: Stack) -> None:
    timeout = stack.functions.config.scope("dev", "classify").lambda_timeout
    assert 1 < endpoint.READ_TIMEOUT < timeout - 5


def test_the_embedded_endpoint_is_missed_under_another_name(stack: Stack) -> None:
    with pytest.raises(EndpointUnavailable, match=r"Endpoint cyclops of account [0-9]+ not found"):
        ask()


def test_the_embedded_endpoint_refuses_what_is_no_picture(stack: Stack) -> None:
    with pytest.raises(InvalidInference, match="refused the picture"):
        classify(stack.settings.endpoint_name, b"no picture", "image/jpeg", "0123abcd", LABELS)


@pytest.mark.parametrize("answer", [{"labels": "ab", "inferences": [1, 0]}, {"labels": ["a", "b"], "inferences": "10"}])
def test_text_in_the_place_of_a_list_is_not_read_letter_by_letter(answer: object) -> None:
    with pytest.raises(InvalidInference):
        understand(json.dumps(answer).encode(), ("a", "b"))
