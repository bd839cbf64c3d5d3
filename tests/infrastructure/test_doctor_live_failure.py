"""A picture that fails for want of an endpoint, in the system that the other tests use: there an endpoint can go."""

from collections.abc import Iterator

import pytest

from infrastructure import doctor
from infrastructure.checks import live
from infrastructure.checks.common import Site
from infrastructure.doctor import Severity
from local import ROOT
from local.stack import Stack
from tests.infrastructure.conftest import forget_clients
from tests.infrastructure.healthy import NAMES


@pytest.fixture(autouse=True)
def fresh_clients(stack: Stack) -> Iterator[None]:
    forget_clients()
    yield
    forget_clients()


def test_an_endpoint_that_is_gone_is_told_as_the_reason(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(stack.endpoint, "name", "another")
    (found,) = doctor.results(doctor.LIVE, Site(NAMES, ROOT / ".chalice"))
    assert found.severity is Severity.PROBLEM
    assert "FAILED after" in found.what
    assert f"The endpoint {NAMES.prefix} cannot be asked" in found.what
    assert f"of {NAMES.prefix} shows which step it was" in found.fix


def test_with_the_endpoint_it_comes_out(stack: Stack) -> None:
    (found,) = doctor.results(doctor.LIVE, Site(NAMES, ROOT / ".chalice"))
    assert found.severity is Severity.OK, found.what
