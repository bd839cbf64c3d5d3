"""All that an account holds, as AWS lists it."""

from typing import Any

import boto3

LISTS: dict[str, list[tuple[str, str, str | None]]] = {
    "apigateway": [("get_rest_apis", "items", "name")],
    "cloudformation": [("list_stacks", "StackSummaries", "StackName")],
    "cloudwatch": [("describe_alarms", "MetricAlarms", "AlarmName"), ("list_dashboards", "DashboardEntries", None)],
    "cognito-idp": [("list_user_pools", "UserPools", "Name")],
    "dynamodb": [("list_tables", "TableNames", None)],
    "events": [("list_rules", "Rules", "Name")],
    "iam": [("list_roles", "Roles", "RoleName")],
    "lambda": [("list_functions", "Functions", "FunctionName")],
    "logs": [("describe_log_groups", "logGroups", "logGroupName")],
    "s3": [("list_buckets", "Buckets", "Name")],
    "sns": [("list_topics", "Topics", "TopicArn"), ("list_subscriptions", "Subscriptions", "SubscriptionArn")],
    "sqs": [("list_queues", "QueueUrls", None)],
    "stepfunctions": [("list_state_machines", "stateMachines", "name")],
}


ASKED_WITH = {"list_user_pools": {"MaxResults": 60}}
"""What an operation wants to be told."""


def everything() -> dict[str, list[Any]]:
    """By operation, what is there; operations that list nothing are left out."""
    found: dict[str, list[Any]] = {}
    for service, operations in LISTS.items():
        client: Any = boto3.client(service)  # type: ignore[call-overload]
        for operation, key, name in operations:
            listed = getattr(client, operation)(**ASKED_WITH.get(operation, {})).get(key, [])
            if operation == "list_stacks":
                listed = [one for one in listed if one["StackStatus"] != "DELETE_COMPLETE"]
            if listed:
                found[operation] = sorted(one[name] if name else str(one) for one in listed)
    return found
