"""The report of a comparison: the figures, and the pictures that are decided otherwise, side by side."""

from collections.abc import Iterator
from pathlib import Path

from training import paired, predict, report
from training.compare import FIGURES, Change, Verdict
from training.material import Material
from training.paired import Json
from training.report import MOST_PICTURES

IN_WORDS = {
    Verdict.BETTER: "B is better.",
    Verdict.MIXED: "B is better in one way and not in another.",
    Verdict.NO_DIFFERENCE: "No difference is shown.",
    Verdict.WORSE: "B is worse.",
    Verdict.NOT_JUDGED: "This is not judged.",
}
COLOURS = {Verdict.BETTER: "good", Verdict.WORSE: "bad"}


def write(path: Path, content: Json, material: Material) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        content: of `comparison.json`.
        material: the pictures, which still have to be there.

    Raises:
        PicturesError: a picture has gone in the meantime.
    """
    found = content["verdict"]["verdict"]
    report.write(
        path,
        "comparison.html",
        content=content,
        names={one: content[one]["version"] or content[one]["name"] for one in ("a", "b")},
        verdict=IN_WORDS[found],
        colour=COLOURS.get(found, ""),
        figures=FIGURES,
        reasons=report.REASONS,
        difference=paired.difference,
        chance=paired.chance,
        could_show=paired.could_show(content["could_show"]),
        changes=list(_changes(content, material)),
        significance=paired.SIGNIFICANCE,
    )


def _changes(content: Json, material: Material) -> Iterator[tuple[Change, int, list[tuple[Json, str]]]]:
    """Each kind of change that there is, how many there are, and the first of them with thumbnails."""
    pictures = {one.path: one for one in material.pictures}
    for change in Change:
        ours = [one for one in content["changed"] if one["change"] == change]
        if ours:
            yield (
                change,
                len(ours),
                [
                    (one, report.thumbnail_uri(predict.read(material.folder, pictures[one["path"]])))
                    for one in ours[:MOST_PICTURES]
                ],
            )
