"""Where nothing may be left out, a skip is a failure."""

import subprocess
import sys
from pathlib import Path

import pytest

from local import ROOT
from tests.api.nothing_left_out import MAY_BE_MISSING

PROGRAM = ROOT / "tests" / "api" / "nothing_left_out.py"

TESTS = f"""
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="there is no Chromium")
def test_marked(): pass

def test_skips(): pytest.skip("there is no curl")

@pytest.fixture
def missing(): pytest.skip("there is no browser")

def test_asks_for_what_is_missing(missing): pass

@pytest.mark.xfail(strict=True)
def test_is_known_to_fail(): assert False

@pytest.mark.skip(reason={MAY_BE_MISSING[0].removeprefix("Skipped: ")!r})
def test_photos(): pass
"""


@pytest.mark.parametrize(
    ("program", "code", "summary"),
    [
        (["-m", "pytest"], 0, "1 passed, 4 skipped, 1 xfailed"),
        ([str(PROGRAM)], 1, "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors"),
    ],
    ids=["as usual", "nothing left out"],
)
def test_what_is_skipped_fails_but_for_what_nobody_can_install(
    tmp_path: Path, program: list[str], code: int, summary: str
) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, *program, "-q", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    ended = subprocess.run(  # noqa: S603
        [*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, summary in ended.stdout) == (code, True), ended.stdout
    assert ("is left out, and nothing may be" in ended.stdout) == bool(code)


def test_ci_leaves_nothing_out() -> None:
    assert "export REQUIRE_ALL=1\n" in (ROOT / ".ci" / "run").read_text()
    assert "$(if $(REQUIRE_ALL),tests/api/nothing_left_out.py,-m pytest)" in (ROOT / "Makefile").read_text()
