import json
import re
import shutil
from pathlib import Path

import pytest

from infrastructure import chalice_config
from infrastructure.errors import InputError
from infrastructure.names import Names
from local import ROOT

NAMES = Names("dev", "999988887777", "eu-central-1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    chalice = tmp_path / ".chalice"
    shutil.copytree(ROOT / ".chalice", chalice, ignore=shutil.ignore_patterns("deploy*"))
    return chalice


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_the_stage_names_its_account_and_everything_else_stays(folder: Path) -> None:
    before = json.loads((folder / "config.json").read_text())
    assert chalice_config.write(folder, NAMES, {})
    after = json.loads((folder / "config.json").read_text())
    told = before["stages"]["dev"]["environment_variables"]
    told |= {
        "INBOX_BUCKET": "scones-unlimited-dev-inbox-999988887777",
        "RECORDS_TABLE": "scones-unlimited-dev-records",
        "STATE_MACHINE_ARN": "arn:aws:states:eu-central-1:999988887777:stateMachine:scones-unlimited-dev",
    }
    assert after == before


def test_every_policy_of_the_stage_names_its_account_and_region_and_nothing_else_is_written(folder: Path) -> None:
    before = texts(folder)
    chalice_config.write(folder, NAMES, {})
    after = texts(folder)
    for name in before:
        if name.startswith("policy-dev-"):
            account = before[name].replace("us-east-1", "eu-central-1").replace("123456789012", "999988887777")
            assert after[name] == account
        elif name != "config.json":
            assert after[name] == before[name]


def test_it_is_told_what_was_changed_and_the_second_time_nothing_is(folder: Path) -> None:
    told = chalice_config.write(folder, NAMES, {})
    assert "config.json: INBOX_BUCKET is scones-unlimited-dev-inbox-999988887777" in told
    assert "policy-dev-classify.json: names account 999988887777 and region eu-central-1" in told
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert chalice_config.write(folder, NAMES, {}) == []
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_what_is_committed_fits_the_embedded_account_as_it_is(folder: Path) -> None:
    for stage in ("dev", "prod"):
        assert chalice_config.write(folder, Names(stage, "123456789012", "us-east-1"), {}) == []


def test_moving_to_another_account_and_back_leaves_no_trace(folder: Path) -> None:
    before = texts(folder)
    chalice_config.write(folder, NAMES, {})
    chalice_config.write(folder, Names("dev", "123456789012", "us-east-1"), {})
    assert texts(folder) == before


def test_outputs_of_the_stack_come_before_names_that_are_known(folder: Path) -> None:
    machine = "arn:aws:states:eu-central-1:999988887777:stateMachine:other"
    chalice_config.write(folder, NAMES, {"StateMachineArn": machine, "SomethingElse": "x"})
    assert chalice_config.read(folder, "dev").variables["STATE_MACHINE_ARN"] == machine


def test_names_that_were_given_by_hand_are_replaced_in_the_policies_too(folder: Path) -> None:
    for path in [folder / "config.json", *folder.glob("policy-dev-*.json")]:
        text = path.read_text().replace("scones-unlimited-dev-inbox-123456789012", "my.pictures")
        path.write_text(text.replace("scones-unlimited-dev-records", "my-records"))
    chalice_config.write(folder, NAMES, {})
    for path in folder.glob("policy-dev-*.json"):
        assert not re.search("my.pictures|my-records", path.read_text())
    assert (
        "arn:aws:s3:::scones-unlimited-dev-inbox-999988887777/inbox/*"
        in (folder / "policy-dev-serialize.json").read_text()
    )


def test_a_run_that_broke_off_between_the_files_is_finished_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in [folder / "config.json", *folder.glob("policy-dev-*.json")]:
        path.write_text(path.read_text().replace("scones-unlimited-dev-inbox-123456789012", "my.pictures"))
    plain, written = Path.replace, list[Path]()

    def replace(path: Path, target: Path) -> Path:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(target)
        return plain(path, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", replace)
        with pytest.raises(InputError, match="cannot be written: No space left"):
            chalice_config.write(folder, NAMES, {})
    assert not list(folder.glob(".*"))
    chalice_config.write(folder, NAMES, {})
    assert "my.pictures" not in "".join(text for name, text in texts(folder).items())


def test_a_stage_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    with pytest.raises(InputError, match=r"has no stage test; it has: dev, prod\. Choose one with --stage, or copy"):
        chalice_config.write(folder, Names("test", "999988887777", "eu-central-1"), {})


@pytest.mark.parametrize("content", [None, "{", "[]", '{"stages": {}}'])
def test_a_file_that_cannot_be_understood_is_told(folder: Path, content: str | None) -> None:
    if content is None:
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json (cannot be read|has no stage)"):
        chalice_config.read(folder, "dev")


def test_a_policy_that_is_missing_is_told(folder: Path) -> None:
    (folder / "policy-dev-filter.json").unlink()
    with pytest.raises(InputError, match=r"policy-dev-filter\.json cannot be read"):
        chalice_config.write(folder, NAMES, {})


SIGN_IN = {
    "UserPoolArn": "arn:aws:cognito-idp:eu-central-1:999988887777:userpool/eu-central-1_a",
    "UserPoolClientId": "client",
    "UserPoolDomain": NAMES.sign_in,
}
POOL = {"USER_POOL_ARN", "USER_POOL_CLIENT_ID", "USER_POOL_DOMAIN"}


def variables(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / "config.json").read_text())["stages"]["dev"]["environment_variables"]
    return found


def test_where_people_sign_in_is_written_and_taken_out_again_with_the_user_pool(folder: Path) -> None:
    chalice_config.write(folder, NAMES, {})
    before = variables(folder)
    told = chalice_config.write(folder, NAMES, SIGN_IN)
    assert told == [
        f"config.json: USER_POOL_ARN is {SIGN_IN['UserPoolArn']}",
        "config.json: USER_POOL_CLIENT_ID is client",
        f"config.json: USER_POOL_DOMAIN is {NAMES.sign_in}",
    ]
    assert variables(folder).keys() - before.keys() == POOL
    assert chalice_config.write(folder, NAMES, SIGN_IN) == []
    told = chalice_config.write(folder, NAMES, {})
    assert told == [f"config.json: {name} is taken out" for name in sorted(POOL)]
    assert variables(folder) == before
    assert chalice_config.write(folder, NAMES, {}) == []


def test_a_user_pool_of_ones_own_is_left_in_peace(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    own = dict.fromkeys(POOL, "own")
    config["stages"]["dev"]["environment_variables"] |= own
    (folder / "config.json").write_text(json.dumps(config))
    chalice_config.write(folder, NAMES, {})
    assert own.items() <= variables(folder).items()
