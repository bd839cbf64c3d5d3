"""The Chalice app: the functions of the workflow, the S3 trigger and the REST routes. Wiring only."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import wraps
from http import HTTPStatus
from itertools import islice
from typing import Any

from aws_lambda_powertools.logging import Logger
from chalice.app import (
    Authorizer,
    Chalice,
    CloudWatchEvent,
    CognitoUserPoolAuthorizer,
    IAMAuthorizer,
    Rate,
    Request,
    Response,
    S3Event,
)

from chalicelib import inbox, listing, metrics, overview, page, reconcile, rest, steps, store, workflow
from chalicelib.errors import MethodNotTaken, NotNow, SconesError, ThresholdConfidenceNotMet
from chalicelib.inbox import Source
from chalicelib.settings import Settings
from chalicelib.store import Record, Status

Headers = dict[str, str | list[str]]
View = Callable[..., Response]
Handler = Callable[[dict[str, Any], Any], steps.State]

app = Chalice(app_name="scones-unlimited", configure_logs=False)
app.api.binary_types = [*rest.PICTURE_TYPES, "image/jpg"]
settings = Settings.from_environment(os.environ)
logger = Logger(service=app.app_name)


def entering(step: str) -> Callable[[Handler], Handler]:
    """A handler that notes in the record that the picture has come to its step."""

    def noting(handler: Handler) -> Handler:
        @wraps(handler)
        def handle(event: dict[str, Any], context: Any) -> steps.State:
            try:
                steps.enter(settings, event, step)
            except Exception:
                logger.warning("step could not be noted", exc_info=True, extra={"id": event.get("id")})
            return handler(event, context)

        return handle

    return noting


@app.lambda_function(name="serialize")
@entering("Serialize")
def serialize(event: dict[str, Any], _context: Any) -> steps.State:
    """Step 1: the S3 object becomes base64, small enough for the workflow."""
    return steps.serialize(event)


@app.lambda_function(name="classify")
@entering("Classify")
def classify(event: dict[str, Any], _context: Any) -> steps.State:
    """Step 2: the endpoint's probabilities; the picture leaves the state."""
    return steps.classify(settings, event)


@app.lambda_function(name="filter")
@entering("Filter")
def filter_(event: dict[str, Any], _context: Any) -> steps.State:
    """Step 3: the decision, or ThresholdConfidenceNotMet."""
    try:
        return steps.decide(settings, event)
    except ThresholdConfidenceNotMet:
        about = {"id": event.get("id"), "reason_code": event.get("reason_code")}
        logger.info("picture is held back", extra=about)
        raise


@app.lambda_function(name="open_record")
def open_record(event: dict[str, Any], _context: Any) -> steps.State:
    """Step 0 of a backfill, whose pictures nobody has announced: the record is opened."""
    return steps.open_record(settings, event)


@app.on_s3_event(bucket=settings.inbox_bucket, events=["s3:ObjectCreated:*"], prefix=inbox.PREFIX, name="on_picture")
def on_picture(event: S3Event) -> None:
    """Start the workflow for every picture that S3 tells of.

    Whatever fails is raised at the end, once the others have started, so that Lambda tries the event again: starting
    twice does no harm.
    """
    failures = []
    for source in inbox.sources(event.to_dict()):
        try:
            record = workflow.start(settings, source)
            logger.info("picture came in", extra={"id": record.id, "status": record.status, "key": source.key})
        except Exception as failure:
            logger.exception("picture could not be started", extra={"key": source.key})
            failures.append(failure)
    if failures:
        raise ExceptionGroup("some pictures could not be started", failures)


class WholeEvent(S3Event):
    """An event as it came. Chalice would look into its first record, and S3's test event has none."""

    def _extract_attributes(self, event_dict: dict[str, Any]) -> None:
        """Nothing: `inbox.sources` reads it."""


app.handler_map["on_picture"].event_class = WholeEvent  # type: ignore[attr-defined]


@app.on_cw_event(workflow.ended_badly(settings), name="on_stopped")
def on_stopped(event: CloudWatchEvent) -> None:
    """Give up the record of an execution that could not write an ending itself."""
    if workflow.give_up(settings, event.detail):
        logger.error("execution ended without an ending", extra={"execution": event.detail.get("executionArn")})


