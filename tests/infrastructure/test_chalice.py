import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from commandline.aws import plain_errors
from infrastructure import chalice as deployment
from infrastructure import chalice_config, options
from infrastructure.errors import ChaliceFailed, InfrastructureError, InputError
from infrastructure.names import Names
from tests.infrastructure.commands import run
from tests.infrastructure.conftest import forget_clients
from tests.infrastructure.inventory import everything
from tests.training.recorder import Recorder

NAMES = Names("dev", "123456789012", "us-east-1")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    recorder = Recorder()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", recorder.session())
    monkeypatch.setattr(deployment, "PAUSE", 0.0)
    forget_clients()
    yield recorder
    forget_clients()


def test_events_that_fail_are_kept_from_the_first_deployment_on(deployed: Names) -> None:
    client = boto3.client("lambda")
    for name, retries in {"on_picture": 2, "on_stopped": 2, "reconcile": 0}.items():
        config = client.get_function_event_invoke_config(FunctionName=deployed.function(name))
        assert config["MaximumRetryAttempts"] == retries
        assert config["DestinationConfig"] == {"OnFailure": {"Destination": deployed.lost_events_arn}}


def test_every_function_of_the_stage_is_deployed_and_known(deployed: Names, chalice: Path) -> None:
    made = [one for one in deployment.deployed(deployed, chalice) if one["resource_type"] == "lambda_function"]
    assert {one["name"] for one in made} == set(chalice_config.read(chalice, "dev").functions)
    assert everything()["list_functions"] == sorted(one["lambda_arn"].rpartition(":")[2] for one in made)


def test_what_was_deployed_from_elsewhere_is_updated_and_not_made_twice(deployed: Names, chalice: Path) -> None:
    before, path = everything(), deployment.record(deployed, chalice)
    remembered = json.loads(path.read_text())
    path.unlink()
    deployment.deploy(deployed, chalice)
    assert everything() == before

    def sorted_by_name(content: Any) -> Any:
        return sorted(content["resources"], key=lambda one: str(one["name"]))

    assert sorted_by_name(json.loads(path.read_text())) == sorted_by_name(remembered)


def test_what_is_written_down_of_aws_is_what_chalice_itself_wrote(deployed: Names, chalice: Path) -> None:
    path = deployment.record(deployed, chalice)
    remembered = {json.dumps(one, sort_keys=True) for one in json.loads(path.read_text())["resources"]}
    path.unlink()
    assert deployment.recall(deployed, chalice_config.read(chalice, "dev"))
    assert {json.dumps(one, sort_keys=True) for one in json.loads(path.read_text())["resources"]} == remembered
    assert not deployment.recall(deployed, chalice_config.read(chalice, "dev"))


def test_nothing_is_written_down_where_nothing_is_deployed(account: dict[str, str], chalice: Path) -> None:
    assert not deployment.recall(NAMES, chalice_config.read(chalice, "dev"))
    assert not deployment.record(NAMES, chalice).exists()


def test_without_the_inbox_chalice_fails_and_it_is_said_what_to_do(
    account: dict[str, str], chalice: Path, deploying: None
) -> None:
    with pytest.raises(ChaliceFailed, match=r"chalice deploy ended with \d+\. The inbox is not there: run `up` first"):
        deployment.deploy(options.names("dev", chalice), chalice)


def test_a_python_whose_functions_lambda_cannot_run_is_refused_before_anything_is_done(
    chalice: Path, deploying: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "PYTHON", (3, 11))
    done = run("deploy", "--yes", "--chalice", chalice)
    assert done.exit_code == 2
    assert "This is Python 3.11" in done.output
    assert "`make deploying`" in done.output


def test_a_chalice_that_is_not_installed_is_told(
    chalice: Path, deploying: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "PROGRAM", chalice / "nothing")
    done = run("deploy", "--yes", "--chalice", chalice)
    assert done.exit_code == 2
    assert "There is no " in done.output
    assert "`make deploying`" in done.output


def test_a_folder_of_another_name_is_refused(tmp_path: Path, chalice: Path) -> None:
    with pytest.raises(InputError, match=r"from a folder \.chalice alone"):
        deployment.delete(NAMES, chalice.rename(tmp_path / "config"))


def test_a_record_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert deployment.deployed(NAMES, tmp_path) == []
    (tmp_path / "deployed").mkdir()
    (tmp_path / "deployed" / "dev.json").write_text("[]")
    with pytest.raises(InputError, match=r"dev\.json cannot be read"):
        deployment.deployed(NAMES, tmp_path)


def test_a_function_that_is_not_there_is_told(account: dict[str, str]) -> None:
    with pytest.raises(ChaliceFailed, match="There is no function scones-unlimited-dev-on_picture: run `deploy`"):
        deployment.keep_lost_events(NAMES)


def test_a_role_that_lambda_does_not_know_yet_is_waited_for(recorder: Recorder) -> None:
    refusals = [{"Error": {"Code": "InvalidParameterValueException", "Message": "role"}}] * 2
    recorder.answers["PutFunctionEventInvokeConfig"] = lambda _: refusals.pop() if refusals else {}
    deployment.keep_lost_events(NAMES)
    assert len(recorder.of("PutFunctionEventInvokeConfig")) == 2 + len(deployment.ASYNCHRONOUS)


def test_what_does_not_pass_by_itself_is_told(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "PATIENCE", 0.05)
    refusal = {"Error": {"Code": "InvalidParameterValueException", "Message": "The destination is wrong"}}
    recorder.answers["PutFunctionEventInvokeConfig"] = lambda _: refusal
    with pytest.raises(InfrastructureError, match="The destination is wrong"), plain_errors():
        deployment.keep_lost_events(NAMES)
