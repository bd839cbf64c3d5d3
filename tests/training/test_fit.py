import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.staged import write_data
from training import fit, model_archive
from training.errors import JobFailed, ModelError, PicturesError
from training.layout import ARCHIVE, MODEL, TRAINING_RECORD, Manifest, TrainingRecord

Steps = list[tuple[str, int, int]]


def unseen(*_: object) -> None:
    """Shows nothing."""


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    return shutil.copytree(data, tmp_path / "data")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[fit.Files, TrainingRecord, Steps]:
    files = fit.Files(tmp_path_factory.mktemp("trained") / "build" / "model")
    steps: Steps = []
    return files, fit.fit(data, files, lambda *step: steps.append(step)), steps


def test_files_lie_where_the_next_steps_look_for_them() -> None:
    assert (fit.Files(MODEL).archive, fit.Files(MODEL).record) == (ARCHIVE, TRAINING_RECORD)


def test_model_archive_and_record_belong_together(trained: tuple[fit.Files, TrainingRecord, Steps]) -> None:
    files, record, _ = trained
    assert record == TrainingRecord.read(files.record)
    assert (record.algorithm, record.job, record.labels) == ("head", None, ["bicycle", "motorcycle"])
    assert record.head_sha256 == model_archive.head_sha256(files.model)
    assert record.archive_sha256 == model_archive.sha256(files.archive)
    assert sorted(path.name for path in files.model.parent.iterdir()) == ["model", "model.tar.gz", "training.json"]


def test_every_metric_is_read_and_none_is_taken_for_another(trained: tuple[fit.Files, TrainingRecord, Steps]) -> None:
    files, record, _ = trained
    of_others = {name for name in fit.METRICS if name.endswith(("others_known", "known_auroc"))}
    assert set(record.metrics) == set(fit.METRICS) - of_others
    assert record.metrics["train_pictures"] == 12
    head = json.loads((files.model / "head.json").read_text())
    for name, value in head["provenance"]["cross_validation"].items():
        assert record.metrics[f"cross_validation_{name}"] == pytest.approx(value, abs=1e-6)


def test_validation_and_cross_validation_are_told_apart() -> None:
    lines = ["cross_validation_accuracy=0.250000;", "validation_accuracy=0.750000;", "cross_validation_accuracy=0.5;"]
    assert fit.read_metrics(lines) == {"cross_validation_accuracy": 0.5, "validation_accuracy": 0.75}
    assert fit.read_metrics(lines[:1]) == {"cross_validation_accuracy": 0.25}


def test_progress_is_told_to_the_end(trained: tuple[fit.Files, TrainingRecord, Steps]) -> None:
    _, _, steps = trained
    assert ("Looking at the pictures", 12, 12) in steps
    assert ("Looking at the pictures", 4, 4) in steps
    assert ("Cross-validation", 5, 5) in steps


def test_same_data_gives_the_same_archive_in_the_place_of_the_old_one(
    data: Path, trained: tuple[fit.Files, TrainingRecord, Steps], tmp_path: Path
) -> None:
    files = fit.Files(tmp_path / "model")
    files.model.mkdir()
    (files.model / "old.params").write_text("old")
    files.archive.write_text("old")
    assert fit.fit(data, files, unseen) == trained[1]
    assert files.archive.read_bytes() == trained[0].archive.read_bytes()
    assert not (files.model / "old.params").exists()


def test_three_labels_without_validation_pictures_are_trained(tmp_path: Path) -> None:
    labels = ("house", "bicycle", "motorcycle")
    write_data(tmp_path / "data", labels, {"train": 5, "test": 1})
    record = fit.fit(tmp_path / "data", fit.Files(tmp_path / "model"), unseen)
    assert record.labels == list(labels)
    assert json.loads((tmp_path / "model" / "head.json").read_text())["labels"] == list(labels)
    assert not [name for name in record.metrics if name.startswith("validation_")]


