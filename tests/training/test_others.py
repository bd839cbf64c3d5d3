"""Pictures that show none of the classes, from a folder or an archive into a data set, and up to a training job."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from local.stack import Stack
from tests.training.archives import split, write_archive
from tests.training.datasets import KINDS, OTHERS, variation, write_folder
from tests.training.jobs import ROLE, recording
from tests.training.lifecycle import run, run_well
from training import aws, job, stage, upload
from training.aws import Place
from training.errors import InputError, PicturesError
from training.folders import add_others, from_folder
from training.layout import Manifest, StagedPicture
from training.pictures import Found, Source, from_archive, hold_out
from training.stage import Shares

LABELS = list(KINDS)
SPLITS = ("train", "validation", "test")
SHARES = Shares(test=0.2, validation=0.25, seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of each class."""
    return write_folder(tmp_path_factory.mktemp("pictures") / "pictures", each=20, size=40)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five flowers and five houses."""
    return write_folder(tmp_path_factory.mktemp("things") / "things", each=5, size=40, kinds=OTHERS)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten training and five test pictures of each class, and of flowers and houses."""
    members = {"train": split(range(10), KINDS | OTHERS), "test": split(range(1000, 1005), KINDS | OTHERS)}
    return write_archive(tmp_path_factory.mktemp("archive") / "cifar.tar.gz", 0, 0, members)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(source: Source, out: Path, shares: Shares = SHARES) -> Manifest:
    return stage.stage(source, shares, out, lambda *_: None)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def numbers(manifest: Manifest, label: str) -> tuple[int, ...]:
    return tuple(manifest.counts()[name][label] for name in SPLITS)


