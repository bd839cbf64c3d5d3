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


class InfrastructureError(Exception):
    """Something failed."""

    exit_code = 1


class InputError(InfrastructureError):
    """What the caller gave has to change."""

    exit_code = 2


class AccountError(InputError):
    """No credentials, no region, no permission."""


class StackFailed(InfrastructureError):
    """CloudFormation did not come to where it should."""


class ChaliceFailed(InfrastructureError):
    """`chalice` ended with an error."""


class NotEmpty(InfrastructureError):
    """A bucket or table with content is not deleted unasked."""


class Unhealthy(InfrastructureError):
    """The doctor found something that has to be mended."""


class Declined(InfrastructureError):
    """The question was answered with no."""
