"""What an endpoint has seen and said, in numbers: over time, against its evaluation, and for CloudWatch."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from training import aws, drift
from training.aws import Place
from training.capture import Broken, Reading, Record, Span
from training.drift import Baseline, Drift
from training.endpoint import describe
from training.errors import InputError, ModelError
from training.layout import FORMAT_VERSION, METRICS_FILE
from training.metrics import share_of

JSON_FILE = "monitor.json"

NAMESPACE = "SconesUnlimited/Model"
"""Of the metrics in CloudWatch."""

LEAST_SURE = 24
"""How many of the least sure pictures the report shows."""

MAX_BROKEN = 20
"""How many broken lines are named; all are counted."""

MAX_SLOTS = 60
"""How many slots of time a chart has, at most."""

HOUR, DAY = 60, 24 * 60
WIDTHS = tuple(
    timedelta(minutes=minutes) for minutes in (1, 5, 15, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY)
)
"""How long a slot may be. The longest is taken where even it makes more than `MAX_SLOTS`."""

QUANTILES = (0.1, 0.5, 0.9)
UNNAMED = "not named"
"""Stands for the model of answers that do not name theirs."""


@dataclass(frozen=True)
class Slot:
    """A stretch of time with records.

    Attributes:
        start: its beginning, in UTC.
        records: how many there are.
        held_back: how many of them were held back.
        labels: how many were given each label.
        confidence: `QUANTILES` of their confidence.
    """

    start: datetime
    records: int
    held_back: int
    labels: dict[str, int]
    confidence: tuple[float, ...]


@dataclass(frozen=True)
class Findings:
    """Everything that was found out.

    Attributes:
        endpoint: the endpoint's name.
        place: where the capture files are.
        span: the range of time that was asked for.
        reading: what was read; at least one record.
        width: of each slot.
        slots: in order of time; those without records are missing.
        baseline: what the evaluation saw; None without an evaluation.
        drifts: of each feature that can be compared.
    """

    endpoint: str
    place: str
    span: Span
    reading: Reading
    width: timedelta
    slots: list[Slot]
    baseline: Baseline | None
    drifts: list[Drift]

    @property
    def records(self) -> list[Record]:
        """All records, sorted by time."""
        return self.reading.records

    @property
    def held_back(self) -> int:
        """How many records were held back."""
        return sum(record.held_back for record in self.records)

    @property
    def models(self) -> dict[str, int]:
        """Records by version of the model, the most frequent first."""
        return dict(Counter(record.model or UNNAMED for record in self.records).most_common())

    @property
    def labels(self) -> dict[str, int]:
        """Records by label, in the order of the labels' names."""
        return dict(sorted(Counter(record.label for record in self.records).items()))

    @property
    def drifted(self) -> list[str]:
        """The features that have drifted, by their names for people."""
        return [drift.NAMES[one.feature] for one in self.drifts if one.drifted]

    @property
    def least_sure(self) -> list[Record]:
        """The records whose pictures were kept, the least sure first."""
        kept = [record for record in self.records if record.event in self.reading.pictures]
        return sorted(kept, key=lambda record: (record.confidence, record.event))

    @property
    def remarks(self) -> list[str]:
        """What has to be known to read the rest rightly."""
        return [*_remarks_on_reading(self.reading), *_remarks_on_baseline(self)]


def capture_place(endpoint: str) -> Place:
    """Where an endpoint's data capture goes, down to the endpoint's own folder.

    Raises:
        InputError: there is no such endpoint, or it captures nothing.
    """
    described = describe(endpoint)
    if described is None:
        raise InputError(
            f"There is no endpoint {endpoint} in {aws.region()}. Deploy it with `python -m training deploy`, name "
            "another with --stage or --endpoint, or say with --capture where capture files are."
        )
    captured = described.get("DataCaptureConfig")
    if not captured or not captured["EnableCapture"]:
        raise InputError(
            f"The endpoint {endpoint} captures nothing; serverless ones cannot. Deploy it without --serverless and "
            "--no-capture, or say with --capture where older capture files are."
        )
    return Place.parse(captured["DestinationS3Uri"]) / endpoint


