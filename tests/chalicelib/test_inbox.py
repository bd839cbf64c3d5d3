"""The bucket that pictures are dropped into: what S3 tells of, and what is there."""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit
from uuid import uuid4

import httpx
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import aws, inbox, limits
from chalicelib.errors import IdempotencyKeyReused, ImageNotFound, ImageTooLarge, InvalidRequest, StorageBusy
from chalicelib.inbox import MAX_KEY_BYTES, PREFIX, Source, find, read, sources
from local.stack import Stack
from tests.conftest import Answer, FakeAws

LONGEST = PREFIX + "é" * ((MAX_KEY_BYTES - len(PREFIX)) // 2)

KEYS = [
    "inbox/photo.jpg",
    "inbox/my photo.jpg",
    "inbox/a+b.jpg",
    "inbox/100%.jpg",
    "inbox/100%25.jpg",
    "inbox/%2e%2e/photo.jpg",
    "inbox/été ☂ 🚲.jpg",
    "inbox/a?b#c&d=e;f.jpg",
    "inbox/../photo.jpg",
    "inbox/./photo.jpg",
    "inbox/..",
    "inbox//etc/passwd",
    "inbox/C:\\photo.jpg",
    "inbox/ ",
    LONGEST,
]


def record(key: str = "inbox/photo.jpg", version: str = "2.1", **item: Any) -> dict[str, Any]:
    """A record as S3 sends it, the key encoded."""
    told = {"key": quote_plus(key), "size": 5, "eTag": "e7a6", "versionId": "v1", "sequencer": "0055AED6DCD90281E5"}
    return {
        "eventVersion": version,
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "bucket"}, "object": told | item},
    }


def told(*records: dict[str, Any]) -> list[Source]:
    return list(sources({"Records": list(records)}))


def put(bucket: str, key: str, data: bytes = b"bytes") -> Source:
    made = aws.client("s3").put_object(Bucket=bucket, Key=key, Body=data)
    return Source(bucket, key, made.get("VersionId"), made["ETag"].strip('"'))


def delete(source: Source, **named: str) -> None:
    aws.client("s3").delete_object(Bucket=source.bucket, Key=source.key, **named)


def test_every_record_of_an_event_is_told_in_order() -> None:
    keys = [f"inbox/{number}.jpg" for number in range(3)]
    assert told(*map(record, keys)) == [Source("bucket", key, "v1", "e7a6") for key in keys]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: ascii(key)[:30])
def test_a_key_is_decoded_once(key: str) -> None:
    assert told(record(key))[0].key == key


@given(key=st.text(min_size=1).filter(lambda text: not text.endswith("/")))
def test_any_key_comes_out_as_it_went_in(key: str) -> None:
    assert told(record(key))[0].key == key


def test_the_test_event_that_s3_sends_at_setup_tells_of_nothing() -> None:
    event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-01-01T00:00:00.000Z", "Bucket": "bucket"}
    assert list(sources(event)) == []


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.3", "2.6", "3.0"])
def test_the_version_of_the_event_makes_no_difference(version: str) -> None:
    assert told(record(version=version)) == told(record())


def test_a_folder_that_a_console_made_is_passed_over_and_the_rest_is_not() -> None:
    assert told(record("inbox/new folder/", size=0), record("inbox/a.jpg"))[0].key == "inbox/a.jpg"


@pytest.mark.parametrize(("key", "size"), [("inbox/empty.jpg", 0), ("inbox/odd/", 5)])
def test_what_only_looks_like_a_folder_is_kept(key: str, size: int) -> None:
    assert [source.key for source in told(record(key, size=size))] == [key]


def test_in_a_bucket_without_versions_the_entity_tag_stands_for_the_version() -> None:
    without = record()
    del without["s3"]["object"]["versionId"]
    expected = [Source("bucket", "inbox/photo.jpg", None, "e7a6")]
    assert told(without) == expected
    assert told(record(versionId="null")) == expected


def test_an_event_of_no_records_tells_of_nothing() -> None:
    assert told() == []


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": None},
        {"Records": 5},
        {"Records": [None]},
        {"Records": ["text"]},
        {"Records": [{}]},
        {"Records": [{"s3": None}]},
        {"Records": [{"s3": {"bucket": {"name": "bucket"}}}]},
        {"Records": [{"s3": {"object": {"key": "inbox/a.jpg"}}}]},
        {"Records": [{"s3": {"bucket": {}, "object": {"key": "inbox/a.jpg"}}}]},
        {"Records": [{"s3": {"bucket": {"name": "bucket"}, "object": {}}}]},
        {"Records": [{"s3": {"bucket": {"name": "bucket"}, "object": {"key": None}}}]},
        {"Records": [{"s3": {"bucket": {"name": "bucket"}, "object": {"key": 5}}}]},
        {"Records": [{"Sns": {"Message": "hello"}}]},
        {"detail": {"bucket": {"name": "bucket"}, "object": {"key": "inbox/a.jpg"}}},
    ],
)
def test_what_is_no_event_of_s3_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="not an event of S3"):
        list(sources(event))


