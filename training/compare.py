"""Two models judged on the same pictures: what `comparison.json` says, and the rule that a promotion goes by.

A is the model that runs now, B the one that is to take its place. The same answers give the same bytes.

| key | what |
|---|---|
| `version` | of this file's shape |
| `a`, `b` | `name`, as it was asked for; `version`; `head_sha256` and `archive_sha256`, null where nobody can tell; `endpoint`, null for a folder or an archive; `threshold` and `min_known` |
| `data` | `kind`, one of `training.material.Kind`; `place`; `labels`; number of `pictures`, of those among them `with_truth`, of the `others` among these, which show none of the classes, and of those `left_out`; `sha256` over them and their labels, of a split as in `metrics.json` |
| `verdict` | `verdict`, one of `Verdict`, and its `reasons` in words |
| `figures` | for each of `FIGURES` how often it is so, as `Paired` of `training/paired.py` explains |
| `could_show` | as `Reach` explains |
| `moves` | `was`, `now` and `count`: what was decided and is decided now, the most frequent change first |
| `changed` | each picture that is decided otherwise: `path`, `label` or null, `change`, one of `Change`, and `a` and `b`, as `Opinion` explains; in the order of `Change`, the surest first |
"""  # noqa: E501 - a table

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from chalicelib.store import NEITHER
from training import predict
from training.material import UNKNOWN, Material
from training.paired import Json, Paired, chance, paired, reach
from training.predict import Prediction

COMPARISON = Path("build/comparison")
JSON_FILE = "comparison.json"
VERSION = 1

FIGURES = {
    "right": "right class",
    "decided_rightly": "decided rightly",
    "wrongly_accepted": "wrongly accepted",
    "held_back": "held back",
}
"""What is counted, in words. Only pictures of the classes have a right class, accepted or not. To accept it is to
decide rightly, and so is to hold back a picture that shows none of the classes. Held back may be any picture, whether
or not anybody knows what it shows."""


class Verdict(StrEnum):
    """Whether B is better than A; `verdict` says when."""

    BETTER = "better"
    MIXED = "mixed"
    NO_DIFFERENCE = "no difference shown"
    WORSE = "worse"
    NOT_JUDGED = "not judged"


class Change(StrEnum):
    """What becomes of a picture that B decides otherwise; what to look at first comes first."""

    WRONGLY_ACCEPTED = "wrongly accepted now"
    WRONG = "right before, wrong now"
    ANOTHER_CLASS = "accepted as another class"
    RIGHT = "wrong before, right now"
    NOT_WRONGLY_ACCEPTED = "no longer wrongly accepted"
    HELD_BACK = "held back now"
    ACCEPTED = "accepted now"
    ANOTHER_REASON = "held back for another reason"


@dataclass(frozen=True)
class Subject:
    """A model that is compared.

    Attributes:
        name: as it was asked for.
        head_sha256: of its `head.json`; None where nobody can tell.
        archive_sha256: of its `model.tar.gz`; None where nobody can tell.
        endpoint: the endpoint's name; None for a model that is asked on this machine.
    """

    name: str
    head_sha256: str | None
    archive_sha256: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True)
class Opinion:
    """What a model says of a picture.

    Attributes:
        label: the likeliest class.
        confidence: its probability, 0 to 1.
        known: how surely the picture shows one of the classes at all, 0 to 1; None where the model does not tell.
        reason: why the app holds it back, one of `chalicelib.decision.Reason`; None where it accepts the class.
        right: whether the likeliest class is what the picture shows; of a picture that shows none of the classes,
            whether it is held back; None where nobody knows what it shows.
    """

    label: str
    confidence: float
    known: float | None
    reason: str | None
    right: bool | None

    @property
    def accepted(self) -> bool:
        """Whether the app accepts the class."""
        return self.reason is None

    @property
    def wrongly_accepted(self) -> bool:
        """Whether the app accepts a class that the picture does not show."""
        return self.accepted and self.right is False

    @property
    def state(self) -> str:
        """The decision in words, with right or wrong where that is known."""
        if self.right is None:
            return f"accepted as {self.label}" if self.accepted else f"held back, {self.reason}"
        return f"{'accepted' if self.accepted else f'held back, {self.reason}'}, {'right' if self.right else 'wrong'}"


