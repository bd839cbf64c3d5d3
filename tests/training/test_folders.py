"""Folders of pictures, with and without a `manifest.csv`, and pictures that show none of the classes."""

import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets import KINDS, OTHERS, variation, write_folder
from training.errors import PicturesError
from training.folders import add_others, from_folder
from training.layout import Skipped
from training.pictures import Source

ROWS = [
    ("a/1.png", "bicycle", "shop"),
    ("a/2.png", "motorcycle", "street"),
    ("b/3.png", "bicycle", "street"),
    ("b/4.png", "flower", "garden"),
    ("5.png", "house", ""),
]


def write_table(folder: Path, rows: Sequence[Sequence[str]] = ROWS, columns: str = "path,class,source") -> Path:
    """A folder with a picture for each row, and the table."""
    for number, (path, kind, *_) in enumerate(rows):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        variation(kind if kind in KINDS | OTHERS else "house", number, 32).save(folder / path)
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns.split(","), *rows])
    return folder


def told(source: Source) -> list[tuple[str, str, str]]:
    return [(found.name, found.label, found.source) for found in source.pictures]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    return write_table(tmp_path / "photos")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pictures", each=3, size=32)


def test_manifest_csv_tells_what_each_picture_shows_and_where_it_comes_from(listed: Path) -> None:
    source = from_folder(listed, ("motorcycle", "bicycle"))
    assert source.about == {"kind": "folder", "sha256": None}
    assert source.labels == ["motorcycle", "bicycle"]
    assert told(source) == ROWS[:3]
    assert source.skipped == []
    assert np.array_equal(source.pictures[0].read(), np.asarray(variation("bicycle", 0, 32)))


def test_all_classes_of_manifest_csv_are_taken_where_none_is_named(listed: Path) -> None:
    assert from_folder(listed).labels == ["bicycle", "flower", "house", "motorcycle"]


def test_manifest_csv_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    rows = [("Räder/1 a.png", "bicycle"), ("2.png", "motorcycle")]
    listed = write_table(tmp_path / "photos", rows, "path,class")
    table = listed / "manifest.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes() + b"\r\n")
    assert told(from_folder(listed)) == [("2.png", "motorcycle", ""), ("Räder/1 a.png", "bicycle", "")]


def test_file_that_manifest_csv_does_not_name_is_told(listed: Path) -> None:
    (listed / "a" / "new.png").touch()
    (listed / "a" / ".hidden").touch()
    assert from_folder(listed, tuple(KINDS)).skipped == [Skipped("a/new.png", "manifest.csv does not name it.")]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"path,label\na/1.png,bicycle\n", "has no column class. It needs path and class"),
        (b"", "has no column path"),
        (b"path,class\n,bicycle\n", "line 2: path is empty"),
        (b"path,class\na/1.png,bicycle\nb/3.png, \n", "line 3: class is empty"),
        (b"path,class\n/etc/passwd,bicycle\n", "line 2: /etc/passwd leads out of the folder"),
        (b"path,class\na/../../x.png,bicycle\n", "leads out of the folder"),
        (b"path,class\na/1.png,bicycle\n./a/1.png,motorcycle\n", "names a/1.png twice. Keep one row"),
        ("path,class\nRäder.png,bicycle\n".encode("latin-1"), "cannot be read as a table"),
        (b'path,class\n"a/1.png,bicycle\n', "cannot be read as a table"),
    ],
)
def test_manifest_csv_that_is_wrong_says_where(table: bytes, message: str, listed: Path) -> None:
    (listed / "manifest.csv").write_bytes(table)
    with pytest.raises(PicturesError) as raised:
        from_folder(listed)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("bicycle", "car"), r"has no class car\. It has: bicycle, flower, house, motorcycle\."),
        (("bicycle",), "at least two of them"),
        (("bicycle", "bicycle"), "bicycle is named twice"),
    ],
)
def test_class_that_manifest_csv_does_not_have_is_told(labels: tuple[str, ...], message: str, listed: Path) -> None:
    with pytest.raises(PicturesError, match=message):
        from_folder(listed, labels)


