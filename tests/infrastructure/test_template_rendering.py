import json
import re
from pathlib import Path

import boto3
import pytest
from moto.cloudformation.models import Stack

from infrastructure import template as rendering
from infrastructure.errors import InfrastructureError
from infrastructure.names import Names
from local import ROOT
from tests.infrastructure.conftest import forget_clients
from tests.infrastructure.templates import write
from tests.training.recorder import Recorder

NAMES = Names("dev", "123456789012", "us-east-1")


def test_the_template_is_sent_with_the_state_machines_in_it() -> None:
    body = rendering.render()
    definitions = re.findall(r"^ *DefinitionString: (.*)$", body, re.MULTILINE)
    assert json.loads((ROOT / "statemachine.json").read_text()) in [json.loads(json.loads(one)) for one in definitions]
    assert "DefinitionS3Location" not in body
    assert len(definitions) == rendering.TEMPLATE.read_text().count("DefinitionS3Location:")
    assert len(body.encode()) <= rendering.MAX_TEMPLATE_BYTES


def test_the_definitions_are_plain_ascii_which_no_encoding_can_spoil(template: Path, tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text('{"Cause": "… \\" ${Table}"}', encoding="utf-8")
    write(template, "  Machine:\n    Properties:\n      DefinitionS3Location: machine.json\n")
    body = rendering.render()
    assert body.isascii()
    assert body.endswith('      DefinitionString: "{\\"Cause\\":\\"\\\\u2026 \\\\\\" ${Table}\\"}"\n')


def test_a_template_that_is_too_large_is_told_before_aws_is_asked(template: Path) -> None:
    write(template, f"  X: {'x' * rendering.MAX_TEMPLATE_BYTES}\n")
    with pytest.raises(InfrastructureError, match="CloudFormation takes 1,000,000"):
        rendering.render()


def test_all_that_is_left_out_are_comments() -> None:
    whole = rendering.TEMPLATE.read_text()
    plain = rendering.COMMENT.sub("", whole)
    assert Stack.parse_template(plain) == Stack.parse_template(whole)
    assert not re.search(r"^ *#", plain, re.MULTILINE)


def test_a_small_template_goes_along_with_the_request(account: dict[str, str]) -> None:
    with rendering.handed_over(NAMES, "x" * rendering.MAX_BODY_BYTES) as given:
        assert given == {"TemplateBody": "x" * rendering.MAX_BODY_BYTES}
        assert not boto3.client("s3").list_buckets()["Buckets"]


def test_a_large_template_lies_in_a_bucket_for_as_long_as_it_is_read(account: dict[str, str]) -> None:
    body = "…" + "x" * rendering.MAX_BODY_BYTES
    with rendering.handed_over(NAMES, body) as given:
        (bucket,) = [one["Name"] for one in boto3.client("s3").list_buckets()["Buckets"]]
        assert bucket.startswith("scones-unlimited-dev-template-")
        assert given == {"TemplateURL": f"https://{bucket}.s3.us-east-1.amazonaws.com/template.yaml"}
        assert boto3.client("s3").get_object(Bucket=bucket, Key="template.yaml")["Body"].read().decode() == body
    assert not boto3.client("s3").list_buckets()["Buckets"]


def test_the_bucket_goes_whatever_happens_meanwhile(account: dict[str, str]) -> None:
    with pytest.raises(KeyboardInterrupt), rendering.handed_over(NAMES, "x" * (rendering.MAX_BODY_BYTES + 1)):
        raise KeyboardInterrupt
    assert not boto3.client("s3").list_buckets()["Buckets"]


@pytest.mark.parametrize(
    ("region", "place"), [("us-east-1", None), ("eu-central-1", {"LocationConstraint": "eu-central-1"})]
)
def test_the_bucket_is_made_where_the_stack_is(
    monkeypatch: pytest.MonkeyPatch, region: str, place: dict[str, str] | None
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", recorder.session(region_name=region))
    forget_clients()
    with rendering.handed_over(Names("dev", "123456789012", region), "x" * (rendering.MAX_BODY_BYTES + 1)) as given:
        assert f".s3.{region}.amazonaws.com/" in given["TemplateURL"]
    forget_clients()
    assert recorder.of("CreateBucket")[0].get("CreateBucketConfiguration") == place
    assert [name for name, _ in recorder.sent] == ["CreateBucket", "PutObject", "DeleteObject", "DeleteBucket"]
