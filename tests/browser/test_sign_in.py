"""Signing in: a real browser, the real page, and Cognito's hosted pages played as AWS documents them.

In front of the app stands what API Gateway does with a user pool: all but the page's own files takes an ID token.
"""

import base64
import hashlib
import importlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import httpx
import pytest
import uvicorn
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from local.stack import Stack
from tests.browser.conftest import Pictures, Visit, Watch

CLIENT_ID = "1example23456789"

HOUR = 3600
"""Seconds that Cognito's ID tokens are good for, if nothing else is asked."""

SIGN_IN_FORM = """<!doctype html><title>Sign in</title><link rel="icon" href="data:,"><form method="post">
<label>Name <input name="username"></label><button>Sign in</button></form>"""

SESSION = "cognito"
"""The cookie by which the pool's own pages know who has signed in."""


@dataclass
class Pool:
    """A user pool's own pages.

    https://docs.aws.amazon.com/cognito/latest/developerguide/authorization-endpoint.html
    https://docs.aws.amazon.com/cognito/latest/developerguide/token-endpoint.html
    https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html

    Attributes:
        callback: the one address of a page that it returns to.
        lifetime: seconds that an ID token is good for.
        asked: what each browser that came to sign in asked for.
        grants: which grants were asked for, and whether they were given.
        codes: what was asked for with each code that was not used.
        tokens: ID tokens that are good, and until when (epoch seconds).
        refresh_tokens: those that are good.
    """

    callback: str = ""
    lifetime: int = HOUR
    asked: list[dict[str, str]] = field(default_factory=list)
    grants: list[tuple[str, bool]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)

    @property
    def app(self) -> Starlette:
        """Its pages, to be served."""
        routes = [
            Route("/oauth2/authorize", self.authorize),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/oauth2/token", self.token, methods=["POST"]),
            Route("/logout", self.logout),
        ]
        return Starlette(routes=routes)

    def takes(self, token: str | None) -> bool:
        """Whether an ID token is good."""
        return self.tokens.get(token or "", 0) > time.time()

    async def authorize(self, request: Request) -> Response:
        """Ask for a name, or go back at once where the browser has signed in before."""
        asked = dict(request.query_params)
        self.asked.append(asked)
        wanted = {"response_type": "code", "client_id": CLIENT_ID, "redirect_uri": self.callback}
        if wanted.items() - asked.items() or asked.get("code_challenge_method") != "S256":
            return Response("invalid_request", 400)
        if SESSION in request.cookies:
            return self._back(asked)
        return RedirectResponse(f"/login?{urlencode(asked)}", 302)

    async def login(self, request: Request) -> Response:
        """Take any name."""
        if request.method == "GET":
            return HTMLResponse(SIGN_IN_FORM)
        response = self._back(dict(request.query_params))
        response.set_cookie(SESSION, "somebody")
        return response

    async def token(self, request: Request) -> Response:
        """Give tokens for a code, or for a refresh token; pages of any origin may ask."""
        form = dict(parse_qsl((await request.body()).decode()))
        grant = form.pop("grant_type")
        given = form.get("client_id") == CLIENT_ID and self._grants(grant, form)
        self.grants.append((grant, given))
        headers = {"Access-Control-Allow-Origin": "*"}
        if not given:
            return JSONResponse({"error": "invalid_grant"}, 400, headers)
        now = int(time.time())
        end = now + self.lifetime
        claims = {"sub": "somebody", "token_use": "id", "iat": now, "exp": end, "jti": uuid4().hex}
        parts = [{"alg": "RS256"}, claims, {"signed": "\N{WHITE HEAVY CHECK MARK}?>"}]
        token = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        self.tokens[token] = end
        answer = {"id_token": token, "access_token": "not asked for", "token_type": "Bearer", "expires_in": HOUR}
        if grant == "authorization_code":
            answer["refresh_token"] = uuid4().hex
            self.refresh_tokens.add(str(answer["refresh_token"]))
        return JSONResponse(answer, headers=headers)

    async def logout(self, request: Request) -> Response:
        """Forget who the browser is."""
        if dict(request.query_params) != {"client_id": CLIENT_ID, "logout_uri": self.callback}:
            return Response("invalid_request", 400)
        response = RedirectResponse(self.callback, 302)
        response.delete_cookie(SESSION)
        return response

    def _back(self, asked: dict[str, str]) -> Response:
        code = uuid4().hex
        self.codes[code] = asked
        return RedirectResponse(f"{self.callback}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    def _grants(self, grant: str, form: dict[str, str]) -> bool:
        if grant == "refresh_token":
            return form["refresh_token"] in self.refresh_tokens
        asked = self.codes.pop(form["code"], None)
        challenge = encoded(hashlib.sha256(form["code_verifier"].encode()).digest())
        return asked is not None and (asked["code_challenge"], asked["redirect_uri"]) == (
            challenge,
            form["redirect_uri"],
        )


@dataclass
class Gateway:
    """What API Gateway does with a user pool authorizer.

    Attributes:
        pool: whose ID tokens it takes.
        api_url: where the app is.
        passed: the token of each request that it let through to the API.
        refused: how many requests it did not let through.
    """

    pool: Pool
    api_url: str
    passed: list[str] = field(default_factory=list)
    refused: int = 0

    @property
    def app(self) -> Starlette:
        """It, to be served."""
        return Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST", "PUT", "DELETE"])])

    async def answer(self, request: Request) -> Response:
        """Pass a request on, if it is for the page's own files or has a good token."""
        path = request.url.path
        token = request.headers.get("Authorization")
        if path != "/" and not path.startswith("/assets/"):
            if not self.pool.takes(token):
                self.refused += 1
                return JSONResponse({"message": "Unauthorized"}, 401)
            self.passed.append(str(token))
        body = await request.body()
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "accept-encoding")}
        url = f"{self.api_url}{path}?{request.url.query}"
        answer = await run_in_threadpool(httpx.request, request.method, url, content=body, headers=headers, timeout=30)
        kept = {name: value for name, value in answer.headers.items() if name not in ("content-length", "connection")}
        return Response(answer.content, answer.status_code, kept)


