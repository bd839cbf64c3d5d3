"""The overview: the figures of the last hours, and the latest pictures."""

from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from chalicelib.store import Record
from local.stack import Stack
from tests.browser.conftest import Pictures, Visit


def figure(page: Page, name: str, text: str) -> None:
    """Wait until a tile says so."""
    expect(page.locator(".tile").filter(has_text=name).locator(".figure")).to_have_text(text)


def test_the_figures_are_those_of_the_pictures(dropped: dict[str, Record], visit: Visit) -> None:
    page = visit("#/overview")
    figure(page, "Pictures", str(len(dropped)))
    figure(page, "Accepted", "66.7 %")
    figure(page, "Held back", "33.3 %")
    figure(page, "Wait for a person", "1")
    endings = page.get_by_role("table", name="How many ended how")
    expect(endings.get_by_role("row", name="Accepted")).to_contain_text("2")
    expect(endings.get_by_role("row", name="Held back")).to_contain_text("1")
    reasons = page.get_by_role("table", name="Why pictures were held back")
    expect(reasons.get_by_role("row", name="Perhaps something else")).to_contain_text("1")
    expect(reasons.get_by_role("row", name="Not sure which")).to_contain_text("0")
    labels = page.get_by_role("table", name="What was accepted as what")
    for label in ("bicycle", "motorcycle"):
        expect(labels.get_by_role("row", name=label, exact=False)).to_contain_text("1")


def test_the_histogram_is_a_picture_with_the_same_figures_as_a_table(dropped: dict[str, Record], visit: Visit) -> None:
    page = visit("#/overview")
    expect(page.get_by_role("img", name="Confidence of 2 accepted and 1 held back")).to_be_visible()
    page.get_by_text("As a table").click()
    table = page.get_by_role("table", name="Confidence of the pictures")
    counted = [row.get_by_role("cell").all_inner_texts() for row in table.get_by_role("row").all()[1:]]
    assert sum(int(accepted) for accepted, _ in counted) == 2
    assert sum(int(held_back) for _, held_back in counted) == 1
    assert len({*map(str, (record.confidence for record in dropped.values()))}) == len(dropped)


def test_another_period_is_counted_anew(dropped: dict[str, Record], visit: Visit) -> None:
    page = visit("#/overview")
    figure(page, "Pictures", str(len(dropped)))
    for hours, text in ((1, "1 hour"), (168, "7 days")):
        with page.expect_response(f"**/overview?hours={hours}") as answer:
            page.get_by_role("radio", name=text).check(force=True)
        assert answer.value.ok
        figure(page, "Pictures", str(len(dropped)))


def test_figures_that_are_not_of_all_pictures_say_so(dropped: dict[str, Record], visit: Visit, stack: Stack) -> None:
    page = visit(None)

    def incomplete(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"complete": False})

    page.route("**/overview?*", incomplete)
    page.goto(f"{stack.api_url}/#/overview")
    expect(page.get_by_text(f"these figures are of the newest {len(dropped)}")).to_be_visible()


def test_the_latest_pictures_link_to_why_and_can_be_filtered(dropped: dict[str, Record], visit: Visit) -> None:
    page = visit("#/overview")
    pictures = page.locator(".latest-list li")
    expect(pictures).to_have_count(len(dropped))
    expect(page.locator(".latest-thumbnail img")).to_have_count(len(dropped))
    page.get_by_label("Show").select_option("Held back")
    expect(pictures).to_have_count(1)
    expect(pictures).to_contain_text("house")
    expect(pictures.locator(".badge")).to_have_text("Perhaps something else")
    pictures.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("house")
    expect(page).to_have_url(f"{page.url.split('#')[0]}#/classifications/{dropped['house'].id}")


def test_more_pictures_come_a_page_at_a_time(
    drop: Callable[..., Record], pictures: Pictures, visit: Visit, stack: Stack
) -> None:
    records = [drop(pictures.house(number)) for number in range(5)]
    page = visit(None)

    def two_at_a_time(route: Route) -> None:
        route.continue_(url=route.request.url.replace("limit=24", "limit=2"))

    page.route("**/classifications?*", two_at_a_time)
    page.goto(f"{stack.api_url}/#/overview")
    shown = page.locator(".latest-name")
    more = page.get_by_role("button", name="More")
    for count in (2, 4, 5):
        expect(shown).to_have_count(count)
        if count < len(records):
            more.click()
    expect(more).to_be_hidden()
    newest_first = [record.s3_key.removeprefix("inbox/") for record in reversed(records)]
    assert shown.all_inner_texts() == newest_first


def test_thumbnails_below_the_screen_wait_until_they_come_near(
    drop: Callable[..., Record], pictures: Pictures, visit: Visit
) -> None:
    for number in range(4):
        drop(pictures.house(number))
    page = visit("#/overview", viewport={"width": 390, "height": 500})
    expect(page.locator(".latest-list li")).to_have_count(4)
    page.wait_for_load_state("networkidle")
    expect(page.locator(".latest-thumbnail img")).to_have_count(0)
    page.get_by_role("heading", name="Latest pictures").scroll_into_view_if_needed()
    expect(page.locator(".latest-thumbnail img").first).to_be_visible()


def test_an_empty_day_says_so(visit: Visit) -> None:
    page = visit("#/overview")
    expect(page.get_by_text("No picture came in during this time.")).to_be_visible()
    expect(page.get_by_text("There is none.")).to_be_visible()


def test_it_fits_a_phone(dropped: dict[str, Record], phone: Page, stack: Stack) -> None:
    phone.set_viewport_size({"width": 360, "height": 780})
    phone.goto(f"{stack.api_url}/#/overview")
    figure(phone, "Pictures", str(len(dropped)))
    expect(phone.locator(".latest-list li")).to_have_count(len(dropped))
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
