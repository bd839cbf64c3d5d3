"""The page: its files, and what a browser may do with them."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import page, rest
from chalicelib.errors import PageNotFound
from chalicelib.limits import MAX_BYTES
from chalicelib.settings import Settings
from tests.rest import POOL

SETTINGS = Settings("inbox-123", "records", "arn", "cyclops", ("a", "b"), None, None)
WITH_POOL = replace(
    SETTINGS,
    user_pool_arn=POOL["USER_POOL_ARN"],
    user_pool_client_id=POOL["USER_POOL_CLIENT_ID"],
    user_pool_domain=POOL["USER_POOL_DOMAIN"],
)
FILES = sorted(path.name for path in page.FOLDER.iterdir() if path.suffix in page.TYPES)


class Tags(HTMLParser):
    """The tags of a page and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def values(self, tag: str, name: str) -> list[str]:
        return [value for one, attrs in self.found if one == tag and (value := attrs.get(name))]


def directives(policy: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in (directive.split() for directive in policy.split(";"))}


class TestRendering:
    @pytest.mark.parametrize(("path", "base"), [("/", "/"), ("/api/", "/api/"), ("/api", "/api/"), ("", "/")])
    def test_all_paths_are_relative_to_where_the_page_was_opened(self, path: str, base: str) -> None:
        assert Tags(page.render(SETTINGS, path)).values("base", "href") == [base]

    @pytest.mark.parametrize("settings", [SETTINGS, WITH_POOL])
    def test_no_placeholder_is_left(self, settings: Settings) -> None:
        assert not re.findall(r"\{\{\w*\}\}", page.render(settings, "/"))

    def test_it_says_where_people_sign_in_only_if_they_do(self) -> None:
        domain, client = (POOL[name] for name in ("USER_POOL_DOMAIN", "USER_POOL_CLIENT_ID"))
        signed, open_ = page.render(WITH_POOL, "/"), page.render(SETTINGS, "/")
        assert domain in signed
        assert client in signed
        assert domain not in open_
        assert client not in open_

    @given(text=st.text(st.characters(codec="utf-8"), max_size=20))
    def test_no_value_breaks_out_of_its_place(self, text: str) -> None:
        hostile = f'{text}"><script>alert(1)</script>'
        settings = replace(WITH_POOL, user_pool_client_id=hostile)
        plain = Tags(page.render(WITH_POOL, "/")).found
        assert [tag for tag, _ in Tags(page.render(settings, "/")).found] == [tag for tag, _ in plain]

    def test_a_path_that_is_no_path_breaks_out_of_nothing(self) -> None:
        html = page.render(SETTINGS, '/"><script>alert(1)</script>/')
        assert "<script>alert" not in html
        assert Tags(html).values("base", "href") == ['/"><script>alert(1)</script>/']

    def test_every_file_that_it_names_is_there(self) -> None:
        tags = Tags(page.render(SETTINGS, "/"))
        connected = [attrs["href"] for tag, attrs in tags.found if tag == "link" and attrs["rel"] == "preconnect"]
        named = {*tags.values("script", "src"), *tags.values("link", "href"), *tags.values("img", "src")}
        named.difference_update(connected)
        assert named
        for name in named:
            assert page.asset(name.removeprefix("assets/"))

    def test_nothing_comes_from_elsewhere_and_nothing_is_inline(self) -> None:
        tags = Tags(page.render(SETTINGS, "/"))
        assert not [value for tag in ("script", "link", "img") for value in tags.values(tag, "src") if "//" in value]
        assert not [attrs for tag, attrs in tags.found if tag == "script" and not attrs.get("src")]
        assert not [attrs for _, attrs in tags.found if "style" in attrs or any(one.startswith("on") for one in attrs)]
        assert not [tag for tag, _ in tags.found if tag == "style"]


class TestFiles:
    @pytest.mark.parametrize("name", FILES)
    def test_a_file_is_served_as_what_it_is(self, name: str) -> None:
        text, media_type = page.asset(name)
        assert text == (page.FOLDER / name).read_text(encoding="utf-8")
        assert media_type == page.TYPES[name[name.rindex(".") :]]

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "/",
            "../page.py",
            "../rest.py",
            "..%2fpage.py",
            "..\\page.py",
            "%2e%2e/page.py",
            "./main.js",
            "main.js/",
            "/main.js",
            "MAIN.JS",
            "main.js\0",
            "main",
            "missing.js",
            "index.html",
            "/etc/passwd",
            str(page.FOLDER / "main.js"),
            "x" * 5000,
        ],
        ids=lambda name: repr(name[-20:]),
    )
    def test_nothing_else_is_and_nothing_outside_of_the_folder(self, name: str) -> None:
        with pytest.raises(PageNotFound):
            page.asset(name)

    @given(name=st.text(max_size=20))
    def test_no_name_whatsoever_leads_elsewhere(self, name: str) -> None:
        if name in FILES:
            return
        with pytest.raises(PageNotFound):
            page.asset(name)


class TestPolicy:
    def test_the_page_may_do_what_it_needs_and_nothing_more(self) -> None:
        allowed = directives(page.policy(SETTINGS))
        (origin,) = set(allowed["connect-src"]) - {"'self'"}
        assert re.fullmatch(r"https?://[a-z0-9.:-]+", origin)
        assert allowed == {
            "default-src": ["'none'"],
            "script-src": ["'self'"],
            "style-src": ["'self'"],
            "img-src": ["'self'", "blob:", origin],
            "connect-src": ["'self'", origin],
            "base-uri": ["'self'"],
            "form-action": ["'none'"],
            "frame-ancestors": ["'none'"],
        }

    def test_where_people_sign_in_it_may_ask_there_too(self) -> None:
        assert directives(page.policy(WITH_POOL))["connect-src"][-1] == POOL["USER_POOL_DOMAIN"]

    def test_no_two_policies_hide_in_one(self) -> None:
        assert "," not in page.policy(WITH_POOL)
        assert "\n" not in page.policy(WITH_POOL)


def test_the_page_has_the_limits_of_the_api() -> None:
    script = (page.FOLDER / "upload.js").read_text()
    assert f"const MAX_BODY = {rest.MAX_POSTED_BYTES:_};" in script
    assert f"const MAX_BYTES = {MAX_BYTES // 1024**2} * 1024 * 1024;" in script
    assert f"const MAX_NOTE = {rest.MAX_NOTE};" in (page.FOLDER / "review.js").read_text()
