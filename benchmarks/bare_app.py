"""What `importing.py` measures against: a Chalice app that does nothing, with the AWS clients that ours uses."""

from typing import Any

import boto3
from chalice.app import Chalice

app = Chalice(app_name="bare")
s3 = boto3.client("s3")
dynamodb = boto3.client("dynamodb")
stepfunctions = boto3.client("stepfunctions")
sagemaker_runtime = boto3.client("sagemaker-runtime")


@app.lambda_function()
def nothing(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answers what it is asked."""
    return event
