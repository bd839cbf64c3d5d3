"""Rules for a state machine that neither `asl-validator` nor `cfn-lint` knows, checked before anything is sent to AWS.

They read the Amazon States Language with JSONPath. What a task may be asked for comes from botocore, which knows every
action of AWS, what it takes and what it answers.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any

from botocore.exceptions import UnknownServiceError
from botocore.model import ListShape, MapShape, OperationModel, OperationNotFoundError, Shape, StructureShape
from botocore.session import get_session

State = Mapping[str, Any]
States = Mapping[str, State]
Rule = Callable[[State], Iterator[str]]

EVERYTHING = ("States.ALL", "States.TaskFailed")
"""Names that stand for other errors."""

STATES_ERRORS = {
    *EVERYTHING,
    "States.BranchFailed",
    "States.DataLimitExceeded",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.Http.Socket",
    "States.IntrinsicFailure",
    "States.ItemReaderFailed",
    "States.NoChoiceMatched",
    "States.ParameterPathFailure",
    "States.Permissions",
    "States.QueryEvaluationError",
    "States.ResultPathMatchFailure",
    "States.ResultWriterFailed",
    "States.Runtime",
    "States.Timeout",
}
"""https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html"""

SERVICE_ERRORS = {
    # https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception, and
    # https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html for a function that dies
    "lambda": {
        "Lambda.AWSLambdaException",
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.SdkClientException",
        "Lambda.ServiceException",
        "Lambda.TooManyRequestsException",
        "Lambda.Unknown",
        "Runtime.ExitError",
        "Sandbox.Timedout",
    },
    # https://docs.aws.amazon.com/step-functions/latest/dg/connect-ddb.html tells the prefix; the names are classes of
    # https://docs.aws.amazon.com/AWSJavaSDK/latest/javadoc/com/amazonaws/services/dynamodbv2/model/package-summary.html,
    # of which AmazonDynamoDBException stands for every error that has no class of its own.
    "dynamodb": {
        "DynamoDB.AmazonDynamoDBException",
        "DynamoDB.ConditionalCheckFailedException",
        "DynamoDB.InternalServerErrorException",
        "DynamoDB.ProvisionedThroughputExceededException",
        "DynamoDB.RequestLimitExceededException",
        "DynamoDB.ResourceNotFoundException",
        "DynamoDB.SdkClientException",
        "DynamoDB.ThrottlingException",
        "DynamoDB.TransactionConflictException",
    },
    # The same way, of
    # https://docs.aws.amazon.com/AWSJavaSDK/latest/javadoc/com/amazonaws/services/sns/model/package-summary.html
    "sns": {
        "SNS.AmazonSNSException",
        "SNS.AuthorizationErrorException",
        "SNS.InternalErrorException",
        "SNS.InvalidParameterException",
        "SNS.KMSThrottlingException",
        "SNS.NotFoundException",
        "SNS.SdkClientException",
        "SNS.ThrottledException",
    },
}
"""The errors that a task of a service can end with, besides those of our own functions, whose names have no dot. Tasks
that go by `aws-sdk:` name theirs otherwise."""

ACTIONS = {
    "dynamodb": {"deleteItem", "getItem", "putItem", "updateItem"},
    "lambda": {"invoke"},
    "sagemaker": {"createTransformJob"},
    "sns": {"publish"},
    "sqs": {"sendMessage"},
    "states": {"startExecution"},
}
"""What can be asked for by `arn:aws:states:::SERVICE:ACTION`, of the services that may be of use here; all else goes by
`aws-sdk:SERVICE:ACTION`: https://docs.aws.amazon.com/step-functions/latest/dg/integrate-services.html"""

NEEDED = {"lambda:invoke": {"Payload"}, "sns:publish": {"TopicArn"}}
"""What a task needs although AWS's own model has it as optional: without it, the call does something else."""

READERS = {"arn:aws:states:::s3:getObject", "arn:aws:states:::s3:listObjectsV2"}
WRITERS = {"arn:aws:states:::s3:putObject"}
"""What the items of a distributed map come from, and where its results go:
https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html"""

