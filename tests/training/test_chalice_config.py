import json
import shutil
from pathlib import Path

import pytest

from training import chalice_config
from training.errors import InputError
from training.layout import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".chalice", tmp_path / "chalice", ignore=shutil.ignore_patterns("deploy*"))
    return tmp_path / "chalice"


def variables(folder: Path, stage: str) -> dict[str, str]:
    content = json.loads((folder / "config.json").read_text())
    found: dict[str, str] = content["stages"][stage]["environment_variables"]
    return found


def test_the_names_that_stand_there_already_leave_every_byte_as_it_is(folder: Path) -> None:
    before = (folder / "config.json").read_bytes()
    assert not chalice_config.write(folder, "dev", "scones-unlimited-dev", ["bicycle", "motorcycle"])
    assert (folder / "config.json").read_bytes() == before


def test_a_new_name_and_new_labels_change_two_lines_of_one_stage(folder: Path) -> None:
    before = (folder / "config.json").read_text().splitlines()
    assert chalice_config.write(folder, "prod", "other", ["cat", "dog"])
    after = (folder / "config.json").read_text().splitlines()
    assert len(before) == len(after)
    assert [new.strip() for old, new in zip(before, after, strict=True) if old != new] == [
        '"ENDPOINT_NAME": "other",',
        '"LABELS": "cat,dog"',
    ]
    assert variables(folder, "dev")["ENDPOINT_NAME"] == "scones-unlimited-dev"


def test_a_model_without_known_labels_leaves_those_of_the_stage(folder: Path) -> None:
    assert chalice_config.write(folder, "dev", "other", [])
    assert variables(folder, "dev")["LABELS"] == "bicycle,motorcycle"


def test_a_stage_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no stage live; it has: dev, prod\. Choose one with --stage"):
        chalice_config.check(folder, "live")


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_folder_without_a_readable_configuration_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"cannot be read|has no stage"):
        chalice_config.check(tmp_path, "dev")
