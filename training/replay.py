"""Captured traffic under other thresholds: what would have been accepted and held back, and what that would have cost.

Nothing is asked again: what the endpoint answered is decided once more, by the rule of `chalicelib/decision.py`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from chalicelib import decision
from chalicelib.decision import Reason
from training.capture import Record
from training.costs import Costs
from training.monitor import UNNAMED


@dataclass(frozen=True)
class Setting:
    """A pair of thresholds that traffic is decided by.

    Attributes:
        name: for people.
        threshold: the confidence that is needed; None for the one that came with each answer.
        min_known: the `known` that is needed; None likewise.
    """

    name: str
    threshold: float | None = None
    min_known: float | None = None

    def reason(self, record: Record) -> Reason | None:
        """Why a record is held back by this setting; None for one that is accepted."""
        threshold = record.threshold if self.threshold is None else self.threshold
        min_known = record.min_known if self.min_known is None else self.min_known
        return decision.reason(record.confidence, threshold, record.known, min_known)


OWN = Setting("the model's own")
"""As each answer said."""


@dataclass(frozen=True)
class Replayed:
    """What a setting makes of the answers of one model.

    Attributes:
        setting: the setting.
        accepted: number of pictures.
        low_confidence: number of pictures that are held back as the model is not sure enough.
        unknown_object: number of pictures that are held back as they may show none of the classes.
        more_reviews: how many more are held back than by the model's own thresholds.
        expected_wrong: how many of the accepted are wrong if the probabilities are what they say: Σ(1 - confidence).
        expected_cost: USD of these mistakes and of the reviews.
        reviewed: how many of the accepted a person has decided about.
        reviewed_right: how many of these show what the model says.
    """

    setting: Setting
    accepted: int
    low_confidence: int
    unknown_object: int
    more_reviews: int
    expected_wrong: float
    expected_cost: float
    reviewed: int
    reviewed_right: int

    @property
    def held_back(self) -> int:
        """Number of pictures that are held back."""
        return self.low_confidence + self.unknown_object


def what_ifs(thresholds: Sequence[float], min_knowns: Sequence[float]) -> list[Setting]:
    """A setting for each pair of what is asked for; what is not asked for stays as it came with each answer."""
    pairs = product(thresholds or (None,), min_knowns or (None,))
    return [
        Setting(f"what if {_words(threshold, min_known)}", threshold, min_known)
        for threshold, min_known in pairs
        if (threshold, min_known) != (None, None)
    ]


def last_answers(records: Iterable[Record]) -> list[Record]:
    """Each picture once, with its last answer: a workflow that asks again decides by that.

    Args:
        records: sorted by time. Those that do not name what they are about count each for themselves.
    """
    return list({record.inference_id or record: record for record in records}.values())


def by_model(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by the version of the model that answered, the most frequent first."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.model or UNNAMED, []).append(record)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))


def replay(
    records: Sequence[Record], settings: Iterable[Setting], costs: Costs, reviews: Mapping[str, str]
) -> list[Replayed]:
    """Decide answers once more.

    Args:
        records: of one model.
        settings: to decide by.
        costs: of decisions.
        reviews: what people say that pictures show, by `inference_id`.
    """
    before = sum(record.held_back for record in records)
    return [_replay(records, setting, costs, reviews, before) for setting in settings]


def _replay(
    records: Sequence[Record], setting: Setting, costs: Costs, reviews: Mapping[str, str], before: int
) -> Replayed:
    reasons = [setting.reason(record) for record in records]
    counts = Counter(reasons)
    accepted = [record for record, reason in zip(records, reasons, strict=True) if reason is None]
    reviewed = [record for record in accepted if record.inference_id in reviews]
    held_back = len(records) - len(accepted)
    expected_wrong = sum(1 - record.confidence for record in accepted)
    return Replayed(
        setting=setting,
        accepted=len(accepted),
        low_confidence=counts[Reason.LOW_CONFIDENCE],
        unknown_object=counts[Reason.UNKNOWN_OBJECT],
        more_reviews=held_back - before,
        expected_wrong=expected_wrong,
        expected_cost=expected_wrong * costs.wrong + held_back * costs.review,
        reviewed=len(reviewed),
        reviewed_right=sum(reviews[record.inference_id or ""] == record.label for record in reviewed),
    )


def _words(threshold: float | None, min_known: float | None) -> str:
    words = [] if threshold is None else [f"{threshold:g}"]
    words += [] if min_known is None else [f"known {min_known:g}"]
    return ", ".join(words)
