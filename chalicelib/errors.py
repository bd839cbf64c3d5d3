"""Every error of ours, in one tree.

    SconesError
    ├── PictureError                     the picture's fault: ends as REJECTED
    │   ├── InvalidImage                 not a picture, truncated, empty or broken
    │   ├── UnsupportedImage             a format that is not taken, or a name that lies about it
    │   ├── ImageTooLarge                too many bytes or pixels
    │   └── ImageNotFound                gone, or replaced, before it was read
    ├── ThresholdConfidenceNotMet        not sure enough: ends as REVIEW
    ├── EndpointError                    the endpoint's fault: ends as FAILED
    │   ├── EndpointBusy                 throttled, starting or out of reach: passes, so it is retried
    │   ├── ModelFailed                  the model's code failed: may pass, so it is retried briefly
    │   ├── EndpointUnavailable          missing, misnamed or forbidden: does not pass by itself
    │   └── InvalidInference             answered, but not with probabilities
    ├── StorageBusy                      S3, DynamoDB or Step Functions throttled or failing: passes
    ├── RequestError                     the caller's fault
    │   ├── InvalidRequest               a body, a parameter or an event that cannot be understood
    │   ├── BodyNotTaken                 a body of a kind that is not taken
    │   ├── BodyTooLarge                 a body that does not fit through the API
    │   ├── RecordNotFound               no classification has this id
    │   ├── PageNotFound                 the page has no such file
    │   ├── MethodNotTaken               this cannot be done to it
    │   ├── NotNow                       where the picture stands does not allow it
    │   ├── RecordChanged                somebody else has changed the record since it was read
    │   ├── EtagMissing                  a change that does not say what it is based on
    │   └── IdempotencyKeyReused         one Idempotency-Key for two pictures
    └── SettingsError                    the deployment's fault: an environment variable is missing or wrong

The class name is what Lambda reports as the error's type and what `statemachine.json` retries and catches: renaming a
class here without renaming it there breaks the workflow, and a test says so. Step Functions compares names, it knows
no inheritance, so only the leaves are raised.
"""

from http import HTTPStatus
from typing import ClassVar


class SconesError(Exception):
    """An error whose message is a sentence for a person.

    Attributes:
        status: the HTTP status that the REST API answers with.
        title: the headline of the problem, the same for each occurrence (RFC 9457).
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    title: ClassVar[str] = "Something went wrong on our side"

    def problem(self) -> dict[str, object]:
        """The problem details of RFC 9457; the type is a relative reference, one per class."""
        return {
            "type": f"/problems/{type(self).__name__}",
            "title": self.title,
            "status": int(self.status),
            "detail": str(self),
        }


class PictureError(SconesError):
    """The picture cannot be classified, and trying again would not change that."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class InvalidImage(PictureError):
    """Not a picture, truncated, empty or broken."""

    title = "The picture cannot be read"


class UnsupportedImage(PictureError):
    """A format that is not taken, or a name that lies about the format."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = "This kind of file is not taken"


class ImageTooLarge(PictureError):
    """More bytes or pixels than are taken."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "The picture is too large"


class ImageNotFound(PictureError):
    """The picture was deleted or replaced before it was read, or never existed."""

    status = HTTPStatus.NOT_FOUND
    title = "The picture is not in the inbox"


class ThresholdConfidenceNotMet(SconesError):
    """The model is not sure enough: the picture waits for a person."""

    title = "The model is not sure enough"


class EndpointError(SconesError):
    """The SageMaker endpoint did not give an answer."""

    status = HTTPStatus.BAD_GATEWAY
    title = "The model did not answer"


class EndpointBusy(EndpointError):
    """Throttled, starting or out of reach: worth trying again."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class ModelFailed(EndpointError):
    """The model's own code answered with an error."""


class EndpointUnavailable(EndpointError):
    """Missing, misnamed or forbidden: someone has to mend it first."""


class InvalidInference(EndpointError):
    """The endpoint answered with something else than probabilities."""


class StorageBusy(SconesError):
    """S3, DynamoDB or Step Functions is throttling or failing: worth trying again."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The service is busy, try again in a moment"


class RequestError(SconesError):
    """The caller's fault: asking again for the same will not help."""

    status = HTTPStatus.BAD_REQUEST


class InvalidRequest(RequestError):
    """A body, a parameter or an event that cannot be understood."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "The request cannot be understood"


class BodyNotTaken(RequestError):
    """A body of a kind that is not taken."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = "This kind of body is not taken"


class BodyTooLarge(RequestError):
    """A body that does not fit through API Gateway and Lambda."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "The body is too large"


class RecordNotFound(RequestError):
    """No classification has this id."""

    status = HTTPStatus.NOT_FOUND
    title = "No such classification"


class PageNotFound(RequestError):
    """The page has no such file."""

    status = HTTPStatus.NOT_FOUND
    title = "No such file"


class MethodNotTaken(RequestError):
    """A method that a route does not have."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    title = "This cannot be done here"


class NotNow(RequestError):
    """Where the picture stands does not allow it."""

    status = HTTPStatus.CONFLICT
    title = "The classification is not in a state for this"


class RecordChanged(RequestError):
    """Somebody else has changed the record since the caller read it."""

    status = HTTPStatus.PRECONDITION_FAILED
    title = "The classification has changed meanwhile"


class EtagMissing(RequestError):
    """A change that does not say which state of the record it is based on (RFC 6585)."""

    status = HTTPStatus.PRECONDITION_REQUIRED
    title = "Say what the change is based on"


class IdempotencyKeyReused(RequestError):
    """One Idempotency-Key for two different pictures."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "The Idempotency-Key belongs to another picture"


class SettingsError(SconesError):
    """An environment variable is missing or wrong."""

    title = "The deployment is misconfigured"
