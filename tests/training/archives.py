"""Small archives in CIFAR-100's own format: a tar of pickles, as Python 2 and its numpy wrote them."""

import io
import pickle
import struct
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tests.training.datasets import KINDS, OTHERS, variation

CLASSES = [f"class_{number:02}" for number in range(100)]
CLASSES[8], CLASSES[48], CLASSES[62], CLASSES[70] = "bicycle", "motorcycle", "flower", "house"
NUMBERS = {kind: CLASSES.index(kind) for kind in KINDS | OTHERS}
SIDE = 32


def write_archive(path: Path, train: int, test: int, extra: dict[str, bytes] | None = None) -> Path:
    """An archive with so many drawings of each vehicle, and members put in the place of its own."""
    members = {
        "meta": python2_pickle({"fine_label_names": CLASSES, "coarse_label_names": ["vehicles_1"]}),
        "train": split(range(train)),
        "test": split(range(1000, 1000 + test)),
        **(extra or {}),
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(f"cifar-100-python/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def split(numbers: Iterable[int], kinds: Iterable[str] = tuple(KINDS)) -> bytes:
    drawn = [(kind, number) for number in numbers for kind in kinds]
    pictures = [np.asarray(variation(kind, number, SIDE)).transpose(2, 0, 1).ravel() for kind, number in drawn]
    return python2_pickle(
        {
            "filenames": [f"{kind}_s_{number:06}.png" for kind, number in drawn],
            "batch_label": "a batch",
            "fine_labels": [NUMBERS[kind] for kind, _ in drawn],
            "coarse_labels": [0 for _ in drawn],
            "data": np.array(pictures, dtype=np.uint8),
        }
    )


def python2_pickle(value: Any) -> bytes:
    """Protocol 2, with text as Python 2's byte strings and arrays as numpy wrote them then."""
    return b"\x80\x02" + _write(value) + pickle.STOP


def _write(value: Any) -> bytes:
    match value:
        case str():
            return _text(value.encode())
        case int():
            return pickle.BININT + struct.pack("<i", value)
        case list():
            return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(_write, value)) + pickle.APPENDS
        case dict():
            items = b"".join(_write(key) + _write(item) for key, item in value.items())
            return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
        case np.ndarray():
            return _array(value)
    raise TypeError(type(value))


def _text(value: bytes) -> bytes:
    if len(value) < 256:
        return pickle.SHORT_BINSTRING + bytes([len(value)]) + value
    return pickle.BINSTRING + struct.pack("<i", len(value)) + value


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _array(value: np.ndarray[Any, Any]) -> bytes:
    made = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + _tuple(b"cnumpy\nndarray\n", _tuple(_write(0)), _text(b"b"))
        + pickle.REDUCE
    )
    dtype = (
        b"cnumpy\ndtype\n"
        + _tuple(_text(b"u1"), _write(0), _write(1))
        + pickle.REDUCE
        + _tuple(_write(3), _text(b"|"), pickle.NONE, pickle.NONE, pickle.NONE, _write(-1), _write(-1), _write(0))
        + pickle.BUILD
    )
    shape = _tuple(*map(_write, value.shape))
    return made + _tuple(_write(1), shape, dtype, pickle.NEWFALSE, _text(value.tobytes())) + pickle.BUILD
