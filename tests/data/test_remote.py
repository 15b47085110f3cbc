"""Files behind a URL: which bytes are fetched, what happens when the network fails, and what is never shown."""

import gzip
import pickle
import socket
from collections.abc import Iterator

import pytest

from minibert.data import patience, web
from minibert.data.find import find_files, is_list_of_files, size_of, stamp_of
from minibert.data.opening import open_texts
from minibert.data.remote import FIRST, LAST, RemoteFile, remote_files
from minibert.data.rows import Place
from minibert.errors import InputError, MissingExtraError
from minibert.urls import is_url, name_in, shown_url, without_secrets
from tests.support.hub_server import HubServer
from tests.support.range_server import RangeServer

LINES = b"".join(b"line %d of %d\n" % (number, number * number) for number in range(100_000))


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.001)


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with RangeServer({"texts.txt": LINES, "my texts.txt.gz": gzip.compress(LINES[:1000]), "empty.txt": b""}) as server:
        yield server


@pytest.fixture
def memory() -> Iterator[None]:
    """Some files in fsspec's memory."""
    import fsspec

    system = fsspec.filesystem("memory")
    for name in (
        "b.csv",
        "a.csv",
        "sub/c.csv",
        ".d.csv",
        "read.md",
        "old/manifest.json",
        "old/e.csv",
        "x/f.jsonl.gz",
        "notes/n.md",
    ):
        system.pipe_file(f"/bucket/{name}", b"text\nhello\n")
    yield
    system.rm("/bucket", recursive=True)


def one(url: str) -> RemoteFile:
    (file,), is_folder = remote_files(url)
    assert not is_folder
    return file


def test_each_byte_is_fetched_once(server) -> None:
    file = one(server.url("texts.txt"))
    for _ in range(3):
        assert file.open().read(10) == LINES[:10]
    with file.open() as stream:
        assert list(stream) == LINES.splitlines(keepends=True)
    assert server.sent["texts.txt"] == len(LINES)
    assert len(server.requests) <= 8
    assert file.size == size_of(file) == len(LINES)
    assert (file.name, file.suffix, file.stem) == ("texts.txt", ".txt", "texts")


def test_a_window_is_all_that_is_fetched(server) -> None:
    file = one(server.url("texts.txt"))
    assert file.size == len(LINES)
    server.forget()
    start = FIRST + 1000
    with file.open("rb", start, 5000) as stream:
        assert stream.read() == LINES[start : start + 5000]
    assert file.open("rb", len(LINES) - 10, 5000).read() == LINES[-10:]
    assert file.open("rb", len(LINES) + 10, 5000).read() == b""
    assert server.sent["texts.txt"] == 5010
    assert len(server.requests) == 2


def test_bytes_at_places(server) -> None:
    file = one(server.url("texts.txt"))
    assert file.size == len(LINES)
    server.forget()
    with file.at_places() as stream:
        for start in (
            len(LINES) - 8,
            len(LINES) - 1000,
            300_000,
            len(LINES) - 100,
        ):  # at first the end
            stream.seek(start)
            assert stream.read(8) == LINES[start : start + 8]
    assert server.sent["texts.txt"] == LAST + 8


def test_readers(server) -> None:
    texts = open_texts(one(server.url("texts.txt")))
    rows = [row.text for row in texts]
    assert len(rows) == 100_000 and rows[99] == "line 99 of 9801"
    offset = len(b"".join(LINES.splitlines(keepends=True)[:50_000]))
    line = next(texts.at(Place(offset, 50_001, 100), 50_001))[2]
    assert (line.number, line.text) == (50_001, "line 50000 of 2500000000")
    gzipped = one(server.url("my%20texts.txt.gz"))
    assert gzipped.name == "my texts.txt.gz"
    assert next(iter(open_texts(gzipped))).text == "line 0 of 0"
    assert list(open_texts(one(server.url("empty.txt")))) == []