def test_failure_shows_what_the_script_said_and_leaves_the_old_model(copy: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "few", each={"train": 3, "test": 1})
    files = fit.Files(tmp_path / "model")
    files.model.mkdir()
    (files.model / "head.json").write_text("old")
    with pytest.raises(JobFailed, match=r"exit code 1(?s:.)*error: Every label needs at least 5 training pictures"):
        fit.fit(tmp_path / "few", files, unseen)
    assert (files.model / "head.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "few", "model"]


@pytest.mark.parametrize("change", ["missing", "new", "other"])
def test_data_set_that_has_changed_is_refused(change: str, copy: Path, tmp_path: Path) -> None:
    picture = next((copy / "validation" / "bicycle").iterdir())
    match change:
        case "missing":
            picture.unlink()
        case "new":
            shutil.copyfile(picture, picture.with_name("new.png"))
        case "other":
            picture.write_bytes(picture.read_bytes() + b"1")
    with pytest.raises(PicturesError, match=r"has changed since it was made: 1 pictures .*validation/bicycle"):
        fit.fit(copy, fit.Files(tmp_path / "model"), unseen)
    assert not (tmp_path / "model").exists()


def test_label_without_training_pictures_is_refused(data: Path) -> None:
    manifest = Manifest.read(data)
    with pytest.raises(PicturesError, match="no training picture of tricycle"):
        fit.check_pictures(data, replace(manifest, labels=[*manifest.labels, "tricycle"]))


@pytest.mark.parametrize("label", ["a,b", "it's", "-x", "", " a", "a ", "a\nb", "$(id)"])
def test_label_that_cannot_be_passed_on_is_refused(label: str, data: Path) -> None:
    with pytest.raises(PicturesError, match="cannot be used"):
        fit.hyperparameters(replace(Manifest.read(data), labels=["bicycle", label]), None)


@pytest.mark.parametrize("label", ["b", "cargo bike", "e-bike 2.0", "Fahrräder", "自転車", "_"])
def test_label_of_letters_digits_and_blanks_is_passed_on(label: str, data: Path) -> None:
    manifest = replace(Manifest.read(data), labels=["bicycle", label])
    assert fit.hyperparameters(manifest, None) == {"labels": f"bicycle,{label}"}


def test_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PicturesError, match="training stage"):
        fit.fit(tmp_path, fit.Files(tmp_path / "model"), unseen)


def test_what_is_no_model_is_not_replaced(data: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match=r"thesis\.txt"):
        fit.fit(data, fit.Files(tmp_path / "model"), unseen)
    assert (tmp_path / "model" / "thesis.txt").exists()


def test_script_learns_nothing_of_credentials_or_of_a_job_around_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SM_CHANNEL_VALIDATION", "/elsewhere")
    script = tmp_path / "script.py"
    script.write_text("import os\nfor pair in sorted(os.environ.items()): print('%s=%s' % pair)")
    monkeypatch.setattr(fit, "SCRIPT", script)
    manifest = replace(Manifest.read(data), pictures=Manifest.read(data).split("train"))
    lines = fit.run(fit.environment(data, manifest, tmp_path / "model"), {}, unseen)
    assert [line.partition("=")[0] for line in lines if line.startswith(("AWS_", "SM_"))] == [
        "SM_CHANNEL_BACKBONE",
        "SM_CHANNEL_TRAIN",
        "SM_MODEL_DIR",
    ]


def test_interrupt_ends_the_script_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    program = (  # a shell that starts something in the background has it ignore interrupts
        "import signal, sys; from pathlib import Path; from training import fit\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"fit.SCRIPT = Path({str(script)!r})\n"
        f"fit.fit(Path({str(data)!r}), fit.Files(Path({str(tmp_path / 'out' / 'model')!r})), lambda *_: None)"
    )
    root = Path(fit.__file__).parents[1]
    process = subprocess.Popen([sys.executable, "-c", program], cwd=root, stderr=subprocess.DEVNULL)  # noqa: S603
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == -signal.SIGINT
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()
    assert list((tmp_path / "out").iterdir()) == []
