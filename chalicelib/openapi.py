"""The API, described for machines: OpenAPI 3.1, made of the records, errors and limits that the code itself has.

`docs/openapi.json` is what it makes, so that a change of the API shows as a change of that file.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from chalicelib import errors, inbox, overview, rest, store
from chalicelib.errors import SconesError
from chalicelib.limits import MAX_BYTES
from chalicelib.store import Status

Json = dict[str, Any]

IDENTITY: Json = {
    "name": "identity",
    "in": "path",
    "required": True,
    "description": "The id of a classification.",
    "schema": {"type": "string", "minLength": 1, "pattern": "^[0-9A-Za-z_-]+$"},
}

IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of the classification as it was seen.",
    "schema": {"type": "string", "minLength": 1, "pattern": '^"[0-9A-Za-z-]+"$'},
}

ETAG: Json = {
    "description": "Stands for the classification as it is now: for If-Match and If-None-Match.",
    "schema": {"type": "string"},
}
LOCATION: Json = {
    "description": "Where the classification is.",
    "schema": {"type": "string", "format": "uri-reference"},
}
RETRY_AFTER: Json = {"description": "Seconds after which it is worth asking again.", "schema": {"type": "integer"}}

SAME: Json = {"identity": "$response.body#/id"}
UNCHANGED: Json = {**SAME, "If-Match": "$response.header.ETag"}
LINKS: Json = {
    name: {"operationId": name, "parameters": parameters}
    for name, parameters in {
        "readClassification": SAME,
        "readPicture": SAME,
        "runAgain": SAME,
        "decide": UNCHANGED,
        "undecide": UNCHANGED,
    }.items()
}
"""What can be asked next about a classification that was answered."""

OPEN = ("/", "/assets/{name}")
"""What everybody may read where people sign in by the page: files of this project."""

REFUSED = (errors.StorageBusy, SconesError)
"""What every route may answer."""

UNREAD = (errors.RecordNotFound, *REFUSED)
"""What every route about one classification may answer."""


def document(*, user_pool: bool = False) -> Json:
    """The description.

    Args:
        user_pool: whether people of a user pool may use the API, rather than whoever has AWS credentials.
    """
    scheme, kind = ("people", "cognito_user_pools") if user_pool else ("sigv4", "awsSigv4")
    authorization = {"type": "apiKey", "name": "Authorization", "in": "header", "x-amazon-apigateway-authtype": kind}
    paths = _paths()
    for path in OPEN if user_pool else ():
        paths[path]["get"]["security"] = []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scones Unlimited",
            "version": "1",
            "description": "Bicycle or motorcycle? Pictures are classified, held back for a person, and reviewed.",
        },
        "servers": [{"url": "."}],
        "security": [{scheme: []}],
        "paths": paths,
        "components": {
            "securitySchemes": {scheme: authorization},
            "schemas": {
                "Classification": _classification(),
                "Review": _schema(store.Review),
                "Step": _schema(store.Step),
                "Upload": _schema(inbox.Upload),
                "Link": _schema(inbox.Link),
                "Overview": _overview(),
                "Problem": _problem(),
            },
        },
    }


def _paths() -> Json:
    classification = {"200": _told("As it stands.")}
    started = {
        "202": _told("On its way.", Location=LOCATION, **{"Retry-After": RETRY_AFTER}),
        "200": _told("At its end.", Location=LOCATION),
    }
    return {
        "/": {"get": _operation("openPage", "The page for people.", {"200": _text("The page.", "text/html")})},
        "/assets/{name}": {
            "get": _operation(
                "readAsset",
                "A file of the page.",
                {"200": _text("The file.", "text/css", "text/javascript", "image/svg+xml")},
                (errors.PageNotFound, *REFUSED),
                parameters=[
                    {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                ],
            )
        },
        "/health": {
            "get": _operation(
                "health", "Whether the table can be read.", {"200": _answer("It can.", {"const": {"status": "ok"}})}
            )
        },
        "/openapi.json": {
            "get": _operation("describe", "This document.", {"200": _answer("The document.", {"type": "object"})})
        },
        "/uploads": {
            "post": _operation(
                "allowUpload",
                f"Leave to upload a picture of up to {MAX_BYTES} bytes straight to S3.",
                {"200": _answer("How to post the form. Ask for its classification afterwards.", "Upload")},
                (errors.InvalidRequest, errors.BodyNotTaken, *REFUSED),
                body={rest.JSON: {"schema": _object(content_type={"enum": list(rest.PICTURE_TYPES)})}},
            )
        },
        "/classifications": {
            "post": _operation(
                "createClassification",
                f"Classify a picture: one of up to {rest.MAX_POSTED_BYTES} bytes, or one that is in the inbox.",
                started,
                (
                    errors.InvalidRequest,
                    errors.IdempotencyKeyReused,
                    errors.ImageNotFound,
                    errors.BodyNotTaken,
                    errors.BodyTooLarge,
                    *REFUSED,
                ),
                parameters=[
                    _header("Prefer", f"`wait=N` waits for the end, up to {rest.MAX_WAIT} seconds (RFC 7240)."),
                    _header(
                        "Idempotency-Key",
                        "Your own name for an upload: sent again with the same picture, it is the same classification.",
                        minLength=1,
                        maxLength=rest.MAX_IDEMPOTENCY_KEY,
                        pattern="^[!-~]+$",
                    ),
                ],
                body=_pictures()
                | {
                    rest.JSON: {
                        "schema": _object(
                            key={"type": "string", "pattern": f"^{inbox.PREFIX}[^\\x00-\\x1f]+$", "maxLength": 250},
                            version_id={"type": ["string", "null"], "minLength": 1, "maxLength": 250},
                            optional=["version_id"],
                        )
                    }
                },
            ),
            "get": _operation(
                "listClassifications",
                "Classifications, a page at a time: REVIEW the least sure first, all others the newest first.",
                {
                    "200": _answer(
                        "A page.",
                        _object(
                            classifications={"type": "array", "items": _reference("Classification")},
                            next={"type": ["string", "null"], "description": "`after` of the next page."},
                        ),
                    )
                },
                (errors.InvalidRequest, *REFUSED),
                parameters=[
                    _query("status", {"enum": list(Status)}),
                    _query("limit", {"type": "integer", "minimum": 1, "maximum": rest.MAX_PAGE}),
                    _query("after", {"type": "string", "minLength": 1}),
                ],
            ),
        },
        "/classifications/{identity}": {
            "get": _operation(
                "readClassification",
                "A classification.",
                classification | {"304": {"description": "As you know it.", "headers": {"ETag": ETAG}}},
                UNREAD,
                parameters=[IDENTITY, _header("If-None-Match", "The ETag of the classification as you know it.")],
            )
        },
        "/classifications/{identity}/picture": {
            "get": _operation(
                "readPicture",
                "Where the picture is: a redirect, or JSON for those who accept that.",
                {
                    "200": _answer("A link that holds for some minutes.", "Link"),
                    "302": {"description": "The picture itself.", "headers": {"Location": LOCATION}},
                },
                (errors.ImageNotFound, errors.InvalidRequest, *UNREAD),
                parameters=[IDENTITY],
            )
        },
        "/classifications/{identity}/review": {
            "put": _operation(
                "decide",
                "Decide about a picture that was held back.",
                classification,
                (
                    errors.NotNow,
                    errors.RecordChanged,
                    errors.EtagMissing,
                    errors.InvalidRequest,
                    *UNREAD,
                ),
                parameters=[IDENTITY, IF_MATCH],
                body={
                    rest.JSON: {
                        "schema": _object(
                            label={
                                "type": "string",
                                "minLength": 1,
                                "description": f"One of the classification's labels, or `{store.NEITHER}`.",
                            },
                            note={"type": ["string", "null"], "maxLength": rest.MAX_NOTE},
                            optional=["note"],
                        )
                    }
                },
            ),
            "delete": _operation(
                "undecide",
                "Take back what a person decided.",
                classification,
                (errors.NotNow, errors.RecordChanged, errors.EtagMissing, *UNREAD),
                parameters=[IDENTITY, IF_MATCH],
            ),
        },
        "/classifications/{identity}/attempts": {
            "post": _operation(
                "runAgain",
                "Classify the same picture once more.",
                started,
                (errors.NotNow, errors.ImageNotFound, errors.InvalidRequest, *UNREAD),
                parameters=[IDENTITY],
            )
        },
        "/overview": {
            "get": _operation(
                "readOverview",
                "What became of the pictures of the last hours, in figures.",
                {"200": _answer("The figures.", "Overview")},
                (errors.InvalidRequest, *REFUSED),
                parameters=[_query("hours", {"type": "integer", "minimum": 1, "maximum": rest.MAX_HOURS})],
            )
        },
    }


def _operation(
    name: str,
    summary: str,
    answers: Mapping[str, Json],
    refused: Sequence[type[SconesError]] = REFUSED,
    parameters: Sequence[Json] = (),
    body: Json | None = None,
) -> Json:
    by_status: dict[HTTPStatus, list[str]] = defaultdict(list)
    for error in refused:
        by_status[error.status].append(error.title)
    problems = {
        str(int(status)): {
            "description": "; ".join(dict.fromkeys(titles)) + ".",
            "content": {"application/problem+json": {"schema": _reference("Problem")}},
        }
        | ({"headers": {"Retry-After": RETRY_AFTER}} if status is HTTPStatus.SERVICE_UNAVAILABLE else {})
        for status, titles in sorted(by_status.items())
    }
    return (
        {"operationId": name, "summary": summary}
        | ({"parameters": list(parameters)} if parameters else {})
        | ({"requestBody": {"required": True, "content": body}} if body else {})
        | {"responses": {**answers, **problems}}
    )


def _answer(description: str, schema: str | Json, **headers: Json) -> Json:
    content = {rest.JSON: {"schema": _reference(schema) if isinstance(schema, str) else schema}}
    return {"description": description, "content": content} | ({"headers": headers} if headers else {})


def _told(description: str, **headers: Json) -> Json:
    """The answer with a classification."""
    return _answer(description, "Classification", ETag=ETAG, **headers) | {"links": LINKS}


def _text(description: str, *media_types: str) -> Json:
    return {"description": description, "content": {one: {"schema": {"type": "string"}} for one in media_types}}


def _pictures() -> Json:
    return {media_type: {"schema": {}} for media_type in rest.PICTURE_TYPES}


def _header(name: str, description: str, **schema: Any) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "schema": schema}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(*, optional: Sequence[str] = (), **properties: Json) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _classification() -> Json:
    schema = _schema(store.Record)
    schema["properties"]["execution"] = {"type": "string", "description": "the ARN of the workflow's execution."}
    schema["required"].append("execution")
    return schema


def _overview() -> Json:
    count: Json = {"type": "integer", "minimum": 0}
    counts: Json = {"type": "object", "additionalProperties": count}
    bins: Json = {"type": "array", "items": count, "minItems": overview.BINS, "maxItems": overview.BINS}
    return _object(
        since={"type": "string", "format": "date-time"},
        hours=count,
        waiting=count | {"description": "Pictures that wait for a person, in all."},
        counts=counts | {"description": "Pictures by status."},
        labels=counts | {"description": "Those accepted, by label."},
        reviewed=counts | {"description": "Those reviewed, by what the person decided."},
        reasons=counts | {"description": "Those held back, by `reason_code`, reviewed since or not."},
        histogram=_object(bins={"const": overview.BINS}, accepted=bins, held_back=bins),
        complete={"type": "boolean", "description": f"Whether no more than {overview.MAX_RECORDS} were to be counted."},
    )


def _problem() -> Json:
    return _object(
        type={"type": "string", "format": "uri-reference"},
        title={"type": "string"},
        status={"type": "integer"},
        detail={"type": "string", "description": "A sentence for a person: what happened, and what to do."},
    )


def _schema(kind: type) -> Json:
    """A dataclass as JSON: its fields, described as in its docstring."""
    hints = get_type_hints(kind)
    text = re.sub(r"\n {12,}", " ", kind.__doc__ or "").replace("None", "null")
    described = dict(re.findall(r"^ {8}(\w+): (.*)$", text, re.MULTILINE))
    properties = {one.name: {"description": described[one.name], **_type(hints[one.name])} for one in fields(kind)}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _type(hint: Any) -> Json:
    if get_origin(hint) is UnionType:
        (some,) = (one for one in get_args(hint) if one is not NoneType)
        schema = _type(some)
        if "$ref" in schema:
            return {"anyOf": [schema, {"type": "null"}]}
        nullable = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
        return schema | {"type": [schema["type"], "null"]} | nullable
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _type(get_args(hint)[0])}
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": _type(get_args(hint)[1])}
    if hint in (store.Review, store.Step):
        return _reference(hint.__name__)
    if issubclass(hint, StrEnum):
        return {"type": "string", "enum": list(hint)}
    return {"type": {str: "string", int: "integer", float: "number"}[hint]}
