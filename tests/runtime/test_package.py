"""The zip that `chalice deploy` made and sent."""

import re
import zipfile
from pathlib import Path
from platform import machine

import pytest

from tests.calls import FUNCTIONS
from tests.runtime.account import DECOYS, DEPLOY, NAMES, Account, Project, deploying, python_of

pytestmark = deploying

MAX_ZIP = 12_000_000
"""Bytes that we allow ourselves. Lambda takes 50 MB directly:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

MAX_UNPACKED = 250 * 1024 * 1024
"""Bytes that Lambda takes, same page."""

GLIBC = {(3, 12): (2, 34), (3, 13): (2, 34)}
"""glibc of the runtime of each Python that deploys. These are Amazon Linux 2023; Python 3.11's is Amazon Linux 2, too
old for Pillow's wheels, so that Chalice would compile Pillow here, for this machine alone:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
https://docs.aws.amazon.com/linux/al2023/ug/glibc-gcc-and-binutils.html"""

STATIC = "chalicelib/static/"

NEVER = ("boto3", "botocore", "numpy", "onnxruntime", "sagemaker", "sagemaker_core", "moto", *DECOYS)

EXPECTED = {
    "app.py",
    "chalicelib",
    "chalice",
    "PIL",
    "pillow.libs",
    "aws_lambda_powertools",
    "jmespath",
    "typing_extensions.py",
}
"""What the functions consist of, beside what tells of the packages themselves."""


@pytest.fixture(scope="module")
def names(project: Project) -> list[str]:
    with zipfile.ZipFile(project.package) as package:
        return package.namelist()


def test_it_is_what_every_function_runs(project: Project, account: Account) -> None:
    client = account.client("lambda")
    for name in FUNCTIONS:
        sent = client.get_function_configuration(FunctionName=NAMES.function(name))
        assert (sent["CodeSha256"], sent["CodeSize"]) == (project.digest, project.package.stat().st_size)


def test_it_is_small(project: Project) -> None:
    with zipfile.ZipFile(project.package) as package:
        unpacked = sum(one.file_size for one in package.infolist())
    assert project.package.stat().st_size < MAX_ZIP
    assert unpacked < MAX_UNPACKED


def test_it_holds_the_app_and_what_that_needs_and_nothing_else(names: list[str]) -> None:
    top = {name.split("/")[0] for name in names}
    assert not top & set(NEVER)
    assert {name for name in top if not name.endswith((".dist-info", ".data"))} == EXPECTED


def test_our_own_files_in_it_are_those_of_the_project(project: Project) -> None:
    with zipfile.ZipFile(project.package) as package:
        names = [name for name in package.namelist() if name.startswith(("app.py", "chalicelib/"))]
        packed = {name: package.read(name) for name in names if not name.endswith("/")}
    ours = [project.folder / "app.py", *(project.folder / "chalicelib").rglob("*")]
    assert packed == {str(path.relative_to(project.folder)): path.read_bytes() for path in ours if path.is_file()}


def test_the_page_is_in_it(names: list[str]) -> None:
    page = {name.removeprefix(STATIC) for name in names if name.startswith(STATIC) and name != STATIC}
    assert {"index.html"} < page
    assert not [name for name in page if "/" in name], "the page's files are asked for by their names alone"


def test_whatever_is_compiled_in_it_was_built_for_the_runtime_and_not_on_this_machine(project: Project) -> None:
    with zipfile.ZipFile(project.package) as package:
        wheels = {
            Path(name).parent.name: re.findall(r"^Tag: \S+-\S+-(\S+)$", package.read(name).decode(), re.MULTILINE)
            for name in package.namelist()
            if name.endswith(".dist-info/WHEEL")
        }
    assert any(name.startswith("pillow-") for name in wheels)
    unfit = {name: tags for name, tags in wheels.items() if not any(map(fits, tags))}
    assert unfit == {}, "No wheel of these fits the runtime, so Chalice compiled them here, for this machine alone."


def fits(platform: str) -> bool:
    """Whether what was built for a platform runs in Lambda."""
    if platform == "any":
        return True
    legacy = {"manylinux1_": (2, 5), "manylinux2010_": (2, 12), "manylinux2014_": (2, 17)}
    needed = next((glibc for name, glibc in legacy.items() if platform.startswith(name)), None)
    if found := re.match(r"manylinux_(\d+)_(\d+)_", platform):
        needed = int(found[1]), int(found[2])
    return needed is not None and needed <= GLIBC[python_of(DEPLOY)] and platform.endswith(f"_{machine()}")


@pytest.mark.parametrize(
    ("platform", "fit"),
    [
        ("any", True),
        (f"manylinux2014_{machine()}", True),
        (f"manylinux_2_17_{machine()}", True),
        ("manylinux2014_s390x", False),
        (f"manylinux_2_99_{machine()}", False),
        (f"linux_{machine()}", False),
        (f"musllinux_1_2_{machine()}", False),
    ],
)
def test_what_fits_the_runtime_is_told_from_what_does_not(platform: str, fit: bool) -> None:  # noqa: FBT001
    assert fits(platform) is fit
