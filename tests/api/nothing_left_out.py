"""Pytest, but a test that would be left out fails: what `REQUIRE_ALL=1 make test` runs. Takes pytest's arguments."""

import sys
from collections.abc import Generator

import pytest

MAY_BE_MISSING = ("Skipped: the folder of real photos is not here",)
"""Reasons that stand: nobody may commit what is missing, and no program can install it."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure that tells its reason; what is expected to fail is no skip."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if reason not in MAY_BE_MISSING:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} is left out, and nothing may be. {reason}"
    return report


if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:], plugins=[sys.modules[__name__]]))
