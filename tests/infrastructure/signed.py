"""A REST API that lets in who has signed, as API Gateway does: it works the signature out again."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a+session/token=="
REGION = "eu-west-3"

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\S+?)/(\d{8})/([\w-]+)/([\w-]+)/aws4_request, "
    r"SignedHeaders=(\S+), Signature=(\w{64})"
)


@dataclass
class Got:
    """A request that came with the right signature."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Gateway:
    """What has come, and what is answered to it.

    Attributes:
        url: where it is, with the stage.
        got: what was let in.
        refused: how often somebody was not.
        answers: by path, the status, the headers and the body.
    """

    url: str = ""
    got: list[Got] = field(default_factory=list)
    refused: int = 0
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)


@contextmanager
def gateway() -> Iterator[Gateway]:
    """One, until the block ends."""
    made = Gateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            path = self.path.partition("?")[0]
            if is_signed(self.command, f"{made.url.removesuffix('/api/')}{self.path}", dict(self.headers), body):
                made.got.append(Got(self.command, self.path, dict(self.headers), body))
                status, headers, content = made.answers.get(path, (200, {"Content-Type": "text/plain"}, b"well"))
            else:
                made.refused += 1
                status, headers, content = refusal("InvalidSignatureException", "The request signature does not match")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}/api/"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def refusal(kind: str, message: str, status: int = 403) -> tuple[int, dict[str, str], bytes]:
    """What API Gateway answers by itself."""
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": kind, "x-amzn-RequestId": "1"}
    return status, headers, json.dumps({"message": message}).encode()


def is_signed(method: str, url: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether a request bears the signature of this key, of this service and region, for all that it says."""
    found = AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
    if not found:
        return False
    key, day, region, service, names, signature = found.groups()
    told = {name.lower(): value for name, value in headers.items()}
    if (key, region, service, day) != (KEY, REGION, "execute-api", told["x-amz-date"][:8]):
        return False
    if told.get("x-amz-security-token") != TOKEN or "host" not in names.split(";"):
        return False
    request = AWSRequest(method, url, {name: told[name] for name in names.split(";")}, body or None)
    request.context["timestamp"] = told["x-amz-date"]
    signer = SigV4Auth(Credentials(KEY, SECRET, TOKEN), service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return bool(signer.signature(text, request) == signature)