def test_broken_connections_go_on_where_they_broke(server, caplog) -> None:
    server.drop_after(100)
    server.refuse(503)
    server.drop_after(0)
    file = one(server.url("texts.txt"))
    assert file.size == len(LINES)
    server.forget()
    server.drop_after(1000, times=12)  # each sends some, so it is not given up
    server.refuse(429, times=3)
    assert file.open("rb", 200_000, 100_000).read() == LINES[200_000:300_000]
    assert server.sent["texts.txt"] == 100_000
    assert len(server.requests) == 16
    assert "the connection broke after 1,000 of 100,000 bytes; trying again in 0.001 s (2 of 5)" in caplog.text


def test_given_up(server, monkeypatch) -> None:
    file = one(server.url("texts.txt"))
    server.refuse(500, times=patience.ATTEMPTS)
    with pytest.raises(InputError, match=r"texts\.txt cannot be read: the server answers HTTP 500 Internal"):
        assert file.size
    assert not server.faults
    monkeypatch.setattr(web, "TIMEOUT", 0.1)
    server.delay(0.5, times=patience.ATTEMPTS)
    with pytest.raises(InputError, match=r"cannot be read: the server was silent for 0\.1 s, several times in a row"):
        assert file.size


def test_a_server_without_ranges() -> None:
    with RangeServer({"small.txt": LINES, "large.txt": bytes(web.LARGEST_WHOLE + 1)}, ranges=False) as server:
        small = one(server.url("small.txt"))
        assert small.open("rb", 500_000, 100).read() == LINES[500_000:500_100]
        assert small.at_places().read() == LINES
        assert len(server.requests) == 1
        with pytest.raises(InputError, match=r"more than 8 MB, and its server does not send a part.*Download the file"):
            assert one(server.url("large.txt")).size


def test_changed_while_it_is_read(server) -> None:
    file = one(server.url("texts.txt"))
    before = stamp_of(file)
    server.files["texts.txt"] = LINES[:-5] + b"four\n"
    with pytest.raises(InputError, match=r"texts\.txt was changed while it was read"):
        file.open().read()
    assert stamp_of(one(server.url("texts.txt"))) != before


def test_secrets_are_not_shown(caplog) -> None:
    with RangeServer({"texts.txt": LINES}, password="bWU6aGlkZGVu") as server:  # me:hidden
        file = one(server.url("texts.txt", "me:hidden", "signature=hidden"))
        server.drop_after(10)
        assert file.size == len(LINES)  # so both were sent
        assert (str(file), file.name) == (f"http://127.0.0.1:{server.port}/texts.txt?…", "texts.txt")
        assert pickle.loads(pickle.dumps(file)).open().read() == LINES
        wrong = one(server.url("texts.txt", "me:hiddenhidden", "signature=hidden"))
        with pytest.raises(InputError, match=r"may not be read \(HTTP 401 Unauthorized\)") as error:
            assert wrong.size
        assert one(server.url("moved/texts.txt", "me:hidden")) != file
        with pytest.raises(InputError, match="401"):  # the password is not for where a redirect leads
            assert one(server.url("moved/texts.txt", "me:hidden")).size
        server.refuse(404)
        with pytest.raises(InputError, match=r"texts\.txt\?… does not exist \(HTTP 404 Not Found\)\. Check") as missing:
            assert one(server.url("texts.txt", query="signature=hidden")).size
    shown = f"{file!r}{error.value}{missing.value}{caplog.text}"
    assert "hidden" not in shown and "trying again" in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host/a/b.txt?key=secret#secret", "https://host/a/b.txt?…"),
        ("https://secret@host/a/b.txt", "https://host/a/b.txt"),
        ("s3://key:secret@bucket/a?.txt", "s3://bucket/a?.txt"),
        ("abfs://container@account.dfs.core.windows.net/a.txt", "abfs://container@account.dfs.core.windows.net/a.txt"),
        ("hf://datasets/owner/name@main/a.txt", "hf://datasets/owner/name@main/a.txt"),
    ],
)
def test_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "secret" not in without_secrets(f"No connection to '{url}' (again: {url})") or url.startswith("https://user")
    assert is_url(url) and name_in(url).startswith(("a", "b"))


def test_what_is_no_url() -> None:
    assert not any(map(is_url, ("a.txt", "C:/a.txt", "C://a.txt", "/a", "", None, "a b://c")))


