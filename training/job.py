"""Training jobs on SageMaker: what is asked for, in one request to `CreateTrainingJob`, made by SageMaker's own SDK.

The SDK's `ModelTrainer` uploads `training/source/` and the drivers that run it, and appends the time to the job's name.
It is imported here alone and when it is needed, since that takes seconds. Two things about it are kept from happening:
it sends no telemetry, and it refuses no role after asking IAM, since `CreateTrainingJob` checks the role anyway. It
still asks IAM whether the role may write to the bucket, and goes on whatever the answer, or without one.
"""

import hashlib
import json
import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import aws, fit, model_archive, prices, upload
from training.aws import Place
from training.errors import InputError, PicturesError
from training.layout import (
    APP,
    COMMITTED_MODEL,
    MANIFEST_FILE,
    S3_BACKBONE,
    S3_CHECKPOINTS,
    S3_DATA,
    S3_JOBS,
    Manifest,
)

HEAD = fit.ALGORITHM
BUILT_IN = "image-classification"
ALGORITHMS = (HEAD, BUILT_IN)

IMAGES = {HEAD: ("sklearn", "1.9-0"), BUILT_IN: ("image-classification", "1")}
"""Name and version of the container in the SDK's tables; `1.9-0` becomes the tag `1.9-0-cpu-py3`."""

INSTANCE_TYPES = {HEAD: "ml.m5.xlarge", BUILT_IN: "ml.g4dn.xlarge"}
"""By default. Ours is done in seconds on any processor."""

GPU_FAMILIES = ("ml.p2.", "ml.p3.", "ml.g4dn.", "ml.g5.")
"""Beginnings of the instance types that the built-in algorithm trains on:
https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html#IC-instances"""

VOLUME_GIB = 30
"""Disk for pictures and model, in GiB; the SDK's own default."""

SPOT_PATIENCE = 3600
"""Seconds that a job may wait for a spot instance, beside the time that it may run. Together they may be more than an
hour for algorithms that keep checkpoints alone, as both of ours do:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html"""

MIN_SECONDS = 120
"""Fewer seconds than this are not worth starting a container for."""

CHECKPOINTS = "/opt/ml/checkpoints"
"""Where SageMaker puts checkpoints back after an interruption:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html"""

BACKBONE_CHANNEL = "backbone"
PICTURE_TYPE = "application/x-image"

IMAGE_SIDE = 224
"""Side in px of what the built-in algorithm's network sees: what its ImageNet weights were trained with."""

RESIZED_SIDE = 256
"""Shorter side in px that pictures are brought to before the network sees a part of them; it has to be larger than
`IMAGE_SIDE`: https://docs.aws.amazon.com/sagemaker/latest/dg/IC-Hyperparameter.html"""

MAX_BATCH = 32
"""Pictures that the built-in algorithm learns from at once; never more than there are."""

SETTINGS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
"""The SDK's defaults file, as it would read it from the disk:
https://sagemaker.readthedocs.io/en/stable/overview.html#configuring-and-using-defaults-with-the-sagemaker-python-sdk"""


@dataclass(frozen=True)
class Plan:
    """A training job before it exists.

    Attributes:
        algorithm: one of `ALGORITHMS`.
        base_name: the job's name without the time; the same data, hyperparameters, code and container give the same.
        image: URI of the container.
        hyperparameters: what the algorithm is told.
        channels: names of the inputs, and where they lie.
        place: where data lies and results go.
        role: ARN of the role that SageMaker works as.
        stage: for the tags.
        instance_type: what it runs on.
        spot: whether it takes a spot instance, which is cheaper and may be interrupted.
        max_seconds: how long it may run.
    """

    algorithm: str
    base_name: str
    image: str
    hyperparameters: dict[str, str]
    channels: dict[str, Place]
    place: Place
    role: str
    stage: str
    instance_type: str
    spot: bool
    max_seconds: int


@dataclass(frozen=True)
class Limits:
    """What a job may run on, and for how long.

    Attributes:
        instance_type: None for the algorithm's own.
        spot: whether it takes a spot instance.
        max_minutes: how long it may run.
        max_cost: what it may cost in USD, at the price on demand; None for no limit.
    """

    instance_type: str | None = None
    spot: bool = True
    max_minutes: float = 60.0
    max_cost: float | None = None


def image_uri(algorithm: str, instance_type: str) -> str:
    """The container that trains and serves an algorithm's models in this region.

    Args:
        algorithm: one of `ALGORITHMS`.
        instance_type: what it shall run on.

    Raises:
        InputError: there is none in this region.
    """
    with _sdk():
        from sagemaker.core import image_uris  # type: ignore[import-untyped]
    framework, version = IMAGES[algorithm]
    try:
        return str(
            image_uris.retrieve(
                framework, aws.region(), version=version, instance_type=instance_type, image_scope="training"
            )
        )
    except ValueError as error:
        raise InputError(f"There is no container for {algorithm} in {aws.region()}: {error}") from error


