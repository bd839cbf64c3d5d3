"""IAM, embedded: moto's, with SimulatePrincipalPolicy, which it lacks.

What a role's own policies say is simulated, those written into it and those attached to it. Conditions are taken to be
unmet, and there are no boundaries and no policies of resources. Nothing is enforced: moto admits every caller.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

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
        policies = [IAMPolicy(document) for document in role.policies.values()]
        policies += [IAMPolicy(policy) for policy in role.managed_policies.values()]
        actions, resources = self._get_param("ActionNames"), self._get_param("ResourceArns", ["*"])
        results = [
            {"EvalActionName": action, "EvalResourceName": where, "EvalDecision": _decide(policies, action, where)}
            for action, where in product(actions, resources)
        ]
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _decide(policies: list[Any], action: str, resource: str) -> str:
    found = {policy.is_action_permitted(action, resource) for policy in policies}
    first = (PermissionResult.DENIED, PermissionResult.PERMITTED, PermissionResult.NEUTRAL)
    return DECISIONS[next((result for result in first if result in found), PermissionResult.NEUTRAL)]
