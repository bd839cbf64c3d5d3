"""`.chalice/config.json`: tells a stage's functions which endpoint they ask."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training import disk
from training.errors import InputError

CONFIG = "config.json"


def check(folder: Path, stage: str) -> None:
    """Make sure that a stage is there.

    Args:
        folder: usually `.chalice`.
        stage: its name.

    Raises:
        InputError: there is no such stage.
    """
    _variables(_read(folder), folder, stage)


def write(folder: Path, stage: str, endpoint: str, labels: Sequence[str]) -> bool:
    """Write the endpoint's name and labels into a stage.

    Args:
        folder: usually `.chalice`.
        stage: its name.
        endpoint: the endpoint's name.
        labels: in the order of the probabilities; none leaves those that are there.

    Returns:
        Whether that changed anything.

    Raises:
        InputError: there is no such stage.
    """
    content = _read(folder)
    variables = _variables(content, folder, stage)
    wanted = {"ENDPOINT_NAME": endpoint} | ({"LABELS": ",".join(labels)} if labels else {})
    if wanted.items() <= variables.items():
        return False
    variables |= wanted
    disk.write_text(folder / CONFIG, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return True


def _read(folder: Path) -> Any:
    path = folder / CONFIG
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. Name the folder that holds it with --chalice.") from error


def _variables(content: Any, folder: Path, stage: str) -> dict[str, str]:
    stages = content.get("stages", {}) if isinstance(content, dict) else {}
    if stage not in stages:
        known = ", ".join(stages) or "none"
        raise InputError(f"{folder / CONFIG} has no stage {stage}; it has: {known}. Choose one with --stage.")
    variables: dict[str, str] = stages[stage].setdefault("environment_variables", {})
    return variables
