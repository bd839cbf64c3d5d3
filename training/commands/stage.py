"""`stage`: a data set of pictures, from CIFAR-100 or from folders, with those that people have reviewed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from commandline import console
from training import archive, options
from training.errors import InputError
from training.folders import add_others, from_folder
from training.layout import DATA, MANIFEST_FILE, REVIEWED, Manifest
from training.pictures import Source, from_archive, hold_out
from training.reviews import add as add_reviews
from training.stage import Shares, check_replaceable, stage

CLASSES = ("bicycle", "motorcycle")
ARCHIVE_OTHERS = 2000
TEST_SHARE = 0.2
REVIEWED_SHARE = 0.2
SHOWN = 5
"""Pictures that were left out, of which the reason is shown; the manifest has all."""

SHARE = console.Number(min=0, max=1, max_open=True)
WHOLE_SHARE = console.Number(min=0, max=1)


@click.command(name="stage", short_help="Make a data set of pictures.")
@click.option(
    "--archive",
    "archive_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="cifar-100-python.tar.gz that is here already. Left out, it is downloaded once.",
)
@click.option("--sha256", help="Digest of --archive, if it is not the published one.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Take pictures from here instead: of a subfolder for each class, or as its manifest.csv says.",
)
@click.option(
    "--classes",
    multiple=True,
    help="Classes, separated by commas, in the order of their numbers. Default: bicycle and motorcycle of CIFAR-100, "
    "all of a folder.",
)
@click.option(
    "--others",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Add pictures of none of the classes, from this folder; where it has a manifest.csv, of its other classes.",
)
@click.option(
    "--archive-others",
    type=click.IntRange(min=0),
    help="Add so many pictures of the archive's other classes, as many of each as can be.  "
    f"[default: {ARCHIVE_OTHERS}; none with --folder]",
)
@click.option("--validation-share", type=SHARE, default=0.1, help="Of the training pictures of each class.")
@click.option(
    "--test-share",
    type=SHARE,
    help=f"Of the pictures of each class of --folder, and of --others.  [default: {TEST_SHARE}]",
)
@click.option(
    "--test-sources",
    multiple=True,
    metavar="NAMES",
    help="Sources, separated by commas, whose pictures are all for testing: does the model hold on new sources?",
)
@click.option("--reviews", metavar="TABLE", help="Add the pictures that people have reviewed, by the table of records.")
@click.option(
    "--reviewed-share",
    type=WHOLE_SHARE,
    help="Of the reviewed pictures of each class: kept out of training, to see how the next model does on them.  "
    f"[default: {REVIEWED_SHARE}]",
)
@click.option("--seed", type=int, default=0, help="Another seed divides the pictures otherwise.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DATA,
    help="The data set, which takes the place of an earlier one.",
)
@options.as_json
def command(
    archive_path: Path | None,
    sha256: str | None,
    folder: Path | None,
    classes: tuple[str, ...],
    others: tuple[Path, ...],
    archive_others: int | None,
    validation_share: float,
    test_share: float | None,
    test_sources: tuple[str, ...],
    reviews: str | None,
    reviewed_share: float | None,
    seed: int,
    out: Path,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Make a data set of PNGs, divided into training, validation and test pictures.

    Without --archive and --folder, CIFAR-100 is downloaded (169 MB) to build/cache and verified; an interrupted
    download goes on where it stopped. Nothing of the archive is run or unpacked: its pictures are read out of it.

    Pictures of --folder may be JPEG, PNG, WebP, GIF or TIFF. They are made upright and small as the workflow does it.
    Those that cannot be read and copies are left out and listed. CIFAR-100 has its own test pictures; of a folder's
    they are drawn. Test pictures that look like a training picture are reported.

    Others show none of the classes; a model that is trained with them tells other things apart. CIFAR-100's other
    classes give some unless --archive-others is 0. A manifest.csv has the columns path, class and source.

    --reviews adds pictures that were held back and that a person has decided about, in the version that was looked at.
    They are trained on, but for a share; `evaluate` shows how a model does on that. What shows none of the classes is
    one of the others. None of them is a test picture. Those that are gone from S3 are left out and listed.

    The same pictures and seed give the same data set, to the byte.
    """
    _check_options(archive_path, sha256, folder)
    if folder and archive_others is not None:
        raise InputError("--archive-others belongs to CIFAR-100. Name a folder of others with --others.")
    if test_share is not None and not (folder or others):
        raise InputError("--test-share belongs to --folder and --others: CIFAR-100 has its own test pictures.")
    if reviewed_share is not None and reviews is None:
        raise InputError("--reviewed-share belongs to --reviews: without it there are no reviewed pictures.")
    if reviews is not None and not reviews.strip():
        raise InputError(
            "Name the table of records with --reviews: `RECORDS_TABLE` of the stage in .chalice/config.json."
        )
    check_replaceable(out, *([folder] if folder else []), *others)
    names = _names(classes)
    if folder:
        source = from_folder(folder, names)
    else:
        drawn = ARCHIVE_OTHERS if archive_others is None else archive_others
        source = _from_archive(archive_path, sha256, names or list(CLASSES), drawn, seed)
    if others:
        source = add_others(source, others)
    if held_out := _names(test_sources):
        source = hold_out(source, held_out)
    if reviews:
        source = add_reviews(source, reviews)
    shares = Shares(
        test=TEST_SHARE if test_share is None else test_share,
        validation=validation_share,
        seed=seed,
        reviewed=REVIEWED_SHARE if reviewed_share is None else reviewed_share,
    )
    with console.progress() as bar:
        task = bar.add_task("Reading pictures", total=len(source.pictures))
        manifest = stage(source, shares, out, lambda done, _: bar.update(task, completed=done))
    if as_json:
        console.print_json(_summary(manifest, out))
    else:
        _print(manifest, out)