def test_others_are_divided_as_a_class_is_and_are_no_class(folder: Path, things: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    manifest = make(add_others(from_folder(folder), [things]), out)
    assert Manifest.read(out) == manifest
    assert manifest.labels == LABELS
    assert numbers(manifest, "bicycle") == (12, 4, 4)
    assert numbers(manifest, "neither") == (6, 2, 2)
    for name in SPLITS:
        assert {one.label for one in manifest.split(name)} == set(LABELS)
        for other in manifest.others(name):
            assert (other.split, other.label) == (name, "neither")
            assert other.path.startswith(f"{name}/neither/")
            assert digest(out / other.path) == other.sha256
        assert {path.relative_to(out).as_posix() for path in (out / name).rglob("*.png")} == {
            one.path for one in (*manifest.split(name), *manifest.others(name))
        }
    assert Counter(one.source for one in manifest.pictures) == {"": 40, "flower": 5, "house": 5}


def test_lists_of_the_built_in_algorithm_name_the_classes_alone(folder: Path, things: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    manifest = make(add_others(from_folder(folder), [things]), out)
    for name in SPLITS:
        lines = [line.split("\t") for line in (out / f"{name}_lst" / f"{name}.lst").read_text().splitlines()]
        assert [f"{name}/{path}" for _, _, path in lines] == [one.path for one in manifest.split(name)]
        assert {number for _, number, _ in lines} == {"0", "1"}


def test_classes_are_divided_alike_with_and_without_others(folder: Path, things: Path, tmp_path: Path) -> None:
    without = make(from_folder(folder), tmp_path / "without")
    manifest = make(add_others(from_folder(folder), [things]), tmp_path / "with")
    for name in SPLITS:
        assert without.others(name) == []
        assert without.split(name) == manifest.split(name)
        assert without.digest(name) != manifest.digest(name)
    assert "neither" not in without.counts()["train"]


def test_others_of_the_archive_keep_its_division_and_their_class_as_source(archive: Path, tmp_path: Path) -> None:
    manifest = make(from_archive(archive, "", LABELS, others=18), tmp_path / "data")
    assert numbers(manifest, "neither") == (9, 3, 6)
    assert Counter(one.source for one in manifest.others("test")) == dict.fromkeys(OTHERS, 3)
    assert manifest.test_share is None


def test_others_of_a_folder_are_divided_beside_an_archive(archive: Path, things: Path, tmp_path: Path) -> None:
    manifest = make(add_others(from_archive(archive, "", LABELS), [things]), tmp_path / "data")
    assert numbers(manifest, "bicycle") == (8, 2, 5)
    assert numbers(manifest, "neither") == (6, 2, 2)
    assert manifest.test_share == 0.2


def test_picture_that_is_an_other_and_of_a_class_is_left_out_of_both(
    folder: Path, things: Path, archive: Path, tmp_path: Path
) -> None:
    mixed = shutil.copytree(things, tmp_path / "mixed")
    shutil.copyfile(folder / "bicycle" / "003.png", mixed / "x.png")
    variation("motorcycle", 1002, 32).save(mixed / "y.png")
    for source, name in ((from_folder(folder), "x"), (from_archive(archive, "", LABELS), "y")):
        manifest = make(add_others(source, [mixed]), tmp_path / "data")
        reasons = {one.path: one.reason for one in manifest.skipped}
        assert len(reasons) == 2
        theirs = next(path for path in reasons if not path.startswith("mixed/"))
        assert reasons[theirs] == f"It is the same picture as mixed/{name}.png, which is called neither."
        assert reasons[f"mixed/{name}.png"].startswith(f"It is the same picture as {theirs}, which is called ")


def test_copies_among_others_are_kept_once(folder: Path, things: Path, tmp_path: Path) -> None:
    again = shutil.copytree(things, tmp_path / "again")
    manifest = make(add_others(from_folder(folder), [things, again]), tmp_path / "data")
    assert sum(numbers(manifest, "neither")) == 10
    assert len(manifest.skipped) == 10


def test_other_that_looks_like_one_of_another_split_is_reported(tmp_path: Path) -> None:
    drawn = [(kind, number) for kind in (*KINDS, "house") for number in range(10)]
    pictures = [
        Found(f"{kind}{n}", kind if kind in KINDS else "neither", "train", partial(np.asarray, variation(kind, n, 64)))
        for kind, n in drawn
    ]
    larger = variation("house", 3, 64).resize((80, 80))
    pictures.append(Found("larger", "neither", "test", partial(np.asarray, larger)))
    (found,) = make(Source({"kind": "folder", "sha256": None}, LABELS, pictures), tmp_path / "data").near_duplicates
    assert found.test.startswith("test/neither/larger-")
    assert "/neither/house3-" in found.other
    assert found.same_label


def test_pictures_of_a_source_that_is_held_out_are_in_the_test_split_and_nowhere_else(
    folder: Path, things: Path, tmp_path: Path
) -> None:
    source = hold_out(add_others(from_folder(folder), [things]), ["house"])
    manifest = make(source, tmp_path / "data")
    assert Manifest.read(tmp_path / "data").test_sources == ["house"]
    where = Counter((one.source, one.split) for one in manifest.pictures if one.label == "neither")
    assert where == {("house", "test"): 5, ("flower", "train"): 3, ("flower", "validation"): 1, ("flower", "test"): 1}


def test_others_can_be_for_testing_alone(folder: Path, things: Path, tmp_path: Path) -> None:
    manifest = make(hold_out(add_others(from_folder(folder), [things]), list(OTHERS)), tmp_path / "data")
    assert numbers(manifest, "neither") == (0, 0, 10)


def test_too_few_others_and_mostly_broken_ones_are_told(folder: Path, tmp_path: Path) -> None:
    things = write_folder(tmp_path / "things", each=1, size=32, kinds=OTHERS)
    with pytest.raises(PicturesError, match="2 pictures show other things than the classes, which leaves"):
        make(add_others(from_folder(folder), [things]), tmp_path / "data")
    for number in range(3):
        (things / f"{number}.xml").write_text("<annotation/>")
    with pytest.raises(PicturesError, match=r"3 of 5 files of other things than the classes cannot.*things/0\."):
        make(add_others(from_folder(folder), [things]), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_data_set_of_before_there_were_others_can_still_be_read(folder: Path, tmp_path: Path) -> None:
    manifest = make(from_folder(folder), tmp_path / "data")
    path = tmp_path / "data" / "manifest.json"
    old = json.loads(path.read_text()) | {"version": 2}
    del old["test_sources"]
    for one in old["pictures"]:
        del one["source"]
    path.write_text(json.dumps(old))
    assert Manifest.read(tmp_path / "data") == manifest


def test_reviewed_others_count_once_and_may_be_a_class_where_one_is_called_so() -> None:
    pictures = [StagedPicture(f"{name}/neither/a.png", "neither", name, "0") for name in ("train", "reviewed")]
    manifest = Manifest({"kind": "folder", "sha256": None}, LABELS, 0, 0.1, pictures)
    assert (manifest.split("train"), manifest.others("train")) == ([], pictures[:1])
    assert manifest.split("reviewed") == manifest.others("reviewed") == pictures[1:]
    as_class = replace(manifest, labels=["bicycle", "neither"])
    assert (as_class.split("train"), as_class.others("train")) == (pictures[:1], [])
    assert manifest.digest("train") == as_class.digest("train")


def test_other_others_make_another_job_and_none_counts_as_a_sample(
    folder: Path, things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = add_others(from_folder(folder), [things])
    manifest = make(source, tmp_path / "data")
    fewer = replace(manifest, pictures=[one for one in manifest.pictures if one not in manifest.others("train")[:1]])
    with recording(monkeypatch):
        plans = [
            job.make_plan(algorithm, data, Place("bucket", "training"), ROLE, "dev", job.Limits())
            for algorithm in job.ALGORITHMS
            for data in (manifest, fewer)
        ]
    assert len({plan.base_name for plan in plans}) == 4
    assert plans[2].hyperparameters["num_classes"] == "2"
    assert plans[2].hyperparameters["num_training_samples"] == str(len(manifest.split("train"))) == "24"
    assert plans[0].hyperparameters == {"labels": "bicycle,motorcycle"}


def test_others_are_uploaded_and_looked_for_before_a_job(
    embedded: Stack, folder: Path, things: Path, tmp_path: Path
) -> None:
    data, place = tmp_path / "data", Place(f"others-{uuid4()}", "training")
    manifest = make(add_others(from_folder(folder), [things]), data)
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=place.bucket)
    upload.upload(data, place / "data", lambda *_: None)
    for algorithm in job.ALGORITHMS:
        job.check_uploaded(data, manifest, place, algorithm)
    s3.delete_object(Bucket=place.bucket, Key=f"training/data/{manifest.others('validation')[0].path}")
    for algorithm in job.ALGORITHMS:
        with pytest.raises(InputError, match=r"data/validation does not hold .*neither/.* upload "):
            job.check_uploaded(data, manifest, place, algorithm)


def rows(printed: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if "│" in line]


def test_archive_gives_others_unless_none_are_wanted(archive: Path, tmp_path: Path) -> None:
    options = ("stage", "--archive", archive, "--sha256", digest(archive), "--out", tmp_path / "data")
    done = run_well(*options)
    assert rows(done.stdout) == [
        ["bicycle", "9", "1", "5"],
        ["motorcycle", "9", "1", "5"],
        ["neither", "18", "2", "10"],
        ["all", "36", "4", "20"],
    ]
    assert "cannot learn" not in done.stderr
    some = json.loads(run_well(*options, "--archive-others", "6", "--json").stdout)
    assert {name: some["counts"][name]["neither"] for name in SPLITS} == {"train": 3, "validation": 1, "test": 2}
    none = run_well(*options, "--archive-others", "0")
    assert [label for label, *_ in rows(none.stdout)] == ["bicycle", "motorcycle", "all"]
    assert "No picture to train on shows anything else, so that a model cannot learn" in none.stderr


def test_folders_with_manifest_csv_give_classes_others_and_whole_sources_for_testing(tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", each=12, size=32, kinds=[*KINDS, *OTHERS])
    lines = [f"{path.relative_to(photos).as_posix()},{path.parent.name},{('web', 'shop')[int(path.stem) % 3 == 0]}\n"
             for path in sorted(photos.rglob("*.png"))]  # fmt: skip
    (photos / "manifest.csv").write_text("path,class,source\n" + "".join(lines))
    options = ("--folder", photos, "--classes", "motorcycle,bicycle", "--others", photos, "--out", tmp_path / "data")
    done = run_well("stage", *options, "--test-sources", "shop", "--test-share", "0", "--json")
    assert json.loads(done.stdout)["test_sources"] == ["shop"]
    manifest = Manifest.read(tmp_path / "data")
    assert manifest.labels == ["motorcycle", "bicycle"]
    assert Counter((one.label, one.split) for one in manifest.pictures if one.source == "shop") == {
        ("bicycle", "test"): 4,
        ("motorcycle", "test"): 4,
        ("neither", "test"): 8,
    }
    assert {one.split for one in manifest.pictures if one.source == "web"} == {"train", "validation"}
    before = content(tmp_path / "data")
    done = run_well("stage", *options, "--test-sources", "shop,", "--test-share", "0")
    assert content(tmp_path / "data") == before
    assert "All pictures from shop are test pictures." in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folder", "{folder}", "--archive-others", "10"), "--archive-others belongs to CIFAR-100"),
        (("--archive-others", "-1"), "--archive-others"),
        (("--folder", "{folder}", "--others", "{folder}"), "holds no picture that shows none of the classes"),
        (("--folder", "{folder}", "--others", "{folder}/none"), "does not exist"),
        (("--folder", "{folder}", "--others", "{things}", "--out", "{things}/data"), "may not lie in each other"),
        (("--folder", "{folder}", "--test-sources", "web"), "No picture comes from web"),
        (("--folder", "{folder}", "--others", "{things}", "--test-sources", "web"), "The sources are: flower, house."),
        (("--test-share", "0.5"), "--test-share belongs to --folder and --others"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: Sequence[str], message: str, folder: Path, things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("stage", *(option.format(folder=folder, things=things) for option in options))
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []
