"""Every `curl` of docs/api.md works as it stands, from the first to the last, and answers what the page says."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import pytest

from local import ROOT, samples
from local.stack import Stack
from tests.api import gate
from tests.api.asking import PATIENCE

PAGE = (ROOT / "docs" / "api.md").read_text()

EXAMPLE = re.compile(r"^```bash\n(?P<script>.*?)^```\n+^```http\n(?P<answer>.*?)^```$", re.MULTILINE | re.DOTALL)
"""A script, and right below it what the last of its requests is answered."""

KEY = "house-of-monday"
"""The page's Idempotency-Key, which is another one in each run, as it is for each reader."""

SHIM = """#!/bin/sh
exec {curl} "$@" --verbose --no-progress-meter --max-time {patience} 2>> {log}
"""
"""Stands before the real `curl`, and has it tell what goes over the wire."""


CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": gate.CALLER.access_key,
    "AWS_SECRET_ACCESS_KEY": gate.CALLER.secret_key,
    "AWS_SESSION_TOKEN": str(gate.CALLER.token),
}


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, as they went over the wire.

    Attributes:
        asked: method, path and query.
        status: of the answer, with its phrase.
        headers: of the answer, names in lower case.
    """

    asked: str
    status: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Example:
    """One of the page's.

    Attributes:
        script: what a reader copies.
        status: what the page says is answered.
        headers: those that it shows.
        body: the JSON that it shows; None where it shows none.
        printed: what the script printed.
        exchanges: the requests that it made.
    """

    script: str
    status: str
    headers: dict[str, str]
    body: Any
    printed: str
    exchanges: list[Exchange] = field(default_factory=list)


@pytest.fixture(scope="module", params=["on this machine", "signed"])
def examples(request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """All examples, run as they stand; and once more before a gate, with the page's recipe for signing."""
    if request.param == "on this machine":
        return run(stack.api_url, "", tmp_path_factory)
    (recipe,) = [part for part in re.findall(r"(?:^    .*\n)+", PAGE, re.MULTILINE) if "aws-sigv4" in part]
    with gate.before(stack.api_url) as url:
        return run(url, dedent(recipe), tmp_path_factory)


