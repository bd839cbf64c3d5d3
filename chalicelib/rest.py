"""What requests say and answers tell: headers, parameters and bodies to values, and back. It knows no Chalice."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib import listing, store, workflow
from chalicelib.errors import BodyNotTaken, BodyTooLarge, EtagMissing, InvalidRequest, NotNow, RecordChanged
from chalicelib.listing import Order, Position
from chalicelib.settings import Settings
from chalicelib.store import Record, Status

MAX_POSTED_BYTES = 4_500_000
"""Largest picture that fits through the API, in bytes: a request to Lambda has 6 MB at most, and in it the picture is
base64, beside the headers. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

MAX_WAIT = 25
"""Seconds that a caller may ask to wait: API Gateway gives up after 29.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html"""

MAX_IDEMPOTENCY_KEY = 255
"""Characters of an Idempotency-Key, all of them visible ASCII."""

MAX_NOTE = 1000
"""Characters of a reviewer's note."""

MAX_PAGE, DEFAULT_PAGE = 100, 50
"""Records of a page."""

MAX_HOURS, DEFAULT_HOURS = 24 * 7, 24
"""Hours that an overview looks back."""

PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff")
"""The media types of pictures that are taken."""

JSON = "application/json"

_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/tif": "image/tiff",
}
_WAIT = re.compile(r'wait\s*=\s*"?(\d{1,9})"?', re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,3}(\.[0-9]{1,38})?(E-?[0-9]{1,2})?", re.IGNORECASE)
_EXTENSION_TYPES = {
    ".gif": "image/gif",
    ".jfif": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}


def representation(settings: Settings, record: Record) -> dict[str, Any]:
    """A classification as the API tells it: the record, and the ARN of its execution."""
    return {**record.as_dict(), "execution": workflow.execution_arn(settings, record)}


def etag(record: Record) -> str:
    """The entity tag of a classification (RFC 9110): another one after each change, be it a step or a decision."""
    changes = len(record.steps) if record.status is Status.PENDING else record.reviews
    return f'"{record.attempt}-{record.status}-{changes}"'


def names(header: str | None, tag: str) -> bool:
    """Whether a list of entity tags, as `If-Match` and `If-None-Match` have it, names one."""
    return tag in [one.strip() for one in (header or "").split(",")]


def check_unchanged(if_match: str | None, record: Record) -> None:
    """Make sure that a change is based on the record as it is.

    Args:
        if_match: the header `If-Match`.
        record: as it stands.

    Raises:
        EtagMissing: the header is missing, or a star, which would overwrite what the caller has not seen.
        RecordChanged: it names another state of the record.
    """
    if not if_match or if_match.strip() == "*":
        raise EtagMissing("Send If-Match with the ETag of the classification that you have seen.")
    if not names(if_match, etag(record)):
        review = record.review
        who = f"{review.by} has decided {review.label} since you looked" if review else "It is not as you saw it"
        raise RecordChanged(f"{who}: read it again, then decide.")


def wait_seconds(prefer: str | None) -> int:
    """How long a caller prefers to wait (`Prefer: wait=N`, RFC 7240), 0 to `MAX_WAIT` seconds."""
    for preference in re.split("[,;]", prefer or ""):
        asked = _WAIT.fullmatch(preference.strip())
        if asked:
            return min(int(asked[1]), MAX_WAIT)
    return 0


def media_type(content_type: str | None) -> str:
    """The media type of a body, without parameters.

    Raises:
        BodyNotTaken: neither JSON nor a picture of a kind that is taken.
    """
    given = (content_type or JSON).partition(";")[0].strip().lower()
    named = _ALIASES.get(given, given)
    if named != JSON and named not in PICTURE_TYPES:
        raise BodyNotTaken(
            f"{given or 'A body without a type'} is not taken: send a picture as {', '.join(PICTURE_TYPES)}, or JSON."
        )
    return named


def posted_picture(body: bytes) -> bytes:
    """The picture in a body.

    Raises:
        InvalidRequest: there is none.
        BodyTooLarge: it has more than `MAX_POSTED_BYTES`.
    """
    if not body:
        raise InvalidRequest("The body is empty: send the picture's bytes.")
    if len(body) > MAX_POSTED_BYTES:
        raise BodyTooLarge(
            f"The picture has {len(body) / 1e6:.1f} MB, {MAX_POSTED_BYTES / 1e6:.1f} MB fit through here: "
            "POST /uploads tells where to send a larger one."
        )
    return body


def idempotency_key(header: str | None) -> str | None:
    """The caller's own name for an upload.

    Raises:
        InvalidRequest: it is empty, too long, or has other characters.
    """
    if header is None:
        return None
    key = header.strip()
    if not re.fullmatch(f"[!-~]{{1,{MAX_IDEMPOTENCY_KEY}}}", key):
        raise InvalidRequest(
            f"An Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} letters, digits and signs, and no spaces."
        )
    return key


def named_picture(body: bytes) -> tuple[str, str | None]:
    """The key and version of a picture that a body names.

    Raises:
        InvalidRequest: it names none.
    """
    named = _object(body)
    key, version_id = named.get("key"), named.get("version_id")
    if not isinstance(key, str) or not isinstance(version_id, str | None):
        raise InvalidRequest(
            'Send JSON such as {"key": "inbox/photo.jpg"}, with "version_id" if you mean an older one.'
        )
    return key, version_id


