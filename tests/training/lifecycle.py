"""A trained and evaluated model as `train` and `evaluate` leave it, and the commands run on it."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tests.training.staged import write_data
from training import model_archive
from training.cli import main
from training.fit import ALGORITHM, Files
from training.layout import COMMITTED_MODEL, ROOT, TrainingRecord


def run(*arguments: str | Path) -> Result:
    """`python -m training` with these arguments."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def run_well(*arguments: str | Path) -> Result:
    """The same, and it has to end well."""
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done


@dataclass(frozen=True)
class Project:
    """A folder with a data set, models and evaluations, and the configuration of Chalice.

    Attributes:
        folder: holds them all.
    """

    folder: Path

    @property
    def data(self) -> Path:
        """The data set."""
        return self.folder / "data"

    @property
    def chalice(self) -> Path:
        """Stands for `.chalice`."""
        return self.folder / "chalice"

    def model(self, name: str = "model") -> Path:
        """A model's folder."""
        return self.folder / name / "model"

    def evaluation(self, name: str = "model") -> Path:
        """Its evaluation."""
        return self.folder / name / "evaluation"

    def write_model(self, name: str = "model", **head: Any) -> TrainingRecord:
        """The committed model, with another head if wanted, as `train` would have left it.

        Args:
            name: what to call it.
            head: what stands in its `head.json` instead; `version` among it tells models apart.
        """
        folder = self.model(name)
        folder.mkdir(parents=True)
        shutil.copyfile(COMMITTED_MODEL / model_archive.BACKBONE, folder / model_archive.BACKBONE)
        content = json.loads((COMMITTED_MODEL / model_archive.HEAD).read_text()) | head
        (folder / model_archive.HEAD).write_text(json.dumps(content))
        files = Files(folder)
        digest = model_archive.pack(folder, files.archive)
        record = TrainingRecord(
            ALGORITHM, None, content["labels"], digest, model_archive.head_sha256(folder), {"cross_validation_nll": 0.1}
        )
        record.write(files.record)
        return record

    def evaluate(self, name: str = "model", min_accuracy: float = 0.5) -> Result:
        """Evaluate a model; half has to be right if nothing else is said."""
        out = ("--out", self.evaluation(name), "--min-accuracy", str(min_accuracy))
        return run("evaluate", "--data", self.data, "--model", self.model(name), *out)

    def comparison(self, name: str = "model") -> Path:
        """Its comparison with the approved model."""
        return self.folder / name / "comparison"

    def compare(self, name: str, a: str = "registry:approved") -> Result:
        """Compare a model with the approved one, or with another."""
        return run("compare", a, self.model(name), "--data", self.data, "--out", self.comparison(name))

    def register(self, name: str = "model", *options: str) -> Result:
        """Register a model."""
        judged = ("--evaluation", self.evaluation(name), "--comparison", self.comparison(name))
        return run("register", "--model", self.model(name), *judged, *options)

    def deploy(self, *options: str) -> Result:
        """Deploy, without questions."""
        return run("deploy", "--data", self.data, "--chalice", self.chalice, "--yes", *options)


def make_project(folder: Path, labels: Sequence[str] = ("bicycle", "motorcycle")) -> Project:
    """A project with a small data set and without a model."""
    project = Project(folder)
    write_data(project.data, labels)
    shutil.copytree(ROOT / ".chalice", project.chalice, ignore=shutil.ignore_patterns("deploy*"))
    return project
