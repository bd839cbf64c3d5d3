"""Requests held against AWS's own description of its services."""

from collections.abc import Mapping
from typing import Any

from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.training.recorder import LOADER


def is_valid(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Fails where a request has what the operation does not take, or lacks what it needs."""
    model = ServiceModel(LOADER.load_service_model(service, "service-2"))
    shape = model.operation_model(operation).input_shape
    assert shape is not None
    report = ParamValidator().validate(dict(request), shape)
    assert not report.has_errors(), report.generate_report()
