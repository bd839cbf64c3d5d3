"""A small template, to be changed and applied."""

from pathlib import Path

QUEUE = """\
  Lost:
    Type: AWS::SQS::Queue
    Properties: {QueueName: !Sub "scones-unlimited-${Stage}-lost-events"}
"""
TABLE = """\
  Records:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub scones-unlimited-${Stage}-records
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
"""


def write(path: Path, *resources: str) -> None:
    """A template of these resources."""
    parameters = "Parameters:\n  Stage: {Type: String}\n  Days: {Type: String, Default: '1'}\n"
    path.write_text(f"{parameters}Resources:\n{''.join(resources)}")
