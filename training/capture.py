"""What data capture wrote: every record of every file, and every line that is none, told by name.

SageMaker writes what an endpoint is asked and what it answers into JSON Lines files:

    PREFIX/ENDPOINT/VARIANT/YYYY/MM/DD/HH/MM-SS-mmm-UUID.jsonl

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html

A line holds one request: the picture as base64, and the answer as text, or as base64 where the endpoint was not told
that its content type is JSON. The answer is read as `chalicelib/endpoint.py` reads it, so ours and the bare list of
SageMaker's built-in image classification will do.

A month of it may hold more pictures than memory does. So each picture is looked at as it comes by, and only those of
the least sure answers are kept.
"""

import base64
import heapq
import io
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from PIL import ImageStat

from chalicelib.decision import Decision, is_enough, likeliest
from chalicelib.endpoint import Answer, understand
from chalicelib.errors import InvalidInference
from chalicelib.settings import DEFAULT_THRESHOLD
from training import aws
from training.aws import Place
from training.errors import AccountError, InputError
from training.source import inference

WORKERS = 8
"""Files that are read at the same time."""

AHEAD = 2 * WORKERS
"""Files that are read before their turn, at most: what was read of each holds pictures until then."""

DELAY = timedelta(hours=1)
"""How far a record may lie outside its file's hour: captured lines are gathered for minutes before they are written."""

BASE64 = "BASE64"
WHITE = 255

LEVELS = 2
"""Folders above the years, at most: the endpoint's and the variant's."""