@dataclass(frozen=True)
class Pair:
    """A picture and what both models say of it.

    Attributes:
        path: its name.
        label: what it shows: a class, or `NEITHER`; None where nobody knows.
        a: what A says.
        b: what B says.
    """

    path: str
    label: str | None
    a: Opinion
    b: Opinion

    @property
    def change(self) -> Change | None:
        """What becomes of it; None if B decides as A does, and is as right."""
        a, b = self.a, self.b
        if _decision(a) == _decision(b):
            return None
        cases = (
            (Change.WRONGLY_ACCEPTED, b.wrongly_accepted and not a.wrongly_accepted),
            (Change.WRONG, a.right and b.right is False),
            (Change.ANOTHER_CLASS, a.accepted and b.accepted and a.right is b.right),
            (Change.RIGHT, a.right is False and b.right),
            (Change.NOT_WRONGLY_ACCEPTED, a.wrongly_accepted),
            (Change.HELD_BACK, a.accepted),
            (Change.ACCEPTED, b.accepted),
        )
        return next((change for change, applies in cases if applies), Change.ANOTHER_REASON)


def verdict(right: Paired, decided_rightly: Paired, wrongly_accepted: Paired) -> tuple[Verdict, list[str]]:
    """The rule: whether B is better than A, by three figures that each are tested at the level `SIGNIFICANCE`.

    `WORSE`, which B may not be promoted with:
        it is right significantly less often; or it wrongly accepts significantly more often; or it decides rightly
        significantly less often, as where it leaves more to people, and gains nothing significant for it.
    `BETTER`:
        it is right, or decides rightly, significantly more often, or wrongly accepts significantly less often; none of
        the three is significantly worse, and it does not wrongly accept more pictures, not even by chance.
    `MIXED`:
        something is significantly better, but it either wrongly accepts more pictures, no more than chance explains,
        or decides rightly significantly less often.
    `NO_DIFFERENCE`:
        nothing is significantly better or worse. That may be for there being too few pictures: see `reach`.

    Of two models that are equally good, chance makes one look worse in 7.5 % of the comparisons at most: each of the
    three does so on its bad side in 2.5 %. A difference that matters and is smaller than `reach` goes unseen.

    Args:
        right: how often the likeliest class is what the picture shows.
        decided_rightly: how often it is accepted besides, or a picture that shows none of the classes is held back.
        wrongly_accepted: how often a class is accepted that the picture does not show.

    Returns:
        The verdict, and its reasons as sentences.
    """
    gains = [right.rises, decided_rightly.rises, wrongly_accepted.falls]
    losses = [right.falls, decided_rightly.falls, wrongly_accepted.rises]
    reasons = [
        _sentence("names the right class on", right),
        _sentence("decides rightly on", decided_rightly),
        _sentence("wrongly accepts", wrongly_accepted),
    ]
    if right.falls or wrongly_accepted.rises or (any(losses) and not any(gains)):
        return Verdict.WORSE, reasons
    if not any(gains):
        return Verdict.NO_DIFFERENCE, reasons
    if any(losses) or wrongly_accepted.b > wrongly_accepted.a:
        return Verdict.MIXED, reasons
    return Verdict.BETTER, reasons


