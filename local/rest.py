"""The REST routes and the page, by Chalice's own development server: for this machine alone, since it admits everybody.

Chalice's server answers one request a thread, on connections that stay open. Here it also takes as many connections at
once as come, answers what API Gateway would not pass on, and logs each request in one line.
"""

import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from chalice.config import Config
from chalice.local import ChaliceRequestHandler, LocalChalice, LocalDevServer, ThreadedHTTPServer, create_local_server

from local import HOST

logger = logging.getLogger(__name__)

MAX_BODY = 10 * 1000 * 1000
"""Bytes of a request's body that API Gateway passes on:
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html"""

MAX_DIGITS = 20
"""Of a length that is looked at as a number."""


class Server(ThreadedHTTPServer):
    """Chalice's server, with room for many who come at once."""

    request_queue_size = 1024

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line that a client hung up, and anything else in full."""
        if isinstance(sys.exception(), ConnectionError):
            logger.info("%s hung up before the end", client_address[0])
        else:
            super().handle_error(request, client_address)


class Handler(ChaliceRequestHandler):
    """Chalice's handler, with the limits of API Gateway and a readable log."""

    disable_nagle_algorithm = True  # or the body would wait for the head to be acknowledged, 40 ms

    def _generic_handle(self) -> None:
        started, self.answered = time.perf_counter(), HTTPStatus.INTERNAL_SERVER_ERROR
        refusal = self._refusal()
        if refusal:
            self.close_connection = True
            body = json.dumps({"message": refusal.phrase}).encode()
            self._send_http_response(refusal, {"Connection": "close"}, body)
        else:
            super()._generic_handle()
        took = (time.perf_counter() - started) * 1000
        logger.info("%s %s → %d, %.0f ms", self.command, self.path, self.answered, took)

    def _refusal(self) -> HTTPStatus | None:
        """Why the body is not read, if it is not."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            return HTTPStatus.LENGTH_REQUIRED
        if not length.isascii() or not length.isdigit():
            return HTTPStatus.BAD_REQUEST
        too_long = len(length) > MAX_DIGITS or int(length) > MAX_BODY
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_long else None

    def _parse_payload(self) -> tuple[Any, bytes | None]:
        headers, body = super()._parse_payload()
        if len(body or b"") < int(self.headers.get("Content-Length", "0")):
            raise ConnectionAbortedError("The body was cut short.")
        return headers, body

    def _send_http_response_with_body(self, code: int, headers: Any, body: str | bytes) -> None:
        if self.command != "HEAD":
            super()._send_http_response_with_body(code, headers, body)
            return
        self.send_response(code)  # a body here would be taken for the next answer
        self._send_headers(headers)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = _generic_handle  # noqa: N815
    do_TRACE = do_CONNECT = do_QUERY = _generic_handle  # noqa: N815

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002
        """Keep the status for the one line that is logged at the end."""
        self.answered = HTTPStatus(int(code))

    def log_error(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """What is wrong with a connection."""
        logger.warning(format, *args)


@contextmanager
def serving(chalice_app: Any, config: Config, port: int) -> Iterator[str]:
    """Answer REST requests.

    Args:
        chalice_app: the app.
        config: of the stage.
        port: where to listen; 0 for any that is free.

    Yields:
        The API's URL.
    """
    warnings.filterwarnings("ignore", ".*is not a supported in local mode", UserWarning)
    if not isinstance(chalice_app, LocalChalice):  # Chalice makes the current request one of its thread
        create_local_server(chalice_app, config, HOST, 0).server.server_close()
    server = LocalDevServer(chalice_app, config, HOST, port, Handler, Server).server
    thread = threading.Thread(target=server.serve_forever, name="api", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
