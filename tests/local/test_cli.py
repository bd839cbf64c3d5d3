"""The commands, run as a person runs them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
import httpx
import pytest

from local import ROOT, samples

RECORD_FIELDS = {
    "path",
    "id",
    "status",
    "label",
    "confidence",
    "known",
    "threshold",
    "model",
    "reason",
    "reason_code",
    "seconds",
}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603


def test_demo_shows_each_ending_that_a_picture_can_bring_about_and_exits_with_0() -> None:
    done = run("demo")
    assert done.returncode == 0, done.stderr
    assert "endpoint goes missing" in done.stdout
    for picture, status in (
        ("bicycle.png", "ACCEPTED"),
        ("motorcycle.jpg", "ACCEPTED"),
        ("house.webp", "REVIEW"),
        ("broken.jpg", "REJECTED"),
        ("again/bicycle.png", "FAILED"),
        ("again/bicycle.png", "ACCEPTED"),
    ):
        assert re.search(rf"^{picture} +{status} ", done.stdout, re.MULTILINE), done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_json_prints_one_array_with_every_picture_and_nothing_else(tmp_path: Path) -> None:
    samples.write(tmp_path / "a")
    (tmp_path / "a" / "deeper").mkdir()
    (tmp_path / "a" / "deeper" / "notes.jpg").write_text("not a picture")
    (tmp_path / "a" / ".hidden").write_text("left out")
    done = run("classify", "--json", tmp_path / "a", tmp_path / "a" / "bicycle.png")
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert all(record.keys() >= RECORD_FIELDS for record in records)
    assert {Path(record["path"]).name: record["status"] for record in records} == {
        "bicycle.png": "ACCEPTED",
        "motorcycle.jpg": "ACCEPTED",
        "house.webp": "REVIEW",
        "broken.jpg": "REJECTED",
        "notes.jpg": "REJECTED",
    }
    assert len({record["id"] for record in records}) == len(records)


def test_a_picture_that_fails_is_told_of_and_makes_the_exit_code_1(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(6):
        deep /= "d" * 200
    deep.mkdir(parents=True)
    (deep / "photo.png").write_bytes(samples.encode(samples.render(samples.draw_bicycle), "PNG"))
    done = run("classify", "--json", tmp_path)
    assert done.returncode == 1, done.stderr
    (record,) = json.loads(done.stdout)
    assert (record["status"], "could not be dropped" in record["reason"].lower()) == ("FAILED", True)


def test_a_path_that_is_not_there_is_said_so() -> None:
    done = run("classify", "nowhere.jpg")
    assert (done.returncode, "nowhere.jpg" in done.stderr) == (2, True)


def test_a_folder_without_files_is_said_so(tmp_path: Path) -> None:
    done = run("classify", tmp_path)
    assert (done.returncode, "no file" in done.stderr) == (1, True)


@pytest.mark.parametrize("option", ["--aws-port", "--api-port", "--endpoint-port"])
def test_a_port_that_is_taken_is_said_so_with_what_to_do(option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("up", option, str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert f"give {option} another" in done.stderr
    assert "Traceback" not in done.stderr


def listening_addresses(pid: int) -> set[str]:
    """The local addresses that a process listens on, from Linux's own tables."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = descriptor.readlink().name if descriptor.is_symlink() else ""
        inodes.update(re.findall(r"socket:\[(\d+)\]", target))
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="only Linux tells who listens where")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_addresses_that_work_listens_to_this_machine_alone_and_stops_cleanly(ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "local", "up"]
    with subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as up:
        stop_if_stuck = threading.Timer(60, up.kill)
        stop_if_stuck.start()
        assert up.stdout is not None
        printed = ""
        for line in up.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        addresses = dict(re.findall(r"^ +(AWS|REST API|endpoint) +(http\S+)$", printed, re.MULTILINE))
        bucket = re.findall(r"s3://([a-z0-9-]+)/inbox/", printed)[0]
        s3 = boto3.client("s3", endpoint_url=addresses["AWS"])
        picture = samples.encode(samples.render(samples.draw_bicycle), "PNG")
        s3.put_object(Bucket=bucket, Key="inbox/photo.png", Body=picture)
        record = httpx.post(f"{addresses['REST API']}/classifications", json={"key": "inbox/photo.png"}).json()
        while record["status"] == "PENDING":
            time.sleep(0.1)
            record = httpx.get(f"{addresses['REST API']}/classifications/{record['id']}").json()
        assert (record["status"], record["label"]) == ("ACCEPTED", "bicycle")
        assert listening_addresses(up.pid) == {"0100007F"}
        up.send_signal(ending)
        rest, errors = up.communicate(timeout=30)
        stop_if_stuck.cancel()
    assert (up.returncode, rest.strip()) == (0, "Stopped.")
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["up", "run", "classify", "demo", "diagram"])
def test_help_of_every_command_explains_every_option(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    options = re.findall(r"^ +(?:-\w, )?(--[a-z-]+)(?: \w+)?(?:  +(\S.*))?$", done.stdout, re.MULTILINE)
    assert options
    assert all(words or f"{option} " in done.stdout for option, words in options)


def test_diagram_can_be_drawn_anywhere(tmp_path: Path) -> None:
    done = run("diagram", "--out", tmp_path / "workflow.svg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "workflow.svg").read_text() == (ROOT / "docs" / "workflow.svg").read_text()
