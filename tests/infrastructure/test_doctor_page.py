"""A stage that people sign in to: what is wrong with that is told, and how it is mended."""

from collections.abc import Iterator
from typing import Any

import pytest

from infrastructure import doctor
from infrastructure.checks.common import Finding, Severity
from tests.infrastructure import healthy
from tests.infrastructure.healthy import NAMES, Stage

CHECKS = {check.name: check for check in doctor.CHECKS}
AGAIN = "Run `python -m infrastructure deploy --stage dev --sign-in`."
GUARD = "COGNITO_USER_POOLS"


class People:
    """A user pool with a client for the page, and what has to be changed of them."""

    def __init__(self, well: Stage) -> None:
        self.client, (self.api,) = well.client("cognito-idp"), apis(well)
        self.page = f"https://{self.api}.execute-api.us-east-1.amazonaws.com/api/"
        made = self.client.create_user_pool(PoolName=NAMES.user_pool, AdminCreateUserConfig=invited(by_others=False))
        self.pool, self.arn = made["UserPool"]["Id"], made["UserPool"]["Arn"]
        self.client.create_user_pool_domain(Domain=f"{NAMES.prefix}-{NAMES.account}", UserPoolId=self.pool)
        self.page_client = self.make_client(CallbackURLs=[self.page])

    def make_client(self, **more: Any) -> str:
        wanted = {"AllowedOAuthFlowsUserPoolClient": True, "AllowedOAuthFlows": ["code"], **more}
        made = self.client.create_user_pool_client(UserPoolId=self.pool, ClientName="page", **wanted)
        return str(made["UserPoolClient"]["ClientId"])

    def variables(self, **other: str) -> dict[str, str]:
        known = {"USER_POOL_ARN": self.arn, "USER_POOL_CLIENT_ID": self.page_client, "USER_POOL_DOMAIN": NAMES.sign_in}
        return {name: value for name, value in (known | other).items() if value}


def invited(*, by_others: bool) -> dict[str, bool]:
    return {"AllowAdminCreateUserOnly": not by_others}


def apis(well: Stage) -> list[str]:
    return [one["id"] for one in well.client("apigateway").get_rest_apis()["items"]]


@pytest.fixture(scope="module")
def well(empty_account: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with healthy.stage(empty_account, tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture(scope="module")
def people(well: Stage) -> People:
    made = People(well)
    healthy.let_pages_post(well, *healthy.PAGES_HERE, made.page.removesuffix("/api/"))
    return made


def found(well: Stage, check: str, variables: dict[str, str]) -> list[Finding]:
    """What a check finds where these variables are set."""
    with well.config(lambda stage: stage["environment_variables"].update(variables)):
        return [one for one in doctor.results(CHECKS[check], well.site) if one.severity is not Severity.OK]


def test_a_stage_that_people_can_sign_in_to_is_well(well: Stage, people: People) -> None:
    assert found(well, "sign-in", people.variables()) == []
    assert found(well, "uploads", people.variables()) == []


def test_where_nobody_signs_in_that_is_told(well: Stage) -> None:
    (told,) = doctor.results(CHECKS["sign-in"], well.site)
    assert (told.severity, told.what) == (Severity.OK, "AWS credentials are asked for; nobody signs in.")


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"USER_POOL_DOMAIN": ""}, "USER_POOL_DOMAIN is not set, and USER_POOL_ARN, USER_POOL_CLIENT_ID is."),
        (
            {"USER_POOL_ARN": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_gone"},
            "There is no user pool us-east-1_gone: nobody can sign in.",
        ),
        ({"USER_POOL_CLIENT_ID": "0" * 26}, f"The user pool knows no client {'0' * 26}"),
        ({"USER_POOL_DOMAIN": "https://other.auth.us-east-1.amazoncognito.com"}, "has no sign-in at https://other."),
    ],
)
def test_what_is_not_there_is_told(well: Stage, people: People, other: dict[str, str], what: str) -> None:
    (told,) = found(well, "sign-in", people.variables(**other))
    assert what in told.what
    own = "USER_POOL_DOMAIN" in other and other["USER_POOL_DOMAIN"]
    assert told.severity is Severity.PROBLEM
    assert told.fix == (f"Mend your user pool, or what {well.folder / 'config.json'} says of it." if own else AGAIN)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"GenerateSecret": True}, "has a secret, which a page cannot keep."),
        ({"AllowedOAuthFlows": ["implicit"]}, "gives no code, by which the page signs in."),
        ({"AllowedOAuthFlowsUserPoolClient": False}, "gives no code, by which the page signs in."),
        ({"CallbackURLs": ["https://elsewhere.example.org/"]}, "Whoever has signed in is not sent back to https://"),
    ],
)
def test_a_client_that_the_page_cannot_sign_in_by_is_told(
    well: Stage, people: People, change: dict[str, Any], what: str
) -> None:
    other = people.make_client(**{"CallbackURLs": [people.page], **change})
    (told,) = found(well, "sign-in", people.variables(USER_POOL_CLIENT_ID=other))
    assert what in told.what
    assert (told.severity, told.fix) == (Severity.PROBLEM, AGAIN)


