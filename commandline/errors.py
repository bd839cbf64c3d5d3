"""The beginning of the trees of errors: what any command can end with.

CommandError                 exit code 1: something failed that was asked for rightly
├── InputError               exit code 2: what the caller gave has to change
│   └── AccountError         no credentials, no region, no permission, or something of somebody else's
└── Declined                 the question was answered with no
"""


class CommandError(Exception):
    """Something failed."""

    exit_code = 1


class InputError(CommandError):
    """What the caller gave has to change."""

    exit_code = 2


class AccountError(InputError):
    """No credentials, no region, no permission, or something of somebody else's."""


class Declined(CommandError):
    """The question was answered with no."""
