"""`python -m local`."""

import os

from local import HIDDEN

for name in HIDDEN:
    os.environ.pop(name, None)

from local.cli import main  # noqa: E402 - moto looks for the profile when it is imported

main()
