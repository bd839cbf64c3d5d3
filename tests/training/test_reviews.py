"""Reviewed pictures become part of a data set, and never of its test split."""

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chalicelib import aws, store
from local.stack import Stack
from tests.conftest import Answer, FakeAws
from tests.training import drawings
from tests.training.archives import write_archive
from tests.training.datasets import variation, write_folder
from tests.training.lifecycle import run
from tests.training.reviewing import LABELS, SAID, Desk, review
from training import archive, fit, model_archive, reviews, stage
from training.errors import AccountError, TrainingError
from training.layout import Manifest, Review, Said
from training.pictures import Found, Pixels, Source, Unreadable
from training.stage import Shares


@pytest.fixture
def desk(embedded: Stack) -> Desk:
    return Desk.open(f"reviews-{uuid4()}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures") / "pictures", each=20, size=40)


def picture(kind: str, number: int, size: int = 48) -> bytes:
    return drawings.encode(variation(kind, number, size))


def staged(desk: Desk, folder: Path, out: Path, *options: Any) -> Result:
    return run("stage", "--folder", folder, "--out", out, "--reviews", desk.table, *options)


def made(desk: Desk, folder: Path, out: Path, *options: Any) -> Manifest:
    done = staged(desk, folder, out, *options)
    assert done.exit_code == 0, done.output
    return Manifest.read(out)


def by_id(manifest: Manifest) -> dict[str, str]:
    """Where each reviewed picture is: split and label."""
    return {one.id: path.rpartition("/")[0] for path, one in manifest.reviews.items()}


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_people_said_is_trained_on_but_for_a_share_neither_too(desk: Desk, folder: Path, tmp_path: Path) -> None:
    shown = {desk.review(f"{n}.png", picture(kind, 100 + n), kind).id: kind for n in range(5) for kind in LABELS}
    nothing = {
        desk.review(f"house{n}.png", drawings.encode(drawings.house(48, shift=(9 * n, 0))), "neither").id
        for n in range(5)
    }
    waiting = desk.hold_back("waiting.png", picture("bicycle", 200))
    undone = store.undecide(desk.table, desk.review("undone.png", picture("bicycle", 201), "bicycle"))
    manifest = made(desk, folder, tmp_path / "data", "--reviewed-share", "0.4")
    where = by_id(manifest)
    assert where.keys() == shown.keys() | nothing
    assert not {waiting.id, undone.id} & where.keys()
    assert {one: label.partition("/")[2] for one, label in where.items()} == shown | dict.fromkeys(nothing, "neither")
    counts = manifest.counts()
    assert counts["reviewed"] == {"bicycle": 2, "motorcycle": 2, "neither": 2}
    assert counts["train"] == dict.fromkeys(LABELS, 14 + 3) | {"neither": 3}
    assert counts["test"] == dict.fromkeys(LABELS, 4) | {"neither": 0}
    assert {label.partition("/")[0] for label in where.values()} == {"train", "reviewed"}
    assert (manifest.reviewed_share, manifest.source["reviews"]) == (0.4, desk.table)


def test_neither_is_no_class_of_the_model_and_in_no_list(desk: Desk, folder: Path, tmp_path: Path) -> None:
    for draw in (drawings.house, drawings.flower):
        desk.review(f"{draw.__name__}.png", drawings.encode(draw(48)), "neither")
    out = tmp_path / "data"
    manifest = made(desk, folder, out, "--reviewed-share", "0.5")
    assert manifest.labels == list(LABELS)
    (path,) = (out / "reviewed").rglob("*.png")
    assert path.parent.name == "neither"
    (other,) = manifest.others("train")
    assert other.path in manifest.reviews
    assert {one.name for one in (out / "train").iterdir()} == {*LABELS, "neither"}
    for name in ("validation", "test"):
        assert {one.name for one in (out / name).iterdir()} == set(LABELS)
    for name in ("train", "validation", "test"):
        lines = (out / f"{name}_lst" / f"{name}.lst").read_text().splitlines()
        assert {line.split("\t")[1] for line in lines} == {"0", "1"}
    assert not (out / "reviewed_lst").exists()
    fit.check_pictures(out, manifest)
    assert fit.hyperparameters(manifest, None) == {"labels": "bicycle,motorcycle"}


