"""The page's shell and its first view: pictures are given to it, and what becomes of them is seen."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import FileChooser, Locator, Page, Request, Route, expect

from chalicelib import aws
from chalicelib.store import Status
from local import ROOT
from local.endpoint import Fault
from local.stack import Stack
from tests.browser.conftest import PHONE, Pictures, Visit, Watch, all_records

MIB = 1024 * 1024

MAX_BODY = 4_500_000
"""Bytes up to which a picture is the body of a request."""

TOUCH = 44
"""CSS pixels that a finger needs: https://www.w3.org/TR/WCAG22/#target-size-enhanced"""

PATIENCE = 30.0
"""Seconds that a step is held back at most."""


def card(page: Page, name: str) -> Locator:
    """The card of a picture."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name, exact=True))


def status(page: Page, name: str) -> Locator:
    """The chip on the card of a picture."""
    return card(page, name).locator(".chip")


def way(page: Page, name: str) -> Locator:
    """The state machine on the card of a picture."""
    return card(page, name).get_by_role("img", name="The workflow")


def choose(page: Page, *files: Path) -> None:
    """Choose files as a person does."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose pictures").click()
    chooser.value.set_files(list(files))


def drag(page: Page, *paths: Path) -> None:
    """Drag files or folders from the desktop over the page, and let them go there."""
    expect(page.get_by_role("button", name="Choose pictures")).to_be_visible()
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    over = page.get_by_text("Drop to classify")
    send = partial(session.send, "Input.dispatchDragEvent")
    send({"type": "dragEnter", "x": 300, "y": 700, "data": data})
    deadline = time.monotonic() + PATIENCE
    while not over.is_visible() and time.monotonic() < deadline:  # as a desktop tells it, again and again
        send({"type": "dragOver", "x": 300, "y": 700, "data": data})
    send({"type": "drop", "x": 300, "y": 700, "data": data})
    expect(over).to_be_hidden()


def said(page: Page) -> Locator:
    """What screen readers are told."""
    return page.locator("#status")


def opened(page: Page) -> list[FileChooser]:
    """The file choosers that the page opens from now on."""
    choosers: list[FileChooser] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    return choosers


def the_one(page: Page, choosers: list[FileChooser]) -> FileChooser:
    """The file chooser that is open, as soon as it is."""
    deadline = time.monotonic() + PATIENCE
    while not choosers and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    [chooser] = choosers
    return chooser


