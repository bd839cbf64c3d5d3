import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, FlexibleChecksumError

from local.stack import Stack
from tests.training.jobs import ACCOUNT, recording
from tests.training.recorder import Recorder
from tests.training.staged import write_data
from training import aws, job, upload
from training.aws import Place
from training.errors import AccountError, InputError, TrainingError
from training.layout import Manifest

BUCKET = "uploads"


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with recording(monkeypatch) as jobs:
        yield jobs.recorder


@pytest.fixture
def s3(embedded: Stack) -> Iterator[Any]:
    """S3 of the embedded stack, with an empty bucket."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    yield s3
    for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=one["Key"])
    s3.delete_bucket(Bucket=BUCKET)


def stored(s3: Any) -> dict[str, bytes]:
    listed = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {one["Key"]: s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in listed}


def below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def quiet(_done: int, _total: int) -> None: ...


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_data(tmp_path / "data")
    return tmp_path / "data"


def test_place_holds_what_the_folder_holds(s3: Any, data: Path) -> None:
    said: list[tuple[int, int]] = []
    counts = upload.upload(data, Place(BUCKET, "a/b"), lambda done, total: said.append((done, total)))
    files = below(data)
    assert stored(s3) == {f"a/b/{name}": content for name, content in files.items()}
    assert counts == upload.Counts(len(files), 0, 0)
    assert said == [(number, len(files)) for number in range(1, len(files) + 1)]


def test_object_carries_its_digest_its_checksum_and_its_type(s3: Any, data: Path) -> None:
    upload.upload(data, Place(BUCKET, "p"), quiet)
    types = {"manifest.json": "application/json", "train_lst/train.lst": "text/tab-separated-values"}
    picture = next(name for name in below(data) if name.endswith(".png"))
    for name, content_type in {**types, picture: "image/png"}.items():
        head = s3.head_object(Bucket=BUCKET, Key=f"p/{name}", ChecksumMode="ENABLED")
        digest = hashlib.sha256((data / name).read_bytes())
        assert head["ContentType"] == content_type
        assert head["Metadata"] == {"sha256": digest.hexdigest()}
        assert head["ChecksumSHA256"]


@pytest.mark.parametrize("algorithm", job.ALGORITHMS)
def test_training_job_finds_the_data_set_that_was_uploaded(algorithm: str, s3: Any, data: Path) -> None:
    with pytest.raises(InputError, match="python -m training upload"):
        job.check_uploaded(data, Manifest.read(data), Place(BUCKET, "p"), algorithm)
    upload.upload(data, Place(BUCKET, "p/data"), quiet)
    job.check_uploaded(data, Manifest.read(data), Place(BUCKET, "p"), algorithm)


def test_only_what_has_changed_is_uploaded_again(s3: Any, data: Path) -> None:
    place = Place(BUCKET, "p")
    first = upload.upload(data, place, quiet)
    before = {one["Key"]: one["LastModified"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert upload.upload(data, place, quiet) == upload.Counts(0, first.uploaded, 0)
    assert {one["Key"]: one["LastModified"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]} == before
    path = next(data.glob("train/bicycle/*.png"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert upload.upload(data, place, quiet) == upload.Counts(1, first.uploaded - 1, 0)
    assert stored(s3)[f"p/{path.relative_to(data).as_posix()}"] == path.read_bytes()


def test_what_the_folder_does_not_have_is_deleted_below_the_prefix_alone_and_when_asked(s3: Any, data: Path) -> None:
    others = ("p/train/bicycle/old.png", "p/old", "p2/kept", "pkept", "kept")
    for key in others:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"old")
    assert upload.upload(data, Place(BUCKET, "p"), quiet).deleted == 0
    assert stored(s3).keys() >= set(others)
    assert upload.upload(data, Place(BUCKET, "p"), quiet, delete=True).deleted == 2
    assert stored(s3).keys() - {f"p/{name}" for name in below(data)} == {"p2/kept", "pkept", "kept"}


def test_whole_bucket_is_never_emptied(recorder: Recorder, data: Path) -> None:
    with pytest.raises(InputError, match="empty the whole bucket"):
        upload.upload(data, Place(BUCKET, ""), quiet, delete=True)
    assert not recorder.sent


def test_folder_goes_to_the_top_of_a_bucket_without_a_prefix(s3: Any, data: Path) -> None:
    upload.upload(data, Place(BUCKET, ""), quiet)
    assert stored(s3).keys() == below(data).keys()


@pytest.mark.parametrize("hidden", [".DS_Store", ".git/config", "__pycache__/a.pyc", "train/.cache/a.png", "Thumbs.db"])
def test_hidden_files_and_caches_stay_here(hidden: str, s3: Any, tmp_path: Path) -> None:
    for name in (hidden, "shown"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    upload.upload(tmp_path, Place(BUCKET, "p"), quiet)
    assert stored(s3).keys() == {"p/shown"}


def test_folder_without_files_deletes_nothing(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no files"):
        upload.upload(tmp_path, Place(BUCKET, "p"), quiet, delete=True)
    assert not recorder.sent


def test_manifest_is_not_replaced_before_all_else_is_there(recorder: Recorder, data: Path) -> None:
    recorder.answers["ListObjectsV2"] = lambda _: {"Contents": [{"Key": "p/old", "Size": 1, "ETag": '"1"'}]}
    upload.upload(data, Place(BUCKET, "p"), quiet, delete=True)
    order = [(name, params.get("Key")) for name, params in recorder.sent if name in ("PutObject", "DeleteObjects")]
    assert order[-2:] == [("DeleteObjects", None), ("PutObject", "p/manifest.json")]
    assert len(order) == len(below(data)) + 1


def test_manifest_stays_behind_when_a_picture_cannot_be_uploaded(recorder: Recorder, data: Path) -> None:
    recorder.answers["PutObject"] = lambda _: {"Error": {"Code": "InternalError", "Message": "no"}}
    with pytest.raises(ClientError, match="InternalError"):
        upload.upload(data, Place(BUCKET, "p"), quiet, delete=True)
    assert "p/manifest.json" not in {put["Key"] for put in recorder.of("PutObject")}
    assert not recorder.of("DeleteObjects")


def test_every_request_names_the_account_that_owns_the_bucket(recorder: Recorder, data: Path) -> None:
    size = (data / "manifest.json").stat().st_size
    listed = [{"Key": "p/old", "Size": 1}, {"Key": "p/manifest.json", "Size": size, "ETag": '"of-kms"'}]
    recorder.answers["ListObjectsV2"] = lambda _: {"Contents": listed}
    recorder.answers["HeadObject"] = lambda _: {"Metadata": {}}
    upload.upload(data, Place(BUCKET, "p"), quiet, delete=True)
    asked = [(name, params) for name, params in recorder.sent if name != "GetCallerIdentity"]
    assert {name for name, _ in asked} == {"ListObjectsV2", "PutObject", "HeadObject", "DeleteObjects"}
    assert {params["ExpectedBucketOwner"] for _, params in asked} == {ACCOUNT}
    assert {params["ChecksumAlgorithm"] for params in recorder.of("PutObject")} == {"SHA256"}


def test_bucket_of_somebody_else_is_refused_before_anything_is_sent(recorder: Recorder, data: Path) -> None:
    recorder.answers["ListObjectsV2"] = lambda _: {"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}
    with pytest.raises(AccountError, match=f"belongs to another account than {ACCOUNT}"):
        upload.upload(data, Place(BUCKET, "p"), quiet, delete=True)
    assert not recorder.of("PutObject")
    assert not recorder.of("DeleteObjects")


def test_bucket_that_is_not_there_is_told(s3: Any, data: Path) -> None:
    with pytest.raises(AccountError, match="There is no bucket nowhere"):
        upload.upload(data, Place("nowhere", "p"), quiet)


def test_object_that_s3_does_not_delete_is_told(recorder: Recorder, data: Path) -> None:
    recorder.answers["ListObjectsV2"] = lambda _: {"Contents": [{"Key": "p/old", "Size": 1}]}
    recorder.answers["DeleteObjects"] = lambda _: {"Errors": [{"Key": "p/old", "Code": "X", "Message": "Locked."}]}
    with pytest.raises(TrainingError, match=r"did not delete p/old: Locked\."):
        upload.upload(data, Place(BUCKET, "p"), quiet, delete=True)
    assert "p/manifest.json" not in {put["Key"] for put in recorder.of("PutObject")}


def test_objects_are_deleted_in_as_many_requests_as_s3_wants(recorder: Recorder, data: Path) -> None:
    old = [{"Key": f"p/old{number:04}", "Size": 1} for number in range(2001)]
    recorder.answers["ListObjectsV2"] = lambda _: {"Contents": old}
    assert upload.upload(data, Place(BUCKET, "p"), quiet, delete=True).deleted == 2001
    assert [len(params["Delete"]["Objects"]) for params in recorder.of("DeleteObjects")] == [1000, 1000, 1]


@pytest.mark.parametrize(
    ("etag", "metadata", "puts", "heads"),
    [
        (hashlib.md5(b"content").hexdigest(), None, 0, 0),  # noqa: S324 - S3's entity tag
        ("of-kms", {"sha256": hashlib.sha256(b"content").hexdigest()}, 0, 1),
        ("of-kms", {"sha256": hashlib.sha256(b"another").hexdigest()}, 1, 1),
        ("of-kms", {}, 1, 1),
    ],
)
def test_object_is_known_by_its_tag_or_where_it_is_encrypted_by_its_digest(
    etag: str, metadata: dict[str, str] | None, puts: int, heads: int, recorder: Recorder, tmp_path: Path
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"content")
    recorder.answers["ListObjectsV2"] = lambda _: {"Contents": [{"Key": "k", "Size": 7, "ETag": f'"{etag}"'}]}
    recorder.answers["HeadObject"] = lambda _: {"Metadata": metadata}
    assert upload.put_unless_there(path, Place(BUCKET, "k")) is bool(puts)
    assert len(recorder.of("PutObject")) == puts
    assert len(recorder.of("HeadObject")) == heads


def test_file_is_put_once_beside_others_whose_names_begin_alike(s3: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(b"model")
    s3.put_object(Bucket=BUCKET, Key="m/model.tar.gz.old", Body=b"model")
    assert upload.put_unless_there(path, Place(BUCKET, "m/model.tar.gz"))
    assert not upload.put_unless_there(path, Place(BUCKET, "m/model.tar.gz"))
    assert stored(s3) == {"m/model.tar.gz": b"model", "m/model.tar.gz.old": b"model"}
    assert s3.head_object(Bucket=BUCKET, Key="m/model.tar.gz")["ContentType"] == "application/gzip"


def test_checksum_tells_of_a_file_that_changed_on_its_way(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"before")
    digest = upload._digest

    def digest_and_change(path: Path, kind: Any) -> bytes:
        found = digest(path, kind)
        path.write_bytes(b"after!")
        return found

    monkeypatch.setattr(upload, "_digest", digest_and_change)
    upload.put_unless_there(path, Place(BUCKET, "file.txt"))  # S3 itself would refuse this, moto keeps it
    with pytest.raises(FlexibleChecksumError):
        stored(s3)


def test_file_that_is_too_large_for_one_piece_is_told(recorder: Recorder, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(upload.MAX_BYTES + 1)
    with pytest.raises(InputError, match=r"has 5\.0 GiB"):
        upload.put_unless_there(tmp_path / "large", Place(BUCKET, "k"))


def test_file_that_cannot_be_read_is_told(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone cannot be read: No such file"):
        upload.put_unless_there(tmp_path / "gone", Place(BUCKET, "k"))
