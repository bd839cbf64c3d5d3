"""What a person can use is documented, and what is documented is there."""

import json
import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

from chalicelib.settings import Settings
from chalicelib.store import Status
from infrastructure.cli import COMMANDS as INFRASTRUCTURE
from infrastructure.cli import main as main_of_infrastructure
from local import ROOT
from local.cli import main
from local.stack import Stack
from training.cli import COMMANDS
from training.cli import main as main_of_training
from training.layout import S3_FOLDERS

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
TRAINING = (ROOT / "docs" / "training.md").read_text()
EVERYWHERE = {"--json", "--yes"}
"""Options that the page explains once for all commands."""

README = (ROOT / "README.md").read_text()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "model" / "README.md"]


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_is_documented_with_its_options(name: str) -> None:
    assert f"`python -m local {name}" in OPERATIONS
    for parameter in main.commands[name].params:
        if isinstance(parameter, click.Option):
            assert any(f"`{option}`" in OPERATIONS for option in parameter.opts), parameter.opts


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_training_has_a_chapter_with_all_of_its_options(name: str) -> None:
    chapter = re.split(r"^## ", TRAINING, flags=re.MULTILINE)
    (text,) = [part for part in chapter if part.startswith(f"`{name}`\n")]
    rows = re.findall(r"^\| (`--.*?`) \|", text, re.MULTILINE)
    documented = {option for row in rows for option in re.findall(r"`(--[a-z0-9-]+)`", row)}
    parameters = main_of_training.get_command(click.Context(main_of_training), name).params  # type: ignore[union-attr]
    options = {option for one in parameters for option in (*one.opts, *one.secondary_opts) if option.startswith("--")}
    assert documented | EVERYWHERE >= options
    assert documented <= options


@pytest.mark.parametrize("name", INFRASTRUCTURE)
def test_every_command_of_infrastructure_is_documented_with_all_of_its_options(name: str) -> None:
    assert re.search(rf"^\| `python -m infrastructure {name}[` ]", OPERATIONS, re.MULTILINE)
    rows = re.findall(r"^\| (`--.*?`) \|", OPERATIONS, re.MULTILINE)
    documented = {option for row in rows for option in re.findall(r"`(--[a-z0-9-]+)", row)}
    command = main_of_infrastructure.get_command(click.Context(main_of_infrastructure), name)
    assert command
    assert command.help
    options = {option for one in command.params for option in one.opts if option.startswith("--")}
    assert options <= documented


def test_every_alarm_is_explained() -> None:
    template = (ROOT / "infrastructure" / "template.yaml").read_text()
    alarms = re.findall(r"AlarmName: !Sub scones-unlimited-\$\{Stage\}-(\S+)", template)
    explained = re.findall(r"^\| `([a-z_-]+)` \| .* \| .* \| .* \|$", OPERATIONS, re.MULTILINE)
    assert set(alarms) <= set(explained)


def test_every_module_of_infrastructure_is_on_the_map() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    for module in (ROOT / "infrastructure").glob("[a-z]*.*"):
        if module.suffix in (".py", ".json", ".yaml") and module.name not in ("cli.py", "deployer-policy.json"):
            assert f"`{module.name}`" in page, module.name


def test_the_policy_of_sagemakers_role_names_every_folder_that_training_writes_and_no_action_by_a_star() -> None:
    text = (ROOT / "training" / "role-policy.json").read_text()
    assert set(re.findall(r"BUCKET/PREFIX/([a-z]+)/", text)) == set(S3_FOLDERS)
    for statement in json.loads(text)["Statement"]:
        assert "*" not in "".join(statement["Action"])
        assert statement["Resource"] != "*" or statement["Sid"] in ("SignInToRegistry", "WriteMetrics")


def test_the_variables_that_training_reads_are_explained() -> None:
    variables = {
        str(parameter.envvar)
        for name in COMMANDS
        for parameter in main_of_training.get_command(click.Context(main_of_training), name).params  # type: ignore[union-attr]
        if parameter.envvar
    }
    assert variables == set(re.findall(r"^\| `(TRAINING_[A-Z0-9_]+)` \|", TRAINING, re.MULTILINE))


def test_every_module_of_training_is_on_the_map() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text() + (ROOT / "docs" / "model.md").read_text()
    for module in (ROOT / "training").glob("[a-z]*.py"):
        if module.name != "cli.py":
            assert f"{module.name}`" in page, module.name


def test_every_setting_is_documented_once_in_the_code_and_once_in_the_page() -> None:
    variables = set(re.findall(r"`([A-Z_]{5,})`", str(Settings.__doc__)))
    assert len(variables) == len(fields(Settings))
    documented = re.findall(r"^\| `([A-Z_]+)` \|", OPERATIONS, re.MULTILINE)
    assert sorted(documented) == sorted(variables)


def test_every_route_is_documented(stack: Stack) -> None:
    routes = {f"{method} {path}" for path, methods in stack.functions.app.routes.items() for method in methods}
    documented = set(re.findall(r"^\| `([A-Z]+ /\S*)` \|", API, re.MULTILINE))
    assert {route.replace("{identity}", "{id}") for route in routes} == documented


def test_every_ending_is_explained_to_newcomers() -> None:
    for status in (Status.ACCEPTED, Status.REVIEW, Status.REJECTED, Status.FAILED):
        assert f"`{status}`" in README


def test_every_module_of_chalicelib_is_on_the_map() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    for module in (*(ROOT / "chalicelib").glob("[a-z]*.py"), *(ROOT / "chalicelib" / "static").iterdir()):
        assert f"`{module.name}`" in page, module.name


def test_the_targets_that_pages_name_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {
        target for page in PAGES for target in re.findall(r"(?:`|^    )make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert re.search(r"^    make test$", README, re.MULTILINE)
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