def test_the_records_before_a_broken_one_are_told() -> None:
    found: Iterator[Source] = sources({"Records": [record(), {}]})
    assert next(found).key == "inbox/photo.jpg"
    with pytest.raises(InvalidRequest):
        next(found)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: ascii(key)[:30])
def test_any_key_is_found_and_read_as_it_is_written(versioned_bucket: str, key: str) -> None:
    source = put(versioned_bucket, key, key.encode())
    assert find(versioned_bucket, key) == source
    assert source.version_id
    assert read(source) == key.encode()


@pytest.mark.parametrize("key", [key for key in KEYS if ".." in key or "%" in key or "//" in key])
def test_a_key_that_looks_like_a_path_leads_nowhere_else(plain_bucket: str, key: str) -> None:
    for other in ("photo.jpg", "inbox/photo.jpg", "/etc/passwd", "etc/passwd", "inbox/etc/passwd"):
        put(plain_bucket, other, b"another picture")
    delete(Source(plain_bucket, key))
    with pytest.raises(ImageNotFound):
        find(plain_bucket, key)
    put(plain_bucket, key, b"this picture")
    assert read(find(plain_bucket, key)) == b"this picture"


@pytest.mark.parametrize(
    "key", ["", "inbox", "inbox/", "photo.jpg", "outbox/photo.jpg", "/inbox/photo.jpg", "Inbox/a.jpg", "../inbox/a.jpg"]
)
def test_a_key_outside_of_the_inbox_is_refused_even_if_it_exists(plain_bucket: str, key: str) -> None:
    if key:
        put(plain_bucket, key)
    with pytest.raises(InvalidRequest, match="inbox/"):
        find(plain_bucket, key)


@pytest.mark.parametrize("key", [LONGEST + "é", PREFIX + "x" * 1019, "inbox/" + "🚲" * 255])
def test_a_key_longer_than_s3_takes_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="1024 bytes"):
        find("bucket", key)


@pytest.mark.parametrize(("key", "version_id"), [("inbox/\ud83d.jpg", None), ("inbox/a.jpg", "\udeb2")])
def test_half_a_character_which_json_can_hold_is_refused(key: str, version_id: str | None) -> None:
    with pytest.raises(InvalidRequest, match="UTF-8"):
        find("bucket", key, version_id)


def test_what_is_not_there_is_not_found_and_the_message_says_what_to_do(versioned_bucket: str) -> None:
    with pytest.raises(ImageNotFound, match=r"no picture inbox/missing\.jpg .*drop it there first"):
        find(versioned_bucket, "inbox/missing.jpg")


@pytest.mark.parametrize("version_id", ["nonsense", "3HL4kqtJlcpXroDTDmJ-rmSpXd3dIbrHY", "é", " "])
def test_a_version_that_never_was_is_not_found(versioned_bucket: str, version_id: str) -> None:
    put(versioned_bucket, "inbox/versions.jpg")
    with pytest.raises(ImageNotFound):
        find(versioned_bucket, "inbox/versions.jpg", version_id)


def test_the_newest_version_is_found_unless_another_is_named(versioned_bucket: str) -> None:
    older, newer = (put(versioned_bucket, "inbox/two.jpg", data) for data in (b"older", b"newer"))
    assert find(versioned_bucket, "inbox/two.jpg") == newer
    assert find(versioned_bucket, "inbox/two.jpg", older.version_id) == older


def test_an_older_version_is_read_though_it_was_replaced_and_deleted(versioned_bucket: str) -> None:
    older, newer = (put(versioned_bucket, "inbox/kept.jpg", data) for data in (b"older", b"newer"))
    delete(newer)
    assert (read(older), read(newer)) == (b"older", b"newer")


def test_behind_a_delete_marker_nothing_is_found(versioned_bucket: str) -> None:
    source = put(versioned_bucket, "inbox/marked.jpg")
    marker = aws.client("s3").delete_object(Bucket=source.bucket, Key=source.key)["VersionId"]
    with pytest.raises(ImageNotFound):
        find(versioned_bucket, source.key)
    for named in (None, marker):
        with pytest.raises(ImageNotFound):
            find(versioned_bucket, source.key, named)
        with pytest.raises(ImageNotFound, match="deleted before it was read"):
            read(Source(versioned_bucket, source.key, named))