@pytest.fixture
def requests(page: Page) -> list[Request]:
    """What the page asks, as it goes on."""
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    return asked


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A picture that is too large for the body of a request."""
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (1300, 1300, 3), dtype=np.uint8)).save(path)
    assert MAX_BODY < path.stat().st_size < 25 * MIB
    return path


@pytest.fixture
def hold(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], threading.Event]]:
    """Let executions wait before a step until the event is set."""
    events: list[threading.Event] = []

    def hold_before(step: str) -> threading.Event:
        released = threading.Event()
        events.append(released)

        def wait(name: str, _event: Any) -> None:
            if name == step:
                released.wait(PATIENCE)

        monkeypatch.setattr(stack.functions, "before", wait)
        return released

    yield hold_before
    for event in events:
        event.set()


def test_a_dropped_picture_is_shown_with_its_way_and_its_decision(page: Page, pictures: Pictures) -> None:
    drag(page, pictures.files["bicycle"])
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    shown = card(page, "bicycle.png")
    expect(shown).to_contain_text(re.compile(r"bicycle, .*9\d\.\d % sure"))
    threshold = json.loads((ROOT / "model" / "head.json").read_text())["threshold"]
    expect(shown).to_contain_text(f"{threshold:.1%} was needed.".replace("%", " %"))
    expect(way(page, "bicycle.png")).to_have_accessible_name(
        "The workflow: Serialize, then Classify, then Filter, then Accepted."
    )
    expect(shown.locator("[data-state=Accepted]")).to_have_class("state reached")
    passed = shown.locator(".way.passed")
    assert [line.get_attribute("data-to") for line in passed.all()] == ["Classify", "Filter", "Accepted"]
    assert shown.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    expect(said(page)).to_have_text(re.compile(r"bicycle\.png: Accepted, bicycle, .* sure\."))
    shown.get_by_role("link", name="Why?").click()
    expect(page).to_have_url(re.compile(r"#/classifications/[0-9a-f]{32}$"))


def test_the_state_that_a_picture_is_in_is_told_while_it_is_there(
    page: Page, pictures: Pictures, hold: Callable[[str], threading.Event]
) -> None:
    released = hold("filter")
    choose(page, pictures.files["bicycle"])
    expect(way(page, "bicycle.png")).to_have_accessible_name("The workflow: in Classify, after Serialize.")
    expect(status(page, "bicycle.png")).to_have_text("In progress")
    expect(card(page, "bicycle.png").locator(".now")).to_have_attribute("data-state", "Classify")
    released.set()
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    expect(card(page, "bicycle.png").locator(".now")).to_have_count(0)


def test_of_many_pictures_each_is_classified_once_and_all_are_counted(
    page: Page, pictures: Pictures, stack: Stack
) -> None:
    houses = [pictures.house(number) for number in range(10)]
    choose(page, *pictures.files.values(), *houses)
    expect(page.get_by_role("heading", name="14 pictures")).to_be_visible()
    summary = page.locator(".summary")
    expect(summary).not_to_contain_text("in progress")
    for text in ("2 accepted", "11 held back", "1 rejected"):
        expect(summary).to_contain_text(text)
    expect(said(page)).to_have_text("Done: 2 accepted, 11 held back, 1 rejected.")
    statuses = Counter(item["status"]["S"] for item in all_records(stack))
    assert statuses == {Status.ACCEPTED: 2, Status.REVIEW: 11, Status.REJECTED: 1}
    summary.get_by_role("link", name="held back").click()
    expect(page).to_have_title("Review – Scones Unlimited")


def test_no_more_than_six_are_sent_at_a_time(page: Page, pictures: Pictures) -> None:
    under_way, most = set[Request](), 0

    def begun(request: Request) -> None:
        nonlocal most
        if request.method == "POST":
            under_way.add(request)
            most = max(most, len(under_way))

    page.on("request", begun)
    page.on("requestfinished", lambda request: under_way.discard(request))
    choose(page, *(pictures.house(number) for number in range(10)))
    expect(page.locator(".summary")).to_contain_text("10 held back")
    assert 1 < most <= 6


def test_a_folder_is_dropped_with_all_that_is_in_it(page: Page, pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "trip" / "monday").mkdir(parents=True)
    for name, folder in (("bicycle", "trip"), ("motorcycle", "trip/monday")):
        file = pictures.files[name]
        (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    drag(page, tmp_path / "trip")
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    expect(status(page, "motorcycle.jpg")).to_have_text("Accepted")


def test_a_picture_is_pasted(page: Page, pictures: Pictures) -> None:
    data = list(pictures.files["motorcycle"].read_bytes())
    page.evaluate(
        """data => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(data)], "image.jpg", {type: "image/jpeg"}));
            document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
        }""",
        data,
    )
    expect(status(page, "image.jpg")).to_have_text("Accepted")


def test_a_broken_file_says_why(page: Page, pictures: Pictures) -> None:
    choose(page, pictures.files["broken"])
    expect(status(page, "broken.jpg")).to_have_text("Rejected")
    expect(card(page, "broken.jpg")).to_contain_text("The JPEG picture is damaged or was not uploaded whole")
    expect(way(page, "broken.jpg")).to_have_accessible_name("The workflow: Serialize, then Rejected.")
    expect(card(page, "broken.jpg").locator(".way.passed")).to_have_attribute("data-to", "InvalidImage")


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("letter.pdf", 9, "letter.pdf is no picture but application/pdf. Choose a JPEG, PNG, WebP, GIF or TIFF"),
        ("huge.jpg", 25 * MIB + 1, "huge.jpg has 25.0 MiB, and 25 MiB are taken at most. Send a smaller copy."),
        ("empty.png", 0, "empty.png has no content. Choose another file."),
    ],
)
def test_what_is_of_no_use_is_not_sent(
    page: Page, requests: list[Request], tmp_path: Path, name: str, size: int, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(bytes(size))
    choose(page, path)
    expect(status(page, name)).to_have_text("Not sent")
    expect(card(page, name)).to_contain_text(says)
    assert not [request.url for request in requests if request.method == "POST"]


def test_a_type_that_the_server_does_not_take_is_refused_in_its_words(page: Page, tmp_path: Path, watch: Watch) -> None:
    watch.expects("status of 415")
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    choose(page, path)
    expect(status(page, "photo.heic")).to_have_text("Not sent")
    expect(card(page, "photo.heic")).to_contain_text("image/jpeg")


def test_a_large_picture_goes_to_the_bucket_and_then_is_named(
    page: Page, requests: list[Request], noise: Path, stack: Stack
) -> None:
    choose(page, noise)
    expect(status(page, "noise.png")).to_have_text("Held back")
    posted = [request for request in requests if request.method == "POST"]
    assert [request.url.startswith(stack.aws_url) for request in posted] == [False, True, False]
    assert [request.url.rpartition("/")[2] for request in (posted[0], posted[2])] == ["uploads", "classifications"]
    key = (posted[2].post_data_json or {})["key"]
    head = aws.client("s3").head_object(Bucket=stack.settings.inbox_bucket, Key=key)
    assert (head["ContentLength"], head["ContentType"]) == (noise.stat().st_size, "image/png")


def test_a_picture_whose_answer_is_lost_is_sent_again_and_is_one_picture(
    page: Page, pictures: Pictures, stack: Stack, watch: Watch
) -> None:
    watch.expects("net::ERR_FAILED")
    keys = []

    def lose_the_first_answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            route.continue_()
            return
        assert route.fetch().ok
        route.abort()

    page.route("**/classifications", lose_the_first_answer)
    choose(page, pictures.files["bicycle"])
    expect(card(page, "bicycle.png")).to_contain_text("It is tried again by itself.")
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    expect(card(page, "bicycle.png")).not_to_contain_text("tried again")
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len(all_records(stack)) == 1


def test_a_busy_server_is_asked_again_when_it_says(page: Page, pictures: Pictures, watch: Watch) -> None:
    watch.expects("status of 429")
    times = []

    def busy_at_first(route: Route) -> None:
        times.append(time.monotonic())
        if len(times) > 1:
            route.continue_()
        else:  # API Gateway's own words
            route.fulfill(status=429, headers={"Retry-After": "3"}, json={"message": "Too Many Requests"})

    page.route("**/classifications", busy_at_first)
    choose(page, pictures.files["bicycle"])
    expect(card(page, "bicycle.png")).to_contain_text("Too Many Requests")
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    assert times[1] - times[0] >= 3


def test_without_a_connection_a_picture_can_be_sent_again_by_hand(
    page: Page, pictures: Pictures, stack: Stack, watch: Watch
) -> None:
    watch.expects("net::ERR_INTERNET_DISCONNECTED")
    page.clock.install()
    page.context.set_offline(True)
    choose(page, pictures.files["bicycle"])
    expect(card(page, "bicycle.png")).to_contain_text("This device is offline.")
    for _ in range(5):
        page.clock.run_for(10_000)
    again = card(page, "bicycle.png").get_by_role("button", name="Send again")
    expect(again).to_be_visible()
    page.clock.resume()
    page.context.set_offline(False)
    again.click()
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    assert len(all_records(stack)) == 1


def test_a_question_that_fails_is_asked_again_and_said_so(
    page: Page, pictures: Pictures, watch: Watch, hold: Callable[[str], threading.Event]
) -> None:
    watch.expects("net::ERR_FAILED")
    released = hold("classify")
    page.route("**/classifications/*", lambda route: route.abort())
    choose(page, pictures.files["bicycle"])
    expect(card(page, "bicycle.png")).to_contain_text("It is tried again by itself.")
    page.unroute("**/classifications/*")
    expect(card(page, "bicycle.png")).not_to_contain_text("tried again")
    released.set()
    expect(status(page, "bicycle.png")).to_have_text("Accepted")


def test_nothing_new_is_answered_without_a_body(
    page: Page, requests: list[Request], pictures: Pictures, hold: Callable[[str], threading.Event]
) -> None:
    released = hold("filter")
    choose(page, pictures.files["bicycle"])
    with page.expect_response(lambda response: response.status == HTTPStatus.NOT_MODIFIED):
        pass
    released.set()
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    asked = [request for request in requests if re.search("/classifications/[0-9a-f]+$", request.url)]
    assert all("if-none-match" in request.headers for request in asked)


def test_what_failed_is_run_again(page: Page, pictures: Pictures, stack: Stack) -> None:
    missing = f"Endpoint {stack.settings.endpoint_name} not found."
    stack.endpoint.faults.append(Fault(HTTPStatus.BAD_REQUEST, "ValidationError", missing))
    choose(page, pictures.files["bicycle"])
    expect(status(page, "bicycle.png")).to_have_text("Failed")
    expect(card(page, "bicycle.png")).to_contain_text("cannot be asked")
    expect(way(page, "bicycle.png")).to_have_accessible_name("The workflow: Serialize, then Classify, then Failed.")
    card(page, "bicycle.png").get_by_role("button", name="Run again: bicycle.png").click()
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    expect(card(page, "bicycle.png").get_by_role("button", name="Run again")).to_have_count(0)
    expect(card(page, "bicycle.png").get_by_role("heading")).to_be_focused()


def test_nothing_is_asked_when_the_view_is_left_and_it_goes_on_when_it_is_back(
    page: Page, requests: list[Request], pictures: Pictures, hold: Callable[[str], threading.Event]
) -> None:
    released = hold("classify")
    choose(page, pictures.files["bicycle"])
    expect(way(page, "bicycle.png")).to_have_accessible_name("The workflow: in Serialize.")
    page.get_by_role("link", name="Overview").click()
    expect(page).to_have_title("Overview – Scones Unlimited")
    page.wait_for_timeout(200)
    before = len([request for request in requests if "/classifications/" in request.url])
    page.wait_for_timeout(2500)
    assert len([request for request in requests if "/classifications/" in request.url]) == before
    page.go_back()
    expect(status(page, "bicycle.png")).to_have_text("In progress")
    released.set()
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    expect(card(page, "bicycle.png").locator("img")).to_be_visible()


def test_what_a_person_decided_meanwhile_is_seen_when_the_view_is_back(page: Page, pictures: Pictures) -> None:
    choose(page, pictures.files["house"])
    expect(card(page, "house.webp")).to_contain_text("Perhaps something else")
    page.get_by_role("link", name="Review").click()
    page.get_by_role("button", name="neither").click()
    expect(page.get_by_role("main")).to_contain_text(re.compile("Nothing|No picture|all done", re.IGNORECASE))
    page.get_by_role("link", name="Classify").click()
    expect(status(page, "house.webp")).to_have_text("Reviewed")
    expect(card(page, "house.webp")).to_contain_text("neither, decided by a person")


def test_the_list_is_cleared_and_the_focus_is_not_lost(page: Page, pictures: Pictures) -> None:
    choose(page, pictures.files["bicycle"])
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    page.get_by_role("button", name="Clear the list").click()
    expect(page.get_by_role("heading", name="bicycle.png")).to_have_count(0)
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()


@pytest.mark.parametrize("width", [320, 360, PHONE["width"]])
def test_a_phone_needs_no_scrolling_sideways(visit: Visit, pictures: Pictures, tmp_path: Path, width: int) -> None:
    long = tmp_path / f"{'a-very-long-name-without-an-end' * 3}.png"
    long.write_bytes(pictures.files["bicycle"].read_bytes())
    page = visit(viewport={"width": width, "height": 740}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    choose(page, long, pictures.files["broken"], pictures.files["house"])
    expect(page.locator(".summary")).not_to_contain_text("in progress")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for one in page.locator(".picture, .picture .chip, .picture svg, .picture a").all():
        box = one.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_a_finger_finds_every_button(phone: Page, pictures: Pictures) -> None:
    choose(phone, pictures.files["house"])
    expect(status(phone, "house.webp")).to_have_text("Held back")
    for one in phone.locator("a:visible, button:visible").all():
        box = one.bounding_box()
        assert box is not None
        assert box["height"] >= TOUCH or "skip" in (one.get_attribute("class") or ""), one.inner_text()


def test_a_phone_takes_a_picture_with_its_camera(phone: Page, pictures: Pictures) -> None:
    choosers = opened(phone)
    phone.get_by_role("button", name="Take a picture").click()
    chooser = the_one(phone, choosers)
    assert chooser.element.get_attribute("capture") == "environment"
    assert chooser.element.get_attribute("accept") == "image/*"
    chooser.set_files(pictures.files["motorcycle"])
    expect(status(phone, "motorcycle.jpg")).to_have_text("Accepted")


def test_the_keyboard_alone_leads_from_the_first_tab_to_the_reason(page: Page, pictures: Pictures) -> None:
    choosers = opened(page)
    expect(page.get_by_role("button", name="Choose pictures")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()
    page.keyboard.press("Enter")
    the_one(page, choosers).set_files(pictures.files["bicycle"])
    expect(status(page, "bicycle.png")).to_have_text("Accepted")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText").startswith("Why?"):
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/classifications/"))
    expect(page.get_by_role("main")).to_be_focused()
    expect(said(page)).to_have_text(re.compile(r"– Scones Unlimited$"))


def test_the_navigation_says_where_one_is_and_the_history_works(page: Page) -> None:
    current = page.get_by_role("navigation").locator("[aria-current=page]")
    for name in ("Review", "Overview", "Classify"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(current).to_have_text(name)
        expect(page).to_have_title(f"{name} – Scones Unlimited")
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
    page.go_back()
    expect(current).to_have_text("Overview")


@pytest.mark.parametrize("path", ["#/nowhere", "#/%", "#nowhere"])
def test_an_address_that_leads_nowhere_says_so(visit: Visit, path: str) -> None:
    page = visit(path)
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    page.get_by_role("link", name="Classify pictures").click()
    expect(page.get_by_role("button", name="Choose pictures")).to_be_visible()


def test_a_view_that_cannot_be_loaded_says_so(page: Page, watch: Watch) -> None:
    watch.expects("net::ERR_FAILED", "Failed to fetch dynamically imported module")
    page.route("**/assets/overview.js", lambda route: route.abort())
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("button", name="Load the page again")).to_be_visible()


def test_without_its_drawing_the_state_machine_is_told_in_words(
    visit: Visit, stack: Stack, pictures: Pictures, watch: Watch
) -> None:
    watch.expects("net::ERR_FAILED")
    page = visit(None)
    page.route("**/assets/workflow.svg", lambda route: route.abort())
    page.goto(stack.api_url)
    choose(page, pictures.files["bicycle"])
    expect(way(page, "bicycle.png")).to_have_text("The workflow: Serialize, then Classify, then Filter, then Accepted.")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("percent(0.9731)", "97.3 %"),
        ("percent(1)", "100 %"),
        ("percent(0)", "0 %"),
        ("percent(0.99996)", "> 99.9 %"),
        ("percent(0.0004)", "< 0.1 %"),
        ("percent(null)", "–"),
        ("seconds(420)", "0.42 s"),
        ("seconds(9_996)", "10 s"),
        ("seconds(59_600)", "1 min 0 s"),
        ("seconds(185_000)", "3 min 5 s"),
        ("pictureName({s3_key: 'inbox/a/b.jpg'})", "a/b.jpg"),
        ("pictureName({s3_key: 'inbox/uploads/2026-11-25/01fa1f04-641f-4dfa-b880-1bbf11823525'})", "Upload 01fa1f04"),
        ("when('2026-11-25T09:48:59.721Z').title", "2026-11-25T09:48:59.721Z"),
        ("when('2019-03-04T23:30:00Z').textContent", "5 Mar 2019, 08:30:00"),
        ("when(null).textContent", "–"),
    ],
)
def test_figures_times_and_names_are_written_for_people(visit: Visit, call: str, text: str) -> None:
    page = visit(timezone_id="Asia/Tokyo")
    assert (
        page.evaluate(f"import('/assets/format.js').then(({{percent, seconds, pictureName, when}}) => {call})") == text
    )


def test_no_text_becomes_markup_and_nothing_comes_from_elsewhere() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|\bstyle=|\bon\w+=\"")
    elsewhere = re.compile(r"""(?:src|href|from|import\(|url\()\s*=?\s*["'(]?(?:https?:)?//""")
    for path in (ROOT / "chalicelib" / "static").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not forbidden.search(text), path.name
        assert not elsewhere.search(text), path.name
