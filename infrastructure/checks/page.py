"""Checks of the page: who may sign in to it, and from where it may send pictures to the inbox."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from commandline import aws
from infrastructure import chalice_config, rest
from infrastructure.chalice_config import CLIENT, DOMAIN, POOL, SIGN_IN
from infrastructure.checks.common import Finding, Json, NotThere, Site, fine, found, problem, warning
from infrastructure.names import REST

HERE = frozenset({"http://127.0.0.1:*", "http://localhost:*"})
"""Where `python -m infrastructure page` serves it."""


def sign_in(site: Site) -> Iterator[Finding]:
    """Whether people can sign in to the page where they are to, and nobody invites himself."""
    there = [name for name in SIGN_IN if site.environment.get(name)]
    if not there:
        yield fine("AWS credentials are asked for; nobody signs in.")
        return
    if len(there) < len(SIGN_IN):
        lacking = ", ".join(name for name in SIGN_IN if name not in there)
        yield problem(f"{lacking} is not set, and {', '.join(there)} is.", _again(site))
        return
    site.made([REST])
    identity = site.environment[POOL].rpartition("/")[2]
    pool = (found(aws.client("cognito-idp").describe_user_pool, UserPoolId=identity) or {}).get("UserPool")
    if pool is None:
        yield problem(f"There is no user pool {identity}: nobody can sign in.", _again(site))
        return
    yield from _pool(site, pool)
    yield from _client(site, identity)


def _again(site: Site) -> str:
    if site.environment.get(DOMAIN) not in (None, "", site.names.sign_in):
        return f"Mend your user pool, or what {site.folder / 'config.json'} says of it."
    return f"Run `python -m infrastructure deploy --stage {site.names.stage} --sign-in`."


def _pool(site: Site, pool: Json) -> Iterator[Finding]:
    if not pool.get("AdminCreateUserConfig", {}).get("AllowAdminCreateUserOnly"):
        yield warning(
            f"Anybody may sign up to {pool['Name']}, and then review.",
            "Let only administrators create users, in the user pool's sign-up settings.",
        )
    host = urlsplit(site.environment[DOMAIN]).hostname or ""
    if host.split(".")[0] != pool.get("Domain") and host != pool.get("CustomDomain"):
        yield problem(f"{pool['Name']} has no sign-in at {site.environment[DOMAIN]}.", _again(site))


def _client(site: Site, pool: str) -> Iterator[Finding]:
    describe, identity = aws.client("cognito-idp").describe_user_pool_client, site.environment[CLIENT]
    client = (found(describe, UserPoolId=pool, ClientId=identity) or {}).get("UserPoolClient")
    if client is None:
        yield problem(f"The user pool knows no client {identity}: the page cannot ask to sign in.", _again(site))
        return
    if "ClientSecret" in client:
        yield problem(f"The client {identity} has a secret, which a page cannot keep.", _again(site))
    if "code" not in client.get("AllowedOAuthFlows", []) or not client.get("AllowedOAuthFlowsUserPoolClient"):
        yield problem(f"The client {identity} gives no code, by which the page signs in.", _again(site))
    page = rest.page_url(site.names, chalice_config.read(site.folder, site.names.stage))
    if page not in client.get("CallbackURLs", []):
        yield problem(f"Whoever has signed in is not sent back to {page}.", _again(site))


def uploads(site: Site) -> Iterator[Finding]:
    """Whether the page may send the inbox those pictures that are too large for the REST API."""
    bucket = site.names.inbox_bucket
    if found(aws.client("s3").head_bucket, Bucket=bucket) is None:
        raise NotThere
    rules = (found(aws.client("s3").get_bucket_cors, Bucket=bucket) or {}).get("CORSRules", [])
    origins = {origin for rule in rules if "POST" in rule["AllowedMethods"] for origin in rule["AllowedOrigins"]}
    if lacking := sorted(HERE - origins):
        yield problem(f"Pages of {', '.join(lacking)} cannot send large pictures to {bucket}.", site.up)
    if not site.environment.get(POOL) or site.function(REST) is None:
        return
    page = urlsplit(rest.page_url(site.names, chalice_config.read(site.folder, site.names.stage)))
    if (own := f"{page.scheme}://{page.netloc}") not in origins:
        yield problem(f"The page at {own} cannot send large pictures to {bucket}.", site.up)
