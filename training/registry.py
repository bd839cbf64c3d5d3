"""SageMaker's model registry: a model with its evaluation, whether it may be deployed, and where its archive lies.

A version is registered once: the same archive leads to the same version. What is true of it, and what is wanted to find
it again, stands in its properties:

    version, algorithm, labels, archive_sha256, head_sha256, job, accuracy, accuracy_low, pictures, data_sha256,
    compared_with, verdict
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from training import aws, compare, job, model_archive, upload
from training.aws import Place
from training.compare import Verdict
from training.errors import FloorMissed, ModelError, Worse
from training.layout import APP, FORMAT_VERSION, METRICS_FILE, REPORT_FILE, S3_MODELS, TrainingRecord
from training.material import Kind

GROUP = APP
"""All versions belong to this group."""

APPROVED, PENDING = "Approved", "PendingManualApproval"

COMPARISON_REPORT = "comparison.html"
"""The report of the comparison in S3, where the evaluation has its own beside it."""

INSTANCE_TYPE = "ml.m5.large"
"""For which the container is looked up; those that serve are the same for all processors."""

INSTANCE_TYPES = ("ml.m5.large", "ml.m5.xlarge", "ml.c5.large", "ml.c5.xlarge", "ml.t2.medium", "ml.t2.large")

ENVIRONMENTS = {
    job.HEAD: {
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
    },
    job.BUILT_IN: {},
}
"""How the scikit-learn container finds our code: https://github.com/aws/sagemaker-inference-toolkit."""

SEPARATOR = "/"
"""Between labels. AWS takes letters, digits, blanks and _ . : / = + - @ in a property:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackage.html"""

MAX_VALUE = 256
"""Characters of a property."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Package:
    """A registered version of a model.

    Attributes:
        arn: its name for AWS.
        approval: whether it may be deployed, as AWS words it.
        properties: what is known of it, by name.
    """

    arn: str
    approval: str
    properties: Mapping[str, str]

    @property
    def number(self) -> str:
        """Its number in the group."""
        return self.arn.rpartition("/")[2]

    @property
    def version(self) -> str:
        """The model's own version, or the training job's name where it has none."""
        return self.properties.get("version") or self.properties.get("job") or self.number

    @property
    def labels(self) -> list[str]:
        """In the order of the probabilities; empty if there are too many to be written down."""
        return [label for label in self.properties.get("labels", "").split(SEPARATOR) if label]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` has written, and where.

    Attributes:
        folder: with `metrics.json` and `report.html`.
        metrics: the content of `metrics.json`.
    """

    folder: Path
    metrics: Json

    @classmethod
    def read(cls, folder: Path) -> "Evaluation | None":
        """Read it; None if there is none.

        Raises:
            ModelError: there is one of another version, or a damaged one.
        """
        content = _content(folder / METRICS_FILE, FORMAT_VERSION, "evaluate")
        return None if content is None else cls(folder, content)


def _content(path: Path, version: int, command: str) -> Json | None:
    """What a command has written, if it has, and in the version that is read here."""
    if not path.is_file():
        return None
    try:
        content: Json = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != version:
            raise ValueError(f"it is of version {content['version']}")
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path} cannot be used: {error}. Make it again with `python -m training {command}`."
        ) from error
    return content


def check_evaluation(evaluation: Evaluation | None, record: TrainingRecord) -> None:
    """Make sure that an evaluation is of this model, on the test split, and good enough.

    Raises:
        ModelError: it is not, or there is none.
        FloorMissed: the model is not as good as was asked for.
    """
    again = "Run `python -m training evaluate`"
    if evaluation is None:
        raise ModelError(f"The model has not been evaluated. {again}, or register it with --unevaluated, for a trial.")
    metrics = evaluation.metrics
    if metrics["data"]["split"] != "test":
        raise ModelError(f"The evaluation is of the {metrics['data']['split']} split, not of the test split. {again}.")
    if not _is_of(metrics["model"], record):
        raise ModelError(f"The evaluation in {evaluation.folder} is of another model. {again}.")
    if not metrics["floor"]["passed"]:
        raise FloorMissed(
            f"{metrics['accuracy']['count']} of {metrics['accuracy']['total']} test pictures are right, less than the "
            f"{100 * metrics['floor']['min_accuracy']:g}% that were asked for. It is not registered. Train "
            "a better one, or evaluate it with another --min-accuracy."
        )


