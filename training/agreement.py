"""How a model does on reviewed pictures, beside people and beside the model that had held them back.

Only pictures that nothing was trained on count. They are no test of a model all in all: each is there because a model
was unsure of it, so that any other model looks better beside that one than it is. The test split tells how good it is.

| key | what |
|---|---|
| `pictures` | how many were asked about |
| `trained_on` | how many other reviewed pictures the data set has for training |
| `near_duplicates` | how many look like a picture that was trained on |
| `sha256` | over the pictures and their labels |
| `models` | versions of the models that had held them back, counted; "" for those that told none |
| `before` | what these had said: `agrees`, `neither_seen`, `held_back`, `accepted_right`, shares as in `metrics.json` |
| `now` | what the model says: the same shares |
| `changed` | each picture that is decided otherwise now: `path`, `label` and `by` of the reviewer, `before` and `now` with `right`, `label`, `confidence`, `known`, `is_known` and `accepted`; what it wrongly accepts first |
"""  # noqa: E501 - a table

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chalicelib.decision import is_known
from chalicelib.store import NEITHER
from training import metrics
from training.layout import REVIEWED, Manifest, Said
from training.predict import Prediction

ROWS = (
    ("names the class the person named", "agrees"),
    ("sees that it is none of the classes", "neither_seen"),
    ("holds it back", "held_back"),
    ("right, of the accepted", "accepted_right"),
)
"""The shares in words, in the order in which people read them."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Opinion:
    """What a model says of a picture.

    Attributes:
        right: whether it says what the person said: the class, or that it is none of them.
        label: the likeliest class.
        confidence: its probability, 0 to 1.
        known: how surely the picture shows one of the classes at all, 0 to 1; None where the model does not tell.
        is_known: whether that is enough.
        accepted: whether the app accepts the class.
    """

    right: bool
    label: str | None
    confidence: float | None
    known: float | None
    is_known: bool
    accepted: bool


@dataclass(frozen=True)
class Reviewed:
    """A picture with what a person said of it, and two models.

    Attributes:
        path: below the data set's folder.
        label: what the person said it shows: a class, or `NEITHER`.
        by: who that was.
        before: what the model said that held it back.
        now: what the model says that is judged.
    """

    path: str
    label: str
    by: str
    before: Opinion
    now: Opinion

    @property
    def is_changed(self) -> bool:
        """Whether the two are decided otherwise: only one of them is right, or is accepted."""
        return (self.before.right, self.before.accepted) != (self.now.right, self.now.accepted)


def judge(manifest: Manifest, predictions: Sequence[Prediction]) -> Json:
    """The content of `reviewed` in `metrics.json`.

    Args:
        manifest: of the data set.
        predictions: what the model said about every picture of the split `REVIEWED`, at least one.
    """
    pictures = [_together(manifest, one) for one in predictions]
    models = Counter(manifest.reviews[one.path].said.model or "" for one in predictions)
    changed = sorted((one for one in pictures if one.is_changed), key=_order)
    return {
        "pictures": len(pictures),
        "trained_on": len(manifest.reviews) - len(pictures),
        "near_duplicates": len(manifest.near_duplicates_of(REVIEWED)),
        "sha256": manifest.digest(REVIEWED),
        "models": dict(sorted(models.items())),
        "before": _shares([one.label for one in pictures], [one.before for one in pictures]),
        "now": _shares([one.label for one in pictures], [one.now for one in pictures]),
        "changed": [asdict(one) for one in changed],
    }


def _together(manifest: Manifest, prediction: Prediction) -> Reviewed:
    review, shown = manifest.reviews[prediction.path], prediction.label
    now = Opinion(
        right=_is_right(shown, prediction.predicted, known=prediction.is_known),
        label=prediction.predicted,
        confidence=prediction.confidence,
        known=prediction.known,
        is_known=prediction.is_known,
        accepted=prediction.is_kept,
    )
    return Reviewed(prediction.path, shown, review.by, _before(shown, review.said), now)


def _before(shown: str, said: Said) -> Opinion:
    """What the model had said; it was held back, or nobody would have reviewed it."""
    known = is_known(said.known, said.min_known or 0.0)
    return Opinion(
        right=_is_right(shown, said.label, known=known),
        label=said.label,
        confidence=said.confidence,
        known=said.known,
        is_known=known,
        accepted=False,
    )


def _is_right(shown: str, label: str | None, *, known: bool) -> bool:
    return not known if shown == NEITHER else label == shown


def _shares(shown: Sequence[str], opinions: Sequence[Opinion]) -> Json:
    """How often a model is right about pictures that show this."""
    both = list(zip(shown, opinions, strict=True))
    found = {
        "agrees": [one.right for label, one in both if label != NEITHER],
        "neither_seen": [one.right for label, one in both if label == NEITHER],
        "held_back": [not one.accepted for one in opinions],
        "accepted_right": [one.right for one in opinions if one.accepted],
    }
    return {name: asdict(metrics.share(flags)) for name, flags in found.items()}


def _order(one: Reviewed) -> tuple[bool, bool, float, str]:
    """What is wrongly accepted first, then what is wrong, the surest of each before the others."""
    return not one.now.accepted or one.now.right, one.now.right, -(one.now.confidence or 0.0), one.path
