"""The part of AWS's scikit-learn image that is on no package registry, for AWS's toolkits to run with.

Nothing of this runs in the tests' own process: `container.py` starts it in the toolkits' environment.

    python -m image serve          gunicorn and Flask, as the image serves an endpoint's one model
    python -m image multi-model    multi-model-server (Java), as the image serves many models; here it is given one

Written after what the image's own package does with the same toolkits:
https://github.com/aws/sagemaker-scikit-learn-container/tree/master/src/sagemaker_sklearn_container
"""

import collections
import collections.abc
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

collections.Mapping = collections.abc.Mapping  # type: ignore[attr-defined] # the image mends the toolkit's source so

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def main(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The WSGI application that gunicorn's workers run; loads the model at its first request."""
    return load()(environment, start_response)


@functools.cache
def load() -> Application:
    """The toolkit's web application around the four functions of the user's module."""
    from sagemaker_containers.beta.framework import env, transformer, worker  # type: ignore[import-not-found]

    name = env.ServingEnv().module_name
    module = importlib.import_module(name)
    functions = transformer.Transformer(module.model_fn, module.input_fn, module.predict_fn, module.output_fn)
    functions.initialize()
    loaded: Application = worker.Worker(functions.transform, module_name=name)
    return loaded


def serve() -> None:
    """The image's command `serve`."""
    from sagemaker_containers.cli import serve as toolkit  # type: ignore[import-not-found]

    toolkit.main()


def own_processes() -> Iterator[Any]:
    """This server and all that it has started, which are one process group."""
    import psutil  # type: ignore[import-untyped]

    return (process for process in psutil.process_iter() if os.getpgid(process.pid) == os.getpgrp())


def serve_by_java() -> None:
    """The inference toolkit in front of multi-model-server; its settings go below the base folder, not into /etc.

    The toolkit refuses to start where the machine runs another multi-model-server; a container sees its own processes
    alone, and so does it here.
    """
    from sagemaker_inference import model_server  # type: ignore[import-not-found]

    model_server.MMS_CONFIG_FILE = str(Path(os.environ["SAGEMAKER_BASE_DIR"]) / "multi-model-server.properties")
    model_server.psutil = SimpleNamespace(process_iter=own_processes)
    model_server.start_model_server()


if __name__ == "__main__":
    {"serve": serve, "multi-model": serve_by_java}[sys.argv[1]]()