def test_a_version_that_was_deleted_for_good_is_gone(versioned_bucket: str) -> None:
    source = put(versioned_bucket, "inbox/gone.jpg")
    delete(source, VersionId=source.version_id or "")
    with pytest.raises(ImageNotFound, match="deleted before it was read"):
        read(source)


def test_without_versions_a_deleted_picture_is_gone(plain_bucket: str) -> None:
    source = put(plain_bucket, "inbox/gone.jpg")
    assert source.version_id is None
    delete(source)
    with pytest.raises(ImageNotFound, match="deleted before it was read"):
        read(source)


def test_without_versions_a_replaced_picture_is_not_taken_for_the_first(plain_bucket: str) -> None:
    first = put(plain_bucket, "inbox/same.jpg", b"first")
    second = put(plain_bucket, "inbox/same.jpg", b"second")
    with pytest.raises(ImageNotFound, match="replaced before it was read"):
        read(first)
    assert read(second) == b"second"


def test_a_source_that_names_neither_version_nor_tag_is_what_is_there_now(plain_bucket: str) -> None:
    put(plain_bucket, "inbox/any.jpg", b"now")
    assert read(Source(plain_bucket, "inbox/any.jpg")) == b"now"


def test_a_picture_of_the_largest_size_is_read_and_one_byte_more_is_not(
    plain_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_BYTES", 1000)
    assert len(read(put(plain_bucket, "inbox/large.jpg", bytes(1000)))) == 1000
    with pytest.raises(ImageTooLarge):
        read(put(plain_bucket, "inbox/larger.jpg", bytes(1001)))


def test_what_is_too_large_is_not_downloaded(fake_aws: FakeAws) -> None:
    fake_aws.says(Answer(body=b"the first bytes", length=limits.MAX_BYTES + 1))
    started = time.monotonic()
    with pytest.raises(ImageTooLarge, match=r"has 26\.2 MB, 26\.2 MB are taken"):
        read(Source("bucket", "inbox/a.jpg"))
    assert time.monotonic() - started < 5
    assert len(fake_aws.asked) == 1


def look(source: Source) -> Source:
    return find(source.bucket, source.key)


@pytest.mark.parametrize("act", [look, read])
@pytest.mark.parametrize(("code", "status"), [("SlowDown", 503), ("InternalError", 500), ("ServiceUnavailable", 503)])
def test_s3_that_throttles_or_fails_is_busy(
    fake_aws: FakeAws, act: Callable[[Source], object], code: str, status: int
) -> None:
    fake_aws.refuses_xml(code, status)
    with pytest.raises(StorageBusy, match="Could not"):
        act(Source("bucket", "inbox/a.jpg"))
    assert len(fake_aws.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [Answer(body=None), Answer(seconds=2), Answer(body=b"half a", length=12)],
    ids=["hangs up", "too slow", "hangs up in the middle"],
)
def test_s3_that_does_not_answer_is_busy(fake_aws: FakeAws, answer: Answer) -> None:
    fake_aws.says(answer)
    with pytest.raises(StorageBusy, match="Could not read the picture"):
        read(Source("bucket", "inbox/a.jpg"))


@pytest.mark.usefixtures("no_aws")
def test_s3_out_of_reach_is_busy() -> None:
    with pytest.raises(StorageBusy, match="Could not look for the picture"):
        find("bucket", "inbox/a.jpg")


@pytest.mark.parametrize(("act", "status"), [(look, 400), (look, 404), (look, 405), (read, 404), (read, 405)])
def test_however_s3_words_that_nothing_is_there_it_is_not_found(
    fake_aws: FakeAws, act: Callable[[Source], object], status: int
) -> None:
    fake_aws.refuses_xml({400: "", 404: "NoSuchVersion", 405: "MethodNotAllowed"}[status], status)
    with pytest.raises(ImageNotFound):
        act(Source("bucket", "inbox/a.jpg", "v1"))


@pytest.mark.parametrize("act", [look, read])
def test_a_refused_permission_is_no_missing_picture(fake_aws: FakeAws, act: Callable[[Source], object]) -> None:
    fake_aws.refuses_xml("AccessDenied", 403)
    with pytest.raises(ClientError, match=r"403|AccessDenied"):
        act(Source("bucket", "inbox/a.jpg"))


class TestListing:
    @pytest.fixture
    def bucket(self, stack: Stack) -> str:
        name = f"listed-{uuid4().hex[:12]}"
        aws.client("s3").create_bucket(Bucket=name)
        aws.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def test_all_versions_are_listed_with_the_time_that_they_came_in(self, bucket: str) -> None:
        begun = datetime.now(UTC) - timedelta(seconds=1)  # S3 has whole seconds
        put_there = {put(bucket, key) for key in ("inbox/a.png", "inbox/a.png", "inbox/b c+%.png")}
        ((listed, after),) = inbox.versions(bucket)
        assert ({one.source for one in listed}, after) == (put_there, None)
        assert all(begun <= one.at <= datetime.now(UTC) for one in listed)

    def test_a_listing_of_several_pages_can_go_on_where_it_stopped(
        self, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_there = {put(bucket, f"inbox/{number}.png") for number in range(5)}
        plain_list = aws.client("s3").list_object_versions
        monkeypatch.setattr(
            aws.client("s3"), "list_object_versions", lambda **asked: plain_list(**asked | {"MaxKeys": 2})
        )
        first, after = next(inbox.versions(bucket))
        rest = [page for page, _ in inbox.versions(bucket, after)]
        assert [len(page) for page in (first, *rest)] == [2, 2, 1]
        assert {one.source for page in (first, *rest) for one in page} == put_there

    def test_a_bucket_without_versions_is_listed_by_entity_tags(self, plain_bucket: str) -> None:
        source = put(plain_bucket, f"inbox/{uuid4()}.png")
        assert source in {one.source for page, _ in inbox.versions(plain_bucket) for one in page}
        assert source.version_id is None

    def test_a_listing_that_s3_has_no_time_for_is_busy(self, fake_aws: FakeAws) -> None:
        fake_aws.refuses_xml("SlowDown", 503)
        with pytest.raises(StorageBusy):
            list(inbox.versions("bucket"))


class TestUploads:
    def test_a_picture_that_comes_in_is_there_as_what_it_came_as(self, versioned_bucket: str) -> None:
        source = inbox.add(versioned_bucket, b"bytes", "image/png")
        assert re.fullmatch(r"inbox/uploads/\d{4}-\d\d-\d\d/[0-9a-f-]{36}", source.key)
        assert source.version_id
        assert read(source) == b"bytes"
        head = aws.client("s3").head_object(Bucket=versioned_bucket, Key=source.key)
        assert head["ContentType"] == "image/png"
        assert find(versioned_bucket, source.key) == source

    def test_the_same_picture_twice_is_two_unless_it_is_said_to_be_one(self, versioned_bucket: str) -> None:
        assert inbox.add(versioned_bucket, b"a", "image/png").key != inbox.add(versioned_bucket, b"a", "image/png").key

    def test_an_upload_that_is_tried_again_is_the_same_version(self, versioned_bucket: str) -> None:
        once = uuid4().hex
        first = inbox.add(versioned_bucket, b"bytes", "image/png", once)
        assert inbox.add(versioned_bucket, b"bytes", "image/jpeg", once) == first
        assert inbox.add(versioned_bucket, b"bytes", "image/png", uuid4().hex) != first
        versions = aws.client("s3").list_object_versions(Bucket=versioned_bucket, Prefix=first.key)["Versions"]
        assert len(versions) == 1

    def test_without_versions_an_upload_that_is_tried_again_is_the_same_too(self, plain_bucket: str) -> None:
        once = uuid4().hex
        first = inbox.add(plain_bucket, b"bytes", "image/png", once)
        assert first.version_id is None
        assert inbox.add(plain_bucket, b"bytes", "image/png", once) == first

    def test_another_picture_under_the_same_name_is_refused_and_the_first_stays(self, versioned_bucket: str) -> None:
        once = uuid4().hex
        first = inbox.add(versioned_bucket, b"first", "image/png", once)
        with pytest.raises(IdempotencyKeyReused, match="Send another Idempotency-Key"):
            inbox.add(versioned_bucket, b"second", "image/png", once)
        assert find(versioned_bucket, first.key) == first
        assert read(first) == b"first"

    @pytest.mark.parametrize("once", ["x", "../../outside", "é ☂\n", "x" * 5000, "arn:aws:iam::1:user/jo key"])
    def test_whatever_an_upload_is_called_its_key_is_one_of_the_inbox_and_does_not_tell(
        self, versioned_bucket: str, once: str
    ) -> None:
        key = inbox.add(versioned_bucket, b"bytes", "image/png", once).key
        assert re.fullmatch(r"inbox/uploads/once/[0-9a-f]{64}", key)

    def test_an_upload_while_the_same_is_under_way_is_told_to_ask_again(self, fake_aws: FakeAws) -> None:
        fake_aws.refuses_xml("ConditionalRequestConflict", 409)
        with pytest.raises(StorageBusy, match="being uploaded right now: ask again in a moment"):
            inbox.add("bucket", b"bytes", "image/png", "once")
        headers = {name.lower(): value for name, value in fake_aws.asked[0].headers.items()}
        assert headers["if-none-match"] == "*"

    def test_s3_that_throttles_is_busy_and_a_refused_permission_is_not(self, fake_aws: FakeAws) -> None:
        fake_aws.refuses_xml("SlowDown", 503)
        with pytest.raises(StorageBusy, match="Could not keep the picture"):
            inbox.add("bucket", b"bytes", "image/png")
        fake_aws.refuses_xml("AccessDenied", 403)
        with pytest.raises(ClientError, match="AccessDenied"):
            inbox.add("bucket", b"bytes", "image/png")


def expires(text: str) -> float:
    """Seconds from now until a time."""
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


class TestLinks:
    def test_whoever_has_a_link_gets_the_version_that_it_is_of(self, versioned_bucket: str) -> None:
        key = f"{PREFIX}été ☂ a+b%.png"
        first = put(versioned_bucket, key, b"first")
        put(versioned_bucket, key, b"second")
        answer = httpx.get(inbox.link(first, "image/webp").url, trust_env=False)
        assert (answer.status_code, answer.content) == (200, b"first")
        assert answer.headers["content-type"] == "image/webp"

    def test_it_is_signed_the_way_that_all_regions_take_and_holds_for_15_minutes(self, versioned_bucket: str) -> None:
        source = Source(versioned_bucket, "inbox/a.png", "v1")
        link = inbox.link(source, "image/png")
        query = parse_qs(urlsplit(link.url).query)
        assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
        assert query["X-Amz-Expires"] == ["900"]
        assert (query["versionId"], query["response-content-type"]) == (["v1"], ["image/png"])
        assert 880 < expires(link.expires_at) <= 900
        assert link.expires_at.endswith("Z")

    def test_what_nobody_knows_more_of_is_served_as_it_came(self, plain_bucket: str) -> None:
        query = parse_qs(urlsplit(inbox.link(Source(plain_bucket, "inbox/a")).url).query)
        assert not query.keys() & {"versionId", "response-content-type"}

    def test_links_lead_to_where_the_page_may_load_pictures_from(self, versioned_bucket: str) -> None:
        origin = inbox.origin(versioned_bucket)
        assert re.fullmatch(r"https?://[^/]+", origin)
        assert inbox.link(Source(versioned_bucket, "inbox/a.png")).url.startswith(f"{origin}/")
        assert inbox.allow_upload(versioned_bucket, "image/png").url.startswith(f"{origin}/")


class TestLeaveToUpload:
    def test_a_form_with_its_fields_and_a_file_brings_the_picture_in(self, versioned_bucket: str) -> None:
        upload = inbox.allow_upload(versioned_bucket, "image/webp")
        answer = httpx.post(upload.url, data=upload.fields, files={"file": ("a.webp", b"bytes")}, trust_env=False)
        assert answer.is_success
        assert read(find(versioned_bucket, upload.key)) == b"bytes"
        assert aws.client("s3").head_object(Bucket=versioned_bucket, Key=upload.key)["ContentType"] == "image/webp"

    def test_it_is_for_one_key_one_type_and_25_mib_and_holds_for_15_minutes(self, versioned_bucket: str) -> None:
        upload = inbox.allow_upload(versioned_bucket, "image/webp")
        policy = json.loads(base64.b64decode(upload.fields["policy"]))
        for condition in (
            {"bucket": versioned_bucket},
            {"key": upload.key},
            {"Content-Type": "image/webp"},
            ["content-length-range", 1, limits.MAX_BYTES],
            {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
        ):
            assert condition in policy["conditions"]
        assert not [one for one in policy["conditions"] if isinstance(one, list) and one[0] == "starts-with"]
        assert 880 < expires(policy["expiration"]) <= 900
        assert 880 < expires(upload.expires_at) <= 900
        assert (upload.max_bytes, upload.fields["Content-Type"]) == (25 * 1024 * 1024, "image/webp")
        assert upload.fields["key"] == upload.key

    def test_no_two_uploads_get_the_same_name(self, versioned_bucket: str) -> None:
        keys = {inbox.allow_upload(versioned_bucket, "image/png").key for _ in range(20)}
        assert len(keys) == 20
        assert all(key.startswith(inbox.UPLOADS) for key in keys)
