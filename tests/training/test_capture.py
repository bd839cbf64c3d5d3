import base64
import io
import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from tests.training import drawings
from tests.training.captured import ALWAYS, LABELS, NOON, hourly, key, line, read_lines, said, write
from tests.training.recorder import Recorder
from training import aws, capture
from training.aws import Place
from training.capture import File, Rules, Span, brightness, each, files_at, files_in_folder, files_in_s3, read
from training.errors import AccountError, InputError
from training.layout import ROOT
from training.source import inference

BICYCLE = drawings.encode(drawings.bicycle(64))
PLACE = Place("bucket", "capture")
HOUR = timedelta(hours=1)
DAY = Span(datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 4, 23, 59, 59, tzinfo=UTC))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    recorder = Recorder({"GetCallerIdentity": lambda _: {"Account": "123456789012"}})
    monkeypatch.setattr(boto3, "Session", recorder.session)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    aws.client.cache_clear()
    aws.account.cache_clear()
    yield recorder
    aws.client.cache_clear()
    aws.account.cache_clear()


def listing(keys: list[str], page: int = 1000) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Lists keys as S3 does, with folders, a start and pages."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        prefix, found, folders = params["Prefix"], [], set()
        after = params.get("ContinuationToken") or params.get("StartAfter", "")
        for one in sorted(keys):
            rest = one.removeprefix(prefix)
            if not one.startswith(prefix) or one <= after:
                continue
            if params.get("Delimiter") and "/" in rest:
                folders.add(f"{prefix}{rest.partition('/')[0]}/")
            else:
                found.append({"Key": one})
        more = {"IsTruncated": True, "NextContinuationToken": found[page - 1]["Key"]} if len(found) > page else {}
        return {"Contents": found[:page], "CommonPrefixes": [{"Prefix": one} for one in sorted(folders)], **more}

    return answer


def test_every_record_of_every_file_is_read(tmp_path: Path) -> None:
    for number, at in enumerate(hourly(3)):
        write(tmp_path, [line(f"{number}-{one}", at=at) for one in range(4)], at, f"{number}")
    read_files = []
    reading = read(files_in_folder(tmp_path, ALWAYS), Rules(ALWAYS), lambda: read_files.append(1))
    assert Counter(record.event[0] for record in reading.records) == {"0": 4, "1": 4, "2": 4}
    assert reading.files == len(read_files) == 3
    assert not reading.broken
    assert reading.records[5].place == f"{key(NOON + HOUR, '1')}:2"


@pytest.mark.parametrize("encoding", ["JSON", "BASE64", "CSV"])
@pytest.mark.parametrize("answer", ["[0.97, 0.03]", "0.97,0.03", "0.97, 0.03\n", said(0.97), f"\n {said(0.97)}"])
def test_answer_is_read_however_it_is_written_down(answer: str, encoding: str) -> None:
    (record,) = read_lines(line(answer=answer, encoding=encoding)).records
    assert (record.label, record.confidence) == ("bicycle", 0.97)


def test_record_holds_what_the_line_says() -> None:
    answer = said(0.6, "motorcycle", known=0.7, threshold=0.65, min_known=0.4, model="m7")
    (record,) = read_lines(line("e9", answer, NOON, BICYCLE, inference_id="abc")).records
    assert (record.event, record.inference_id, record.time, record.place) == ("e9", "abc", NOON, "a.jsonl:1")
    assert (record.label, record.confidence, record.known, record.model) == ("motorcycle", 0.6, 0.7, "m7")
    assert (record.threshold, record.min_known, record.short_side) == (0.65, 0.4, 64)
    assert record.brightness == brightness(inference.decode(BICYCLE))


def test_answer_without_a_threshold_is_held_to_the_one_given() -> None:
    rules = Rules(ALWAYS, LABELS, threshold=0.9)
    bare, own = read_lines(line("a", "[0.85, 0.15]"), line("b", said(0.85)), rules=rules).records
    assert (bare.threshold, bare.min_known, bare.known, bare.model) == (0.9, 0.0, None, None)
    assert bare.held_back
    assert not own.held_back


@pytest.mark.parametrize(
    ("confidence", "known", "outcome"),
    [(0.8, 0.5, "accepted"), (0.79, 0.5, "held back"), (0.8, 0.49, "held back"), (0.8, None, "accepted")],
)
def test_record_is_held_back_as_the_app_does(confidence: float, known: float | None, outcome: str) -> None:
    (record,) = read_lines(line(answer=said(confidence, known=known, threshold=0.8, min_known=0.5))).records
    assert record.held_back is (outcome == "held back")


