"""The page of one picture: why it stands where it stands."""

import importlib
import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from chalicelib import store
from chalicelib.settings import Settings
from chalicelib.store import Record, Status
from local.stack import Stack
from tests.browser.conftest import Visit, Watch


def why(record: Record) -> str:
    return f"#/classifications/{record.id}"


def row(page: Page, table: str, head: str) -> Any:
    """The row of a table with this head."""
    rows = page.get_by_role("table", name=table).get_by_role("row")
    return rows.filter(has=page.get_by_role("rowheader", name=head))


def test_it_shows_scores_thresholds_model_and_where_the_picture_is(drop: Callable[..., Record], visit: Visit) -> None:
    record = drop("bicycle")
    page = visit(why(record))
    expect(page.get_by_role("heading", level=1)).to_have_text(record.s3_key.removeprefix("inbox/"))
    expect(page.locator(".detail-said")).to_contain_text("Accepted bicycle")
    score = row(page, "How sure the model is", "bicycle")
    expect(score).to_contain_text(f"needs {100 * (record.threshold or 0):.1f} %")
    expect(row(page, "How sure the model is", "any of these")).to_contain_text(
        f"needs {100 * (record.min_known or 0):.1f} %"
    )
    for told in (record.id, record.s3_bucket, record.s3_key, record.version_id, record.model):
        expect(page.locator(".facts")).to_contain_text(str(told))
    expect(page.get_by_role("img", name=record.s3_key.removeprefix("inbox/"), exact=True)).to_be_visible()


def test_it_shows_each_step_with_its_time(drop: Callable[..., Record], visit: Visit) -> None:
    page = visit(why(drop("house")))
    for step in ("Waited", "Serialize", "Classify", "Filter"):
        expect(row(page, "The steps and their times", step)).to_contain_text(re.compile(r"\d\d:\d\d:\d\d\.\d{3}.*\d s"))
    expect(page.get_by_role("table", name="The steps and their times").get_by_role("row")).to_have_count(5)


def test_a_step_that_was_tried_again_is_there_again(drop: Callable[..., Record], stack: Stack, visit: Visit) -> None:
    """The record's steps, in the order entered, as a retried step leaves them."""
    record = drop("bicycle")
    page = visit(None)

    def again(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        told["steps"].insert(2, told["steps"][1])
        route.fulfill(response=answer, json=told)

    page.route(f"**/classifications/{record.id}", again)
    page.goto(f"{stack.api_url}/{why(record)}")
    expect(row(page, "The steps and their times", "Classify, try 2")).to_be_visible()


def test_a_rejected_picture_says_why_and_shows_that_it_cannot_be_shown(
    drop: Callable[..., Record], visit: Visit
) -> None:
    record = drop("broken")
    page = visit(why(record))
    expect(page.locator(".detail-said")).to_contain_text("Rejected")
    expect(page.locator(".detail-reason")).to_have_text(str(record.reason))
    expect(page.get_by_role("table", name="How sure the model is")).to_be_hidden()


@pytest.mark.parametrize(
    ("environment", "words"),
    [({"MIN_KNOWN": "1"}, "Perhaps something else"), ({"CONFIDENCE_THRESHOLD": "1"}, "Not sure which")],
)
def test_a_picture_that_is_held_back_says_why_in_few_words_and_in_a_sentence(
    drop: Callable[..., Record],
    visit: Visit,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    words: str,
) -> None:
    settings = Settings.from_environment({**os.environ, **environment})
    monkeypatch.setattr(importlib.import_module("app"), "settings", settings)
    record = drop("bicycle")
    page = visit(why(record))
    expect(page.locator(".detail-said")).to_contain_text("Held back")
    expect(page.locator(".detail-said .badge")).to_have_text(words)
    expect(page.locator(".detail-reason")).to_have_text(str(record.reason))


def test_a_picture_is_run_again_and_followed_until_it_ends(
    drop: Callable[..., Record], visit: Visit, stack: Stack
) -> None:
    record = drop("bicycle")
    page = visit(why(record))
    page.get_by_role("button", name="Run it again").click()
    expect(page.locator(".facts div").filter(has_text="Attempt")).to_contain_text("2")
    expect(page.locator(".detail-said")).to_contain_text("Accepted bicycle")
    again = store.get(stack.settings.records_table, record.id)
    assert (again.attempt, again.status) == (2, Status.ACCEPTED)


def test_what_a_person_decided_is_shown_and_can_be_taken_back_before_it_is_run_again(
    drop: Callable[..., Record], visit: Visit, stack: Stack
) -> None:
    record = drop("house")
    page = visit(None)
    url = f"{stack.api_url}/classifications/{record.id}"
    etag = page.request.get(url).headers["etag"]
    review = {"label": "neither", "note": "A house."}
    assert page.request.put(f"{url}/review", headers={"If-Match": etag}, data=review).ok
    page.goto(f"{stack.api_url}/{why(record)}")
    said = page.locator("section").filter(has=page.get_by_role("heading", name="What people say"))
    expect(said).to_contain_text("neither, says")
    expect(said).to_contain_text("A house.")
    again = page.get_by_role("button", name="Run it again")
    expect(again).to_be_disabled()
    expect(again).to_have_accessible_description(re.compile("what a person has decided stays"))
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator(".detail-said")).to_contain_text("Held back")
    expect(again).to_be_enabled()
    assert store.get(stack.settings.records_table, record.id).status is Status.REVIEW


def test_an_unknown_picture_is_said_to_be_unknown(visit: Visit, watch: Watch) -> None:
    watch.expects("status of 404")
    page = visit("#/classifications/0123456789abcdef")
    expect(page.get_by_role("heading", name="There is no such picture")).to_be_visible()
    expect(page.get_by_text("0123456789abcdef")).to_be_visible()


@pytest.mark.parametrize("account", ["123456789012", "444455556666"])
def test_the_execution_is_a_link_to_the_console_where_there_is_one(
    drop: Callable[..., Record], visit: Visit, stack: Stack, account: str
) -> None:
    record = drop("bicycle")
    page = visit(None)

    def elsewhere(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        told["execution"] = told["execution"].replace("123456789012", account)
        route.fulfill(response=answer, json=told)

    page.route(f"**/classifications/{record.id}", elsewhere)
    page.goto(f"{stack.api_url}/{why(record)}")
    expect(page.locator(".facts")).to_contain_text(f":{account}:execution:")
    links = page.locator(".facts a")
    if account == "123456789012":
        expect(links).to_have_count(0)
    else:
        console = (
            "https://us-east-1.console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details/arn:aws:"
        )
        expect(links).to_have_attribute("href", re.compile(re.escape(console)))


def test_it_fits_a_phone(drop: Callable[..., Record], phone: Page, stack: Stack) -> None:
    record = drop("house")
    phone.set_viewport_size({"width": 360, "height": 780})
    phone.goto(f"{stack.api_url}/{why(record)}")
    expect(phone.get_by_role("table", name="How sure the model is")).to_be_visible()
    phone.wait_for_load_state("networkidle")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
