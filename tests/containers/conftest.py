import shutil

import pytest

from tests.containers.container import ENVIRONMENT


@pytest.fixture(scope="session", autouse=True)
def toolkits() -> None:
    """Fails, rather than skips, where these tests cannot run."""
    if not (ENVIRONMENT / "ready").exists():
        pytest.fail(
            f"There is no {ENVIRONMENT.name} with AWS's toolkits: `make {ENVIRONMENT.name}/ready`.", pytrace=False
        )
    if shutil.which("java") is None:
        pytest.fail(
            "There is no Java, which AWS's multi-model-server runs on. Install version 17: "
            "`apt-get install openjdk-17-jre-headless`, or leave these tests out: `pytest --ignore tests/containers`.",
            pytrace=False,
        )