def make_plan(
    algorithm: str, manifest: Manifest, place: Place, role: str, stage: str, limits: Limits, date: str | None = None
) -> Plan:
    """Decide everything about a job.

    Args:
        algorithm: one of `ALGORITHMS`.
        manifest: of the data set, which lies at `place/data`.
        place: where data lies and results go.
        role: ARN of the role that SageMaker works as.
        stage: for the tags.
        limits: what it may run on, and for how long.
        date: recorded in a model of ours as it is given.

    Raises:
        InputError: the instance type does not suit it, the money is not enough, or the price is not known.
        PicturesError: the built-in algorithm needs validation pictures, or a label cannot be used.
    """
    instance_type = limits.instance_type or INSTANCE_TYPES[algorithm]
    if algorithm == BUILT_IN and not instance_type.startswith(GPU_FAMILIES):
        raise InputError(
            f"The algorithm {BUILT_IN} trains on GPUs alone, and {instance_type} is none of "
            f"{', '.join(f'{family}*' for family in GPU_FAMILIES)}. Choose another --instance-type."
        )
    image = image_uri(algorithm, instance_type)
    told = fit.hyperparameters(manifest, date) if algorithm == HEAD else _built_in_hyperparameters(manifest)
    return Plan(
        algorithm=algorithm,
        base_name=f"{APP}-{_digest(algorithm, manifest, told, image)}",
        image=image,
        hyperparameters=told,
        channels=_channels(algorithm, manifest, place),
        place=place,
        role=role,
        stage=stage,
        instance_type=instance_type,
        spot=limits.spot,
        max_seconds=_max_seconds(limits, instance_type),
    )


def max_cost(plan: Plan) -> float | None:
    """What a job costs at most in USD, if it runs as long as it may on demand; None where the price is not known."""
    try:
        return _price(plan.instance_type) * plan.max_seconds / 3600
    except InputError:
        return None


def check_uploaded(data: Path, manifest: Manifest, place: Place, algorithm: str) -> None:
    """Make sure that S3 holds the data set's channels, and nothing else in them.

    Names and sizes are compared, and the manifest, which `upload` writes last and which holds every picture's digest.

    Args:
        data: the data set.
        manifest: its manifest.
        place: where it was uploaded to is `place/data`.
        algorithm: one of `ALGORITHMS`.

    Raises:
        InputError: it was not uploaded, or something else lies there.
        AccountError: there is no such bucket.
    """
    again = f"Run `python -m training upload {data} {place}/data --delete`."
    for name, channel in _channels(algorithm, manifest, place).items():
        if name == BACKBONE_CHANNEL:
            continue
        expected = {
            path.relative_to(data / name).as_posix(): path.stat().st_size
            for path in (data / name).rglob("*")
            if path.is_file()
        }
        found = _sizes(channel)
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        if wrong:
            raise InputError(
                f"{channel} does not hold what {data / name} holds: {len(wrong)} of {len(expected)} files are missing, "
                f"others or not of the data set, {wrong[0]} among them. {again}"
            )
    if _content(place / S3_DATA / MANIFEST_FILE) != (data / MANIFEST_FILE).read_bytes():
        raise InputError(f"{place}/data is of another data set than {data}, or was not uploaded to the end. {again}")


def upload_backbone(place: Place) -> bool:
    """Put the frozen backbone where jobs find it, unless it is there.

    Returns:
        Whether it had to be uploaded.
    """
    name = model_archive.BACKBONE
    return upload.put_unless_there(COMMITTED_MODEL / name, _backbone(place) / name)


def create(plan: Plan) -> str:
    """Start a training job.

    Returns:
        Its name.
    """
    with _sdk():
        trainer = _trainer(plan, _session(plan))
        trainer.train(wait=False, logs=False)
        return str(trainer._latest_training_job.training_job_name)  # noqa: SLF001 - the SDK's documentation reads it there


def _trainer(plan: Plan, session: Any) -> Any:
    from sagemaker.train import ModelTrainer, configs  # type: ignore[import-untyped]

    limits = {"max_wait_time_in_seconds": plan.max_seconds + SPOT_PATIENCE} if plan.spot else {}
    kind = {"content_type": PICTURE_TYPE} if plan.algorithm == BUILT_IN else {}
    own: dict[str, Any] = {}
    if plan.algorithm == HEAD:
        own = {
            "source_code": configs.SourceCode(
                source_dir=str(model_archive.SOURCE), entry_script="train.py", requirements="requirements.txt"
            )
        }
    trainer = ModelTrainer(
        sagemaker_session=session,
        role=plan.role,
        base_job_name=plan.base_name,
        training_image=plan.image,
        compute=configs.Compute(
            instance_type=plan.instance_type,
            instance_count=1,
            volume_size_in_gb=VOLUME_GIB,
            enable_managed_spot_training=plan.spot,
        ),
        stopping_condition=configs.StoppingCondition(max_runtime_in_seconds=plan.max_seconds, **limits),
        output_data_config=configs.OutputDataConfig(s3_output_path=str(_jobs(plan.place))),
        checkpoint_config=configs.CheckpointConfig(
            s3_uri=str(plan.place / S3_CHECKPOINTS / plan.base_name), local_path=CHECKPOINTS
        ),
        hyperparameters=plan.hyperparameters,
        input_data_config=[
            configs.InputData(channel_name=name, data_source=f"{channel}/", **kind)
            for name, channel in plan.channels.items()
        ],
        tags=[configs.Tag(key=tag["Key"], value=tag["Value"]) for tag in aws.tags(plan.stage)],
        **own,
    )
    if plan.algorithm == HEAD:
        trainer.with_metric_definitions(
            [configs.MetricDefinition(name=name, regex=regex) for name, regex in fit.METRIC_DEFINITIONS.items()]
        )
    return trainer


