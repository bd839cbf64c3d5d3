"""Each rule catches the mistake that it is for, and AWS's two validators miss most of these."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from infrastructure import machine
from infrastructure.machine import problems

ROOT = Path(__file__).resolve().parents[2]
VALIDATORS = ROOT / "tests" / "validators"
ASL_VALIDATOR = VALIDATORS / "node_modules" / ".bin" / "asl-validator"

MACHINE: dict[str, Any] = json.loads((ROOT / "statemachine.json").read_text())
FILLED = {"SerializeArn", "ClassifyArn", "FilterArn", "RecordsTable", "HeldBackTopic"}
ROLE = "arn:aws:iam::123456789012:role/workflow"

ASL, CFN = "asl-validator", "cfn-lint"


@dataclass(frozen=True)
class Mistake:
    """Something that is wrong in a copy of statemachine.json.

    Attributes:
        plant: makes the mistake in the copy's states.
        told: what our rules say, a regular expression.
        seen_by: which of the two validators see it, too.
    """

    plant: Callable[[dict[str, Any]], Any]
    told: str
    seen_by: frozenset[str] = frozenset()


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """What sets a field; numbers are places in a list."""
    *way, last = [int(name) if name.isdigit() else name for name in path.split("/")]

    def plant(states: Any) -> None:
        for name in way:
            states = states[name]
        states[last] = value

    return plant


def drop(path: str) -> Callable[[dict[str, Any]], None]:
    """What removes a field."""
    *way, last = [int(name) if name.isdigit() else name for name in path.split("/")]

    def plant(states: Any) -> None:
        for name in way:
            states = states[name]
        del states[last]

    return plant


def rename(path: str, name: str) -> Callable[[dict[str, Any]], None]:
    """What gives a field another key."""
    home, _, last = path.rpartition("/")

    def plant(states: Any) -> None:
        for key in home.split("/"):
            states = states[key]
        states[name] = states.pop(last)

    return plant


def without_default(states: dict[str, Any]) -> None:
    del states["HasRecord"]["Default"], states["InvalidInput"]


def nested(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "Inner", "States": {"Inner": state}}


def in_parallel(states: dict[str, Any]) -> None:
    fine = {"StartAt": "Other", "States": {"Other": {"Type": "Pass", "End": True}}}
    broken = nested({"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True})
    broken["States"]["Inner"] |= {"Parameters": {"QueueUrl": "q", "MessageBody": "m"}}
    states["MergeName"] = {"Type": "Parallel", "Branches": [fine, broken], "Next": "OpenRecord"}


def in_map(states: dict[str, Any]) -> None:
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}} | nested(
        {"Type": "Pass", "Next": "Nowhere"}
    )
    states["MergeName"] = {"Type": "Map", "ItemProcessor": processor, "Next": "OpenRecord"}


def reading(resource: str) -> Callable[[dict[str, Any]], None]:
    def plant(states: dict[str, Any]) -> None:
        processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}} | nested(
            {"Type": "Pass", "End": True}
        )
        states["MergeName"] = {
            "Type": "Map",
            "ItemReader": {"Resource": resource, "Parameters": {"Bucket": "b"}},
            "ItemProcessor": processor,
            "Next": "OpenRecord",
        }

    return plant


ONE, BOTH = frozenset({ASL}), frozenset({ASL, CFN})

MISTAKES = {
    "a target that is not there": Mistake(
        put("TellHeldBack/Next", "Trheshold"),
        "TellHeldBack: it goes on to Trheshold, which is not there",
        ONE,
    ),
    "a default that is not there": Mistake(drop("InvalidInput"), "HasRecord: it goes on to InvalidInput", ONE),
    "a catch that goes nowhere": Mistake(
        put("TellHeldBack/Catch/0/Next", "Gone"), "TellHeldBack: it goes on to Gone", ONE
    ),
    "a state that nothing leads to": Mistake(
        put("Forgotten", {"Type": "Succeed"}), "Forgotten: nothing leads to it", ONE
    ),
    "no way on": Mistake(drop("TellHeldBack/Next"), "TellHeldBack: it takes one of", BOTH),
    "a choice without a default": Mistake(without_default, "HasRecord: it has no Default"),
    "everything caught before something": Mistake(
        lambda states: states["Filter"]["Catch"].reverse(),
        "Filter: States.ALL has to stand alone and last in its Catch",
    ),
    "everything caught, and something": Mistake(
        lambda states: states["Filter"]["Catch"][-1]["ErrorEquals"].append("Oops"),
        "Filter: States.ALL has to stand alone",
    ),
    "everything retried": Mistake(
        lambda states: states["Filter"]["Retry"].append({"ErrorEquals": ["States.ALL"]}),
        "Filter: it retries States.ALL, so also what never passes",
    ),
    "every failure retried": Mistake(
        put("Filter/Retry/0/ErrorEquals", ["States.TaskFailed"]), "Filter: it retries States.TaskFailed"
    ),
    "a name that stands twice": Mistake(
        put("Classify/Retry/1/ErrorEquals", ["EndpointBusy"]), "Classify: its Retry names EndpointBusy twice"
    ),
    "an error that Step Functions does not have": Mistake(
        put("Filter/Retry/1/ErrorEquals", ["States.TimeOut"]), "Filter: Step Functions has no error States.TimeOut"
    ),
    "a misspelt error of a service": Mistake(
        put("Filter/Retry/0/ErrorEquals", ["Lambda.TooManyRequestException"]),
        "Filter: a task of lambda never ends with Lambda.TooManyRequestException",
    ),
    "an error of another service": Mistake(
        put("TellHeldBack/Retry/0/ErrorEquals", ["DynamoDB.ThrottlingException"]),
        "TellHeldBack: a task of sns never ends with DynamoDB",
    ),
    "no timeout": Mistake(drop("Filter/TimeoutSeconds"), "Filter: it has no TimeoutSeconds"),
    "a misspelt action": Mistake(
        put("OpenRecord/Resource", "arn:aws:states:::dynamodb:putitem"), "OpenRecord: there is no .*putitem"
    ),
    "an action that has to be asked for otherwise": Mistake(
        put("OpenRecord/Resource", "arn:aws:states:::dynamodb:query"), "OpenRecord: there is no .*query"
    ),
    "a misspelt service": Mistake(
        put("OpenRecord/Resource", "arn:aws:states:::aws-sdk:dynamo:putItem"), "OpenRecord: there is no .*dynamo:"
    ),
    "no function": Mistake(drop("Filter/Parameters/FunctionName"), "Filter: lambda:invoke needs FunctionName"),
    "no input for the function": Mistake(drop("Filter/Parameters/Payload.$"), "Filter: lambda:invoke needs Payload"),
    "no table": Mistake(drop("RecordFailed/Parameters/TableName"), "RecordFailed: dynamodb:updateItem needs TableName"),
    "no topic": Mistake(drop("TellHeldBack/Parameters/TopicArn"), "TellHeldBack: sns:publish needs TopicArn"),
    "a misspelt parameter": Mistake(
        rename("OpenRecord/Parameters/ConditionExpression", "ConditonExpression"),
        "OpenRecord: dynamodb:putItem takes no ConditonExpression",
    ),
    "a misspelt type of an attribute": Mistake(
        put("OpenRecord/Parameters/Item/status", {"s": "PENDING"}), "OpenRecord: .* takes no Item.status.s"
    ),
    "a value that no expression uses": Mistake(
        put("RecordFailed/Parameters/ExpressionAttributeValues/:label", {"S": "x"}),
        "RecordFailed: ExpressionAttributeValues has :label, which no expression uses",
    ),
    "a name that an expression lacks": Mistake(
        drop("RecordFailed/Parameters/ExpressionAttributeNames/#error"),
        "RecordFailed: an expression uses #error, which ExpressionAttributeNames lacks",
    ),
    "a path taken as it stands": Mistake(
        rename("Filter/Parameters/Payload.$", "Payload"), r"Filter: Parameters has Payload: \$, which is taken as"
    ),
    "a function taken as it stands": Mistake(
        rename("TellHeldBack/Parameters/Message.$", "Message"), "TellHeldBack: Parameters has Message: States.Json"
    ),
    "a text where a path is read": Mistake(
        put("TellHeldBack/Parameters/Subject.$", "Look"), "TellHeldBack: Parameters has Subject.*no path", ONE
    ),
    "a placeholder where a path is read": Mistake(
        rename("TellHeldBack/Parameters/TopicArn", "TopicArn.$"), "TellHeldBack: Parameters has TopicArn.*no path", ONE
    ),
    "a function that is not there": Mistake(
        put("TellHeldBack/Parameters/Message.$", "States.ToJson($)"),
        "TellHeldBack: there is no function States.ToJson",
        ONE,
    ),
    "something that Step Functions does not tell": Mistake(
        put("NameAfterExecution/Parameters/own/id.$", "$$.Execution.Nam"),
        r"NameAfterExecution: \$\$\.Execution\.Nam is nothing",
    ),
    "a path into what is not in the answer": Mistake(
        put("Serialize/OutputPath", "$.Paylod"), "Serialize: the answer of lambda:invoke has no Paylod"
    ),
    "a selection of what is not in the answer": Mistake(
        put("Filter/ResultSelector/label.$", "$.label"), "Filter: the answer of lambda:invoke has no label"
    ),
    "a placeholder that nobody fills in": Mistake(
        put("OpenRecord/Parameters/TableName", "${RecordsTabel}"), r"The placeholder \$\{RecordsTabel\} is filled in by"
    ),
    "a mistake in a branch": Mistake(in_parallel, "Inner: it has no TimeoutSeconds"),
    "a mistake in a map": Mistake(in_map, "Inner: it goes on to Nowhere", ONE),
    "a reader that is not there": Mistake(
        reading("arn:aws:states:::s3:listObjects"), "MergeName: its ItemReader takes one of"
    ),
    "another language": Mistake(put("Filter/QueryLanguage", "JSONata"), "Filter: it is written in JSONata", BOTH),
}


def planted(name: str) -> dict[str, Any]:
    copy = deepcopy(MACHINE)
    MISTAKES[name].plant(copy["States"])
    return copy


def filled(definition: dict[str, Any]) -> dict[str, Any]:
    """What CloudFormation makes of it, as far as a validator can tell."""
    text = re.sub(r"\$\{(\w+Arn)\}", "arn:aws:lambda:us-east-1:123456789012:function:f", json.dumps(definition))
    result: dict[str, Any] = json.loads(re.sub(r"\$\{\w+\}", "name", text))
    return result


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_once_and_alone(name: str) -> None:
    (told,) = problems(planted(name), FILLED)
    assert re.match(MISTAKES[name].told, told)


@pytest.mark.parametrize("rule", machine.RULES, ids=lambda rule: rule.__name__)
def test_without_a_rule_mistakes_go_unseen(rule: machine.Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "RULES", [one for one in machine.RULES if one is not rule])
    assert [name for name in MISTAKES if not problems(planted(name), FILLED)]


def test_a_fault_in_one_rule_does_not_hide_the_others() -> None:
    copy = deepcopy(MACHINE)
    for name in ("no timeout", "no table", "a path taken as it stands"):
        MISTAKES[name].plant(copy["States"])
    assert len(problems(copy, FILLED)) == 3


def test_placeholders_have_to_be_filled_in_by_someone() -> None:
    assert {re.findall(r"\w+", told)[2] for told in problems(MACHINE)} == FILLED
    assert problems(MACHINE, FILLED) == []
    assert problems(filled(MACHINE)) == []


class TestValidators:
    """That they run at all, and that what the rules are for is what these do not see."""

    def test_asl_validator_finds_nothing_wrong_with_the_workflow(self, tmp_path: Path) -> None:
        assert rejected_by_asl_validator({"workflow": filled(MACHINE)}, tmp_path) == set()

    def test_asl_validator_finds_nothing_wrong_with_the_backfill(self, tmp_path: Path) -> None:
        assert rejected_by_asl_validator({"backfill": filled(backfill())}, tmp_path) == set()

    def test_nothing_is_wrong_with_the_backfill(self) -> None:
        definition = backfill()
        assert problems(definition, set(re.findall(r"\$\{(\w+)\}", json.dumps(definition)))) == []

    def test_the_validators_see_of_the_mistakes_what_the_list_says_and_no_more(self, tmp_path: Path) -> None:
        machines = {name: filled(planted(name)) for name in MISTAKES}
        seen = {ASL: rejected_by_asl_validator(machines, tmp_path), CFN: rejected_by_cfn_lint(machines, tmp_path)}
        found = {name: frozenset(tool for tool in seen if name in seen[tool]) for name in MISTAKES}
        assert found == {name: mistake.seen_by for name, mistake in MISTAKES.items()}


def backfill() -> dict[str, Any]:
    if find_spec("infrastructure.backfill") is None:
        pytest.skip("there is no backfill yet")
    definition: dict[str, Any] = json.loads(import_module("infrastructure.backfill").definition())
    return definition


def rejected_by_asl_validator(machines: dict[str, dict[str, Any]], folder: Path) -> set[str]:
    if not ASL_VALIDATOR.exists():
        pytest.fail("asl-validator is not there: `make tests/validators/node_modules/ready`.", pytrace=False)
    files = {name: folder / f"{place}.asl.json" for place, name in enumerate(machines)}
    for name, file in files.items():
        file.write_text(json.dumps(machines[name]))
    arguments = [text for file in files.values() for text in ("--json-path", str(file))]
    ended = subprocess.run([ASL_VALIDATOR, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    said = ended.stdout + ended.stderr
    verdicts = {
        name: re.search(rf'(✓|✕) State machine definition "{re.escape(str(file))}" is (valid|invalid)', said)
        for name, file in files.items()
    }
    assert all(verdicts.values()), said
    rejected = {name for name, verdict in verdicts.items() if verdict and verdict[2] == "invalid"}
    assert ended.returncode == bool(rejected)
    return rejected


def rejected_by_cfn_lint(machines: dict[str, dict[str, Any]], folder: Path) -> set[str]:
    names = dict(enumerate(machines))
    template = folder / "template.json"
    resources = {
        f"Machine{place}": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"RoleArn": ROLE, "DefinitionString": json.dumps(machines[name])},
        }
        for place, name in names.items()
    }
    template.write_text(json.dumps({"Resources": resources}))
    linter = Path(sys.executable).with_name("cfn-lint")
    command = [str(linter), "--format", "json", "--regions", "us-east-1", "--template", str(template)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    found = [one["Location"]["Path"][:2] for one in json.loads(ended.stdout) if one["Level"] == "Error"]
    assert found
    return {names[int(resource.removeprefix("Machine"))] for _, resource in found}
