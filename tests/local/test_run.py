"""`python -m local run`: a command beside a system of its own, and `classify` that uses the one it runs beside."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from local import ROOT, samples
from local.stack import LOCAL_STACK, Stack

LOCAL = [sys.executable, "-m", "local"]
Run = subprocess.CompletedProcess[str]


def run(*arguments: str | Path, environment: dict[str, str] | None = None) -> Run:
    command = [*LOCAL, *map(str, arguments)]
    return subprocess.run(  # noqa: S603
        command,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def shell(script: str, **environment: str) -> Run:
    return run("run", "sh", "-c", script, environment=environment)


class TestRun:
    def test_the_command_finds_a_whole_aws_by_its_environment_and_its_exit_code_is_passed_on(self) -> None:
        script = (
            "import boto3, json, os\n"
            "bucket = os.environ['TRAINING_S3'].split('/')[2]\n"
            "boto3.client('s3').put_object(Bucket=bucket, Key='seen', Body=b'')\n"
            "role = boto3.client('iam').get_role(RoleName=os.environ['TRAINING_ROLE'].rpartition('/')[2])['Role']\n"
            "picture = open('picture.png', 'rb').read() if os.path.exists('picture.png') else b'none'\n"
            "try:\n"
            "    boto3.client('sagemaker-runtime').invoke_endpoint(EndpointName='scones-unlimited-dev', Body=b'none')\n"
            "except Exception as error:\n"
            "    answer = error.response['Error']['Code']\n"
            "print(json.dumps([role['AssumeRolePolicyDocument']['Statement'][0]['Principal'], answer]))\n"
            "raise SystemExit(7)\n"
        )
        done = run("run", "python", "-c", script)
        assert done.returncode == 7, done.stderr
        assert json.loads(done.stdout) == [{"Service": "sagemaker.amazonaws.com"}, "ModelError"]

    def test_nothing_that_leads_to_another_aws_reaches_the_command(self) -> None:
        done = shell("env", AWS_PROFILE="real", AWS_SESSION_TOKEN="real", AWS_ENDPOINT_URL_S3="http://real.example")
        seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith("AWS_"))
        assert "real" not in "".join(seen.values())
        assert seen["AWS_ACCESS_KEY_ID"] == "local"
        assert seen["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")

    def test_options_after_the_command_are_the_commands(self) -> None:
        done = run("run", "echo", "--help", "--json", "-x")
        assert (done.returncode, done.stdout) == (0, "--help --json -x\n")

    def test_a_command_that_is_not_there_is_said_so(self) -> None:
        done = run("run", "no-such-command")
        assert done.returncode == 1
        assert "no-such-command cannot be run: No such file or directory" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_command_is_needed(self) -> None:
        assert run("run").returncode == 2

    def test_a_command_that_dies_of_a_signal_gives_the_exit_code_that_a_shell_gives(self) -> None:
        assert shell("kill -KILL $$").returncode == 128 + signal.SIGKILL

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_the_command_which_may_still_use_what_runs(self, number: signal.Signals) -> None:
        script = (
            "import boto3, signal, sys, time\n"
            "def end(*_):\n"
            "    print(len(boto3.client('s3').list_buckets()['Buckets']), flush=True)\n"
            "    sys.exit(3)\n"
            "signal.signal(signal.SIGINT, end)\n"
            "signal.signal(signal.SIGTERM, end)\n"
            "print('up', flush=True)\n"
            "time.sleep(60)\n"
        )
        with subprocess.Popen(  # noqa: S603
            [*LOCAL, "run", "python", "-c", script],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            if number == signal.SIGINT:
                os.killpg(process.pid, number)  # a terminal sends it to all
            else:
                process.send_signal(number)
            rest, errors = process.communicate(timeout=30)
        assert (process.returncode, int(rest) >= 3) == (3, True), errors
        assert "Traceback" not in errors


class TestEmpty:
    def test_an_account_before_the_first_deployment_has_nothing_and_its_endpoint_answers(self, tmp_path: Path) -> None:
        samples.write(tmp_path)
        look = tmp_path / "look.py"
        look.write_text(
            "import boto3\n"
            "assert boto3.client('s3').list_buckets()['Buckets'] == []\n"
            "assert boto3.client('dynamodb').list_tables()['TableNames'] == []\n"
            "assert boto3.client('lambda').list_functions()['Functions'] == []\n"
            "assert boto3.client('stepfunctions').list_state_machines()['stateMachines'] == []\n"
            "asked = {'EndpointName': 'scones-unlimited-dev', 'ContentType': 'image/png'}\n"
            f"picture = open({str(tmp_path / 'bicycle.png')!r}, 'rb').read()\n"
            "print(boto3.client('sagemaker-runtime').invoke_endpoint(Body=picture, **asked)['Body'].read().decode())\n"
        )
        done = run("run", "--empty", "python", look)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["labels"] == ["bicycle", "motorcycle"]
        assert "lost" not in done.stderr


class TestClassify:
    def test_within_run_it_uses_what_runs(self, tmp_path: Path) -> None:
        samples.write(tmp_path)
        done = shell(
            f"python -m local classify --json {tmp_path} && python -c 'import boto3; "
            'print(boto3.client("dynamodb").scan(TableName="scones-unlimited-dev-records")["Count"])\''
        )
        assert done.returncode == 0, done.stderr
        records, end = json.JSONDecoder().raw_decode(done.stdout)
        assert sorted(record["status"] for record in records) == ["ACCEPTED", "ACCEPTED", "REJECTED", "REVIEW"]
        assert int(done.stdout[end:]) == len(records)

    def test_beside_a_running_system_it_uses_that(self, stack: Stack, tmp_path: Path) -> None:
        samples.write(tmp_path / "beside")
        started = time.monotonic()
        done = run("classify", "--json", tmp_path / "beside" / "bicycle.png", environment=stack.environment())
        assert done.returncode == 0, done.stderr
        (record,) = json.loads(done.stdout)
        found = boto3.client("dynamodb").get_item(
            TableName=stack.settings.records_table, Key={"id": {"S": record["id"]}}
        )
        assert found["Item"]["status"]["S"] == record["status"] == "ACCEPTED"
        assert time.monotonic() - started < 60

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense"])
    def test_a_system_that_does_not_run_is_said_so(self, url: str, tmp_path: Path) -> None:
        samples.write(tmp_path)
        done = run("classify", "--json", tmp_path, environment={LOCAL_STACK: url})
        assert (done.returncode, done.stdout) == (1, "")
        assert f"a system runs at {url}, but none does" in done.stderr
        assert "Traceback" not in done.stderr

    def test_ports_are_not_for_it_to_choose_there(self, stack: Stack, tmp_path: Path) -> None:
        samples.write(tmp_path)
        done = run("classify", "--aws-port", "4566", tmp_path, environment=stack.environment())
        assert (done.returncode, LOCAL_STACK in done.stderr) == (2, True)
