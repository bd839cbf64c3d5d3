import pytest

from tests.attributes import attributes


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (
            {
                "UpdateExpression": "SET steps = list_append(if_not_exists(steps, :none), :step)",
                "ConditionExpression": "attempt = :attempt",
            },
            {"id", "steps", "attempt"},
        ),
        (
            {
                "UpdateExpression": "SET #status = :failed, updated_at = :now REMOVE sureness ADD reviews :one",
                "ConditionExpression": "attribute_exists(id) AND NOT #status IN (:pending)",
                "ExpressionAttributeNames": {"#status": "status"},
            },
            {"id", "status", "updated_at", "sureness", "reviews"},
        ),
        ({"UpdateExpression": "SET a=:b,c=a"}, {"id", "a", "c"}),
    ],
)
def test_every_attribute_is_found_that_an_update_names(request_: dict[str, str], named: set[str]) -> None:
    assert attributes("dynamodb", "UpdateItem", {"Key": {"id": {"S": "1"}}, **request_}) == named


def test_other_requests_name_none() -> None:
    assert attributes("dynamodb", "GetItem", {"Key": {"id": {"S": "1"}}}) == frozenset()
    assert attributes("s3", "GetObject", {"Key": "a"}) == frozenset()
