"""Untrusted archives: unpacked if they are as expected, and otherwise no file appears."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.api import DataError
from datasets.integrity import digest_of, unpack

CONTENT = {"set/a.txt": b"a" * 100, "set/deep/b.txt": b"b" * 200}


def make_tar(path: Path, content: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return path


def make_zip(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in content.items():
            opened.writestr(name, data)
    return path


MAKERS: list[tuple[str, Callable[[Path, dict[str, bytes]], Path]]] = [("x.tar.gz", make_tar), ("x.zip", make_zip)]


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_a_valid_archive_is_unpacked_and_existing_files_stay(
    tmp_path: Path, name: str, make: Callable[..., Path]
) -> None:
    target = tmp_path / "data"
    (target / "set").mkdir(parents=True)
    (target / "set" / "a.txt").write_text("existing")
    unpack(make(tmp_path / name, CONTENT), target)
    assert (target / "set" / "a.txt").read_text() == "existing"
    assert (target / "set" / "deep" / "b.txt").read_bytes() == CONTENT["set/deep/b.txt"]
    assert [path.name for path in target.iterdir()] == ["set"]


@pytest.mark.parametrize(("name", "make"), MAKERS)
@pytest.mark.parametrize("evil", ["../evil", "/tmp/evil-of-a-test", "set/../../evil", "..\\evil"])
def test_archive_members_cannot_leave_the_target(
    tmp_path: Path, name: str, make: Callable[..., Path], evil: str
) -> None:
    archive = make(tmp_path / name, CONTENT | {evil: b"evil"})
    with pytest.raises(DataError, match=re.escape(repr(evil))):
        unpack(archive, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())
    assert not list(tmp_path.rglob("evil*"))
    assert not Path("/tmp/evil-of-a-test").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("set/link")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(DataError, match="'set/link'"):
        unpack(make_tar(tmp_path / "x.tar.gz", CONTENT, info), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", CONTENT)
    info = zipfile.ZipInfo("set/link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="'set/link'"):
        unpack(path, tmp_path / "data")


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_limits_stop_a_zip_bomb(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    bomb = make(tmp_path / name, {"zeros": bytes(40 * 2**20)})
    assert bomb.stat().st_size < 2**20
    with pytest.raises(DataError, match=re.escape(str(bomb))):
        unpack(bomb, tmp_path / "data")
    with pytest.raises(DataError, match="entries"):
        unpack(make(tmp_path / name, CONTENT), tmp_path / "data", max_entries=1)
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_a_truncated_archive_leaves_no_files(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / name, CONTENT)
    archive.write_bytes(archive.read_bytes()[:-60])
    with pytest.raises(DataError, match=rf"{name} is damaged"):
        unpack(archive, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_digests(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert digest_of(path, "md5") == "900150983cd24fb0d6963f7d28e17f72"
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "y"))):
        digest_of(tmp_path / "y", "md5")
