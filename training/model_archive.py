"""A model as one file: `model.tar.gz`, packed so that the same model gives the same bytes, and unpacked with care."""

import gzip
import hashlib
import io
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from training.errors import ModelError
from training.layout import ROOT

HEAD = "head.json"
BACKBONE = "backbone.onnx"
CODE = ("code/inference.py", "code/requirements.txt")
OWN = (BACKBONE, HEAD, *CODE)
"""What a model of `training/source/train.py` consists of."""

SOURCE = ROOT / "training" / "source"

BUILT_IN_SUFFIXES = (".params", ".json")
"""Of the files of SageMaker's built-in image classification, which lie on the top level: weights, and descriptions."""

MAX_BYTES = 1_000_000_000
"""Bytes that an archive may unpack to. Our model has 10 million, a ResNet-152 of the built-in algorithm 240 million."""

MAX_FILES = 64
"""Files in an archive. Ours has four; the built-in algorithm writes one for each epoch that it was told to keep."""


def head_sha256(folder: Path) -> str:
    """The digest of a model's `head.json`, which tells the model from others.

    Args:
        folder: the model.

    Returns:
        SHA-256 in hexadecimal.

    Raises:
        ModelError: there is no `head.json`.
    """
    try:
        return hashlib.sha256((folder / HEAD).read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            f"{folder} holds no {HEAD}. Train a model with `python -m training train`, or name a folder that holds one."
        ) from error


def pack(folder: Path, archive: Path) -> str:
    """Pack a model as SageMaker wants it. The same files give the same bytes, whatever their dates and owners.

    A model without its code, as the committed one, gets the code that stands in `training/source/`.

    Args:
        folder: the model.
        archive: the file to write.

    Returns:
        The archive's SHA-256 in hexadecimal.

    Raises:
        ModelError: the folder holds no whole model.
    """
    members = dict(_members(folder))
    archive.parent.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_name(f".{archive.name}.part")
    with (
        unfinished.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, path in sorted(members.items()):
            content = path.read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    unfinished.replace(archive)
    return sha256(archive)


def sha256(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a model into an empty or new folder: plain files of a model and nothing else.

    Args:
        archive: a `model.tar.gz`.
        folder: where its files go.

    Raises:
        ModelError: it is damaged, too large, or holds what no model does. Nothing of it is kept then.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            total = 0
            for count, member in enumerate(tar, start=1):
                total += member.size
                if count > MAX_FILES or total > MAX_BYTES:
                    raise _refused(archive, f"more than {MAX_FILES} files or {MAX_BYTES} bytes")
                _unpack_member(archive, tar, member, folder)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ModelError(f"{archive} is damaged or cannot be unpacked: {error}. Fetch it or train again.") from error
    except ModelError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def check_replaceable(folder: Path) -> None:
    """Make sure that a folder may give way to a new model.

    Raises:
        ModelError: it holds something that is not a model's.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ModelError(f"{folder} is a file. Name a folder for the model with --model.")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not _belongs(name) and "__pycache__" not in path.parts:
            raise ModelError(
                f"{folder} would be replaced, but holds {name}, which is no part of a model that this command writes. "
                "Name another folder with --model, or empty this one."
            )


def _members(folder: Path) -> Iterator[tuple[str, Path]]:
    if not (folder / HEAD).is_file():
        files = [path for path in folder.glob("*") if path.is_file() and _is_built_in(path.name)]
        if not files:
            head_sha256(folder)
        yield from ((path.name, path) for path in files)
        return
    for name in OWN:
        path = folder / name
        if name in CODE and not path.is_file():
            path = SOURCE / PurePosixPath(name).name
        if not path.is_file():
            raise ModelError(f"{folder} holds no {name}. Train the model again with `python -m training train`.")
        yield name, path


def _unpack_member(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name).as_posix()
    if member.isdir() and name in (".", "code"):
        return
    if not member.isreg() or not _belongs(name):
        raise _refused(archive, f"{member.name!r}, which is no file of a model")
    member.name = name
    tar.extract(member, folder, filter="data")


def _belongs(name: str) -> bool:
    return name in OWN or _is_built_in(name)


def _is_built_in(name: str) -> bool:
    return "/" not in name and name.endswith(BUILT_IN_SUFFIXES)


def _refused(archive: Path, what: str) -> ModelError:
    return ModelError(f"{archive} holds {what}. It was not unpacked. Do not use it unless you know where it is from.")
