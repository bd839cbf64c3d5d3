"""What AWS says of a stage and no emulator does, for tests of `backfill`."""

from types import SimpleNamespace
from typing import Any

from commandline import aws

Json = dict[str, Any]

ENDPOINT: Json = {
    "EndpointName": "scones-unlimited-dev",
    "EndpointStatus": "InService",
    "ProductionVariants": [{"VariantName": "AllTraffic", "CurrentInstanceCount": 2}],
}
"""The stage's endpoint as AWS would describe it: embedded, it answers without being in the control plane."""

LIMIT: Json = {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}}

said: dict[tuple[str, str], Json] = {}
"""The last answer to each operation: an older one is taken back."""


def say(service: str, operation: str, answer: Json, status: int = 200, **headers: str) -> None:
    """Have AWS answer an operation of infrastructure's clients, until these are forgotten.

    Args:
        service: as boto3 calls it.
        operation: as AWS calls it.
        answer: as botocore has it once it is parsed.
        status: of HTTP.
        headers: of HTTP.
    """
    told = {**answer, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers}}

    def answering(**_: Any) -> tuple[Any, Json] | None:
        return (SimpleNamespace(status_code=status), told) if said[service, operation] is told else None

    said[service, operation] = told
    client = aws.client(service)
    client.meta.events.register_first(
        f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}", answering
    )