ANSWERS = {"SdkHttpMetadata", "SdkResponseMetadata"}
"""What is in every answer beside what the service says."""

CONTEXT = {
    "Execution": {"Id", "Input", "Name", "RedriveCount", "RedriveTime", "RoleArn", "StartTime"},
    "Map": {"Item"},
    "State": {"EnteredTime", "Name", "RetryCount"},
    "StateMachine": {"Id", "Name"},
    "Task": {"Token"},
}
"""https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html"""

INTRINSICS = {
    "States.Array",
    "States.ArrayContains",
    "States.ArrayGetItem",
    "States.ArrayLength",
    "States.ArrayPartition",
    "States.ArrayRange",
    "States.ArrayUnique",
    "States.Base64Decode",
    "States.Base64Encode",
    "States.Format",
    "States.Hash",
    "States.JsonMerge",
    "States.JsonToString",
    "States.MathAdd",
    "States.MathRandom",
    "States.StringSplit",
    "States.StringToJson",
    "States.UUID",
}
"""https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html"""

TEMPLATES = ("Parameters", "ResultSelector", "ItemSelector", "ItemReader", "ResultWriter", "ItemBatcher")
"""The fields of a state in which a key that ends with `.$` takes a path."""

SERVICE_NAMES = {"sfn": "stepfunctions", "states": "stepfunctions"}
"""What botocore calls services that have another name here."""

_RESOURCE = re.compile(r"arn:aws:states:::(?P<sdk>aws-sdk:)?(?P<service>\w+):(?P<action>\w+)(\.sync(:2)?|\.\w+)?")
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_PATH = re.compile(r"\$($|[.$\[])|States\.\w+\(")
_FIELD = re.compile(r"\$\.(\w+)")


def problems(definition: Mapping[str, Any], filled: Collection[str] = ()) -> list[str]:
    """What is wrong with a state machine.

    Args:
        definition: in the Amazon States Language.
        filled: the names of the placeholders, like `${RecordsTable}`, that CloudFormation still fills in.

    Returns:
        Sentences that begin with the name of the state; none if nothing was found.
    """
    open_places = sorted(set(_PLACEHOLDER.findall(json.dumps(definition))) - set(filled))
    return [
        *(f"The placeholder ${{{name}}} is filled in by nobody." for name in open_places),
        *_machine(definition, "The state machine"),
    ]


def following(state: State) -> list[str]:
    """The states that come next, whatever happens.

    Args:
        state: of a machine.
    """
    found = [state.get("Next"), *(one.get("Next") for one in state.get("Choices", ())), state.get("Default")]
    return [name for name in (*found, *(one["Next"] for one in state.get("Catch", ()))) if name]


def reachable(states: States, start: str) -> set[str]:
    """The states that an execution can come to, as far as they are there.

    Args:
        states: of a machine.
        start: the first of them.
    """
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in states and name not in seen:
            seen.add(name)
            waiting += following(states[name])
    return seen


def parts(state: State) -> list[Mapping[str, Any]]:
    """The parts of a state that have states of their own.

    Args:
        state: of a machine.
    """
    return [*state.get("Branches", ()), *(state[key] for key in ("ItemProcessor", "Iterator") if key in state)]


def _machine(machine: Mapping[str, Any], name: str) -> Iterator[str]:
    """The problems of a state machine, or of a part of one that has states of its own."""
    states: States = machine["States"]
    yield from _ways(machine, name)
    for own, state in states.items():
        if state.get("QueryLanguage", machine.get("QueryLanguage", "JSONPath")) != "JSONPath":
            yield f"{own}: it is written in JSONata, which these rules do not read."
            continue
        for rule in RULES:
            for problem in rule(state):
                yield f"{own}: {problem}"
        for part in parts(state):
            yield from _machine(part, own)


