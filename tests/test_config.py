""".chalice/config.json, the policies beside it, requirements.txt and the imports: they fit the app and each other."""

import ast
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chalice.app import S3EventConfig

from chalicelib import inbox
from infrastructure.names import INDEX, SURENESS_INDEX, UPLOADS_PREFIX
from tests.calls import FUNCTIONS, REST

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".chalice"
CONFIG: dict[str, Any] = json.loads((FOLDER / "config.json").read_text())
STAGES: dict[str, dict[str, Any]] = CONFIG["stages"]

LAMBDA_LIBRARIES = {"PIL", "aws_lambda_powertools", "boto3", "botocore"}
OURS = {"app", "benchmarks", "chalicelib", "commandline", "infrastructure", "local", "tests", "training"}
NEVER_PACKAGED = {"boto3", "chalice", "moto", "numpy", "sagemaker"}

EACH_FUNCTION = [(stage, function) for stage in STAGES for function in sorted(FUNCTIONS)]
EACH_POLICY = pytest.mark.parametrize(("stage", "function"), EACH_FUNCTION)
EACH_STAGE = pytest.mark.parametrize("stage", STAGES)


def app_of(stage: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app as it is imported in a stage, apart from the one that other tests share."""
    for name, value in STAGES[stage]["environment_variables"].items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location(f"app_{stage}", ROOT / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def functions(chalice_app: Any) -> set[str]:
    return {one.name for one in [*chalice_app.pure_lambda_functions, *chalice_app.event_sources]} | {REST}


def statements(stage: str, function: str) -> list[dict[str, Any]]:
    file = FOLDER / STAGES[stage]["lambda_functions"][function]["iam_policy_file"]
    found: list[dict[str, Any]] = json.loads(file.read_text())["Statement"]
    return found


def resources(stage: str, function: str) -> dict[str, set[str]]:
    """What a function of a stage may do each action to."""
    names = STAGES[stage]["environment_variables"]
    machine = names["STATE_MACHINE_ARN"]
    *_, region, account, _, _ = machine.split(":")
    bucket = f"arn:aws:s3:::{names['INBOX_BUCKET']}"
    table = f"arn:aws:dynamodb:{region}:{account}:table/{names['RECORDS_TABLE']}"
    indexes = (INDEX, SURENESS_INDEX) if function == REST else (INDEX,)
    app_stage = f"{CONFIG['app_name']}-{stage}"
    lambda_name = app_stage if function == REST else f"{app_stage}-{function}"
    log_group = f"arn:aws:logs:{region}:{account}:log-group:/aws/lambda/{lambda_name}"
    return {
        "s3:GetObject": {f"{bucket}/{inbox.PREFIX}*"},
        "s3:GetObjectVersion": {f"{bucket}/{inbox.PREFIX}*"},
        "s3:PutObject": {f"{bucket}/{UPLOADS_PREFIX}*"},
        "s3:ListBucket": {bucket},
        "s3:ListBucketVersions": {bucket},
        "dynamodb:BatchGetItem": {table},
        "dynamodb:GetItem": {table},
        "dynamodb:PutItem": {table},
        "dynamodb:Query": {f"{table}/index/{index}" for index in indexes},
        "dynamodb:UpdateItem": {table},
        "states:StartExecution": {machine},
        "sagemaker:InvokeEndpoint": {f"arn:aws:sagemaker:{region}:{account}:endpoint/{names['ENDPOINT_NAME']}"},
        "sqs:SendMessage": {f"arn:aws:sqs:{region}:{account}:{app_stage}-lost-events"},
        "logs:CreateLogStream": {f"{log_group}:*"},
        "logs:PutLogEvents": {f"{log_group}:*"},
    }


def imports(path: Path) -> Iterator[str]:
    """The top-level packages that a file imports, wherever in the file; a dot for each folder that it goes up."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level or (node.module or "").partition(".")[0]


@EACH_STAGE
def test_a_stage_has_every_function_of_the_app_and_no_other(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(STAGES[stage]["lambda_functions"]) == functions(app_of(stage, monkeypatch)) == set(FUNCTIONS)


@EACH_POLICY
def test_a_function_has_memory_a_timeout_and_a_policy_of_its_own(stage: str, function: str) -> None:
    configured = STAGES[stage]["lambda_functions"][function]
    assert 128 <= configured["lambda_memory_size"] <= 10240
    assert 1 <= configured["lambda_timeout"] <= 900
    assert configured["iam_policy_file"] == f"policy-{stage}-{function}.json"
    assert (FOLDER / configured["iam_policy_file"]).is_file()


@EACH_STAGE
def test_the_rest_api_answers_within_the_29_seconds_of_api_gateway(stage: str) -> None:
    assert STAGES[stage]["lambda_functions"][REST]["lambda_timeout"] <= 29


def test_no_policy_lies_unused() -> None:
    used = {function["iam_policy_file"] for stage in STAGES.values() for function in stage["lambda_functions"].values()}
    assert {path.name for path in FOLDER.glob("policy*.json")} == used


@EACH_STAGE
def test_chalice_grants_nothing_by_itself(stage: str) -> None:
    assert STAGES[stage]["autogen_policy"] is False
    assert all(
        function.get("autogen_policy", False) is False for function in STAGES[stage]["lambda_functions"].values()
    )


@EACH_POLICY
def test_a_policy_names_exactly_what_the_stage_names(stage: str, function: str) -> None:
    expected = resources(stage, function)
    for statement in statements(stage, function):
        for action in statement["Action"]:
            assert set(statement["Resource"]) == expected[action], action


@EACH_POLICY
def test_a_policy_names_nothing_of_another_stage(stage: str, function: str) -> None:
    text = json.dumps(statements(stage, function))
    for other in STAGES.keys() - {stage}:
        named = STAGES[other]["environment_variables"]
        assert f"{CONFIG['app_name']}-{other}" not in text
        assert not any(named[name] in text for name in ("INBOX_BUCKET", "RECORDS_TABLE", "ENDPOINT_NAME"))


@EACH_POLICY
def test_a_policy_has_no_wildcard_for_an_action_or_for_a_whole_resource(stage: str, function: str) -> None:
    for statement in statements(stage, function):
        assert not {"NotAction", "NotResource"} & statement.keys()
        assert not any("*" in action for action in statement["Action"])
        assert "*" not in statement["Resource"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("function", ["serialize", "classify", "filter"])
def test_a_function_that_reads_untrusted_pictures_may_write_down_its_step_and_decide_nothing(
    stage: str, function: str
) -> None:
    (statement,) = [one for one in statements(stage, function) if "dynamodb:UpdateItem" in one["Action"]]
    assert statement["Action"] == ["dynamodb:UpdateItem"]
    assert statement["Condition"] == {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": ["attempt", "id", "steps"]},
        "StringEqualsIfExists": {"dynamodb:ReturnValues": ["NONE"]},
    }


@EACH_STAGE
def test_only_the_rest_api_may_put_pictures_and_only_below_its_own_prefix(stage: str) -> None:
    writing = {
        function: statement["Resource"]
        for function in FUNCTIONS
        for statement in statements(stage, function)
        if "s3:PutObject" in statement["Action"]
    }
    bucket = STAGES[stage]["environment_variables"]["INBOX_BUCKET"]
    assert writing == {REST: [f"arn:aws:s3:::{bucket}/inbox/uploads/*"]}


@EACH_STAGE
def test_stages_share_no_resource(stage: str) -> None:
    for other in STAGES.keys() - {stage}:
        for name in ("INBOX_BUCKET", "RECORDS_TABLE", "STATE_MACHINE_ARN", "ENDPOINT_NAME"):
            assert STAGES[stage]["environment_variables"][name] != STAGES[other]["environment_variables"][name]


@EACH_STAGE
def test_the_trigger_watches_the_inbox_of_the_stage(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (trigger,) = (one for one in app_of(stage, monkeypatch).event_sources if isinstance(one, S3EventConfig))
    assert trigger.bucket == STAGES[stage]["environment_variables"]["INBOX_BUCKET"]
    assert trigger.prefix == inbox.PREFIX


def test_what_is_packaged_is_pinned_and_small() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [line for line in lines if line.strip() and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in pinned)
    assert not {line.partition("==")[0] for line in pinned} & NEVER_PACKAGED


@pytest.mark.parametrize("path", sorted((ROOT / "chalicelib").glob("**/*.py")), ids=lambda path: path.stem)
def test_chalicelib_imports_only_what_runs_inside_lambda(path: Path) -> None:
    assert set(imports(path)) <= sys.stdlib_module_names | LAMBDA_LIBRARIES | {"chalicelib"}


def test_the_app_imports_only_chalice_and_chalicelib_besides() -> None:
    assert set(imports(ROOT / "app.py")) <= sys.stdlib_module_names | LAMBDA_LIBRARIES | {"chalice", "chalicelib"}


@pytest.mark.parametrize("path", sorted((ROOT / "training" / "source").glob("**/*.py")), ids=lambda path: path.stem)
def test_what_runs_in_sagemaker_stands_alone(path: Path) -> None:
    assert not {name for name in imports(path) if name in OURS or name.startswith("..")}
