"""Endpoints on the embedded SageMaker: made, asked, updated, rolled back, captured and deleted, through boto3 alone."""

import base64
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from chalicelib import workflow
from local import ROOT, hosting
from local.stack import Stack
from tests.conftest import wait_for
from tests.local.deployments import BICYCLE, IMAGE, INSTANCES, PLACE, SERVERLESS, VARIANT, Deployments, refused, tar
from tests.local.deployments import version as version_of
from training.source import inference

INVALID = "ValidationException"


def canary(share: int = 50, seconds: int = 60, alarms: tuple[str, ...] = ()) -> dict[str, Any]:
    routing = {
        "Type": "CANARY",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": share},
        "WaitIntervalInSeconds": seconds,
    }
    rollback = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}} if alarms else {}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}, **rollback}


@pytest.fixture
def alarm(stack: Stack) -> Any:
    cloudwatch = boto3.client("cloudwatch")
    name = "too-many-errors"
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    yield name
    cloudwatch.delete_alarms(AlarmNames=[name])


def set_alarm(name: str, state: str) -> None:
    boto3.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test")


class TestCreate:
    def test_an_endpoint_comes_up_in_the_background_and_answers_what_the_model_answers_here(
        self, deployments: Deployments, old_model: str
    ) -> None:
        config = deployments.config(deployments.model(old_model))
        name = deployments.endpoint(config)
        assert deployments.describe(name)["EndpointStatus"] == "Creating"
        described = deployments.settled(name)
        assert described["EndpointStatus"] == "InService"
        assert described["EndpointConfigName"] == config
        assert described["ProductionVariants"] == [
            {"VariantName": VARIANT, "CurrentInstanceCount": 2, "DesiredInstanceCount": 2}
        ]
        assert "FailureReason" not in described
        assert "DataCaptureConfig" not in described
        (here,) = inference.classify([inference.decode(BICYCLE)], inference.model_fn(str(ROOT / "model")))
        assert deployments.ask(name) == {**here, "model": "old"}

    def test_the_model_may_be_that_of_a_registered_package(self, deployments: Deployments, new_model: str) -> None:
        sagemaker = deployments.sagemaker
        sagemaker.create_model_package_group(ModelPackageGroupName="vehicles")
        arn = sagemaker.create_model_package(
            ModelPackageGroupName="vehicles",
            ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": new_model, "Environment": PLACE}],
                "SupportedContentTypes": ["image/png"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )["ModelPackageArn"]
        name = deployments.in_service(deployments.config(deployments.model_of({"ModelPackageName": arn})))
        assert deployments.ask(name)["model"] == "new"
        sagemaker.delete_model_package(ModelPackageName=arn)
        sagemaker.delete_model_package_group(ModelPackageGroupName="vehicles")
        assert deployments.ask(name)["model"] == "new", "it is in service already"

    def test_the_workflow_asks_what_is_deployed_under_the_stages_name_and_its_own_model_again_afterwards(
        self, deployments: Deployments, new_model: str, stack: Stack
    ) -> None:
        def model_that_classifies(key: str) -> str | None:
            return wait_for(stack, workflow.identity(stack.drop(key, BICYCLE))).model

        name = stack.settings.endpoint_name
        own = version_of(ROOT / "model")
        assert refused(deployments.describe, name=name)[0] == INVALID
        assert model_that_classifies("hosting/before.png") == own
        deployments.in_service(deployments.config(deployments.model(new_model)), name)
        assert model_that_classifies("hosting/deployed.png") == "new"
        deployments.sagemaker.delete_endpoint(EndpointName=name)
        deployments.gone(name)
        assert model_that_classifies("hosting/after.png") == own

    def test_a_serverless_endpoint_takes_4_mb_and_no_more(self, deployments: Deployments, old_model: str) -> None:
        name = deployments.in_service(deployments.config(deployments.model(old_model), **SERVERLESS))
        assert deployments.describe(name)["ProductionVariants"][0]["CurrentServerlessConfig"] == {
            "MemorySizeInMB": 2048,
            "MaxConcurrency": 2,
        }
        assert deployments.ask(name)["model"] == "old"
        code, message = refused(deployments.ask, name=name, body=bytes(4_000_001))
        assert (code, "too long" in message) == ("ValidationError", True)
        with pytest.raises(ClientError, match="ModelError"):
            deployments.ask(name, bytes(4_000_000))


class TestFailure:
    @pytest.mark.parametrize(
        ("reason", "changes", "container"),
        [
            ("runs on AWS only", {}, {"image": IMAGE.replace("sagemaker-scikit-learn", "image-classification")}),
            ("SAGEMAKER_PROGRAM", {}, {"environment": {}}),
            ("holds no readable model", {"head.json": b"{"}, {}),
            ("holds no readable model", {"head.json": None}, {}),
            ("holds no code/inference.py", {"code/inference.py": None}, {}),
            ("does not define model_fn, input_fn", {"code/inference.py": b"answer = 42\n"}, {}),
            ("SyntaxError", {"code/inference.py": b"def model_fn(:\n"}, {}),
            ("Failed to extract model data", {"../outside.txt": b"hostile"}, {}),
            ("Failed to extract model data", {"code/../../outside.txt": b"hostile"}, {}),
        ],
    )
    def test_an_endpoint_whose_model_does_not_come_up_fails_and_says_why(
        self,
        deployments: Deployments,
        model_files: dict[str, bytes],
        reason: str,
        changes: dict[str, bytes | None],
        container: dict[str, Any],
    ) -> None:
        files = {name: content for name, content in {**model_files, **changes}.items() if content is not None}
        name = deployments.endpoint(deployments.config(deployments.model(deployments.upload(tar(files)), **container)))
        described = deployments.settled(name)
        assert described["EndpointStatus"] == "Failed"
        assert reason in described["FailureReason"]
        assert refused(deployments.ask, name=name)[0] == "ValidationError"

    def test_an_archive_that_is_none_is_said_so(self, deployments: Deployments) -> None:
        name = deployments.endpoint(deployments.config(deployments.model(deployments.upload(b"no archive"))))
        assert "Failed to extract model data" in deployments.settled(name)["FailureReason"]

    def test_an_archive_that_was_never_there_is_refused_and_one_that_is_gone_fails(
        self, deployments: Deployments, model_files: dict[str, bytes]
    ) -> None:
        code, message = refused(deployments.model, url=f"s3://{deployments.stack.training_bucket}/nowhere.tar.gz")
        assert (code, "Could not find model data" in message) == (INVALID, True)
        url = deployments.upload(tar(model_files))
        config = deployments.config(deployments.model(url))
        bucket, _, key = url.removeprefix("s3://").partition("/")
        deployments.s3.delete_object(Bucket=bucket, Key=key)
        described = deployments.settled(deployments.endpoint(config))
        assert f"Failed to download model data from {url}: NoSuchKey" in described["FailureReason"]

    def test_an_archive_that_would_fill_the_disk_is_not_unpacked(
        self, deployments: Deployments, model_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hosting, "MAX_MODEL", 1000)
        name = deployments.endpoint(deployments.config(deployments.model(deployments.upload(tar(model_files)))))
        assert "unpacks to more than 1000 bytes" in deployments.settled(name)["FailureReason"]

    def test_a_failed_endpoint_can_be_deleted_and_nothing_else(self, deployments: Deployments, old_model: str) -> None:
        good = deployments.config(deployments.model(old_model))
        name = deployments.endpoint(deployments.config(deployments.model(old_model, environment={})))
        assert deployments.settled(name)["EndpointStatus"] == "Failed"
        update = deployments.sagemaker.update_endpoint
        assert refused(update, EndpointName=name, EndpointConfigName=good)[0] == INVALID
        deployments.sagemaker.delete_endpoint(EndpointName=name)
        deployments.gone(name)
        deployments.in_service(good, name)


class TestUpdate:
    def test_another_model_takes_over(self, deployments: Deployments, old_model: str, new_model: str) -> None:
        name = deployments.in_service(deployments.config(deployments.model(old_model)))
        config = deployments.config(deployments.model(new_model), capture=deployments.capture("taken-over"))
        deployments.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
        described = deployments.describe(name)
        assert described["EndpointStatus"] == "Updating"
        assert described["PendingDeploymentSummary"]["EndpointConfigName"] == config
        described = deployments.settled(name)
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", config)
        assert described["DataCaptureConfig"]["CaptureStatus"] == "Started"
        assert "PendingDeploymentSummary" not in described
        assert deployments.ask(name)["model"] == "new"

    def test_a_canary_answers_its_share_while_it_is_watched_and_everything_afterwards(
        self, deployments: Deployments, old_model: str, new_model: str, alarm: str
    ) -> None:
        name = deployments.in_service(deployments.config(deployments.model(old_model)))
        config = deployments.config(deployments.model(new_model))
        wanted = canary(50, alarms=(alarm,))
        deployments.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, DeploymentConfig=wanted)
        answers: Counter[str] = Counter()
        while deployments.describe(name)["EndpointStatus"] == "Updating":
            answers[deployments.ask(name)["model"]] += 1
        assert set(answers) == {"old", "new"}
        described = deployments.settled(name)
        assert described["EndpointConfigName"] == config
        assert described["LastDeploymentConfig"] == wanted
        assert {deployments.ask(name)["model"] for _ in range(10)} == {"new"}

    def test_an_alarm_that_goes_off_rolls_an_update_back(
        self,
        deployments: Deployments,
        old_model: str,
        new_model: str,
        alarm: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(hosting, "MAX_BAKING", 30.0)
        old = deployments.config(deployments.model(old_model))
        name = deployments.in_service(old)
        new = deployments.config(deployments.model(new_model))
        deployments.sagemaker.update_endpoint(
            EndpointName=name, EndpointConfigName=new, DeploymentConfig=canary(alarms=(alarm,))
        )
        while deployments.ask(name)["model"] == "old":
            assert deployments.describe(name)["EndpointStatus"] == "Updating"
        set_alarm(alarm, "ALARM")
        described = deployments.settled(name)
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", old)
        assert alarm in described["FailureReason"]
        assert {deployments.ask(name)["model"] for _ in range(10)} == {"old"}
        set_alarm(alarm, "OK")
        monkeypatch.undo()
        deployments.sagemaker.update_endpoint(
            EndpointName=name, EndpointConfigName=new, DeploymentConfig=canary(alarms=(alarm,))
        )
        described = deployments.settled(name)
        assert described["EndpointConfigName"] == new
        assert "FailureReason" not in described

    def test_an_update_whose_model_does_not_come_up_leaves_the_one_in_service(
        self, deployments: Deployments, old_model: str
    ) -> None:
        old = deployments.config(deployments.model(old_model))
        name = deployments.in_service(old)
        broken = deployments.config(deployments.model(old_model, environment={}))
        deployments.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=broken)
        described = deployments.settled(name)
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", old)
        assert "SAGEMAKER_PROGRAM" in described["FailureReason"]
        assert deployments.ask(name)["model"] == "old"

    @pytest.mark.parametrize(("keep", "count"), [(True, 5), (False, 2)])
    def test_the_number_of_instances_is_kept_where_that_is_asked_for(
        self,
        deployments: Deployments,
        old_model: str,
        keep: bool,  # noqa: FBT001
        count: int,
    ) -> None:
        model = deployments.model(old_model)
        name = deployments.in_service(deployments.config(model, InstanceType="ml.m5.large", InitialInstanceCount=5))
        deployments.sagemaker.update_endpoint(
            EndpointName=name, EndpointConfigName=deployments.config(model), RetainAllVariantProperties=keep
        )
        assert deployments.settled(name)["ProductionVariants"][0]["CurrentInstanceCount"] == count

    @pytest.mark.parametrize(
        ("words", "new", "deployment"),
        [
            ("at most 50%", {}, canary(share=51)),
            ("variant names of the old", {"variant": "Another"}, canary()),
            ("Could not find alarm", {}, canary(alarms=("nobody-made-it",))),
            ("not supported for serverless", SERVERLESS, canary()),
        ],
    )
    def test_a_deployment_that_aws_would_not_carry_out_is_refused(
        self, deployments: Deployments, old_model: str, words: str, new: dict[str, Any], deployment: dict[str, Any]
    ) -> None:
        model = deployments.model(old_model)
        name = deployments.in_service(deployments.config(model))
        code, message = refused(
            deployments.sagemaker.update_endpoint,
            EndpointName=name,
            EndpointConfigName=deployments.config(model, **new),
            DeploymentConfig=deployment,
        )
        assert (code, words in message) == (INVALID, True), message
        assert deployments.describe(name)["EndpointStatus"] == "InService"

    def test_one_instance_is_too_few_for_a_canary_of_one(self, deployments: Deployments, old_model: str) -> None:
        model = deployments.model(old_model)
        name = deployments.in_service(deployments.config(model))
        deployment = canary()
        size = {"Type": "INSTANCE_COUNT", "Value": 1}
        deployment["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["CanarySize"] = size
        update = {"EndpointName": name, "DeploymentConfig": deployment}
        one = deployments.config(model, InstanceType="ml.m5.large", InitialInstanceCount=1)
        assert refused(deployments.sagemaker.update_endpoint, **update, EndpointConfigName=one)[0] == INVALID
        deployments.sagemaker.update_endpoint(**update, EndpointConfigName=deployments.config(model, **INSTANCES))
        assert deployments.settled(name)["LastDeploymentConfig"] == deployment


class TestDelete:
    def test_an_endpoint_that_is_being_asked_answers_until_it_is_gone(
        self, deployments: Deployments, old_model: str
    ) -> None:
        name = deployments.in_service(deployments.config(deployments.model(old_model)))
        endings: list[str] = []

        def ask_until_it_is_gone() -> None:
            try:
                while True:
                    assert deployments.ask(name)["model"] == "old"
            except ClientError as error:
                endings.append(str(error))

        asking = [threading.Thread(target=ask_until_it_is_gone) for _ in range(4)]
        for thread in asking:
            thread.start()
        time.sleep(0.1)
        deployments.sagemaker.delete_endpoint(EndpointName=name)
        for thread in asking:
            thread.join(20)
        assert len(endings) == 4
        assert all(f"Endpoint {name} of account" in words for words in endings)
        deployments.gone(name)
        assert refused(deployments.sagemaker.delete_endpoint, EndpointName=name)[0] == INVALID

    def test_nothing_can_be_done_to_an_endpoint_while_it_is_updated(
        self, deployments: Deployments, old_model: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hosting, "MAX_BAKING", 3.0)
        config = deployments.config(deployments.model(old_model))
        name = deployments.in_service(config)
        update = {"EndpointName": name, "EndpointConfigName": config, "DeploymentConfig": canary()}
        deployments.sagemaker.update_endpoint(**update)
        for call, params in (
            (deployments.sagemaker.delete_endpoint, {"EndpointName": name}),
            (deployments.sagemaker.update_endpoint, update),
        ):
            code, message = refused(call, **params)
            assert (code, "in-progress" in message) == (INVALID, True)
        assert deployments.settled(name)["EndpointStatus"] == "InService"

    def test_no_file_of_a_model_is_left_when_it_is_out_of_service(
        self, deployments: Deployments, old_model: str, new_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        name = deployments.in_service(deployments.config(deployments.model(old_model)))
        assert len(list(scratch.iterdir())) == 1
        failed = deployments.endpoint(deployments.config(deployments.model(deployments.upload(b"no archive"))))
        assert deployments.settled(failed)["EndpointStatus"] == "Failed"
        new = deployments.config(deployments.model(new_model))
        deployments.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new)
        assert deployments.settled(name)["EndpointConfigName"] == new
        assert len(list(scratch.iterdir())) == 1
        deployments.sagemaker.delete_endpoint(EndpointName=name)
        deployments.gone(name)
        assert list(scratch.iterdir()) == []


class TestCapture:
    def test_what_is_asked_and_answered_lies_where_the_configuration_says_within_seconds(
        self, deployments: Deployments, old_model: str
    ) -> None:
        place = "captured/all"
        config = deployments.config(deployments.model(old_model), capture=deployments.capture(place))
        name = deployments.in_service(config)
        assert deployments.describe(name)["DataCaptureConfig"]["DestinationS3Uri"].endswith(place)
        answer = deployments.ask(name, InferenceId="a" * 32)
        (line,) = deployments.captured(place)
        sides = line["captureData"]
        assert base64.b64decode(sides["endpointInput"]["data"]) == BICYCLE
        assert sides["endpointInput"]["encoding"] == "BASE64"
        assert (sides["endpointOutput"]["encoding"], sides["endpointOutput"]["mode"]) == ("JSON", "OUTPUT")
        assert f'"model": "{answer["model"]}"' in sides["endpointOutput"]["data"]
        assert line["eventMetadata"]["inferenceId"] == "a" * 32
        (key,) = deployments.objects(place)
        assert key.startswith(f"{place}/{name}/{VARIANT}/")

    def test_only_the_sides_that_are_asked_for_are_captured(self, deployments: Deployments, old_model: str) -> None:
        capture = deployments.capture("captured/output", options=({"CaptureMode": "Output"},))
        del capture["CaptureContentTypeHeader"]
        name = deployments.in_service(deployments.config(deployments.model(old_model), capture=capture))
        deployments.ask(name)
        (line,) = deployments.captured("captured/output")
        assert list(line["captureData"]) == ["endpointOutput"]
        assert line["captureData"]["endpointOutput"]["encoding"] == "BASE64", "no type is said to be text"

    def test_a_share_of_the_requests_can_be_captured_and_none(self, deployments: Deployments, old_model: str) -> None:
        model = deployments.model(old_model)
        off = deployments.capture("captured/off") | {"EnableCapture": False}
        for place, capture, some in (
            ("captured/half", deployments.capture("captured/half", share=50), True),
            ("captured/zero", deployments.capture("captured/zero", share=0), False),
            ("captured/off", off, False),
        ):
            name = deployments.in_service(deployments.config(model, capture=capture))
            asked = 20 if some else 3
            for _ in range(asked):
                deployments.ask(name)
            deployments.sagemaker.delete_endpoint(EndpointName=name)
            deployments.gone(name)
            found = len(deployments.captured(place, count=1)) if some else len(deployments.objects(place))
            assert (0 < found < asked) if some else found == 0

    def test_nothing_is_lost_when_a_model_goes_out_of_service(
        self, deployments: Deployments, old_model: str, new_model: str
    ) -> None:
        first = deployments.config(deployments.model(old_model), capture=deployments.capture("captured/lost/first"))
        second = deployments.config(deployments.model(new_model), capture=deployments.capture("captured/lost/second"))
        name = deployments.in_service(first)
        asked = 0
        deployments.ask(name)
        deployments.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=second)
        while deployments.describe(name)["EndpointStatus"] == "Updating":
            deployments.ask(name)
            asked += 1
        deployments.ask(name)
        deployments.sagemaker.delete_endpoint(EndpointName=name)
        deployments.gone(name)
        assert len(deployments.captured("captured/lost", count=asked + 2)) == asked + 2

    def test_capture_into_a_bucket_that_is_not_there_does_not_keep_the_endpoint_from_answering(
        self, deployments: Deployments, old_model: str
    ) -> None:
        capture = deployments.capture("x") | {"DestinationS3Uri": "s3://nobody-made-this-bucket/x"}
        name = deployments.in_service(deployments.config(deployments.model(old_model), capture=capture))
        deployments.ask(name)
        deployments.stack.endpoint.flush_capture()
        assert deployments.ask(name)["model"] == "old"
