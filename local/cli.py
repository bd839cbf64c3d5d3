"""The commands of `python -m local`."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from chalicelib import openapi
from chalicelib.store import Status
from local import ROOT, pictures, rest, samples
from local.diagram import draw
from local.outline import outline
from local.stack import LOCAL_STACK, Client, NothingThere, Ports, PortTaken, Stack, attached, running, without_aws
from local.view import View, show_end, table, terminal

PORT = click.IntRange(0, 65535)

C = TypeVar("C", bound=Client)

WELCOME = """\
[bold]Scones Unlimited is up[/], on this machine alone. It took {seconds:.1f} s.

  AWS        {stack.aws_url}
  page       {stack.api_url}/
  REST API   {stack.api_url}
  endpoint   {stack.endpoint_url}/endpoints/{stack.settings.endpoint_name}/invocations

Open the page, or drop a picture with any S3 client and read what became of it:

  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1
  aws --endpoint-url {stack.aws_url} s3 cp photo.jpg s3://{stack.settings.inbox_bucket}/inbox/photo.jpg
  aws --endpoint-url {stack.aws_url} dynamodb scan --table-name {stack.settings.records_table}

Or post it to the REST API, and wait for the decision:

  curl {stack.api_url}/classifications -H "Content-Type: image/jpeg" -H "Prefer: wait=10" --data-binary @photo.jpg

A command that shall take this for AWS is run beside a system of its own by `python -m local run COMMAND`.

