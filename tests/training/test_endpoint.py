"""What the embedded stack does not do: endpoints of other people's, that hang, or that somebody deletes meanwhile."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest

from tests.training.recorder import Json, Recorder
from tests.training.test_deploy import PLAN, SERVERLESS, TAGS
from training import aws, endpoint
from training.errors import EndpointFailed, InputError, TrainingError

ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/scones-unlimited-dev"
NOT_FOUND = {"Error": {"Code": "ValidationException", "Message": "Could not find endpoint."}}
READ_ONLY = {"DescribeEndpoint", "DescribeEndpointConfig", "ListTags"}


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    recorder = Recorder()
    monkeypatch.setattr(boto3, "Session", recorder.session)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(endpoint, "POLL_INTERVAL", 0)
    aws.client.cache_clear()
    recorder.answers |= {
        "ListTags": lambda _: {"Tags": TAGS},
        "DescribeEndpointConfig": lambda _: {"ProductionVariants": [{"InstanceType": "ml.m5.large"}]},
    }
    yield recorder
    aws.client.cache_clear()


def is_there(recorder: Recorder, *states: Json | str, config: str = PLAN.config) -> None:
    """Let an endpoint go through states, one at each look; the last one stays."""
    left = [one if isinstance(one, dict) else {"EndpointStatus": one} for one in states]

    def answer(_: Json) -> Json:
        state = left.pop(0) if len(left) > 1 else left[0]
        return state if "Error" in state else {"EndpointArn": ARN, "EndpointConfigName": config, **state}

    recorder.answers["DescribeEndpoint"] = answer


def asked(recorder: Recorder) -> set[str]:
    return {operation for operation, _ in recorder.sent}


def bring_about(plan: Any = PLAN, max_wait: float = 60) -> list[str]:
    told: list[str] = []
    endpoint.bring_about(plan, told.append, max_wait)
    return told


@pytest.mark.parametrize("tags", [[], [tag for tag in TAGS if tag["Key"] != "stage"]])
def test_an_endpoint_that_is_not_ours_is_left_alone(recorder: Recorder, tags: list[Json]) -> None:
    is_there(recorder, "InService")
    recorder.answers["ListTags"] = lambda _: {"Tags": tags}
    with pytest.raises(InputError, match=r"this command has not made\. It was left alone"):
        bring_about()
    assert asked(recorder) <= READ_ONLY


def test_instances_are_not_made_serverless_since_aws_cannot(recorder: Recorder) -> None:
    is_there(recorder, "InService", config="scones-unlimited-dev-other")
    with pytest.raises(InputError, match="teardown --stage dev` first"):
        bring_about(SERVERLESS)
    assert asked(recorder) <= READ_ONLY


def test_what_another_run_has_begun_is_waited_for_and_not_begun_again(recorder: Recorder) -> None:
    is_there(recorder, "Creating", "Creating", "InService")
    assert bring_about() == ["scones-unlimited-dev is Creating."]
    assert not asked(recorder) & {"CreateEndpoint", "UpdateEndpoint"}


def test_an_endpoint_that_never_comes_up_is_given_up_in_the_end(recorder: Recorder) -> None:
    is_there(recorder, "Creating")
    with pytest.raises(EndpointFailed, match=r"still Creating.*run the same command again.*/aws/sagemaker/Endpoints"):
        bring_about(max_wait=0)


@pytest.mark.parametrize("state", ["Failed", "OutOfService", "UpdateRollbackFailed"])
def test_an_update_that_ends_badly_is_told_with_the_reason_and_the_log(recorder: Recorder, state: str) -> None:
    failed = {"EndpointStatus": state, "FailureReason": "The ping failed."}
    is_there(recorder, "InService", "Updating", failed, config="scones-unlimited-dev-other")
    with pytest.raises(EndpointFailed, match=rf"is {state}: The ping failed\..*/aws/sagemaker/Endpoints/.*teardown"):
        bring_about()


def test_an_endpoint_that_somebody_deletes_meanwhile_is_told(recorder: Recorder) -> None:
    is_there(recorder, NOT_FOUND, "Creating", NOT_FOUND)
    with pytest.raises(EndpointFailed, match="deleted by somebody meanwhile"):
        bring_about()


def test_ctrl_c_leaves_sagemaker_at_work_and_says_so(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    is_there(recorder, "Creating")
    monkeypatch.setattr("time.sleep", interrupt)
    with pytest.raises(TrainingError, match="goes on with scones-unlimited-dev without you"):
        bring_about()


def test_instances_of_another_type_are_first_taken_from_autoscaling_which_would_refuse(recorder: Recorder) -> None:
    is_there(recorder, {"EndpointStatus": "InService", "EndpointConfigName": "scones-unlimited-dev-other"}, "InService")
    recorder.answers |= {
        "DescribeScalableTargets": lambda _: {"ScalableTargets": [{}]},
        "DescribeEndpointConfig": lambda _: {"ProductionVariants": [{"InstanceType": "ml.c5.large"}]},
    }
    bring_about()
    order = [operation for operation, _ in recorder.sent]
    assert order.index("DeregisterScalableTarget") < order.index("UpdateEndpoint") < order.index("PutScalingPolicy")
    assert recorder.of("UpdateEndpoint")[0]["RetainAllVariantProperties"] is False


def test_instances_of_the_same_type_stay_as_many_as_they_are(recorder: Recorder) -> None:
    is_there(recorder, {"EndpointStatus": "InService", "EndpointConfigName": "scones-unlimited-dev-other"}, "InService")
    bring_about()
    assert recorder.of("UpdateEndpoint")[0]["RetainAllVariantProperties"] is True
    assert "DeregisterScalableTarget" not in asked(recorder)


def test_a_serverless_endpoint_has_nothing_to_scale(recorder: Recorder) -> None:
    recorder.answers["DescribeEndpointConfig"] = lambda _: {"ProductionVariants": [{"ServerlessConfig": {}}]}
    is_there(recorder, "InService", config=SERVERLESS.config)
    bring_about(replace(SERVERLESS))
    assert "RegisterScalableTarget" not in asked(recorder)
