"""A real browser in front of the running system, and someone who watches what it logs and whom it asks.

Chromium is Debian's own, driven by Playwright. A test asks for `page` (a desktop), `phone` or `dark`, and for a second
person for `colleague`; `visit` opens anything else. Each test begins with an empty table.
"""

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebError,
    expect,
    sync_playwright,
)

from chalicelib import aws, workflow
from chalicelib.store import Record, Status
from local import samples
from local.stack import Stack

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""What the browser may be called; the first is Debian's."""

ARGUMENTS = (
    "--no-sandbox",  # root has none
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)

PATIENCE = 15.0
"""Seconds that something on the page may take to come about."""

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
"""CSS pixels."""


@dataclass
class Watch:
    """What a page must not do, noticed.

    Attributes:
        origins: whom the browser may ask, like "http://127.0.0.1:8000".
        expected: what a console error may say, because the test brings it about.
        complaints: what was noticed.
    """

    origins: set[str]
    expected: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def expects(self, *texts: str) -> None:
        """Let console errors with one of these texts pass, like "status of 412" or "net::ERR_"."""
        self.expected += texts

    def over(self, context: BrowserContext) -> None:
        """Look at everything that pages of this context do from now on."""
        context.on("console", self._logged)
        context.on("weberror", self._threw)
        context.on("request", self._asked)

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in self.expected):
            self.complaints.append(f"console: {message.text} ({message.location['url']})")

    def _threw(self, thrown: WebError) -> None:
        self.complaints.append(f"not caught: {thrown.error}")

    def _asked(self, request: Request) -> None:
        asked = urlsplit(request.url)
        if asked.scheme not in ("data", "blob", "about") and f"{asked.scheme}://{asked.netloc}" not in self.origins:
            self.complaints.append(f"another host: {request.method} {request.url}")


class Visit(Protocol):
    """Open a browser of one's own at the page, as one more person would.

    Args:
        path: what follows the page's address, like "#/review"; None to open nothing yet.
        options: what Playwright's `Browser.new_context` takes.
    """

    def __call__(self, path: str | None = "", **options: Any) -> Page: ...


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep a picture of what the browser shows where a test fails."""
    report = yield
    if report.when == "call" and report.failed:
        for path in screenshots(item):
            report.sections.append(("Screenshot", str(path)))
    return report


def screenshots(item: pytest.Item) -> Iterator[Path]:
    """Take them of every page that a test has open."""
    arguments: dict[str, Any] = getattr(item, "funcargs", {})
    opened: list[Page] = arguments.get("opened", [])
    folder: Path = arguments.get("tmp_path", Path())
    for place, page in enumerate(opened):
        if not page.is_closed():
            path = folder / f"screen-{place}.png"
            page.screenshot(path=path, full_page=True)
            yield path


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    """Chromium, a new one for each module: while Playwright runs, this thread can run no event loop of its own."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip(
            "There is no Chromium: `apt-get install chromium`, which `make test` does where it is root on Debian."
        )
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def opened(tmp_path: Path) -> list[Page]:
    """The pages that a test has opened, in this order."""
    return []


@pytest.fixture
def watch(stack: Stack) -> Watch:
    """Fails the test if a page logs an error, lets an exception pass, violates its policy, or asks another host."""
    return Watch({stack.api_url, stack.aws_url})


@pytest.fixture
def visit(browser: Browser, stack: Stack, watch: Watch, opened: list[Page]) -> Iterator[Visit]:
    """Open the page as one more person, with storage, viewport and scheme of their own."""
    contexts: list[BrowserContext] = []

    def open_page(path: str | None = "", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", "locale": "en-GB"} | options)
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        watch.over(context)
        page = context.new_page()
        opened.append(page)
        if path is not None:
            page.goto(f"{stack.api_url}/{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    if watch.complaints:
        pytest.fail("The browser complains:\n" + "\n".join(watch.complaints), pytrace=False)


@pytest.fixture
def page(visit: Visit) -> Page:
    """A desktop."""
    return visit()


@pytest.fixture
def context(page: Page) -> BrowserContext:
    """The context of `page`."""
    return page.context


@pytest.fixture
def colleague(visit: Visit) -> Page:
    """A second person, at a desktop of their own."""
    return visit()


@pytest.fixture
def phone(visit: Visit) -> Page:
    """A phone, held upright."""
    return visit(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)


@pytest.fixture
def dark(visit: Visit) -> Page:
    """A desktop at night."""
    return visit(color_scheme="dark")


@pytest.fixture(autouse=True)
def empty_table(stack: Stack) -> None:
    """No record of any test before; what is still on its way gets a moment to end."""
    deadline = time.monotonic() + 5
    while records := all_records(stack):
        if all(item["status"]["S"] != Status.PENDING for item in records) or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    for item in records:
        aws.client("dynamodb").delete_item(TableName=stack.settings.records_table, Key={"id": item["id"]})


def all_records(stack: Stack) -> list[dict[str, Any]]:
    """What the table holds of each record, id and status."""
    pages = (
        aws.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stack.settings.records_table,
            ProjectionExpression="id, #status",
            FilterExpression="attribute_exists(#status)",
            ExpressionAttributeNames={"#status": "status"},
        )
    )
    return [item for page in pages for item in page["Items"]]


class Pictures:
    """Pictures to drop: files for a file chooser, or straight into the inbox."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def files(self) -> dict[str, Path]:
        """The samples by their names: bicycle, motorcycle, house (held back) and broken (rejected)."""
        return {path.stem: path for path in samples.write(self.folder)}

    def house(self, number: int) -> Path:
        """Pictures that are all held back, each with another confidence; numbers from 0 to 9."""
        path = self.folder / f"house-{number}.png"
        if not path.exists():
            house = samples.render(samples.draw_house)
            house.resize((640 - 40 * number, 480), Image.Resampling.LANCZOS).save(path)
        return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Sample pictures as files."""
    return Pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def drop(stack: Stack, pictures: Pictures, ended: Callable[[str], Record]) -> Callable[..., Record]:
    """Drop pictures into the inbox: `drop("bicycle")`, `drop(path)`; returns its record, once it has ended."""

    def drop_one(picture: str | Path) -> Record:
        path = pictures.files[picture] if isinstance(picture, str) else picture
        source = stack.drop(f"browser/{uuid4().hex[:8]}/{path.name}", path.read_bytes())
        return ended(workflow.identity(source))

    return drop_one


@pytest.fixture
def dropped(drop: Callable[..., Record]) -> dict[str, Record]:
    """The records of a bicycle and a motorcycle, accepted, and of a house, held back."""
    return {name: drop(name) for name in ("bicycle", "motorcycle", "house")}


@pytest.fixture
def queue(drop: Callable[..., Record], pictures: Pictures) -> Callable[[int], list[Record]]:
    """Drop this many pictures (1 to 10) that are all held back; returns their records, the least sure first."""

    def fill(count: int) -> list[Record]:
        records = [drop(pictures.house(number)) for number in range(count)]
        assert {record.status for record in records} == {Status.REVIEW}
        return sorted(records, key=lambda record: min(record.confidence or 0.0, record.known or 0.0))

    return fill
