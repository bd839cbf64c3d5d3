"""CIFAR-100 as it is published: a tar of Python 2 pickles, fetched once, verified, and read without running anything.

The archive comes from https://www.cs.toronto.edu/~kriz/cifar.html. Nothing of it is unpacked onto the disk: three
members are read as streams, within limits, and their pickles are read by classes of ours that stand where numpy's are
named: nothing but plain values and arrays of bytes can come out, and nothing of numpy runs on what a pickle says.
"""

import gzip
import hashlib
import io
import math
import pickle
import pickletools
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from training.errors import ArchiveError, PicturesError

URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
SHA256 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
SIZE = 169_001_437
"""Of the file, in bytes."""

CACHE = Path("build/cache/cifar-100-python.tar.gz")
"""Where it is kept once it was downloaded."""

FOLDER = "cifar-100-python"
MEMBERS = ("meta", "train", "test")
SIDE = 32
"""Side of a picture, in px."""

MAX_BYTES = 400_000_000
"""Bytes that the archive may unpack to: the published one has 186 million."""

MAX_MEMBER_BYTES = 200_000_000
"""Bytes of one member: the largest, `train`, has 155 million."""

MAX_OPERATIONS = 2_000_000
"""Operations of one pickle: `train` names 50,000 files and twice as many labels, and needs one or two for each."""

CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""

Advance = Callable[[int, int | None], None]
"""Told of progress: bytes there so far, and bytes in all where they are known."""


@dataclass(frozen=True)
class Split:
    """The pictures of one split.

    Attributes:
        names: N file names, as the archive has them.
        labels: N indices into the names of the 100 classes.
        pixels: uint8 (N, 32, 32, 3), RGB.
    """

    names: list[str]
    labels: list[int]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Cifar:
    """The archive's content: the names of its fine classes, and its two splits."""

    classes: list[str]
    train: Split
    test: Split


def fetch(path: Path, advance: Advance, url: str = URL) -> None:
    """Download a file, going on where an earlier try stopped.

    What has come so far lies beside it as `NAME.part`, and becomes the file once it is whole.

    Args:
        path: where the file shall be.
        advance: told of progress.
        url: where it comes from.

    Raises:
        ArchiveError: it cannot be had.
    """
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _download(url, part, advance)
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise ArchiveError(
            f"{url} could not be downloaded: {error}. Run this again to go on from where it stopped, or fetch the file "
            "by other means and name it with --archive."
        ) from error
    part.replace(path)


