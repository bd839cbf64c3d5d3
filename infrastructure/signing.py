"""Requests to the REST API, signed with the AWS credentials of whoever runs this."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from commandline import aws
from infrastructure.errors import InfrastructureError

SERVICE = "execute-api"
"""What IAM calls the use of a REST API."""

PATIENCE = 35
"""Seconds that an answer may take: more than the 29 that API Gateway gives a function:
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html"""

PASSED_ON = (
    "Accept",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Prefer",
)
"""Headers of a request that the API reads. No other goes out: no cookie, and nothing that tells of this machine."""

KEPT_BACK = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "server",
        "set-cookie",
        "strict-transport-security",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of an answer that are between API Gateway and this machine."""

NOT_KNOWN = frozenset({"ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"})
"""How API Gateway calls it when it does not take credentials."""

AGAIN = "Sign in again where you run this, then reload the page."

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """What comes back.

    Attributes:
        status: of HTTP.
        headers: those that are passed on.
        body: as it came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def problem(status: HTTPStatus, detail: str) -> Answer:
    """An answer that tells people what is wrong, in the shape in which the API does (RFC 9457).

    Args:
        status: of HTTP.
        detail: a sentence.
    """
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return Answer(status, {"Content-Type": PROBLEM}, json.dumps(body).encode())


class Api:
    """A REST API that asks for signed requests.

    Attributes:
        url: where it is, with a slash at its end.
        path: what all its paths begin with.
    """

    def __init__(self, url: str, region: str) -> None:
        """Take note of where it is.

        Args:
            url: where it is, with a slash at its end.
            region: where that is.
        """
        self.url, self.path, self._region = url, urlsplit(url).path, region
        self._session: boto3.Session | None = None
        self._http = URLLib3Session(timeout=PATIENCE, proxies=get_environ_proxies(url))

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Sign a request, pass it on, and bring the answer; never an exception for what AWS or the network does.

        Args:
            method: of HTTP.
            target: the path, which begins with `path`, and the query.
            headers: of the request, those of `PASSED_ON`.
            body: of the request.
        """
        try:
            with aws.plain_errors():
                return self._ask(method, target, headers, body)
        except InfrastructureError as error:
            self._session = None
            return problem(HTTPStatus.BAD_GATEWAY, str(error))
        except BotoCoreError as error:  # there are many ways to have credentials, and more for them to be of no use
            self._session = None
            return problem(HTTPStatus.BAD_GATEWAY, f"There are no credentials: {error} {AGAIN}")

    def _ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self._session = session = self._session or boto3.Session()
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        scheme, host, *_ = urlsplit(self.url)
        request = AWSRequest(method, f"{scheme}://{host}{canonical(target)}", headers, body or None)
        SigV4Auth(credentials.get_frozen_credentials(), SERVICE, self._region).add_auth(request)
        reply = self._http.send(request.prepare())
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in KEPT_BACK}
        return self._plain(Answer(reply.status_code, kept, reply.content))

    def _plain(self, answer: Answer) -> Answer:
        """An answer; what API Gateway itself refuses, in words that help."""
        kind = {name.lower(): value for name, value in answer.headers.items()}.get("x-amzn-errortype", "")
        kind = kind.partition(":")[0]
        if not kind:
            return answer
        said, status = _message(answer.body), HTTPStatus(answer.status)
        if kind in NOT_KNOWN or "security token" in said:
            self._session = None
            return problem(status, f"AWS does not take your credentials: they have expired, or were revoked. {AGAIN}")
        if kind == "InvalidSignatureException":
            return problem(status, f"AWS does not take the signature. Is this machine's clock right? {said}")
        if kind == "AccessDeniedException":
            return problem(status, f"Your credentials may not use this API: ask for execute-api:Invoke. {said}")
        if kind == "MissingAuthenticationTokenException":
            return problem(HTTPStatus.NOT_FOUND, "The API has no such route.")
        return problem(status, f"API Gateway: {said or kind}")


def canonical(target: str) -> str:
    """A path and a query, written as signatures take them: every sign that could be written otherwise is encoded.

    Args:
        target: as a browser sends it.
    """
    path, _, query = target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    encoded = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
    return quote(unquote(path), safe="/-_.~") + (f"?{encoded}" if encoded else "")


def _message(body: bytes) -> str:
    """What API Gateway says of an error."""
    try:
        said = json.loads(body)
        return str(said.get("message") or said.get("Message") or "")
    except (ValueError, AttributeError):
        return ""