AGO = re.compile(r"(\d{1,5})([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
HOUR = re.compile(r"(?:^|/)(20\d\d/\d\d/\d\d/\d\d)/[^/]+$")
YEAR = re.compile(r"20\d\d")
SUFFIX = ".jsonl"

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Nothing was captured before: a range that begins earlier begins here."""

Advance = Callable[[], None]
"""Told that one more file is read."""


@dataclass(frozen=True)
class Span:
    """A range of time, in UTC; both ends belong to it.

    Attributes:
        since: its first moment.
        until: its last moment.
    """

    since: datetime
    until: datetime

    @classmethod
    def parse(cls, since: str, until: str | None, now: datetime) -> Self:
        """Read two moments: times in ISO 8601, in UTC unless they say otherwise, or so long ago: `90m`, `24h`, `7d`.

        Args:
            since: the first.
            until: the last; None for now.
            now: in UTC.

        Raises:
            InputError: one cannot be read, or the second comes before the first.
        """
        span = cls(max(BEGINNING, _moment(since, now)), now if until is None else _moment(until, now))
        if span.since > span.until:
            raise InputError(f"The range ends before it begins: {span}. Give a --since that is before --until.")
        return span

    def __str__(self) -> str:
        return f"from {self.since:%Y-%m-%d %H:%M:%S} to {self.until:%Y-%m-%d %H:%M:%S} UTC"

    def __contains__(self, moment: datetime) -> bool:
        return self.since <= moment <= self.until

    def may_hold(self, name: str) -> bool:
        """Whether a capture file can hold records of this range, going by the hour in its name."""
        hour = _hour(name)
        return hour is None or (hour + timedelta(hours=1) + DELAY >= self.since and not self.is_over(name))

    def is_over(self, name: str) -> bool:
        """Whether a capture file was begun after everything in this range."""
        hour = _hour(name)
        return hour is not None and hour - DELAY > self.until


@dataclass(frozen=True)
class Record:
    """A picture that the endpoint was asked about, and its answer.

    Attributes:
        event: identity of the request; the same in each copy of it.
        inference_id: what the caller names the request: in the app the id of the record; None where it names none.
        time: of the answer, in UTC.
        place: `FILE:LINE` that it was read from.
        label: the likeliest class.
        confidence: its probability, 0 to 1.
        known: how surely the picture shows one of the classes at all, 0 to 1; None where the model does not tell.
        threshold: the confidence that is needed.
        min_known: the `known` that is needed.
        model: the model's version; None where it does not tell.
        brightness: of the picture, as `brightness` defines it; None if none was captured, or none that is readable.
        short_side: of the picture, in px; None likewise.
    """

    event: str
    inference_id: str | None
    time: datetime
    place: str
    label: str
    confidence: float
    known: float | None
    threshold: float
    min_known: float
    model: str | None
    brightness: float | None
    short_side: int | None

    @property
    def held_back(self) -> bool:
        """Whether the app leaves the picture to a person, by the rule of `chalicelib/decision.py`."""
        return not is_enough(self.confidence, self.threshold, self.known, self.min_known)


@dataclass(frozen=True)
class Broken:
    """A line that is no record: `FILE:LINE`, and why."""

    place: str
    reason: str


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        records: sorted by time.
        pictures: of the least sure records that have one, by event.
        files: how many were read.
        broken: lines that are no record.
        repeated: records that were there before, by their event.
        outside: records outside the range of time.
    """

    records: list[Record]
    pictures: dict[str, bytes]
    files: int
    broken: list[Broken]
    repeated: int
    outside: int


@dataclass(frozen=True)
class Rules:
    """How lines are read.

    Attributes:
        span: only records of this range count.
        labels: the classes, for answers that do not name them.
        threshold: the confidence needed, for answers that do not name it.
        keep: of how many least sure records the pictures are kept.
        may_keep: of which records they may be kept.
    """

    span: Span
    labels: Sequence[str] = ()
    threshold: float = DEFAULT_THRESHOLD
    keep: int = 0
    may_keep: Callable[["Record"], bool] = lambda _: True


@dataclass(frozen=True)
class File:
    """A capture file: its name, and what gets its bytes."""

    name: str
    read: Callable[[], bytes]


class _BrokenLine(Exception):
    """A line is no record; the message says why."""


@dataclass
class _Part:
    """What one file, or several, held: records by event, and the pictures of the least sure of them."""

    records: dict[str, Record] = field(default_factory=dict)
    pictures: list[tuple[Record, bytes]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    repeated: int = 0
    outside: int = 0

    def add(self, record: Record) -> None:
        """Take a record, if its event is not there yet."""
        self.repeated += self.records.setdefault(record.event, record) is not record

    def keep(self, pictures: Iterable[tuple[Record, bytes]], count: int) -> None:
        """Keep the pictures of the least sure records among those that were kept before and these."""
        ours = (pair for pair in pictures if self.records[pair[0].event] is pair[0])
        pairs = (*self.pictures, *ours)
        self.pictures = heapq.nsmallest(count, pairs, key=lambda pair: (pair[0].confidence, pair[0].event))


def files_at(source: str, span: Span, option: str) -> list[File]:
    """The capture files at a folder or place in S3 that may hold records of a range.

    Args:
        source: a folder, or `s3://bucket/prefix`.
        span: the range.
        option: that it was given with.

    Raises:
        InputError: there is no such folder, or it is no place in S3.
        AccountError: there is no such bucket.
    """
    if source.startswith("s3://"):
        return files_in_s3(Place.parse(source), span, option)
    return files_in_folder(Path(source), span)


def files_in_folder(folder: Path, span: Span) -> list[File]:
    """The capture files below a folder that may hold records of a range, in order of their names.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Give one with capture files, or s3://bucket/prefix.")
    paths = [path for path in sorted(folder.rglob(f"*{SUFFIX}")) if path.is_file()]
    names = [(path, path.relative_to(folder).as_posix()) for path in paths]
    return [File(name, partial(_read_path, path)) for path, name in names if span.may_hold(name)]


def files_in_s3(place: Place, span: Span, option: str = "--capture") -> list[File]:
    """The capture files below a place that may hold records of a range; nothing else is listed where years are folders.

    Args:
        place: the destination of the data capture, or the endpoint's or variant's folder in it.
        span: the range.
        option: that names another place.

    Raises:
        AccountError: there is no such bucket.
    """
    try:
        keys = [key for key in _keys(place, span, LEVELS) if key.endswith(SUFFIX) and span.may_hold(key)]
    except ClientError as error:
        if aws.error_code(error) != "NoSuchBucket":
            raise
        raise AccountError(f"There is no bucket {place.bucket}. Name another with {option}.") from error
    return [File(f"s3://{place.bucket}/{key}", partial(_get, place.bucket, key)) for key in keys]


def read(files: Sequence[File], rules: Rules, advance: Advance) -> Reading:
    """Read capture files, several at the same time.

    Args:
        files: in the order in which the first of equal events counts.
        rules: how lines are read.
        advance: told of progress.

    Raises:
        InputError: a file cannot be read.
    """
    found = _Part()
    with ThreadPoolExecutor(WORKERS) as executor:
        for part in _parts(executor, files, rules):
            for record in part.records.values():
                found.add(record)
            found.keep(part.pictures, rules.keep)
            found.broken += part.broken
            found.repeated += part.repeated
            found.outside += part.outside
            advance()
    return Reading(
        records=sorted(found.records.values(), key=lambda record: (record.time, record.event)),
        pictures={record.event: picture for record, picture in found.pictures},
        files=len(files),
        broken=found.broken,
        repeated=found.repeated,
        outside=found.outside,
    )


def each(files: Iterable[File], rules: Rules, advance: Advance) -> Iterator[tuple[Record, bytes | None]]:
    """Every record with its picture, one after the other, for whoever needs more pictures than memory holds.

    Lines that are no record, and records outside the range, are passed over.

    Args:
        files: in their order.
        rules: how lines are read.
        advance: told of progress.

    Yields:
        A record, and the picture; None if none was captured, or none that is readable.

    Raises:
        InputError: a file cannot be read.
    """
    for file in files:
        for number, line in enumerate(file.read().splitlines(), 1):
            try:
                record, picture = _read_line(line, f"{file.name}:{number}", rules)
            except _BrokenLine:
                continue
            if record is not None:
                yield record, picture
        advance()


def brightness(picture: inference.Picture) -> float:
    """Mean brightness of a picture: luma by ITU-R BT.601, from 0, black, to 1, white."""
    return ImageStat.Stat(picture.image.convert("L")).mean[0] / WHITE


def _moment(text: str, now: datetime) -> datetime:
    ago = AGO.fullmatch(text.strip())
    if ago:
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        return _time(text.strip())
    except (ValueError, OverflowError) as error:
        raise InputError(f"{text!r} is no time. Write it as 2026-01-31T08:00, or as 90m, 24h or 7d ago.") from error


def _time(text: str) -> datetime:
    """A time in ISO 8601 as one in UTC, which it is in unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _hour(name: str) -> datetime | None:
    found = HOUR.search(name)
    try:
        return datetime.strptime(found[1], "%Y/%m/%d/%H").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


def _keys(place: Place, span: Span, levels: int) -> Iterator[str]:
    """Keys below a place; where years are its folders only those from the range's first hour to its last."""
    prefix = f"{place.prefix}/" if place.prefix else ""
    folders: list[str] = []
    keys: list[str] = []
    for page in _pages(place.bucket, Prefix=prefix, Delimiter="/"):
        folders += [one["Prefix"].removeprefix(prefix).strip("/") for one in page.get("CommonPrefixes", [])]
        keys += [one["Key"] for one in page.get("Contents", [])]
    if levels and not any(YEAR.fullmatch(name) for name in folders):
        yield from keys
        for name in folders:
            yield from _keys(place / name, span, levels - 1)
        return
    is_dated = all(YEAR.fullmatch(name) for name in folders) and not keys
    first_hour = span.since - DELAY - timedelta(hours=1)
    start = {"StartAfter": f"{prefix}{first_hour:%Y/%m/%d/%H}"} if is_dated else {}
    for page in _pages(place.bucket, Prefix=prefix, **start):
        for one in page.get("Contents", []):
            if is_dated and span.is_over(one["Key"]):
                return
            yield one["Key"]


def _pages(bucket: str, **options: str) -> Iterable[dict[str, Any]]:
    pages: Iterable[dict[str, Any]] = (
        aws.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=bucket, ExpectedBucketOwner=aws.account(), **options)
    )
    return pages


def _get(bucket: str, key: str) -> bytes:
    buffer = io.BytesIO()
    aws.client("s3").download_fileobj(
        bucket,
        key,
        buffer,
        ExtraArgs={"ExpectedBucketOwner": aws.account()},
        Config=TransferConfig(use_threads=False),
    )
    return buffer.getvalue()


def _parts(executor: Executor, files: Iterable[File], rules: Rules) -> Iterator[_Part]:
    """What each file held, in the order of the files."""
    ahead: deque[Future[_Part]] = deque()
    for file in files:
        if len(ahead) == AHEAD:
            yield ahead.popleft().result()
        ahead.append(executor.submit(_read_file, file, rules))
    while ahead:
        yield ahead.popleft().result()


def _read_path(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _read_file(file: File, rules: Rules) -> _Part:
    part = _Part()
    for number, line in enumerate(file.read().splitlines(), 1):
        if not line.strip():
            continue
        place = f"{file.name}:{number}"
        try:
            record, picture = _read_line(line, place, rules)
        except _BrokenLine as error:
            part.broken.append(Broken(place, str(error)))
            continue
        if record is None:
            part.outside += 1
            continue
        part.add(record)
        if picture is not None and rules.may_keep(record):
            part.keep([(record, picture)], rules.keep)
    return part


def _read_line(line: bytes, place: str, rules: Rules) -> tuple[Record | None, bytes | None]:
    """The record and its picture; None for what is outside the range."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _BrokenLine(f"this is no JSON: {error}") from error
    try:
        metadata, sides = content["eventMetadata"], content["captureData"]
        time = _time(metadata["inferenceTime"])
        event, inference_id = metadata.get("eventId"), metadata.get("inferenceId")
        asked, answered = sides.get("endpointInput"), sides.get("endpointOutput")
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError) as error:
        raise _BrokenLine(f"this is no line of data capture: {error!r}") from error
    if time not in rules.span:
        return None, None
    picture = _picture(asked)
    decision, answer = _answer(answered, rules)
    brightness, short_side = (None, None) if picture is None else _look(picture)
    record = Record(
        event=str(event or place),
        inference_id=None if inference_id is None else str(inference_id),
        time=time,
        place=place,
        label=decision.label,
        confidence=decision.confidence,
        known=answer.known,
        threshold=rules.threshold if answer.threshold is None else answer.threshold,
        min_known=answer.min_known or 0.0,
        model=answer.model,
        brightness=brightness,
        short_side=short_side,
    )
    return record, None if short_side is None else picture


def _picture(side: Mapping[str, str] | None) -> bytes | None:
    """The picture that was sent; None if what was sent was not captured, or is text."""
    try:
        if side is None or side["encoding"] != BASE64:
            return None
        return base64.b64decode(side["data"], validate=True)
    except (ValueError, TypeError, KeyError) as error:
        raise _BrokenLine(f"the picture cannot be read: {error!r}") from error


def _look(picture: bytes) -> tuple[float | None, int | None]:
    """Brightness and short side of a picture; None for one that cannot be read."""
    try:
        decoded = inference.decode(picture)
    except inference.UnreadableImageError:
        return None, None
    return brightness(decoded), decoded.short_side


def _answer(side: Mapping[str, str] | None, rules: Rules) -> tuple[Decision, Answer]:
    """What the endpoint said, and the likeliest class by that."""
    if side is None:
        raise _BrokenLine("the answer was not captured")
    try:
        text = side["data"]
        if side["encoding"] == BASE64:
            text = base64.b64decode(text, validate=True).decode()
        body = (text if text.lstrip().startswith(("[", "{")) else f"[{text}]").encode()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _BrokenLine(f"the answer cannot be read: {error!r}") from error
    try:
        answer = understand(body, rules.labels)
        labels = answer.labels or [f"class {number}" for number in range(len(answer.inferences))]
        return likeliest(labels, answer.inferences), answer
    except InvalidInference as error:
        raise _BrokenLine(str(error)) from error