def run(url: str, recipe: str, tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Run all examples, one after the other, by one shell in a folder with the sample pictures.

    Args:
        url: the API's.
        recipe: what comes first.
        tmp_path_factory: makes folders.
    """
    curl = shutil.which("curl")
    if not curl:
        pytest.skip("There is no curl: `apt-get install curl`, which `make test` does where it is root on Debian.")
    found = list(EXAMPLE.finditer(PAGE))
    folder, tools = tmp_path_factory.mktemp("examples"), tmp_path_factory.mktemp("tools")
    samples.write(folder)
    for number in range(len(found)):
        (tools / f"{number}.log").touch()
    shim, own_key = tools / "curl", f"{KEY}-{uuid4().hex}"
    script = ["set -eu -o pipefail", recipe, f"PATH={tools}:$PATH"]
    for number, match in enumerate(found):
        text = SHIM.format(curl=curl, patience=PATIENCE, log=tools / f"{number}.log")
        script += [
            f"printf %s {quoted(text)} > {shim}",
            f"chmod +x {shim}",
            f"exec > {tools}/{number}.out",
            match["script"].replace(KEY, own_key),
        ]
    ended = subprocess.run(  # noqa: S603
        ["bash", "-c", "\n".join(script)],  # noqa: S607
        cwd=folder,
        env=os.environ | {"API": url, "HOME": str(tools), "CURL_HOME": str(tools), "no_proxy": "*"} | CREDENTIALS,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    logs = "\n".join((tools / f"{number}.log").read_text() for number in range(len(found)))
    if ended.returncode:
        pytest.fail(f"An example failed: {ended.stderr}\n{logs[-3000:]}", pytrace=False)
    return [example(match, tools / f"{number}.out", tools / f"{number}.log") for number, match in enumerate(found)]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def example(match: re.Match[str], printed: Path, log: Path) -> Example:
    head, _, body = match["answer"].partition("\n\n")
    status, *headers = head.splitlines()
    return Example(
        script=match["script"],
        status=status,
        headers={name.lower(): value for name, value in (header.split(": ", 1) for header in headers)},
        body=json.loads(body) if body.strip() else None,
        printed=printed.read_text(),
        exchanges=list(exchanges(log.read_text(errors="replace"))),
    )


def exchanges(log: str) -> Iterator[Exchange]:
    """What `curl --verbose` tells: "> " goes out, "< " comes in."""
    for part in re.split(r"^> (?=[A-Z]+ \S+ HTTP/)", log, flags=re.MULTILINE)[1:]:
        asked = " ".join(part.split(" ", 2)[:2])
        answers = [line[2:].strip() for line in part.splitlines() if line.startswith("< ")]
        last = max(place for place, line in enumerate(answers) if line.startswith("HTTP/"))  # after "100 Continue"
        headers = (line.split(": ", 1) for line in answers[last + 1 :] if ": " in line)
        yield Exchange(asked, answers[last].split(" ", 1)[1], {name.lower(): value for name, value in headers})


def test_there_is_an_answer_below_every_script_that_asks() -> None:
    assert len(EXAMPLE.findall(PAGE)) == PAGE.count("```bash") == PAGE.count("```http")


def test_every_example_is_answered_as_the_page_says(examples: list[Example]) -> None:
    for one in examples:
        *before, last = one.exchanges
        assert all(exchange.status < "4" for exchange in before), one
        assert last.status == one.status, one
        for name, value in one.headers.items():
            assert same_kind(value, last.headers.get(name, "")), (name, one)


def test_every_body_has_the_fields_that_the_page_shows_and_what_it_says_of_them(examples: list[Example]) -> None:
    for one in examples:
        if one.body is not None:
            assert_shows(one.body, json.loads(one.printed), one.script)


def test_a_whole_classification_is_shown_with_all_of_its_fields(examples: list[Example]) -> None:
    whole = max(examples, key=lambda one: len(one.body or ()))
    assert set(whole.body) == set(json.loads(whole.printed))


def test_every_route_has_an_example_that_succeeds(stack: Stack, examples: list[Example]) -> None:
    succeeded = {
        exchange.asked.partition("?")[0].replace(" /api/", " /")
        for one in examples
        for exchange in one.exchanges
        if exchange.status < "4"
    }
    for path, methods in stack.functions.app.routes.items():
        pattern = re.sub(r"\\{.*?\\}", "[^/]+", re.escape(path))
        for method in methods:
            assert any(re.fullmatch(f"{method} {pattern}", asked) for asked in succeeded), f"{method} {path}"


def test_the_table_holds_every_route_and_no_other(stack: Stack) -> None:
    routes = {
        re.sub(r"{.*?}", "{}", f"{method} {path}")
        for path, methods in stack.functions.app.routes.items()
        for method in methods
    }
    documented = re.findall(r"^\| `([A-Z]+ /\S*)` \|", PAGE, re.MULTILINE)
    assert sorted(re.sub(r"{.*?}", "{}", route) for route in documented) == sorted(routes)


SAYS = ("status", "label", "attempt", "title", "type", "note")
"""The fields whose values the page gives as they are; of all others it gives an example."""


def assert_shows(shown: Any, got: Any, where: str) -> None:
    """What is shown is there, of the same kind."""
    match shown, got:
        case Mapping(), Mapping():
            for name, value in shown.items():
                assert name in got, f"{name} is missing in {got}, asked for by {where}"
                if name in SAYS or value is None:
                    assert got[name] == value, f"{name} is {got[name]}, asked for by {where}"
                else:
                    assert_shows(value, got[name], where)
        case list(), list():
            for one, other in zip_longest(shown[:1], got[:1], fillvalue=None):
                if one is not None and other is not None:
                    assert_shows(one, other, where)
        case str(), str():
            assert same_kind(shown, got), f"{got} is not like {shown}, asked for by {where}"
        case _:
            assert isinstance(got, type(shown) if not isinstance(shown, float) else int | float), (shown, got, where)


def same_kind(shown: str, got: str) -> bool:
    """Whether a text is like the example, other ids and numbers aside, as far as the example goes."""
    begin, cut, _ = shown.partition("…")
    return kind(got).startswith(kind(begin)) if cut else kind(got) == kind(shown)


def kind(text: str) -> str:
    """A text with all of its ids and numbers made the same."""
    return re.sub(r"\d+", "9", re.sub(r"[0-9a-f]{32}", "h", text))
