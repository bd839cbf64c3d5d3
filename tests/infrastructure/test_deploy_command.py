import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any

import boto3
import pytest

from infrastructure import chalice_config
from infrastructure.names import OPEN_ROUTES, Names
from infrastructure.template import TEMPLATE
from tests.infrastructure.commands import run, run_well
from tests.infrastructure.inventory import everything
from tests.infrastructure.permissions import SITE, allowed, needed, record_here

NAMES = Names("dev", "123456789012", "us-east-1")

POLICY = TEMPLATE.with_name("deployer-policy.json")
SIGN_IN = TEMPLATE.with_name("deployer-policy-sign-in.json")
"""What it takes besides where people sign in."""

GUARD = "COGNITO_USER_POOLS"

MAX_MANAGED_POLICY = 6144
"""Characters without spaces: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""

BY_CHALICE_WITH_TAGS = {"lambda:TagResource", "lambda:UntagResource"}
"""Asked for where a function is made or updated with tags, which is no call of its own."""

BY_CLOUDFORMATION_IN_S3 = {"s3:GetObject"}
"""CloudFormation reads the template with the permissions of who names it."""


@dataclass(frozen=True)
class Life:
    """A stage from its first deployment to its removal.

    Attributes:
        output: by what was done, what it said.
        exit_codes: by what was done, how it ended.
        left: what was there in the end.
        calls: what was asked of AWS.
        guards: by method and path, what the REST API asked for while people signed in.
        variables: those of the stage then.
        without: what was asked of AWS before that.
    """

    output: dict[str, str]
    exit_codes: dict[str, int]
    left: dict[str, Any]
    calls: set[str]
    guards: dict[str, str]
    variables: dict[str, str]
    without: set[str]


@pytest.fixture
def life(
    account: dict[str, str], chalice: Path, deploying: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Life:
    site, calls = tmp_path / "site", tmp_path / "calls"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("CALLS", str(calls))
    record_here(calls)
    done = {
        "first": run("deploy", "--yes", "--chalice", chalice),
        "again": run("deploy", "--yes", "--json", "--alarm-email", "a@example.com", "--chalice", chalice),
        "status": run_well("status", "--chalice", chalice),
        "reconcile": run_well("reconcile", "--chalice", chalice),
    }
    (chalice / "deployed" / "dev.json").unlink()
    done["elsewhere"] = run("deploy", "--yes", "--chalice", chalice)
    without = set(calls.read_text().split())
    done["sign in"] = run("deploy", "--yes", "--sign-in", "--chalice", chalice)
    asked = set(calls.read_text().split())
    signing_in = guards(), dict(chalice_config.read(chalice, "dev").variables)
    calls.write_text("")
    drop()
    invite(signing_in[1]["USER_POOL_ARN"])
    calls.write_text("")
    done["refused"] = run("down", "--yes", "--chalice", chalice)
    done["down"] = run_well("down", "--yes", "--delete-content", "--chalice", chalice)
    asked |= set(calls.read_text().split())
    return Life(
        {name: one.stdout if name == "again" else one.output for name, one in done.items()},
        {name: one.exit_code for name, one in done.items()},
        everything(),
        asked,
        *signing_in,
        without,
    )


def guards() -> dict[str, str]:
    """What the REST API asks for, by method and path; moto's, which reads the document that `chalice deploy` sends."""
    client = boto3.client("apigateway")
    (api,) = client.get_rest_apis()["items"]
    return {
        f"{verb} {resource['path']}": method["authorizationType"]
        for resource in client.get_resources(restApiId=api["id"])["items"]
        for verb, method in resource.get("resourceMethods", {}).items()
    }


def invite(pool: str) -> None:
    """Somebody who may sign in, for `down` to tell of."""
    email = {"Name": "email", "Value": "a@example.com"}
    boto3.client("cognito-idp").admin_create_user(
        UserPoolId=pool.rpartition("/")[2], Username="a@example.com", UserAttributes=[email]
    )