Nothing is kept when it stops. Ctrl-C stops it.
"""

STOPPED_BY_SIGNAL = 128
"""What shells add to the number of a signal to make an exit code of it."""


def with_ports(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name ports."""
    for option, what in (
        ("--endpoint-port", "the SageMaker endpoint"),
        ("--api-port", "the REST API"),
        ("--aws-port", "AWS"),
    ):
        help_text = f"Port for {what}; 0 takes one that is free."
        command = click.option(option, type=PORT, default=0, show_default=True, help=help_text)(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Scones Unlimited on one machine: the real app, workflow and model on an embedded AWS, without an account."""


@main.command()
@with_ports
def up(aws_port: int, api_port: int, endpoint_port: int) -> None:
    """Start everything and stay until Ctrl-C.

    Prints the addresses and how to drop a picture. What the functions log, and a line for each request to the REST API,
    goes to standard error.
    """
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    console, started = terminal(), time.monotonic()
    with _stack(Ports(aws_port, api_port, endpoint_port)) as stack:
        _log_to_stderr(logging.INFO)
        _log_requests()
        seconds = time.monotonic() - started
        console.print(WELCOME.format(stack=stack, seconds=seconds), highlight=False, soft_wrap=True)
        stopped.wait()
    console.print("Stopped.")


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array of the records and nothing else.")
@with_ports
def classify(paths: tuple[Path, ...], *, as_json: bool, aws_port: int, api_port: int, endpoint_port: int) -> None:
    """Start everything, classify files or folders of pictures, and stop.

    Shows each picture's state, label, confidence and time. Exits with 1 if any picture ended as FAILED.

    Within `python -m local run`, which sets LOCAL_STACK, it starts nothing and uses what runs.
    """
    ports = Ports(aws_port, api_port, endpoint_port)
    beside = os.environ.get(LOCAL_STACK)
    if beside and ports != Ports():
        raise click.UsageError(f"{LOCAL_STACK} is set: nothing is started that could listen to a port.")
    sys.exit(_classify(paths, lambda console: _beside(beside) if beside else _stack(ports, console), as_json=as_json))


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--empty", is_flag=True, help="Begin with nothing: no bucket, no table, no function, as a new account.")
@click.argument("command", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
def run(command: tuple[str, ...], *, empty: bool) -> None:
    """Start everything, run a command that takes it for AWS, and stop.

    The command finds it by environment variables: addresses and credentials for any SDK and for the AWS command line,
    and TRAINING_S3 and TRAINING_ROLE for `python -m training`. `python` is the one that runs this. Its exit code is the
    command's.

    \b
      python -m local run bash docs/train-and-deploy.sh ARCHIVE FOLDER
    """  # noqa: D301 - \b is click's
    environment = without_aws(os.environ)
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    with _stack(Ports(), terminal(to_stderr=True), empty=empty) as stack:
        _log_to_stderr(logging.CRITICAL)
        code = _run(command, environment | stack.environment() | {"PATH": path})
    sys.exit(code)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array of the records and nothing else.")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep the sample pictures in this folder."
)
@with_ports
def demo(*, as_json: bool, keep: Path | None, aws_port: int, api_port: int, endpoint_port: int) -> None:
    """Classify sample pictures that are drawn here: see it work.

    A bicycle and a motorcycle, something else, which is held back, and a broken file, which is rejected. Then the
    endpoint goes missing under a picture, which fails, and is started again.
    """
    with tempfile.TemporaryDirectory() as temporary:
        files = samples.write(keep or Path(temporary))
        ports = Ports(aws_port, api_port, endpoint_port)
        sys.exit(_classify(tuple(files), lambda console: _stack(ports, console), as_json=as_json, then=_show_failure))


@main.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the whole picture here and nothing else; both where they belong if left out.",
)
def diagram(out: Path | None) -> None:
    """Draw the workflow from statemachine.json, as SVG.

    Whole for the documentation, docs/workflow.svg, and its steps and endings for the page,
    chalicelib/static/workflow.svg.
    """
    machine = json.loads((ROOT / "statemachine.json").read_text(encoding="utf-8"))
    kept = {ROOT / "docs" / "workflow.svg": draw(machine), ROOT / "chalicelib/static/workflow.svg": outline(machine)}
    for path, picture in ({out: draw(machine)} if out else kept).items():
        path.write_text(picture, encoding="utf-8")
        click.echo(f"Drew {path}.")


@main.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "docs" / "openapi.json",
    help="Where to write it; docs/openapi.json if left out.",
)
def describe(out: Path) -> None:
    """Describe the REST API for machines, as OpenAPI 3.1."""
    out.write_text(json.dumps(openapi.document(), indent=2) + "\n")
    click.echo(f"Described {out}.")


def _show_failure(stack: Stack, path: Path, console: Console) -> None:
    console.print("\nNow the endpoint goes missing, and comes back; the same picture is started again:")
    console.print(table(pictures.fail_and_start_again(stack, path)))


def _run(command: tuple[str, ...], environment: dict[str, str]) -> int:
    """Run a command to its end; signals end it, and only then what it runs on."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - what the user asks for
    except OSError as error:
        raise click.ClickException(f"{command[0]} cannot be run: {error.strerror}.") from error
    else:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else STOPPED_BY_SIGNAL - code


def _classify(
    paths: tuple[Path, ...],
    start: Callable[[Console], AbstractContextManager[C]],
    *,
    as_json: bool,
    then: Callable[[C, Path, Console], None] | None = None,
) -> int:
    files = pictures.find(paths)
    if not files:
        raise click.ClickException("There is no file in there.")
    console = terminal(to_stderr=as_json)
    with start(console) as stack:
        _log_to_stderr(logging.CRITICAL)
        started = time.monotonic()
        with View(files, console) as view:
            ended = pictures.classify(stack, files, view.show)
        seconds = time.monotonic() - started
        if as_json:
            click.echo(json.dumps([one.as_dict() for one in ended], indent=2))
        else:
            show_end(ended, seconds, console)
            if then:
                then(stack, files[0][0], console)
    return int(any(one.status == Status.FAILED for one in ended))


@contextmanager
def _stack(ports: Ports, console: Console | None = None, *, empty: bool = False) -> Iterator[Stack]:
    with ExitStack() as stack:
        try:
            with (console or terminal()).status("Starting AWS, on this machine…"):
                started = stack.enter_context(running(ports, empty=empty))
        except PortTaken as error:
            raise click.ClickException(str(error)) from error
        yield started


@contextmanager
def _beside(aws_url: str) -> Iterator[Client]:
    with ExitStack() as stack:
        try:
            client = stack.enter_context(attached(aws_url))
        except NothingThere as error:
            raise click.ClickException(str(error)) from error
        yield client


def _log_to_stderr(level: int) -> None:
    """Standard output belongs to the command's own words; CloudWatch would take what the functions log."""
    logger = logging.getLogger("scones-unlimited")
    logger.setLevel(level)
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)


def _log_requests() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    rest.logger.addHandler(handler)
    rest.logger.setLevel(logging.INFO)