def test_who_when_and_what_the_model_had_said_is_kept(desk: Desk, folder: Path, tmp_path: Path) -> None:
    record = desk.review("a.png", picture("motorcycle", 100), "motorcycle", by="zoë@example.com", note="<b>bent</b>")
    assert record.review
    manifest = made(desk, folder, tmp_path / "data")
    expected = Review(record.id, "zoë@example.com", record.review.at, "<b>bent</b>", Said(**SAID))
    assert list(manifest.reviews.values()) == [expected]
    assert next(iter(manifest.reviews)).startswith("reviewed/motorcycle/a-")


def test_pictures_are_upright_and_small_as_the_workflow_makes_them(desk: Desk, folder: Path, tmp_path: Path) -> None:
    image = variation("bicycle", 100, 800).resize((800, 400))
    exif = Image.Exif()
    exif[0x0112] = 6
    desk.review("turned.jpg", drawings.encode(image, "JPEG", exif=exif), "bicycle")
    made(desk, folder, tmp_path / "data")
    (path,) = (tmp_path / "data" / "reviewed").rglob("*.png")
    with Image.open(path) as small:
        assert (small.size, small.mode, small.info) == ((192, 384), "RGB", {})


def test_the_version_that_was_reviewed_is_taken_not_the_newest(desk: Desk, folder: Path, tmp_path: Path) -> None:
    desk.review("a.png", picture("bicycle", 100), "bicycle")
    desk.hold_back("a.png", picture("motorcycle", 100))
    made(desk, folder, tmp_path / "data")
    (path,) = (tmp_path / "data" / "reviewed").rglob("*.png")
    with Image.open(path) as kept:
        assert np.array_equal(np.asarray(kept), np.asarray(variation("bicycle", 100, 48)))


