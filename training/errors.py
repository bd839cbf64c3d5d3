"""What can go wrong in training, drawn once.

    TrainingError                exit code 1: something failed that was asked for rightly
    ├── InputError               exit code 2: what the caller gave has to change
    │   ├── ArchiveError         the archive is not the one that it should be, or is damaged
    │   ├── PicturesError        a class without pictures, a class that does not exist, a picture that cannot be read
    │   ├── ModelError           no model that can be used, or one that does not belong to its evaluation
    │   └── AccountError         no credentials, no region, no permission, or a bucket of somebody else's
    ├── FloorMissed              the model is not as good as asked for
    ├── Worse                    the model is worse than the one that it is compared with
    ├── JobFailed                the training job did not end well
    ├── EndpointFailed           the endpoint did not come up, was rolled back or does not answer
    ├── DriftFound               what the endpoint sees has drifted away from what it was evaluated on
    └── Declined                 the question was answered with no

Every message says in plain words what is wrong and what to do about it.
"""

from commandline.errors import AccountError, Declined, InputError
from commandline.errors import CommandError as TrainingError

__all__ = [
    "AccountError",
    "ArchiveError",
    "Declined",
    "DriftFound",
    "EndpointFailed",
    "FloorMissed",
    "InputError",
    "JobFailed",
    "ModelError",
    "PicturesError",
    "TrainingError",
    "Worse",
]


class ArchiveError(InputError):
    """The archive is not the one that it should be, or is damaged."""


class PicturesError(InputError):
    """A class without pictures, a class that does not exist, or a picture that cannot be read."""


class ModelError(InputError):
    """No model that can be used, or one that does not belong to its evaluation."""


class FloorMissed(TrainingError):
    """The model is not as good as asked for."""


class Worse(TrainingError):
    """The model is worse than the one that it is compared with."""


class JobFailed(TrainingError):
    """The training job did not end well."""


class EndpointFailed(TrainingError):
    """The endpoint did not come up, was rolled back or does not answer."""


class DriftFound(TrainingError):
    """What the endpoint sees has drifted away from what it was evaluated on."""
