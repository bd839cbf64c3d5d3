"""The review queue: decided by keyboard, taken back, met by a second person, and never lost."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import APIResponse, Locator, Page, Route, expect

from chalicelib import store
from chalicelib.store import Record, Status
from local.stack import Stack
from tests.browser.conftest import Watch

Fill = Callable[[int], list[Record]]

LABELS = ("bicycle", "motorcycle", "neither")
"""What the buttons say."""


def name(record: Record) -> str:
    """What the page calls a picture."""
    return record.s3_key.removeprefix("inbox/")


def shown(page: Page, record: Record) -> None:
    """Wait until this picture is the one to decide on, and can be seen."""
    expect(page.locator(".stage-name")).to_have_text(name(record))
    expect(page.locator(".stage-frame")).to_have_attribute("data-state", "shown")


def preloaded(page: Page, *records: Record) -> None:
    """Wait until these classifications and their pictures have been loaded."""
    for end in (text for record in records for text in (f"classifications/{record.id}", record.s3_key)):
        page.wait_for_function(
            "end => performance.getEntriesByType('resource').some(({name}) => name.split('?')[0].endsWith(end))",
            arg=end,
        )


def left(page: Page, count: int) -> None:
    """Wait until the counter says so."""
    expect(page.locator(".review-left")).to_have_text(f"{count} left")


def decision(page: Page, record: Record) -> Locator:
    """What the page lists of the decision on a picture."""
    return page.locator(".review-recent li").filter(has_text=name(record))


def saved(page: Page, record: Record) -> None:
    """Wait until the page says that the decision has arrived."""
    expect(decision(page, record)).to_have_attribute("data-state", "saved")


@pytest.fixture
def stands(stack: Stack) -> Callable[[Record], Record]:
    """A record as it stands now."""
    return lambda record: store.get(stack.settings.records_table, record.id)


@pytest.fixture
def reviewing(page: Page) -> Callable[[], Page]:
    """Open the queue: what waits by then is in it."""

    def open_queue() -> Page:
        page.get_by_role("link", name="Review", exact=True).click()
        return page

    return open_queue


def test_the_least_sure_picture_comes_first_with_what_the_model_thinks(
    queue: Fill, reviewing: Callable[[], Page]
) -> None:
    records = queue(2)
    page = reviewing()
    shown(page, records[0])
    left(page, 2)
    thought = page.get_by_role("region", name="What the model thinks")
    expect(thought.get_by_role("heading")).to_have_text(f"The model says {records[0].label}")
    expect(thought).to_contain_text(str(records[0].reason))
    expect(thought.locator(".badge")).to_have_text("Perhaps something else")
    for label in records[0].labels or ():
        expect(thought.get_by_role("rowheader", name=label, exact=True)).to_be_visible()


def test_a_number_a_letter_and_n_decide_and_the_records_say_so(
    queue: Fill, reviewing: Callable[[], Page], stands: Callable[[Record], Record]
) -> None:
    first, second, third = queue(3)
    page = reviewing()
    for record, key, count in ((first, "1", 3), (second, "m", 2), (third, "n", 1)):
        shown(page, record)
        left(page, count)
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="Nothing waits for you.")).to_be_visible()
    left(page, 0)
    for record, label in ((first, "bicycle"), (second, "motorcycle"), (third, "neither")):
        saved(page, record)
        review = stands(record).review
        assert stands(record).status is Status.REVIEWED
        assert review is not None
        assert review.label == label


def test_several_decisions_are_undone_one_after_the_other_with_their_notes(
    queue: Fill, reviewing: Callable[[], Page], stands: Callable[[Record], Record]
) -> None:
    first, second, third = queue(3)
    page = reviewing()
    shown(page, first)
    page.get_by_label("Note").fill("A house.")
    page.get_by_label("Note").press("Escape")
    page.keyboard.press("n")
    shown(page, second)
    page.keyboard.press("1")
    shown(page, third)
    saved(page, second)
    page.keyboard.press("u")
    shown(page, second)
    expect(page.get_by_label("Note")).to_have_value("")
    page.keyboard.press("u")
    shown(page, first)
    left(page, 3)
    expect(page.get_by_label("Note")).to_have_value("A house.")
    for record in (first, second):
        assert stands(record).status is Status.REVIEW
        assert stands(record).review is None
    page.keyboard.press("n")
    shown(page, second)
    saved(page, first)
    review = stands(first).review
    assert review is not None
    assert review.note == "A house."


def test_an_older_decision_is_undone_by_its_button(
    queue: Fill, reviewing: Callable[[], Page], stands: Callable[[Record], Record]
) -> None:
    first, second, third = queue(3)
    page = reviewing()
    for record in (first, second):
        shown(page, record)
        page.keyboard.press("n")
    shown(page, third)
    page.get_by_role("button", name=f"Undo neither for {name(first)}").click()
    shown(page, first)
    assert stands(first).status is Status.REVIEW
    assert stands(second).status is Status.REVIEWED


def test_what_was_skipped_comes_again_at_the_end(queue: Fill, reviewing: Callable[[], Page]) -> None:
    first, second, third = queue(3)
    page = reviewing()
    shown(page, first)
    page.keyboard.press("s")
    shown(page, second)
    page.keyboard.press("ArrowRight")
    shown(page, third)
    page.keyboard.press("n")
    shown(page, first)
    left(page, 2)


def test_typing_a_note_fires_no_key_and_escape_leaves_it(
    queue: Fill, reviewing: Callable[[], Page], stands: Callable[[Record], Record]
) -> None:
    first, second = queue(2)
    page = reviewing()
    shown(page, first)
    page.keyboard.press("w")
    page.keyboard.type("Bus? 1 n u s ")
    expect(page.get_by_label("Note")).to_have_value("Bus? 1 n u s ")
    shown(page, first)
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    shown(page, second)
    expect(page.get_by_label("Note")).to_have_value("")
    saved(page, first)
    review = stands(first).review
    assert review is not None
    assert (review.label, review.note) == ("motorcycle", "Bus? 1 n u s")


def test_keys_can_be_switched_off_and_stay_off(queue: Fill, reviewing: Callable[[], Page]) -> None:
    first, _ = queue(2)
    page = reviewing()
    shown(page, first)
    page.keyboard.press("?")
    page.get_by_label("These keys work").uncheck()
    page.reload()
    shown(page, first)
    page.keyboard.press("n")
    page.keyboard.press("s")
    left(page, 2)
    shown(page, first)
    page.get_by_role("button", name="neither").click()
    left(page, 1)


def test_a_double_click_decides_one_picture(queue: Fill, reviewing: Callable[[], Page]) -> None:
    first, second, _ = queue(3)
    page = reviewing()
    shown(page, first)
    page.get_by_role("button", name="neither").dblclick()
    shown(page, second)
    left(page, 2)


@pytest.mark.parametrize("choice", ["keep", "escape", "overrule"])
def test_a_second_reviewer_sees_who_decided_what_and_keeps_or_overrules_it(
    queue: Fill,
    reviewing: Callable[[], Page],
    colleague: Page,
    stands: Callable[[Record], Record],
    watch: Watch,
    choice: str,
) -> None:
    watch.expects("status of 412")
    first, second = queue(2)
    page = reviewing()
    colleague.get_by_role("link", name="Review", exact=True).click()
    shown(page, first)
    shown(colleague, first)
    page.get_by_label("Note").fill("No spokes.")
    page.get_by_role("button", name="motorcycle").click()
    saved(page, first)

    colleague.keyboard.press("n")
    conflict = colleague.get_by_role("dialog", name="Somebody else has decided this picture")
    expect(conflict).to_contain_text(f"{name(first)} is motorcycle, says")
    expect(conflict).to_contain_text("Their note: No spokes.")
    expect(conflict).to_contain_text("You said neither.")
    review = stands(first).review
    assert review is not None
    assert review.label == "motorcycle"

    colleague.keyboard.press("1")  # no key decides the next picture behind the question
    button = conflict.get_by_role("button", name="anyway" if choice == "overrule" else "Keep motorcycle")
    expect(button).to_be_enabled()
    if choice == "escape":
        colleague.keyboard.press("Escape")
    else:
        button.click()
    expect(conflict).to_be_hidden()
    expect(decision(colleague, first)).to_have_attribute("data-state", "saved" if choice == "overrule" else "settled")
    shown(colleague, second)
    review = stands(first).review
    assert review is not None
    assert review.label == ("neither" if choice == "overrule" else "motorcycle")
    assert stands(second).status is Status.REVIEW


def test_a_decision_that_was_taken_back_meanwhile_is_in_nobodys_way(
    queue: Fill, reviewing: Callable[[], Page], colleague: Page, stands: Callable[[Record], Record], watch: Watch
) -> None:
    watch.expects("status of 412")
    first, second = queue(2)
    page = reviewing()
    colleague.get_by_role("link", name="Review", exact=True).click()
    shown(colleague, first)
    shown(page, first)
    page.keyboard.press("1")
    shown(page, second)
    page.keyboard.press("u")
    shown(page, first)
    colleague.keyboard.press("n")
    saved(colleague, first)
    review = stands(first).review
    assert review is not None
    assert review.label == "neither"


def test_a_picture_that_was_run_again_meanwhile_is_looked_at_again(
    queue: Fill, reviewing: Callable[[], Page], stack: Stack, ended: Callable[[str], Record], watch: Watch
) -> None:
    watch.expects("status of 412")
    first, second = queue(2)
    page = reviewing()
    shown(page, first)
    assert page.request.post(f"{stack.api_url}/classifications/{first.id}/attempts").ok
    assert ended(first.id).status is Status.REVIEW
    page.keyboard.press("n")
    changed = page.get_by_role("dialog", name="This picture has changed meanwhile")
    changed.get_by_role("button", name="Look at it again").click()
    shown(page, first)
    left(page, 2)
    page.keyboard.press("n")
    shown(page, second)
    saved(page, first)


def test_a_conflict_after_the_queue_is_left_is_asked_about_when_one_comes_back(
    queue: Fill, reviewing: Callable[[], Page], colleague: Page, stands: Callable[[Record], Record], watch: Watch
) -> None:
    watch.expects("net::ERR_FAILED", "status of 412")
    first, _ = queue(2)
    page = reviewing()
    shown(page, first)
    page.route("**/review", lambda route: route.abort())
    page.keyboard.press("n")
    expect(page.get_by_text("1 decision not sent yet")).to_be_visible()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    colleague.get_by_role("link", name="Review", exact=True).click()
    shown(colleague, first)
    colleague.keyboard.press("1")
    saved(colleague, first)
    page.unroute("**/review")
    page.get_by_role("link", name="Review", exact=True).click()
    question = page.get_by_role("dialog", name="Somebody else has decided this picture")
    expect(question).to_contain_text("You said neither.")
    with page.expect_response("**/review") as overruled:
        question.get_by_role("button", name="Decide neither anyway").click()
    assert overruled.value.ok
    review = stands(first).review
    assert review is not None
    assert review.label == "neither"


def test_what_somebody_else_has_changed_since_is_not_undone(
    queue: Fill, reviewing: Callable[[], Page], stack: Stack, stands: Callable[[Record], Record], watch: Watch
) -> None:
    watch.expects("status of 412")
    first, second = queue(2)
    page = reviewing()
    shown(page, first)
    page.keyboard.press("1")
    shown(page, second)
    saved(page, first)
    asked = page.request.get(f"{stack.api_url}/classifications/{first.id}")
    page.request.put(
        f"{stack.api_url}/classifications/{first.id}/review",
        headers={"If-Match": asked.headers["etag"]},
        data={"label": "neither"},
    )
    page.keyboard.press("u")
    expect(page.get_by_text("was changed by somebody else since")).to_be_visible()
    shown(page, second)
    review = stands(first).review
    assert review is not None
    assert review.label == "neither"


def test_without_a_network_no_decision_is_lost(
    queue: Fill, reviewing: Callable[[], Page], stands: Callable[[Record], Record], watch: Watch
) -> None:
    watch.expects("net::ERR_INTERNET_DISCONNECTED")
    first, second, third = queue(3)
    page = reviewing()
    shown(page, first)
    preloaded(page, second, third)
    page.context.set_offline(True)
    page.keyboard.press("1")
    shown(page, second)
    expect(page.get_by_text("1 decision not sent yet")).to_be_visible()
    page.keyboard.press("2")
    expect(page.get_by_text("2 decisions not sent yet")).to_be_visible()
    assert stands(first).status is Status.REVIEW
    page.context.set_offline(False)
    saved(page, first)
    saved(page, second)
    expect(page.locator(".review-unsent")).to_be_hidden()
    assert [stands(record).status for record in (first, second, third)] == [
        Status.REVIEWED,
        Status.REVIEWED,
        Status.REVIEW,
    ]


def test_a_tab_that_is_closed_before_all_is_sent_asks_and_a_reloaded_one_sends_it(
    queue: Fill, reviewing: Callable[[], Page], stands: Callable[[Record], Record], watch: Watch
) -> None:
    watch.expects("net::ERR_FAILED")
    (first,) = queue(1)
    page = reviewing()
    shown(page, first)
    page.route("**/review", lambda route: route.abort())
    page.get_by_role("button", name="neither").click()
    expect(page.get_by_text("1 decision not sent yet")).to_be_visible()
    asked: list[str] = []

    def answer(dialog: object) -> None:
        asked.append(dialog.type)  # type: ignore[attr-defined]
        dialog.accept()  # type: ignore[attr-defined]

    page.on("dialog", answer)
    page.unroute("**/review")
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        page.reload()
    assert asked == ["beforeunload"]
    expect(page.get_by_role("heading", name="Nothing waits for you.")).to_be_visible()
    review = stands(first).review
    assert review is not None
    assert review.label == "neither"


def test_what_was_decided_before_the_counter_was_read_is_not_counted(
    queue: Fill, page: Page, reviewing: Callable[[], Page]
) -> None:
    first, second = queue(2)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/overview?*", lambda route: held.append((route, route.fetch())))
    reviewing()
    shown(page, first)
    page.get_by_role("button", name="neither").click()
    shown(page, second)
    saved(page, first)
    ((route, counted),) = held
    assert counted.json()["waiting"] == 2
    route.fulfill(response=counted)
    left(page, 1)


def test_what_is_not_sent_yet_can_be_sent_at_once(queue: Fill, reviewing: Callable[[], Page], watch: Watch) -> None:
    watch.expects("net::ERR_FAILED")
    (first,) = queue(1)
    page = reviewing()
    shown(page, first)
    tries: list[str] = []

    def fail(route: Route) -> None:
        tries.append(route.request.url)
        route.abort()

    page.route("**/review", fail)
    page.keyboard.press("n")
    while len(tries) < 3:  # each wait is twice the one before, so the next try by itself is seconds away
        page.wait_for_timeout(100)
    page.unroute("**/review")
    page.get_by_role("button", name="Send now").click()
    saved(page, first)


def test_an_answer_that_gets_lost_is_no_conflict_with_oneself(
    queue: Fill, reviewing: Callable[[], Page], stands: Callable[[Record], Record], watch: Watch
) -> None:
    watch.expects("net::ERR_FAILED", "status of 412")
    first, second = queue(2)
    page = reviewing()
    shown(page, first)
    arrived: list[int] = []

    def lose_the_answer(route: Route) -> None:
        if not arrived:
            arrived.append(route.fetch().status)
        route.abort()

    page.route("**/review", lose_the_answer)
    page.keyboard.press("n")
    expect(page.get_by_text("1 decision not sent yet")).to_be_visible()
    assert arrived == [200]
    assert stands(first).status is Status.REVIEWED
    page.unroute("**/review")
    saved(page, first)
    page.keyboard.press("u")
    shown(page, first)
    assert stands(first).status is Status.REVIEW
    assert stands(second).status is Status.REVIEW


def test_a_picture_that_cannot_be_shown_can_still_be_decided(
    queue: Fill, reviewing: Callable[[], Page], watch: Watch
) -> None:
    watch.expects("net::ERR_FAILED")
    first, second = queue(2)
    page = reviewing()
    page.route(re.compile(re.escape(first.s3_key)), lambda route: route.abort())
    page.reload()
    expect(page.get_by_text("This picture cannot be shown.")).to_be_visible()
    expect(page.locator(".stage-name")).to_have_text(name(first))
    page.keyboard.press("n")
    shown(page, second)
    saved(page, first)


def test_an_empty_queue_says_so_and_finds_what_comes_later(
    drop: Callable[..., Record], reviewing: Callable[[], Page]
) -> None:
    page = reviewing()
    expect(page.get_by_role("heading", name="Nothing waits for you.")).to_be_visible()
    left(page, 0)
    house = drop("house")
    page.get_by_role("button", name="Look now").click()
    shown(page, house)
    left(page, 1)


def test_the_next_picture_is_there_before_it_is_asked_for(queue: Fill, reviewing: Callable[[], Page]) -> None:
    first, second, third = queue(3)
    page = reviewing()
    shown(page, first)
    preloaded(page, second, third)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.resource_type == "image" else None)
    page.keyboard.press("s")
    shown(page, second)
    assert not [url for url in asked if second.s3_key in url]
    page.keyboard.press("s")
    shown(page, third)
    assert not [url for url in asked if third.s3_key in url]


def test_on_a_phone_the_picture_and_all_buttons_are_on_the_first_screen(queue: Fill, phone: Page) -> None:
    first, second = queue(2)
    phone.get_by_role("link", name="Review", exact=True).tap()
    shown(phone, first)
    for found in (phone.locator(".stage-frame"), *(phone.get_by_role("button", name=label) for label in LABELS)):
        expect(found).to_be_in_viewport(ratio=1)
    heights = [phone.get_by_role("button", name=label).bounding_box() for label in LABELS]
    assert all(box is not None and box["height"] >= 48 for box in heights)
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    phone.get_by_role("button", name="neither").tap()
    shown(phone, second)
    left(phone, 1)
