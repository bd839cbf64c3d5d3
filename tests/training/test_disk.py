from pathlib import Path

import pytest

from training import disk
from training.errors import InputError


def folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_a_folder_takes_the_place_of_another_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for content in ("first", "second"):
        disk.replace(folder(tmp_path / "made", content), tmp_path / "here")
        assert (tmp_path / "here" / "file").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_a_replacement_that_fails_half_way_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    here, made = folder(tmp_path / "here", "old"), folder(tmp_path / "made", "new")
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path == made:
            raise failure
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(failure):
        disk.replace(made, here)
    assert (here / "file").read_text() == "old"


def test_a_file_that_cannot_be_written_is_the_callers_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken.html").mkdir()
    for path in (tmp_path / "file" / "report.html", tmp_path / "taken.html"):
        with pytest.raises(InputError, match=f"{path} cannot be written: "):
            disk.write_text(path, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.html"]
