"""What CloudWatch is told: a line in the log, of which it makes a metric, without a call that could fail."""

NAMESPACE = "scones-unlimited"
OLDEST = "OldestUnfinished"
"""Seconds that the oldest picture waits that is still PENDING; 0 if none is."""

DIMENSION = "table"
"""The name of the table of records, which tells the stages apart."""


def tell_oldest(table: str, seconds: float) -> None:
    """Tell how long the oldest unfinished picture waits.

    Args:
        table: the table's name.
        seconds: how long.
    """
    from aws_lambda_powertools.metrics import MetricUnit, single_metric  # here, for the one function that needs it

    with single_metric(
        name=OLDEST, unit=MetricUnit.Seconds, value=seconds, namespace=NAMESPACE, default_dimensions={DIMENSION: table}
    ):
        pass