def _ways(machine: Mapping[str, Any], name: str) -> Iterator[str]:
    """Every state that is named is there, every state is come to, and each goes on or ends."""
    states: States = machine["States"]
    targets = {name: [machine["StartAt"]], **{own: following(state) for own, state in states.items()}}
    for own, named in targets.items():
        yield from (
            f"{own}: it goes on to {one}, which is not there." for one in dict.fromkeys(named) if one not in states
        )
    for own, state in states.items():
        if state["Type"] not in ("Choice", "Succeed", "Fail") and ("Next" in state) == bool(state.get("End")):
            yield f"{own}: it takes one of Next and End."
        if state["Type"] == "Choice" and "Default" not in state:
            yield f"{own}: it has no Default, so input that nobody thought of fails unexplained."
    yield from (f"{own}: nothing leads to it." for own in states if own not in reachable(states, machine["StartAt"]))


def _catches_and_retries(state: State) -> Iterator[str]:
    """Everything is caught last and alone, nothing retries everything, and no name stands twice."""
    for part in ("Retry", "Catch"):
        rules = [rule["ErrorEquals"] for rule in state.get(part, ())]
        for place, names in enumerate(rules):
            if "States.ALL" in names and (len(names) > 1 or place < len(rules) - 1):
                yield f"States.ALL has to stand alone and last in its {part}: what comes after it is never tried."
        named = [error for names in rules for error in names]
        for error in sorted({error for error in named if named.count(error) > 1}):
            yield f"its {part} names {error} twice, and only the first counts."
    for error in EVERYTHING:
        if any(error in rule["ErrorEquals"] for rule in state.get("Retry", ())):
            yield f"it retries {error}, so also what never passes. Name the errors that pass by themselves."


def _error_names(state: State) -> Iterator[str]:
    """An error that is named is one that the state can end with."""
    service, _ = _called(state)
    known = set() if "aws-sdk:" in state.get("Resource", "") else SERVICE_ERRORS.get(service, set())
    named = [error for part in ("Retry", "Catch") for rule in state.get(part, ()) for error in rule["ErrorEquals"]]
    for error in dict.fromkeys(named):
        if error.startswith("States."):
            if error not in STATES_ERRORS:
                yield f"Step Functions has no error {error}."
        elif "." in error and known and error not in known:
            yield f"a task of {service} never ends with {error}."


def _timeout(state: State) -> Iterator[str]:
    """A task ends some time."""
    if state["Type"] == "Task" and not {"TimeoutSeconds", "TimeoutSecondsPath"} & set(state):
        yield "it has no TimeoutSeconds, so a task that hangs holds its execution for a year."


def _call(state: State) -> Iterator[str]:
    """A task asks for an action that exists, with what it needs and nothing that it does not take."""
    for part, resources in (("ItemReader", READERS), ("ResultWriter", WRITERS)):
        if part in state and state[part]["Resource"] not in resources:
            yield f"its {part} takes one of {', '.join(sorted(resources))}, not {state[part]['Resource']}."
    if state["Type"] != "Task" or not str(state.get("Resource")).startswith("arn:aws:states:"):
        return
    service, action = _called(state)
    operation = _operation(service, action)
    known = "aws-sdk:" in state["Resource"] or action in ACTIONS.get(service, ())
    if operation is None or not known or operation.input_shape is None:
        yield f"there is no {state['Resource']}."
        return
    given = state.get("Parameters", {})
    needed = {_pascal(name) for name in operation.input_shape.required_members} | NEEDED.get(
        f"{service}:{action}", set()
    )
    for name in sorted(needed - {key.removesuffix(".$") for key in given}):
        yield f"{service}:{action} needs {name}."
    for name in _unknown(operation.input_shape, given):
        yield f"{service}:{action} takes no {name}."


def _expressions(state: State) -> Iterator[str]:
    """The expressions of DynamoDB use each of the names and values that are given, and no other."""
    parameters = state.get("Parameters", {})
    text = " ".join(value for key, value in parameters.items() if key.endswith("Expression"))
    for sign, field in ((":", "ExpressionAttributeValues"), ("#", "ExpressionAttributeNames")):
        used = set(re.findall(rf"{sign}\w+", text))
        given = {key.removesuffix(".$") for key in parameters.get(field, {})}
        yield from (f"an expression uses {name}, which {field} lacks." for name in sorted(used - given))
        yield from (f"{field} has {name}, which no expression uses." for name in sorted(given - used))