def drop() -> None:
    """Put a picture into the inbox, for `down` to delete."""
    boto3.client("s3").put_object(Bucket=NAMES.inbox_bucket, Key="a.png", Body=b"")


def test_a_whole_life_of_a_stage_takes_what_the_policy_allows(life: Life) -> None:
    first, again = life.output["first"], json.loads(life.output["again"])
    steps = ["CREATE_COMPLETE", "Running chalice deploy", "checks:"]
    assert [first.index(one) for one in steps] == sorted(first.index(one) for one in steps)
    assert again["up"]["outcome"] == "updated"
    assert again["functions"] == sorted(
        NAMES.function(name)
        for name in json.loads((TEMPLATE.parent.parent / ".chalice" / "config.json").read_text())["stages"]["dev"][
            "lambda_functions"
        ]
    )
    problems = [one for one in again["findings"] if one["severity"] == "problem"]
    assert life.exit_codes["again"] == (1 if problems else 0)
    assert any(one["check"] == "endpoint" for one in problems), "nobody made an endpoint"
    assert "What was deployed from elsewhere is known here now" in life.output["elsewhere"]
    assert life.left == {}
    assert not [one for one in needed(life.without) if not is_allowed(one, POLICY)]
    assert not [one for one in needed(life.calls) if not is_allowed(one, POLICY, SIGN_IN)]
    for policy in (POLICY, SIGN_IN):
        unfounded = [one for one in allowed(policy) if not is_founded(one, needed(life.calls))]
        assert not unfounded, "allowed, and nobody asks for it"
    assert life.guards.keys() >= OPEN_ROUTES
    assert {route for route, guard in life.guards.items() if guard == "NONE"} == OPEN_ROUTES
    assert {guard for route, guard in life.guards.items() if route not in OPEN_ROUTES} == {GUARD}
    assert life.variables["USER_POOL_DOMAIN"] == NAMES.sign_in
    assert {"USER_POOL_ARN", "USER_POOL_CLIENT_ID"} <= life.variables.keys()
    assert not re.search(r"^[!✗] +(sign-in|uploads|REST API)", life.output["sign in"], re.MULTILINE)
    assert f"user pool {NAMES.user_pool} with 1 user" in life.output["refused"]


@pytest.mark.parametrize("policy", [POLICY, SIGN_IN], ids=lambda one: one.stem)
def test_the_policy_fits_into_a_managed_policy_and_names_nothing_of_others(policy: Path) -> None:
    assert len(re.sub(r"\s", "", policy.read_text())) <= MAX_MANAGED_POLICY
    for action, resources in allowed(policy).items():
        for resource in resources:
            named = "scones-unlimited-STAGE" in resource or action.startswith(NAMELESS)
            assert named or (resource == "*" and re.search(r":(Describe|List|Get)", action)), action


NAMELESS = ("apigateway:", "cognito-idp:")
"""Services whose ARNs have numbers of AWS's choosing in the place of names."""


def is_allowed(permission: str, *policies: Path) -> bool:
    return any(fnmatchcase(permission, one) for policy in policies for one in allowed(policy))


def is_founded(action: str, asked: set[str]) -> bool:
    """Whether a command asks for it, or CloudFormation does for something that the template has."""
    known = asked | handlers() | BY_CHALICE_WITH_TAGS | BY_CLOUDFORMATION_IN_S3
    return any(fnmatchcase(one, action) for one in known)


def handlers() -> set[str]:
    """What CloudFormation itself says that it needs for the kinds of resources that the template has."""
    schemas = files("cfnlint") / "data" / "schemas"
    index = json.loads((schemas / "providers" / "us-east-1.json").read_text())
    kinds = set(re.findall(r"^ {4}Type: (AWS::\S+)$", TEMPLATE.read_text(), re.MULTILINE))
    assert len(kinds) > 10
    found = set()
    for kind in kinds:
        schema = json.loads((schemas / "resources" / f"{index[kind]}.json").read_text())
        for handler in schema.get("handlers", {}).values():
            found.update(handler["permissions"])
    return found