def _names(given: tuple[str, ...]) -> list[str]:
    return [name.strip() for names in given for name in names.split(",") if name.strip()]


def _check_options(archive_path: Path | None, sha256: str | None, folder: Path | None) -> None:
    if archive_path and folder:
        raise InputError("Give either --archive or --folder.")
    if sha256 and not archive_path:
        raise InputError("--sha256 belongs to --archive: the published archive's digest is known.")
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(f"{sha256} is no SHA-256: it has 64 digits from 0 to f. `sha256sum FILE` prints it.")


def _from_archive(path: Path | None, sha256: str | None, classes: list[str], others: int, seed: int) -> Source:
    digest = (sha256 or archive.SHA256).lower()
    if path:
        archive.verify(path, digest)
    else:
        path = archive.CACHE
        if not path.exists():
            console.messages.print(f"Downloading CIFAR-100, {archive.SIZE / 1e6:.0f} MB, from {archive.URL} to {path}.")
        with _download_progress() as bar:
            task = bar.add_task("Downloading", total=archive.SIZE, visible=not path.exists())
            archive.obtain(
                path,
                lambda done, total: bar.update(task, completed=done, total=total or archive.SIZE),
                archive.URL,
                digest,
            )
    return from_archive(path, digest, classes, others, seed)


def _download_progress() -> Progress:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}"),
        *columns,
        console=console.messages,
        disable=not console.messages.is_terminal,
    )


def _summary(manifest: Manifest, out: Path) -> dict[str, Any]:
    counts = manifest.counts()
    return {
        "out": str(out),
        "manifest": str(out / MANIFEST_FILE),
        "source": manifest.source,
        "labels": manifest.labels,
        "seed": manifest.seed,
        "counts": counts,
        "test_sources": manifest.test_sources,
        "digests": {split: manifest.digest(split) for split in counts},
        "near_duplicates": len(manifest.near_duplicates_of("test")),
        "reviews": {split: len(manifest.reviewed(split)) for split in ("train", REVIEWED)},
        "skipped": len(manifest.skipped),
    }


def _print(manifest: Manifest, out: Path) -> None:
    console.results.print(_table(manifest))
    say = console.messages.print
    for one in manifest.skipped[:SHOWN]:
        say(f"Left out {one.path}: {one.reason}", markup=False)
    if len(manifest.skipped) > SHOWN:
        say(f"Left out {len(manifest.skipped)} in all; {out / MANIFEST_FILE} lists them.")
    for note in _notes(manifest, out):
        say(note, markup=False)
    say(f"The data set is in {out}.")


def _table(manifest: Manifest) -> Table:
    counts = manifest.counts()
    table = Table("class", *counts, title="Pictures")
    for label in dict.fromkeys(label for of_split in counts.values() for label in of_split):
        table.add_row(label, *(str(of_split.get(label, "")) for of_split in counts.values()))
    if len(manifest.labels) > 1:
        table.add_section()
        table.add_row("all", *(str(sum(of_split.values())) for of_split in counts.values()))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _notes(manifest: Manifest, out: Path) -> Iterator[str]:
    """What is worth knowing about a data set, in sentences."""
    counts = manifest.counts()
    for split in ("test", REVIEWED):
        found = manifest.near_duplicates_of(split)
        alike, others = len(found), sum(not one.same_label for one in found)
        if alike:
            wrong = f", {others} of them like one of another class" if others else ""
            yield (
                f"{alike} of {sum(counts[split].values())} {split} pictures look like a training or validation picture"
                f"{wrong}, so that a test on them may flatter the model; {out / MANIFEST_FILE} lists them."
            )
    if manifest.test_sources:
        yield f"All pictures from {', '.join(manifest.test_sources)} are test pictures."
    if not manifest.others("train"):
        yield "No picture to train on shows anything else, so that a model cannot learn what is none of the classes."
    if manifest.reviews:
        trained_on, kept_out = (len(manifest.reviewed(split)) for split in ("train", REVIEWED))
        yield (
            f"{trained_on} reviewed pictures are to train on, {kept_out} are kept out of training for `evaluate`, and "
            "none is a test picture."
        )
