"""The clients that the functions share, and the errors that pass by themselves."""

import os
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from chalicelib import aws
from chalicelib.errors import StorageBusy
from local.stack import Stack
from tests.conftest import NOWHERE, Answer, FakeAws, hide_real_aws


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetItem")


def test_a_client_is_made_once(stack: Stack) -> None:
    assert aws.client("s3") is aws.client("s3")
    assert aws.client("s3") is not aws.client("dynamodb")


def test_a_client_gives_up_in_time_and_tries_as_often_as_it_is_told(stack: Stack) -> None:
    config = aws.client("sts", attempts=2, read_timeout=7).meta.config
    assert (config.connect_timeout, config.read_timeout) == (aws.CONNECT_TIMEOUT, 7)
    assert config.retries["total_max_attempts"] == 2
    assert config.retries["mode"] == "standard"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "s3.amazonaws.com"),
        ("eu-central-1", "s3.eu-central-1.amazonaws.com"),
        ("ap-southeast-4", "s3.ap-southeast-4.amazonaws.com"),
    ],
)
def test_links_to_objects_lead_to_the_region_of_the_bucket_and_are_signed_as_it_takes_them(
    monkeypatch: pytest.MonkeyPatch, region: str, host: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, region)
    s3 = aws.client.__wrapped__("s3")
    link = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": "scones-inbox", "Key": "inbox/a"}))
    form = urlsplit(s3.generate_presigned_post("scones-inbox", "inbox/a")["url"])
    assert link.netloc == form.netloc == f"scones-inbox.{host}"
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link.query


@pytest.mark.parametrize("function", ["serialize", "on_picture", "api_handler"])
def test_a_call_that_hangs_is_given_up_before_the_function_times_out(stack: Stack, function: str) -> None:
    timeout = stack.functions.config.scope("dev", function).lambda_timeout
    assert timeout > aws.CONNECT_TIMEOUT + aws.READ_TIMEOUT


@pytest.mark.parametrize("code", sorted(aws.THROTTLED))
def test_what_passes_by_itself_becomes_storage_busy_and_says_what_was_tried(code: str) -> None:
    with (
        pytest.raises(StorageBusy, match=f"Could not read the record: AWS answered {code}"),
        aws.storage("read the record"),
    ):
        raise client_error(code)


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "ResourceNotFoundException", "403", "404", ""])
def test_what_does_not_pass_goes_through(code: str) -> None:
    with pytest.raises(ClientError), aws.storage("read the record"):
        raise client_error(code)


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://x"),
        ConnectTimeoutError(endpoint_url="http://x"),
        ReadTimeoutError(endpoint_url="http://x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_answer_becomes_storage_busy(error: Exception) -> None:
    with pytest.raises(StorageBusy, match="Could not read the record") as raised, aws.storage("read the record"):
        raise error
    assert raised.value.__cause__ is error


def test_an_error_of_ours_goes_through() -> None:
    with pytest.raises(ZeroDivisionError), aws.storage("read the record"):
        raise ZeroDivisionError


@pytest.mark.parametrize(("response", "code"), [({"Error": {"Code": "X"}}, "X"), ({"Error": {}}, ""), ({}, "")])
def test_the_code_of_an_error_is_text_even_where_there_is_none(response: Any, code: str) -> None:
    assert aws.code(ClientError(response, "GetItem")) == code


def test_an_error_that_passes_is_tried_again_before_it_counts(fake_aws: FakeAws) -> None:
    fake_aws.says(Answer(503, b"<Error><Code>SlowDown</Code></Error>"), Answer(200, b"picture"))
    with aws.storage("read the picture"):
        assert aws.client("s3").get_object(Bucket="inbox", Key="x")["Body"].read() == b"picture"
    assert len(fake_aws.asked) == 2


def test_an_answer_without_a_code_is_told_by_its_status(fake_aws: FakeAws) -> None:
    fake_aws.says(Answer(503))
    with pytest.raises(StorageBusy, match="503"), aws.storage("look for the picture"):
        aws.client("s3").head_object(Bucket="inbox", Key="x")
    assert len(fake_aws.asked) == 3


def test_no_credentials_of_this_machine_reach_a_test() -> None:
    real = {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "real", "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com"}
    with patch.dict(os.environ, real | {"AWS_ACCESS_KEY_ID": "real"}):
        hide_real_aws()
        client = aws.client.__wrapped__("s3", attempts=1)
        assert not real.keys() & os.environ.keys()
        assert os.environ["AWS_ACCESS_KEY_ID"] == "none"
        with pytest.raises(EndpointConnectionError, match=NOWHERE):
            client.list_buckets()
