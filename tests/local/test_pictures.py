"""Which files `classify` takes, and what they are called in the inbox."""

from pathlib import Path

from local import pictures


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_folder_stands_for_the_files_below_it_without_the_hidden_ones(tmp_path: Path) -> None:
    touch(
        tmp_path / "in" / "b.jpg",
        tmp_path / "in" / "a" / "c.png",
        tmp_path / "in" / ".git" / "x",
        tmp_path / "in" / ".y",
    )
    assert pictures.find([tmp_path / "in"]) == [
        (tmp_path / "in" / "a" / "c.png", "in/a/c.png"),
        (tmp_path / "in" / "b.jpg", "in/b.jpg"),
    ]


def test_files_of_the_same_name_get_different_keys(tmp_path: Path) -> None:
    one, two = tmp_path / "1" / "photo.jpg", tmp_path / "2" / "photo.jpg"
    touch(one, two)
    found = pictures.find([one, two])
    assert [path for path, _ in found] == [one, two]
    assert len({key for _, key in found}) == 2


def test_a_file_that_is_named_twice_is_classified_once(tmp_path: Path) -> None:
    touch(tmp_path / "photo.jpg")
    assert pictures.find([tmp_path / "photo.jpg", tmp_path / "photo.jpg"]) == [(tmp_path / "photo.jpg", "photo.jpg")]
