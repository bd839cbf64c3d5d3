"""`upload`: a folder, copied to S3."""

from dataclasses import asdict
from pathlib import Path

import click

from commandline import console
from training import options
from training.aws import Place
from training.upload import upload


@click.command(name="upload", short_help="Copy a folder to S3.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("place", metavar="s3://BUCKET/PREFIX")
@click.option("--delete", is_flag=True, help="Delete what lies below the prefix and is not in the folder.")
@options.as_json
def command(
    folder: Path,
    place: str,
    delete: bool,  # noqa: FBT001 - click passes options by name
    as_json: bool,  # noqa: FBT001
) -> None:
    """Copy FOLDER to a place in S3, so that FOLDER/a/b becomes s3://BUCKET/PREFIX/a/b.

    What is there unchanged is left. Every object is checked on arrival by its SHA-256, and carries it. Hidden files and
    caches stay here. The bucket has to be there, and to belong to the account of the credentials. The manifest of a
    data set goes last. If this was interrupted, run it again: it goes on from where it stopped.
    """
    target = Place.parse(place)
    with console.progress() as bar:
        task = bar.add_task("Uploading", total=None)
        counts = upload(
            folder, target, lambda done, total: bar.update(task, completed=done, total=total), delete=delete
        )
    if as_json:
        console.print_json({"folder": str(folder), "place": str(target)} | asdict(counts))
        return
    console.results.print(
        f"{target}: {counts.uploaded} uploaded, {counts.unchanged} unchanged, {counts.deleted} deleted.", soft_wrap=True
    )
