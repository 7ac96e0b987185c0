"""Downloads over a real connection: complete, resumed, wrong and failed."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from datasets import DATASETS
from datasets.api import Archive, DataError, DatasetCard
from datasets.fetch import fetch
from tests.datasets.test_integrity import make_tar

NAME = "cifar-100-python.tar.gz"


@dataclass
class Publisher:
    """A server of one file.

    Attributes:
        content: content of the file.
        cut: number of bytes after which the connection ends; None to send all.
        ranges: whether it supports range requests.
        range_headers: Range header of each request.
    """

    content: bytes
    cut: int | None = None
    ranges: bool = True
    range_headers: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    archive = make_tar(
        tmp_path / NAME, {"cifar-100-python/train": bytes(range(256)) * 50, "cifar-100-python/test": b"t" * 500}
    )
    source = Publisher(archive.read_bytes())
    archive.unlink()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            byte_range = self.headers.get("Range")
            source.range_headers.append(byte_range)
            start = int(byte_range.removeprefix("bytes=").rstrip("-")) if byte_range and source.ranges else 0
            if start >= len(source.content):
                self.send_error(416)
                return
            body = source.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: source.cut])

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source.url = f"http://127.0.0.1:{server.server_port}/{NAME}"
    yield source
    server.shutdown()
    server.server_close()


def card_of(source: Publisher, md5: str | None = "right") -> DatasetCard:
    if md5 == "right":
        md5 = hashlib.md5(source.content).hexdigest()
    archive = Archive(url=source.url, name=NAME, md5=md5)
    return replace(DATASETS["cifar-100"], archives=(archive,))


def quiet(name: str, done: int, total: int | None) -> None:
    pass


def test_an_archive_is_verified_and_unpacked_where_the_reader_looks(publisher: Publisher, tmp_path: Path) -> None:
    card, data, progress = card_of(publisher), tmp_path / "data", []
    (line,) = fetch(card, data, lambda name, done, total: progress.append((name, done, total)))
    assert line == f"{data / NAME}  MD5 as published"
    assert card.find(data) == data / "cifar-100-python"
    assert progress[-1] == (NAME, len(publisher.content), len(publisher.content))
    fetch(card, data, quiet)
    assert len(publisher.range_headers) == 1  # the archive existed already


def test_a_second_command_that_fetches_the_same_archive_says_so(publisher: Publisher, tmp_path: Path) -> None:
    card, data = card_of(publisher), tmp_path / "data"
    data.mkdir()
    with (
        FileLock(data / f".{NAME}.lock"),
        pytest.raises(DataError, match=f"another command is fetching {re.escape(str(data / NAME))}"),
    ):
        fetch(card, data, quiet)
    assert publisher.range_headers == []
    fetch(card, data, quiet)
    fetch(card, data, quiet)


def test_an_interrupted_download_resumes(publisher: Publisher, tmp_path: Path) -> None:
    card, data = card_of(publisher), tmp_path / "data"
    publisher.cut = 100
    with pytest.raises(DataError, match="100"):
        fetch(card, data, quiet)
    with pytest.raises(DataError, match="200"):
        fetch(card, data, quiet)
    publisher.cut = None
    fetch(card, data, quiet)
    assert publisher.range_headers == [None, "bytes=100-", "bytes=200-"]
    assert (data / NAME).read_bytes() == publisher.content
    assert not list(data.glob("*.part"))


def test_a_download_restarts_if_the_server_cannot_resume(publisher: Publisher, tmp_path: Path) -> None:
    card, data = card_of(publisher), tmp_path / "data"
    publisher.cut, publisher.ranges = 100, False
    with pytest.raises(DataError, match="100"):
        fetch(card, data, quiet)
    publisher.cut = None
    fetch(card, data, quiet)
    assert (data / NAME).read_bytes() == publisher.content


def test_a_complete_partial_download_is_used(publisher: Publisher, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / f"{NAME}.part").write_bytes(publisher.content)
    fetch(card_of(publisher), data, quiet)
    assert (data / "cifar-100-python" / "test").is_file()


def test_a_replaced_file_is_not_kept(publisher: Publisher, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(DataError, match="0" * 32):
        fetch(card_of(publisher, md5="0" * 32), data, quiet)
    assert not list(data.iterdir())


def test_without_a_published_checksum_the_hash_is_printed(publisher: Publisher, tmp_path: Path) -> None:
    (line,) = fetch(card_of(publisher, md5=None), tmp_path / "data", quiet)
    assert hashlib.sha256(publisher.content).hexdigest() in line


def test_a_damaged_archive_without_a_published_checksum_is_not_kept(publisher: Publisher, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for content in (b"no archive", publisher.content[: len(publisher.content) // 2]):
        (data / NAME).write_bytes(content)
        with pytest.raises(DataError, match="fetch it again"):
            fetch(card_of(publisher, md5=None), data, quiet)
        assert not (data / NAME).exists()
    fetch(card_of(publisher, md5=None), data, quiet)
    assert (data / "cifar-100-python" / "test").is_file()


def test_offline_the_error_names_url_and_path_and_a_local_file_is_used(publisher: Publisher, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (archive,) = card_of(publisher).archives
    offline = replace(card_of(publisher), archives=(replace(archive, url="http://127.0.0.1:9/x"),))
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/x") as error:
        fetch(offline, data, quiet)
    assert str(data / NAME) in str(error.value)
    (data / NAME).write_bytes(publisher.content)
    fetch(offline, data, quiet)
    assert offline.find(data) == data / "cifar-100-python"


def test_data_that_needs_an_account_has_instructions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"imagenet-1k.*https://image-net.org/download"):
        fetch(DATASETS["imagenet-1k"], tmp_path, quiet)
