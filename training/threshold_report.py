"""What `threshold` tells: in numbers, in sentences, and as a report with the costs of every threshold."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training import report, threshold_charts
from training.capture import Reading, Record, Span
from training.costs import PER, Check, Costs, Curve, Interval, Outcome, Recommendation
from training.layout import FORMAT_VERSION
from training.monitor import MAX_BROKEN, iso
from training.replay import Replayed, Setting
from training.report import Chart, usd

TEMPLATE = "threshold.html"
JSON_FILE = "threshold.json"

SAME = 1e-9
"""Thresholds that are no farther apart are the same."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Pictures:
    """The pictures that the costs are measured on, and who was asked about them.

    Attributes:
        model: name of the model.
        split: of the data set.
        classes: number of pictures of the classes.
        others: number of pictures of none of them.
        others_share: the share of the traffic that shows none of the classes, as it was given; None: as here.
    """

    model: str
    split: str
    classes: int
    others: int
    others_share: float | None


@dataclass(frozen=True)
class Traffic:
    """Captured traffic, decided once more.

    Attributes:
        place: where the capture files are.
        span: the range of time that was asked for.
        reading: what was read, at least one record.
        records: each picture once, with its last answer.
        models: what each setting makes of the answers of each model.
        reviews: how many pictures of this traffic people have decided about; None where nobody looked.
    """

    place: str
    span: Span
    reading: Reading
    records: list[Record]
    models: dict[str, list[Replayed]]
    reviews: int | None

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures each model answered about."""
        return {model: rows[0].accepted + rows[0].held_back for model, rows in self.models.items()}

    @property
    def remarks(self) -> list[str]:
        """What has to be known to read the rest rightly."""
        remarks = []
        broken, again = self.reading.broken, len(self.reading.records) - len(self.records)
        if broken:
            lines = "1 broken line" if len(broken) == 1 else f"{len(broken)} broken lines"
            remarks.append(f"Left out: {lines}, the first at {broken[0].place}: {broken[0].reason}.")
        if again:
            remarks.append(f"Answers about a picture that was asked about again later: {again}. The last one counts.")
        if self.reviews == 0:
            remarks.append("Nobody has reviewed any of these pictures.")
        return remarks


@dataclass(frozen=True)
class Findings:
    """Everything that was found out.

    Attributes:
        pictures: what the costs are measured on.
        costs: of decisions.
        recommendation: what to set, and why.
        what_ifs: the settings that were asked for, and what they do on the pictures.
        traffic: captured traffic under these settings; None where none was asked for.
    """

    pictures: Pictures
    costs: Costs
    recommendation: Recommendation
    what_ifs: list[tuple[Setting, Outcome]]
    traffic: Traffic | None

    @property
    def rows(self) -> dict[str, Outcome]:
        """What is compared, by what it is called."""
        found, recommended = self.recommendation, self.recommendation.recommended
        return {
            "accept all": found.accept_all,
            "the model's own": found.own,
            **({} if found.check.stands else {"Chow's rule": found.by_chow}),
            "recommended": recommended,
            "cheapest here": found.cheapest,
            **{setting.name: outcome for setting, outcome in self.what_ifs},
            "hold all back": found.review_all,
        }

    @property
    def variables(self) -> dict[str, str]:
        """What to write into a stage's `environment_variables`: thresholds that are not the model's own."""
        own, best = self.recommendation.own, self.recommendation.recommended
        pairs = {
            "CONFIDENCE_THRESHOLD": (own.threshold, best.threshold),
            "MIN_KNOWN": (own.min_known, best.min_known),
        }
        return {
            name: f"{there:g}" if there == float(f"{there:g}") else repr(there)
            for name, (here, there) in pairs.items()
            if here is not None and there is not None and abs(here - there) > SAME
        }

    @property
    def lines(self) -> str:
        """The same as they stand in `.chalice/config.json`."""
        return ", ".join(f'"{name}": "{value}"' for name, value in self.variables.items())

    @property
    def reasons(self) -> list[str]:
        """What speaks for the recommendation, in sentences."""
        found = self.recommendation
        checks = [_on_check(found.check), _on_known(found)] if self.costs.chow else []
        return [_chow(self.costs), *checks, _on_cheapest(found), _on_own(found)]

    @property
    def remarks(self) -> list[str]:
        """What has to be known to read the rest rightly."""
        pictures = self.pictures
        remarks = []
        if pictures.split == "test":
            remarks.append(
                "These are test pictures: a threshold that is chosen by them looks better on them than it is, and so "
                "does the model then. Choose by validation pictures."
            )
        if pictures.others and pictures.others_share is None:
            share = pictures.others / (pictures.classes + pictures.others)
            remarks.append(
                f"{share:.1%} of these pictures show none of the classes. If that is another share of the traffic, the "
                "costs are, too: say it with --others-share."
            )
        return remarks + (self.traffic.remarks if self.traffic else [])


def summary(findings: Findings) -> Json:
    """The content of `threshold.json`. The same answers, costs and traffic give the same content."""
    found = findings.recommendation
    return {
        "version": FORMAT_VERSION,
        "pictures": asdict(findings.pictures),
        "costs": asdict(findings.costs) | {"per": PER},
        "recommended": {"threshold": found.recommended.threshold, "min_known": found.recommended.min_known},
        "environment_variables": findings.variables,
        "chow": findings.costs.chow,
        "check": _check(found.check),
        "known_check": found.known_check and _check(found.known_check),
        "outcomes": {name: asdict(outcome) for name, outcome in findings.rows.items()},
        "cheapest_threshold": asdict(found.cheapest_cut),
        "between": asdict(found.between),
        "saved_beside_own": asdict(found.saved),
        "missed_beside_cheapest": asdict(found.missed),
        "by_threshold": _points(found.curve, "threshold"),
        "by_min_known": found.known_curve and _points(found.known_curve, "min_known"),
        "traffic": findings.traffic and _traffic(findings.traffic),
        "reasons": findings.reasons,
        "remarks": findings.remarks,
    }


def write(path: Path, findings: Findings) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        findings: what it tells.
    """
    report.write(
        path,
        TEMPLATE,
        findings=findings,
        per=PER,
        charts=_charts(findings),
        least_sure=list(_least_sure(findings.traffic)) if findings.traffic else [],
        max_broken=MAX_BROKEN,
    )


