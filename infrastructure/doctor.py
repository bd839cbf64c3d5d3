"""Looks at a stage from end to end, and says in plain words what is wrong and how to mend it.

Each check is a small function in the table below, and stands alone: where one lacks a permission, it says so, and the
others go on.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Column, Table
from rich.text import Text

from commandline import aws, console
from infrastructure.checks import account, endpoint, functions, inbox, page, roles, signals, storage, workflow
from infrastructure.checks.common import Check, Finding, NotThere, Severity, Site, problem, warning
from infrastructure.checks.live import live as live_check
from infrastructure.errors import InfrastructureError
from infrastructure.names import Names

__all__ = ["CHECKS", "LIVE", "Finding", "Severity", "as_json", "examine", "is_well", "show", "summary"]

CREDENTIALS = Check("credentials", "AWS knows who asks.", account.credentials, before=True)
"""Comes first: without it, only what needs no AWS is looked at."""

CHECKS = (
    CREDENTIALS,
    Check(
        "configuration",
        ".chalice/ is of this account and region, and each function has a policy.",
        account.configuration,
        before=True,
        offline=True,
    ),
    Check("tools", "Chalice is there.", account.tools, before=True, offline=True),
    Check("definitions", "The state machines keep the rules.", account.definitions, before=True, offline=True),
    Check("Lambda quota", "Enough functions may run.", account.lambda_quota, before=True),
    Check("endpoint quota", "The endpoint's instances are allowed.", account.endpoint_quota, before=True),
    Check("bucket names", "The buckets' names are free or ours.", account.bucket_names, before=True),
    Check("clashes", "No rule of others stands in the way of the trigger.", inbox.clashes, before=True),
    Check("stack", "The stack is complete.", workflow.stack_state),
    Check("buckets", "The buckets keep versions, and are encrypted and closed.", storage.buckets),
    Check("table", "The table of records has its indexes, and is protected.", storage.table),
    Check("state machines", "The state machines are the repository's.", workflow.machines),
    Check("workflow role", "The workflow may do what its tasks do, and nothing else.", roles.workflow_role),
    Check("backfill role", "The backfill may do what it does, and nothing else.", roles.backfill_role),
    Check("training role", "SageMaker may do what training takes, and nothing else.", roles.training_role),
    Check("endpoint", "The endpoint serves.", endpoint.endpoint),
    Check("functions", "All functions are there, and as config.json says.", functions.functions),
    Check("runtimes", "All functions run on one Python.", functions.runtimes),
    Check("policies", "Each function may do what its policy file says, and nothing else.", roles.policies),
    Check("permissions", "IAM itself allows all of it.", roles.permissions),
    Check("trigger", "Pictures in the inbox reach the workflow, once.", inbox.trigger),
    Check("recursion", "Nothing of ours is written below inbox/.", inbox.recursion),
    Check("rules", "The rules of EventBridge call their functions.", functions.callers),
    Check("REST API", "The REST API admits nobody unknown.", functions.rest),
    Check("sign-in", "People can sign in to the page.", page.sign_in),
    Check("uploads", "The page may send large pictures to the inbox.", page.uploads),
    Check("lost events", "Events that fail are kept in the queue.", functions.lost_events),
    Check("function logs", "Functions have log groups, which are emptied in time.", functions.logs),
    Check("workflow logs", "State machines have log groups, which are emptied in time.", workflow.log_groups),
    Check("topics", "Somebody hears of alarms.", signals.topics),
    Check("alarms", "No alarm rings.", signals.alarms),
    Check("queue", "No event is lost.", signals.queue),
    Check("unfinished", "No picture is stuck.", signals.unfinished),
)

LIVE = Check("live", "A picture came out.", live_check)

MARKS = {Severity.OK: "✓", Severity.WARNING: "!", Severity.PROBLEM: "✗"}
STYLES = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.PROBLEM: "bold red"}

WIDTH = 80
"""Columns that are used at most: what fits into a terminal is read."""

MAX_MESSAGE = 150
"""Characters of what AWS says that are shown; some errors are whole pages."""

TAG = re.compile(r"<[^>]*>")

NEEDED = re.compile(r"perform: ([\w-]+:\w+)")
"""How AWS names the permission that lacks."""

PERMISSIONS = {
    "GetBucketCors": "s3:GetBucketCORS",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "GetBucketReplication": "s3:GetReplicationConfiguration",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "HeadBucket": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
}
"""Of operations that are called otherwise than the permission for them:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html"""


def examine(names: Names, folder: Path, *, live: bool, before: bool) -> list[Finding]:
    """Look at a stage.

    Args:
        names: of the stage.
        folder: `.chalice`.
        live: whether a picture is put into the inbox, too.
        before: whether nothing is deployed yet: only what can be known beforehand is looked at.
    """
    site = Site(names, folder, before=before)
    checks = [check for check in CHECKS if check.before or not before] + [LIVE] * live
    findings: list[Finding] = []
    with console.progress() as bar:
        task = bar.add_task("Looking", total=len(checks))
        for check in checks:
            bar.update(task, description=f"Looking at {check.name}")
            knows_who_asks = all(one.severity is Severity.OK for one in findings if one.check == CREDENTIALS.name)
            if knows_who_asks or check.offline:
                findings += results(check, site)
            bar.advance(task)
    return findings


def results(check: Check, site: Site) -> list[Finding]:
    """What one check finds, and never an exception; nothing if what it looks at is not there.

    Args:
        check: the check.
        site: what it looks at.
    """
    findings: list[Finding] = []
    try:
        findings.extend(check.look(site))
    except NotThere:
        return []
    except ClientError as error:
        findings.append(_refused(error))
    except BotoCoreError as error:
        findings.append(_unreachable(check, error))
    except InfrastructureError as error:
        findings.append(problem(str(error), "Then run the doctor again."))
    except Exception as error:  # noqa: BLE001 - one check must not keep the others from being done
        findings.append(
            warning(
                f"Could not look: {type(error).__name__}: {error}",
                "That is a mistake of the doctor, or AWS answers something new: report it.",
            )
        )
    if not findings:
        findings.append(Finding(check.name, Severity.OK, check.about))
    return [replace(one, check=check.name) for one in findings]


def _refused(error: ClientError) -> Finding:
    code, message = aws.error_code(error), str(error.response.get("Error", {}).get("Message", ""))
    named = NEEDED.search(message)
    if named or code in aws.DENIED:
        permission = named[1] if named else PERMISSIONS.get(error.operation_name, error.operation_name)
        return warning(f"Could not look: needs permission {permission}.", "Ask for it, or use other credentials.")
    if code in aws.EXPIRED:
        return problem(f"AWS does not take these credentials: {message or code}", "Sign in again.")
    said = " ".join(TAG.sub(" ", message).split())[:MAX_MESSAGE]
    return warning(f"Could not look: AWS refused {error.operation_name}: {code}: {said}", "Run the doctor again.")


def _unreachable(check: Check, error: BotoCoreError) -> Finding:
    try:
        with aws.plain_errors():
            raise error
    except InfrastructureError as plain:
        return problem(str(plain), "Then run the doctor again.")
    except BotoCoreError as other:
        return (problem if check is CREDENTIALS else warning)(f"Could not look: {other}", "Run the doctor again.")


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing has to be mended."""
    return all(one.severity is not Severity.PROBLEM for one in findings)


