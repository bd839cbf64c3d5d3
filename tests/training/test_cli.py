import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.lifecycle import make_project, run
from training import aws
from training.cli import COMMANDS
from training.layout import ROOT

ARN = "arn:aws:iam::123456789012:role/x"
ON_AWS = {
    "upload": ["data", "s3://bucket/x"],
    "train": ["--sagemaker", "--data", "data", "--yes"],
    "evaluate": ["--endpoint", "x", "--data", "data"],
    "compare": ["endpoint:a", "endpoint:b", "--data", "data"],
    "register": ["--model", "model/model", "--unevaluated"],
    "deploy": ["--yes", "--no-capture", "--chalice", "chalice"],
    "teardown": ["--yes"],
    "monitor": [],
}
"""Commands that talk to AWS, with what they need to get so far. S3 alone does without a region."""


def test_help_lists_every_command_and_each_explains_all_of_its_options() -> None:
    listed = run("--help").output
    for name, help_text in COMMANDS.items():
        assert f"{name} " in listed
        done = run(name, "--help")
        assert done.exit_code == 0
        assert help_text in listed
        assert "--json" in done.output


def test_help_comes_quickly_since_no_command_is_imported_for_it() -> None:
    code = "import sys, training.cli; training.cli.main(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert not any(f"'{name}'" in done.stdout for name in ("sagemaker", "sklearn", "matplotlib", "onnxruntime"))


def test_an_unknown_command_ends_with_2() -> None:
    assert run("guess").exit_code == 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("project"))
    project.write_model()
    return project.folder


@pytest.mark.parametrize(
    ("command", "missing"),
    [(name, what) for name in ON_AWS for what in ("credentials", "region") if (name, what) != ("upload", "region")],
)
def test_without_credentials_or_region_every_command_says_what_to_do_and_leaves_nothing(
    command: str, missing: str, folder: Path
) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_") or name.endswith("_FILE")
    }
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "TRAINING_ROLE": ARN, "TRAINING_S3": "s3://bucket/x"}
    environment |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "PYTHONPATH": str(ROOT)}
    if missing == "region":
        environment |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    else:
        environment |= {"AWS_DEFAULT_REGION": "us-east-1"}
    command_line = [sys.executable, "-m", "training", command, *ON_AWS[command]]
    done = subprocess.run(command_line, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 2, done.stdout + done.stderr
    assert {"credentials": "There are no AWS credentials", "region": "There is no AWS region"}[missing] in done.stderr
    assert {path.name for path in folder.iterdir()} == {"data", "chalice", "model"}


def test_where_aws_cannot_be_reached_a_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    aws.client.cache_clear()
    done = run("teardown", "--yes")
    aws.client.cache_clear()
    assert done.exit_code == 2
    assert "AWS cannot be reached" in done.output
