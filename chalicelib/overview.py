"""What became of the pictures of the last hours, in figures (pure)."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from chalicelib.decision import Reason
from chalicelib.store import Record, Status

BINS = 20
"""Of the histogram of confidences, from 0 to 1."""

MAX_RECORDS = 20_000
"""Most records that are counted: about ten seconds of reading."""

HELD_BACK = (Status.REVIEW, Status.REVIEWED)


def summarize(records: Iterable[Record]) -> dict[str, Any]:
    """Counts of records.

    Args:
        records: as many as you like.

    Returns:
        `counts` by status, `labels` of those accepted, what people decided as `reviewed`, the `reasons` of those held
        back, and a `histogram` of the confidences of those accepted and those held back.
    """
    counts, reasons = Counter[str](dict.fromkeys(Status, 0)), Counter[str](dict.fromkeys(Reason, 0))
    labels, reviewed = Counter[str](), Counter[str]()
    accepted, held_back = [0] * BINS, [0] * BINS
    for record in records:
        counts[record.status] += 1
        if record.review:
            reviewed[record.review.label] += 1
        if record.reason_code:
            reasons[record.reason_code] += 1
        if record.confidence is None:
            continue
        place = min(int(record.confidence * BINS), BINS - 1)
        if record.status is Status.ACCEPTED:
            labels[str(record.label)] += 1
            accepted[place] += 1
        elif record.status in HELD_BACK:
            held_back[place] += 1
    return {
        "counts": dict(counts),
        "labels": dict(labels),
        "reviewed": dict(reviewed),
        "reasons": dict(reasons),
        "histogram": {"bins": BINS, "accepted": accepted, "held_back": held_back},
    }
