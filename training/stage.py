"""Makes a data set: PNGs by split and label, the lists of SageMaker's image classification, and a manifest.

    SPLIT/LABEL/NAME.png      NAME is what the picture was called, and a digest of its pixels
    SPLIT/neither/NAME.png    others: pictures that show none of the classes
    reviewed/LABEL/NAME.png   reviewed pictures that nothing is trained on; LABEL may be "neither"
    SPLIT_lst/SPLIT.lst       number, number of the label, LABEL/NAME.png, separated by tabs; the classes alone
    manifest.json             `training.layout.Manifest`

A split is drawn within each class, by ranking the pictures by a digest of seed and pixels: the first ones are for
testing, the next for validation, the rest for training. So the shares are exact, which small data sets need; names and
order do not matter; and when pictures are added, those that were there keep their order, so that only the few that
stand next to a border change sides. The same pixels are never in two splits: of copies within a class one is kept, and
pictures that stand under two labels are left out altogether, since one of the labels is wrong and nobody can tell
which. CIFAR's own division into training and test pictures is kept. Others are divided as a class is, and there need be
none.

Reviewed pictures are never for testing: they are the ones that a model was unsure of, and would make the test split
harder each time. Some are kept out of training, to see how the next model does on them, the rest is trained on. Where a
picture of the source is the same as a reviewed one, to the pixel, the reviewed one is kept, or, if the two labels
differ, none of the two; so the source's own test pictures hold none of them.

A data set is made beside the place where it shall be, and put there when it is whole.
"""

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from chalicelib.store import NEITHER
from training import disk, duplicates, parallel
from training.errors import PicturesError, TrainingError
from training.layout import MANIFEST_FILE, REVIEWED, SPLITS, Manifest, NearDuplicate, Review, Skipped, StagedPicture
from training.pictures import Found, Source, Unreadable

WORKERS = os.cpu_count() or 1

MAX_NAME = 80
"""Characters that are kept of a picture's name; file systems take 255 bytes."""

DIGITS = 12
"""Of the digest in a picture's name: enough that two pictures of the same name are never told alike."""

Advance = Callable[[int, int], None]
"""Told of progress: pictures done so far, and pictures in all."""


@dataclass(frozen=True)
class Shares:
    """How pictures are divided.

    Attributes:
        test: share of the pictures whose source does not say it, 0..1.
        validation: share of the others, 0..1.
        seed: of all of them.
        reviewed: share of the reviewed pictures that is kept out of training, 0..1.
    """

    test: float
    validation: float
    seed: int
    reviewed: float = 0.0


@dataclass(frozen=True)
class _Taken:
    """A picture as it will be in the data set: its file, and the digests of file and pixels."""

    found: Found
    file: Path
    sha256: str
    pixels: str
    thumbnail: duplicates.Thumbnail

    @property
    def name(self) -> str:
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", PurePosixPath(self.found.name).stem).strip("._")
        return f"{stem[:MAX_NAME] or 'picture'}-{self.pixels[:DIGITS]}.png"


def check_replaceable(out: Path, *folders: Path) -> None:
    """Make sure that a data set may be put somewhere.

    Args:
        out: where.
        folders: where its pictures come from.

    Raises:
        PicturesError: something else is there, or the one folder lies in the other.
    """
    for folder in folders:
        ours, theirs = out.resolve(), folder.resolve()
        if ours == theirs or ours in theirs.parents or theirs in ours.parents:
            raise PicturesError(f"{out} and {folder} may not lie in each other. Name another folder with --out.")
    if not out.exists():
        return
    if not out.is_dir():
        raise PicturesError(f"{out} is a file. Name a folder for the data set with --out.")
    if any(out.iterdir()) and not _is_data_set(out):
        raise PicturesError(
            f"{out} would be replaced, but is not empty and holds no data set. Name another folder with --out, or "
            "empty this one."
        )


