"""Which attributes of an item a request to DynamoDB names: what the condition key `dynamodb:Attributes` looks at."""

import re
from collections.abc import Mapping
from typing import Any

EXPRESSIONS = ("UpdateExpression", "ConditionExpression", "ProjectionExpression")

WORD = re.compile(r"(?<![:#\w])(#?[A-Za-z_]\w*)\b(?!\s*\()")
"""A name in an expression, or what stands for one: no value, which has a colon, and no function."""

KEYWORDS = {"SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "BETWEEN", "IN"}
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html"""


def attributes(service: str, operation: str, params: Mapping[str, Any]) -> frozenset[str]:
    """The attributes that a request names, in its key or in an expression; none of other requests than `UpdateItem`.

    Args:
        service: as botocore calls it.
        operation: of it.
        params: the request.
    """
    if (service, operation) != ("dynamodb", "UpdateItem"):
        return frozenset()
    known = params.get("ExpressionAttributeNames", {})
    words = {word for name in EXPRESSIONS for word in WORD.findall(params.get(name, ""))}
    return frozenset({*params["Key"], *(known.get(word, word) for word in words if word.upper() not in KEYWORDS)})