@app.schedule(Rate(1, Rate.HOURS), name="reconcile")
def reconcile_(event: CloudWatchEvent) -> dict[str, Any]:
    """Find what was lost on the way in, and start it again.

    Whoever asks by hand puts what is asked into the event's detail; the schedule's is empty.
    """
    context: Any = event.context

    def seconds_left() -> float:
        return float(context.get_remaining_time_in_millis() / 1000)

    if event.detail:
        outcome = reconcile.look_through(settings, event.detail, seconds_left)
    else:
        outcome = reconcile.keep_up(settings, seconds_left)
    logger.info("reconciled", extra=outcome.as_dict())
    return outcome.as_dict()


@app.schedule(Rate(5, Rate.MINUTES), name="measure")
def measure(_event: CloudWatchEvent) -> None:
    """Tell CloudWatch how long the oldest unfinished picture waits."""
    metrics.tell_oldest(settings.records_table, reconcile.oldest_unfinished(settings))


signed: Authorizer = (
    CognitoUserPoolAuthorizer("people", provider_arns=[settings.user_pool_arn])
    if settings.user_pool_arn
    else IAMAuthorizer()
)
"""Who may use the API: people of the user pool if there is one, else whoever signs with credentials of AWS's."""

shell: Authorizer | None = None if settings.user_pool_arn else signed
"""Who may load the page: everybody where people sign in by it, since a browser brings no token when it opens a page."""


def route(path: str, method: str, authorizer: Authorizer | None = signed) -> Callable[[View], View]:
    """A route whose errors are answered in the one shape of RFC 9457, and which looks at content types itself."""

    def register(view: View) -> View:
        @wraps(view)
        def answer(**arguments: str) -> Response:
            try:
                return view(**arguments)
            except SconesError as error:
                return _problem(error)
            except Exception:
                logger.exception("request failed")
                return _problem(SconesError("What happened is in the log of the function."))

        app.route(path, methods=[method], authorizer=authorizer, content_types=[])(answer)
        return view

    return register


@app.middleware("http")
def in_one_shape(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """What Chalice itself refuses is answered in the same shape; caches keep nothing unless a view says so."""
    response = get_response(event)
    if isinstance(response.body, dict) and response.body.get("Code") == "MethodNotAllowedError":
        refused = _problem(MethodNotTaken(f"Allowed here: {response.headers['Allow']}."))
        refused.headers["Allow"] = response.headers["Allow"]
        response = refused
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@route("/", "GET", authorizer=shell)
def open_page() -> Response:
    """The page."""
    headers: Headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": page.policy(settings),
        "Referrer-Policy": "no-referrer",
    }
    return Response(page.render(settings, _request().context["path"]), headers=headers)


@route("/assets/{name}", "GET", authorizer=shell)
def read_asset(name: str) -> Response:
    """A file of the page."""
    text, media_type = page.asset(name)
    return Response(text, headers={"Content-Type": media_type, "Cache-Control": "private, max-age=60"})


@route("/health", "GET")
def health() -> Response:
    """Whether the table can be read."""
    store.bookmark(settings.records_table)
    return Response({"status": "ok"})


@route("/openapi.json", "GET")
def describe() -> Response:
    """The API, described for machines."""
    from chalicelib import openapi  # here, because only those who ask for it need it

    return Response(openapi.document(user_pool=bool(settings.user_pool_arn)))


@route("/uploads", "POST")
def allow_upload() -> Response:
    """Leave to upload a picture straight to S3: `{"content_type"}`."""
    return Response(asdict(inbox.allow_upload(settings.inbox_bucket, rest.announced_type(_body()))))


@route("/classifications", "POST")
def create_classification() -> Response:
    """Classify a picture: the body, or one that is in the inbox: `{"key", "version_id"?}`."""
    request = _request()
    record = workflow.start(settings, _posted(request))
    record = workflow.wait(settings, record, rest.wait_seconds(request.headers.get("prefer")))
    path = request.context["path"]  # behind API Gateway the stage is part of it
    return _started(record, f"{path.rstrip('/')}/{record.id}")


@route("/classifications", "GET")
def list_classifications() -> Response:
    """Records, a page at a time: of a status or of all."""
    statuses, order, limit, after = rest.listed(_request().query_params or {})
    found = listing.page(settings.records_table, statuses, order, limit, after)
    records = [rest.representation(settings, record) for record in found.records]
    return Response({"classifications": records, "next": rest.cursor(found.after, statuses)})