def read_baseline(folder: Path) -> Baseline | None:
    """The baseline of an evaluation; None if there is no evaluation.

    Raises:
        ModelError: what is there cannot be used.
    """
    path = folder / METRICS_FILE
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if metrics["version"] != FORMAT_VERSION:
            raise ValueError(f"version {metrics['version']}")
        return Baseline.parse(metrics)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{path} holds no baseline that can be read: {error!r}. Make it again with `python -m training evaluate`."
        ) from error


def find_out(endpoint: str, place: str, span: Span, reading: Reading, baseline: Baseline | None) -> Findings:
    """Work out everything that is reported.

    Args:
        endpoint: its name.
        place: where the capture files are.
        span: the range of time that was asked for.
        reading: what was read.
        baseline: what the evaluation saw; None compares nothing.

    Raises:
        InputError: there is no record.
    """
    if not reading.records:
        raise InputError(_nothing(place, span, reading))
    width = slot_width(reading.records)
    drifts = drift.compare(baseline, reading.records) if baseline else []
    return Findings(endpoint, place, span, reading, width, slots(reading.records, width), baseline, drifts)


def slot_width(records: Sequence[Record]) -> timedelta:
    """The shortest of `WIDTHS` with which `MAX_SLOTS` are enough for records that are sorted by time."""
    length = records[-1].time - records[0].time
    return next((width for width in WIDTHS if length < (MAX_SLOTS - 1) * width), WIDTHS[-1])