def test_answer_without_labels_is_numbered_where_nobody_names_them() -> None:
    (record,) = read_lines(line(answer="[0.1, 0.2, 0.7]"), rules=Rules(ALWAYS)).records
    assert record.label == "class 2"


@pytest.mark.parametrize(
    "time",
    [
        "2026-03-04T12:00:00Z",
        "2026-03-04T12:00:00",
        "2026-03-04T14:00:00+02:00",
        "2026-03-04T12:00:00.000Z",
        "2026-03-04T12:00:00.0Z",
        "2026-03-04T12:00:00.000000000Z",
    ],
)
def test_time_is_read_with_fractions_and_offsets(time: str) -> None:
    assert read_lines(line(at=time)).records[0].time == NOON


def test_fractions_of_a_second_are_kept() -> None:
    (record,) = read_lines(line(at="2026-03-04T12:00:00.123Z")).records
    assert record.time == NOON + timedelta(milliseconds=123)


def test_records_are_sorted_by_time() -> None:
    lines = [line(str(number), at=at) for number, at in enumerate(reversed(hourly(4)))]
    assert [record.event for record in read_lines(*lines).records] == ["3", "2", "1", "0"]


def test_event_that_is_there_twice_counts_once_and_the_first_stands() -> None:
    lines = (line("a", said(0.9)), line("b"), line("a", said(0.6)))
    other = b"\n".join(one.encode() for one in (line("b"), line("c")))
    first = "\n".join(lines).encode()
    reading = read([File("1", lambda: first), File("2", lambda: other)], Rules(ALWAYS), lambda: None)
    assert {record.event: record.place for record in reading.records} == {"a": "1:1", "b": "1:2", "c": "2:2"}
    assert reading.repeated == 2


def test_lines_without_an_event_are_all_different() -> None:
    content = json.loads(line())
    del content["eventMetadata"]["eventId"]
    assert len(read_lines(json.dumps(content), json.dumps(content)).records) == 2


def changed(**sides: Any) -> str:
    """A line with something else in `captureData`."""
    content = json.loads(line(picture=BICYCLE))
    content["captureData"] |= sides
    return json.dumps(content)


ENCODED = base64.b64encode(BICYCLE).decode()

BROKEN: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("nonsense", "this is no JSON"),
    "cut off": (line()[:-20], "this is no JSON"),
    "invalid UTF-8": (b'{"eventMetadata": "\xff"}', "this is no JSON: 'utf-8' codec can't decode byte 0xff"),
    "too deep": ("[" * 100_000, "this is no JSON"),
    "something else": ("[1, 2]", "this is no line of data capture"),
    "no time": (json.dumps({"captureData": {}, "eventMetadata": {}}), "KeyError('inferenceTime')"),
    "time that is none": (line(at="yesterday"), "this is no line of data capture"),
    "time before all times": (line(at="0001-01-01T00:00:00+14:00"), "this is no line of data capture"),
    "truncated base64 of a picture": (
        changed(endpointInput={"data": ENCODED[:-3], "encoding": "BASE64"}),
        "the picture cannot be read",
    ),
    "base64 of a picture with strange letters": (
        changed(endpointInput={"data": "****", "encoding": "BASE64"}),
        "the picture cannot be read",
    ),
    "picture without encoding": (changed(endpointInput={"data": ENCODED}), "KeyError('encoding')"),
    "answer not captured": (changed(endpointOutput=None), "the answer was not captured"),
    "truncated base64 of an answer": (
        changed(endpointOutput={"data": "WzAuOTcsIDAuMDN", "encoding": "BASE64"}),
        "the answer cannot be read",
    ),
    "answer of invalid UTF-8": (
        changed(endpointOutput={"data": base64.b64encode(b"[0.97, 0.03]\xff").decode(), "encoding": "BASE64"}),
        "the answer cannot be read: UnicodeDecodeError",
    ),
    "answer of half a character": (
        changed(endpointOutput={"data": "\ud800", "encoding": "JSON"}),
        "the answer cannot be read: UnicodeEncodeError",
    ),
    "answer that is no text": (changed(endpointOutput={"data": [0.9, 0.1], "encoding": "JSON"}), "AttributeError"),
    "answer of a regression": (line(answer="0.0254181120544672", encoding="CSV"), "Got 1 probabilities for 2 classes."),
    "answer of no probabilities": (line(answer="[0.9, 0.9]"), "The probabilities sum to 1.8000, not to 1."),
    "answer in words": (line(answer="no"), "The endpoint answered something else than probabilities"),
}


