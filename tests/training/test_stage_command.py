import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.training import archives
from tests.training.archives import write_archive
from tests.training.datasets import variation, write_folder
from training import archive
from training.cli import main
from training.layout import Manifest


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "cifar.tar.gz", train=20, test=5)


@pytest.fixture
def published(cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The archive stands where the real one does, and commands run in a folder of their own; what was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = cifar.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setattr(archive, "URL", f"http://127.0.0.1:{server.server_address[1]}/cifar.tar.gz")
    monkeypatch.setattr(archive, "SHA256", digest(cifar))
    monkeypatch.chdir(tmp_path)
    yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stage(*options: Any) -> Result:
    return CliRunner().invoke(main, ["stage", *map(str, options)])


def test_archive_is_downloaded_once_and_becomes_the_data_set(published: list[str], tmp_path: Path) -> None:
    first = stage()
    assert first.exit_code == 0, first.output
    assert "Downloading CIFAR-100, 169 MB, from http://127.0.0.1" in first.stderr
    assert "The data set is in build/data." in first.stderr
    assert Manifest.read(tmp_path / "build" / "data").source["sha256"] == archive.SHA256
    second = stage("--json")
    assert second.exit_code == 0
    assert "Downloading" not in second.stderr
    assert published == ["/cifar.tar.gz"]
    assert {path.name for path in (tmp_path / "build").iterdir()} == {"cache", "data"}


def test_downloaded_archive_that_was_changed_is_moved_aside(published: list[str], tmp_path: Path) -> None:
    archive.CACHE.parent.mkdir(parents=True)
    archive.CACHE.write_bytes(b"tampered")
    result = stage()
    assert result.exit_code == 2
    assert "It is now cifar-100-python.tar.gz.bad. Run this again" in result.stderr
    assert not published
    assert stage().exit_code == 0
    assert archive.CACHE.with_name("cifar-100-python.tar.gz.bad").read_bytes() == b"tampered"


def test_download_that_cannot_be_had_is_told_with_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(archive, "URL", "http://127.0.0.1:1/cifar.tar.gz")
    result = stage()
    assert result.exit_code == 2
    assert "could not be downloaded" in result.stderr
    assert "name it with --archive" in result.stderr
    assert not (tmp_path / "build" / "data").exists()


def test_table_shows_what_there_is(cifar: Path, tmp_path: Path) -> None:
    result = stage("--archive", cifar, "--sha256", digest(cifar), "--out", tmp_path / "data")
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in result.stdout.splitlines() if "│" in line]
    assert rows == [["bicycle", "18", "2", "5"], ["motorcycle", "18", "2", "5"], ["all", "36", "4", "10"]]
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_is_one_object_and_nothing_else(cifar: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    options = ("--archive", cifar, "--sha256", digest(cifar).upper(), "--out", out, "--seed", "3")
    content = json.loads(stage(*options, "--validation-share", "0.25", "--json").stdout)
    manifest = Manifest.read(out)
    assert content == {
        "out": str(out),
        "manifest": str(out / "manifest.json"),
        "source": {"kind": "cifar-100", "sha256": digest(cifar)},
        "labels": ["bicycle", "motorcycle"],
        "seed": 3,
        "counts": {
            "train": {"bicycle": 15, "motorcycle": 15},
            "validation": {"bicycle": 5, "motorcycle": 5},
            "test": {"bicycle": 5, "motorcycle": 5},
        },
        "test_sources": [],
        "digests": {split: manifest.digest(split) for split in ("train", "validation", "test")},
        "near_duplicates": len(manifest.near_duplicates),
        "reviews": {"train": 0, "reviewed": 0},
        "skipped": 0,
    }
    assert (manifest.validation_share, manifest.test_share) == (0.25, None)


@pytest.mark.parametrize(
    "given", [("--classes", "motorcycle,bicycle"), ("--classes", "motorcycle", "--classes", "bicycle,")]
)
def test_classes_are_named_with_commas_or_one_by_one(given: tuple[str, ...], cifar: Path, tmp_path: Path) -> None:
    result = stage("--archive", cifar, "--sha256", digest(cifar), "--out", tmp_path / "data", "--json", *given)
    assert json.loads(result.stdout)["labels"] == ["motorcycle", "bicycle"]


def test_folder_becomes_a_data_set_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", each=20, size=40)
    for number in range(7):
        (folder / "bicycle" / f"broken{number}.jpg").write_bytes(b"\xff\xd8\xff")
    result = stage("--folder", folder, "--out", tmp_path / "data", "--test-share", "0.5")
    assert result.exit_code == 0, result.output
    manifest = Manifest.read(tmp_path / "data")
    assert manifest.counts()["test"] == {"bicycle": 10, "motorcycle": 10}
    assert manifest.test_share == 0.5
    assert "Left out bicycle/broken4.jpg: The JPEG picture is damaged" in result.stderr
    assert "broken5" not in result.stderr
    assert f"Left out 7 in all; {tmp_path / 'data' / 'manifest.json'} lists them." in result.stderr


def test_test_pictures_that_look_like_training_pictures_are_counted(tmp_path: Path) -> None:
    test = archives.split([1, 1000])
    path = write_archive(tmp_path / "a.tar.gz", 20, 1, {"test": test})
    result = stage("--archive", path, "--sha256", digest(path), "--out", tmp_path / "data", "--json")
    found = json.loads(result.stdout)["near_duplicates"]
    assert found >= 2
    result = stage("--archive", path, "--sha256", digest(path), "--out", tmp_path / "data")
    assert f"{found} of 4 test pictures look like a training or validation picture" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--archive", "{cifar}", "--folder", "{folder}"), "Give either --archive or --folder."),
        (("--archive", "{cifar}"), "is not the archive that it should be, or is damaged"),
        (("--archive", "{cifar}", "--sha256", "0" * 64), "is not the archive that it should be"),
        (("--archive", "{cifar}", "--sha256", "abc"), "abc is no SHA-256"),
        (
            ("--archive", "{cifar}", "--sha256", "{sha256}", "--classes", "bicycle,boat"),
            "no class boat. It has: bicycle",
        ),
        (("--archive", "{cifar}", "--sha256", "{sha256}", "--classes", "bicycle"), "One class is not enough"),
        (("--archive", "{cifar}", "--sha256", "{sha256}", "--classes", "bicycle,class_00"), "class_00 has no pictures"),
        (("--archive", "{cifar}", "--sha256", "{sha256}", "--test-share", "0.5"), "--test-share belongs to --folder"),
        (("--archive", "{cifar}/none"), "does not exist"),
        (("--sha256", "0" * 64), "--sha256 belongs to --archive"),
        (("--folder", "{folder}", "--sha256", "0" * 64), "--sha256 belongs to --archive"),
        (("--folder", "{folder}", "--classes", "bicycle,boat"), "no class boat. It has: bicycle, motorcycle."),
        (("--folder", "{folder}/bicycle"), "It has: no subfolders"),
        (("--folder", "{folder}", "--out", "{folder}/data"), "may not lie in each other"),
        (("--folder", "{folder}", "--out", "{full}"), "holds no data set"),
        (("--folder", "{folder}", "--validation-share", "1"), "--validation-share"),
        (("--folder", "{folder}", "--test-share", "-0.1"), "--test-share"),
        (("--folder", "{folder}", "--seed", "many"), "--seed"),
    ],
)
def test_what_has_to_change_is_told_with_exit_code_2(
    options: tuple[str, ...], message: str, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, full = write_folder(tmp_path / "pictures", each=5, size=32), tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").touch()
    names = {"cifar": cifar, "folder": folder, "full": full, "sha256": digest(cifar)}
    result = stage(*(option.format(**names) for option in options))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "full"}


def test_archive_that_would_run_code_ends_with_exit_code_2(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.tar.gz", 1, 1, {"meta": b"\x80\x02cos\nsystem\n(U\x09touch gonetR."})
    result = stage("--archive", path, "--sha256", digest(path), "--out", tmp_path / "data")
    assert result.exit_code == 2
    assert "asks to run os.system" in result.stderr
    assert "It was not run" in result.stderr


def test_place_that_cannot_be_written_ends_with_exit_code_1(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", each=5, size=32)
    (tmp_path / "file").touch()
    result = stage("--folder", folder, "--out", tmp_path / "file" / "data")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_pictures_of_today_and_tomorrow_can_be_staged_one_after_the_other(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", each=5, size=32)
    out = tmp_path / "data"
    assert stage("--folder", folder, "--out", out).exit_code == 0
    variation("bicycle", 100, 32).save(folder / "bicycle" / "new.png")
    assert stage("--folder", folder, "--out", out).exit_code == 0
    assert len(Manifest.read(out).pictures) == 11
