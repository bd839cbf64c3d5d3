import hashlib
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.training import archives
from tests.training.archives import write_archive
from tests.training.datasets import KINDS, variation, write_folder
from training import fit, stage
from training.errors import PicturesError, TrainingError
from training.folders import from_folder
from training.layout import Manifest, Skipped
from training.pictures import Found, Pixels, Source, from_archive
from training.source.train import read_channel
from training.stage import Shares

LABELS = ("bicycle", "motorcycle")
SHARES = Shares(test=0.2, validation=0.1, seed=0)


def quiet(_done: int, _total: int) -> None: ...


def make(source: Source, out: Path, shares: Shares = SHARES) -> Manifest:
    return stage.stage(source, shares, out, quiet)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sides(manifest: Manifest) -> dict[str, str]:
    """The split of each picture."""
    return {picture.path.partition("/")[2]: picture.split for picture in manifest.pictures}


def pixels(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "cifar.tar.gz", train=30, test=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pictures", each=25, size=40)


def test_archive_becomes_a_data_set_with_its_own_test_split(cifar: Path, tmp_path: Path) -> None:
    manifest = make(from_archive(cifar, "ab" * 32, LABELS), tmp_path / "data")
    assert manifest.counts() == {
        "train": dict.fromkeys(LABELS, 27),
        "validation": dict.fromkeys(LABELS, 3),
        "test": dict.fromkeys(LABELS, 8),
    }
    assert manifest.source == {"kind": "cifar-100", "sha256": "ab" * 32}
    assert (manifest.labels, manifest.seed, manifest.validation_share) == (list(LABELS), 0, 0.1)
    assert manifest.test_share is None
    for kind in LABELS:
        (path,) = (tmp_path / "data" / "test" / kind).glob(f"{kind}_s_001003-*.png")
        assert np.array_equal(pixels(path), np.asarray(variation(kind, 1003, 32)))


@pytest.mark.parametrize("labels", [LABELS, LABELS[::-1]])
def test_what_is_written_is_what_the_others_read(labels: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    manifest = make(from_folder(folder, labels), out)
    assert Manifest.read(out) == manifest
    fit.check_pictures(out, manifest)
    for picture in manifest.pictures:
        assert hashlib.sha256((out / picture.path).read_bytes()).hexdigest() == picture.sha256
        assert picture.path.startswith(f"{picture.split}/{picture.label}/")
    for split in ("train", "validation", "test"):
        samples = read_channel(out / split, labels)
        assert [sample.path.relative_to(out).as_posix() for sample in samples] == [
            picture.path for picture in manifest.split(split)
        ]
        lines = (out / f"{split}_lst" / f"{split}.lst").read_text().splitlines()
        assert [line.split("\t") for line in lines] == [
            [str(number), str(sample.label), sample.path.relative_to(out / split).as_posix()]
            for number, sample in enumerate(samples)
        ]
        assert {labels[sample.label] for sample in samples} == {sample.path.parent.name for sample in samples}
    assert {path.name for path in out.iterdir()} == {
        "manifest.json",
        *("train", "validation", "test", "train_lst", "validation_lst", "test_lst"),
    }


def test_lists_alone_lead_to_the_same_pictures(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    make(from_folder(folder), out)
    shutil.copyfile(out / "train_lst" / "train.lst", out / "train" / "train.lst")
    listed = read_channel(out / "train", LABELS)
    (out / "train" / "train.lst").unlink()
    assert listed == read_channel(out / "train", LABELS)


def test_same_pictures_and_seed_give_the_same_bytes_whatever_their_dates(folder: Path, tmp_path: Path) -> None:
    make(from_folder(folder), tmp_path / "a" / "data")
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))
    make(from_folder(folder), tmp_path / "b" / "data")
    assert content(tmp_path / "a" / "data") == content(tmp_path / "b" / "data")


@pytest.mark.parametrize("from_cifar", [True, False])
def test_another_seed_gives_other_splits_of_the_same_size(
    from_cifar: bool,  # noqa: FBT001
    cifar: Path,
    folder: Path,
    tmp_path: Path,
) -> None:
    source = from_archive(cifar, "", LABELS) if from_cifar else from_folder(folder)
    made = [make(source, tmp_path / str(seed), Shares(0.2, 0.1, seed)) for seed in (0, 1)]
    assert made[0].counts() == made[1].counts()
    assert made[0].digest("train") != made[1].digest("train")
    assert (made[0].digest("test") == made[1].digest("test")) is from_cifar


def test_folder_is_divided_alike_within_each_class(folder: Path, tmp_path: Path) -> None:
    for path in sorted((folder / "bicycle").iterdir())[:15]:
        path.unlink()
    manifest = make(from_folder(folder), tmp_path / "data")
    assert manifest.counts() == {
        "train": {"bicycle": 7, "motorcycle": 18},
        "validation": {"bicycle": 1, "motorcycle": 2},
        "test": {"bicycle": 2, "motorcycle": 5},
    }
    assert manifest.source == {"kind": "folder", "sha256": None}


def test_pictures_that_were_there_keep_their_order_when_others_are_added(folder: Path, tmp_path: Path) -> None:
    before = sides(make(from_folder(folder), tmp_path / "before"))
    for kind in KINDS:
        for number in range(100, 105):
            variation(kind, number, 40).save(folder / kind / f"{number}.png")
    after = sides(make(from_folder(folder), tmp_path / "after"))
    moved = {name: (split, after[name]) for name, split in before.items() if after[name] != split}
    assert len(moved) <= 4
    assert not {("train", "test"), ("test", "train")} & set(moved.values())


def test_split_does_not_hang_on_names(folder: Path, tmp_path: Path) -> None:
    before = make(from_folder(folder), tmp_path / "before")
    for path in folder.rglob("*.png"):
        path.rename(path.with_name(f"{hashlib.sha256(path.name.encode()).hexdigest()}.png"))
    after = make(from_folder(folder), tmp_path / "after")
    for split in ("train", "validation", "test"):
        assert before.digest(split) == after.digest(split)


def test_copies_within_a_class_are_kept_once_and_so_never_in_two_splits(folder: Path, tmp_path: Path) -> None:
    originals = sorted((folder / "bicycle").iterdir())
    for path in originals:
        Image.open(path).save(path.with_name(f"z{path.stem}.tiff"))
        shutil.copyfile(path, path.with_name(f"y{path.name}"))
    manifest = make(from_folder(folder), tmp_path / "data")
    assert sum(counts["bicycle"] for counts in manifest.counts().values()) == len(originals)
    assert len(manifest.skipped) == 2 * len(originals)
    reason = "It is the same picture as bicycle/000.png."
    assert Skipped("bicycle/y000.png", reason) in manifest.skipped
    assert Skipped("bicycle/z000.tiff", reason) in manifest.skipped


def test_picture_under_two_labels_is_left_out_of_both(folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(folder / "bicycle" / "003.png", folder / "motorcycle" / "x.png")
    shutil.copyfile(folder / "bicycle" / "003.png", folder / "bicycle" / "y.png")
    manifest = make(from_folder(folder), tmp_path / "data")
    assert manifest.skipped == [
        Skipped("bicycle/003.png", "It is the same picture as motorcycle/x.png, which is called motorcycle."),
        Skipped("bicycle/y.png", "It is the same picture as motorcycle/x.png, which is called motorcycle."),
        Skipped("motorcycle/x.png", "It is the same picture as bicycle/003.png, which is called bicycle."),
    ]
    assert {label: sum(one[label] for one in manifest.counts().values()) for label in LABELS} == {
        "bicycle": 24,
        "motorcycle": 25,
    }


def test_copies_of_cifar_between_training_and_test_stay_and_are_reported(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.tar.gz", 20, 1, {"test": archives.split([5, 1000, 1000])})
    manifest = make(from_archive(path, "", LABELS), tmp_path / "data")
    assert manifest.counts()["test"] == dict.fromkeys(LABELS, 2)
    assert [one.path for one in manifest.skipped] == [f"test/{kind}_s_001000.png" for kind in LABELS]
    alike = {one.test.split("-")[0]: one for one in manifest.near_duplicates}
    assert alike["test/bicycle/bicycle_s_000005"].distance == pytest.approx(0, abs=1e-5)
    assert alike["test/bicycle/bicycle_s_000005"].same_label
    assert "/bicycle/bicycle_s_000005-" in alike["test/bicycle/bicycle_s_000005"].other


def test_near_duplicate_of_a_test_picture_is_found_mirrored_and_under_another_label(tmp_path: Path) -> None:
    image = variation("bicycle", 0, 64)
    mirrored = ImageOps.mirror(image).resize((80, 80))
    pictures = [
        Found(f"{number}.png", label, split, partial(np.asarray, picture))
        for number, (label, split, picture) in enumerate(
            [
                ("bicycle", "test", image),
                ("bicycle", "test", variation("motorcycle", 1, 64)),
                ("bicycle", "train", variation("bicycle", 2, 64).rotate(90)),
                ("bicycle", "train", variation("bicycle", 3, 64).rotate(90)),
                ("motorcycle", "train", mirrored),
                ("motorcycle", "train", variation("motorcycle", 4, 64).rotate(90)),
            ]
        )
    ]
    manifest = make(Source({"kind": "cifar-100", "sha256": None}, list(LABELS), pictures), tmp_path / "data")
    (found,) = manifest.near_duplicates
    assert found.test.startswith("test/bicycle/0-")
    assert "/motorcycle/4-" in found.other
    assert 0 < found.distance < 0.1
    assert not found.same_label


def test_pictures_are_written_as_rgb_without_metadata(folder: Path, tmp_path: Path) -> None:
    with Image.open(folder / "bicycle" / "000.png") as image:
        image.convert("RGBA").save(folder / "bicycle" / "000.png", dpi=(300, 300), icc_profile=b"profile", gamma=0.5)
    make(from_folder(folder), tmp_path / "data")
    (path,) = (tmp_path / "data").glob("*/bicycle/000-*.png")
    with Image.open(path) as staged:
        assert (staged.mode, staged.info) == ("RGB", {})


def test_what_cannot_be_read_is_left_out_with_the_reason(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "bicycle" / "000.png").read_bytes()
    wrong = {
        "cut.png": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "notes.txt": b"left to right",
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(100),
    }
    for name, data in wrong.items():
        (folder / "bicycle" / name).write_bytes(data)
    (folder / "bicycle" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "bicycle" / "pipe")
    (folder / "README.md").write_text("about")
    manifest = make(from_folder(folder), tmp_path / "data")
    assert len(manifest.pictures) == 50
    reasons = {one.path: one.reason for one in manifest.skipped}
    assert reasons.keys() == {*(f"bicycle/{name}" for name in (*wrong, "gone.png", "pipe")), "README.md"}
    assert "damaged" in reasons["bicycle/cut.png"]
    assert "empty" in reasons["bicycle/empty.jpg"]
    assert "not a picture" in reasons["bicycle/notes.txt"]
    assert "HEIC" in reasons["bicycle/phone.heic"]
    assert "leads nowhere" in reasons["bicycle/gone.png"]
    assert "no file" in reasons["bicycle/pipe"]
    assert reasons["README.md"] == "It lies in no class's folder."


def test_hidden_files_are_passed_over_folders_below_belong_and_links_are_followed(folder: Path, tmp_path: Path) -> None:
    bicycle = folder / "bicycle"
    shutil.move(bicycle / "000.png", tmp_path / "elsewhere.png")
    (bicycle / "000.png").symlink_to(tmp_path / "elsewhere.png")
    (bicycle / "more" / "yet").mkdir(parents=True)
    (bicycle / "001.png").rename(bicycle / "more" / "yet" / "002.png")
    (bicycle / "more" / "circle").symlink_to(bicycle)
    for hidden in (".hidden.png", "Thumbs.db", "more/.DS_Store", ".thumbnails/1.png"):
        (bicycle / hidden).parent.mkdir(exist_ok=True)
        (bicycle / hidden).write_bytes(b"hidden")
    (folder / ".git").mkdir()
    shutil.move(folder / "motorcycle", tmp_path / "moved")
    (folder / "motorcycle").symlink_to(tmp_path / "moved")
    manifest = make(from_folder(folder), tmp_path / "data")
    assert len(manifest.pictures) == 50
    assert manifest.skipped == []
    assert manifest.labels == list(LABELS)
    assert len([one for one in manifest.pictures if "/bicycle/002-" in one.path]) == 2


def test_names_from_elsewhere_stay_within_the_data_set(tmp_path: Path) -> None:
    names = [
        "../../../evil.png",
        "/etc/passwd",
        "a\tb\n.png",
        ".hidden",
        "x" * 300 + ".png",
        "ä ö.png",
        "",
        "a/b/c.png",
    ]
    pictures = [
        Found(name, kind, None, partial(np.asarray, variation(kind, number, 32)))
        for number, name in enumerate(names)
        for kind in LABELS
    ]
    manifest = make(Source({"kind": "folder", "sha256": None}, list(LABELS), pictures), tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    stems = {one.path.split("/")[2].rpartition("-")[0] for one in manifest.pictures}
    assert stems == {"evil", "passwd", "a_b", "hidden", "x" * 80, "picture", "c"}
    fit.check_pictures(tmp_path / "data", manifest)


def test_only_the_classes_that_are_wanted_are_taken_in_their_order(folder: Path, tmp_path: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "broken.jpg").write_bytes(b"")
    manifest = make(from_folder(folder, ("motorcycle", "bicycle")), tmp_path / "data")
    assert manifest.labels == ["motorcycle", "bicycle"]
    assert (tmp_path / "data" / "test_lst" / "test.lst").read_text().startswith("0\t1\tbicycle/")
    assert manifest.skipped == []


def test_class_without_pictures_is_told(folder: Path, cifar: Path, tmp_path: Path) -> None:
    (folder / "boat").mkdir()
    (folder / "boat" / ".hidden").touch()
    with pytest.raises(PicturesError, match="The class boat has no pictures"):
        make(from_folder(folder), tmp_path / "data")
    with pytest.raises(PicturesError, match="The class class_00 has no pictures"):
        make(from_archive(cifar, "", ("bicycle", "class_00")), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_class_of_which_most_cannot_be_read_is_told(folder: Path, tmp_path: Path) -> None:
    for number in range(25):
        (folder / "bicycle" / f"{number:03}.xml").write_text("<annotation/>")
    assert len(make(from_folder(folder), tmp_path / "data").skipped) == 25
    (folder / "bicycle" / "one more.xml").write_text("<annotation/>")
    with pytest.raises(PicturesError, match=r"26 of 51 files of the class bicycle cannot be read.*bicycle/000\.xml"):
        make(from_folder(folder), tmp_path / "data")


def test_class_with_too_few_pictures_is_told(tmp_path: Path) -> None:
    for each, is_enough in ((2, False), (3, True)):
        source = from_folder(write_folder(tmp_path / str(each), each=each, size=32))
        if is_enough:
            assert {n for one in make(source, tmp_path / "data").counts().values() for n in one.values()} == {1}
        else:
            with pytest.raises(PicturesError, match="bicycle has 2 pictures, which leaves none to train on"):
                make(source, tmp_path / "data")


def test_share_of_nothing_leaves_a_split_out(folder: Path, tmp_path: Path) -> None:
    manifest = make(from_folder(folder), tmp_path / "data", Shares(0, 0, 0))
    assert len(manifest.split("train")) == 50
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"manifest.json", "train", "train_lst"}


def test_data_set_takes_the_place_of_an_earlier_one_whole(folder: Path, cifar: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    make(from_folder(folder), out)
    (out / "train" / "bicycle" / "mine.png").write_bytes(b"")
    manifest = make(from_archive(cifar, "", LABELS), out)
    fit.check_pictures(out, manifest)
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "data"}


@pytest.mark.parametrize("strange", ["thesis.txt", "manifest.json"])
def test_what_is_no_data_set_is_not_replaced(strange: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    (out / strange).write_text('{"name": "an app of somebody\'s"}')
    with pytest.raises(PicturesError, match="is not empty and holds no data set"):
        make(from_folder(folder), out)
    assert [path.name for path in out.iterdir()] == [strange]
    with pytest.raises(PicturesError, match="is a file"):
        make(from_folder(folder), out / strange)


def test_empty_folder_is_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert make(from_folder(folder), tmp_path / "data") == Manifest.read(tmp_path / "data")


@pytest.mark.parametrize(("out", "source"), [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("a/../a/b/c", "a")])
def test_pictures_and_data_set_may_not_lie_in_each_other(out: str, source: str, tmp_path: Path) -> None:
    with pytest.raises(PicturesError, match="may not lie in each other"):
        stage.check_replaceable(tmp_path / out, tmp_path / source)
    stage.check_replaceable(tmp_path / "ab", tmp_path / "a")


def test_interrupted_run_leaves_the_old_data_set_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    make(from_folder(folder), out)
    before = content(out)
    variation("bicycle", 500, 40).save(folder / "bicycle" / "new.png")

    def interrupt(done: int, _total: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.stage(from_folder(folder), SHARES, out, interrupt)
    assert content(out) == before
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "data"}


def test_old_data_set_is_put_back_when_the_new_one_cannot_take_its_place(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "data"
    make(from_folder(folder), out)
    before = content(out)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "made":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(TrainingError, match=r"cannot be written: Input/output error\. Nothing was changed"):
        make(from_folder(folder), out, Shares(0.2, 0.1, 7))
    assert content(out) == before


def test_place_that_cannot_be_written_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot be written"):
        make(from_folder(folder), tmp_path / "file" / "data")
