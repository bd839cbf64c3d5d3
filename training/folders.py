"""Folders of pictures: with a subfolder for each class, or with a `manifest.csv` that tells what each picture shows.

`manifest.csv` has the columns path (below the folder, with slashes), class and, if it is known, source. Without one, a
picture's source is the folder that it lies in below its class's folder. Pictures of the class `neither` are others,
which show none of the classes.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from chalicelib.store import NEITHER
from training.errors import PicturesError
from training.layout import Skipped
from training.pictures import (
    Found,
    Pixels,
    Source,
    check_has_room_for_others,
    check_labels,
    decode,
    in_order,
    read_file,
)

TABLE = "manifest.csv"
COLUMNS = ("path", "class")
"""That `TABLE` has to have."""

PASSED_OVER = ("Thumbs.db", "desktop.ini", "__MACOSX")
"""What other programs leave in folders of pictures, beside names that begin with a dot."""


@dataclass(frozen=True)
class Row:
    """A row of `manifest.csv`.

    Attributes:
        path: below the folder, with slashes.
        label: what the picture shows.
        source: where it comes from; "" where the table does not tell.
    """

    path: str
    label: str
    source: str


def from_folder(folder: Path, labels: Sequence[str] = ()) -> Source:
    """The pictures of a folder.

    Hidden files are passed over. Folders within a class's folder belong to the class. Links to files, and links that
    stand for a class's folder, are followed; links to folders deeper down are not, since they may lead in circles.
    Where there is a `manifest.csv`, it alone tells what there is.

    Args:
        folder: it.
        labels: the classes, in the order that their numbers shall have; all of them, sorted, if there are none.
            `NEITHER` is one of them only if it is named here.

    Raises:
        PicturesError: a class does not exist or cannot be used, the table is wrong, or a folder cannot be listed.
    """
    rows = _read_table(folder)
    there = sorted({row.label for row in rows} if rows is not None else _subfolders(folder))
    labels = _choose(folder, there, labels)
    wanted = [*labels, *({NEITHER} & set(there) - set(labels))]
    if rows is not None:
        skipped = _unlisted(folder, rows)
        rows = [row for row in rows if row.label in wanted]
    else:
        strays = [path.name for path in _listed(folder) if not path.is_dir()]
        skipped = [Skipped(name, "It lies in no class's folder.") for name in strays]
        rows = _in_subfolders(folder, wanted)
    pictures = in_order([_found(folder, row) for row in rows])
    return Source({"kind": "folder", "sha256": None}, labels, pictures, skipped)


def add_others(source: Source, folders: Sequence[Path]) -> Source:
    """Add pictures that show none of the classes.

    Args:
        source: what a data set is made of, and its classes.
        folders: of pictures. Of one with a `manifest.csv`, what shows another class than the data set's is taken; of
            another, whatever does not lie in a subfolder that is called as a class is.

    Returns:
        Both together. A picture comes from what `manifest.csv` says, else from the subfolder that it lies in, or from
        the folder itself.

    Raises:
        PicturesError: a folder has none, or cannot be listed, its table is wrong, or a class is called `NEITHER`.
    """
    check_has_room_for_others(source.labels)
    pictures, skipped = list(source.pictures), list(source.skipped)
    for folder in folders:
        found, left_out = _others(folder, source.labels)
        if not found:
            raise PicturesError(
                f"{folder} holds no picture that shows none of the classes {', '.join(source.labels)}. Name a folder "
                "of other things with --others."
            )
        pictures += found
        skipped += left_out
    return replace(source, pictures=in_order(pictures), skipped=skipped)


def _others(folder: Path, labels: Sequence[str]) -> tuple[list[Found], list[Skipped]]:
    name = folder.resolve().name
    rows, skipped = _read_table(folder), []
    if rows is not None:
        skipped = [Skipped(f"{name}/{one.path}", one.reason) for one in _unlisted(folder, rows)]
        rows = [row for row in rows if row.label not in labels]
    else:
        files = [(path.relative_to(folder).as_posix(), _subfolder(path, folder)) for path in _files(folder)]
        rows = [Row(path, NEITHER, subfolder or name) for path, subfolder in files if subfolder not in labels]
    return [
        replace(_found(folder, row), name=f"{name}/{row.path}", label=NEITHER, source=row.source or name)
        for row in rows
    ], skipped


def listed(folder: Path) -> list[Row]:
    """The pictures of a folder, whatever they show: what `manifest.csv` names, or else what lies in the subfolders.

    Raises:
        PicturesError: the table is wrong, or the folder cannot be listed.
    """
    rows = _read_table(folder)
    return _in_subfolders(folder, _subfolders(folder)) if rows is None else rows


def _read_table(folder: Path) -> list[Row] | None:
    """What a folder's `manifest.csv` says; None where there is none.

    Raises:
        PicturesError: it cannot be read, a column is missing, a row is not complete or leads out of the folder, or two
            rows are about the same picture.
    """
    table = folder / TABLE
    if not table.is_file():
        return None
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise PicturesError(
                    f"{table} has no column {missing[0]}. It needs path and class, and may have source."
                )
            rows = [_row(table, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PicturesError(f"{table} cannot be read as a table: {error}. Save it as CSV in UTF-8.") from error
    twice = [path for path, count in Counter(row.path for row in rows).items() if count > 1]
    if twice:
        raise PicturesError(f"{table} names {twice[0]} twice. Keep one row for each picture.")
    return rows


def _row(table: Path, line: int, row: dict[str, str | None]) -> Row:
    path, label, source = ((row.get(name) or "").strip() for name in (*COLUMNS, "source"))
    if not path or not label:
        raise PicturesError(f"{table}, line {line}: {'class' if path else 'path'} is empty. Fill it in.")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise PicturesError(f"{table}, line {line}: {path} leads out of the folder. Name pictures below it.")
    return Row(PurePosixPath(path).as_posix(), label, source)


def _found(folder: Path, row: Row) -> Found:
    return Found(row.path, row.label, None, partial(_read, folder / row.path), source=row.source)


def _read(path: Path) -> Pixels:
    return decode(read_file(path))


def _unlisted(folder: Path, rows: Sequence[Row]) -> list[Skipped]:
    """The files of a folder that its table does not name."""
    listed = {folder / TABLE, *(folder / row.path for row in rows)}
    paths = sorted(path.relative_to(folder).as_posix() for path in _files(folder) if path not in listed)
    return [Skipped(path, f"{TABLE} does not name it.") for path in paths]


def _choose(folder: Path, there: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The classes that are wanted, of those that are there."""
    told = ", ".join(there) or "no subfolders"
    unknown = [label for label in labels if label not in there]
    if unknown:
        raise PicturesError(
            f"{folder} has no class {', '.join(unknown)}. It has: {told}. Choose among these with --classes."
        )
    labels = list(labels or (name for name in there if name != NEITHER))
    if len(labels) < 2:
        raise PicturesError(
            f"{folder} needs a subfolder of pictures for each class, or a {TABLE} that names them, and at least two of "
            f"them. It has: {told}."
        )
    check_labels(labels)
    return labels


def _in_subfolders(folder: Path, labels: Sequence[str]) -> list[Row]:
    """The files in these subfolders, each of which is called as the class is."""
    return [
        Row(path.relative_to(folder).as_posix(), label, _subfolder(path, folder / label))
        for label in labels
        for path in sorted(_files(folder / label))
    ]


def _subfolders(folder: Path) -> list[str]:
    return [path.name for path in _listed(folder) if path.is_dir()]


def _subfolder(path: Path, folder: Path) -> str:
    """Name of the subfolder that a file lies in, whatever its depth; "" where it lies in the folder itself."""
    first, *rest = path.relative_to(folder).parts
    return first if rest else ""


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not _is_hidden(path.name))
    except OSError as error:
        raise PicturesError(f"{folder} cannot be listed: {error.strerror}.") from error


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise PicturesError(f"{error.filename} cannot be listed: {error.strerror}.") from error

    for where, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        yield from (Path(where) / name for name in files if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in PASSED_OVER