def _download(url: str, part: Path, advance: Advance) -> None:
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url)  # noqa: S310 - the URL is ours
    if there:
        request.add_header("Range", f"bytes={there}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            error.close()
            return
        raise
    with response:
        resumed = response.status == HTTPStatus.PARTIAL_CONTENT
        there = there if resumed else 0
        length = response.headers.get("Content-Length")
        total = there + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            advance(there, total)
            while chunk := response.read1(CHUNK):
                file.write(chunk)
                there += len(chunk)
                advance(there, total)
    if total is not None and there < total:
        raise OSError(f"the connection ended after {there} of {total} bytes")


def verify(path: Path, sha256: str = SHA256) -> None:
    """Compare a file with the digest that it should have.

    Raises:
        ArchiveError: it is another file, or damaged.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}.") from error
    if found != sha256.lower():
        raise ArchiveError(
            f"{path} is not the archive that it should be, or is damaged: its SHA-256 is {found}, not {sha256}. "
            "It was not opened. Fetch it again; if it is another archive that you trust, give its digest with --sha256."
        )


def obtain(path: Path, advance: Advance, url: str = URL, sha256: str = SHA256) -> None:
    """Make sure that the archive is there and right; download it where it is not there.

    Args:
        path: where it is kept.
        advance: told of progress.
        url: where it comes from.
        sha256: the digest that it should have.

    Raises:
        ArchiveError: it cannot be had, or it is not right. A wrong one is kept under another name.
    """
    if not path.exists():
        fetch(path, advance, url)
    try:
        verify(path, sha256)
    except ArchiveError as error:
        aside = copy_aside(path)
        raise ArchiveError(
            f"{path} is damaged or another file than it should be, so it was not opened. It is now {aside.name}. "
            "Run this again to download it anew; if that does not help, fetch it by other means and name it with "
            "--archive."
        ) from error


def read(path: Path) -> Cifar:
    """Read a verified archive.

    Raises:
        ArchiveError: it is damaged, or not laid out as CIFAR-100 is.
    """
    members = _members(path)
    missing = [name for name in MEMBERS if name not in members]
    if missing:
        raise ArchiveError(f"{path} holds no {FOLDER}/{missing[0]}, as CIFAR-100 does. Fetch another one.")
    meta, train, test = (_unpickle(members.pop(name), name) for name in MEMBERS)
    classes = [_text(name) for name in _field(meta, "fine_label_names", list)]
    return Cifar(classes, _split(train, "train", len(classes)), _split(test, "test", len(classes)))


def choose(classes: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """The numbers of the classes that are wanted.

    Raises:
        PicturesError: there is no such class.
    """
    unknown = [name for name in wanted if name not in classes]
    if unknown:
        raise PicturesError(
            f"The archive has no class {', '.join(unknown)}. It has: {', '.join(sorted(classes))}. "
            "Choose among these with --classes."
        )
    return [classes.index(name) for name in wanted]


class _Limited:
    """A file of which no more than `MAX_BYTES` can be read, whatever its headers ask for."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self.file = file
        self.left = MAX_BYTES

    def read(self, size: int) -> bytes:
        data = self.file.read(min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise ArchiveError(f"The archive unpacks to more than {MAX_BYTES} bytes, which CIFAR-100 does not.")
        return data


def _members(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path) as file, tarfile.open(fileobj=_Limited(file), mode="r|", bufsize=CHUNK) as tar:  # type: ignore[call-overload]
            for member in tar:
                name = member.name.removeprefix(f"{FOLDER}/")
                if name in MEMBERS:
                    found[name] = _content(tar, member)
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise ArchiveError(f"{path} is damaged: {error}. Fetch it again.") from error
    return found


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isreg() or member.size > MAX_MEMBER_BYTES:
        raise ArchiveError(f"{member.name} in the archive is no plain file of a size that CIFAR-100 has.")
    stream = tar.extractfile(member)
    assert stream is not None, "a plain file"  # noqa: S101 - for the type checker
    return stream.read()


class _Dtype:
    """Stands for `numpy.dtype`, and takes the one kind that CIFAR-100 has."""

    def __init__(self, kind: object, *_: object) -> None:
        if kind not in (b"u1", "u1"):
            raise ValueError("its arrays do not hold bytes")

    def __setstate__(self, state: object) -> None:
        """Byte order and flags mean nothing for bytes."""


class _Array:
    """Stands for `numpy.ndarray`, and for the function that makes an empty one: takes shape and content, makes nothing.

    Attributes:
        pixels: None until the pickle has told its state.
    """

    def __init__(self, *_: object) -> None:
        self.pixels: NDArray[np.uint8] | None = None

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        if not (isinstance(dtype, _Dtype) and isinstance(content, bytes) and isinstance(shape, tuple)):
            raise TypeError("an array is not laid out as numpy does")
        if not all(isinstance(side, int) and side >= 0 for side in shape) or math.prod(shape) != len(content):
            raise ValueError("an array has another size than it says")
        self.pixels = np.frombuffer(content, np.uint8).reshape(shape, order="F" if is_fortran else "C")


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles that hold arrays of bytes and plain values, and refuses to look up anything else."""

    ALLOWED: ClassVar[dict[tuple[str, str], type]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            what = f"{module}.{name}".encode("unicode_escape").decode()
            raise ArchiveError(
                f"The archive asks to run {what}, which CIFAR-100 has no use for. It was not run. Do not trust this "
                "file."
            )
        return self.ALLOWED[module, name]


def _unpickle(data: bytes, name: str) -> dict[bytes, Any]:
    try:
        _check_operations(data)
        content = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except ArchiveError:
        raise
    except Exception as error:
        raise ArchiveError(
            f"{FOLDER}/{name} in the archive is damaged: {type(error).__name__}: {error}. Fetch it again."
        ) from error
    if not isinstance(content, dict):
        raise ArchiveError(f"{FOLDER}/{name} in the archive is not laid out as CIFAR-100 is. Fetch another one.")
    return content


def _check_operations(data: bytes) -> None:
    """Refuse a pickle that would fill the memory with few bytes.

    A value may be remembered under any number, and Python makes room for as many; a pickle of Python's own numbers them
    from 0 or 1 on.
    """
    for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if count > MAX_OPERATIONS or (operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > count):  # type: ignore[operator]
            raise ArchiveError("The archive holds a pickle that would fill the memory. Do not trust this file.")


def _field(content: dict[bytes, Any], name: str, kind: type) -> Any:
    value = content.get(name.encode())
    if not isinstance(value, kind):
        raise ArchiveError(f"The archive has no {name} as CIFAR-100 has it. Fetch another one.")
    return value


def _split(content: dict[bytes, Any], name: str, classes: int) -> Split:
    pixels: NDArray[np.uint8] | None = _field(content, "data", _Array).pixels
    labels, names = _field(content, "fine_labels", list), _field(content, "filenames", list)
    if pixels is None or pixels.shape != (len(labels), 3 * SIDE * SIDE) or len(names) != len(labels):
        raise ArchiveError(f"The pictures of {FOLDER}/{name} are not laid out as CIFAR-100's are.")
    if not all(isinstance(label, int) and 0 <= label < classes for label in labels):
        raise ArchiveError(f"The labels of {FOLDER}/{name} are not numbers of classes.")
    return Split([_text(one) for one in names], labels, pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def _text(value: object) -> str:
    if not isinstance(value, bytes | str):
        raise ArchiveError("The archive has a name that is no text.")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def copy_aside(path: Path) -> Path:
    """Keep a file that is not what it should be under another name, so that the next download starts anew.

    Returns:
        Where it is now; one that was there before is gone.
    """
    return path.replace(path.with_name(path.name + ".bad"))