def judge(material: Material, a: Subject, b: Subject, of_a: Sequence[Prediction], of_b: Sequence[Prediction]) -> Json:
    """The content of `comparison.json`.

    Args:
        material: the pictures, at least one.
        a: the model that runs now.
        b: the one that is to take its place.
        of_a: what A said about each picture.
        of_b: and B, in the same order.

    Raises:
        EndpointFailed: several models answered behind one endpoint.
    """
    pairs = [
        Pair(one.path, one.label or None, _opinion(one), _opinion(other)) for one, other in zip(of_a, of_b, strict=True)
    ]
    with_truth = [one for one in pairs if one.label is not None]
    figures = {
        "right": paired([(bool(one.a.right), bool(one.b.right)) for one in with_truth if one.label != NEITHER]),
        "decided_rightly": paired([(_decided_rightly(one, one.a), _decided_rightly(one, one.b)) for one in with_truth]),
        "wrongly_accepted": paired([(one.a.wrongly_accepted, one.b.wrongly_accepted) for one in with_truth]),
        "held_back": paired([(not one.a.accepted, not one.b.accepted) for one in pairs]),
    }
    subjects = {"a": _about(a, of_a), "b": _about(b, of_b)}
    changed = sorted(((change, one) for one in pairs if (change := one.change)), key=_order)
    moves = Counter((one.a.state, one.b.state) for _, one in changed)
    found, reasons = _not_judged(material, subjects) or verdict(
        figures["right"], figures["decided_rightly"], figures["wrongly_accepted"]
    )
    return {
        "version": VERSION,
        **subjects,
        "data": {
            "kind": material.kind,
            "place": material.place,
            "labels": list(material.labels),
            "pictures": len(pairs),
            "with_truth": len(with_truth),
            "others": sum(one.label == NEITHER for one in with_truth),
            "left_out": material.left_out,
            "sha256": material.sha256,
        },
        "verdict": {"verdict": found, "reasons": reasons},
        "figures": {name: asdict(figure) for name, figure in figures.items()},
        "could_show": asdict(reach(figures["right"])),
        "moves": [
            {"was": was, "now": now, "count": pictures}
            for (was, now), pictures in sorted(moves.items(), key=lambda move: (-move[1], move[0]))
        ],
        "changed": [
            {"path": one.path, "label": one.label, "change": change, "a": asdict(one.a), "b": asdict(one.b)}
            for change, one in changed
        ],
    }


def to_json(content: Json) -> str:
    """The text of `comparison.json`."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _decision(one: Opinion) -> tuple[str | None, str | None, bool | None]:
    return one.label if one.accepted else None, one.reason, one.right


def _decided_rightly(pair: Pair, one: Opinion) -> bool:
    return bool(one.right) and (one.accepted or pair.label == NEITHER)


def _opinion(one: Prediction) -> Opinion:
    right = {UNKNOWN: None, NEITHER: one.reason is not None}.get(one.label, one.is_right)
    return Opinion(one.predicted, one.confidence, one.known, one.reason, right)


def _about(subject: Subject, predictions: Sequence[Prediction]) -> Json:
    version, threshold, min_known = predict.one_model(predictions, f"behind {subject.name}")
    return asdict(subject) | {"version": version, "threshold": threshold, "min_known": min_known}


def _not_judged(material: Material, subjects: Json) -> tuple[Verdict, list[str]] | None:
    """The verdict where these pictures allow none."""
    known = [one for one in material.pictures if one.label != UNKNOWN]
    if not known:
        return Verdict.NOT_JUDGED, [
            "Nobody knows what these pictures show: what changes can be seen, not what is right."
        ]
    unsure = {subjects[one]["version"] for one in ("a", "b")} | {None}
    chosen = [one for one in known if one.path in material.held_back_by and material.held_back_by[one.path] in unsure]
    if not chosen:
        return None
    return Verdict.NOT_JUDGED, [
        f"Of the {len(known)} pictures of which it is known what they show, {len(chosen)} are there because one of the "
        "two was unsure of them. That makes the other look better than it is where right classes are counted, and "
        "worse where wrongly accepted ones are. Judge on the test split."
    ]


def _order(changed: tuple[Change, Pair]) -> tuple[int, float, str]:
    change, one = changed
    return list(Change).index(change), -one.b.confidence, one.path


def _sentence(what: str, figure: Paired) -> str:
    how_many = "more" if figure.rises else "fewer" if figure.falls else None
    shown = f"significantly {how_many}" if how_many else "no significant difference"
    on = "on " if what.endswith(" on") else ""
    p = chance(figure.p_value)
    return (
        f"B {what} {figure.b} of {figure.total} pictures, A {on}{figure.a}: {shown} (p {'' if '<' in p else '= '}{p})."
    )
