import importlib.util
import json
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.containers.container import PYTHON, ROOT, SOURCE, lay_out_job, run
from tests.training import drawings
from training.source import inference

DRAWINGS = {"cargo bike": drawings.bicycle, "motorcycle": drawings.motorcycle, "Häuser": drawings.house}
HYPERPARAMETERS = {
    "labels": ",".join(DRAWINGS),
    "folds": "2",
    "alpha": "10.0",
    "name": "drawn",
    "date": "2026-11-24",
}
Train = Callable[[Path, dict[str, Path], dict[str, str]], CompletedProcess[str]]
METRIC = re.compile(r"([a-z_]+)=([0-9.]+);")
"""As the metric definitions of a training job look for it in the log."""


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three channels of a job: drawings to train on, others to measure, and the backbone."""
    folder = tmp_path_factory.mktemp("channels")
    for split, numbers in {"train": range(6), "validation": range(20, 22)}.items():
        for label, draw in DRAWINGS.items():
            (folder / split / label).mkdir(parents=True)
            for number in numbers:
                image = draw(72, width=2 + number % 4, shift=(5 * (number % 5) - 10, 4 * (number % 3) - 4))
                image.save(folder / split / label / f"{number:03}.png")
    (folder / "backbone").mkdir()
    shutil.copyfile(ROOT / "model" / inference.BACKBONE_FILE, folder / "backbone" / inference.BACKBONE_FILE)
    return {path.name: path for path in folder.iterdir()}


def copy_source(folder: Path) -> Path:
    return Path(shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__")))


def train_by_toolkit(base: Path, channels: dict[str, Path], hyperparameters: dict[str, str]) -> CompletedProcess[str]:
    """The image's own way, which a job without an entry point of its own goes: the training toolkit's `train`."""
    source = copy_source(base / "submitted")
    submitted = {"sagemaker_program": "train.py", "sagemaker_submit_directory": str(source)}
    lay_out_job(base, channels, hyperparameters | {name: json.dumps(value) for name, value in submitted.items()})
    return run([PYTHON, "-m", "sagemaker_training.cli.train"], base)


def train_by_sdk(base: Path, channels: dict[str, Path], hyperparameters: dict[str, str]) -> CompletedProcess[str]:
    """The way of the SageMaker SDK's ModelTrainer: scripts of its own, sent along as a channel, in the image.

    They name /opt/ml outright, which is replaced in a copy.
    """
    found = importlib.util.find_spec("sagemaker")
    assert found is not None
    assert found.submodule_search_locations is not None
    sdk = Path(found.submodule_search_locations[0])
    drivers = base / "drivers"
    shutil.copytree(sdk / "train" / "container_drivers", drivers)
    shutil.copyfile(sdk / "core/utils/install_requirements.py", drivers / "scripts" / "install_requirements.py")
    templates = runpy.run_path(str(sdk / "train" / "templates.py"))
    script = templates["TRAIN_SCRIPT_TEMPLATE"].format(
        working_dir="cd /opt/ml/input/data/code",
        install_requirements=templates["INSTALL_REQUIREMENTS"].format(requirements_file="requirements.txt"),
        execute_driver=templates["EXECUTE_BASIC_SCRIPT_DRIVER"],
    )
    (drivers / "sm_train.sh").write_text(script)
    (drivers / "sourcecode.json").write_text(json.dumps({"source_dir": "code", "entry_script": "train.py"}))
    for path in (*drivers.rglob("*.py"), drivers / "sm_train.sh"):
        path.write_text(path.read_text().replace("/opt/ml", str(base)))
    code = copy_source(base / "code")
    lay_out_job(base, channels | {"sm_drivers": drivers, "code": code}, hyperparameters)
    return run(["bash", base / "input/data/sm_drivers/sm_train.sh"], base, TRAINING_JOB_NAME="drawn-1")


@pytest.mark.parametrize("train", [train_by_toolkit, train_by_sdk])
def test_a_job_trains_from_its_channels_and_hyperparameters_to_a_model_that_works_here(
    train: Train, channels: dict[str, Path], tmp_path: Path
) -> None:
    done = train(tmp_path, channels, HYPERPARAMETERS)
    assert done.returncode == 0, done.stdout + done.stderr
    model = tmp_path / "model"
    written = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    assert written == {"backbone.onnx", "head.json", "code/inference.py", "code/requirements.txt"}
    head = json.loads((model / "head.json").read_text())
    assert head["version"].startswith("drawn-")
    assert head["provenance"]["date"] == "2026-11-24"
    assert head["provenance"]["hyperparameters"] == {
        "alpha": 10.0,
        "folds": 2,
        "passing": 0.97,
        "precision": 0.995,
        "seed": 0,
    }
    metrics = dict(METRIC.findall(done.stdout))
    assert metrics["train_pictures"] == "18"
    assert metrics["validation_accuracy"] == "1.000000"
    loaded = inference.model_fn(model)
    for index, draw in enumerate(DRAWINGS.values()):
        (answer,) = inference.classify([inference.decode(drawings.encode(draw(72, width=3.5)))], loaded)
        assert answer["labels"][index] == list(DRAWINGS)[index]
        assert answer["inferences"][index] > 0.5
    assert not (tmp_path / "output" / "failure").exists()


@pytest.mark.parametrize("train", [train_by_toolkit, train_by_sdk])
def test_a_job_that_cannot_train_fails_and_says_why_in_its_log(
    train: Train, channels: dict[str, Path], tmp_path: Path
) -> None:
    done = train(tmp_path, channels | {"train": channels["backbone"]}, HYPERPARAMETERS)
    assert done.returncode != 0
    assert "holds no picture of: cargo bike, motorcycle, Häuser." in done.stdout + done.stderr
    assert "train.py" in (tmp_path / "output" / "failure").read_text()
    assert not (tmp_path / "model" / "head.json").exists()