def test_twice_gives_the_same_bytes(desk: Desk, folder: Path, tmp_path: Path) -> None:
    for number in range(6):
        desk.review(f"{number}.png", picture(LABELS[number % 2], 100 + number), LABELS[number % 2])
    made(desk, folder, tmp_path / "a")
    made(desk, folder, tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_copy_of_a_reviewed_picture_is_taken_out_of_the_test_split(desk: Desk, folder: Path, tmp_path: Path) -> None:
    assert run("stage", "--folder", folder, "--out", tmp_path / "before").exit_code == 0
    tests = Manifest.read(tmp_path / "before").split("test")
    for one in tests[:3]:
        desk.review(one.path, (tmp_path / "before" / one.path).read_bytes(), one.label)
    manifest = made(desk, folder, tmp_path / "data")
    reviewed = {one.sha256 for one in tests[:3]}
    assert {one.sha256 for one in manifest.pictures} >= reviewed
    assert not reviewed & {one.sha256 for one in manifest.split("test")}
    assert len(manifest.skipped) == 3
    assert all(
        re.fullmatch(r"It is the same picture as \w{32}/inbox/.*\.png\.", one.reason) for one in manifest.skipped
    )


def test_the_archives_own_test_split_gives_up_what_was_reviewed(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_archive(tmp_path / "cifar.tar.gz", train=20, test=5)
    monkeypatch.setattr(archive, "SHA256", model_archive.sha256(path))
    desk.review("1.png", picture("bicycle", 1003, 32), "bicycle")
    desk.review("2.png", picture("motorcycle", 1002, 32), "bicycle")
    done = run("stage", "--archive", path, "--out", tmp_path / "data", "--reviews", desk.table)
    assert done.exit_code == 0, done.output
    manifest = Manifest.read(tmp_path / "data")
    assert manifest.counts()["test"] == dict.fromkeys(LABELS, 4)
    assert len(manifest.reviews) == 1
    left_out = {one.path.split("/")[-1]: one.reason for one in manifest.skipped}
    assert "which is called bicycle." in left_out["motorcycle_s_001002.png"]
    assert "which is called motorcycle." in left_out["2.png"]


def test_a_test_picture_that_looks_like_a_reviewed_one_is_reported(desk: Desk, folder: Path, tmp_path: Path) -> None:
    assert run("stage", "--folder", folder, "--out", tmp_path / "before").exit_code == 0
    one = Manifest.read(tmp_path / "before").split("test")[0]
    with Image.open(tmp_path / "before" / one.path) as image:
        desk.review("larger.jpg", drawings.encode(image.resize((60, 60)), "JPEG", quality=95), one.label)
    manifest = made(desk, folder, tmp_path / "data", "--reviewed-share", "0")
    (found,) = [near for near in manifest.near_duplicates if near.test == one.path]
    assert found.other in manifest.reviews


def test_one_picture_under_two_answers_is_left_out_with_both(desk: Desk, folder: Path, tmp_path: Path) -> None:
    one, other = (
        desk.review("a.png", picture("bicycle", 100), "bicycle"),
        desk.review("b.png", picture("bicycle", 100), "neither"),
    )
    kept = desk.review("c.png", picture("motorcycle", 100), "motorcycle")
    desk.review("d.png", picture("motorcycle", 101), "motorcycle")
    again = desk.review("e.png", picture("motorcycle", 101), "motorcycle", by="ben")
    manifest = made(desk, folder, tmp_path / "data")
    assert by_id(manifest).keys() == {kept.id, again.id}
    reasons = {skipped.path.partition("/")[0]: skipped.reason for skipped in manifest.skipped}
    assert reasons[one.id] == f"It is the same picture as {other.id}/inbox/b.png, which is called neither."
    assert reasons[other.id] == f"It is the same picture as {one.id}/inbox/a.png, which is called bicycle."
    assert len(reasons) == 3


def test_what_is_gone_is_no_picture_or_shows_another_class_is_left_out_with_the_reason(
    desk: Desk, folder: Path, tmp_path: Path
) -> None:
    s3 = aws.client("s3")
    kept = desk.review("kept.png", picture("bicycle", 100), "bicycle")
    deleted = desk.review("deleted.png", picture("bicycle", 101), "bicycle")
    s3.delete_object(Bucket=desk.bucket, Key=deleted.s3_key, VersionId=deleted.version_id)
    hidden = desk.review("hidden.png", picture("bicycle", 102), "bicycle")
    s3.delete_object(Bucket=desk.bucket, Key=hidden.s3_key)
    broken = desk.review("broken.png", picture("bicycle", 103)[:400], "bicycle")
    boat = desk.review("boat.png", picture("bicycle", 104), "boat")
    done = staged(desk, folder, tmp_path / "data")
    assert done.exit_code == 0, done.output
    manifest = Manifest.read(tmp_path / "data")
    assert by_id(manifest).keys() == {kept.id, hidden.id}, "a version below a delete marker can still be read"
    reasons = {skipped.path: skipped.reason for skipped in manifest.skipped}
    assert reasons.keys() == {f"{one.id}/{one.s3_key}" for one in (deleted, broken, boat)}
    assert reasons[f"{deleted.id}/inbox/deleted.png"] == "It is gone from S3: deleted, replaced or expired."
    assert "damaged" in reasons[f"{broken.id}/inbox/broken.png"]
    assert reasons[f"{boat.id}/inbox/boat.png"] == "boat is none of the classes bicycle, motorcycle."
    assert f"Left out {deleted.id}/inbox/deleted.png: It is gone" in done.stderr


def test_the_summary_counts_them(desk: Desk, folder: Path, tmp_path: Path) -> None:
    for number in range(5):
        desk.review(f"{number}.png", picture("bicycle", 100 + number), "bicycle")
    desk.review("house.png", drawings.encode(drawings.house(48)), "neither")
    printed = json.loads(staged(desk, folder, tmp_path / "data", "--json").stdout)
    assert printed["reviews"] == {"train": 4, "reviewed": 2}
    assert printed["counts"]["reviewed"] == {"bicycle": 1, "motorcycle": 0, "neither": 1}
    assert printed["digests"]["reviewed"] == Manifest.read(tmp_path / "data").digest("reviewed")
    done = staged(desk, folder, tmp_path / "data")
    assert "4 reviewed pictures are to train on, 2 are kept out of training for `evaluate`" in done.stderr
    assert re.search(r"neither +│ +│ +│ +│ +1 ", done.stdout)


def test_share_of_one_trains_on_none_and_share_of_zero_on_all(desk: Desk, folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        desk.review(f"{number}.png", picture("bicycle", 100 + number), "bicycle")
    assert made(desk, folder, tmp_path / "none", "--reviewed-share", "1").counts()["reviewed"]["bicycle"] == 4
    assert made(desk, folder, tmp_path / "all", "--reviewed-share", "0").counts()["reviewed"]["bicycle"] == 0


def test_a_data_set_of_before_there_were_reviews_can_still_be_read(folder: Path, tmp_path: Path) -> None:
    assert run("stage", "--folder", folder, "--out", tmp_path / "data").exit_code == 0
    manifest = Manifest.read(tmp_path / "data")
    path = tmp_path / "data" / "manifest.json"
    old = json.loads(path.read_text()) | {"version": 1}
    del old["reviews"], old["reviewed_share"]
    path.write_text(json.dumps(old))
    assert Manifest.read(tmp_path / "data") == manifest
    path.write_text(json.dumps(old | {"version": 4}))
    assert "was made by another version" in run("evaluate", "--data", tmp_path / "data").stderr


def test_no_table_no_index_and_no_reviews_are_told_in_a_sentence(desk: Desk, folder: Path, tmp_path: Path) -> None:
    aws.client("dynamodb").create_table(
        TableName=f"{desk.table}-plain",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )

    def told(table: str) -> str:
        done = run("stage", "--folder", folder, "--out", tmp_path / "data", "--reviews", table)
        assert done.exit_code == 2, done.output
        assert not (tmp_path / "data").exists()
        return done.stderr

    assert "There is no table nowhere in us-east-1. `RECORDS_TABLE` of the stage" in told("nowhere")
    assert "by its index by_status" in told(f"{desk.table}-plain")
    assert f"{desk.table} has no reviewed pictures yet. Review some first" in told(desk.table)
    desk.review("boat.png", picture("bicycle", 1), "boat")
    assert f"None of the 1 reviewed pictures of {desk.table} can be used" in told(desk.table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--reviewed-share", "0.5"), "--reviewed-share belongs to --reviews"),
        (("--reviews", "records", "--reviewed-share", "1.5"), "--reviewed-share"),
        (("--reviews", " "), "Name the table of records"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: Sequence[str], message: str, folder: Path, tmp_path: Path
) -> None:
    done = run("stage", "--folder", folder, "--out", tmp_path / "data", *options)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_class_that_is_called_as_none_of_them_is_refused(desk: Desk, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", each=5, size=32)
    (folder / "bicycle").rename(folder / "neither")
    classes = ("--classes", "motorcycle,neither")
    done = staged(desk, folder, tmp_path / "data", *classes)
    assert done.exit_code == 2
    assert "A class cannot be called neither where there are others" in done.stderr
    assert run("stage", "--folder", folder, "--out", tmp_path / "data", *classes).exit_code == 0


def test_a_table_without_the_index_is_told_as_aws_words_it(fake_aws: FakeAws, folder: Path, tmp_path: Path) -> None:
    fake_aws.refuses("ValidationException", message="The table does not have the specified index: by_status")
    done = run("stage", "--folder", folder, "--out", tmp_path / "data", "--reviews", "jobs")
    assert done.exit_code == 2
    assert "jobs cannot be asked for reviewed pictures by its index by_status: The table does not have" in done.stderr


@pytest.mark.usefixtures("no_aws")
def test_without_a_network_it_says_so(folder: Path, tmp_path: Path) -> None:
    done = run("stage", "--folder", folder, "--out", tmp_path / "data", "--reviews", "records")
    assert done.exit_code == 1
    assert "Could not look for records" in done.stderr
    assert "Is the region right, and the network up?" in done.stderr


def test_without_permission_it_says_which_one(fake_aws: FakeAws, folder: Path, tmp_path: Path) -> None:
    fake_aws.refuses("AccessDeniedException")
    done = run("stage", "--folder", folder, "--out", tmp_path / "data", "--reviews", "records")
    assert done.exit_code == 2
    assert "AWS does not allow Query" in done.stderr


ITEM = {
    "id": {"S": "a1"},
    "status": {"S": "REVIEWED"},
    "s3_bucket": {"S": "inbox"},
    "s3_key": {"S": "inbox/a.png"},
    "version_id": {"S": "v1"},
    "attempt": {"N": "1"},
    "created_at": {"S": "2026-01-01T00:00:00.000Z"},
    "updated_at": {"S": "2026-01-01T00:00:00.000Z"},
    "review": {"S": json.dumps({"label": "bicycle", "note": None, "by": "ann", "at": "2026-01-01T00:00:00.000Z"})},
}


@pytest.mark.parametrize(
    ("code", "status", "error", "message"),
    [
        ("NoSuchVersion", 404, Unreadable, "It is gone from S3: deleted, replaced or expired."),
        ("NoSuchBucket", 404, Unreadable, "Its bucket is gone."),
        ("InvalidObjectState", 403, Unreadable, "It is archived in S3. Restore it, and run this again."),
        ("AccessDenied", 403, AccountError, "does not allow reading s3://inbox/inbox/a.png. Ask for s3:GetObject, "),
        ("SlowDown", 503, TrainingError, "Nothing was changed. Run this again."),
    ],
)
def test_what_s3_refuses_is_a_picture_less_or_the_end(
    code: str, status: int, error: type[Exception], message: str, fake_aws: FakeAws
) -> None:
    page = {"Items": [ITEM], "Count": 1, "ScannedCount": 1}
    fake_aws.says(Answer(body=json.dumps(page).encode()))
    source = reviews.add(Source({"kind": "folder", "sha256": None}, list(LABELS), []), "records")
    fake_aws.refuses_xml(code, status)
    with pytest.raises(error, match=re.escape(message)):
        source.pictures[0].read()
    assert "/inbox/inbox/a.png?versionId=v1" in fake_aws.asked[-1].path


def test_without_credentials_it_says_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    aws.client.cache_clear()
    try:
        done = run("stage", "--folder", folder, "--out", tmp_path / "data", "--reviews", "records")
    finally:
        aws.client.cache_clear()
    assert done.exit_code == 2
    assert "There are no AWS credentials." in done.stderr


def noise(number: int) -> Pixels:
    """A picture like no other."""
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)


OWN = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([*LABELS, "neither"]), st.sampled_from(["train", "test", None])),
    max_size=25,
)
OF_PEOPLE = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([*LABELS, "neither"])), min_size=1, max_size=25)


