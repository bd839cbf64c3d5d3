"""The description of the API is what the app does, and what docs/openapi.json says."""

import json
import re

from chalicelib import openapi
from chalicelib.decision import Reason
from local import ROOT
from local.stack import Stack

METHODS = {"get", "put", "post", "delete"}


def test_the_committed_description_is_what_the_code_makes() -> None:
    """`python -m local describe` writes it."""
    assert json.loads((ROOT / "docs" / "openapi.json").read_text()) == json.loads(json.dumps(openapi.document()))


def test_every_route_of_the_app_is_described_and_no_other(stack: Stack) -> None:
    routes = {(path, method.lower()) for path, methods in stack.functions.app.routes.items() for method in methods}
    assert {(path, method) for path, item in openapi.document()["paths"].items() for method in item} == routes


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    document = openapi.document()
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert used == set(document["components"]["schemas"])


def test_a_classification_with_no_code_is_as_described_as_one_with_each() -> None:
    code = openapi.document()["components"]["schemas"]["Classification"]["properties"]["reason_code"]
    assert (code["type"], code["enum"]) == (["string", "null"], [*Reason, None])


def test_every_operation_has_a_name_of_its_own_and_a_shape_for_its_errors() -> None:
    problem = {"$ref": "#/components/schemas/Problem"}
    operations = [one for item in openapi.document()["paths"].values() for one in item.values()]
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names))
    for one in operations:
        problems = {status: answer for status, answer in one["responses"].items() if status >= "400"}
        assert {"500", "503"} <= set(problems)
        for answer in problems.values():
            assert answer["content"] == {"application/problem+json": {"schema": problem}}


def test_everything_is_closed_by_default_and_with_a_pool_all_but_the_page() -> None:
    closed, pool = openapi.document(), openapi.document(user_pool=True)
    assert closed["security"] == [{"sigv4": []}]
    assert pool["security"] == [{"people": []}]
    for document, open_paths in ((closed, set()), (pool, {"/", "/assets/{name}"})):
        found = {path for path, item in document["paths"].items() for one in item.values() if one.get("security") == []}
        assert found == open_paths
