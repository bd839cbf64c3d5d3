from pathlib import Path

from click.testing import CliRunner

from tests.training import drawings
from training import measure

MODEL_FOLDER = Path(__file__).parents[2] / "model"


def result(kind: str = "bicycle", source: str = "a", **changes: bool | float) -> measure.Result:
    fields: dict[str, bool | float] = {
        "is_thumbnail": False,
        "in_classes": kind != "other",
        "is_right": kind != "other",
        "is_known": True,
        "is_kept": True,
        "known": 0.9,
        "milliseconds": 1.0,
    }
    return measure.Result(measure.Entry(Path("x.png"), kind, source), **(fields | changes))  # type: ignore[arg-type]


def test_share_of_nothing_is_a_dash() -> None:
    assert measure.share([]) == "–"


def test_table_counts_what_is_right_known_and_accepted() -> None:
    results = [result(), result(is_right=False, is_kept=False), result(source="b"), result("other", is_kept=False)]
    rows = [line.strip("| ").split(" | ") for line in measure.table(results)[2:]]
    cells = {(row[0], row[1]): [cell.partition(" ")[0] for cell in row[2:]] for row in rows}
    assert cells["bicycle", "a"] == ["2", "50.0%", "100.0%", "50.0%", "100.0%"]
    assert cells["bicycle", "all"][:2] == ["3", "66.7%"]
    assert cells["other", "a"] == ["1", "–", "100.0%", "0.0%", "–"]
    assert cells["either", "all"][0] == "3"


def test_known_is_judged_apart_for_pictures_and_thumbnails() -> None:
    pictures = [result(known=0.9), result("other", known=0.1)]
    thumbnails = [result(known=0.1, is_thumbnail=True), result("other", known=0.9, is_thumbnail=True)]
    lines = measure.known_lines(pictures + thumbnails)
    assert [line.split(": ")[1].split()[0] for line in lines] == ["1.0000", "0.0000"]


def test_known_is_not_judged_without_pictures_of_both_kinds() -> None:
    assert measure.known_lines([result(), result()]) == []


def test_entries_come_from_the_manifest_if_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "bicycle").mkdir()
    drawings.bicycle(64).save(tmp_path / "bicycle" / "1.png")
    assert measure.read_entries(tmp_path) == [measure.Entry(tmp_path / "bicycle" / "1.png", "bicycle", tmp_path.name)]
    (tmp_path / "manifest.csv").write_text("path,class,source\nx/2.jpg,other,web\n")
    assert measure.read_entries(tmp_path) == [measure.Entry(tmp_path / "x" / "2.jpg", "other", "web")]


def test_command_measures_a_folder_from_bytes_to_table(tmp_path: Path) -> None:
    for name, draw in (("bicycle", drawings.bicycle), ("other", drawings.house)):
        (tmp_path / name).mkdir()
        draw(256).save(tmp_path / name / "drawn.png")
    run = CliRunner().invoke(measure.main, ["--model", str(MODEL_FOLDER), "--pictures", str(tmp_path)])
    assert run.exit_code == 0, run.output
    assert "AUROC of `known`, pictures: 1.0000 (1 in class, 1 not)" in run.output
    bicycle, other = (
        next(line for line in run.output.splitlines() if line.startswith(f"| {kind} ")) for kind in ("bicycle", "other")
    )
    assert bicycle.count("100.0% (20.7%–100.0%)") == 4
    assert other.count("0.0% (0.0%–79.3%)") == 2
    assert "Median time a picture" in run.output