@route("/classifications/{identity}", "GET")
def read_classification(identity: str) -> Response:
    """The record of a picture."""
    record = store.get(settings.records_table, identity)
    if rest.names(_request().headers.get("if-none-match"), rest.etag(record)):
        return Response("", status_code=HTTPStatus.NOT_MODIFIED, headers=_tagged(record))
    return _told(record)


@route("/classifications/{identity}/picture", "GET")
def read_picture(identity: str) -> Response:
    """Where the picture is, for some minutes: a redirect, or JSON for those who accept that."""
    record = store.get(settings.records_table, identity)
    link = inbox.link(workflow.picture(settings, record), rest.picture_type(record.s3_key))
    if rest.JSON in _request().headers.get("accept", ""):
        return Response(asdict(link))
    return Response("", status_code=HTTPStatus.FOUND, headers={"Location": link.url})


@route("/classifications/{identity}/review", "PUT")
def decide(identity: str) -> Response:
    """Keep what a person decides: `{"label", "note"?}`."""
    request, record = _request(), store.get(settings.records_table, identity)
    label, note = rest.decided(_body(), record)
    rest.check_unchanged(request.headers.get("if-match"), record)
    by = rest.caller(request.context)
    record = store.decide(settings.records_table, record, label, by, note)
    logger.info("a person decided", extra={"id": record.id, "label": label, "by": by})
    return _told(record)


@route("/classifications/{identity}/review", "DELETE")
def undecide(identity: str) -> Response:
    """Take back what a person decided."""
    record = store.get(settings.records_table, identity)
    if record.status is not Status.REVIEWED:
        raise NotNow(f"Nobody has decided about this picture: it is {record.status}.")
    request = _request()
    rest.check_unchanged(request.headers.get("if-match"), record)
    record = store.undecide(settings.records_table, record)
    logger.info("a decision was taken back", extra={"id": record.id, "by": rest.caller(request.context)})
    return _told(record)


@route("/classifications/{identity}/attempts", "POST")
def run_again(identity: str) -> Response:
    """Classify the same picture once more."""
    record = workflow.run_again(settings, store.get(settings.records_table, identity))
    return _started(record, _request().context["path"].removesuffix("/").removesuffix("/attempts"))


@route("/overview", "GET")
def read_overview() -> Response:
    """What became of the pictures of the last hours, in figures."""
    query: Mapping[str, str] = _request().query_params or {}
    rest.check_names(query, "hours")
    hours = rest.whole(query, "hours", rest.DEFAULT_HOURS, rest.MAX_HOURS)
    since = store.now(ago=hours * 3600)
    records = list(islice(listing.since(settings.records_table, since), overview.MAX_RECORDS + 1))
    about = {
        "since": since,
        "hours": hours,
        "waiting": listing.count(settings.records_table, Status.REVIEW),
        "complete": len(records) <= overview.MAX_RECORDS,
    }
    return Response(about | overview.summarize(records[: overview.MAX_RECORDS]))


def _posted(request: Request) -> Source:
    media_type = rest.media_type(request.headers.get("content-type"))
    if media_type == rest.JSON:
        return inbox.find(settings.inbox_bucket, *rest.named_picture(_body()))
    key = rest.idempotency_key(request.headers.get("idempotency-key"))
    once = key and f"{rest.caller(request.context)} {key}"
    return inbox.add(settings.inbox_bucket, rest.posted_picture(_body()), media_type, once)


def _request() -> Request:
    request = app.current_request
    if request is None:
        raise RuntimeError("There is no request.")
    return request


def _body() -> bytes:
    body = _request().raw_body
    return body if isinstance(body, bytes) else body.encode()


def _started(record: Record, place: str) -> Response:
    pending = record.status is Status.PENDING
    response = _told(record, HTTPStatus.ACCEPTED if pending else HTTPStatus.OK)
    response.headers["Location"] = place
    if pending:
        response.headers["Retry-After"] = "1"
    return response


def _told(record: Record, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(rest.representation(settings, record), status_code=status, headers=_tagged(record))


def _tagged(record: Record) -> Headers:
    return {"ETag": rest.etag(record), "Cache-Control": "private, no-cache"}


def _problem(error: SconesError) -> Response:
    headers: Headers = {"Content-Type": "application/problem+json"}
    if error.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    return Response(error.problem(), status_code=error.status, headers=headers)
