"""Checks of what has to hold before anything is deployed: who asks, with what tools, and how much AWS allows."""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from botocore.exceptions import ClientError

from commandline import aws
from infrastructure import backfill, chalice, machine, template
from infrastructure.checks.common import (
    INSTALL,
    Finding,
    Json,
    Site,
    enumerated,
    fine,
    found,
    pages,
    problem,
    read_json,
    warning,
)
from infrastructure.checks.workflow import definition
from infrastructure.errors import InfrastructureError

PLACEHOLDER = "123456789012"
"""The account in the repository's files until `up` writes the real one there."""

ACCOUNT_NUMBER = re.compile(r"(?<!\d)\d{12}(?!\d)")

VERSION = re.compile(r"chalice ([\d.]+), python (\d+)\.(\d+)")
"""What `chalice --version` says."""

VERSION_SECONDS = 60
"""That `chalice --version` may take."""

OLDEST, NEWEST = (3, 10), (3, 15)
"""The versions of Python that Chalice 1.34 makes functions of: https://aws.github.io/chalice/"""

MIN_CONCURRENCY = 100
"""Functions at the same time, below which some dropped pictures wait for each other. New accounts may have 10:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

INSTANCE_TYPE = "ml.m5.large"
"""What `python -m training deploy` takes unless told otherwise."""

ELSEWHERE = {
    "403": (
        "is somebody else's, or these credentials may not look (s3:ListBucket).",
        "If it is not yours, choose another stage name: names of buckets are taken world-wide.",
    ),
    "301": ("is in another region.", "Use that region: set AWS_DEFAULT_REGION. Or delete the bucket there."),
}
"""What S3 says of a bucket that cannot be used, what that means, and what to do."""

LAMBDA_QUOTA = "https://console.aws.amazon.com/servicequotas/home/services/lambda/quotas/L-B99A9384"
SAGEMAKER_QUOTAS = "https://console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"


def credentials(site: Site) -> Iterator[Finding]:
    """Who asks, and in which account and region."""
    identity = aws.client("sts").get_caller_identity()
    account, region = str(identity["Account"]), aws.region()
    if account != site.names.account:
        yield problem(
            f"These credentials are of the account {account}, and the names are of {site.names.account}.",
            "Use credentials of the account that is meant: set AWS_PROFILE.",
        )
    else:
        yield fine(f"{identity['Arn']}, account {account}, region {region}.")


def configuration(site: Site) -> Iterator[Finding]:
    """Whether the files in `.chalice` name this account, this region and these resources."""
    names = site.names
    wanted = {
        "INBOX_BUCKET": names.inbox_bucket,
        "RECORDS_TABLE": names.records_table,
        "STATE_MACHINE_ARN": names.state_machine_arn,
    }
    wrong = [f"{key} is {site.environment.get(key)!r}" for key in wanted if site.environment.get(key) != wanted[key]]
    files = {str(path): path.read_text(encoding="utf-8") for path in policy_files(site)}
    others = sorted({number for text in files.values() for number in ACCOUNT_NUMBER.findall(text)} - {names.account})
    if others:
        wrong.append(f"policy files name the account {', '.join(others)}")
    carries_placeholder = any(PLACEHOLDER in text for text in (*others, *wrong)) and names.account != PLACEHOLDER
    what = f"{site.folder}/ is not of {names.account} in {names.region}: {'; '.join(wrong)}."
    if wrong and site.before and carries_placeholder:
        yield warning(what, "`up` writes the account, the region and the names there; nothing has to be done by hand.")
    elif wrong:
        yield problem(
            what,
            f"{site.up} It writes them anew. Or use the account and the region that they are of: set AWS_PROFILE and "
            "AWS_DEFAULT_REGION.",
        )
    yield from _unnamed(site)


def policy_files(site: Site) -> list[Path]:
    """The policy files of the stage that can be read."""
    paths = [site.policy_file(name) for name in site.functions]
    return [path for path in paths if path.is_file()]


def _unnamed(site: Site) -> Iterator[Finding]:
    """What the files leave out."""
    for key in ("ENDPOINT_NAME", "LABELS"):
        if not site.environment.get(key, "").strip():
            yield problem(
                f"{key} is not set for the stage {site.names.stage}.",
                f"Set it in environment_variables of the stage in {site.folder / 'config.json'}.",
            )
    guessed = [name for name in site.functions if site.setting(name, "autogen_policy", default=True)]
    if guessed:
        yield problem(
            f"Chalice would guess what these may do: {enumerated(guessed)}.",
            f"Set autogen_policy of the stage to false in {site.folder / 'config.json'}.",
        )
    for name in site.functions:
        try:
            read_json(site.policy_file(name))
        except InfrastructureError as error:
            yield problem(f"The policy of {name} is of no use.", str(error))


def tools(site: Site) -> Iterator[Finding]:  # noqa: ARG001
    """Whether `chalice` is there, and makes functions of a Python that Lambda has."""
    program = chalice.PROGRAM
    if not program.is_file():
        yield problem(f"There is no {program}: Chalice is not installed beside this Python.", INSTALL)
        return
    said = _version(program)
    matched = VERSION.search(said)
    if not matched:
        yield problem(
            f"`{program} --version` does not say which it is: {said.strip()[:200]}",
            INSTALL,
        )
        return
    yield from python_runs_on_lambda(matched[1], (int(matched[2]), int(matched[3])))


@cache
def _version(program: Path) -> str:
    said = subprocess.run(  # noqa: S603 - our own program
        [program, "--version"], capture_output=True, text=True, check=False, timeout=VERSION_SECONDS
    )
    return said.stdout + said.stderr


def python_runs_on_lambda(release: str, version: tuple[int, int]) -> Iterator[Finding]:
    """Whether Lambda has the Python that runs Chalice: it decides what the functions run on.

    Args:
        release: Chalice's version.
        version: Python's.
    """
    python = ".".join(map(str, version))
    if not OLDEST <= version <= NEWEST:
        yield problem(
            f"Chalice runs on Python {python}, which it makes no functions of.",
            INSTALL,
        )
    elif version < chalice.AMAZON_LINUX_2023:
        yield warning(
            f"This is Python {python}, and functions get the Python that deploys them: Pillow cannot be loaded on "
            f"Lambda's {python}. `deploy` refuses it.",
            INSTALL,
        )
    else:
        yield fine(f"chalice {release} with Python {python}.")


def lambda_quota(_site: Site) -> Iterator[Finding]:
    """How many functions may run at the same time."""
    limits = aws.client("lambda").get_account_settings()["AccountLimit"]
    total, free = int(limits["ConcurrentExecutions"]), int(limits["UnreservedConcurrentExecutions"])
    if free >= MIN_CONCURRENCY:
        yield fine(f"{free:,} functions may run at the same time.")
        return
    reserved = f", {total - free} of them reserved for others" if total > free else ""
    yield warning(
        f"Lambda runs at most {total} functions at the same time here{reserved}. When many pictures are dropped at "
        "once they wait for each other, and some are tried again.",
        f"Ask for 1,000 (Concurrent executions): {LAMBDA_QUOTA}",
    )


def endpoint_quota(site: Site) -> Iterator[Finding]:
    """Whether the endpoint's instances are allowed, and a second set while it is updated."""
    variant = endpoint_variant(site)
    if variant and "InstanceType" not in variant:
        yield fine("The endpoint is serverless, so that no quota of instances stands in its way.")
        return
    kind, count = (variant or {}).get("InstanceType", INSTANCE_TYPE), (variant or {}).get("InitialInstanceCount", 1)
    name = f"{kind} for endpoint usage"
    limit = _sagemaker_quota(name)
    if limit is None:
        yield warning(f"Service Quotas does not know {name!r}.", f"Look it up by hand: {SAGEMAKER_QUOTAS}")
    elif limit < count:
        yield problem(
            f"SageMaker allows {limit} {kind} for endpoints here, and the endpoint needs {count}.",
            f"Ask for {2 * count} ({name}): {SAGEMAKER_QUOTAS} Or deploy the endpoint with --serverless.",
        )
    elif limit < 2 * count:
        yield warning(
            f"SageMaker allows {limit} {kind} for endpoints here: enough to run, but an update needs {2 * count} "
            "while the old one still serves.",
            f"Ask for {2 * count} ({name}): {SAGEMAKER_QUOTAS}",
        )
    else:
        yield fine(f"{limit} {kind} are allowed for endpoints.")