@dataclass(frozen=True)
class Comparison:
    """What `compare` has written, and where.

    Attributes:
        folder: with `comparison.json` and `report.html`.
        content: of `comparison.json`.
    """

    folder: Path
    content: Json

    @classmethod
    def read(cls, folder: Path) -> "Comparison | None":
        """Read it; None if there is none.

        Raises:
            ModelError: there is one of another version, or a damaged one.
        """
        content = _content(folder / compare.JSON_FILE, compare.VERSION, "compare")
        return None if content is None else cls(folder, content)


def check_comparison(
    comparison: Comparison | None, record: TrainingRecord, approved: Package, evaluation: Evaluation, command: str
) -> None:
    """Make sure that a model was compared with the approved one, on the pictures that it was evaluated on.

    Args:
        comparison: if there is one.
        record: how the model was trained.
        approved: the version that it is to follow.
        evaluation: of the model.
        command: compares the two.

    Raises:
        ModelError: it was not.
        Worse: it was, and is worse.
    """
    again = f"Run `{command}`"
    than = f"version {approved.number}, {approved.version}, which is approved"
    if comparison is None:
        raise ModelError(
            f"The model has not been compared with {than}. {again}, or approve it without, with --uncompared."
        )
    a, b, data = (comparison.content[name] for name in ("a", "b", "data"))
    if not _is_same(b, record.head_sha256, record.archive_sha256):
        raise ModelError(f"The comparison in {comparison.folder} is of another model than this one as B. {again}.")
    if not _is_same(a, approved.properties.get("head_sha256"), approved.properties.get("archive_sha256")):
        raise ModelError(f"The comparison in {comparison.folder} is with another model than {than}. {again}.")
    if data["kind"] != Kind.TEST or data["sha256"] != evaluation.metrics["data"]["sha256"]:
        raise ModelError(
            f"The comparison in {comparison.folder} is on other pictures than the test split that the model was "
            f"evaluated on. {again}."
        )
    if comparison.content["verdict"]["verdict"] == Verdict.WORSE:
        raise Worse(
            f"The model is worse than {than}. It is not approved. Look at {comparison.folder / REPORT_FILE}, and train "
            "a better one."
        )


def _is_same(subject: Json, head_sha256: str | None, archive_sha256: str | None) -> bool:
    """Whether a model that was compared has these digests; those of the built-in algorithm have no `head.json`."""
    if subject["head_sha256"] is None or head_sha256 is None:
        return subject["archive_sha256"] is not None and subject["archive_sha256"] == archive_sha256
    return bool(subject["head_sha256"] == head_sha256)


def _is_of(subject: Json, record: TrainingRecord) -> bool:
    if subject["endpoint"] is None:
        return record.head_sha256 is not None and subject["head_sha256"] == record.head_sha256
    package = served_by(subject["endpoint"])
    return package is not None and package.properties.get("archive_sha256") == record.archive_sha256


def served_by(endpoint: str) -> Package | None:
    """The version that an endpoint serves; None if there is no such endpoint, or it serves none of ours."""
    sagemaker = aws.client("sagemaker")
    try:
        config = sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
        variant = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]
        container = sagemaker.describe_model(ModelName=variant["ModelName"]).get("PrimaryContainer", {})
    except ClientError as error:
        if aws.is_missing(error):
            return None
        raise
    return describe(container["ModelPackageName"]) if "ModelPackageName" in container else None


def find(archive_sha256: str) -> Package | None:
    """The newest version that was made of an archive."""
    return next((one for one in _all() if one.properties.get("archive_sha256") == archive_sha256), None)


def newest_approved() -> Package | None:
    """The approved version that was registered last; None if there is none."""
    return next(_all(ModelApprovalStatus=APPROVED), None)


def newest(*, approved: bool) -> Package:
    """The version that was registered last.

    Args:
        approved: whether only those count that may be deployed.

    Raises:
        ModelError: there is none.
    """
    found = newest_approved() if approved else next(_all(), None)
    if found is None:
        what = "approved model" if approved else "model"
        how = " and approve it with --approve" if approved else ""
        raise ModelError(
            f"There is no {what} in the registry of {aws.region()}. Register one with "
            f"`python -m training register`{how}."
        )
    return found


