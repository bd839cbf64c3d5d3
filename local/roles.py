"""IAM, embedded: moto's, with SimulatePrincipalPolicy, which it lacks.

What a role's own policies say is simulated, those written into it and those attached to it. A condition is met by what
the question tells of the request; one of a kind that is not known here never is. There are no boundaries and no
policies of resources. Nothing is enforced: moto admits every caller.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.iam.responses import IamResponse

DECISIONS = {
    PermissionResult.PERMITTED: "allowed",
    PermissionResult.DENIED: "explicitDeny",
    PermissionResult.NEUTRAL: "implicitDeny",
}


class Roles(IamResponse):  # type: ignore[misc] # moto is not typed
    """Answers requests to IAM. Each public method is an operation, found by its name."""

    def simulate_principal_policy(self) -> ActionResult:
        """Says of each action and resource whether a role may do it."""
        role = self.backend.get_role_by_arn(self._get_param("PolicySourceArn"))
        attached = [
            one.document for policy in role.managed_policies.values() for one in policy.versions if one.is_default
        ]
        told = {one["ContextKeyName"]: one["ContextKeyValues"] for one in self._get_param("ContextEntries", [])}
        policies = [
            IAMPolicy(json.dumps(given(json.loads(document), told)))
            for document in [*role.policies.values(), *attached]
        ]
        actions, resources = self._get_param("ActionNames"), self._get_param("ResourceArns", ["*"])
        results = [
            {"EvalActionName": action, "EvalResourceName": where, "EvalDecision": _decide(policies, action, where)}
            for action, where in product(actions, resources)
        ]
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def given(policy: Mapping[str, Any], request: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What is left of a policy for a request: the statements whose conditions it meets, without these.

    Args:
        policy: the document.
        request: what is known of the request, by the names of the keys of conditions.
    """
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    left = [
        {key: value for key, value in one.items() if key != "Condition"}
        for one in statements
        if all(met(*each, request) for each in conditions(one))
    ]
    return {**policy, "Statement": left}


def conditions(statement: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """The conditions of a statement: how a key is compared, the key, and with what.

    Args:
        statement: of a policy.
    """
    for operator, tests in statement.get("Condition", {}).items():
        for key, values in tests.items():
            yield operator, key, values if isinstance(values, list) else [values]


def met(operator: str, key: str, values: list[str], request: Mapping[str, Sequence[str]]) -> bool:
    """Whether a request meets a condition.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html

    Args:
        operator: how the key is compared; of the many, those of texts that have to be the same are known.
        key: what is looked at.
        values: what it may be.
        request: what is known of the request, by key.
    """
    found = request.get(key, ())
    match operator:
        case "ForAllValues:StringEquals":
            return set(found) <= set(values)
        case "StringEquals":
            return bool(found) and set(found) <= set(values)
        case "StringEqualsIfExists":
            return set(found) <= set(values)
    return False


def _decide(policies: list[Any], action: str, resource: str) -> str:
    found = {policy.is_action_permitted(action, resource) for policy in policies}
    first = (PermissionResult.DENIED, PermissionResult.PERMITTED, PermissionResult.NEUTRAL)
    return DECISIONS[next((result for result in first if result in found), PermissionResult.NEUTRAL)]
