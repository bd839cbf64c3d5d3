"""What can go wrong, drawn once.

    InfrastructureError          exit code 1: something failed that was asked for rightly
    ├── InputError               exit code 2: what the caller gave has to change
    │   └── AccountError         no credentials, no region, no permission
    ├── StackFailed              CloudFormation did not come to where it should
    ├── ChaliceFailed            `chalice` ended with an error
    ├── NotEmpty                 a bucket or table with content is not deleted unasked
    ├── Unhealthy                the doctor found something that has to be mended
    └── Declined                 the question was answered with no

Every message says in plain words what is wrong and what to do about it.
"""

from commandline.errors import AccountError, Declined, InputError
from commandline.errors import CommandError as InfrastructureError

__all__ = [
    "AccountError",
    "ChaliceFailed",
    "Declined",
    "InfrastructureError",
    "InputError",
    "NotEmpty",
    "StackFailed",
    "Unhealthy",
]


class StackFailed(InfrastructureError):
    """CloudFormation did not come to where it should."""


class ChaliceFailed(InfrastructureError):
    """`chalice` ended with an error."""


class NotEmpty(InfrastructureError):
    """A bucket or table with content is not deleted unasked."""


class Unhealthy(InfrastructureError):
    """The doctor found something that has to be mended."""