def test_folders_and_globs(memory) -> None:
    def names(url: str) -> list[str]:
        return ["/".join((*file.folders, file.name)) for file in find_files(url)]

    with pytest.raises(InputError, match=r"of several kinds: f\.jsonl\.gz is \.jsonl, a\.csv \.csv"):
        names("memory://bucket")
    import fsspec

    fsspec.filesystem("memory").rm("/bucket/x", recursive=True)
    assert names("memory://bucket") == names("memory://bucket/") == ["a.csv", "b.csv", "sub/c.csv"]
    assert names("memory://bucket/*.csv")[-2:] == ["a.csv", "b.csv"]
    assert names("memory://bucket/sub/c.csv") == ["c.csv"]
    files = find_files(["memory://bucket/b.csv", "memory://bucket/sub"])
    assert [file.name for file in files] == ["b.csv", "c.csv"] and is_list_of_files(files)
    assert find_files(files) == files
    assert [row.text for row in open_texts(files[0])] == ["hello"]
    assert pickle.loads(pickle.dumps(files[0])).open().read() == b"text\nhello\n"
    assert files[0].open("rb", 5, 3).read() == b"hel"


def test_the_hub(monkeypatch) -> None:
    from huggingface_hub import HfFileSystem, constants

    files = {"data/a.csv": b"text\nhello\n", "data/b.csv": b"text\n" + LINES[:200_000], "README.md": b"hello"}
    with HubServer({"datasets/owner/name": files}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        HfFileSystem.clear_instance_cache()
        found = find_files("hf://datasets/owner/name")
        assert list(map(str, found)) == [f"hf://datasets/owner/name/data/{letter}.csv" for letter in "ab"]
        assert (
            find_files("hf://datasets/owner/name@main/data/*.csv")[1].open("rb", 150_000, 9).read()
            == LINES[149_995:150_004]
        )
        assert hub.log_of("b.csv")[-1].range == "bytes=150000-150008"
        assert [row.text for row in open_texts(found[0])] == ["hello"]
        with pytest.raises(InputError, match=r"hf://datasets/owner/nobody/a\.csv does not exist\. Check the address"):
            find_files("hf://datasets/owner/nobody/a.csv")
        HfFileSystem.clear_instance_cache()


def test_file_urls_are_paths(tmp_path) -> None:
    path = tmp_path / "a b.txt"
    path.write_text("x")
    assert find_files(path.as_uri()) == [path]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("memory://none/a.txt", r"memory://none/a\.txt does not exist"),
        ("memory://bucket/*.txt", r"There is no file called like memory://bucket/\*\.txt"),
        ("memory://bucket/notes", r"The folder memory://bucket/notes holds no file to read \(1 \.md\)"),
        ("memory://bucket/read.md", r"read\.md ends in '\.md'; an input is"),
        ("https://host/", "names no file, and a web server does not list its folders"),
        ("https://host", "names no file"),
        ("https://host/*.csv", "is a pattern, and a web server does not list its files"),
        ("http://127.0.0.1:port/a.csv", "nonnumeric port"),
        ("http://ho st/a.csv", "is no address"),
        ("http://nobody.invalid/a.csv", "there is no server of this name|no network|name resolution"),
        ("s3:/bucket/a.csv", r"s3:/bucket/a\.csv has one slash after s3:, a URL has two: s3://….*URL is text"),
        ("s3://", r"s3:// names no bucket and no file, expected s3://BUCKET/FOLDER"),
        ("xyz://a/b.csv", r"xyz:// is no protocol that fsspec knows; there are http://"),
    ],
)
def test_mistakes(memory, url: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        for file in find_files(url):
            open_texts(file)


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.csv"
        with pytest.raises(InputError, match=r"a\.csv cannot be read: Connection refused, several times in a row"):
            open_texts(one(url))


def test_no_tls(server) -> None:
    with pytest.raises(InputError, match=r"does not answer in TLS.*perhaps it begins with http://"):
        assert one(server.url("texts.txt").replace("http:", "https:")).size


def test_a_driver_that_is_missing(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match=r"gs://bucket/a\.csv needs the driver.*Please install gcsfs"):
        find_files("gs://bucket/a.csv")