@pytest.mark.parametrize(("broken", "reason"), BROKEN.values(), ids=BROKEN)
def test_broken_line_is_told_by_its_place_and_does_not_stop_the_rest(broken: str | bytes, reason: str) -> None:
    reading = read_lines(line("before"), "", broken, line("after"))
    assert [record.event for record in reading.records] == ["after", "before"]
    (told,) = reading.broken
    assert told.place == "a.jsonl:3"
    assert reason in told.reason


@given(st.binary())
@example(b"\r")
def test_no_file_whatever_it_holds_stops_the_rest(content: bytes) -> None:
    reading = read([File("x", lambda: content), File("y", line().encode)], Rules(ALWAYS), lambda: None)
    assert [record.place for record in reading.records] == ["y:1"]


WHOLE = line(picture=BICYCLE, answer=said(model="é"), inference_id="id").encode()


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_no_damaged_line_stops_the_rest(place: int, byte: int) -> None:
    damaged = WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
    reading = read_lines(damaged, WHOLE[:place], line("whole"))
    assert "whole" in [record.event for record in reading.records]


def test_picture_that_cannot_be_read_leaves_its_answer_in() -> None:
    reading = read_lines(line(picture=BICYCLE[:100]), rules=Rules(ALWAYS, LABELS, keep=1))
    (record,) = reading.records
    assert (record.label, record.brightness, record.short_side) == ("bicycle", None, None)
    assert not reading.pictures


def test_request_that_is_text_has_no_picture() -> None:
    text = {"data": "1,2,3", "encoding": "CSV", "mode": "INPUT"}
    assert read_lines(changed(endpointInput=text)).records[0].brightness is None


@pytest.mark.parametrize(("shade", "expected"), [(0, 0.0), (51, 0.2), (255, 1.0)])
def test_brightness_goes_from_black_to_white(shade: int, expected: float) -> None:
    picture = drawings.encode(Image.new("RGB", (8, 8), (shade, shade, shade)))
    assert brightness(inference.decode(picture)) == pytest.approx(expected)


def test_pictures_of_the_least_sure_alone_are_kept() -> None:
    lines = [line(str(number), said(0.6 + number / 100), picture=BICYCLE) for number in range(20)]
    lines += [line("0", said(0.6), picture=BICYCLE)] * 3
    assert set(read_lines(*lines, rules=Rules(ALWAYS, keep=5)).pictures) == {"0", "1", "2", "3", "4"}
    files = [File(str(number), one.encode) for number, one in enumerate(reversed(lines))]
    reading = read(files, Rules(ALWAYS, keep=5), lambda: None)
    assert set(reading.pictures) == {"0", "1", "2", "3", "4"}
    assert reading.repeated == 3


READ = """
import sys, tracemalloc
from pathlib import Path
from training.capture import Rules, Span, files_in_folder, read
span = Span.parse("2001-01-01", "2099-01-01", None)
files, rules = files_in_folder(Path(sys.argv[1]), span), Rules(span, keep=3)
read(files[:16], rules, lambda: None)
tracemalloc.start()
reading = read(files, rules, lambda: None)
print(len(reading.records), len(reading.pictures), tracemalloc.get_traced_memory()[1])
"""
"""For a process of its own: what is measured is the memory of all threads, and some here belong to other tests."""


