"""The stage's REST API: where it is, for people and for programs."""

import re

from infrastructure import chalice, chalice_config, leftovers
from infrastructure.chalice_config import Stage
from infrastructure.errors import InputError
from infrastructure.names import Names

ADDRESS = re.compile(r"https://[a-z0-9]+\.execute-api\.([a-z0-9-]+)\.amazonaws\.com/[\w-]+/")


def url(names: Names, stage: Stage) -> str:
    """Where API Gateway answers, with a slash at its end: that is also where the page is.

    Args:
        names: of the stage.
        stage: what Chalice remembers of it, or else what the function behind the routes says.

    Raises:
        InputError: nothing is deployed.
    """
    remembered = [one["rest_api_id"] for one in chalice.deployed(names, stage.folder) if "rest_api_id" in one]
    identity = next(iter(remembered or leftovers.apis(names)), None)
    if identity is None:
        raise InputError(
            f"{names.prefix} has no REST API yet. Run `python -m infrastructure deploy --stage {names.stage}` first."
        )
    return names.api_url(identity, stage.path)


def region(address: str) -> str:
    """The region of a REST API, which its address tells, as signatures need it.

    Args:
        address: as API Gateway gives it.

    Raises:
        InputError: it is none.
    """
    found = ADDRESS.fullmatch(address)
    if not found:
        raise InputError(
            f"{address} is not the address of a REST API, like https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com"
            "/api/, with the slash at its end. `chalice url` prints it."
        )
    return found[1]


def page_url(names: Names, stage: Stage) -> str:
    """Where people find the page: at the stage's own domain, if `.chalice/config.json` gives it one.

    Args:
        names: of the stage.
        stage: its part of that file.

    Raises:
        InputError: nothing is deployed.
    """
    own = chalice_config.described(stage.folder, stage.name).get("api_gateway_custom_domain", {})
    if not own:
        return url(names, stage)
    path = str(own.get("url_prefix", "")).strip("/")
    return f"https://{own['domain_name'].lower()}/{path + '/' if path else ''}"
