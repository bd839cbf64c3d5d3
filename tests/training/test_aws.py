from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
)

from training import aws
from training.aws import Place
from training.errors import AccountError, InputError, TrainingError

PARTIAL = PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY")
NO_NETWORK = EndpointConnectionError(endpoint_url="https://sts.us-east-1.amazonaws.com")

TIMEOUT = ReadTimeoutError(endpoint_url="https://sts.us-east-1.amazonaws.com")


def refused(code: str, message: str = "because.", operation: str = "CreateModel") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [("s3://bucket", "bucket", ""), ("s3://bucket/", "bucket", ""), ("s3://bucket/a/b/", "bucket", "a/b")],
)
def test_a_place_is_a_bucket_and_a_prefix(url: str, bucket: str, prefix: str) -> None:
    place = Place.parse(url)
    assert (place.bucket, place.prefix) == (bucket, prefix)
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize("url", ["bucket/prefix", "https://bucket/prefix", "s3://", "s3:///prefix", ""])
def test_what_is_no_place_is_told_how_to_write_one(url: str) -> None:
    with pytest.raises(InputError, match="write it as s3://bucket/prefix"):
        Place.parse(url)


def test_a_name_below_a_place_needs_no_prefix() -> None:
    assert str(Place("bucket", "") / "data") == "s3://bucket/data"
    assert str(Place("bucket", "a") / "data" / "b.png") == "s3://bucket/a/data/b.png"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        pytest.param(NoCredentialsError(), AccountError, "aws configure", id="no credentials"),
        pytest.param(
            PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            AccountError,
            "AWS_PROFILE",
            id="half",
        ),
        pytest.param(NoRegionError(), AccountError, "AWS_DEFAULT_REGION", id="no region"),
        pytest.param(ProfileNotFound(profile="x"), AccountError, "Sign in again, or set AWS_PROFILE", id="no profile"),
        pytest.param(
            EndpointConnectionError(endpoint_url="https://x"), AccountError, "cannot be reached", id="no network"
        ),
        pytest.param(TIMEOUT, TrainingError, "broke off", id="timeout"),
        pytest.param(refused("AccessDeniedException"), AccountError, "does not allow CreateModel", id="no permission"),
        pytest.param(refused("ExpiredToken"), AccountError, "Sign in again", id="expired"),
        pytest.param(refused("ResourceLimitExceeded"), TrainingError, "refused CreateModel: ResourceLimit", id="quota"),
    ],
)
def test_what_aws_says_becomes_plain_words_with_what_to_do(error: Exception, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words) as caught, aws.plain_errors():
        raise error
    assert caught.type is kind


@pytest.mark.parametrize(
    ("error", "is_missing"),
    [
        (refused("ValidationException", 'Could not find endpoint "x".'), True),
        (refused("ValidationException", "Model package group x does not exist."), True),
        (refused("ResourceNotFound"), True),
        (refused("ValidationException", "1 validation error detected"), False),
        (refused("AccessDeniedException", "not found in policy"), False),
    ],
)
def test_only_what_is_not_there_counts_as_missing(error: ClientError, *, is_missing: bool) -> None:
    assert aws.is_missing(error) is is_missing


def test_tags_tell_whose_it_is_and_who_made_it() -> None:
    found: dict[str, Any] = {tag["Key"]: tag["Value"] for tag in aws.tags("dev")}
    assert found == {"project": "scones-unlimited", "stage": "dev", "made-by": "training"}
    assert [tag["Key"] for tag in aws.tags()] == ["project", "made-by"]
