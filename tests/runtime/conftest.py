import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chalicelib.inbox import Source
from local import samples
from tests.runtime.account import DEPLOY, NAMES, Account, Project, copy_project, empty_account, python_of
from tests.runtime.emulator import ARCHITECTURE, DEFAULT_ARCHITECTURE, ENVIRONMENT, Function, Runtime, running

MEASURED = pytest.StashKey[list[str]]()
"""What was measured, for the end of the run."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MEASURED] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What it took here; nothing of it is a promise, and nothing depends on it."""
    if lines := config.stash.get(MEASURED, []):
        terminalreporter.section("AWS's runtime")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def of_aws() -> None:
    """Fails, rather than skips, where these tests could run and cannot."""
    if not (ENVIRONMENT / "ready").exists():
        pytest.fail(
            f"There is no {ENVIRONMENT.name} with AWS's runtime: `make {ENVIRONMENT.name}/ready`.", pytrace=False
        )
    if python_of(ENVIRONMENT) != python_of(DEPLOY):
        pytest.fail(
            f"{ENVIRONMENT.name} has another Python than {DEPLOY.name}, whose packages it is to run: remove both, and "
            f"`make {DEPLOY.name}/ready {ENVIRONMENT.name}/ready`.",
            pytrace=False,
        )


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """An account of its own."""
    with empty_account() as made:
        yield made


@pytest.fixture(scope="session")
def copied(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project, whose template is applied, and nothing deployed yet."""
    made = copy_project(tmp_path_factory.mktemp("project"), account)
    made.up()
    return made


@pytest.fixture(scope="session")
def waiting(account: Account, copied: Project) -> list[Source]:
    """Pictures that came in before there was a trigger, so that nobody has told of them."""
    picture = samples.encode(samples.render(samples.draw_bicycle), "PNG")
    return [account.drop(f"inbox/waiting-{number}.png", picture) for number in range(4)]


@pytest.fixture(scope="session")
def project(copied: Project, waiting: list[Source]) -> Project:
    """Deployed by the real `chalice deploy`, which made the package; for the architecture of this machine."""
    if ARCHITECTURE != DEFAULT_ARCHITECTURE:
        config = copied.folder / ".chalice" / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"lambda_architecture": ARCHITECTURE}))
    copied.deploy()
    return copied


@pytest.fixture(scope="session")
def task(project: Project, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The package, unpacked: what Lambda puts into /var/task."""
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(project.package) as package:
        package.extractall(folder)
        unpacked = sum(one.file_size for one in package.infolist())
    size = project.package.stat().st_size
    request.config.stash[MEASURED].append(f"package: {size / 1e6:.1f} MB, unpacked {unpacked / 1e6:.1f} MB")
    return folder


@pytest.fixture(scope="session")
def runtime(
    account: Account, task: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Runtime]]:
    """Each function under the emulator, started when it is asked for, as it was deployed."""
    logs = tmp_path_factory.mktemp("logs")
    client = account.client("lambda")
    started: dict[str, Runtime] = {}
    with ExitStack() as stack:

        def get(name: str) -> Runtime:
            if name not in started:
                deployed = client.get_function_configuration(FunctionName=NAMES.function(name))
                function = Function(
                    name=deployed["FunctionName"],
                    handler=deployed["Handler"],
                    memory=deployed["MemorySize"],
                    timeout=deployed["Timeout"],
                    variables=deployed["Environment"]["Variables"],
                    task=task,
                )
                started[name] = stack.enter_context(running(function, account.environment, logs / f"{name}.txt"))
            return started[name]

        yield get
        request.config.stash[MEASURED].extend(
            f"{name:<11} cold start {one.started_in:.2f} s, first event {one.took[0]:.2f} s, "
            f"{one.peak_memory:.0f} MB at most"
            for name, one in started.items()
        )
