import json
import socket
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from infrastructure import page
from infrastructure.names import Names
from infrastructure.page import Server
from infrastructure.signing import Api
from local import ROOT
from tests.infrastructure.commands import run
from tests.infrastructure.signed import KEY, REGION, SECRET, TOKEN, gateway

NAMES = Names("dev", "123456789012", "us-east-1")
PAGE = NAMES.api_url("a1b2c3", "api")


@pytest.fixture
def folder(account: dict[str, str], tmp_path: Path) -> Path:
    """A stage that Chalice remembers to have deployed."""
    made = tmp_path / ".chalice"
    (made / "deployed").mkdir(parents=True)
    (made / "config.json").write_text((ROOT / ".chalice" / "config.json").read_text())
    api = {"name": "rest_api", "resource_type": "rest_api", "rest_api_id": "a1b2c3", "rest_api_url": PAGE}
    (made / "deployed" / "dev.json").write_text(json.dumps({"resources": [api]}))
    return made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser is asked to open."""
    found: list[str] = []

    def note(url: str) -> bool:
        found.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", note)
    return found


def ended_by(act: Callable[[Server], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server end, as by Ctrl-C, once something was done with it."""
    plain = Server.serve_forever

    def serve(server: Server, poll_interval: float = 0.02) -> None:
        def use() -> None:
            try:
                act(server)
            finally:
                server.shutdown()

        thread = threading.Thread(target=use)
        thread.start()
        plain(server, poll_interval)
        thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", serve)


def test_the_page_is_opened_by_the_key_and_served_until_it_is_ended(
    folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ACCESS_KEY_ID", KEY), ("SECRET_ACCESS_KEY", SECRET), ("SESSION_TOKEN", TOKEN)):
        monkeypatch.setenv(f"AWS_{name}", value)
    served: list[str] = []
    with gateway() as behind:

        def there(url: str, _region: str) -> Api:
            served.append(url)
            return Api(behind.url, REGION)

        monkeypatch.setattr(page, "Api", there)

        def use(server: Server) -> None:
            with httpx.Client() as client:
                assert client.get(server.address, follow_redirects=True).text == "well"

        ended_by(use, monkeypatch)
        done = run("page", "--chalice", folder)
    assert done.exit_code == 0, done.output
    assert served == [PAGE]
    assert opened == done.stdout.split()
    assert opened[0].startswith("http://127.0.0.1:")
    assert "?key=" in opened[0]
    assert " 200 " in done.stderr
    assert "The page of the stage dev, by your credentials. Ctrl-C ends it." in done.stderr


def test_no_browser_is_opened_where_none_is_wanted_and_the_port_is_the_one_that_is_named(
    folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended_by(lambda _: time.sleep(0.05), monkeypatch)
    done = run("page", "--no-browser", "--port", str(port), "--chalice", folder)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"http://127.0.0.1:{port}/?key=")
    assert opened == []


def test_where_people_sign_in_the_page_itself_is_opened(folder: Path, opened: list[str]) -> None:
    config = json.loads((folder / "config.json").read_text())
    variables = config["stages"]["dev"]["environment_variables"]
    variables["USER_POOL_ARN"] = NAMES.arn("cognito-idp", "userpool/us-east-1_a")
    (folder / "config.json").write_text(json.dumps(config))
    done = run("page", "--chalice", folder)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == opened == [PAGE]
    assert "People sign in to the page" in done.stderr


def test_who_may_not_look_the_api_up_names_it(folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "deployed" / "dev.json").unlink()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    served: list[tuple[str, str]] = []

    def there(url: str, region: str) -> Api:
        served.append((url, region))
        return Api(url, region)

    monkeypatch.setattr(page, "Api", there)
    ended_by(lambda _: time.sleep(0.05), monkeypatch)
    url = "https://a1b2c3.execute-api.eu-west-3.amazonaws.com/api/"
    assert run("page", "--url", url, "--chalice", folder).exit_code == 0
    assert served == [(url, "eu-west-3")]


@pytest.mark.parametrize("url", ["http://a.execute-api.eu-west-3.amazonaws.com/api/", "https://example.org/", "a"])
def test_an_address_that_is_none_of_a_rest_api_gets_no_signature(url: str, folder: Path) -> None:
    done = run("page", "--url", url, "--chalice", folder)
    assert done.exit_code == 2
    assert f"{url} is not the address of a REST API" in done.output


def test_where_nothing_is_deployed_that_is_told(folder: Path) -> None:
    (folder / "deployed" / "dev.json").unlink()
    done = run("page", "--chalice", folder)
    assert done.exit_code == 2
    assert "scones-unlimited-dev has no REST API yet. Run `python -m infrastructure deploy --stage dev`" in done.output