def announced_type(body: bytes) -> str:
    """The media type of a picture that is going to be uploaded.

    Raises:
        InvalidRequest: the body does not say.
        BodyNotTaken: such pictures are not taken.
    """
    content_type = _object(body).get("content_type")
    if not isinstance(content_type, str):
        raise InvalidRequest('Send JSON such as {"content_type": "image/jpeg"}.')
    named = media_type(content_type)
    if named == JSON:
        raise BodyNotTaken(f"Upload a picture, one of {', '.join(PICTURE_TYPES)}.")
    return named


def decided(body: bytes, record: Record) -> tuple[str, str | None]:
    """The label and note of a reviewer.

    Args:
        body: of the request.
        record: what it is about.

    Raises:
        NotNow: the record does not wait for a person.
        InvalidRequest: this is no decision, or not about this picture's classes.
    """
    if record.status not in (Status.REVIEW, Status.REVIEWED):
        raise NotNow(f"Only what was held back is decided by a person; this picture is {record.status}.")
    given = _object(body)
    label, note = given.get("label"), given.get("note")
    allowed = [*(record.labels or ()), store.NEITHER]
    if label not in allowed:
        raise InvalidRequest(f'Send JSON such as {{"label": "{allowed[0]}"}}; labels are {", ".join(allowed)}.')
    if not isinstance(note, str | None) or len(note or "") > MAX_NOTE or not _is_text(note or ""):
        raise InvalidRequest(f"A note is text of up to {MAX_NOTE} characters.")
    return str(label), (note or "").strip() or None


def listed(query: Mapping[str, str]) -> tuple[list[Status], Order, int, Position | None]:
    """What a listing is asked for: statuses, order, the size of a page, and where it begins.

    Args:
        query: the parameters `status`, `limit`, `after`, all optional.

    Raises:
        InvalidRequest: one of them makes no sense.
    """
    check_names(query, "status", "limit", "after")
    status = query.get("status")
    if status is not None and status not in list(Status):
        raise InvalidRequest(f"status is one of {', '.join(Status)}, not {status!r}.")
    statuses = list(Status) if status is None else [Status(status)]
    order = listing.LEAST_SURE_FIRST if statuses == [Status.REVIEW] else listing.NEWEST_FIRST
    limit = whole(query, "limit", DEFAULT_PAGE, MAX_PAGE)
    return statuses, order, limit, _position(query["after"], statuses, order) if "after" in query else None


def check_names(query: Mapping[str, str], *known: str) -> None:
    """Make sure that no parameter is misspelt.

    Raises:
        InvalidRequest: there is one that is not known.
    """
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise InvalidRequest(f"There is no parameter {', '.join(unknown)}; there is {', '.join(known)}.")


def whole(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number from 1 that a parameter gives.

    Raises:
        InvalidRequest: it is none, or too large.
    """
    text = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise InvalidRequest(f"{name} is a whole number from 1 to {most}, not {text!r}.")
    return int(text)


def cursor(position: Position | None, statuses: Sequence[Status]) -> str | None:
    """Where a listing goes on, as one word for a caller to give back.

    Args:
        position: how far it has come; None at its end.
        statuses: what it lists, so that its word is not taken for that of another.
    """
    if position is None:
        return None
    text = json.dumps([statuses, position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def caller(context: Mapping[str, Any]) -> str:
    """Who asks: the address or name of somebody signed in, or the ARN of AWS credentials.

    Args:
        context: API Gateway's `requestContext`.
    """
    claims = (context.get("authorizer") or {}).get("claims") or {}
    names = (claims.get("email"), claims.get("cognito:username"), claims.get("sub"))
    arn = (context.get("identity") or {}).get("userArn")
    return next((str(name) for name in (*names, arn) if name), "local")


def picture_type(key: str) -> str | None:
    """What a browser is told that a picture is, going by its name; None where the name does not tell."""
    name = key.rpartition("/")[2]
    _, dot, extension = name.rpartition(".")
    return _EXTENSION_TYPES.get(f".{extension.lower()}", "application/octet-stream") if dot else None


def _position(text: str, statuses: Sequence[Status], order: Order) -> Position:
    try:
        of, position = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        found = {
            Status(name): place if place is None else (str(place[0]), str(place[1])) for name, place in position.items()
        }
        if of != statuses or not found or not set(found) <= set(statuses):
            raise ValueError("not of this listing")
        if not all(_is_place(place, order) for place in position.values()):
            raise ValueError("not a place")
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise InvalidRequest("after is not the `next` of this listing: ask for the first page, without it.") from error
    return found


def _is_place(place: Any, order: Order) -> bool:
    return place is None or (
        len(place) == 2
        and all(isinstance(part, str) and part and _is_text(part) for part in place)
        and (order.kind == "S" or _NUMBER.fullmatch(place[0]) is not None)
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InvalidRequest("The body is not a JSON object.")
    return given


def _is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: JSON can hold half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
