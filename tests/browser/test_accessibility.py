"""Everybody can use the page: no rule of axe is broken in any view, and the keyboard alone leads everywhere."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import FilePayload, Page, expect

from chalicelib.store import Record
from local.stack import Stack
from tests.browser import axe, focus
from tests.browser.conftest import DESKTOP, PHONE, Pictures, Visit, Watch

NARROW = {"width": 320, "height": 640}
"""CSS pixels in which nothing may be cut off: https://www.w3.org/TR/WCAG22/#reflow"""

SEEN = 100
"""Device pixels that have to change where the focus is."""

SCHEMES = ("light", "dark")

LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP},
    "phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True},
}


@dataclass(frozen=True)
class Views:
    """Brings up each view of the page, in each state that a person may meet it in. One method for each."""

    stack: Stack
    visit: Visit
    watch: Watch
    pictures: Pictures
    drop: Callable[..., Record]
    queue: Callable[[int], list[Record]]

    def classify(self, **look: Any) -> Page:
        page = self.visit("#/", **look)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        return page

    def classify_with_results(self, **look: Any) -> Page:
        page = self.classify(**look)
        chosen = [self.pictures.files[name] for name in ("bicycle", "house", "broken")]
        page.locator("input[type=file]").first.set_input_files(chosen)
        expect(page.get_by_role("link", name=re.compile("^Why"))).to_have_count(len(chosen))
        expect(page.locator("main [data-status=PENDING]")).to_have_count(0)
        return page

    def classify_what_is_no_picture(self, **look: Any) -> Page:
        page = self.classify(**look)
        text = FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"no picture")
        page.locator("input[type=file]").first.set_input_files(text)
        expect(page.locator("main")).to_contain_text("notes.txt")
        return page

    def review(self, **look: Any) -> Page:
        self.queue(2)
        page = self.visit("#/review", **look)
        expect(page.get_by_role("button", name="neither")).to_be_visible()
        return page

    def review_after_a_decision(self, **look: Any) -> Page:
        page = self.review(**look)
        shown = page.locator(".stage-name")
        first = shown.inner_text()
        page.get_by_role("button", name="neither").click()
        expect(page.get_by_role("heading", name="Just decided")).to_be_visible()
        expect(page.locator(".review-recent li")).to_have_attribute("data-state", "saved")
        expect(shown).not_to_have_text(first)
        return page

    def review_in_a_conflict(self, **look: Any) -> Page:
        self.watch.expects("status of 412")
        (record,) = self.queue(1)
        page = self.visit("#/review", **look)
        expect(page.get_by_role("button", name="neither")).to_be_visible()
        decide(self.stack, record, "motorcycle")
        page.get_by_role("button", name="neither").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        return page

    def review_with_nothing_left(self, **look: Any) -> Page:
        page = self.visit("#/review", **look)
        expect(page.get_by_role("heading", name="Nothing waits for you.")).to_be_visible()
        return page

    def review_that_cannot_be_read(self, **look: Any) -> Page:
        page = self.cut_off("#/review", **look)
        expect(page.get_by_role("heading", name="The queue cannot be read.")).to_be_visible()
        return page

    def detail_of_an_accepted_one(self, **look: Any) -> Page:
        return self.detail("bicycle", **look)

    def detail_of_one_held_back(self, **look: Any) -> Page:
        return self.detail("house", **look)

    def detail_of_a_rejected_one(self, **look: Any) -> Page:
        return self.detail("broken", **look)

    def detail_of_an_unknown_one(self, **look: Any) -> Page:
        self.watch.expects("status of 404")
        page = self.visit("#/classifications/nothing-has-this-id", **look)
        expect(page.get_by_role("alert")).to_be_visible()
        return page

    def overview(self, **look: Any) -> Page:
        for name in ("bicycle", "motorcycle", "house", "broken"):
            self.drop(name)
        page = self.visit("#/overview", **look)
        expect(page.get_by_role("heading", name="How sure the model was")).to_be_visible()
        return page

    def overview_of_nothing(self, **look: Any) -> Page:
        page = self.visit("#/overview", **look)
        expect(page.get_by_text("No picture came in")).to_be_visible()
        return page

    def overview_that_cannot_be_read(self, **look: Any) -> Page:
        page = self.cut_off("#/overview", **look)
        expect(page.get_by_text("The figures cannot be read").first).to_be_visible()
        return page

    def no_such_view(self, **look: Any) -> Page:
        page = self.visit("#/nothing", **look)
        expect(page.get_by_role("heading", name="Not found")).to_be_visible()
        return page

    def detail(self, picture: str, **look: Any) -> Page:
        record = self.drop(picture)
        page = self.visit(f"#/classifications/{record.id}", **look)
        expect(page.get_by_role("button", name=re.compile("again", re.IGNORECASE)).first).to_be_visible()
        return page

    def cut_off(self, path: str, **look: Any) -> Page:
        """A view that finds no server."""
        self.watch.expects("net::ERR_")
        page = self.visit(None, **look)
        page.route(re.compile(r"/(classifications|overview)(\?|$)"), lambda route: route.abort())
        page.goto(f"{self.stack.api_url}/{path}")
        return page


