"""`python -m training evaluate`, from a data set on disk to the report, the figures and the exit code."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from local.stack import Stack
from tests.conftest import Answer, FakeAws
from tests.training import drawings
from tests.training.pages import Page
from tests.training.staged import write_data
from training import fit, model_archive
from training.cli import main
from training.layout import COMMITTED_MODEL, Manifest, StagedPicture
from training.source import inference


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged") / "data"
    write_data(folder, each={"train": 1, "validation": 2, "test": 6})
    return folder


def evaluate(data: Path, out: Path, *options: str, model: bool = True) -> Result:
    chosen = ("--model", str(COMMITTED_MODEL)) if model else ()
    return CliRunner().invoke(main, ["evaluate", "--data", str(data), "--out", str(out), *chosen, *options])


def right_here(data: Path, split: str) -> int:
    """How many pictures the committed model gets right, asked without any of the code under test."""
    model = inference.model_fn(COMMITTED_MODEL)
    answers = [
        (path.parent.name, inference.classify([inference.decode(path.read_bytes())], model)[0])
        for path in (data / split).glob("*/*.png")
    ]
    return sum(
        label == answer["labels"][answer["inferences"].index(max(answer["inferences"]))] for label, answer in answers
    )


def test_one_json_object_is_printed_and_it_is_what_stands_in_the_file(data: Path, tmp_path: Path) -> None:
    result = evaluate(data, tmp_path / "out", "--min-accuracy", "0", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    timing = printed.pop("timing")
    assert 0 < timing["median_ms"] <= timing["p95_ms"]
    assert printed.pop("files") == {
        name: str(tmp_path / "out" / file)
        for name, file in (("metrics", "metrics.json"), ("report", "report.html"), ("tables", "tables.md"))
    }
    assert printed == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (printed["accuracy"]["count"], printed["accuracy"]["total"]) == (right_here(data, "test"), 12)
    assert printed["model"]["head_sha256"] == model_archive.head_sha256(COMMITTED_MODEL)
    assert printed["data"]["sha256"] == Manifest.read(data).digest("test")
    Page(tmp_path / "out" / "report.html").check()


def test_table_fits_a_terminal_and_words_say_the_rest(data: Path, tmp_path: Path) -> None:
    result = evaluate(data, tmp_path, "--min-accuracy", "0", "--precision", "0.9")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    words = " ".join(result.stdout.split())
    accuracy, coverage, wished = metrics["accuracy"], metrics["coverage"], metrics["wished"]
    assert (
        f"{accuracy['value']:.1%} │ {accuracy['low']:.1%}–{accuracy['high']:.1%} │ {accuracy['count']} of 12" in words
    )
    (_, wrong), (also_wrong, _) = metrics["confusion"]
    assert wrong + also_wrong > 0, "drawings that the model gets all right show nothing here"
    for count, pair in ((wrong, "bicycle for motorcycle"), (also_wrong, "motorcycle for bicycle")):
        assert (f"{count} {pair}" in words) == (count > 0)
    assert f"Calibration error (ECE) {metrics['calibration']['ece']:.1%}" in words
    kept = coverage["kept"]["count"]
    assert (
        f"From confidence {coverage['threshold']} and known {coverage['min_known']} on, {kept} of 12 are accepted"
        in words
    )
    assert f"A person is asked about {12 - kept}." in words
    assert f"reaches 90% right of the accepted is {wished['threshold']:.6g}: {wished['kept']['count']} of 12" in words
    paths = [tmp_path / name for name in ("report.html", "metrics.json", "tables.md")]
    assert "The report is {}, the figures are {}, tables are {}.".format(*paths) in result.stderr
    assert re.search(
        r"took [\d.]+ ms from its bytes to the answer on one thread \(median\); 95 % took at most", result.stderr
    )
    size = sum((COMMITTED_MODEL / name).stat().st_size for name in ("backbone.onnx", "head.json"))
    assert f"The model has {size / 1e6:.1f} MB on disk." in result.stderr
    assert metrics["model"]["bytes"] == size


def test_the_second_time_the_figures_are_the_same_to_the_byte(data: Path, tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        assert evaluate(data, tmp_path, "--min-accuracy", "0").exit_code == 0
        texts.append((tmp_path / "metrics.json").read_bytes())
    assert texts[0] == texts[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "report.html", "tables.md"]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_under_the_floor_the_exit_code_is_1_and_everything_is_written(
    data: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    result = evaluate(data, tmp_path, "--min-accuracy", "1", *options)
    right = right_here(data, "test")
    assert right < 12
    assert result.exit_code == 1
    assert f"{right} of 12 test pictures are right, less than 100%." in result.stderr
    assert str(tmp_path / "report.html") in result.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())["floor"] == {"min_accuracy": 1.0, "passed": False}
    assert "Not good enough" in Page(tmp_path / "report.html").words()


def test_exactly_the_floor_is_enough(data: Path, tmp_path: Path) -> None:
    floor = right_here(data, "test") / 12
    assert evaluate(data, tmp_path, "--min-accuracy", repr(floor)).exit_code == 0


def test_validation_pictures_are_judged_if_asked_for(data: Path, tmp_path: Path) -> None:
    result = evaluate(data, tmp_path, "--split", "validation", "--min-accuracy", "0", "--json")
    printed = json.loads(result.stdout)
    assert (printed["data"]["split"], printed["data"]["pictures"]) == ("validation", 4)
    assert printed["accuracy"]["count"] == right_here(data, "validation")


def test_the_endpoint_is_judged_as_the_folder_is(embedded: Stack, data: Path, tmp_path: Path) -> None:
    name = embedded.settings.endpoint_name
    there = evaluate(data, tmp_path / "there", "--endpoint", name, "--min-accuracy", "0", "--json", model=False)
    assert there.exit_code == 0, there.output
    assert evaluate(data, tmp_path / "here", "--min-accuracy", "0").exit_code == 0
    here, there_too = (json.loads((tmp_path / one / "metrics.json").read_text()) for one in ("here", "there"))
    version = here.pop("model")["version"]
    assert there_too.pop("model") == {"version": version, "head_sha256": None, "endpoint": name, "bytes": None}
    assert there_too == here


def test_a_missing_endpoint_is_exit_code_1_and_nothing_is_written(embedded: Stack, data: Path, tmp_path: Path) -> None:
    result = evaluate(data, tmp_path / "out", "--endpoint", "missing", model=False)
    assert result.exit_code == 1
    assert "The endpoint missing cannot be asked" in result.stderr
    assert not (tmp_path / "out").exists()


def test_names_of_classes_are_no_markup_of_the_terminal(fake_endpoint: FakeAws, tmp_path: Path) -> None:
    fake_endpoint.says(Answer(body=b"[0.9, 0.1]"))
    picture = drawings.encode(drawings.house(32))
    (tmp_path / "house.png").write_bytes(picture)
    staged = StagedPicture("house.png", "[/bold]", "test", hashlib.sha256(picture).hexdigest())
    Manifest({"kind": "folder", "sha256": None}, ["[red]x", "[/bold]"], 0, 0.1, [staged]).write(tmp_path)
    result = evaluate(tmp_path, tmp_path / "[out]", "--endpoint", "endpoint", "--min-accuracy", "0", model=False)
    assert result.exit_code == 0, result.output
    assert "Taken for another class: 1 [/bold] for [red]x." in result.stdout
    assert "│ [red]x " in result.stdout
    assert str(tmp_path / "[out]" / "report.html") in result.stderr


def test_three_classes_go_all_the_way(tmp_path: Path) -> None:
    labels = ("bicycle", "house", "motorcycle")
    write_data(tmp_path / "data", labels, {"train": 6, "validation": 2, "test": 3})
    fit.fit(tmp_path / "data", fit.Files(tmp_path / "model"), lambda *_: None)
    result = evaluate(
        tmp_path / "data", tmp_path, "--model", str(tmp_path / "model"), "--min-accuracy", "0", "--json", model=False
    )
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert [one["label"] for one in printed["classes"]] == list(labels)
    assert sum(map(sum, printed["confusion"])) == 9
    page = Page(tmp_path / "report.html")
    page.check()
    assert "9 pictures of bicycle, house, motorcycle." in page.words()


def test_a_split_without_pictures_is_the_callers_to_mend(tmp_path: Path) -> None:
    write_data(tmp_path / "data", each={"train": 1, "validation": 1})
    result = evaluate(tmp_path / "data", tmp_path / "out")
    assert result.exit_code == 2
    assert "has no test pictures" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_data_set_is_told(tmp_path: Path) -> None:
    result = evaluate(tmp_path, tmp_path / "out")
    assert result.exit_code == 2
    assert "holds no data set. Make one with `python -m training stage`." in result.stderr


def test_model_and_endpoint_at_once_are_refused(data: Path, tmp_path: Path) -> None:
    result = evaluate(data, tmp_path, "--endpoint", "endpoint")
    assert result.exit_code == 2
    assert "Say either --model or --endpoint" in result.stderr


@pytest.mark.parametrize("option", ["--min-accuracy", "--precision"])
@pytest.mark.parametrize("value", ["1.01", "-0.1", "nan", "most"])
def test_a_share_lies_between_0_and_1(data: Path, tmp_path: Path, option: str, value: str) -> None:
    result = evaluate(data, tmp_path / "out", option, value)
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_help_names_every_option() -> None:
    result = CliRunner().invoke(main, ["evaluate", "--help"])
    assert result.exit_code == 0
    for option in ("--data", "--model", "--endpoint", "--split", "--min-accuracy", "--precision", "--pictures",
                   "--out", "--json"):  # fmt: skip
        assert option in result.stdout
    assert "build/model" in result.stdout


@pytest.fixture(scope="module")
def with_others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged") / "data"
    write_data(folder, each={"train": 1, "test": 4}, others={"train": 2, "test": 6})
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures as people have them: large and small, of several formats, with a table that tells what they are."""
    folder = tmp_path_factory.mktemp("further") / "photos"
    folder.mkdir()
    rows = ["path,class,source"]
    for number, (kind, source, draw, size, image_format) in enumerate(
        (
            ("bicycle", "shop", drawings.bicycle, 300, "JPEG"),
            ("bicycle", "street", drawings.bicycle, 900, "PNG"),
            ("motorcycle", "street", drawings.motorcycle, 900, "JPEG"),
            ("motorcycle", "thumbnails", drawings.motorcycle, 48, "WEBP"),
            ("house", "street", drawings.house, 300, "GIF"),
            ("flower", "thumbnails", drawings.flower, 48, "TIFF"),
        )
    ):
        (folder / f"{number}").write_bytes(drawings.encode(draw(size), image_format))
        rows.append(f"{number},{kind},{source}")
    (folder / "6").write_bytes(b"no picture")
    (folder / "manifest.csv").write_text("\n".join([*rows, "6,bicycle,shop"]) + "\n", encoding="utf-8")
    return folder