def numbered(number: str) -> Package:
    """A version by its number in the group.

    Raises:
        ModelError: there is none.
    """
    found = next((arn for arn in arns() if arn.endswith(f"/{number}")), None)
    if found is None:
        there = ", ".join(arn.rpartition("/")[2] for arn in arns()) or "none"
        raise ModelError(f"There is no version {number} of {GROUP} in {aws.region()}. There is: {there}.")
    return describe(found)


def fetch(package: Package, archive: Path) -> None:
    """Fetch the archive of a version from S3.

    Args:
        package: the version.
        archive: the file to write.

    Raises:
        ModelError: it is gone, or is not the one that was registered.
    """
    found = aws.client("sagemaker").describe_model_package(ModelPackageName=package.arn)
    url = found["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    place = Place.parse(url)
    try:
        aws.client("s3").download_file(
            place.bucket, place.prefix, str(archive), ExtraArgs={"ExpectedBucketOwner": aws.account()}
        )
    except ClientError as error:
        if aws.error_code(error) not in ("404", "NoSuchKey", "NoSuchBucket"):
            raise
        raise ModelError(f"The archive of version {package.number} of {GROUP} is no longer at {url}.") from error
    if model_archive.sha256(archive) != package.properties.get("archive_sha256"):
        raise ModelError(f"{url} is not the archive that was registered as version {package.number} of {GROUP}.")


def describe(arn: str) -> Package:
    """A version by its ARN.

    Raises:
        ModelError: there is none.
    """
    try:
        found = aws.client("sagemaker").describe_model_package(ModelPackageName=arn)
    except ClientError as error:
        if aws.is_missing(error) or aws.error_code(error) == "ValidationException":
            raise ModelError(f"There is no {arn} in the registry of {aws.region()}. Is the ARN right?") from error
        raise
    return Package(found["ModelPackageArn"], found["ModelApprovalStatus"], found.get("CustomerMetadataProperties", {}))


def _all(**options: str) -> Iterator[Package]:
    return map(describe, arns(**options))


def arns(**options: str) -> Iterator[str]:
    """The ARNs of all versions, the newest first; none where there is no group.

    Args:
        options: more of `ListModelPackages`, to see fewer.
    """
    pages = aws.client("sagemaker").get_paginator("list_model_packages")
    newest_first = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    try:
        for page in pages.paginate(ModelPackageGroupName=GROUP, **newest_first, **options):
            yield from (one["ModelPackageArn"] for one in page["ModelPackageSummaryList"])
    except ClientError as error:
        if not aws.is_missing(error):
            raise


def place_of(record: TrainingRecord, place: Place) -> Place:
    """Where a model's archive and evaluation go: models of other bytes go elsewhere."""
    return place / S3_MODELS / record.archive_sha256[:16]


def store(archive: Path, evaluation: Evaluation | None, target: Place) -> None:
    """Put a model's archive and its evaluation into S3, unless they are there.

    Args:
        archive: `model.tar.gz`.
        evaluation: if there is one.
        target: where they go.
    """
    upload.put_unless_there(archive, target / "model.tar.gz")
    for name in (METRICS_FILE, REPORT_FILE) if evaluation else ():
        upload.put_unless_there(evaluation.folder / name, target / name)  # type: ignore[union-attr]


def store_comparison(comparison: Comparison, target: Place) -> None:
    """Put a comparison into S3, beside the evaluation, unless it is there.

    Args:
        comparison: what `compare` has written.
        target: where the model's archive is.
    """
    for name, stored in ((compare.JSON_FILE, compare.JSON_FILE), (REPORT_FILE, COMPARISON_REPORT)):
        upload.put_unless_there(comparison.folder / name, target / stored)


def request(
    record: TrainingRecord,
    evaluation: Evaluation | None,
    target: Place,
    approval: str,
    image: str,
    comparison: Comparison | None = None,
) -> Json:
    """What `CreateModelPackage` is asked.

    Args:
        record: how the model was trained.
        evaluation: if there is one.
        target: where `store` has put them.
        approval: `APPROVED` or `PENDING`.
        image: URI of the container.
        comparison: with the approved version, if there is one.
    """
    container = {
        "Image": image,
        "ModelDataUrl": str(target / "model.tar.gz"),
        "Environment": ENVIRONMENTS[record.algorithm],
    }
    quality = {}
    if evaluation:
        source = {
            "ContentType": "application/json",
            "ContentDigest": f"sha256:{model_archive.sha256(evaluation.folder / METRICS_FILE)}",
            "S3Uri": str(target / METRICS_FILE),
        }
        quality = {"ModelMetrics": {"ModelQuality": {"Statistics": source}}}
    return {
        "ModelPackageGroupName": GROUP,
        "ModelPackageDescription": _description(record, evaluation),
        "ModelApprovalStatus": approval,
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["image/jpeg", "image/png", job.PICTURE_TYPE],
            "SupportedResponseMIMETypes": ["application/json"],
            "SupportedRealtimeInferenceInstanceTypes": list(INSTANCE_TYPES),
        },
        "Domain": "COMPUTER_VISION",
        "Task": "IMAGE_CLASSIFICATION",
        "CustomerMetadataProperties": properties(record, evaluation, comparison),
        **quality,
    }


