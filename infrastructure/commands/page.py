"""`page`: the page of a stage, for reviewers with AWS credentials."""

import webbrowser
from contextlib import suppress
from pathlib import Path

import click

from commandline import console
from infrastructure import chalice_config, options, page, rest


@click.command(name="page", short_help="Show the page of a stage in the browser, by your AWS credentials.")
@options.stage
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen on 127.0.0.1; 0 for any.")
@click.option("--url", help="The address of the REST API, for who may not look it up: what `chalice url` prints.")
@click.option("--browser/--no-browser", default=True, help="Whether to open the browser, too.")
@options.chalice
def command(
    stage: str,
    port: int,
    url: str | None,
    browser: bool,  # noqa: FBT001 - click passes options by name
    folder: Path,
) -> None:
    """Show the page of a stage in the browser, by your AWS credentials.

    Serves it on 127.0.0.1 until Ctrl-C: each request is signed with the credentials of whoever runs this, who needs
    the permission execute-api:Invoke, and passed on to the stage's REST API. The address that is printed has a key in
    it, so that nobody else on this machine can use it. Where people sign in instead, the page is simply opened.
    """
    known = chalice_config.read(folder, stage)
    if known.variables.get(chalice_config.POOL):
        address = url or rest.page_url(options.names(stage, folder), known)
        console.messages.print("People sign in to the page of this stage. It is at:")
        _show(address, browser=browser)
        return
    address = url or rest.url(options.names(stage, folder), known)
    with page.serving(address, rest.region(address), port, _tell) as server:
        console.messages.print(f"The page of the stage {stage}, by your credentials. Ctrl-C ends it.")
        _show(server.address, browser=browser)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def _tell(line: str) -> None:
    console.messages.print(line, markup=False)


def _show(address: str, *, browser: bool) -> None:
    click.echo(address)
    if browser and not webbrowser.open(address):
        console.messages.print("No browser is to be had here: open this address in one.")
