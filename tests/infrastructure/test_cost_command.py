import json
import math
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from click.testing import CliRunner, Result

from chalicelib.decision import Reason
from infrastructure import deployed, prices, traffic
from infrastructure.cli import main
from infrastructure.template import TEMPLATE
from local import ROOT


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["cost", "--chalice", str(ROOT / ".chalice"), *map(str, arguments)])


def told(*arguments: str | Path) -> dict[str, Any]:
    done = run("--json", *arguments)
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def months(bill: dict[str, Any]) -> dict[str, float]:
    return {part["part"]: part["month"] for part in bill["parts"]}


def test_the_table_fits_a_terminal_and_names_every_part_the_day_and_what_is_left_out() -> None:
    done = run("--pictures", "98765432", "--rest", "2")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    answer = told("--pictures", "98765432", "--rest", "2")
    for part in answer["ours"]["parts"]:
        assert f" {part['part']} " in done.stdout
        assert f" {part['month']:,.2f} " in done.stdout
    assert f" {answer['ours']['month']:,.2f} " in done.stdout
    assert f" {answer['original']['month']:,.2f} " in done.stdout
    assert f"{prices.REGION}, {prices.AS_OF}" in done.stdout
    assert f"nothing is kept, is {answer['ours']['idle_month']:,.2f} USD" in done.stdout
    assert "No free tier, no tax" in done.stdout


def test_the_bill_adds_up_as_json() -> None:
    answer = told("--pictures", "250000")
    assert answer["as_of"] == prices.AS_OF.isoformat()
    for bill in (answer["ours"], answer["original"]):
        assert bill["month"] == pytest.approx(sum(months(bill).values()))
        assert bill["each_million"] == pytest.approx(sum(part["each_million"] for part in bill["parts"]))
    assert months(answer["ours"])["endpoint"] == pytest.approx(2 * 0.115 * 730)
    assert months(answer["original"])["endpoint"] == pytest.approx(0.23 * 730)


def test_what_will_not_go_well_is_told_and_only_then() -> None:
    answer = told("--pictures", "100000")
    assert answer["warnings"] == []
    assert answer["reconcile_hours"] < 24
    assert "Look out" not in run("--pictures", "100000").stdout
    answer, done = told("--pictures", "5000000"), run("--pictures", "5000000")
    assert answer["reconcile_hours"] > 7 * 24
    assert " ".join(done.stdout.split()).count(f"Look out: {answer['warnings'][0]}") == 1


def test_pictures_are_kept_as_long_as_the_stack_keeps_them() -> None:
    template = cfn_yaml.load(str(TEMPLATE))
    assert told()["traffic"]["kept_days"] == template["Parameters"]["PictureDays"]["Default"]
    for bucket in ("InboxBucket", "TrainingBucket"):
        rules = template["Resources"][bucket]["Properties"]["LifecycleConfiguration"]["Rules"]
        old = [rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in rules if "Prefix" not in rule]
        assert old == [traffic.OLD_VERSION_DAYS]
    (captured,) = [rule["ExpirationInDays"] for rule in rules if "capture" in rule.get("Prefix", "")]
    assert captured == traffic.CAPTURE_DAYS


def test_alarms_metrics_and_dashboards_are_those_of_the_stack() -> None:
    resources = list(cfn_yaml.load(str(TEMPLATE))["Resources"].values())
    alarms, filters = (
        [one["Properties"] for one in resources if one["Type"] == kind]
        for kind in ("AWS::CloudWatch::Alarm", "AWS::Logs::MetricFilter")
    )
    watched = sum(sum("MetricStat" in one for one in alarm["Metrics"]) if "Metrics" in alarm else 1 for alarm in alarms)
    states = json.loads((ROOT / "statemachine.json").read_text())["States"].values()
    failures = sum(state["Type"] == "Fail" for state in states)
    values = {"ending": failures, "reason": len(Reason)}
    made = sum(
        math.prod(values[dimension["Key"]] for dimension in one.get("Dimensions", []))
        for filtered in filters
        for one in filtered["MetricTransformations"]
    )
    dashboards = sum(one["Type"] == "AWS::CloudWatch::Dashboard" for one in resources)
    assert watched >= len(alarms) > 0
    usd = (watched + deployed.ENDPOINT_ALARMS) * 0.10 + dashboards * 3.00 + (made + 1) * 0.30
    assert months(told()["ours"])["CloudWatch, alarms"] == pytest.approx(usd)


def test_a_serverless_endpoint_is_paid_by_the_picture() -> None:
    answer = told("--pictures", "1000000", "--rejected", "0", "--serverless", "--memory", "4096")
    assert months(answer["ours"])["endpoint"] == pytest.approx(4.8)
    assert "data captured" not in months(answer["ours"])


def test_pictures_that_are_all_rejected_are_reckoned_with_too() -> None:
    answer = told("--held-back", "0", "--rejected", "1")
    assert months(answer["ours"])["endpoint, data"] == 0
    assert answer["serverless_is_cheaper_below"] == round(2 * 0.115 * 730 / 2.4e-6)


def test_what_was_seen_on_aws_takes_the_place_of_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "durations.json"
    file.write_text('{"serialize": 1}')
    plain, slow = (months(told("--pictures", "1000000", *more)["ours"]) for more in ((), ("--durations", file)))
    measured = prices.lambda_usd(1e6, deployed.work("serialize").seconds(2048), 2048)
    assert slow["Lambda"] - plain["Lambda"] == pytest.approx(1e6 * (2e-7 + 2 * 0.0000166667) - measured)


@pytest.mark.parametrize("content", ["[]", "{", '{"serialize": "1"}', '{"serialize": true}', '{"serialize": 0}'])
def test_durations_that_cannot_be_read_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "durations.json"
    file.write_text(content)
    done = run("--durations", file)
    assert done.exit_code == 2
    assert "durations.json should be JSON of names and seconds above 0" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--held-back", "0.7", "--rejected", "0.4"), "add up to 1 at most"),
        (("--kept-days", "nan"), "no numbers to reckon with"),
        (("--picture-mb", "nan"), "no numbers to reckon with"),
        (("--rest", "inf"), "no numbers to reckon with"),
        (("--instance-type", "ml.x9.huge"), "The price of ml.x9.huge is not known"),
        (("--stage", "nowhere"), "nowhere"),
        (("--pictures", "0"), "--pictures"),
    ],
)
def test_what_makes_no_sense_is_refused_in_plain_words(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