def properties(
    record: TrainingRecord, evaluation: Evaluation | None, comparison: Comparison | None = None
) -> dict[str, str]:
    """What is known of a version; what is not known is left out."""
    found: dict[str, Any] = {
        "algorithm": record.algorithm,
        "labels": _joined(record.labels),
        "archive_sha256": record.archive_sha256,
        "head_sha256": record.head_sha256,
        "job": record.job,
    }
    if evaluation:
        metrics = evaluation.metrics
        found |= {
            "version": metrics["model"]["version"],
            "accuracy": f"{metrics['accuracy']['value']:.4f}",
            "accuracy_low": f"{metrics['accuracy']['low']:.4f}",
            "pictures": metrics["data"]["pictures"],
            "data_sha256": metrics["data"]["sha256"],
        }
    if comparison:
        content = comparison.content
        found |= {
            "compared_with": content["a"]["version"] or content["a"]["endpoint"],
            "verdict": content["verdict"]["verdict"],
        }
    return {name: str(value) for name, value in found.items() if value is not None}


def _joined(labels: Sequence[str]) -> str | None:
    text = SEPARATOR.join(labels)
    return text if len(text) <= MAX_VALUE else None


def _description(record: TrainingRecord, evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return f"{', '.join(record.labels)}; not evaluated."
    accuracy = evaluation.metrics["accuracy"]
    return (
        f"{', '.join(record.labels)}; right on {accuracy['count']} of {accuracy['total']} test pictures "
        f"({accuracy['low']:.1%} to {accuracy['high']:.1%})."
    )


def create(asked: Json) -> Package:
    """Register a version, and the group where it is the first."""
    sagemaker = aws.client("sagemaker")
    try:
        sagemaker.describe_model_package_group(ModelPackageGroupName=GROUP)
    except ClientError as error:
        if not aws.is_missing(error):
            raise
        sagemaker.create_model_package_group(
            ModelPackageGroupName=GROUP,
            ModelPackageGroupDescription="Models that tell vehicles apart in pictures.",
            Tags=aws.tags(),
        )
    return describe(sagemaker.create_model_package(**asked)["ModelPackageArn"])


def bring_up_to_date(package: Package, known: Mapping[str, str], approval: str) -> Package:
    """Write down what has become known of a version since, and whether it may be deployed.

    A version that is approved stays so, and what was known of it and is not told again stays known.

    Args:
        package: as it stands.
        known: its properties as they should be.
        approval: `APPROVED` or `PENDING`.
    """
    change: dict[str, Any] = {}
    if dict(package.properties) != {**package.properties, **known}:
        change["CustomerMetadataProperties"] = dict(known)
    if approval == APPROVED != package.approval:
        change["ModelApprovalStatus"] = APPROVED
    if not change:
        return package
    aws.client("sagemaker").update_model_package(ModelPackageArn=package.arn, **change)
    return describe(package.arn)