@contextmanager
def _sdk() -> Iterator[None]:
    """Hold the SDK back from what it does unasked, warnings about itself among it."""
    logging.getLogger("sagemaker").setLevel(logging.WARNING)
    before = os.environ.get("SAGEMAKER_VALIDATE_ROLE")
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ.pop("SAGEMAKER_VALIDATE_ROLE")
        if before is not None:
            os.environ["SAGEMAKER_VALIDATE_ROLE"] = before


def _session(plan: Plan) -> Any:
    import boto3
    from sagemaker.core.helper.session_helper import Session  # type: ignore[import-untyped]

    session = boto3.Session()
    session.events.register("provide-client-params.s3", _expect_owner)
    jobs = _jobs(plan.place)
    return Session(
        boto_session=session,
        default_bucket=jobs.bucket,
        default_bucket_prefix=jobs.prefix,
        sagemaker_config=SETTINGS,
    )


def _expect_owner(params: dict[str, Any], model: Any, **_: Any) -> None:
    if "ExpectedBucketOwner" in model.input_shape.members:
        params["ExpectedBucketOwner"] = aws.account()


def _channels(algorithm: str, manifest: Manifest, place: Place) -> dict[str, Place]:
    names = ["train"]
    if manifest.split("validation"):
        names.append("validation")
    if algorithm == BUILT_IN:
        names += [f"{name}_lst" for name in names]
    channels = {name: place / S3_DATA / name for name in names}
    return channels | ({BACKBONE_CHANNEL: _backbone(place)} if algorithm == HEAD else {})


def _built_in_hyperparameters(manifest: Manifest) -> dict[str, str]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/IC-Hyperparameter.html ."""
    samples = len(manifest.split("train"))
    if not manifest.split("validation"):
        raise PicturesError(
            f"The algorithm {BUILT_IN} needs validation pictures, and the data set has none. Make it again with "
            "`python -m training stage --validation-share 0.1`."
        )
    return {
        "num_classes": str(len(manifest.labels)),
        "num_training_samples": str(samples),
        "num_layers": "18",
        "use_pretrained_model": "1",
        "image_shape": f"3,{IMAGE_SIDE},{IMAGE_SIDE}",
        "resize": str(RESIZED_SIDE),
        "augmentation_type": "crop",
        "epochs": "30",
        "learning_rate": "0.001",
        "optimizer": "adam",
        "mini_batch_size": str(min(MAX_BATCH, samples)),
        "precision_dtype": "float32",
        "early_stopping": "True",
    }


def _digest(algorithm: str, manifest: Manifest, told: dict[str, str], image: str) -> str:
    code = {}
    if algorithm == HEAD:
        files = [*sorted(model_archive.SOURCE.glob("*.py")), model_archive.SOURCE / "requirements.txt"]
        code = {path.name: model_archive.sha256(path) for path in files}
        code |= {model_archive.BACKBONE: model_archive.sha256(COMMITTED_MODEL / model_archive.BACKBONE)}
    content = {
        "algorithm": algorithm,
        "code": code,
        "data": [manifest.digest("train"), manifest.digest("validation")],
        "hyperparameters": told,
        "image": image,
        "labels": manifest.labels,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _max_seconds(limits: Limits, instance_type: str) -> int:
    seconds = limits.max_minutes * 60
    if limits.max_cost is not None:
        seconds = min(seconds, limits.max_cost / _price(instance_type) * 3600)
    if seconds < MIN_SECONDS:
        raise InputError(
            f"That is {seconds:.0f} s on {instance_type}; a job needs at least {MIN_SECONDS} s. Allow more with "
            "--max-minutes or --max-cost, or choose a cheaper --instance-type."
        )
    return math.floor(seconds)


def _price(instance_type: str) -> float:
    return prices.hourly("training", instance_type, aws.region())


def _sizes(place: Place) -> dict[str, int]:
    """Sizes in bytes of the objects at a place, by their names below it."""
    beginning = f"{place.prefix}/"
    stored = upload.listed(place.bucket, beginning)
    return {key.removeprefix(beginning): one.size for key, one in stored.items()}


def _content(place: Place) -> bytes | None:
    s3 = aws.client("s3")
    try:
        answer = s3.get_object(Bucket=place.bucket, Key=place.prefix, ExpectedBucketOwner=aws.account())
    except s3.exceptions.NoSuchKey:
        return None
    with answer["Body"] as body:
        return bytes(body.read())


def _backbone(place: Place) -> Place:
    return place / S3_BACKBONE


def _jobs(place: Place) -> Place:
    return place / S3_JOBS