def _paths(state: State) -> Iterator[str]:
    """A path stands where one is read, and leads to something that can be there."""
    for part in TEMPLATES:
        for key, text in _texts(state.get(part, {})):
            if key.endswith(".$") and not _PATH.match(text):
                yield f"{part} has {key}: {text}, which is no path. Take away the .$ or the text."
            elif not key.endswith(".$") and _PATH.match(text):
                yield f"{part} has {key}: {text}, which is taken as it stands. Write {key}.$ for a path."
    for text in _read(state):
        for name in re.findall(r"States\.\w+(?=\()", text):
            if name not in INTRINSICS:
                yield f"there is no function {name}."
        for thing, field in re.findall(r"\$\$\.(\w+)(?:\.(\w+))?", text):
            if field not in CONTEXT.get(thing, ()) and (field or thing not in CONTEXT):
                yield f"$$.{thing}{'.' * bool(field)}{field} is nothing that Step Functions tells."


def _answers(state: State) -> Iterator[str]:
    """What is taken out of an answer can be in it."""
    operation = _operation(*_called(state))
    if operation is None or ".sync" in state["Resource"] or ".waitFor" in state["Resource"]:
        return
    texts = [text for key, text in _texts(state.get("ResultSelector", {})) if key.endswith(".$")]
    if not {"ResultSelector", "ResultPath"} & set(state) and state.get("OutputPath"):
        texts.append(state["OutputPath"])
    members = operation.output_shape.members if operation.output_shape else {}
    for field in dict.fromkeys(field for text in texts for field in _FIELD.findall(text)):
        if field not in {*map(_pascal, members), *ANSWERS}:
            yield f"the answer of {':'.join(_called(state))} has no {field}."


RULES: tuple[Rule, ...] = (
    _catches_and_retries,
    _error_names,
    _timeout,
    _call,
    _expressions,
    _paths,
    _answers,
)


def _called(state: State) -> tuple[str, str]:
    """The service and the action of a task; nothing twice for what calls none."""
    resource = str(state.get("Resource", "")) if state["Type"] == "Task" else ""
    match = _RESOURCE.fullmatch(resource)
    if match:
        return match["service"], match["action"]
    return ("lambda", "") if "lambda" in resource else ("", "")


@cache
def _operation(service: str, action: str) -> OperationModel | None:
    if not service or not action:
        return None
    try:
        model = get_session().get_service_model(SERVICE_NAMES.get(service, service))
        return model.operation_model(_pascal(action))
    except (UnknownServiceError, OperationNotFoundError):
        return None


def _unknown(shape: Shape, value: Any, within: str = "") -> Iterator[str]:
    """The keys of a template that the shape of a request does not have."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        members = {_pascal(name): member for name, member in shape.members.items()}
        for key, one in value.items():
            name = key.removesuffix(".$")
            if name not in members:
                yield within + name
            elif name == key:
                yield from _unknown(members[name], one, f"{within}{name}.")
    elif isinstance(shape, MapShape) and isinstance(value, Mapping):
        for key, one in value.items():
            yield from _unknown(shape.value, one, f"{within}{key}.")
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for one in value:
            yield from _unknown(shape.member, one, within)


def _read(state: State) -> Iterator[str]:
    """The paths and functions that a state reads."""
    for part in TEMPLATES:
        yield from (text for key, text in _texts(state.get(part, {})) if key.endswith(".$"))
    yield from (text for key, text in state.items() if key.endswith("Path") and isinstance(text, str))


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a piece of JSON, with its key."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _texts(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, key)
    elif isinstance(value, str):
        yield key, value


def _pascal(name: str) -> str:
    return name[:1].upper() + name[1:]
