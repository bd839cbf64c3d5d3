import copy
import json
from pathlib import Path

import pytest

from infrastructure import cost, deployed
from infrastructure.errors import InputError
from local import ROOT
from tests.infrastructure.stages import (
    DEFINITION,
    MEMORY_MB,
    SECONDS,
    SERVERLESS,
    STAGE,
    TEMPLATE,
    by_name,
    ending,
)
from training.deploy import alarm_names


def test_the_alarms_of_the_endpoint_are_those_that_training_makes() -> None:
    assert len(alarm_names("dev")) == deployed.ENDPOINT_ALARMS


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_each_function_of_a_stage_has_its_memory_and_what_was_measured(name: str) -> None:
    memory_mb = deployed.memory_mb(ROOT / ".chalice", name)
    assert memory_mb["serialize"] == 2048
    assert set(deployed.MEASURED) == set(memory_mb) - {"open_record"}, "all but what a backfill alone calls"


def test_a_function_that_names_no_memory_has_that_of_its_stage(tmp_path: Path) -> None:
    functions = {"one": {"lambda_memory_size": 512}, "two": {}}
    config = {
        "stages": {
            "a": {"lambda_functions": functions, "lambda_memory_size": 320},
            "b": {"lambda_functions": functions},
        }
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert deployed.memory_mb(tmp_path, "a") == {"one": 512, "two": 320}
    assert deployed.memory_mb(tmp_path, "b") == {"one": 512, "two": 128}


def test_a_state_more_on_the_way_is_a_transition_more() -> None:
    longer = copy.deepcopy(DEFINITION)
    longer["States"]["Filter"]["Next"] = "Between"
    longer["States"]["Between"] = {"Type": "Pass", "Next": "RecordAccepted"}
    assert len(deployed.way(longer, "ACCEPTED")) == len(deployed.way(DEFINITION, "ACCEPTED")) + 1
    assert deployed.way(longer, "REVIEW") == deployed.way(DEFINITION, "REVIEW")
    more = deployed.stage(longer, TEMPLATE, MEMORY_MB, SECONDS)
    part = by_name(cost.ours(ending("ACCEPTED"), SERVERLESS, more))["Step Functions"]
    assert part.million == pytest.approx(7 * 25)


def test_an_ending_that_nobody_writes_cannot_be_counted() -> None:
    without = copy.deepcopy(DEFINITION)
    del without["States"]["RecordReview"]["Parameters"]["ExpressionAttributeValues"][":status"]
    with pytest.raises(InputError, match="REVIEW"):
        deployed.way(without, "REVIEW")


def test_alarms_metrics_and_dashboards_are_counted_in_the_template() -> None:
    assert STAGE.alarm_metrics == 1 + 2 + 2, "one alarm of two metrics, two of the endpoint"
    assert STAGE.own_metrics == 1 + 1 + 5, "one of logs, one for each way to fail, and what is measured"
    assert STAGE.dashboards == 1


def test_how_long_pictures_stay_is_what_the_template_says() -> None:
    assert deployed.picture_days("  Other:\n    Default: 1\n  PictureDays:\n    Type: Number\n    Default: 7\n") == 7
    with pytest.raises(InputError, match="--kept-days"):
        deployed.picture_days("  PictureDays:\n    Type: Number\n  Other:\n    Default: 7\n")


def test_figures_for_functions_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match=r"No function is called resize\. They are: on_picture, serialize"):
        deployed.stage(DEFINITION, TEMPLATE, MEMORY_MB, {"resize": 1.0})


def test_a_step_that_nobody_has_measured_is_not_guessed() -> None:
    other = copy.deepcopy(DEFINITION)
    other["States"]["Filter"]["Parameters"]["FunctionName"] = "${ResizeArn}"
    with pytest.raises(InputError, match="How long resize takes has not been measured"):
        deployed.stage(other, TEMPLATE, MEMORY_MB)


def test_a_stage_that_lacks_a_function_is_refused() -> None:
    with pytest.raises(InputError, match="no function filter"):
        deployed.stage(DEFINITION, TEMPLATE, {name: 128 for name in MEMORY_MB if name != "filter"})


def test_less_memory_makes_what_computes_slower_and_not_what_waits() -> None:
    handler = deployed.Handler(compute=0.1, waits=0.05)
    assert handler.seconds(3000) == handler.seconds(1769) == pytest.approx(0.15)
    assert handler.seconds(512) == pytest.approx(0.1 * 1769 / 512 + 0.05)


def test_a_step_takes_the_time_of_an_update_more_where_there_are_records() -> None:
    for name in deployed.STEPS:
        alone, here = deployed.work(name, records=False), deployed.work(name)
        assert here.compute - alone.compute == pytest.approx(deployed.MEASURED["on_stopped"].compute)
        assert here.waits - alone.waits == pytest.approx(deployed.MEASURED["on_stopped"].waits)
    assert deployed.work("on_picture") == deployed.MEASURED["on_picture"]
