"""`python -m training compare`, from two models and pictures to the report, the figures and the exit code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import Result

from local.stack import Stack
from tests.training import drawings
from tests.training.captured import NOON, line, said, write
from tests.training.lifecycle import Project, run, run_well
from tests.training.pages import Page
from tests.training.reviewing import Desk
from tests.training.staged import write_data
from training import fit, model_archive
from training.layout import COMMITTED_MODEL, Manifest, TrainingRecord

LABELS = ("bicycle", "house", "motorcycle")
RANGE = ("--since", "2026-03-01", "--until", "2026-03-09")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a model of it, and one that takes every class for another."""
    folder = tmp_path_factory.mktemp("compared")
    write_data(folder / "data", LABELS, {"train": 6, "validation": 2, "test": 4})
    fit.fit(folder / "data", fit.Files(folder / "good"), lambda *_: None)
    shutil.copytree(folder / "good", folder / "bad")
    head = json.loads((folder / "bad" / "head.json").read_text())
    head |= {"labels": [*LABELS[1:], LABELS[0]], "version": "turned-1", "threshold": 0.0}
    (folder / "bad" / "head.json").write_text(json.dumps(head))
    return folder


@pytest.fixture
def compare(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Compares two models in `place`; the report is in `out`."""
    monkeypatch.chdir(place)
    return lambda a, b, *options: run("compare", a, b, "--data", "data", "--out", tmp_path / "out", *options)


@pytest.fixture
def content(tmp_path: Path) -> Callable[[], Any]:
    return lambda: json.loads((tmp_path / "out" / "comparison.json").read_text())


@pytest.fixture
def desk(stack: Stack) -> Desk:
    del stack
    return Desk.open("compared-pictures")


def test_a_model_that_is_worse_is_told_with_exit_code_1_and_everything_is_written(
    compare: Callable[..., Result], content: Callable[[], Any], place: Path, tmp_path: Path
) -> None:
    result = compare("good", "bad")
    assert result.exit_code == 1
    assert "bad is worse than good" in result.stderr
    assert "B, compared with A: worse." in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    found = content()
    right = found["figures"]["right"]
    assert (right["only_a"] >= 6, right["b"], right["total"]) == (True, 0, 12)
    assert found["figures"]["wrongly_accepted"]["b"] == 12
    assert found["a"]["head_sha256"] == model_archive.head_sha256(place / "good")
    assert found["data"]["sha256"] == Manifest.read(place / "data").digest("test")
    page = Page(tmp_path / "out" / "report.html")
    page.check()
    assert "B is worse." in page.words()
    assert f"Wrongly accepted now: {len(page.images())}" in page.words()


def test_a_model_that_is_better_is_told_as_one_json_object(
    compare: Callable[..., Result], content: Callable[[], Any], tmp_path: Path
) -> None:
    result = compare("bad", "good", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == content()
    assert printed["verdict"]["verdict"] == "better"
    assert "B is better." in Page(tmp_path / "out" / "report.html").words()


def test_a_model_is_no_better_than_itself_and_the_second_time_all_is_the_same_to_the_byte(
    compare: Callable[..., Result], place: Path, tmp_path: Path
) -> None:
    model_archive.pack(place / "good", tmp_path / "model.tar.gz")
    files = []
    for _ in range(2):
        result = compare("good", str(tmp_path / "model.tar.gz"))
        assert result.exit_code == 0, result.output
        assert "Both decide alike about every picture." in result.stdout
        assert "no difference shown" in result.stdout
        files.append([path.read_bytes() for path in sorted((tmp_path / "out").iterdir())])
    assert files[0] == files[1]


def test_other_splits_are_compared_if_asked_for(compare: Callable[..., Result], content: Callable[[], Any]) -> None:
    assert compare("good", "good", "--split", "validation").exit_code == 0
    assert (content()["data"]["kind"], content()["data"]["pictures"]) == ("validation", 6)
    missing = compare("good", "good", "--split", "reviewed")
    assert missing.exit_code == 2
    assert "stage --reviews TABLE" in " ".join(missing.output.split())


def test_pictures_of_a_folder_are_compared_and_those_of_no_class_should_be_held_back(
    compare: Callable[..., Result], content: Callable[[], Any], tmp_path: Path
) -> None:
    for name, draw in (("bicycle", drawings.bicycle), ("flower", drawings.flower)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        draw(90).save(tmp_path / "photos" / name / "1.webp")
    (tmp_path / "photos" / "bicycle" / "2.jpg").write_bytes(b"no picture")
    result = compare("good", "bad", "--pictures", str(tmp_path / "photos"))
    assert result.exit_code == 0, result.output
    data = content()["data"]
    assert (data["kind"], data["pictures"], data["others"], data["left_out"]) == ("pictures", 2, 1, 1)
    assert content()["figures"]["wrongly_accepted"]["b"] == 2


def test_captured_traffic_shows_what_changes(
    compare: Callable[..., Result], content: Callable[[], Any], tmp_path: Path
) -> None:
    pictures = [drawings.encode(drawings.bicycle(72, width=width)) for width in (2, 3, 4)]
    lines = [line(f"e{number}", said(), NOON, picture) for number, picture in enumerate(pictures)]
    without = [line("again", said(), NOON, pictures[0], inference_id="e0"), "{"]
    twice = [line(event, said(), NOON, inference_id="never seen") for event in ("none", "none again")]
    write(tmp_path / "captured", [*lines, *without, *twice])
    options = ("--captured", str(tmp_path / "captured"))
    result = compare("good", "bad", *options, *RANGE)
    assert result.exit_code == 0, result.output
    assert "not judged" in result.stdout
    assert "Left out, since they cannot be read: 1 of the pictures." in result.stderr
    data = content()["data"]
    assert (data["kind"], data["pictures"], data["with_truth"], data["left_out"]) == ("captured", 3, 0, 1)
    assert {one["path"] for one in content()["changed"]} <= {"e0", "e1", "e2"}
    page = Page(tmp_path / "out" / "report.html")
    page.check()
    assert "nobody knows what it shows" in page.words()
    early = compare("good", "bad", *options, "--since", "2026-01-01", "--until", "2026-01-02")
    assert early.exit_code == 2
    assert "holds no captured picture from 2026-01-01" in " ".join(early.output.split())


def test_of_captured_pictures_that_people_have_reviewed_it_is_known_what_they_show(
    embedded: Stack, desk: Desk, compare: Callable[..., Result], content: Callable[[], Any], tmp_path: Path
) -> None:
    pictures = [drawings.encode(drawings.bicycle(72, width=width)) for width in (2, 3, 4)]
    records = [desk.review(f"{number}.png", one, "bicycle") for number, one in enumerate(pictures[:2])]
    lines = [
        line(record.id, said(model="older"), NOON, picture, inference_id=record.id)
        for record, picture in zip(records, pictures, strict=False)
    ]
    write(tmp_path / "captured", [*lines, line("not reviewed", said(), NOON, pictures[2])])
    result = compare("good", "bad", "--captured", str(tmp_path / "captured"), *RANGE, "--reviews", desk.table)
    assert result.exit_code == 0, result.output
    assert (content()["data"]["pictures"], content()["data"]["with_truth"]) == (3, 2)
    assert content()["figures"]["wrongly_accepted"]["b"] == 2
    assert content()["verdict"]["verdict"] == "no difference shown"


@pytest.mark.parametrize(
    "options",
    [("--split", "test", "--captured", "x"), ("--pictures", "data", "--captured", "x"), ("--reviews", "table")],
)
def test_two_sources_of_pictures_at_once_are_refused(
    compare: Callable[..., Result], tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert compare("good", "bad", *options).exit_code == 2
    assert not (tmp_path / "out").exists()


def test_models_of_other_classes_and_names_of_no_model_are_told(compare: Callable[..., Result]) -> None:
    other = compare("good", str(COMMITTED_MODEL))
    assert other.exit_code == 2
    assert "Models of other classes cannot be compared" in " ".join(other.output.split())
    missing = compare("good", "nothing")
    assert missing.exit_code == 2
    assert "There is no model nothing. Name a model's folder, a model.tar.gz" in " ".join(missing.output.split())


def test_registered_and_deployed_models_are_compared_by_their_names(project: Project) -> None:
    project.evaluate()
    assert project.register("model", "--approve").exit_code == 0
    run_well("deploy", "--data", project.data, "--chalice", project.chalice, "--no-capture", "--yes")
    project.write_model("second", version="drawn-2")
    project.evaluate("second")
    project.register("second")
    options = ("--data", project.data, "--out", project.folder / "out", "--json")
    content = json.loads(run_well("compare", "endpoint:scones-unlimited-dev", "registry:2", *options).stdout)
    assert [content[one]["version"] for one in ("a", "b")] == ["drawn-1", "drawn-2"]
    assert [content[one]["head_sha256"] for one in ("a", "b")] == [
        model_archive.head_sha256(project.model(name)) for name in ("model", "second")
    ]
    assert content["verdict"]["verdict"] == "no difference shown"
    missing = run("compare", "registry:approved", "registry:9", *options)
    assert missing.exit_code == 2
    assert "There is no version 9 of scones-unlimited" in " ".join(missing.output.split())
    s3 = boto3.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for one in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            if one["Key"].endswith("model.tar.gz"):
                s3.put_object(Bucket=bucket["Name"], Key=one["Key"], Body=b"something else")
    changed = run("compare", "registry:approved", "registry:2", *options)
    assert changed.exit_code == 2
    assert "is not the archive that was registered as version 1" in " ".join(changed.output.split())


def test_a_registered_model_of_the_built_in_algorithm_has_to_be_asked_behind_its_endpoint(project: Project) -> None:
    files = fit.Files(project.model("built-in"))
    files.model.mkdir(parents=True)
    (files.model / "image-classification-0001.params").write_bytes(b"weights")
    digest = model_archive.pack(files.model, files.archive)
    TrainingRecord("image-classification", "job-1", ["bicycle", "motorcycle"], digest, None, {}).write(files.record)
    assert project.register("built-in", "--unevaluated").exit_code == 0
    done = run("compare", "registry:1", project.model(), "--data", project.data, "--out", project.folder / "out")
    assert done.exit_code == 2
    assert "Compare the endpoint that serves it: endpoint:NAME." in " ".join(done.output.split())