def _charts(findings: Findings) -> list[Chart]:
    found, pictures, traffic = findings.recommendation, findings.pictures, findings.traffic
    settings = [setting for setting, _ in findings.what_ifs]
    charts = [
        threshold_charts.cost_chart(found, settings),
        threshold_charts.coverage_chart(found, settings, pictures.split, traffic.records if traffic else ()),
    ]
    if found.known_curve and pictures.others:
        charts.append(threshold_charts.known_chart(found, found.known_curve, settings))
    return charts


def _chow(costs: Costs) -> str:
    if not costs.chow:
        return "A review costs as much as a wrong class or more, so nothing is worth holding back."
    return (
        f"A wrong class costs {costs.wrong:g} USD and a review {costs.review:g}. If probabilities are what they say, a "
        f"picture is worth accepting from a confidence of 1 - {costs.review:g}/{costs.wrong:g} = {costs.chow:.6g} on "
        "(Chow's rule)."
    )


def _on_check(check: Check) -> str:
    if check.stands:
        return f"The pictures do not speak against that (p = {check.p_value:.2g}): it is recommended as it is."
    return (
        f"The pictures speak against that (p = {check.p_value:.2g}): at {check.setting:.6g} the model is right "
        f"{'less' if check.fitted > check.setting else 'more'} often than it says. As often as needed it is from "
        f"{check.fitted:.6g} on, so that is recommended."
    )


def _on_known(found: Recommendation) -> str:
    check, own = found.known_check, found.own.min_known
    if check is None:
        return (
            f"Of the known that is needed nothing can be said without pictures of none of the classes: the model's own "
            f"{own:g} stays."
        )
    if check.stands:
        return f"They do not speak against the model's own {own:g} for known (p = {check.p_value:.2g}): it stays."
    return (
        f"For known the model's own {own:g} is not where a picture begins to be worth accepting "
        f"(p = {check.p_value:.2g}): that is at {check.fitted:.6g}, so that is recommended."
    )


def _on_cheapest(found: Recommendation) -> str:
    cut, missed, between = found.cheapest_cut, found.missed, found.between
    return (
        f"On these very pictures {_or_all(found.cheapest.threshold)} costs least (95 % interval "
        f"{cut.low:.3f} to {cut.high:.3f}), {_range(missed)} USD per {PER} pictures less than the recommended one. "
        f"Between the two lie {between.pictures} pictures; wrong are {between.wrong}, and by their probabilities "
        f"{between.expected:.1f} would be. What is found on the pictures that it is measured on is not recommended."
    )


def _on_own(found: Recommendation) -> str:
    saved = found.saved
    more = Interval(-saved.value, -saved.high, -saved.low)
    what = f"save {_range(saved)} USD" if saved.value >= 0 else f"cost {_range(more)} USD more"
    return f"Beside the model's own thresholds the recommended ones {what} per {PER} of these pictures."


def _range(interval: Interval) -> str:
    return f"{usd(interval.value)} ({usd(interval.low)} to {usd(interval.high)})"


def _or_all(threshold: float | None) -> str:
    return "holding all back" if threshold is None else f"a threshold of {threshold:.6g}"


def _check(check: Check) -> Json:
    return asdict(check) | {"stands": check.stands}


def _points(curve: Curve, name: str) -> list[Json]:
    columns = (curve.cuts, curve.accepted, curve.wrong, curve.cost)
    return [
        {name: float(cut), "accepted": float(accepted), "wrong": float(wrong), "cost": float(cost)}
        for cut, accepted, wrong, cost in zip(*columns, strict=True)
        if np.isfinite(cut)
    ]


def _traffic(traffic: Traffic) -> Json:
    return {
        "place": traffic.place,
        "range": {"since": iso(traffic.span.since), "until": iso(traffic.span.until)},
        "counts": {
            "files": traffic.reading.files,
            "records": len(traffic.reading.records),
            "pictures": len(traffic.records),
            "repeated": traffic.reading.repeated,
            "broken": len(traffic.reading.broken),
            "reviewed": traffic.reviews,
        },
        "models": [
            {"model": model, "pictures": traffic.counts[model], "settings": [asdict(row) for row in rows]}
            for model, rows in traffic.models.items()
        ],
    }


def _least_sure(traffic: Traffic) -> Iterator[tuple[Record, list[str], str]]:
    """The accepted pictures that were kept, the least sure first, with the settings that accept each."""
    settings = [row.setting for row in next(iter(traffic.models.values()))]
    kept = [record for record in traffic.records if record.event in traffic.reading.pictures]
    for record in sorted(kept, key=lambda one: (one.confidence, one.event)):
        names = [setting.name for setting in settings if setting.reason(record) is None]
        yield record, names, report.thumbnail_uri(traffic.reading.pictures[record.event])
