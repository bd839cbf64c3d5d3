"""AWS in this process: botocore checks every request as ever, then it is written down and answered with no network."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
from botocore.loaders import create_loader

LOADER = create_loader()
"""Shared, since reading SageMaker's model takes half a second."""

Json = dict[str, Any]
Answers = dict[str, Callable[[Json], Json]]


@dataclass
class Recorder:
    """What was asked, and what is answered.

    Attributes:
        answers: by operation, what makes an answer of a request's parameters; an empty one where nothing is said.
        sent: operations and parameters, in order.
        urls: where each of them would have gone.
    """

    answers: Answers = field(default_factory=dict)
    sent: list[tuple[str, Json]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def of(self, operation: str) -> list[Json]:
        """The parameters of every request for an operation."""
        return [params for name, params in self.sent if name == operation]

    def session(self, **options: Any) -> boto3.Session:
        """A session whose clients talk to this."""
        core = botocore.session.get_session()
        core.register_component("data_loader", LOADER)
        session = boto3.session.Session(botocore_session=core, **options)
        session.events.register("before-parameter-build", self._write_down)
        session.events.register("before-call", self._answer)
        return session

    def _write_down(self, params: Json, model: Any, **_: Any) -> None:
        self.sent.append((model.name, dict(params)))

    def _answer(self, model: Any, params: Json, **_: Any) -> Any:
        self.urls.append(params["url"])
        params = self.of(model.name)[-1]
        answer = self.answers[model.name](params) if model.name in self.answers else {}
        return SimpleNamespace(status_code=400 if "Error" in answer else 200), answer
