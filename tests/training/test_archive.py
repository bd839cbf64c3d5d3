import gzip
import hashlib
import io
import os
import pickle
import random
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training import archives
from tests.training.archives import python2_pickle, write_archive
from tests.training.datasets import variation
from training import archive
from training.errors import ArchiveError, PicturesError

BODY = bytes(random.Random(0).randrange(256) for _ in range(5000))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "cifar.tar.gz", train=3, test=2)


def quiet(_done: int, _total: int | None) -> None: ...


@dataclass
class Server:
    """A server of one file.

    Attributes:
        url: of the file.
        ranges: whether it goes on where it is asked to.
        ends_after: bytes after which it hangs up; None for never.
        says_length: whether it tells how long the file is.
        asked: paths and ranges that it was asked for.
    """

    url: str
    ranges: bool = True
    ends_after: int | None = None
    says_length: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            found.asked.append((self.path, wanted))
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/file")
                self.end_headers()
            elif self.path == "/file":
                self.send_file(int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and found.ranges else 0)
            else:
                self.send_error(404)

        def send_file(self, start: int) -> None:
            if start >= len(BODY):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if found.says_length:
                self.send_header("Content-Length", str(len(BODY) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
            self.end_headers()
            self.wfile.write(BODY[start : found.ends_after])

        def log_message(self, *_: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Server(f"http://127.0.0.1:{http.server_address[1]}/file")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    http.shutdown()
    http.server_close()
    thread.join()


def test_download_is_told_byte_by_byte_and_makes_its_folder(server: Server, tmp_path: Path) -> None:
    said: list[tuple[int, int | None]] = []
    archive.fetch(tmp_path / "new" / "file", lambda done, total: said.append((done, total)), server.url)
    assert (tmp_path / "new" / "file").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert said[0] == (0, 5000)
    assert said[-1] == (5000, 5000)


def test_download_that_breaks_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.ends_after = 1234
    with pytest.raises(ArchiveError, match=r"ended after 1234 of 5000 bytes.*Run this again to go on"):
        archive.fetch(tmp_path / "file", quiet, server.url)
    assert not (tmp_path / "file").exists()
    server.ends_after = 4000
    with pytest.raises(ArchiveError, match="ended after 4000 of 5000 bytes"):
        archive.fetch(tmp_path / "file", quiet, server.url)
    server.ends_after = None
    said: list[tuple[int, int | None]] = []
    archive.fetch(tmp_path / "file", lambda done, total: said.append((done, total)), server.url)
    assert (tmp_path / "file").read_bytes() == BODY
    assert said[0] == (4000, 5000)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1234-", "bytes=4000-"]


def test_download_begins_anew_where_the_server_cannot_go_on(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"something else")
    server.ranges = False
    archive.fetch(tmp_path / "file", quiet, server.url)
    assert (tmp_path / "file").read_bytes() == BODY


def test_download_that_is_whole_already_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(BODY)
    archive.fetch(tmp_path / "file", quiet, server.url)
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.asked == [("/file", "bytes=5000-")]


def test_download_goes_on_through_a_redirect(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(BODY[:100])
    archive.fetch(tmp_path / "file", quiet, server.url.replace("/file", "/moved"))
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.asked == [("/moved", "bytes=100-"), ("/file", "bytes=100-")]


def test_download_of_unknown_length_is_taken(server: Server, tmp_path: Path) -> None:
    server.says_length = False
    said: list[tuple[int, int | None]] = []
    archive.fetch(tmp_path / "file", lambda done, total: said.append((done, total)), server.url)
    assert (tmp_path / "file").read_bytes() == BODY
    assert said[-1] == (5000, None)


@pytest.mark.parametrize(("path", "reason"), [("/none", "404"), (None, "refused")])
def test_download_that_cannot_be_had_is_told(path: str | None, reason: str, server: Server, tmp_path: Path) -> None:
    url = server.url.replace("/file", path) if path else "http://127.0.0.1:1/file"
    with pytest.raises(ArchiveError, match=rf"could not be downloaded: .*{reason}.*--archive"):
        archive.fetch(tmp_path / "file", quiet, url)
    assert not (tmp_path / "file").exists()


def test_archive_that_is_there_and_right_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    for _ in range(2):
        archive.obtain(tmp_path / "file", quiet, server.url, digest)
    assert len(server.asked) == 1


def test_archive_that_is_there_and_wrong_is_moved_aside_and_downloaded_at_the_next_run(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"wrong")
    digest = hashlib.sha256(BODY).hexdigest()
    with pytest.raises(ArchiveError, match=r"It is now file\.bad\. Run this again"):
        archive.obtain(tmp_path / "file", quiet, server.url, digest)
    assert (tmp_path / "file.bad").read_bytes() == b"wrong"
    archive.obtain(tmp_path / "file", quiet, server.url, digest)
    assert (tmp_path / "file").read_bytes() == BODY


def test_file_with_another_digest_is_not_opened(small: Path, tmp_path: Path) -> None:
    archive.verify(small, hashlib.sha256(small.read_bytes()).hexdigest().upper())
    with pytest.raises(ArchiveError, match=r"its SHA-256 is [0-9a-f]{64}, not 85cd44d0.*It was not opened"):
        archive.verify(small)
    with pytest.raises(ArchiveError, match=r"cannot be read: No such file"):
        archive.verify(tmp_path / "none")
    with pytest.raises(ArchiveError, match="cannot be read: Is a directory"):
        archive.verify(tmp_path)


def test_archive_gives_the_pictures_that_were_put_in(small: Path) -> None:
    cifar = archive.read(small)
    assert cifar.classes == archives.CLASSES
    assert cifar.train.names[:2] == ["bicycle_s_000000.png", "motorcycle_s_000000.png"]
    assert cifar.train.labels == [8, 48] * 3
    assert cifar.test.pixels.shape == (4, 32, 32, 3)
    assert cifar.test.pixels.dtype == np.uint8
    assert np.array_equal(cifar.train.pixels[1], np.asarray(variation("motorcycle", 0, 32)))
    assert np.array_equal(cifar.test.pixels[0], np.asarray(variation("bicycle", 1000, 32)))


def test_pickle_of_todays_numpy_is_read_alike(tmp_path: Path) -> None:
    content = {
        b"filenames": [b"a.png", b"b.png"],
        b"fine_labels": [8, 48],
        b"data": np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072),
    }
    path = write_archive(tmp_path / "a.tar.gz", 1, 1, {"train": pickle.dumps(content, protocol=2)})
    with pytest.raises(ArchiveError, match=r"asks to run _codecs\.encode"):  # how Python 3 writes bytes for Python 2
        archive.read(path)
    path = write_archive(tmp_path / "b.tar.gz", 1, 1, {"train": pickle.dumps(content, protocol=3)})
    assert archive.read(path).train.pixels[1].ravel()[0] == 3072 % 256


def test_pickle_of_an_array_in_fortrans_order_is_read_alike(small: Path, tmp_path: Path) -> None:
    turned = np.asfortranarray(archive.read(small).train.pixels.transpose(0, 3, 1, 2).reshape(6, 3072))
    content = {b"filenames": [b"a"] * 6, b"fine_labels": [8] * 6, b"data": turned}
    path = write_archive(tmp_path / "a.tar.gz", 1, 1, {"train": pickle.dumps(content, protocol=3)})
    assert np.array_equal(archive.read(path).train.pixels, archive.read(small).train.pixels)


def test_classes_are_found_by_name() -> None:
    assert archive.choose(["apple", "bicycle", "motorcycle"], ["motorcycle", "apple"]) == [2, 0]
    with pytest.raises(PicturesError, match=r"no class bike, moto\. It has: apple, bicycle\."):
        archive.choose(["bicycle", "apple"], ["bike", "bicycle", "moto"])


def test_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {proof}",)

    evil = pickle.dumps({"filenames": Evil()}, protocol=2)
    with pytest.raises(ArchiveError, match=r"asks to run posix\.system.* It was not run"):
        archive.read(write_archive(tmp_path / "a.tar.gz", 1, 1, {"train": evil}))
    assert not proof.exists()
    pickle.loads(evil)  # noqa: S301 - the proof that it would have run
    assert proof.exists()


@pytest.mark.parametrize(
    "name",
    [
        b"cos\nsystem\n",
        b"cbuiltins\neval\n",
        b"c__builtin__\neval\n",
        b"cnumpy\nload\n",
        b"cnumpy\nfromfile\n",
        b"cnumpy.core.multiarray\nscalar\n",
        b"ctraining.archive\nURL\n",
    ],
)
def test_nothing_but_arrays_can_be_named(name: bytes, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.tar.gz", 1, 1, {"meta": b"\x80\x02" + name + b"(U\x01atR."})
    with pytest.raises(ArchiveError, match="It was not run"):
        archive.read(path)


def test_name_that_would_write_to_the_terminal_is_shown_escaped(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.tar.gz", 1, 1, {"meta": b"\x80\x02c\x1b[2J\nx\n."})
    with pytest.raises(ArchiveError, match=r"asks to run \\x1b\[2J\.x"):
        archive.read(path)


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = b"cnumpy\nndarray\n"
BYTE = b"cnumpy\ndtype\n(U\x02u1I0\nI1\ntR"
OBJECT = b"cnumpy\ndtype\n(U\x02O8I0\nI1\ntR"


def train_with(data: bytes) -> bytes:
    return b"\x80\x02}(U\x04data" + data + b"U\x0bfine_labels]I8\naU\x09filenames]U\x01aau."


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(ARRAY + b"(" + NDARRAY + b"(I1\nI3072\ntU\x01btR", id="array that was never filled"),
        pytest.param(ARRAY + b"(" + NDARRAY + b"(I99999999999\nI99999999\ntU\x01btR", id="huge array in the making"),
        pytest.param(NDARRAY + b"((I99999999999\nI99999999\nttR", id="huge array"),
        pytest.param(NDARRAY, id="class of arrays"),
        pytest.param(NDARRAY + b"(I1\n(I1\nI3072\nt" + BYTE + b"I00\nU\x01atb", id="class of arrays that is filled"),
        pytest.param(NDARRAY + b")R(I1\n(I1\nI3072\nt" + OBJECT + b"I00\n]tb", id="array of objects"),
        pytest.param(NDARRAY + b")R(I1\n(I1\nI3072\nt" + BYTE + b"I00\n]tb", id="array of a list"),
        pytest.param(NDARRAY + b")R(I1\n(I1\nI3072\nt" + BYTE + b"I00\nU\x01atb", id="array with too few bytes"),
        pytest.param(NDARRAY + b")R(I1\n(I-1\nI-1\nt" + BYTE + b"I00\nU\x01atb", id="array of negative size"),
        pytest.param(NDARRAY + b")R(I1\n(I1\nt" + BYTE + b"I00\nU\x01atb", id="array of another shape"),
        pytest.param(NDARRAY + b")R}U\x06pixelsU\x01asb", id="array with attributes"),
        pytest.param(NDARRAY + b")RI1\nb", id="array filled with a number"),
        pytest.param(b"U\x01a", id="bytes"),
        pytest.param(b"N", id="nothing"),
        pytest.param(b"Nr\xff\xff\xff\x7f", id="value remembered under a huge number"),
        pytest.param(b"Np2000000000\n", id="value remembered under a huge number in text"),
        pytest.param(b"\x8e\xff\xff\xff\xff\xff\x00\x00\x00", id="bytes of a huge length"),
        pytest.param(b"\x96\xff\xff\xff\xff\xff\x00\x00\x00", id="byte array of a huge length"),
        pytest.param(b"h\x07", id="value that was never remembered"),
        pytest.param(b"(" * 50 + b"t" * 50, id="nest of tuples"),
    ],
)
def test_pickle_of_anything_but_an_array_of_bytes_is_refused(data: bytes, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.tar.gz", 1, 1, {"train": train_with(data)})
    with pytest.raises(ArchiveError):
        archive.read(path)


def test_pickle_of_an_array_of_bytes_is_taken(tmp_path: Path) -> None:
    data = NDARRAY + b")R(I1\n(I1\nI3072\nt" + BYTE + b"I00\nT\x00\x0c\x00\x00" + bytes(3072) + b"tb"
    path = write_archive(tmp_path / "a.tar.gz", 1, 1, {"train": train_with(data)})
    assert archive.read(path).train.pixels.shape == (1, 32, 32, 3)


def test_pickle_with_too_many_operations_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_OPERATIONS", 1000)
    path = write_archive(tmp_path / "a.tar.gz", 1, 1, {"train": b"\x80\x02" + b"]0" * 501 + b"}."})
    with pytest.raises(ArchiveError, match="would fill the memory"):
        archive.read(path)


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("train", python2_pickle(["no", "dict"]), "train in the archive is not laid out"),
        ("train", python2_pickle({"filenames": [], "fine_labels": []}), "no data as"),
        ("train", python2_pickle({"data": np.zeros((1, 3072), np.uint8), "filenames": ["a"]}), "no fine_labels"),
        ("meta", python2_pickle({"fine_label_names": [1, 2]}), "name that is no text"),
        ("meta", python2_pickle({}), "no fine_label_names"),
        ("train", archives.split(range(2))[:-500], "train in the archive is damaged"),
        ("train", b"", "train in the archive is damaged"),
        ("train", b"not a pickle", "train in the archive is damaged"),
    ],
)
def test_member_that_is_not_laid_out_as_cifars_is_told(
    member: str, content: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveError, match=message):
        archive.read(write_archive(tmp_path / "a.tar.gz", 1, 1, {member: content}))


@pytest.mark.parametrize(
    ("shape", "labels", "names"),
    [
        ((2, 3071), [8, 8], ["a", "b"]),
        ((2, 3072), [8], ["a", "b"]),
        ((2, 3072), [8, 8], ["a"]),
        ((2, 3072), [8, 100], ["a", "b"]),
        ((2, 3072), [8, -1], ["a", "b"]),
        ((2, 3072), [8, "x"], ["a", "b"]),
        ((2, 3, 32, 32), [8, 8], ["a", "b"]),
    ],
)
def test_pictures_labels_and_names_have_to_fit_together(
    shape: tuple[int, ...], labels: list[object], names: list[str], tmp_path: Path
) -> None:
    content = python2_pickle({"data": np.zeros(shape, np.uint8), "fine_labels": labels, "filenames": names})
    with pytest.raises(ArchiveError, match=r"not laid out as|not numbers of classes"):
        archive.read(write_archive(tmp_path / "a.tar.gz", 1, 1, {"train": content}))


@pytest.mark.parametrize("name", archive.MEMBERS)
def test_missing_member_is_told(name: str, small: Path, tmp_path: Path) -> None:
    with tarfile.open(small) as old, tarfile.open(tmp_path / "a.tar.gz", "w:gz") as new:
        for member in old:
            if member.name != f"{archive.FOLDER}/{name}":
                new.addfile(member, old.extractfile(member))
    with pytest.raises(ArchiveError, match=f"holds no {archive.FOLDER}/{name}"):
        archive.read(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_member_that_is_no_file_is_refused(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo(f"{archive.FOLDER}/train")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(info)
    with pytest.raises(ArchiveError, match="is no plain file"):
        archive.read(tmp_path / "a.tar.gz")


def test_member_of_a_huge_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo(f"{archive.FOLDER}/train")
    info.size = 10**12
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(info)
    with pytest.raises(ArchiveError, match="no plain file of a size"):
        archive.read(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_archive_that_unpacks_to_too_much_is_refused(
    kind: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 3 * archive.CHUNK)
    info = tarfile.TarInfo("padding")
    info.type, info.size = kind, 100 * archive.CHUNK
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        archive.read(tmp_path / "a.tar.gz")


def test_truncated_archive_is_told(small: Path, tmp_path: Path) -> None:
    whole = small.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 4):
        (tmp_path / "a.tar.gz").write_bytes(whole[:length])
        with pytest.raises(ArchiveError):
            archive.read(tmp_path / "a.tar.gz")


PICKLE = archives.split(range(1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 600), st.binary(max_size=3)), min_size=1, max_size=4)
)
def test_changed_pickle_gives_pictures_or_an_error_of_ours(
    changes: list[tuple[int, int, bytes]], tmp_path: Path
) -> None:
    changed = bytearray(PICKLE)
    for from_end, place, content in changes:
        start = len(changed) - place if from_end else place
        changed[max(0, start) : max(0, start) + len(content)] = content
    try:
        found = archive._split(archive._unpickle(bytes(changed), "train"), "train", 100)
    except ArchiveError:
        return
    assert found.pixels.dtype == np.uint8
    assert found.pixels.shape == (len(found.names), 32, 32, 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 40_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_changed_tar_gives_pictures_or_an_error_of_ours(
    changes: list[tuple[int, bytes]], small: Path, tmp_path: Path
) -> None:
    changed = bytearray(gzip.decompress(small.read_bytes()))
    for place, content in changes:
        changed[place : place + len(content)] = content
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(changed), 1))
    try:
        archive.read(tmp_path / "a.tar.gz")
    except ArchiveError:
        return