def stage(source: Source, shares: Shares, out: Path, advance: Advance) -> Manifest:
    """Make a data set; the same pictures, shares and seed give the same bytes.

    Args:
        source: what it is made of.
        shares: how it is divided.
        out: where it goes; it takes the place of a data set that is there.
        advance: told of progress.

    Returns:
        Its manifest.

    Raises:
        PicturesError: a class has too few pictures that can be read, or something else is at `out`.
        TrainingError: it cannot be written.
    """
    check_replaceable(out)
    own = [found for found in source.pictures if found.review is None]
    _check_found(source.labels, own)
    with _scratch(out) as scratch:
        loose, made = scratch / "loose", scratch / "made"
        loose.mkdir()
        made.mkdir()
        taken, unreadable = _take_all(source.pictures, loose, advance)
        _check_readable(source.labels, taken, unreadable)
        kept, copies = _without_copies(taken)
        splits = _divide(kept, source.labels, shares)
        skipped = [*source.skipped, *(Skipped(found.name, reason) for found, reason in [*unreadable, *copies])]
        manifest = Manifest(
            source=source.about,
            labels=source.labels,
            seed=shares.seed,
            validation_share=shares.validation,
            test_share=shares.test if any(found.split is None for found in own) else None,
            reviewed_share=shares.reviewed if len(own) < len(source.pictures) else None,
            pictures=_put(splits, made),
            near_duplicates=_near_duplicates(splits),
            skipped=sorted(skipped, key=lambda one: one.path),
            reviews=_reviews(splits),
            test_sources=source.test_sources,
        )
        _write_lists(manifest, made)
        manifest.write(made)
        disk.replace(made, out)
    return manifest


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder beside another, which is gone afterwards."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
            yield Path(scratch)
    except OSError as error:
        raise TrainingError(
            f"{error.filename or out} cannot be written: {error.strerror or error}. Nothing was changed."
        ) from error


def _is_data_set(folder: Path) -> bool:
    try:
        content = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"pictures", "labels", "version"} <= content.keys()


def _check_found(labels: Sequence[str], pictures: Sequence[Found]) -> None:
    for label in labels:
        if not any(found.label == label for found in pictures):
            raise PicturesError(f"The class {label} has no pictures. Add some, or leave it out with --classes.")


def _take_all(
    pictures: Sequence[Found], folder: Path, advance: Advance
) -> tuple[list[_Taken], list[tuple[Found, str]]]:
    """Read pictures and write them as PNGs; those that cannot be read come back with the reason."""
    taken: list[_Taken] = []
    unreadable: list[tuple[Found, str]] = []
    numbered = [(found, folder / f"{number}.png") for number, found in enumerate(pictures)]
    with closing(parallel.each(_take, numbered, WORKERS)) as results:
        for done, (found, result) in enumerate(zip(pictures, results, strict=True), start=1):
            if isinstance(result, str):
                unreadable.append((found, result))
            else:
                taken.append(result)
            advance(done, len(pictures))
    return taken, unreadable


def _take(numbered: tuple[Found, Path]) -> _Taken | str:
    found, file = numbered
    try:
        pixels = found.read()
    except Unreadable as error:
        return str(error)
    image = Image.fromarray(pixels)
    image.save(file, "PNG")
    return _Taken(
        found=found,
        file=file,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        pixels=hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest(),
        thumbnail=duplicates.thumbnail(image),
    )


def _check_readable(labels: Sequence[str], taken: Sequence[_Taken], unreadable: Sequence[tuple[Found, str]]) -> None:
    readable = Counter(one.found.label for one in taken if one.found.review is None)
    for label in (*labels, NEITHER):
        wrong = [(found, reason) for found, reason in unreadable if found.label == label and found.review is None]
        if len(wrong) > readable[label]:
            found, reason = wrong[0]
            raise PicturesError(
                f"{len(wrong)} of {len(wrong) + readable[label]} files of {_called(label, labels)} cannot be read as "
                f"pictures, {found.name} among them: {reason} Is it the right folder?"
            )


def _called(label: str, labels: Sequence[str]) -> str:
    return f"the class {label}" if label in labels else "other things than the classes"


def _without_copies(taken: Sequence[_Taken]) -> tuple[list[_Taken], list[tuple[Found, str]]]:
    """Keep one of each picture, the first, and none that stands under two labels.

    Copies between the splits that a source comes with stay, unless there is one that has no split yet.
    """
    alike: dict[tuple[str | None, str], list[_Taken]] = defaultdict(list)
    loose = {one.pixels for one in taken if one.found.split is None}
    for one in taken:
        alike[None if one.pixels in loose else one.found.split, one.pixels].append(one)
    kept: list[_Taken] = []
    copies: list[tuple[Found, str]] = []
    for first, *others in alike.values():
        stranger = next((one for one in others if one.found.label != first.found.label), None)
        if stranger is None:
            kept.append(first)
            copies += [(one.found, f"It is the same picture as {first.found.name}.") for one in others]
            continue
        for one in (first, *others):
            other = stranger if one.found.label == first.found.label else first
            copies.append(
                (one.found, f"It is the same picture as {other.found.name}, which is called {other.found.label}.")
            )
    return kept, copies