def _sagemaker_quota(name: str) -> int | None:
    """The quota as it is applied, or AWS's own where nothing was ever applied."""
    for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
        for quota in pages("service-quotas", operation, "Quotas", ServiceCode="sagemaker"):
            if quota["QuotaName"] == name:
                return int(quota["Value"])
    return None


def endpoint_variant(site: Site) -> Json | None:
    """What the endpoint runs on; None if there is none."""
    config = site.endpoint_config
    variant: Json | None = config["ProductionVariants"][0] if config else None
    return variant


def bucket_names(site: Site) -> Iterator[Finding]:
    """Whether the buckets' names, which are taken world-wide, are free or ours."""
    for bucket in (site.names.inbox_bucket, site.names.training_bucket):
        try:
            there = found(aws.client("s3").head_bucket, Bucket=bucket, ExpectedBucketOwner=site.names.account)
        except ClientError as error:
            if aws.error_code(error) not in ELSEWHERE:
                raise
            what, fix = ELSEWHERE[aws.error_code(error)]
            yield problem(f"{bucket} {what}", fix)
            continue
        yield fine(f"{bucket} is {'ours' if there is not None else 'free'}.")


def definitions(site: Site) -> Iterator[Finding]:
    """Whether the state machines and the template keep the rules that AWS would tell of too late."""
    for name, file in ((site.names.prefix, backfill.WORKFLOW), (site.names.backfill, backfill.OUTER)):
        found_wrong = machine.problems(json.loads(definition(site, name)))
        for wrong in found_wrong:
            yield problem(f"{name}: {wrong}", f"Mend it in {file.name}; `up` would send it to AWS.")
        if found_wrong:
            return  # what follows is made of it
    size = len(template.render().encode())
    yield fine(f"The template has {size:,} of {template.MAX_TEMPLATE_BYTES:,} bytes.")