def test_subfolder_or_row_that_is_called_neither_holds_others(folder: Path, tmp_path: Path) -> None:
    write_folder(folder / "neither", each=1, size=32, kinds=OTHERS)
    variation("house", 9, 32).save(folder / "neither" / "9.png")
    rows = [("1.png", "bicycle", "web"), ("2.png", "neither", "web"), ("3.png", "motorcycle", "web")]
    listed = write_table(tmp_path / "photos", rows)
    for labels in ((), ("bicycle", "motorcycle")):
        assert from_folder(folder, labels).labels == from_folder(listed, labels).labels == ["bicycle", "motorcycle"]
        assert told(from_folder(folder, labels))[-3:] == [
            ("neither/9.png", "neither", ""),
            ("neither/flower/000.png", "neither", "flower"),
            ("neither/house/000.png", "neither", "house"),
        ]
        assert told(from_folder(listed, labels)) == rows


def test_neither_is_a_class_where_it_is_named_as_one(folder: Path) -> None:
    write_folder(folder / "neither", each=1, size=32, kinds=OTHERS)
    source = from_folder(folder, ("bicycle", "neither"))
    assert source.labels == ["bicycle", "neither"]
    with pytest.raises(PicturesError, match="cannot be called neither where there are others"):
        add_others(source, [folder])


def test_folder_below_a_class_is_the_source_of_its_pictures(folder: Path) -> None:
    (folder / "bicycle" / "shop" / "2024").mkdir(parents=True)
    (folder / "bicycle" / "000.png").rename(folder / "bicycle" / "shop" / "2024" / "000.png")
    assert Counter(found.source for found in from_folder(folder).pictures) == {"": 5, "shop": 1}


def test_others_of_a_folder_come_from_its_subfolders_at_any_depth_but_from_no_class(
    folder: Path, tmp_path: Path
) -> None:
    things = write_folder(tmp_path / "things", each=2, size=32, kinds=OTHERS)
    (things / "house" / "old").mkdir()
    (things / "house" / "000.png").rename(things / "house" / "old" / "000.png")
    variation("house", 9, 32).save(things / "9.png")
    shutil.copytree(folder / "bicycle", things / "bicycle")
    source = add_others(from_folder(folder), [things])
    assert source.labels == list(KINDS)
    assert [one for one in told(source) if one[1] == "neither"] == [
        ("things/9.png", "neither", "things"),
        *((f"things/flower/00{number}.png", "neither", "flower") for number in range(2)),
        ("things/house/001.png", "neither", "house"),
        ("things/house/old/000.png", "neither", "house"),
    ]
    assert len(source.pictures) == 6 + 5


def test_others_of_manifest_csv_are_what_it_calls_another_class(folder: Path, listed: Path) -> None:
    (listed / "new.png").touch()
    source = add_others(from_folder(folder), [listed])
    assert [one for one in told(source) if one[1] == "neither"] == [
        ("photos/5.png", "neither", "photos"),
        ("photos/b/4.png", "neither", "garden"),
    ]
    assert source.skipped == [Skipped("photos/new.png", "manifest.csv does not name it.")]


def test_one_folder_can_give_both_classes_and_others(listed: Path) -> None:
    source = add_others(from_folder(listed, tuple(KINDS)), [listed])
    assert Counter(found.label for found in source.pictures) == {"bicycle": 2, "motorcycle": 1, "neither": 2}


def test_several_folders_of_others_are_taken_together(folder: Path, tmp_path: Path) -> None:
    names = [write_folder(tmp_path / kind, each=2, size=32, kinds=[kind]) for kind in OTHERS]
    source = add_others(from_folder(folder), names)
    assert Counter(found.source for found in source.pictures if found.label == "neither") == {"flower": 2, "house": 2}


def test_folder_without_others_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for none in (tmp_path / "empty", folder):
        with pytest.raises(PicturesError, match=rf"{none} holds no picture that shows none of .*bicycle, motorcycle"):
            add_others(from_folder(folder), [none])
