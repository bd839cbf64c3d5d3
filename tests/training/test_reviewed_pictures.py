"""From pictures that are held back, over what people decide, to a model trained on it, on the embedded stack."""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from chalicelib import workflow
from chalicelib.settings import Settings
from chalicelib.store import Record, Status
from local.stack import Stack
from tests.training import drawings
from tests.training.datasets import variation, write_folder
from tests.training.lifecycle import run_well
from tests.training.pages import Page
from training.layout import Manifest

OK = 200
KINDS = ("bicycle", "motorcycle")
STRICT = {"CONFIDENCE_THRESHOLD": "1", "MIN_KNOWN": "1"}
"""A stage with which every drawing is held back, whatever the model makes of it."""


def decide(stack: Stack, record: Record, label: str, note: str | None = None) -> None:
    """Review a picture as the page does."""
    url = f"{stack.api_url}/classifications/{record.id}"
    etag = httpx.get(url, trust_env=False).headers["ETag"]
    body = {"label": label} | ({"note": note} if note else {})
    answer = httpx.put(f"{url}/review", json=body, headers={"If-Match": etag}, trust_env=False)
    assert answer.status_code == OK, answer.text


@pytest.mark.timeout(300)
def test_held_back_pictures_are_reviewed_staged_trained_on_and_judged(
    embedded: Stack, ended: Callable[[str], Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("app"), "settings", Settings.from_environment(os.environ | STRICT))
    shown: dict[str, tuple[Record, str]] = {}
    copies = []
    drawn = [(kind, drawings.encode(variation(kind, 5000 + n, 64))) for n in range(12) for kind in KINDS]
    drawn += [
        ("neither", drawings.encode(draw(64, shift=(5 * n, 0))))
        for n in range(3)
        for draw in (drawings.house, drawings.flower)
    ]
    for label, picture in drawn:
        record = ended(workflow.identity(embedded.drop(f"{label}-{uuid4()}.png", picture)))
        assert record.status is Status.REVIEW
        shown[record.id] = record, label
        copies += [picture] if label == "bicycle" else []
    for record, label in shown.values():
        decide(embedded, record, label, note="seen")

    folder = write_folder(tmp_path / "pictures", each=30, size=64)
    for number, picture in enumerate(copies):
        (folder / "bicycle" / f"copy{number}.png").write_bytes(picture)
    options = ("--folder", folder, "--out", tmp_path / "data", "--reviews", embedded.settings.records_table)
    run_well("stage", *options, "--reviewed-share", "0.3")
    manifest = Manifest.read(tmp_path / "data")
    ours = {path: one for path, one in manifest.reviews.items() if one.id in shown}
    assert {one.id for one in ours.values()} == shown.keys()
    left_out = [one.path for one in manifest.skipped if one.path.startswith("bicycle/copy")]
    assert sorted(left_out) == sorted(f"bicycle/copy{number}.png" for number in range(len(copies)))
    for path, one in ours.items():
        record, label = shown[one.id]
        split, staged_as, _ = path.split("/")
        assert (staged_as, one.note, one.said.label) == (label, "seen", record.label)
        assert one.said.model == record.model
        assert split in ("train", "reviewed")

    files = ("--data", tmp_path / "data", "--model", tmp_path / "model")
    run_well("train", *files)
    done = run_well("evaluate", *files, "--out", tmp_path, "--json", "--min-accuracy", "0")
    reviewed = json.loads(done.stdout)["reviewed"]
    assert reviewed["pictures"] == len(manifest.split("reviewed"))
    assert reviewed["trained_on"] == len(manifest.reviewed("train"))
    assert reviewed["before"]["held_back"]["value"] == 1
    neither = manifest.counts()["reviewed"]["neither"]
    for when in ("before", "now"):
        assert reviewed[when]["neither_seen"]["total"] == neither > 0
        assert reviewed[when]["agrees"]["total"] == reviewed["pictures"] - neither
    assert "What people have decided" in Page(tmp_path / "report.html").words()
    head = json.loads((tmp_path / "model" / "head.json").read_text())
    assert head["labels"] == list(KINDS)
    assert sum(head["provenance"]["pictures"].values()) == len(manifest.split("train"))
    assert head["provenance"]["others"] == len(manifest.others("train")) > 0