def encoded(data: bytes) -> str:
    """Base64 as it may stand in an address, without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def served(make: Callable[[str], Starlette]) -> Iterator[str]:
    """Serve an app on a free port of 127.0.0.1; `make` is told the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(make(address), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield address
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def gateway(stack: Stack, pool: Pool) -> Gateway:
    return Gateway(pool, stack.api_url)


@pytest.fixture
def site(pool: Pool, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, watch: Watch) -> Iterator[str]:
    """The address of a page that people sign in to. It outlives the browser of a test that asks for it first."""
    chalice_app = importlib.import_module("app")

    def at(address: str) -> Starlette:
        pool.callback = f"{address}/"
        return gateway.app

    with served(lambda _: pool.app) as domain, served(at) as address:
        told = {"user_pool_arn": "arn", "user_pool_client_id": CLIENT_ID, "user_pool_domain": domain}
        monkeypatch.setattr(chalice_app, "settings", replace(chalice_app.settings, **told))
        watch.origins |= {domain, address}
        yield address


@pytest.fixture
def reader(site: str, visit: Visit) -> Page:
    """A browser that was asked to sign in, at the overview."""
    page = visit(None)
    page.goto(f"{site}/#/overview")
    expect(page.get_by_label("Name")).to_be_visible()
    return page


@pytest.fixture
def signed_in(reader: Page) -> Page:
    """A browser that has signed in."""
    sign_in(reader)
    return reader


def sign_in(page: Page) -> None:
    page.get_by_label("Name").fill("somebody")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    expect(page.get_by_role("main").get_by_role("heading", level=1)).to_be_visible()


def shown(page: Page) -> str:
    """The view that is shown, as the navigation tells it."""
    current = page.get_by_role("navigation").locator("[aria-current=page]")
    expect(current).to_be_visible()
    return current.inner_text()


def go(page: Page, view: str, asks: str) -> None:
    """Look at another view, and see the API answer what it asks."""
    with page.expect_response(lambda response: asks in response.url and response.ok):
        page.get_by_role("link", name=view, exact=True).click()


def rest(page: Page) -> None:
    """Go where nothing is asked."""
    page.get_by_role("link", name="Classify", exact=True).click()
    expect(page).to_have_title("Classify – Scones Unlimited")
    expect(page.get_by_role("button", name="Choose pictures")).to_be_visible()


def kept(page: Page) -> str:
    """All that the tab has stored."""
    return str(page.evaluate("JSON.stringify({...sessionStorage, ...localStorage}) + document.cookie"))


def test_whoever_opens_the_page_signs_in_and_comes_back_to_the_view_that_was_asked_for(
    signed_in: Page, site: str, pool: Pool, gateway: Gateway
) -> None:
    assert shown(signed_in) == "Overview"
    assert signed_in.url == f"{site}/#/overview", "the code is gone from the address"
    asked = pool.asked[0]
    assert "openid" in asked["scope"].split(), "or there is no ID token"
    assert len(asked["state"]) >= 43
    assert pool.grants == [("authorization_code", True)], "the code fits the challenge"
    go(signed_in, "Review", "/classifications")
    assert set(gateway.passed) == set(pool.tokens)
    assert gateway.refused == 0


def test_two_sign_ins_share_no_secret(signed_in: Page, site: str, visit: Visit, pool: Pool) -> None:
    other = visit(None)
    other.goto(site)
    sign_in(other)
    assert not {pool.asked[0]["state"], pool.asked[0]["code_challenge"]} & set(pool.asked[1].values())


def test_a_picture_is_sent_and_followed_with_the_token(
    signed_in: Page, pool: Pool, gateway: Gateway, pictures: Pictures
) -> None:
    signed_in.get_by_role("link", name="Classify").click()
    with signed_in.expect_file_chooser() as chooser:
        signed_in.get_by_role("button", name="Choose pictures").click()
    chooser.value.set_files(pictures.files["bicycle"])
    expect(signed_in.get_by_role("listitem").filter(has_text="bicycle.png").locator(".chip")).to_have_text("Accepted")
    assert set(gateway.passed) == set(pool.tokens)


def test_an_answer_with_the_wrong_state_is_refused_and_its_code_not_used(reader: Page, site: str, pool: Pool) -> None:
    reader.goto(f"{site}/?{urlencode({'code': 'somebody-elses', 'state': 'guessed'})}")
    expect(reader.get_by_role("alert")).to_contain_text("does not belong to a sign-in that this page has begun")
    assert pool.grants == []
    assert "session" not in kept(reader)
    assert urlsplit(reader.url).query == ""
    reader.get_by_role("button", name="Sign in").click()
    sign_in(reader)
    assert pool.grants == [("authorization_code", True)]


def test_an_answer_that_nobody_waits_for_is_refused(site: str, visit: Visit, pool: Pool) -> None:
    page = visit(None)
    page.goto(f"{site}/?{urlencode({'code': 'somebody-elses', 'state': 'guessed'})}")
    expect(page.get_by_role("alert")).to_contain_text("Sign in again.")
    assert pool.grants == []


def test_a_code_for_another_challenge_is_refused_by_the_pool_and_the_page_says_so(
    reader: Page, pool: Pool, watch: Watch
) -> None:
    watch.expects("status of 400")
    login = reader.url
    reader.goto(login.replace("code_challenge=", "code_challenge=A"))
    reader.get_by_label("Name").fill("somebody")
    reader.get_by_role("button", name="Sign in").click()
    expect(reader.get_by_role("alert")).to_contain_text("This sign-in is over, or was used before.")
    assert pool.grants == [("authorization_code", False)]


def test_who_may_not_sign_in_is_told_why(reader: Page, site: str, pool: Pool) -> None:
    refused = {"error": "access_denied", "error_description": "You are not invited", "state": pool.asked[0]["state"]}
    reader.goto(f"{site}/?{urlencode(refused)}")
    expect(reader.get_by_role("alert")).to_contain_text("Signing in did not work: You are not invited.")


def test_a_token_is_renewed_before_it_runs_out(site: str, visit: Visit, pool: Pool, gateway: Gateway) -> None:
    page = visit(None)
    page.clock.install()
    page.goto(site)
    sign_in(page)
    page.clock.fast_forward(1000 * (HOUR - 90))
    go(page, "Overview", "/overview")
    rest(page)
    assert [grant for grant, _ in pool.grants] == ["authorization_code"]
    page.clock.fast_forward(60_000)
    go(page, "Review", "/classifications")
    assert pool.grants == [("authorization_code", True), ("refresh_token", True)]
    assert gateway.refused == 0
    assert gateway.passed[-1] == list(pool.tokens)[-1]


def test_a_token_that_is_not_taken_any_more_is_replaced_unseen(
    signed_in: Page, pool: Pool, gateway: Gateway, watch: Watch
) -> None:
    watch.expects("status of 401")
    rest(signed_in)
    pool.tokens.clear()
    go(signed_in, "Review", "/classifications")
    assert pool.grants[1:] == [("refresh_token", True)], "one for all that was asked at the same time"
    assert gateway.refused > 0
    assert gateway.passed[-1] == list(pool.tokens)[-1]


def test_when_a_session_is_over_one_signs_in_again_and_is_back(signed_in: Page, pool: Pool, watch: Watch) -> None:
    watch.expects("status of 401", "status of 400")
    rest(signed_in)
    pool.tokens.clear()
    pool.refresh_tokens.clear()
    signed_in.context.clear_cookies()
    signed_in.get_by_role("link", name="Review").click()
    sign_in(signed_in)
    assert shown(signed_in) == "Review"


def test_signing_out_leaves_nothing_behind(signed_in: Page, pool: Pool) -> None:
    token = next(iter(pool.tokens))
    assert token in kept(signed_in)
    signed_in.get_by_role("button", name="Sign out").click()
    expect(signed_in.get_by_role("alert")).to_contain_text("You have signed out of this page.")
    assert not any(secret in kept(signed_in) for secret in [*pool.tokens, *pool.refresh_tokens])
    signed_in.get_by_role("button", name="Sign in").click()
    expect(signed_in.get_by_label("Name")).to_be_visible()


def test_where_there_is_no_pool_nobody_is_asked_to_sign_in(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.headers.get("authorization", "")))
    go(page, "Overview", "/overview")
    assert sent
    assert not any(sent)
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
