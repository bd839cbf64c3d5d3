import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from training import model_archive
from training.errors import ModelError
from training.layout import COMMITTED_MODEL
from training.source import inference

Members = dict[str, bytes | tarfile.TarInfo]


def write(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def link(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def model(folder: Path) -> Path:
    (folder / "code").mkdir(parents=True)
    for name in model_archive.OWN:
        (folder / name).write_bytes(name.encode())
    return folder


def test_committed_model_is_packed_with_the_code_that_serves_it(tmp_path: Path) -> None:
    digest = model_archive.pack(COMMITTED_MODEL, tmp_path / "build" / "model.tar.gz")
    assert digest == model_archive.sha256(tmp_path / "build" / "model.tar.gz")
    model_archive.unpack(tmp_path / "build" / "model.tar.gz", tmp_path / "model")
    found = {path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*.*")}
    assert found == set(model_archive.OWN)
    assert inference.model_fn(tmp_path / "model").labels == ("bicycle", "motorcycle")
    assert model_archive.head_sha256(tmp_path / "model") == model_archive.head_sha256(COMMITTED_MODEL)


def test_same_files_give_the_same_bytes_whatever_their_dates_rights_and_order(tmp_path: Path) -> None:
    first = model(tmp_path / "first")
    second = tmp_path / "second"
    (second / "code").mkdir(parents=True)
    for name in reversed(model_archive.OWN):
        shutil.copyfile(first / name, second / name)
        os.utime(second / name, (1, 1))
        (second / name).chmod(0o600)
    (second / "README.md").write_text("a card")
    digests = [model_archive.pack(folder, tmp_path / f"{folder.name}.tar.gz") for folder in (first, second)]
    assert digests[0] == digests[1]
    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second.tar.gz").read_bytes()


def test_another_head_gives_another_archive(tmp_path: Path) -> None:
    before = model_archive.pack(model(tmp_path / "model"), tmp_path / "model.tar.gz")
    (tmp_path / "model" / "head.json").write_text("{}")
    assert model_archive.pack(tmp_path / "model", tmp_path / "model.tar.gz") != before


def test_code_of_the_model_itself_goes_before_the_code_of_the_project(tmp_path: Path) -> None:
    model_archive.pack(model(tmp_path / "model"), tmp_path / "model.tar.gz")
    model_archive.unpack(tmp_path / "model.tar.gz", tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "code" / "inference.py").read_text() == "code/inference.py"


@pytest.mark.parametrize("missing", ["backbone.onnx", "head.json"])
def test_folder_without_a_whole_model_is_not_packed(missing: str, tmp_path: Path) -> None:
    (model(tmp_path / "model") / missing).unlink()
    with pytest.raises(ModelError, match=rf"holds no {missing}.*training train"):
        model_archive.pack(tmp_path / "model", tmp_path / "model.tar.gz")
    assert not (tmp_path / "model.tar.gz").exists()


def test_folder_without_a_head_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no head\.json"):
        model_archive.head_sha256(tmp_path)


def test_model_of_the_built_in_algorithm_is_unpacked_and_packed(tmp_path: Path) -> None:
    files: Members = {
        "image-classification-0030.params": b"weights",
        "image-classification-symbol.json": b"{}",
        "model-shapes.json": b"[]",
    }
    model_archive.unpack(write(tmp_path / "a.tar.gz", files), tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == set(files)
    model_archive.pack(tmp_path / "model", tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        assert tar.getnames() == sorted(files)


def test_folders_and_dots_that_tar_writes_are_taken(tmp_path: Path) -> None:
    members: Members = {".": link(".", tarfile.DIRTYPE), "code": link("./code", tarfile.DIRTYPE)}
    members |= {f"./{name}": b"1" for name in model_archive.OWN}
    model_archive.unpack(write(tmp_path / "a.tar.gz", members), tmp_path / "model")
    assert (tmp_path / "model" / "code" / "inference.py").read_bytes() == b"1"


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"../head.json": b"1"}, id="outside"),
        pytest.param({"/tmp/head.json": b"1"}, id="absolute"),  # noqa: S108 - a name in an archive
        pytest.param({"code/../../head.json": b"1"}, id="outside by a detour"),
        pytest.param({"head.json": link("head.json", tarfile.SYMTYPE, "/etc/passwd")}, id="symbolic link"),
        pytest.param({"head.json": link("head.json", tarfile.LNKTYPE, "backbone.onnx")}, id="hard link"),
        pytest.param({"head.json": link("head.json", tarfile.FIFOTYPE)}, id="pipe"),
        pytest.param({"code/setup.py": b"1"}, id="code of another name"),
        pytest.param({"deep/er.json": b"1"}, id="a folder of another name"),
        pytest.param({"sitecustomize.py": b"1"}, id="a script"),
    ],
)
def test_archive_with_what_no_model_holds_is_refused_and_leaves_nothing(members: Members, tmp_path: Path) -> None:
    archive = write(tmp_path / "a.tar.gz", {"backbone.onnx": b"1", **members})
    with pytest.raises(ModelError, match="no file of a model"):
        model_archive.unpack(archive, tmp_path / "in" / "model")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "in"]


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_FILES"])
def test_archive_over_a_limit_is_refused(limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members: Members = {f"{number}.json": b"12" for number in range(3)}
    archive = write(tmp_path / "a.tar.gz", members)
    monkeypatch.setattr(model_archive, limit, 3)
    monkeypatch.setattr(model_archive, "MAX_FILES", 2 if limit == "MAX_FILES" else 100)
    with pytest.raises(ModelError, match="more than"):
        model_archive.unpack(archive, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("length", [0, 10, -40])
def test_damaged_archive_is_refused_and_leaves_nothing(length: int, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    model_archive.pack(model(tmp_path / "model"), archive)
    archive.write_bytes(archive.read_bytes()[:length])
    with pytest.raises(ModelError, match="damaged"):
        model_archive.unpack(archive, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


def test_model_gives_way_to_another_and_other_folders_do_not(tmp_path: Path) -> None:
    model_archive.check_replaceable(tmp_path / "nothing")
    model_archive.check_replaceable(model(tmp_path / "model"))
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="is a file"):
        model_archive.check_replaceable(tmp_path / "file")
    with pytest.raises(ModelError, match=r"holds LICENSE.*--model"):
        model_archive.check_replaceable(COMMITTED_MODEL)