@given(own=OWN, of_people=OF_PEOPLE, share=st.sampled_from([0.0, 0.2, 0.5, 1.0]), seed=st.integers(0, 5))
def test_whatever_was_reviewed_its_pixels_are_not_in_the_test_split(
    own: list[tuple[int, str, str | None]], of_people: list[tuple[int, str]], share: float, seed: int
) -> None:
    fixed: list[tuple[int, str, str | None]] = [
        (1000 * place + n, kind, None) for place, kind in enumerate([*LABELS, "neither"], 1) for n in range(6)
    ]
    pictures = [
        *(Found(f"r{n}", label, None, partial(noise, number), review(at=str(n)))
          for n, (number, label) in enumerate(of_people)),
        *(Found(f"o{n}", label, split, partial(noise, number)) for n, (number, label, split) in enumerate(own + fixed)),
    ]  # fmt: skip
    with TemporaryDirectory() as scratch:
        out = Path(scratch) / "data"
        source = Source({"kind": "folder", "sha256": None}, list(LABELS), pictures)
        manifest = stage.stage(source, Shares(0.3, 0.2, seed, share), out, lambda *_: None)
        found = {one.path: np.asarray(Image.open(out / one.path)).tobytes() for one in manifest.pictures}
    reviewed = {noise(number).tobytes() for number, _ in of_people}
    assert not reviewed & {found[one.path] for one in manifest.pictures if one.split in ("test", "validation")}
    assert {found[path] for path in manifest.reviews} == reviewed & set(found.values())
    answers: dict[int, set[str]] = {}
    for number, label in [*of_people, *((number, label) for number, label, _ in own)]:
        answers.setdefault(number, set()).add(label)
    clear = {noise(number).tobytes() for number, _ in of_people if len(answers[number]) == 1}
    assert {found[path] for path in manifest.reviews} == clear