def _divide(kept: Sequence[_Taken], labels: Sequence[str], shares: Shares) -> dict[str, list[_Taken]]:
    """Splits and their pictures."""
    splits: dict[str, list[_Taken]] = {name: [] for name in (*SPLITS, REVIEWED)}
    ranked = sorted(kept, key=lambda one: hashlib.sha256(f"{shares.seed} {one.pixels}".encode()).digest())
    for label in dict.fromkeys((*labels, NEITHER)):
        ours = [one for one in ranked if one.found.label == label and one.found.review is None]
        drawn = [one for one in ours if one.found.split is None]
        test = drawn[: _count(shares.test, len(drawn))]
        rest = [one for one in ours if one.found.split == "train"] + drawn[len(test) :]
        validation = rest[: _count(shares.validation, len(rest))]
        if len(rest) == len(validation) and (label in labels or drawn or rest):
            raise PicturesError(_too_few(label, labels, len(ours)))
        splits["test"] += [one for one in ours if one.found.split == "test"] + test
        splits["validation"] += validation
        reviewed = [one for one in ranked if one.found.label == label and one.found.review]
        kept_out = reviewed[: _count(shares.reviewed, len(reviewed))]
        splits["train"] += rest[len(validation) :] + reviewed[len(kept_out) :]
        splits[REVIEWED] += kept_out
    return splits


def _too_few(label: str, labels: Sequence[str], there: int) -> str:
    if label in labels:
        return (
            f"The class {label} has {there} pictures, which leaves none to train on. Add some, or leave it out with "
            "--classes."
        )
    return (
        f"{there} pictures show other things than the classes, which leaves none of these to train on. Add some with "
        "--others, or leave all of them out."
    )


def _count(share: float, pictures: int) -> int:
    """How many pictures are a share: one at least, unless there shall be none."""
    return max(1, round(share * pictures)) if share else 0


def _put(splits: Mapping[str, Sequence[_Taken]], folder: Path) -> list[StagedPicture]:
    """Move files to where they belong."""
    pictures = []
    for split, taken in splits.items():
        for one in taken:
            path = folder / _path(split, one)
            path.parent.mkdir(parents=True, exist_ok=True)
            one.file.rename(path)
            pictures.append(StagedPicture(_path(split, one), one.found.label, split, one.sha256, one.found.source))
    return sorted(pictures, key=lambda picture: picture.path)


def _path(split: str, taken: _Taken) -> str:
    return f"{split}/{taken.found.label}/{taken.name}"


def _reviews(splits: Mapping[str, Sequence[_Taken]]) -> dict[str, Review]:
    """Who reviewed what, by path."""
    found = {_path(split, one): one.found.review for split, taken in splits.items() for one in taken}
    return {path: review for path, review in sorted(found.items()) if review}


def _near_duplicates(splits: Mapping[str, Sequence[_Taken]]) -> list[NearDuplicate]:
    """Pictures to judge by that look like one to train with, each with the one that it looks like most."""
    tests = [(_path(split, one), one) for split in ("test", REVIEWED) for one in splits[split]]
    others = [(_path(split, one), one) for split in ("train", "validation") for one in splits[split]]
    if not tests:
        return []
    indices, distances = duplicates.nearest(
        np.array([one.thumbnail for _, one in tests]), np.array([one.thumbnail for _, one in others])
    )
    found = []
    for (path, test), index, distance in zip(tests, indices, distances, strict=True):
        if distance <= duplicates.LIMIT:
            other_path, other = others[index]
            same_label = test.found.label == other.found.label
            found.append(NearDuplicate(path, other_path, round(float(distance), 4), same_label))
    return sorted(found, key=lambda one: one.test)


def _write_lists(manifest: Manifest, folder: Path) -> None:
    for split in SPLITS:
        lines = [
            f"{number}\t{manifest.labels.index(picture.label)}\t{picture.path.removeprefix(f'{split}/')}\n"
            for number, picture in enumerate(manifest.split(split))
        ]
        if lines:
            (folder / f"{split}_lst").mkdir()
            (folder / f"{split}_lst" / f"{split}.lst").write_text("".join(lines), encoding="utf-8")
