"""The notebook: run from its first cell to its last on the embedded stack, and saved with outputs."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import boto3
import nbformat
import pytest
from nbclient import NotebookClient

from tests.training.archives import write_archive
from tests.training.lifecycle import Project
from training.cli import COMMANDS
from training.layout import ROOT

NOTEBOOK = ROOT / "training" / "walkthrough.ipynb"
PICTURE = "image/svg+xml"


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(notebook: Any) -> set[str]:
    """The kinds of output that the cells have."""
    return {kind for cell in cells(notebook) for output in cell.outputs for kind in output.get("data", {"text": ""})}


@pytest.fixture
def saved() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


@pytest.mark.timeout(400)
def test_every_cell_runs_on_the_embedded_stack_and_nothing_is_left_behind(
    saved: Any, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / "archive.tar.gz", train=40, test=12)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    shutil.copytree(ROOT / ".chalice", tmp_path / ".chalice", ignore=shutil.ignore_patterns("deploy*"))
    (tmp_path / "training").mkdir()
    monkeypatch.setenv("STAGE_OPTIONS", f"--archive {archive} --sha256 {digest}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    NotebookClient(saved, timeout=200, resources={"metadata": {"path": str(tmp_path / "training")}}).execute()
    assert PICTURE in shown(saved)
    for judged in ("evaluation", "endpoint", "threshold", "monitoring", "comparison"):
        assert (tmp_path / "build" / judged / "report.html").is_file()
    sagemaker = boto3.client("sagemaker")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_its_outputs_are_saved_and_none_is_an_error(saved: Any) -> None:
    assert all(cell.execution_count for cell in cells(saved))
    assert PICTURE in shown(saved)
    assert not [output for cell in cells(saved) for output in cell.outputs if output.output_type == "error"]


def test_it_shows_every_command(saved: Any) -> None:
    text = "\n".join(cell.source for cell in cells(saved))
    assert [name for name in COMMANDS if f"{name} " not in text.replace('"', " ")] == []


def test_it_speaks_of_no_machine_in_particular_and_holds_no_photo(saved: Any) -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "image/png" not in text
    assert "image/jpeg" not in text
    assert str(Path.home()) not in text
    assert os.environ.get("HOSTNAME", "no-such-name") not in text
