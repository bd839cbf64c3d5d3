"""What `chalice deploy` sends and moto refuses though AWS takes it, mended where it comes in.

These are seams like those of `local/emulator.py`: moto's own code does the work, on a request as moto would have it.
The deployer itself is the real one, in a process of its own, and knows nothing of this.

- S3 takes the names of a notification's filters in any case, and Chalice writes `Prefix`: moto wants `prefix`.
- API Gateway takes Swagger 2.0, which Chalice writes, without a description: moto wants OpenAPI 3 with one.
- API Gateway reads there who may call a route, and which bodies are no text: moto would let in everybody, and know of
  no such body.
"""

import re
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from moto.apigateway.models import APIGatewayBackend
from moto.s3.responses import S3Response

FILTER_NAME = re.compile(r"<Name>(prefix|suffix)</Name>", re.IGNORECASE)
"""How a request to S3 names what a filter looks at."""


def seams(stack: ExitStack) -> None:
    """Put them in place, until the stack is closed.

    Args:
        stack: takes them out again.
    """
    parse_notification = S3Response._notification_config_from_body  # noqa: SLF001 - a seam
    import_api, put_api = APIGatewayBackend.import_rest_api, APIGatewayBackend.put_rest_api

    def notification(response: Any) -> Any:
        body = response.body if isinstance(response.body, str) else response.body.decode()
        response.body = FILTER_NAME.sub(lambda found: f"<Name>{found[1].lower()}</Name>", body)
        return parse_notification(response)

    def importing(backend: Any, api_doc: dict[str, Any], fail_on_warnings: bool) -> Any:  # noqa: FBT001 - moto's
        return import_api(backend, as_openapi(api_doc), fail_on_warnings)

    def putting(backend: Any, function_id: str, api_doc: dict[str, Any], **options: Any) -> Any:
        api = put_api(backend, function_id, as_openapi(api_doc), **options)
        api.binaryMediaTypes = api_doc.get("x-amazon-apigateway-binary-media-types", [])
        known = api_doc.get("securityDefinitions", {})
        for path, methods in api_doc["paths"].items():
            made = api.get_resource_for_path(path).resource_methods
            for method in methods.keys() & {name.lower() for name in made}:
                made[method.upper()].authorization_type = _authorization(methods[method], known)
        return api

    stack.enter_context(patch.object(S3Response, "_notification_config_from_body", notification))
    stack.enter_context(patch.object(APIGatewayBackend, "import_rest_api", importing))
    stack.enter_context(patch.object(APIGatewayBackend, "put_rest_api", putting))


def as_openapi(document: dict[str, Any]) -> dict[str, Any]:
    """A description of an API with the head that moto wants; paths and methods are the same in both versions."""
    if "swagger" not in document:
        return document
    rest = {name: value for name, value in document.items() if name != "swagger"}
    return {"openapi": "3.0.1", **rest, "info": {"description": "", **document["info"]}}


AUTHORIZATION = {"awsSigv4": "AWS_IAM", "cognito_user_pools": "COGNITO_USER_POOLS", "custom": "CUSTOM"}
"""How a description names who may call a route, and how API Gateway does."""


def _authorization(operation: dict[str, Any], known: dict[str, Any]) -> str:
    """Who may call a route: everybody, unless the description names one of the ways that it knows of.

    Args:
        operation: the description of the route.
        known: the ways, by name.
    """
    kinds = (known[name].get("x-amazon-apigateway-authtype") for one in operation.get("security", []) for name in one)
    return next((AUTHORIZATION[kind] for kind in kinds if kind in AUTHORIZATION), "NONE")