def show(findings: Sequence[Finding]) -> None:
    """Print what was found, with the fix below what is wrong.

    Args:
        findings: what was found.
    """
    console.results.print(_table(findings), width=min(WIDTH, console.results.width))
    console.results.print(summary(findings), markup=False)


def _table(findings: Sequence[Finding]) -> Table:
    names = Column(no_wrap=True, min_width=max((len(one.check) for one in findings), default=0))
    table = Table.grid(Column(no_wrap=True), names, Column(overflow="fold"), padding=(0, 2, 0, 0))
    for one in findings:
        text = Text(one.what)
        if one.fix:
            text.append(f"\n→ {one.fix}", style="cyan")
        table.add_row(Text(MARKS[one.severity], style=STYLES[one.severity]), one.check, text)
    return table


def summary(findings: Sequence[Finding]) -> str:
    """What was found, in a sentence.

    Args:
        findings: what was found.
    """
    counts = Counter(one.severity for one in findings)
    problems, warnings = counts[Severity.PROBLEM], counts[Severity.WARNING]
    checks = len({one.check for one in findings})
    return (
        f"{_number(checks, 'check')}: {_number(problems, 'problem') if problems else 'no problem'}"
        f"{', ' + _number(warnings, 'warning') if warnings else ''}."
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def as_json(findings: Sequence[Finding]) -> dict[str, list[dict[str, str]]]:
    """What was found, for machines.

    Args:
        findings: what was found.
    """
    return {"findings": [asdict(one) for one in findings]}