VIEWS = [name for name in vars(Views) if not name.startswith("_") and name not in ("detail", "cut_off")]


def decide(stack: Stack, record: Record, label: str) -> None:
    """Decide about a picture, as somebody else."""
    connection = HTTPConnection(urlsplit(stack.api_url).netloc)
    path = f"/classifications/{record.id}"
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    headers = {"If-Match": answer.headers["ETag"], "Content-Type": "application/json"}
    connection.request("PUT", f"{path}/review", json.dumps({"label": label}), headers)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.fixture
def views(
    stack: Stack,
    visit: Visit,
    watch: Watch,
    pictures: Pictures,
    drop: Callable[..., Record],
    queue: Callable[[int], list[Record]],
) -> Views:
    if not axe.SOURCE.exists():
        pytest.fail("axe is not there: `make tests/validators/node_modules/ready`.", pytrace=False)
    return Views(stack, visit, watch, pictures, drop, queue)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_wrong_in_light_and_dark(views: Views, view: str, look: str) -> None:
    page = getattr(views, view)(**LOOKS[look])
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert axe.violations(page) == [], scheme


def test_axe_would_find_what_is_wrong(visit: Visit) -> None:
    page = visit(None)
    page.set_content('<html><body><img src="data:,"><p style="color: #ccc">pale</p><button></button></body></html>')
    found = {line.partition(":")[0] for line in axe.violations(page)}
    assert {"image-alt", "color-contrast", "button-name", "html-has-lang", "document-title"} <= found


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "view", ["classify_with_results", "review_after_a_decision", "detail_of_one_held_back", "overview"]
)
def test_the_keyboard_alone_leads_to_all_that_can_be_used_and_shows_where_it_is(
    views: Views, view: str, scheme: str
) -> None:
    page = getattr(views, view)(color_scheme=scheme)
    expected = focus.reachable(page)
    stops = list(focus.walk(page))
    assert [name for name in expected if name not in {stop.name for stop in stops}] == []
    assert [stop.name for stop in stops if stop.seen < SEEN] == []


def test_a_walk_would_notice_what_is_out_of_reach_or_does_not_show_the_focus(visit: Visit) -> None:
    page = visit(None)
    page.set_content('<button>one</button><button style="outline: none">two</button><button id="three">three</button>')
    page.evaluate("""() => three.addEventListener('focus', event => event.target.blur())""")
    assert len(focus.reachable(page)) == 3
    one, two = list(focus.walk(page))
    assert one.seen >= SEEN > two.seen


def test_the_first_stop_leads_past_the_navigation(views: Views) -> None:
    page = views.overview_of_nothing()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.querySelector('main').contains(document.activeElement)")


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut_off_on_a_narrow_screen(views: Views, view: str) -> None:
    page = getattr(views, view)(viewport=NARROW)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= NARROW["width"]


def test_every_view_has_one_heading_of_the_first_level_and_a_title_of_its_own(views: Views) -> None:
    titles = set()
    for view in (views.classify, views.review_with_nothing_left, views.overview_of_nothing, views.no_such_view):
        page = view()
        assert page.get_by_role("heading", level=1).count() == 1
        titles.add(page.title())
    assert len(titles) == 4
