"""What stands before a deployed API, as far as callers see it: lets in who has signed, and nobody else."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

BASE = "/api"
"""The path of a deployed stage."""

CALLER = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a-session")
"""The one who may ask; AWS's own example."""


def is_signed(method: str, path: str, headers: Message, body: bytes) -> bool:
    """Whether the caller has signed exactly this request, worked out by AWS's own library.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    _, _, authorization = headers.get("Authorization", "").partition("AWS4-HMAC-SHA256 ")
    said = dict(part.split("=", 1) for part in authorization.split(", ") if "=" in part)
    if not {"Credential", "SignedHeaders", "Signature"} <= set(said):
        return False
    signed = {name: headers.get(name, "") for name in said["SignedHeaders"].split(";")}
    url = f"http://{headers['Host']}{path}"
    request = AWSRequest(method, url, data=body, headers=signed)
    request.context["timestamp"] = headers["X-Amz-Date"]
    auth = SigV4Auth(CALLER, "execute-api", "us-east-1")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    right_token = headers.get("X-Amz-Security-Token") == CALLER.token
    return right_token and bool(said["Signature"] == auth.signature(text, request))


@contextmanager
def before(api_url: str) -> Iterator[str]:
    """Stand before an API; gives the address of the stage, as a caller is told it."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.path.startswith(BASE) or not is_signed(self.command, self.path, self.headers, body):
                self.send_error(403)
                return
            behind = http.client.HTTPConnection(urlsplit(api_url).netloc, timeout=60)
            behind.request(self.command, self.path.removeprefix(BASE), body, dict(self.headers))
            answer = behind.getresponse()
            self.send_response(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.read())
            behind.close()

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the standard library's names

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}{BASE}"
    server.shutdown()
    server.server_close()
    thread.join()