def slots(records: Sequence[Record], width: timedelta) -> list[Slot]:
    """Records by stretches of time.

    Args:
        records: sorted by time.
        width: of each slot; slots begin at whole multiples of it.
    """
    found: dict[datetime, list[Record]] = {}
    for record in records:
        start = datetime.fromtimestamp(record.time.timestamp() // width.total_seconds() * width.total_seconds(), UTC)
        found.setdefault(start, []).append(record)
    return [
        Slot(
            start=start,
            records=len(ours),
            held_back=sum(record.held_back for record in ours),
            labels=dict(sorted(Counter(record.label for record in ours).items())),
            confidence=quantiles(ours),
        )
        for start, ours in found.items()
    ]


def quantiles(records: Sequence[Record]) -> tuple[float, ...]:
    """`QUANTILES` of the confidence of at least one record."""
    return tuple(float(one) for one in np.quantile([record.confidence for record in records], QUANTILES))


def summary(findings: Findings) -> dict[str, Any]:
    """The content of `monitor.json`. The same records, range and baseline give the same content."""
    reading, records, baseline = findings.reading, findings.records, findings.baseline
    return {
        "version": FORMAT_VERSION,
        "endpoint": findings.endpoint,
        "capture": findings.place,
        "range": {
            "since": iso(findings.span.since),
            "until": iso(findings.span.until),
            "first": iso(records[0].time),
            "last": iso(records[-1].time),
        },
        "counts": {
            "records": len(records),
            "files": reading.files,
            "broken": len(reading.broken),
            "repeated": reading.repeated,
            "outside": reading.outside,
            "without_picture": sum(record.short_side is None for record in records),
        },
        "broken": [asdict(one) for one in reading.broken[:MAX_BROKEN]],
        "models": findings.models,
        "labels": findings.labels,
        "confidence": _by_quantile(quantiles(records)),
        "held_back": asdict(share_of(findings.held_back, len(records))),
        "slot_seconds": findings.width.total_seconds(),
        "slots": [
            asdict(slot) | {"start": iso(slot.start), "confidence": _by_quantile(slot.confidence)}
            for slot in findings.slots
        ],
        "baseline": baseline
        and {
            "model": baseline.model,
            "labels": baseline.labels,
            "held_back": asdict(share_of(baseline.held_back, baseline.total)),
        },
        "drift": [asdict(one) for one in findings.drifts],
        "drifted": [one.feature for one in findings.drifts if one.drifted],
        "least_sure": [
            {
                "event": record.event,
                "inference_id": record.inference_id,
                "time": iso(record.time),
                "place": record.place,
                "label": record.label,
                "confidence": record.confidence,
                "known": record.known,
                "held_back": record.held_back,
            }
            for record in findings.least_sure
        ],
        "remarks": findings.remarks,
    }


def iso(moment: datetime) -> str:
    """A moment in ISO 8601, to the second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def metric_data(findings: Findings) -> list[dict[str, Any]]:
    """What goes to CloudWatch: `MetricData` of `PutMetricData`.

    Shares and indices have no unit there. All belong to the moment at which they are sent.
    """
    by_endpoint = [{"Name": "EndpointName", "Value": findings.endpoint}]
    middle = quantiles(findings.records)[QUANTILES.index(0.5)]
    judged = [one for one in findings.drifts if one.judged]
    values = [
        ("Records", len(findings.records), "Count", by_endpoint),
        ("HeldBackShare", findings.held_back / len(findings.records), "None", by_endpoint),
        ("MedianConfidence", middle, "None", by_endpoint),
        *([("DriftedFeatures", len(findings.drifted), "Count", by_endpoint)] if judged else []),
        *(
            ("PopulationStabilityIndex", one.psi, "None", [*by_endpoint, {"Name": "Feature", "Value": one.feature}])
            for one in judged
        ),
    ]
    return [
        {"MetricName": name, "Dimensions": dimensions, "Value": float(value), "Unit": unit}
        for name, value, unit, dimensions in values
    ]


def put_metrics(findings: Findings) -> int:
    """Send the numbers to CloudWatch, in one call: it takes 1000, and these are ten at most.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html

    Returns:
        How many were sent.
    """
    data = metric_data(findings)
    aws.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data)
    return len(data)


def _nothing(place: str, span: Span, reading: Reading) -> str:
    found = "There are no capture files of that time."
    if reading.files:
        found = f"Files read: {reading.files}. Records of another time: {reading.outside}."
        found += f" Left out: {_broken(reading.broken)}." if reading.broken else ""
    return (
        f"{place} has no record {span}. {found} Give another range with --since and --until. What was captured just "
        "now takes some minutes to get there."
    )


def _broken(broken: Sequence[Broken]) -> str:
    lines = "1 broken line" if len(broken) == 1 else f"{len(broken)} broken lines"
    return f"{lines}, the first at {broken[0].place}: {broken[0].reason}"


def _remarks_on_reading(reading: Reading) -> list[str]:
    remarks = []
    if reading.broken:
        remarks.append(f"Left out: {_broken(reading.broken)}.")
    without = sum(record.short_side is None for record in reading.records)
    if without:
        remarks.append(f"Records without a picture that can be read: {without}. Brightness and size leave them out.")
    return remarks


def _remarks_on_baseline(findings: Findings) -> list[str]:
    baseline = findings.baseline
    if baseline is None:
        return ["There is no evaluation to compare with. Make one with `python -m training evaluate`."]
    remarks = []
    others = [model for model in findings.models if model not in (baseline.model, UNNAMED)]
    if others:
        remarks.append(
            f"The evaluation is of the model {baseline.model}, but {', '.join(others)} answered, too: drift may come "
            "from the model."
        )
    if not all(one.judged for one in findings.drifts):
        remarks.append(f"Features with fewer than {drift.MIN_RECORDS} records or pictures are not judged.")
    return remarks


def _by_quantile(values: Sequence[float]) -> dict[str, float]:
    return {f"p{quantile * 100:.0f}": value for quantile, value in zip(QUANTILES, values, strict=True)}
