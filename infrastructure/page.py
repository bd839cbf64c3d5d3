"""The page of a stage on this machine, for its user alone: each request is signed with the user's AWS credentials.

Whoever reaches this server acts with these credentials, so that it lets in one browser: the one that was given the key,
at an address of this machine, on behalf of the page itself and of no other site.
"""

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from infrastructure.errors import InputError
from infrastructure.signing import PASSED_ON, Answer, Api, problem

HOST = "127.0.0.1"

MAX_BODY = 10 * 1024 * 1024
"""Bytes that API Gateway takes:
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html"""

PATIENCE = 60
"""Seconds after which a browser that sends nothing is hung up on."""

OURS = ("same-origin", "none")
"""What `Sec-Fetch-Site` says of requests of the page itself, and of those that the user made by hand."""


class Server(ThreadingHTTPServer):
    """Passes requests on to a REST API.

    Attributes:
        api: where to.
        tell: told of each request, in a line.
        key: what lets a browser in, once: whoever sees the address later, such as in a list of processes, is too late.
        cookie_value: what that browser shows from then on.
    """

    daemon_threads = True

    def __init__(self, api: Api, port: int, tell: Callable[[str], object]) -> None:
        """Listen.

        Args:
            api: where requests go.
            port: where to listen; 0 for any that is free.
            tell: told of each request, in a line.
        """
        super().__init__((HOST, port), Handler)
        self.api, self.tell = api, tell
        self.key, self.cookie_value = (secrets.token_urlsafe(32) for _ in range(2))
        self._used, self._lock = False, Lock()

    @property
    def origins(self) -> set[str]:
        """What the page's own requests say that they come from."""
        return {f"http://{host}" for host in self.hosts}

    @property
    def hosts(self) -> set[str]:
        """What this server may be called."""
        return {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def cookie(self) -> str:
        """The cookie's name; browsers do not tell ports apart."""
        return f"page-{self.server_port}"

    def admits(self, key: str) -> bool:
        """Whether this is the key, and it comes for the first time."""
        with self._lock:
            if self._used or not same(key, self.key):
                return False
            self._used = True
            return True

    @property
    def address(self) -> str:
        """What to open: with the key, which the browser keeps."""
        return f"http://{HOST}:{self.server_port}/?key={self.key}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


@contextmanager
def serving(url: str, region: str, port: int, tell: Callable[[str], object]) -> Iterator[Server]:
    """A server that listens, to be run.

    Args:
        url: of the REST API, with a slash at its end.
        region: where that is.
        port: where to listen; 0 for any that is free.
        tell: told of each request, in a line.

    Raises:
        InputError: the port is not to be had.
    """
    try:
        server = Server(Api(url, region), port, tell)
    except OSError as error:
        raise InputError(
            f"Port {port} is not to be had: {error.strerror}. Leave --port out, or name another."
        ) from error
    with server:
        yield server


def same(given: str, wanted: str) -> bool:
    """Whether two texts are the same; how long that takes to find out tells nothing of them."""
    return secrets.compare_digest(given.encode(), wanted.encode())


class Handler(BaseHTTPRequestHandler):
    """Answers a browser."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "page"
    sys_version = ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Pass a request on, if it is one of the page's."""
        begun = time.monotonic()
        answer = self._refused() or self._entered() or self._passed_on()
        path = quote(unquote(self.path.partition("?")[0]), safe="/-_.~")
        self.server.tell(
            f"{time.strftime('%H:%M:%S')}  {self.command:<6} {path}  {answer.status}  "
            f"{(time.monotonic() - begun) * 1000:.0f} ms"
        )
        self._send(answer)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - what is looked for

    def _refused(self) -> Answer | None:
        """Why a request is not passed on; None for one of the page's."""
        host, origin = self.headers.get_all("Host", []), self.headers.get("Origin")
        if len(host) != 1 or host[0].lower() not in self.server.hosts:  # a name that others have made lead here
            return problem(
                HTTPStatus.FORBIDDEN, f"This server is only called {' or '.join(sorted(self.server.hosts))}."
            )
        foreign = origin is not None and origin not in self.server.origins
        if self.command != "GET" and (foreign or self.headers.get("Sec-Fetch-Site", "none") not in OURS):
            return problem(HTTPStatus.FORBIDDEN, "Another site asked for this, and is not listened to.")
        return None

    def _entered(self) -> Answer | None:
        """What is answered to a browser that does not show the key, or brings it for the first time."""
        if same(self._cookie(), self.server.cookie_value):
            return None
        target = urlsplit(self.path)
        given = parse_qs(target.query).get("key", [""])[0]
        if self.command == "GET" and target.path == "/" and self.server.admits(given):
            cookie = f"{self.server.cookie}={self.server.cookie_value}; Path=/; HttpOnly; SameSite=Strict"
            headers = {"Set-Cookie": cookie, "Location": self.server.api.path, "Referrer-Policy": "no-referrer"}
            return Answer(HTTPStatus.SEE_OTHER, headers, b"")
        return problem(
            HTTPStatus.FORBIDDEN,
            "Open the whole address that `python -m infrastructure page` printed, with the key in it. It lets in one "
            "browser, once: for another, run the command again.",
        )

    def _cookie(self) -> str:
        """Ours of the cookies, be the others what they may: browsers send those of all ports."""
        pairs = (one.strip().partition("=") for one in self.headers.get("Cookie", "").split(";"))
        return next((value for name, _, value in pairs if name == self.server.cookie), "")

    def _passed_on(self) -> Answer:
        path = unquote(self.path.partition("?")[0])
        if path == "/":
            return Answer(HTTPStatus.SEE_OTHER, {"Location": self.server.api.path}, b"")
        if not path.startswith(self.server.api.path) or {".", ".."} & set(path.split("/")):
            return problem(HTTPStatus.NOT_FOUND, f"The page is at {self.server.api.path}.")
        body = self._body()
        if isinstance(body, Answer):
            return body
        headers = {name: value for name in PASSED_ON if (value := self.headers.get(name))}
        return self.server.api.ask(self.command, self.path, headers, body)

    def _body(self) -> bytes | Answer:
        """What comes with a request, or why it is not taken."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            return problem(HTTPStatus.LENGTH_REQUIRED, "Say how long the body is, in Content-Length.")
        if int(length) > MAX_BODY:
            return problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"API Gateway takes {MAX_BODY:,} bytes. Use POST uploads for more."
            )
        return self.rfile.read(int(length))

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")  # what is refused may have a body that nobody has read
        self.end_headers()
        self.wfile.write(answer.body)
