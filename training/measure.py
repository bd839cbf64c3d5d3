"""Measures a model folder on pictures that it was not trained on, and prints the tables of the model card.

    python -m training.measure --model model --pictures ../shared/data/cifar/test --pictures ../shared/data/photos

A folder of pictures holds either `manifest.csv` (columns path, class, source) or one sub-folder for each class. Classes
that are none of the model's labels are pictures to hold back. Every picture goes through the four functions that serve
an endpoint, from its bytes. Intervals are Wilson's, at 95 %.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from sklearn.metrics import roc_auc_score

from chalicelib import decision
from training import metrics
from training.source import inference

CONTENT_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class Entry:
    """A picture to measure on."""

    path: Path
    kind: str
    source: str


@dataclass(frozen=True)
class Result:
    """What the model said about one picture.

    Attributes:
        entry: The picture.
        is_thumbnail: Whether the model's rule for thumbnails applied.
        in_classes: Whether the picture's class is one of the model's labels.
        is_right: Whether the most probable label is the picture's class.
        is_known: Whether `known` reaches `min_known`.
        is_kept: Whether it is known and the probability reaches the threshold.
        known: As answered, or 1 if the model does not tell.
        milliseconds: From bytes to answer.
    """

    entry: Entry
    is_thumbnail: bool
    in_classes: bool
    is_right: bool
    is_known: bool
    is_kept: bool
    known: float
    milliseconds: float


def read_entries(folder: Path) -> list[Entry]:
    """Lists a folder's pictures, by its manifest if it has one, otherwise by its class folders."""
    manifest = folder / MANIFEST
    if manifest.is_file():
        with manifest.open(encoding="utf-8", newline="") as file:
            return [Entry(folder / row["path"], row["class"], row["source"]) for row in csv.DictReader(file)]
    return [
        Entry(path, path.parent.name, folder.name)
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in CONTENT_TYPES
    ]


def measure(entries: Iterable[Entry], model: inference.Model) -> Iterator[Result]:
    """Runs the model over pictures."""
    for entry in entries:
        body = entry.path.read_bytes()
        start = time.perf_counter()
        picture = inference.input_fn(body, CONTENT_TYPES[entry.path.suffix.lower()])
        answer = inference.predict_fn(picture, model)
        milliseconds = 1000 * (time.perf_counter() - start)
        confidence = max(answer["inferences"])
        known, min_known = answer["known"], answer["min_known"]
        yield Result(
            entry=entry,
            is_thumbnail=model.known is not None and picture.short_side <= model.known.thumbnail_side,
            in_classes=entry.kind in answer["labels"],
            is_right=answer["labels"][answer["inferences"].index(confidence)] == entry.kind,
            is_known=decision.is_known(known, min_known),
            is_kept=decision.is_enough(confidence, answer["threshold"], known, min_known),
            known=1.0 if known is None else known,
            milliseconds=milliseconds,
        )


def share(results: Sequence[bool]) -> str:
    """A share in percent with its interval, or a dash where there is nothing to share."""
    found = metrics.share(results)
    return "–" if found.value is None else f"{found.value:.1%} ({found.low:.1%}–{found.high:.1%})"


def table(results: Sequence[Result]) -> list[str]:
    """Lines of a Markdown table, one row for each class and source, and one for each class with several sources."""
    lines = [
        "| class | source | pictures | right | known | accepted | right among accepted |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in sorted({result.entry.kind for result in results}):
        ours = [result for result in results if result.entry.kind == kind]
        sources = sorted({result.entry.source for result in ours})
        lines += [
            _row(kind, source, [result for result in ours if result.entry.source == source]) for source in sources
        ]
        if len(sources) > 1:
            lines.append(_row(kind, "all", ours))
    wanted = [result for result in results if result.in_classes]
    lines.append(_row("either", "all", wanted))
    return lines


def _row(kind: str, source: str, results: Sequence[Result]) -> str:
    accepted = [result.is_right for result in results if result.is_kept]
    in_classes = any(result.in_classes for result in results)
    cells = [
        kind,
        source,
        str(len(results)),
        share([result.is_right for result in results]) if in_classes else "–",
        share([result.is_known for result in results]),
        share([result.is_kept for result in results]),
        share(accepted) if in_classes else "–",
    ]
    return f"| {' | '.join(cells)} |"


def known_lines(results: Sequence[Result]) -> list[str]:
    """How well `known` tells the model's classes from others (AUROC), for pictures and for thumbnails."""
    lines = []
    for name, is_thumbnail in (("pictures", False), ("thumbnails", True)):
        ours = [result for result in results if result.is_thumbnail == is_thumbnail]
        positives = sum(result.in_classes for result in ours)
        if 0 < positives < len(ours):
            area = roc_auc_score([result.in_classes for result in ours], [result.known for result in ours])
            lines.append(f"AUROC of `known`, {name}: {area:.4f} ({positives} in class, {len(ours) - positives} not)")
    return lines


@click.command()
@click.option(
    "--model", "folder", type=click.Path(path_type=Path, exists=True), default=Path("model"), show_default=True
)
@click.option("--pictures", type=click.Path(path_type=Path, exists=True), multiple=True, required=True)
def main(folder: Path, pictures: tuple[Path, ...]) -> None:
    """Prints accuracy, what is accepted, and speed, for each class and source of pictures."""
    model = inference.model_fn(folder)
    click.echo(f"model {model.version}: threshold {model.threshold}, min_known {model.min_known}")
    for place in pictures:
        results = list(measure(read_entries(place), model))
        milliseconds = statistics.median(result.milliseconds for result in results)
        click.echo("\n".join(["", f"{place.parent.name}/{place.name}", "", *table(results), "", *known_lines(results)]))
        click.echo(f"Median time a picture, from bytes to answer: {milliseconds:.1f} ms")


if __name__ == "__main__":
    main()
