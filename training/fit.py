"""Trains on this machine: runs `training/source/train.py` as SageMaker would, in a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from training import disk, model_archive
from training.errors import JobFailed, PicturesError
from training.layout import COMMITTED_MODEL, Manifest, TrainingRecord

SCRIPT = model_archive.SOURCE / "train.py"
ALGORITHM = "head"

FIGURES = ("accuracy", "nll", "kept", "kept_accuracy", "known", "others_known", "known_auroc")
METRICS = (
    "train_pictures",
    "train_others",
    *(f"cross_validation_{name}" for name in (*FIGURES, "temperature", "threshold", "min_known")),
    *(f"validation_{name}" for name in FIGURES),
)
"""What the script prints as `name=value;`; those of others only where there are any."""

METRIC_DEFINITIONS = {name: rf"\b{name}=([0-9.]+);" for name in METRICS}
r"""Expressions that find the metrics in the output; `\b` keeps `validation_` apart from `cross_validation_`.
https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html"""

STEPS = {
    "Looking at the pictures": re.compile(r"^features: (\d+) of (\d+) pictures"),
    "Cross-validation": re.compile(r"^cross-validation: fold (\d+) of (\d+)"),
}
LABEL = re.compile(r"\w([\w .-]*[\w.-])?")
"""What a label may look like: the script takes labels separated by commas, without blanks around them, and SageMaker's
drivers quote them with '."""

LAST_LINES = 12
"""Lines of the output that a failure shows."""

Advance = Callable[[str, int, int], None]
"""Told of progress: the step, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Files:
    """Where a trained model goes.

    Attributes:
        model: the folder; the archive and the record lie beside it.
    """

    model: Path

    @property
    def archive(self) -> Path:
        """The model as SageMaker takes it, `NAME.tar.gz`."""
        return self.model.with_name(f"{self.model.name}.tar.gz")

    @property
    def record(self) -> Path:
        """How it was trained, `training.json`."""
        return self.model.with_name("training.json")


def hyperparameters(manifest: Manifest, date: str | None) -> dict[str, str]:
    """What the script is told, here and on SageMaker.

    Raises:
        PicturesError: a label cannot be passed on.
    """
    wrong = [label for label in manifest.labels if not LABEL.fullmatch(label)]
    if wrong:
        raise PicturesError(
            f"The label {wrong[0]!r} cannot be used: labels consist of letters, digits, blanks and _ . - and begin "
            "with a letter, a digit or _, and no blank ends them. Rename its folder and run `python -m training stage` "
            "again."
        )
    return {"labels": ",".join(manifest.labels)} | ({"date": date} if date else {})


def check_pictures(data: Path, manifest: Manifest) -> None:
    """Make sure that the training and validation pictures are those that `stage` wrote down.

    Args:
        data: the data set.
        manifest: its manifest.

    Raises:
        PicturesError: a label has no training picture, or a picture is missing, new or another.
    """
    training = manifest.counts()["train"]
    empty = [label for label in manifest.labels if not training[label]]
    if empty or len(manifest.labels) < 2:
        what = f"has no training picture of {empty[0]}" if empty else "has fewer than two labels"
        raise PicturesError(f"{data} {what}. Make it again with `python -m training stage`.")
    listed = {
        picture.path: picture.sha256
        for name in ("train", "validation")
        for picture in (*manifest.split(name), *manifest.others(name))
    }
    there = {
        path.relative_to(data).as_posix()
        for name in ("train", "validation")
        for path in (data / name).rglob("*")
        if path.is_file()
    }
    wrong = sorted(there ^ listed.keys()) or [
        path for path, digest in sorted(listed.items()) if model_archive.sha256(data / path) != digest
    ]
    if wrong:
        raise PicturesError(
            f"{data} has changed since it was made: {len(wrong)} pictures are missing, new or others, {wrong[0]} among "
            "them. Make it again with `python -m training stage`."
        )


def fit(data: Path, files: Files, advance: Advance, date: str | None = None) -> TrainingRecord:
    """Train on a data set; the same data set gives the same bytes.

    Args:
        data: what `stage` made.
        files: where the model goes; it takes the place of one that is there.
        advance: told of progress.
        date: recorded in the model as it is given.

    Raises:
        PicturesError: there is no such data set, or it has changed.
        ModelError: the model would take the place of something that is none.
        JobFailed: the script failed.
    """
    manifest = Manifest.read(data)
    told = hyperparameters(manifest, date)
    check_pictures(data, manifest)
    model_archive.check_replaceable(files.model)
    files.model.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=files.model.parent, prefix=f".{files.model.name}-") as folder:
        made = Path(folder) / "model"
        output = run(environment(data, manifest, made), told, advance)
        digest = model_archive.pack(made, files.archive)
        disk.replace(made, files.model)
    record = TrainingRecord(
        algorithm=ALGORITHM,
        job=None,
        labels=manifest.labels,
        archive_sha256=digest,
        head_sha256=model_archive.head_sha256(files.model),
        metrics=read_metrics(output),
    )
    record.write(files.record)
    return record


def read_metrics(lines: Sequence[str]) -> dict[str, float]:
    """The last value of every metric that the script printed."""
    text = "\n".join(lines)
    found = {name: re.findall(pattern, text) for name, pattern in METRIC_DEFINITIONS.items()}
    return {name: float(values[-1]) for name, values in found.items() if values}


def run(environment: Mapping[str, str], told: Mapping[str, str], advance: Advance) -> list[str]:
    """Run the script to its end.

    Args:
        environment: all of the process's environment.
        told: the hyperparameters.
        advance: told of progress.

    Returns:
        The lines that it printed.

    Raises:
        JobFailed: it failed; the message ends with what it said last.
    """
    command = [sys.executable, str(SCRIPT), *(f"--{name}={value}" for name, value in told.items())]
    lines: list[str] = []
    process = subprocess.Popen(  # noqa: S603 - our own script
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert process.stdout is not None, "a pipe"  # noqa: S101 - for the type checker
    try:
        with process.stdout as output:
            for line in output:
                lines.append(line.rstrip())
                _tell(line, advance)
        process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        said = "\n".join(lines[-LAST_LINES:])
        raise JobFailed(f"Training failed with exit code {process.returncode}. Nothing was replaced. It said:\n{said}")
    return lines


def environment(data: Path, manifest: Manifest, model: Path) -> dict[str, str]:
    """What the script finds in its environment: SageMaker's names of folders, and no credentials."""
    channels = {
        "SM_CHANNEL_TRAIN": data / "train",
        "SM_CHANNEL_BACKBONE": COMMITTED_MODEL,
        "SM_MODEL_DIR": model,
    }
    if manifest.split("validation"):
        channels["SM_CHANNEL_VALIDATION"] = data / "validation"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SM_", "AWS_"))}
    return kept | {name: str(path.resolve()) for name, path in channels.items()}


def _tell(line: str, advance: Advance) -> None:
    for step, pattern in STEPS.items():
        if found := pattern.match(line):
            advance(step, int(found[1]), int(found[2]))
