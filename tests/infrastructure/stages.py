"""A stage of the real workflow and a small template, and traffic of it: what the tests of costs reckon with."""

import json
from dataclasses import replace

from infrastructure import deployed
from infrastructure.cost import Instances, Part, Serverless
from infrastructure.traffic import DAYS, Traffic
from local import ROOT

DEFINITION = json.loads((ROOT / "statemachine.json").read_text())
TEMPLATE = """
Resources:
  # Type: AWS::CloudWatch::Alarm
  One:
    Type: AWS::CloudWatch::Alarm
    Properties:
      MetricName: Errors
      AlarmActions: [!Ref Topic]

  Two:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Metrics:
        - {Id: all, Expression: SUM(METRICS())}
        - {Id: a, MetricStat: {Metric: {MetricName: Throttles}}}

        - Id: b
          MetricStat:
            Metric:
              MetricName: Throttles
  Filter:
    Type: AWS::Logs::MetricFilter
    Properties:
      MetricTransformations: [{MetricName: Lost}]
  FilterOfEndings:
    Type: AWS::Logs::MetricFilter
    Properties:
      MetricTransformations:
        - MetricName: Endings
          Dimensions: [{Key: ending, Value: $.name}]
  Board:
    Type: AWS::CloudWatch::Dashboard
"""

MEMORY_MB = dict.fromkeys(deployed.MEASURED, 1024)
SECONDS = dict.fromkeys(deployed.MEASURED, 0.1)
STAGE = deployed.stage(DEFINITION, TEMPLATE, MEMORY_MB, SECONDS)
MEASURED_STAGE = deployed.stage(DEFINITION, TEMPLATE, MEMORY_MB)
TRAFFIC = Traffic(1_000_000, held_back=0.25, rejected=0.0, picture_mb=2.0, kept_days=DAYS - 30, rest=1.0)
SERVERLESS = Serverless(2048)
ONE = Instances("ml.m5.xlarge", 1, 1.0)


def by_name(parts: list[Part]) -> dict[str, Part]:
    """The parts of a bill, each of which is there once."""
    found = {part.name: part for part in parts}
    assert len(found) == len(parts)
    return found


def ending(status: str) -> Traffic:
    """Pictures that all end alike."""
    return replace(TRAFFIC, held_back=float(status == "REVIEW"), rejected=float(status == "REJECTED"), rest=0.0)