def test_a_pool_that_anybody_may_sign_up_to_is_told(well: Stage, people: People) -> None:
    change = {"UserPoolId": people.pool, "AdminCreateUserConfig": invited(by_others=True)}
    people.client.update_user_pool(**change)
    (told,) = found(well, "sign-in", people.variables())
    people.client.update_user_pool(**{**change, "AdminCreateUserConfig": invited(by_others=False)})
    assert told.what == f"Anybody may sign up to {NAMES.user_pool}, and then review."
    assert told.severity is Severity.WARNING


def test_a_page_at_a_domain_of_its_own_is_sent_back_there(well: Stage, people: People) -> None:
    domain = {"domain_name": "Pictures.example.org", "url_prefix": "v1"}
    with well.config(lambda stage: stage.update(api_gateway_custom_domain=domain)):
        told = [one.what for one in doctor.results(CHECKS["sign-in"], well.site)]
        assert told == ["AWS credentials are asked for; nobody signs in."]
    own = people.make_client(CallbackURLs=["https://pictures.example.org/v1/"])

    def change(stage: dict[str, Any]) -> None:
        stage["api_gateway_custom_domain"] = domain
        stage["environment_variables"].update(people.variables(USER_POOL_CLIENT_ID=own))

    with well.config(change):
        (told_of,) = doctor.results(CHECKS["sign-in"], well.site)
        assert told_of.severity is Severity.OK
        (told_of,) = doctor.results(CHECKS["uploads"], well.site)
        assert told_of.what.startswith("The page at https://pictures.example.org cannot send large pictures")


def test_large_pictures_that_cannot_be_sent_from_the_page_are_told(well: Stage, people: People) -> None:
    healthy.let_pages_post(well, *healthy.PAGES_HERE)
    (told,) = found(well, "uploads", people.variables())
    healthy.let_pages_post(well, *healthy.PAGES_HERE, people.page.removesuffix("/api/"))
    assert told.what == f"The page at {people.page.removesuffix('/api/')} cannot send large pictures to " + (
        f"{NAMES.inbox_bucket}."
    )
    assert told.fix == "Run `python -m infrastructure up --stage dev`."


@pytest.fixture
def guarded(well: Stage, people: People, request: pytest.FixtureRequest) -> Iterator[None]:
    """The API with its routes, each with the guard that the test gives it."""
    client, api = well.client("apigateway"), people.api
    (root,) = [one["id"] for one in client.get_resources(restApiId=api)["items"] if one["path"] == "/"]
    made = {"/": root}
    for path in ("/assets", "/assets/{name}", "/health"):
        parent, part = path.rsplit("/", 1)
        resource = client.create_resource(restApiId=api, parentId=made[parent or "/"], pathPart=part)
        made[path] = resource["id"]
    for path, kind in request.param.items():
        where = {"restApiId": api, "resourceId": made[path], "httpMethod": "GET"}
        client.put_method(**where, authorizationType=kind)
        uri = f"arn:aws:apigateway:{NAMES.region}:lambda:path/2015-03-31/functions/{NAMES.function_arn('api_handler')}"
        client.put_integration(**where, type="AWS_PROXY", integrationHttpMethod="POST", uri=f"{uri}/invocations")
    yield
    client.delete_method(restApiId=api, resourceId=root, httpMethod="GET")
    for path in ("/assets/{name}", "/assets", "/health"):
        client.delete_resource(restApiId=api, resourceId=made[path])


AS_IT_SHOULD_BE = {"/": "NONE", "/assets/{name}": "NONE", "/health": GUARD}


@pytest.mark.parametrize(
    ("guarded", "told"),
    [
        (AS_IT_SHOULD_BE, []),
        (AS_IT_SHOULD_BE | {"/health": "NONE"}, ["Anybody in the world may GET /health."]),
        (AS_IT_SHOULD_BE | {"/health": "AWS_IAM"}, [f"GET /health is guarded by AWS_IAM, not by {GUARD}."]),
        (AS_IT_SHOULD_BE | {"/": GUARD}, [f"GET / is guarded by {GUARD}: no browser can open the page."]),
    ],
    indirect=["guarded"],
)
def test_the_page_alone_is_open_where_people_sign_in(
    well: Stage, people: People, guarded: None, told: list[str]
) -> None:
    of_the_stage = f"POST /classifications is guarded by AWS_IAM, not by {GUARD}."
    assert sorted(one.what for one in found(well, "REST API", people.variables())) == sorted([*told, of_the_stage])


@pytest.mark.parametrize("guarded", [AS_IT_SHOULD_BE], indirect=True)
def test_not_even_the_page_is_open_where_aws_credentials_are_asked_for(
    well: Stage, people: People, guarded: None
) -> None:
    told = sorted(one.what for one in found(well, "REST API", {}))
    assert told == [
        "Anybody in the world may GET /.",
        "Anybody in the world may GET /assets/{name}.",
        f"GET /health is guarded by {GUARD}, not by AWS_IAM.",
    ]
