"""The Chalice app: the functions of the workflow, the S3 trigger and the REST routes. Wiring only."""

import json
import os
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.logging import Logger
from chalice.app import Chalice, CloudWatchEvent, IAMAuthorizer, Rate, Request, Response, S3Event

from chalicelib import inbox, metrics, reconcile, steps, store, workflow
from chalicelib.errors import InvalidRequest, SconesError
from chalicelib.settings import Settings
from chalicelib.store import Status

Headers = dict[str, str | list[str]]

app = Chalice(app_name="scones-unlimited", configure_logs=False)
settings = Settings.from_environment(os.environ)
logger = Logger(service=app.app_name)
signed = IAMAuthorizer()


@app.lambda_function(name="serialize")
def serialize(event: dict[str, Any], _context: Any) -> steps.State:
    """Step 1: the S3 object becomes base64, small enough for the workflow."""
    return steps.serialize(event)


@app.lambda_function(name="classify")
def classify(event: dict[str, Any], _context: Any) -> steps.State:
    """Step 2: the endpoint's probabilities; the picture leaves the state."""
    return steps.classify(settings, event)


@app.lambda_function(name="filter")
def filter_(event: dict[str, Any], _context: Any) -> steps.State:
    """Step 3: the decision, or ThresholdConfidenceNotMet."""
    return steps.decide(settings, event)


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


def answering_problems(view: Callable[..., Any]) -> Callable[..., Any]:
    """A view whose errors are answered in the one shape of RFC 9457."""

    @wraps(view)
    def answer(**arguments: str) -> Any:
        try:
            return view(**arguments)
        except SconesError as error:
            problem = error
        except Exception:
            logger.exception("request failed")
            problem = SconesError("What happened is in the log of the function.")
        headers: Headers = {"Content-Type": "application/problem+json"}
        return Response(problem.problem(), status_code=problem.status, headers=headers)

    return answer


@app.route("/classifications", methods=["POST"], authorizer=signed)
@answering_problems
def create_classification() -> Response:
    """Classify a picture that is in the inbox: `{"key", "version_id"?}`."""
    request = app.current_request
    key, version_id = _named_picture(request)
    record = workflow.start(settings, inbox.find(settings.inbox_bucket, key, version_id))
    pending = record.status is Status.PENDING
    path = request.context["path"] if request else "/classifications"  # behind API Gateway the stage is part of it
    headers: Headers = {"Location": f"{path.rstrip('/')}/{record.id}"}
    if pending:
        headers["Retry-After"] = "1"
    return Response(
        record.as_dict(),
        status_code=HTTPStatus.ACCEPTED if pending else HTTPStatus.OK,
        headers=headers,
    )


@app.route("/classifications/{identity}", methods=["GET"], authorizer=signed)
@answering_problems
def read_classification(identity: str) -> dict[str, Any]:
    """The record of a picture."""
    return store.get(settings.records_table, identity).as_dict()


def _named_picture(request: Request | None) -> tuple[str, str | None]:
    try:
        named = json.loads(request.raw_body if request else b"")
        key, version_id = named["key"], named.get("version_id")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        key = version_id = None
    if not isinstance(key, str) or not isinstance(version_id, str | None):
        raise InvalidRequest(
            'Send JSON such as {"key": "inbox/photo.jpg"}, with "version_id" if you mean an older one.'
        )
    return key, version_id
