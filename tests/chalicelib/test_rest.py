"""What requests say and answers tell: headers, parameters and bodies to values, and back."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib import listing, rest
from chalicelib.errors import BodyNotTaken, BodyTooLarge, EtagMissing, InvalidRequest, NotNow, RecordChanged
from chalicelib.listing import Order, Position
from chalicelib.settings import Settings
from chalicelib.store import NEITHER, Record, Review, Status, Step

SETTINGS = Settings(
    "inbox", "records", "arn:aws:states:us-east-1:123456789012:stateMachine:m", "cyclops", ("a", "b"), None, None
)
REVIEW = Review("bicycle", None, "jo@example.org", "2026-01-02T03:04:05.678Z")
RECORD = Record(
    id="0" * 32,
    status=Status.REVIEW,
    s3_bucket="inbox",
    s3_key="inbox/é.jpg",
    version_id="v1",
    etag="e7a6",
    attempt=2,
    created_at="2026-01-01T00:00:00.000Z",
    updated_at="2026-01-01T00:00:01.000Z",
    label="bicycle",
    confidence=0.75,
    labels=("bicycle", "motorcycle"),
    inferences=(0.75, 0.25),
)

STATUSES = st.sampled_from(list(Status))
LISTINGS = st.one_of(STATUSES.map(lambda status: [status]), st.just(list(Status)))
TIMES = st.datetimes().map(lambda at: f"{at.isoformat(timespec='milliseconds')}Z")
NUMBERS = st.floats(0, 1).map(lambda number: f"{number:.17f}") | st.sampled_from(["0", "1", "0.5", "1E-7", "9.6e-5"])
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


def order_of(statuses: list[Status]) -> Order:
    return listing.LEAST_SURE_FIRST if statuses == [Status.REVIEW] else listing.NEWEST_FIRST


@st.composite
def positions(draw: st.DrawFn, statuses: list[Status]) -> Position:
    """Where a listing of these statuses can have come to."""
    left = draw(st.lists(st.sampled_from(statuses), min_size=1, unique=True))
    first = NUMBERS if order_of(statuses) is listing.LEAST_SURE_FIRST else TIMES
    return {status: draw(st.none() | st.tuples(first, IDS)) for status in left}


def asked(statuses: list[Status], **more: str) -> dict[str, str]:
    return more if len(statuses) > 1 else {"status": statuses[0].value, **more}


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


class TestRepresentation:
    def test_a_classification_is_its_record_and_the_arn_of_its_execution(self) -> None:
        assert rest.representation(SETTINGS, RECORD) == {
            **RECORD.as_dict(),
            "execution": f"arn:aws:states:us-east-1:123456789012:execution:m:{'0' * 32}-2",
        }

    def test_steps_and_review_are_objects_in_json(self) -> None:
        record = replace(RECORD, steps=(Step("Serialize", "2026"),), review=REVIEW)
        told = json.loads(json.dumps(rest.representation(SETTINGS, record)))
        assert told["steps"] == [{"step": "Serialize", "at": "2026"}]
        assert told["review"] == {"label": "bicycle", "note": None, "by": REVIEW.by, "at": REVIEW.at}
        assert told["labels"] == ["bicycle", "motorcycle"]


class TestEntityTags:
    @pytest.mark.parametrize(
        "change",
        [
            {"attempt": 3},
            {"status": Status.REVIEWED},
            {"reviews": 1},
        ],
    )
    def test_it_is_another_after_each_change(self, change: dict[str, Any]) -> None:
        assert rest.etag(replace(RECORD, **change)) != rest.etag(RECORD)

    def test_while_a_picture_is_on_its_way_each_step_changes_it(self) -> None:
        pending = replace(RECORD, status=Status.PENDING)
        assert rest.etag(replace(pending, steps=(Step("Serialize", "2026"),))) != rest.etag(pending)

    def test_a_step_that_is_noted_late_does_not_get_in_the_way_of_a_decision(self) -> None:
        rest.check_unchanged(rest.etag(RECORD), replace(RECORD, steps=(Step("Serialize", "2026"),)))

    @given(
        attempts=st.tuples(st.integers(1, 120), st.integers(1, 120)),
        statuses=st.tuples(STATUSES, STATUSES),
        reviews=st.tuples(st.integers(0, 120), st.integers(0, 120)),
        steps=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    )
    def test_two_are_the_same_only_for_the_same_state(
        self,
        attempts: tuple[int, int],
        statuses: tuple[Status, Status],
        reviews: tuple[int, int],
        steps: tuple[int, int],
    ) -> None:
        one, other = (
            replace(
                RECORD,
                attempt=attempts[at],
                status=statuses[at],
                reviews=reviews[at],
                steps=(Step("Serialize", "2026"),) * steps[at],
            )
            for at in (0, 1)
        )
        counted = steps if one.status is other.status is Status.PENDING else reviews
        same = attempts[0] == attempts[1] and statuses[0] is statuses[1] and counted[0] == counted[1]
        assert (rest.etag(one) == rest.etag(other)) == same

    @given(status=STATUSES, attempt=st.integers(1), reviews=st.integers(0))
    def test_it_is_strong_and_survives_a_list(self, status: Status, attempt: int, reviews: int) -> None:
        tag = rest.etag(replace(RECORD, status=status, attempt=attempt, reviews=reviews))
        assert re.fullmatch(r'"[\x21\x23-\x2b\x2d-\x7e]+"', tag)
        assert rest.names(tag, tag)
        assert rest.names(f'"x", {tag} ,"y"', tag)

    @pytest.mark.parametrize("header", [None, "", '"x"', "2-REVIEW-0", "*", 'W/"2-REVIEW-0"'])
    def test_a_header_without_it_does_not_name_it(self, header: str | None) -> None:
        assert rest.etag(RECORD) == '"2-REVIEW-0"'
        assert not rest.names(header, rest.etag(RECORD))

    @given(header=st.text(max_size=30))
    def test_whatever_a_header_holds_only_the_tag_itself_lets_a_change_through(self, header: str) -> None:
        assume(rest.etag(RECORD) not in header)
        with pytest.raises((EtagMissing, RecordChanged)):
            rest.check_unchanged(header, RECORD)

    @pytest.mark.parametrize("header", [None, "", "*", " * "])
    def test_a_change_that_is_not_based_on_anything_is_told_what_to_send(self, header: str | None) -> None:
        with pytest.raises(EtagMissing, match="Send If-Match with the ETag"):
            rest.check_unchanged(header, RECORD)

    def test_a_change_of_what_was_seen_goes_through(self) -> None:
        rest.check_unchanged(rest.etag(RECORD), RECORD)

    def test_who_decided_meanwhile_is_named(self) -> None:
        reviewed = replace(RECORD, status=Status.REVIEWED, review=REVIEW, reviews=1)
        with pytest.raises(RecordChanged, match=r"^jo@example\.org has decided bicycle since you looked: read it"):
            rest.check_unchanged(rest.etag(RECORD), reviewed)

    def test_a_change_by_nobody_is_told_too(self) -> None:
        with pytest.raises(RecordChanged, match="It is not as you saw it: read it again"):
            rest.check_unchanged('"1-REVIEW-0"', RECORD)


class TestPrefer:
    @given(seconds=st.integers(0, 10**9 - 1))
    def test_a_caller_waits_as_long_as_asked_but_never_longer_than_the_gateway(self, seconds: int) -> None:
        assert rest.wait_seconds(f"wait={seconds}") == min(seconds, rest.MAX_WAIT)

    @pytest.mark.parametrize(
        "header",
        [
            "wait=7",
            " Wait = 7 ",
            'wait="7"',
            "respond-async, wait=7",
            "respond-async;wait=7",
            "wait=soon, wait=7",
            "wait=7, wait=9",
            "await=3, wait=7",
        ],
    )
    def test_it_is_found_among_other_preferences_and_the_first_counts(self, header: str) -> None:
        assert rest.wait_seconds(header) == 7

    @pytest.mark.parametrize(
        "header", [None, "", "wait", "wait=", "wait=-5", "wait=1.5", "wait=5s", "nowait=5", "wait=5 minutes"]
    )
    def test_what_is_no_number_of_seconds_is_not_waited_for(self, header: str | None) -> None:
        assert rest.wait_seconds(header) == 0

    @given(header=st.text(max_size=40))
    def test_any_header_gives_0_to_25_seconds(self, header: str) -> None:
        assert 0 <= rest.wait_seconds(header) <= rest.MAX_WAIT


class TestBodies:
    @pytest.mark.parametrize(
        ("content_type", "media_type"),
        [
            (None, "application/json"),
            ("", "application/json"),
            ("application/json; charset=utf-8", "application/json"),
            ("IMAGE/JPEG", "image/jpeg"),
            (" image/png ; q=1", "image/png"),
            ("image/jpg", "image/jpeg"),
            ("image/pjpeg", "image/jpeg"),
            ("image/x-png", "image/png"),
            ("image/tif", "image/tiff"),
            *((one, one) for one in rest.PICTURE_TYPES),
        ],
    )
    def test_a_content_type_is_read_whatever_its_spelling(self, content_type: str | None, media_type: str) -> None:
        assert rest.media_type(content_type) == media_type

    @pytest.mark.parametrize("content_type", ["text/html", "image/heic", "image/*", "multipart/form-data", "json", ";"])
    def test_a_content_type_that_is_not_taken_is_told_which_are(self, content_type: str) -> None:
        with pytest.raises(BodyNotTaken, match=r"is not taken: send a picture as image/jpeg, .* or JSON\.$") as error:
            rest.media_type(content_type)
        assert str(error.value).startswith(content_type if content_type != ";" else "A body without a type")

    def test_a_picture_of_the_largest_size_is_taken_and_one_byte_more_is_told_where_to_go(self) -> None:
        largest = bytes(rest.MAX_POSTED_BYTES)
        assert rest.posted_picture(largest) is largest
        with pytest.raises(BodyTooLarge, match=r"has 4\.5 MB, 4\.5 MB fit .* POST /uploads"):
            rest.posted_picture(largest + b"x")

    def test_the_largest_picture_fits_into_a_request_to_lambda(self) -> None:
        assert len(base64.b64encode(bytes(rest.MAX_POSTED_BYTES))) <= 6_000_000

    def test_no_picture_is_told_so(self) -> None:
        with pytest.raises(InvalidRequest, match="The body is empty"):
            rest.posted_picture(b"")

    def test_a_picture_in_the_inbox_is_named_by_key_and_version(self) -> None:
        assert rest.named_picture(b'{"key": "inbox/a.jpg"}') == ("inbox/a.jpg", None)
        assert rest.named_picture(b'{"key": "inbox/a.jpg", "version_id": null}') == ("inbox/a.jpg", None)
        assert rest.named_picture(b'{"key": "", "version_id": "v"}') == ("", "v")

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"1", b'"a"', b"\xff", b"[" * 100_000])
    @pytest.mark.parametrize("read", [rest.named_picture, rest.announced_type, lambda b: rest.decided(b, RECORD)])
    def test_a_body_that_is_no_json_object_is_told_so(self, read: Callable[[bytes], object], body: bytes) -> None:
        with pytest.raises(InvalidRequest, match="not a JSON object"):
            read(body)

    @given(body=st.binary(max_size=40))
    def test_no_body_whatsoever_breaks_the_reading(self, body: bytes) -> None:
        for read in (rest.named_picture, rest.announced_type, lambda given: rest.decided(given, RECORD)):
            with pytest.raises((InvalidRequest, BodyNotTaken)):
                read(body)

    def test_an_upload_is_announced_by_its_type(self) -> None:
        assert rest.announced_type(b'{"content_type": "image/jpg"}') == "image/jpeg"

    @pytest.mark.parametrize("content_type", [None, 5, ["image/png"]])
    def test_an_upload_that_does_not_say_what_it_is_is_told_how(self, content_type: object) -> None:
        with pytest.raises(InvalidRequest, match=r'Send JSON such as \{"content_type": "image/jpeg"\}'):
            rest.announced_type(json.dumps({"content_type": content_type}).encode())

    @pytest.mark.parametrize("content_type", ["", "application/json", "application/pdf"])
    def test_an_upload_of_anything_but_a_picture_is_not_taken(self, content_type: str) -> None:
        with pytest.raises(BodyNotTaken, match="image/jpeg, image/png"):
            rest.announced_type(json.dumps({"content_type": content_type}).encode())


class TestIdempotencyKeys:
    @given(key=st.from_regex(r"[!-~]{1,255}", fullmatch=True))
    def test_any_letters_digits_and_signs_are_one_but_for_the_space_around_them(self, key: str) -> None:
        assert rest.idempotency_key(key) == key == rest.idempotency_key(f" {key}\t")

    @given(key=st.text(max_size=300))
    def test_any_text_is_one_or_refused(self, key: str) -> None:
        try:
            found = rest.idempotency_key(key)
        except InvalidRequest:
            return
        assert found == key.strip()
        assert found.isascii()
        assert found.isprintable()

    @pytest.mark.parametrize("key", ["", "  ", "x" * 256, "two words", "été", "line\nbreak"])
    def test_what_is_none_is_told_what_one_is(self, key: str) -> None:
        with pytest.raises(InvalidRequest, match="1 to 255 letters, digits and signs, and no spaces"):
            rest.idempotency_key(key)

    def test_none_is_none(self) -> None:
        assert rest.idempotency_key(None) is None


class TestDecisions:
    @pytest.mark.parametrize("label", ["bicycle", "motorcycle", NEITHER])
    @pytest.mark.parametrize("status", [Status.REVIEW, Status.REVIEWED])
    def test_each_class_can_be_decided_and_none_of_them(self, label: str, status: Status) -> None:
        body = json.dumps({"label": label}).encode()
        assert rest.decided(body, replace(RECORD, status=status)) == (label, None)

    @pytest.mark.parametrize("label", [None, "", "car", "Bicycle", 5, ["bicycle"], {}])
    def test_another_label_is_told_which_there_are(self, label: object) -> None:
        with pytest.raises(InvalidRequest, match=r'"label": "bicycle".*labels are bicycle, motorcycle, neither\.'):
            rest.decided(json.dumps({"label": label}).encode(), RECORD)

    def test_where_no_labels_are_known_neither_can_be_decided(self) -> None:
        assert rest.decided(b'{"label": "neither"}', replace(RECORD, labels=None)) == (NEITHER, None)

    @given(note=st.text(max_size=rest.MAX_NOTE))
    def test_a_note_is_kept_without_the_space_around_it_and_an_empty_one_is_none(self, note: str) -> None:
        body = json.dumps({"label": "bicycle", "note": note}).encode()
        assert rest.decided(body, RECORD) == ("bicycle", note.strip() or None)

    @pytest.mark.parametrize("note", ["x" * 1001, 5, ["x"], "\ud83d"], ids=["too long", "number", "list", "half"])
    def test_what_is_no_note_is_told_what_one_is(self, note: object) -> None:
        with pytest.raises(InvalidRequest, match="A note is text of up to 1000 characters"):
            rest.decided(json.dumps({"label": "bicycle", "note": note}).encode(), RECORD)

    @pytest.mark.parametrize("status", [one for one in Status if one not in (Status.REVIEW, Status.REVIEWED)])
    def test_what_was_not_held_back_is_decided_by_nobody(self, status: Status) -> None:
        with pytest.raises(NotNow, match=f"this picture is {status}"):
            rest.decided(b'{"label": "bicycle"}', replace(RECORD, status=status))


class TestListings:
    def test_without_parameters_all_are_listed_newest_first(self) -> None:
        assert rest.listed({}) == (list(Status), listing.NEWEST_FIRST, 50, None)

    @pytest.mark.parametrize("status", Status)
    def test_one_status_is_listed_alone_and_those_who_wait_for_a_person_least_sure_first(self, status: Status) -> None:
        order = listing.LEAST_SURE_FIRST if status is Status.REVIEW else listing.NEWEST_FIRST
        assert rest.listed({"status": status.value, "limit": "100"}) == ([status], order, 100, None)

    @pytest.mark.parametrize("status", ["", "review", "OPEN", "PENDING,REVIEW"])
    def test_an_unknown_status_is_told_which_there_are(self, status: str) -> None:
        with pytest.raises(InvalidRequest, match="status is one of PENDING, ACCEPTED, REVIEW, REVIEWED, REJECTED"):
            rest.listed({"status": status})

    @pytest.mark.parametrize("text", ["0", "101", "-1", "1.5", "", "many", " 5", "٥", "9" * 5000])
    def test_a_limit_that_is_no_whole_number_from_1_to_100_is_told_so(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match="limit is a whole number from 1 to 100, not"):
            rest.listed({"limit": text})

    @given(text=st.text(max_size=12), most=st.integers(1, 10**6))
    def test_any_text_is_a_number_in_range_or_refused(self, text: str, most: int) -> None:
        try:
            number = rest.whole({"hours": text}, "hours", 1, most)
        except InvalidRequest:
            return
        assert 1 <= number <= most

    def test_what_is_not_asked_for_has_its_default(self) -> None:
        assert rest.whole({}, "hours", rest.DEFAULT_HOURS, rest.MAX_HOURS) == 24


class TestCursors:
    def test_there_is_none_at_the_end(self) -> None:
        assert rest.cursor(None, list(Status)) is None

    @given(data=st.data(), statuses=LISTINGS)
    def test_a_cursor_comes_back_as_where_a_listing_stopped(self, data: st.DataObject, statuses: list[Status]) -> None:
        position = data.draw(positions(statuses))
        word = rest.cursor(position, statuses)
        assert word is not None
        assert re.fullmatch(r"[A-Za-z0-9_-]+", word)
        assert rest.listed(asked(statuses, after=word)) == (statuses, order_of(statuses), 50, position)

    @given(data=st.data(), mine=LISTINGS, other=LISTINGS)
    def test_a_cursor_of_another_listing_is_refused(
        self, data: st.DataObject, mine: list[Status], other: list[Status]
    ) -> None:
        assume(mine != other)
        word = rest.cursor(data.draw(positions(other)), other)
        assert word
        with pytest.raises(InvalidRequest, match="after is not the `next` of this listing"):
            rest.listed(asked(mine, after=word))

    @given(data=st.data(), statuses=LISTINGS)
    def test_a_cursor_that_was_cut_short_is_refused(self, data: st.DataObject, statuses: list[Status]) -> None:
        word = rest.cursor(data.draw(positions(statuses)), statuses)
        assert word
        with pytest.raises(InvalidRequest):
            rest.listed(asked(statuses, after=word[: data.draw(st.integers(0, len(word) - 2))]))

    @given(word=st.text(max_size=40), statuses=LISTINGS)
    def test_whatever_is_no_cursor_is_refused(self, word: str, statuses: list[Status]) -> None:
        with pytest.raises(InvalidRequest):
            rest.listed(asked(statuses, after=word))

    @pytest.mark.parametrize(
        "position",
        [
            {},
            [],
            None,
            5,
            "REVIEW",
            {"OPEN": None},
            {"ACCEPTED": None},
            {"REVIEW": []},
            {"REVIEW": ["0.5"]},
            {"REVIEW": ["0.5", ""]},
            {"REVIEW": ["", "id"]},
            {"REVIEW": ["0.5", "id", "more"]},
            {"REVIEW": [0.5, "id"]},
            {"REVIEW": ["0.5", 5]},
            {"REVIEW": {"0": "0.5", "1": "id"}},
            {"REVIEW": "ab"},
            {"REVIEW": ["0.5", "\ud83d"]},
            {"REVIEW": ["NaN", "id"]},
            {"REVIEW": ["many", "id"]},
            {"REVIEW": ["2026-01-01T00:00:00.000Z", "id"]},
            {"REVIEW": ["1E999", "id"]},
            {"REVIEW": False},
        ],
        ids=repr,
    )
    def test_a_cursor_that_somebody_made_up_is_refused(self, position: Any) -> None:
        with pytest.raises(InvalidRequest):
            rest.listed({"status": "REVIEW", "after": encoded([["REVIEW"], position])})

    @pytest.mark.parametrize(
        "text", [encoded(None), encoded([]), encoded([["REVIEW"]]), encoded({"REVIEW": None}), "WyJS", "[" * 4]
    )
    def test_a_cursor_of_another_shape_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidRequest):
            rest.listed({"status": "REVIEW", "after": text})

    def test_a_cursor_that_is_nested_too_deep_is_refused(self) -> None:
        deep = base64.urlsafe_b64encode(b"[" * 100_000).decode().rstrip("=")
        with pytest.raises(InvalidRequest):
            rest.listed({"after": deep})


class TestCallers:
    @pytest.mark.parametrize(
        ("context", "name"),
        [
            ({}, "local"),
            ({"identity": {"sourceIp": "127.0.0.1"}}, "local"),
            ({"identity": {"userArn": None}, "authorizer": None}, "local"),
            ({"identity": {"userArn": "arn:aws:iam::1:user/jo"}}, "arn:aws:iam::1:user/jo"),
            ({"authorizer": {"claims": {"email": "jo@x.org", "cognito:username": "jo", "sub": "7"}}}, "jo@x.org"),
            ({"authorizer": {"claims": {"cognito:username": "jo", "sub": "7"}}}, "jo"),
            ({"authorizer": {"claims": {"sub": "7"}}, "identity": {"userArn": "arn"}}, "7"),
            ({"authorizer": {"principalId": "x"}, "identity": {"userArn": "arn"}}, "arn"),
        ],
    )
    def test_whoever_asks_is_named_as_those_who_know_them_do(self, context: dict[str, Any], name: str) -> None:
        assert rest.caller(context) == name


class TestPictureTypes:
    @pytest.mark.parametrize(
        ("key", "media_type"),
        [
            ("inbox/a.jpg", "image/jpeg"),
            ("inbox/a.b.JPEG", "image/jpeg"),
            ("inbox/a.webp", "image/webp"),
            ("inbox/a.tif", "image/tiff"),
            ("inbox/a.gif", "image/gif"),
            ("inbox/a.png", "image/png"),
            ("inbox/a", None),
            ("inbox/2026.01/a", None),
        ],
    )
    def test_a_browser_is_told_what_the_name_tells(self, key: str, media_type: str | None) -> None:
        assert rest.picture_type(key) == media_type

    @pytest.mark.parametrize("key", ["inbox/a.html", "inbox/a.svg", "inbox/a.js", "inbox/a.xhtml", "inbox/a."])
    def test_no_name_makes_a_browser_run_a_picture(self, key: str) -> None:
        assert rest.picture_type(key) == "application/octet-stream"

    @given(key=st.text(max_size=30))
    def test_any_key_is_told_as_a_picture_or_as_bytes(self, key: str) -> None:
        assert rest.picture_type(key) in {None, "application/octet-stream", *rest.PICTURE_TYPES}