def test_others_and_further_pictures_are_judged_beside_the_split_and_change_nothing_of_it(
    with_others: Path, photos: Path, tmp_path: Path
) -> None:
    result = evaluate(with_others, tmp_path, "--pictures", str(photos), "--min-accuracy", "0", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    alone = evaluate(with_others, tmp_path / "alone", "--min-accuracy", "0", "--json")
    without = json.loads(alone.stdout)
    for key in ("data", "accuracy", "confusion", "calibration", "coverage", "neither", "floor", "baseline"):
        assert printed[key] == without[key]
    assert (without["further"], without["together"]) == ([], None)
    assert (printed["data"]["pictures"], printed["data"]["others"]) == (8, 6)
    assert [(one["source"], one["others"]) for one in printed["neither"]["sources"]] == [("flowers", 3), ("houses", 3)]
    (further,) = printed["further"]
    assert (further["name"], further["pictures"], further["others"]) == ("photos", 4, 2)
    assert [one["path"] for one in further["skipped"]] == ["6"]
    assert {(row["label"], row["source"]) for row in further["by_source"]} >= {
        ("bicycle", "street"), ("motorcycle", "thumbnails"), (None, None), ("neither", "street")
    }  # fmt: skip
    assert [one["size"] for one in further["neither"]["apart"]] == ["all", "small", "larger"]
    assert (printed["together"]["pictures"], printed["together"]["apart"][0]["classes"]) == (8, 12)


def test_what_was_found_further_stands_in_terminal_report_and_markdown(
    with_others: Path, photos: Path, tmp_path: Path
) -> None:
    result = evaluate(with_others, tmp_path, "--pictures", str(photos), "--min-accuracy", "0")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    words = " ".join(result.stdout.split())
    assert "│ motorcycle │ thumbnails │ 1 │" in words
    assert "every size" in words
    assert "files are decided alike" in words
    assert "Left out of photos: 1. 6: The file is not a picture" in " ".join(result.stderr.split())
    page = Page(tmp_path / "report.html")
    page.check()
    assert "Further pictures: photos" in page.words()
    assert "one rule" in page.words().lower()
    text = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "| bicycle | street | 1 | " in text
    assert "## All together" in text


def test_further_pictures_give_the_same_figures_again_to_the_byte(
    with_others: Path, photos: Path, tmp_path: Path
) -> None:
    texts = []
    for _ in range(2):
        assert evaluate(with_others, tmp_path, "--pictures", str(photos), "--min-accuracy", "0").exit_code == 0
        texts.append([(tmp_path / name).read_bytes() for name in ("metrics.json", "tables.md")])
    assert texts[0] == texts[1]


def test_an_endpoint_is_asked_about_further_pictures_too(
    embedded: Stack, with_others: Path, photos: Path, tmp_path: Path
) -> None:
    options = ("--pictures", str(photos), "--min-accuracy", "0", "--json")
    here = evaluate(with_others, tmp_path, *options)
    there = evaluate(with_others, tmp_path, *options, "--endpoint", embedded.settings.endpoint_name, model=False)
    assert there.exit_code == 0, there.output
    assert json.loads(there.stdout)["further"] == json.loads(here.stdout)["further"]


def test_a_folder_of_others_alone_is_judged_without_an_accuracy(with_others: Path, tmp_path: Path) -> None:
    (tmp_path / "things" / "houses").mkdir(parents=True)
    drawings.house(200).save(tmp_path / "things" / "houses" / "1.png")
    result = evaluate(
        with_others, tmp_path / "out", "--pictures", str(tmp_path / "things"), "--min-accuracy", "0", "--json"
    )
    assert result.exit_code == 0, result.output
    (further,) = json.loads(result.stdout)["further"]
    assert (further["accuracy"], further["calibration"], further["neither"]["pictures"]) == (None, None, 1)
    page = Page(tmp_path / "out" / "report.html")
    page.check()
    assert "0 of the classes, 1 of none of them." in page.words()


def test_a_folder_without_pictures_is_refused_before_the_model_is_asked(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = evaluate(data, tmp_path / "out", "--pictures", str(tmp_path / "empty"))
    assert result.exit_code == 2
    assert "holds no pictures to judge by" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_without_known_goes_all_the_way(with_others: Path, photos: Path, tmp_path: Path) -> None:
    head = json.loads((COMMITTED_MODEL / "head.json").read_text())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "head.json").write_text(json.dumps(head | {"known": None}))
    shutil.copy(COMMITTED_MODEL / "backbone.onnx", tmp_path / "model")
    options = ("--model", str(tmp_path / "model"), "--pictures", str(photos), "--min-accuracy", "0")
    result = evaluate(with_others, tmp_path, *options, model=False)
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["baseline"]["known"] is None
    for one in (metrics, *metrics["further"]):
        assert one["neither"]["apart"] == []
        assert one["neither"]["accepted"]["total"] > 0
    assert 'The model tells no "known"' in " ".join(result.stdout.split())
    assert "This model does not tell how surely" in Page(tmp_path / "report.html").words()
