"""What the machine of backfills is made of, what a bucket has to allow, what it costs, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infrastructure import backfill, bucket_policy, deployed, machine, prices
from infrastructure import backfill_estimate as estimate
from infrastructure.backfill import Place
from infrastructure.backfill_estimate import Capacity
from infrastructure.bucket_policy import Access
from infrastructure.commands import backfill as command
from infrastructure.errors import InputError
from training.deploy import PER_INSTANCE_MINUTE

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]


class TestDefinition:
    """It says itself only how pictures are found; what happens to one stands in statemachine.json."""

    def states(self) -> Json:
        found: Json = json.loads(backfill.definition())["States"][backfill.MAP]["ItemProcessor"]["States"]
        return found

    def workflow(self) -> Json:
        found: Json = json.loads((ROOT / "statemachine.json").read_text())["States"]
        return found

    def test_nothing_is_wrong_with_it_by_our_rules(self) -> None:
        definition = json.loads(backfill.definition())
        assert machine.problems(definition, set(re.findall(r"\$\{(\w+)\}", json.dumps(definition)))) == []

    def test_every_placeholder_is_one_that_the_template_fills_in(self) -> None:
        template = (ROOT / "infrastructure" / "template.yaml").read_text()
        part = template[template.index("DefinitionS3Location: backfill.json") :]
        given = re.search(r"DefinitionSubstitutions:\n((?:        \w+:.*\n)+)", part)
        assert given
        assert set(re.findall(r"\$\{(\w+)\}", backfill.definition())) == set(
            re.findall(r"^ +(\w+):", given[1], re.MULTILINE)
        )

    def test_each_state_of_a_picture_is_the_workflow_s(self) -> None:
        workflow, own = self.workflow(), self.states()
        shared = set(own) - set(
            json.loads(backfill.OUTER.read_text())["States"][backfill.MAP]["ItemProcessor"]["States"]
        )
        working = {name for name in shared if workflow[name]["Type"] == "Task"}
        assert working == {"Serialize", "Classify", "Filter", *(name for name in workflow if name.startswith("Record"))}
        bypassed = workflow["TellHeldBack"]["Next"]
        for name in working:
            assert own[name] == {
                **workflow[name],
                "Next": bypassed if workflow[name]["Next"] == "TellHeldBack" else workflow[name]["Next"],
            }

    def test_nobody_is_told_of_each_picture_that_is_held_back(self) -> None:
        assert "sns:publish" in (ROOT / "statemachine.json").read_text()
        assert "sns:publish" not in backfill.definition()

    def test_only_what_is_our_fault_fails(self) -> None:
        failing = {name for name, state in self.states().items() if state["Type"] == "Fail"}
        assert failing == {"ClassificationFailed", "NotRecorded"}
        errors = {state["Error"] for state in self.workflow().values() if state["Type"] == "Fail"}
        assert set(backfill.ENDINGS) <= errors, "the workflow has these endings"

    def test_what_a_busy_endpoint_makes_a_picture_wait_fits_into_an_express_execution(self) -> None:
        for name, state in self.states().items():
            for retry in state.get("Retry", []):
                waits = [
                    min(retry["IntervalSeconds"] * retry["BackoffRate"] ** n, retry.get("MaxDelaySeconds", 1e9))
                    for n in range(retry["MaxAttempts"])
                ]
                assert sum(waits) < backfill.EXPRESS_SECONDS, f"{name} {retry['ErrorEquals']}"


class TestPlace:
    @pytest.mark.parametrize(
        ("url", "bucket", "prefix"),
        [
            ("s3://pictures", "pictures", ""),
            ("s3://pictures/", "pictures", ""),
            ("s3://pictures/2019", "pictures", "2019"),
            ("s3://pictures/2019/a b#c?d", "pictures", "2019/a b#c?d"),
            ("s3://pictures//odd", "pictures", "/odd"),
        ],
    )
    def test_a_place_is_a_bucket_and_what_the_keys_begin_with(self, url: str, bucket: str, prefix: str) -> None:
        assert backfill.place(url) == Place(bucket, prefix)

    @pytest.mark.parametrize("url", ["", "pictures", "pictures/2019", "http://pictures/2019", "s3:///2019", "s3://"])
    def test_anything_else_is_refused_with_an_example(self, url: str) -> None:
        with pytest.raises(InputError, match="s3://bucket/prefix"):
            backfill.place(url)

    def test_runs_of_one_place_are_told_from_those_of_another(self) -> None:
        places = [Place("a", "b"), Place("a", ""), Place("a", "b/"), Place("ab", "")]
        assert len({one.id for one in places}) == len(places)


class TestPolicy:
    ACCESS = Access(
        "pictures",
        "2019/",
        "arn:aws:iam::123456789012:role/scones-unlimited-dev-backfill",
        "arn:aws:iam::123456789012:role/scones-unlimited-dev-serialize",
        "scones-unlimited-dev",
    )
    OTHER: Json = {  # noqa: RUF012 - pytest makes a class for each test
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::pictures", "arn:aws:s3:::pictures/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }

    def test_only_what_lies_below_the_prefix_can_be_read_and_only_by_the_one_function(self) -> None:
        lists, reads = self.ACCESS.statements
        assert (lists["Action"], lists["Resource"]) == ("s3:ListBucket", "arn:aws:s3:::pictures")
        assert (reads["Action"], reads["Resource"]) == ("s3:GetObject", "arn:aws:s3:::pictures/2019/*")
        assert reads["Principal"] == {"AWS": self.ACCESS.reader}

    def test_a_prefix_with_signs_that_policies_know_means_itself(self) -> None:
        access = Access("pictures", "50$*?/", self.ACCESS.lister, self.ACCESS.reader, self.ACCESS.stage)
        assert access.statements[1]["Resource"] == "arn:aws:s3:::pictures/50${$}${*}${?}/*"

    def test_names_of_statements_are_of_letters_and_digits_and_differ_between_stages_and_prefixes(self) -> None:
        names = [*bucket_policy.sids("a", "p"), *bucket_policy.sids("a", "q"), *bucket_policy.sids("b", "p")]
        assert len(set(names)) == 6
        assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in names)

    def test_all_other_statements_stay_and_come_first(self) -> None:
        policy = {"Version": "2008-10-17", "Id": "x", "Statement": [self.OTHER]}
        assert bucket_policy.merged(policy, self.ACCESS.statements) == {
            "Version": "2008-10-17",
            "Id": "x",
            "Statement": [self.OTHER, *self.ACCESS.statements],
        }

    def test_a_policy_of_one_statement_that_is_no_list_is_understood(self) -> None:
        policy = {"Version": "2012-10-17", "Statement": self.OTHER}
        assert bucket_policy.missing(policy, self.ACCESS.statements) == self.ACCESS.statements
        assert bucket_policy.merged(policy, self.ACCESS.statements)["Statement"][0] == self.OTHER

    def test_what_is_there_in_other_words_that_mean_the_same_is_not_missing(self) -> None:
        lists, reads = self.ACCESS.statements
        turned = {**lists, "Principal": {"AWS": list(reversed(lists["Principal"]["AWS"]))}, "Action": ["s3:ListBucket"]}
        assert bucket_policy.missing({"Statement": [turned, reads]}, self.ACCESS.statements) == []

    def test_a_statement_of_ours_that_names_a_role_that_is_gone_is_replaced(self) -> None:
        lists, reads = self.ACCESS.statements
        policy = {"Statement": [lists, {**reads, "Principal": {"AWS": "AROAEXAMPLE"}}, self.OTHER]}
        assert bucket_policy.missing(policy, self.ACCESS.statements) == [reads]
        assert bucket_policy.merged(policy, self.ACCESS.statements)["Statement"] == [self.OTHER, lists, reads]


class TestEstimate:
    INSTANCES = Capacity(20, "")

    @pytest.fixture
    def memory_mb(self) -> dict[str, int]:
        return deployed.memory_mb(ROOT / ".chalice", "dev")

    def test_half_of_what_makes_sagemaker_add_an_instance_is_taken(self) -> None:
        assert estimate.SPARED_PER_INSTANCE == PER_INSTANCE_MINUTE / 60 / 2

    def test_each_picture_costs_a_transition_and_an_express_execution(self, memory_mb: dict[str, int]) -> None:
        usd = estimate.usd(1_000_000, memory_mb, self.INSTANCES)
        assert usd["Step Functions, a transition each"] == pytest.approx(25.00)
        assert usd["Step Functions, Express"] == pytest.approx(1.00 + 500_000 * 64 / 1024 * 0.00001667)
        assert usd["S3, requests"] == pytest.approx(0.40 + 2 * 1000 * 0.005 / 1000)

    def test_ten_times_the_pictures_cost_ten_times_as_much(self, memory_mb: dict[str, int]) -> None:
        one, ten = (sum(estimate.usd(n, memory_mb, self.INSTANCES).values()) for n in (1_000, 10_000))
        assert ten == pytest.approx(10 * one)

    def test_instances_cost_the_same_whatever_they_do_and_a_serverless_endpoint_does_not(
        self, memory_mb: dict[str, int]
    ) -> None:
        assert estimate.usd(1_000_000, memory_mb, self.INSTANCES)["endpoint"] == 0
        serverless = estimate.usd(1_000_000, memory_mb, Capacity(20, "", serverless_mb=2048))["endpoint"]
        assert serverless == pytest.approx(1_000_000 * prices.serverless_usd(2.0))

    def test_what_is_captured_is_told(self, memory_mb: dict[str, int]) -> None:
        half = estimate.usd(1_000_000, memory_mb, Capacity(20, "", captured=0.5))["data captured, each month"]
        assert half == pytest.approx(0.023 * 60 * 4 / 3 / 2)

    def test_a_record_is_written_in_the_table_and_moved_in_its_indexes(self) -> None:
        accepted, held_back = 2 + 3 * 2 + 3, 2 + 3 * 2 + 5 + 2
        assert estimate.write_units() == pytest.approx(0.72 * accepted + 0.28 * held_back)

    def test_pictures_that_have_ended_cost_less(self, memory_mb: dict[str, int]) -> None:
        all_of_it = sum(estimate.usd(1_000_000, memory_mb, self.INSTANCES).values())
        assert 25 < estimate.passed_over_usd(1_000_000, memory_mb) < 0.8 * all_of_it

    def test_twice_as_many_at_once_take_half_the_time(self) -> None:
        assert estimate.hours(1_000_000, 20) == pytest.approx(2 * estimate.hours(1_000_000, 40))
        assert 5 < estimate.hours(1_000_000, 20) < 10


def test_a_share_of_the_pictures_may_fail_for_our_reasons_and_a_few_of_few() -> None:
    assert [backfill.tolerated(pictures) for pictures in (1, 100, 2_000, 1_000_000)] == [100, 100, 100, 50_000]


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (0.0001, "1 minute"),
        (0.5, "30 minutes"),
        (1.9, "114 minutes"),
        (7.4, "7 hours"),
        (47, "47 hours"),
        (72, "3 days"),
    ],
)
def test_durations_are_told_in_a_unit_that_people_would_choose(hours: float, said: str) -> None:
    assert command._duration(hours) == said


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 kB"),
        (3_000_000, "3.0 MB"),
        (2_500_000_000_000, "2.5 TB"),
        (4e15, "4,000.0 TB"),
    ],
)
def test_sizes_too(size: float, said: str) -> None:
    assert command._size(size) == said