def test_pictures_that_are_not_kept_take_no_memory(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    picture = drawings.encode(Image.fromarray(noise))
    count, size = 400, len(picture)
    at_once = 12 * capture.WORKERS + capture.AHEAD  # a line is there as bytes, as text, and as the picture in it
    for number in range(count):
        (tmp_path / f"{number:03}.jsonl").write_text(line(str(number), said(0.6 + number / 1000), picture=picture))
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", READ, tmp_path], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    records, pictures, peak = map(int, done.stdout.split())
    assert (records, pictures) == (count, 3)
    assert peak < at_once * size < count * size / 3


def test_pictures_are_kept_of_no_records_but_those_that_are_wanted() -> None:
    lines = [line(str(number), said(0.6 + number / 100), picture=BICYCLE) for number in range(20)]
    rules = Rules(ALWAYS, keep=3, may_keep=lambda record: record.confidence >= 0.7)
    assert set(read_lines(*lines, rules=rules).pictures) == {"10", "11", "12"}


def test_each_record_comes_with_its_picture_and_broken_lines_are_passed_over() -> None:
    content = "\n".join(
        [line("a", picture=BICYCLE), "nonsense", line("b"), line("c", at="2031-01-01T00:00:00Z")]
    ).encode()
    files = [File("1", lambda: content), File("2", lambda: line("d").encode())]
    read_files = []
    found = list(each(files, Rules(DAY), lambda: read_files.append(1)))
    assert [(record.event, picture) for record, picture in found] == [("a", BICYCLE), ("b", None), ("d", None)]
    assert len(read_files) == 2


def test_few_files_are_read_before_their_turn() -> None:
    done, begun = threading.Event(), []

    def first() -> bytes:
        assert done.wait(20)
        return b""

    def other() -> bytes:
        begun.append(1)
        if len(begun) == capture.AHEAD - 1:
            threading.Timer(0.2, done.set).start()
        if not done.is_set():
            assert len(begun) < capture.AHEAD
        return b""

    files = [File("first", first), *[File(str(number), other) for number in range(100)]]
    assert read(files, Rules(ALWAYS), lambda: None).files == 101
    assert len(begun) == 100


def test_both_ends_of_a_range_belong_to_it() -> None:
    span = Span(NOON, NOON + HOUR)
    moments = [NOON - timedelta(seconds=1), NOON, NOON + HOUR, NOON + HOUR + timedelta(seconds=1)]
    lines = [line(str(number), at=at) for number, at in enumerate(moments)]
    reading = read_lines(*lines, rules=Rules(span))
    assert [record.event for record in reading.records] == ["1", "2"]
    assert reading.outside == 2


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90m", NOON - timedelta(minutes=90)),
        ("24h", NOON - timedelta(hours=24)),
        (" 7d ", NOON - timedelta(days=7)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T08:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-03-01T08:00:30Z", datetime(2026, 3, 1, 8, 0, 30, tzinfo=UTC)),
        ("2026-03-01T08:00+02:00", datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("0001-01-01", datetime(2000, 1, 1, tzinfo=UTC)),
        ("99999d", datetime(2000, 1, 1, tzinfo=UTC)),
    ],
)
def test_beginning_of_a_range_is_a_time_or_so_long_ago(text: str, moment: datetime) -> None:
    assert Span.parse(text, None, NOON) == Span(moment, NOON)


def test_end_of_a_range_is_written_likewise() -> None:
    assert Span.parse("2d", "1d", NOON) == Span(NOON - timedelta(days=2), NOON - timedelta(days=1))
    assert Span.parse("2d", "2d", NOON).until == NOON - timedelta(days=2)


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7w", "-7d", "1.5h", "2026-02-30", "0001-01-01T00:00+14:00"])
def test_what_is_no_time_is_refused_with_how_to_write_one(text: str) -> None:
    for since, until in ((text, None), ("7d", text)):
        with pytest.raises(
            InputError, match=re.escape(f"{text!r} is no time. Write it as 2026-01-31T08:00, or as 90m")
        ):
            Span.parse(since, until, NOON)


def test_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InputError, match="ends before it begins: from 2026-03-04 11:00:00 to 2026-03-04 10:00:00 UTC"):
        Span.parse("1h", "2h", NOON)
    with pytest.raises(InputError, match="ends before it begins"):
        Span.parse("2027-01-01", None, NOON)


def test_files_of_other_hours_are_left_alone(tmp_path: Path) -> None:
    for at in hourly(12):
        write(tmp_path, [line()], at)
    names = [file.name for file in files_in_folder(tmp_path, Span(NOON + 5 * HOUR, NOON + 6 * HOUR))]
    assert names == [key(NOON + hours * HOUR) for hours in range(3, 8)]


def test_record_that_was_written_late_or_early_is_found(tmp_path: Path) -> None:
    for at in hourly(12):
        write(tmp_path, [line(f"{at:%H}", at=NOON + 5.5 * HOUR)], at)
    span = Span(NOON + 5 * HOUR, NOON + 6 * HOUR)
    found = {record.event for record in read(files_in_folder(tmp_path, span), Rules(span), lambda: None).records}
    assert found >= {"16", "17", "18"}


def test_files_without_an_hour_in_their_name_are_all_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line("a") + "\n")
    odd = tmp_path / "2026" / "13" / "45" / "99" / "b.jsonl"
    odd.parent.mkdir(parents=True)
    odd.write_text(line("b"))
    (tmp_path / "notes.txt").write_text("not read")
    assert [file.name for file in files_in_folder(tmp_path, DAY)] == ["2026/13/45/99/b.jsonl", "a.jsonl"]


