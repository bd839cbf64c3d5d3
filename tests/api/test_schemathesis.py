"""The API does what its OpenAPI document says, whatever is sent to it."""

import os
import subprocess
import sys
from pathlib import Path

from local.stack import Stack

SETTINGS = Path(__file__).parent / "schemathesis.toml"

LIMIT = 110
"""Seconds for all of it."""


def test_no_request_that_the_document_allows_or_forbids_is_answered_otherwise_than_it_says(
    stack: Stack, tmp_path: Path
) -> None:
    """Examples, edge cases, random data that fits and that does not, and calls that follow the document's links.

    The same requests each time: a finding stays until it is mended.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS), "run", "--no-color"]
    ended = subprocess.run(  # noqa: S603
        [*command, f"{stack.api_url}/openapi.json"],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    print(ended.stdout, ended.stderr)
    assert ended.returncode == 0, ended.stdout
    assert "Stateful" in ended.stdout
