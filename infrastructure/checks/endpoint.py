"""Checks of the endpoint that classifies."""

from collections.abc import Iterator

from commandline import aws
from infrastructure.checks.common import Finding, Site, fine, found, problem

WAITING = ("Creating", "Updating", "SystemUpdating", "RollingBack")
SERVING = ("InService", "Updating", "SystemUpdating", "RollingBack")
SEPARATOR = "/"
"""Between the labels of a model in the registry, as `python -m training register` writes them."""


def endpoint(site: Site) -> Iterator[Finding]:
    """Whether the endpoint is there, serves, and knows the classes that the functions expect."""
    name, train = site.endpoint_name, f"Run `python -m training deploy --stage {site.names.stage}`"
    there = site.endpoint
    if there is None:
        yield problem(f"There is no endpoint {name}: every picture ends as FAILED.", f"{train}; see docs/training.md.")
        return
    status = there["EndpointStatus"]
    if status not in SERVING:
        reason = there.get("FailureReason", "")
        wait = "Wait: it takes minutes." if status in WAITING else f"{train} again."
        yield problem(f"The endpoint {name} is {status}{': ' + reason if reason else ''}.", wait)
        return
    yield from _labels(site)


def _labels(site: Site) -> Iterator[Finding]:
    """Whether the model's classes are those of `LABELS`, as far as the registry knows them."""
    expected = [label.strip() for label in site.environment.get("LABELS", "").split(",")]
    labels = registered_labels(site)
    if labels and labels != expected:
        yield problem(
            f"The model tells {', '.join(labels)}, and LABELS says {', '.join(expected)}.",
            f"Set LABELS to {','.join(labels)} in {site.folder / 'config.json'}, then: {site.deploy}",
        )
    elif labels:
        yield fine(f"{site.endpoint_name} serves, and tells {', '.join(labels)}.")
    else:
        yield fine(f"{site.endpoint_name} serves. Its classes are not in the registry, so they were not compared.")


def registered_labels(site: Site) -> list[str]:
    """The classes of the model behind the endpoint, from the registry; nothing where the registry does not know it.

    Args:
        site: whose endpoint it is.
    """
    sagemaker, config = aws.client("sagemaker"), site.endpoint_config
    model_name = config["ProductionVariants"][0].get("ModelName") if config else None
    model = found(sagemaker.describe_model, ModelName=model_name) if model_name else None
    containers = (
        [model["PrimaryContainer"]] if model and "PrimaryContainer" in model else (model or {}).get("Containers", [])
    )
    for container in containers:
        if package_name := container.get("ModelPackageName"):
            package = found(sagemaker.describe_model_package, ModelPackageName=package_name) or {}
            text = package.get("CustomerMetadataProperties", {}).get("labels", "")
            return [label for label in text.split(SEPARATOR) if label]
    return []