def test_empty_folder_holds_no_files(tmp_path: Path) -> None:
    assert files_in_folder(tmp_path, ALWAYS) == []


def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no folder .*nowhere\. Give one with capture files"):
        files_in_folder(tmp_path / "nowhere", ALWAYS)


def test_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, [line()])
    files = files_in_folder(tmp_path, ALWAYS)
    path.unlink()
    with pytest.raises(InputError, match=r"00-00-000-a\.jsonl cannot be read: No such file or directory"):
        read(files, Rules(ALWAYS), lambda: None)


def hours_of(days: int) -> list[str]:
    return [f"capture/{key(NOON + timedelta(hours=hours))}" for hours in range(24 * days)]


@pytest.mark.parametrize("place", [PLACE, PLACE / "shop", PLACE / "shop" / "AllTraffic"])
def test_files_outside_the_range_are_neither_listed_nor_fetched(recorder: Recorder, place: Place) -> None:
    fetched = []

    def get(params: dict[str, Any]) -> dict[str, Any]:
        fetched.append(params["Key"])
        return {"Body": io.BytesIO(line().encode()), "ContentLength": len(line()), "ETag": '"1"'}

    recorder.answers |= {"ListObjectsV2": listing(hours_of(30), page=20), "HeadObject": get, "GetObject": get}
    span = Span(NOON + 240 * HOUR, NOON + 242 * HOUR)
    read(files_in_s3(place, span), Rules(span), lambda: None)
    wanted = {f"capture/{key(NOON + hours * HOUR)}" for hours in range(238, 244)}
    assert set(fetched) == wanted
    flat = [params for params in recorder.of("ListObjectsV2") if "Delimiter" not in params]
    assert len(flat) == 1
    assert flat[0]["StartAfter"] == "capture/shop/AllTraffic/2026/03/14/10"
    everything = recorder.of("ListObjectsV2") + recorder.of("GetObject") + recorder.of("HeadObject")
    assert {params["ExpectedBucketOwner"] for params in everything} == {"123456789012"}


def test_all_pages_of_a_range_are_listed(recorder: Recorder) -> None:
    recorder.answers["ListObjectsV2"] = listing(hours_of(30), page=100)
    files = files_in_s3(PLACE, ALWAYS)
    assert [file.name for file in files] == [f"s3://bucket/{one}" for one in hours_of(30)]


def test_variants_and_files_in_other_places_are_found(recorder: Recorder) -> None:
    keys = [
        "a.jsonl",
        "notes.txt",
        f"one/{key()}",
        "shop/b.jsonl",
        key(variant="shop/A"),
        key(variant="shop/B"),
        key(NOON - 30 * 24 * HOUR, variant="shop/B"),
    ]
    recorder.answers["ListObjectsV2"] = listing(keys)
    found = {file.name.removeprefix("s3://bucket/") for file in files_in_s3(Place("bucket", ""), DAY)}
    assert found == {"a.jsonl", f"one/{key()}", "shop/b.jsonl", key(variant="shop/A"), key(variant="shop/B")}


def test_bucket_that_is_not_there_is_refused(recorder: Recorder) -> None:
    recorder.answers["ListObjectsV2"] = lambda _: {"Error": {"Code": "NoSuchBucket", "Message": "no"}}
    with pytest.raises(AccountError, match=r"There is no bucket bucket\. Name another with --capture\."):
        files_in_s3(PLACE, ALWAYS)
    with pytest.raises(AccountError, match=r"Name another with --captured\."):
        files_at("s3://bucket/capture", ALWAYS, "--captured")


def test_files_are_looked_for_in_s3_or_in_a_folder_by_how_the_place_is_written(
    recorder: Recorder, tmp_path: Path
) -> None:
    recorder.answers["ListObjectsV2"] = listing(["capture/a.jsonl"])
    write(tmp_path, [line()])
    assert [file.name for file in files_at("s3://bucket/capture", ALWAYS, "--captured")] == [
        "s3://bucket/capture/a.jsonl"
    ]
    assert [file.name for file in files_at(str(tmp_path), ALWAYS, "--captured")] == [key()]


def test_files_are_read_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=20)

    def get() -> bytes:
        both.wait()
        return line().encode()

    assert read([File("1", get), File("2", get)], Rules(ALWAYS), lambda: None).repeated == 1
