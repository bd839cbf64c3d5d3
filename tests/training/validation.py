"""Requests held against AWS's own description of its services: shapes, and what botocore leaves to AWS to refuse."""

from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import botocore.session
import regex
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.training.recorder import LOADER

WRONG_END = "${1,"
"""Some patterns end in a number of repetitions behind the `$`, which no engine understands."""


def is_valid(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Fails where a request has what the operation does not take, or lacks what it needs."""
    model = ServiceModel(LOADER.load_service_model(service, "service-2"))
    check(request, model.operation_model(operation))


def check(request: Mapping[str, Any], operation: Any) -> None:
    """Fails likewise.

    Args:
        request: parameters.
        operation: botocore's description of it.
    """
    report = ParamValidator().validate(dict(request), operation.input_shape)
    assert not report.has_errors(), report.generate_report()
    refused = list(_refused(operation.input_shape, request, operation.name))
    assert not refused, "\n".join(refused)


def checking_session() -> boto3.Session:
    """A session whose clients send nothing that AWS is known to refuse."""
    core = botocore.session.get_session()
    core.register_component("data_loader", LOADER)
    session = boto3.Session(botocore_session=core)
    session.events.register("before-parameter-build", _check)
    return session


def _check(params: Mapping[str, Any], model: Any, **_: Any) -> None:
    if model.input_shape:
        check(params, model)


def _refused(shape: Any, value: Any, path: str) -> Iterator[str]:
    """What AWS would refuse, in words."""
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from _refused(shape.members[name], member, f"{path}.{name}")
        return
    size = len(value) if hasattr(value, "__len__") else value
    if shape.type_name in ("integer", "long", "list", "map", "string") and not _is_within(shape.metadata, size):
        yield f"{path}: {size} is not from {shape.metadata.get('min')} to {shape.metadata.get('max')}"
    if shape.type_name == "list":
        for number, member in enumerate(value):
            yield from _refused(shape.member, member, f"{path}[{number}]")
    elif shape.type_name == "map":
        for key, member in value.items():
            yield from _refused(shape.key, key, f"{path}.{key}")
            yield from _refused(shape.value, member, f"{path}.{key}")
    elif shape.type_name == "string":
        yield from _refused_text(shape, value, path)


def _refused_text(shape: Any, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is none of {', '.join(shape.enum)}"
    pattern = shape.metadata.get("pattern", ".*").partition(WRONG_END)[0]
    try:
        matches = regex.fullmatch(pattern, value, regex.DOTALL)
    except regex.error:  # Java's, with halves of characters in it
        return
    if not matches:
        yield f"{path}: {value!r} does not match {pattern}"


def _is_within(bounds: Mapping[str, float], size: float) -> bool:
    return bounds.get("min", size) <= size <= bounds.get("max", size)
