"""Archives: good ones are read whole, hostile and broken ones are refused by name."""

import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fishline.core.errors import UserError
from fishline.data.ingest import archives, sources
from fishline.data.ingest.archives import Room, quoted, unpack
from fishline.data.ingest.sources import Member, members

noise = random.Random(0).randbytes

FILES = {"Trout/1.png": b"one" * 999, "Trout/day 1/é.jpg": noise(5000), "Shrimp/1.png": b""}
KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]
ROOM = 2**30


def tar_of(
    members: Iterable[tuple[Any, bytes]], mode: str = "w", form: int = tarfile.PAX_FORMAT
) -> bytes:
    """Members by name, or TarInfo for what a name alone does not say."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zip_of(
    members: Iterable[tuple[Any, bytes]], method: int = zipfile.ZIP_DEFLATED, **attributes: Any
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name
            info.filename = name if isinstance(name, str) else info.filename  # NUL and all
            info.compress_type = method
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return file.getvalue()


def pack(kind: str, files: dict[str, bytes]) -> bytes:
    if kind == "zip":
        return zip_of(files.items())
    return tar_of(files.items(), f"w:{kind.partition('.')[2]}")


def read(content: bytes) -> dict[str, bytes]:
    """What is unpacked; nothing else is left, and nothing elsewhere."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "all").write_bytes(content)
        (Path(folder) / "to").mkdir()
        unpack(Path(folder) / "all", "all.x", Path(folder) / "to", Room(ROOM))
        assert set(os.listdir(folder)) == {"all", "to"}
        files = [path for path in (Path(folder) / "to").rglob("*") if path.is_file()]
        return {str(path.relative_to(f"{folder}/to")): path.read_bytes() for path in files}


def list_source(path: Path, room: int = ROOM) -> list[tuple[Member, bytes]]:
    with TemporaryDirectory() as staging:
        listed = members(path, Path(staging), room)
        return [(m, m.file.read_bytes() if m.file.is_file() else b"") for m in listed]


def read_source(path: Path, room: int = ROOM) -> dict[str, bytes]:
    return {m.name: content for m, content in list_source(path, room) if not m.left_out}


def tar_info(kind: bytes, name: str = "Trout/1.png", link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_read(kind: str) -> None:
    assert read(pack(kind, FILES)) == FILES


@pytest.mark.parametrize("kind", KINDS)
def test_folders_are_no_files_and_dots_go(kind: str) -> None:
    if kind == "zip":
        content = zip_of([("Trout/", b""), ("./Trout//1.png", b"x")])
    else:
        folder = tar_info(tarfile.DIRTYPE, "./")
        content = tar_of([(folder, b""), (folder, b""), ("./Trout//1.png", b"x")])
    assert read(content) == {"Trout/1.png": b"x"}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read(form: int) -> None:
    name = "/".join(["f" * 200] * 4)
    assert read(tar_of([(name, b"x")], form=form)) == {name: b"x"}


BAD_NAMES = ["../1.png", "Trout/../../1.png", "/etc/1.png", "C:/1.png", "Trout/C:1.png"]
BAD_NAMES += ["..\\1.png", "Trout/a\nb.png", "Trout/a\x1b[2J.png", "Trout/.."]


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_are_refused(make: Callable[[list[tuple[str, bytes]]], bytes], name: str) -> None:
    content = make([("Trout/0.png", b"x"), (name, b"x")])
    with pytest.raises(UserError, match="unsafe name") as caught:
        read(content)
    assert caught.value.message.isprintable()
    assert quoted(name) in caught.value.message


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_a_name_that_the_disk_cannot_have(
    make: Callable[[list[tuple[str, bytes]]], bytes],
) -> None:
    with pytest.raises(UserError, match="File name too long"):
        read(make([("Trout/" + "x" * 252 + ".png", b"x")]))


MODE = {"file": 0o100644, "link": 0o120777, "pipe": 0o010644, "device": 0o020644}

HOSTILE = {
    "NUL in a zip": (zip_of([("Trout/1.png\0.txt", b"x")]), "control character"),
    "link in a zip": (zip_of([("l.png", b"/")], external_attr=MODE["link"] << 16), "a link"),
    "pipe in a zip": (zip_of([("p.png", b"")], external_attr=MODE["pipe"] << 16), "device"),
    "device in a zip": (zip_of([("p.png", b"")], external_attr=MODE["device"] << 16), "device"),
    "symbolic link": (tar_of([(tar_info(tarfile.SYMTYPE, link="/etc"), b"")]), "a link"),
    "hard link": (tar_of([(tar_info(tarfile.LNKTYPE, link="x"), b"")]), "a link"),
    "pipe": (tar_of([(tar_info(tarfile.FIFOTYPE), b"")]), "device"),
    "device": (tar_of([(tar_info(tarfile.CHRTYPE), b"")]), "device"),
    "twice in a tar": (tar_of([("T/1.png", b"x"), ("./T/1.png", b"y")]), "'T/1.png' .* twice"),
    "file and folder": (zip_of([("T/1.png", b"x"), ("T/1.png/2.png", b"y")]), "cannot be unpacked"),
    "no archive": (b"just some text " * 99, "no zip or tar archive"),
    "empty file": (b"", "no zip or tar archive"),
    "two in one": (tar_of(FILES.items()) + tar_of(FILES.items()), "goes on after its end"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "says"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives_are_refused(content: bytes, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read(content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_in_a_zip() -> None:
    with pytest.raises(UserError, match="'T/1.png' is there twice"):
        read(zip_of([("T/1.png", b"x"), ("T/1.png", b"y")]))


def test_an_encrypted_zip() -> None:
    content = bytearray(zip_of([("1.png", b"x")]))
    for signature, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        content[content.index(signature) + offset] |= 1
    with pytest.raises(UserError, match=r"damaged.*1\.png.* is encrypted"):
        read(bytes(content))


def test_a_negative_size_does_not_go_round_in_circles() -> None:
    info = tarfile.TarInfo("1.png")
    info.size = -512
    header = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(UserError, match="absurd size"):
        read(header + b"\0" * 1024)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_of_absurd_size(kind: bytes) -> None:
    long = tar_info(kind, "x")
    long.size = 2**23
    content = gzip.compress(long.tobuf(tarfile.GNU_FORMAT) + bytes(2**23) + tar_of([("1", b"")]))
    with pytest.raises(UserError, match="absurd size"):
        read(content)


def test_many_headers_for_one_member() -> None:
    long = tar_info(tarfile.GNUTYPE_LONGNAME, "x")
    long.size = 1
    content = (long.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * 5000 + tar_of([("1", b"")])
    with pytest.raises(UserError):
        read(content)


def test_too_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 2)
    with pytest.raises(UserError, match="more than 2 files"):
        read(zip_of([(f"{i}.png", b"") for i in range(3)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_off_archives(tmp_path: Path, kind: str, share: float) -> None:
    content = pack(kind, {f"{i}.png": noise(3000) for i in range(9)})
    if kind == "tar":
        content = content.rstrip(b"\0")  # how much padding there is does not matter
    (tmp_path / "all.x").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match="cut off"):
        read_source(tmp_path / "all.x")


def test_a_tar_cut_off_between_two_members() -> None:
    one = tar_of([("1.png", b"x" * 512)])[:1024]
    with pytest.raises(UserError, match="cut off"):
        read(one)


def test_a_damaged_header_is_not_taken_for_the_end() -> None:
    content = bytearray(tar_of([("1.png", b"x" * 512), ("2.png", b"y" * 512)]))
    content[1024 + 150] ^= 1  # in the second header's checksum
    with pytest.raises(UserError, match="damaged"):
        read(bytes(content))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_flipped_bits_show(tmp_path: Path, kind: str) -> None:
    files = {f"{i}.png": noise(3000) for i in range(9)}
    content = bytearray(pack(kind, files))
    content[len(content) // 2] ^= 4
    (tmp_path / "all").write_bytes(content)
    with pytest.raises(UserError, match="nothing was changed"):
        read_source(tmp_path / "all")


def test_a_zip_member_larger_than_declared() -> None:
    content = bytearray(zip_of([("T/1.png", noise(500))]))
    struct.pack_into("<I", content, content.index(b"PK\1\2") + 24, 400)
    with pytest.raises(UserError, match="damaged or cut off"):
        read(bytes(content))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_a_zip(method: int) -> None:
    assert read(zip_of(FILES.items(), method)) == FILES


@pytest.mark.parametrize("kind", KINDS)
def test_archives_in_archives(tmp_path: Path, kind: str) -> None:
    inner = pack(kind, {"1.png": b"deep", "notes.txt": b""})
    middle = pack("zip", {f"Trout.{kind}": inner, "Shrimp/2.png": b"less deep"})
    (tmp_path / "all.tar").write_bytes(pack("tar", {"all/middle.zip": middle}))
    listed = {m.name: (m.path, m.left_out) for m, _ in list_source(tmp_path / "all.tar")}
    inside = ("all", "middle", "Trout")
    assert listed == {
        f"all/middle.zip/Trout.{kind}/1.png": ((*inside, "1.png"), ""),
        f"all/middle.zip/Trout.{kind}/notes.txt": ((*inside, "notes.txt"), sources.NO_IMAGE),
        "all/middle.zip/Shrimp/2.png": (("all", "middle", "Shrimp", "2.png"), ""),
    }
    assert set(read_source(tmp_path / "all.tar").values()) == {b"deep", b"less deep"}
    assert os.listdir(tmp_path) == ["all.tar"]


def test_four_archives_in_each_other(tmp_path: Path) -> None:
    content = pack("zip", {"T/1.png": b"x"})
    for name in ("c.zip", "b.zip", "a.zip"):
        content = pack("zip", {name: content})
    (tmp_path / "0.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"a.zip/b.zip/c.zip.*in more than 2 other archives"):
        read_source(tmp_path / "0.zip")
    (tmp_path / "0.zip").write_bytes(zipfile.ZipFile(io.BytesIO(content)).read("a.zip"))
    assert read_source(tmp_path / "0.zip") == {"b.zip/c.zip/T/1.png": b"x"}


@pytest.mark.parametrize("content", [b"", b"no archive", pack("zip", FILES)[:-9]])
def test_a_broken_archive_in_an_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "all.zip").write_bytes(pack("zip", {"T/1.png": b"x", "in/broken.tgz": content}))
    with pytest.raises(UserError, match="all.zip/in/broken.tgz': it is no zip or tar archive"):
        read_source(tmp_path / "all.zip")


def test_archives_that_are_left_out_are_not_opened(tmp_path: Path) -> None:
    files = {"__MACOSX/a.zip": b"?", ".b.tar": b"?", "Trout GT/c.zip": b"?"}
    (tmp_path / "all.zip").write_bytes(pack("zip", files))
    reasons = [m.left_out for m, _ in list_source(tmp_path / "all.zip")]
    assert sorted(reasons) == [sources.HIDDEN, sources.HIDDEN, sources.MASK]


def test_archives_of_the_source_stay(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.zip").write_bytes(pack("zip", {"T/1.png": b"x"}))
    assert read_source(tmp_path / "in") == {"a.zip/T/1.png": b"x"}
    assert os.listdir(tmp_path / "in") == ["a.zip"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("room", "fits"), [(3000, True), (2999, False)])
def test_more_than_the_disk_holds(tmp_path: Path, kind: str, room: int, fits: bool) -> None:
    (tmp_path / "all").write_bytes(pack(kind, {"T/1.png": bytes(1000), "notes.txt": bytes(2000)}))
    if fits:
        assert len(list_source(tmp_path / "all", room)) == 2
        return
    with pytest.raises(UserError, match="unpacks to more than the 2,999 bytes free"):
        read_source(tmp_path / "all", room)


def test_what_an_inner_archive_unpacks_to_counts(tmp_path: Path) -> None:
    inner = pack("tar.gz", {"T/1.png": bytes(10**6)})
    (tmp_path / "all.zip").write_bytes(pack("zip", {"a.tgz": inner}))
    assert read_source(tmp_path / "all.zip", 10**6 + len(inner))
    with pytest.raises(UserError, match="all.zip/a.tgz': it unpacks to more"):
        read_source(tmp_path / "all.zip", 10**6 + len(inner) - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_too_large(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 2000)
    (tmp_path / "all").write_bytes(pack(kind, {"T/1.png": bytes(2000), "notes.txt": bytes(2001)}))
    assert set(read_source(tmp_path / "all")) == {"T/1.png"}
    (tmp_path / "all").write_bytes(pack(kind, {"T/2.png": bytes(2001)}))
    ((member, _),) = list_source(tmp_path / "all")
    assert member.left_out == sources.TOO_LARGE


def test_tars_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """tarfile's list of members would grow with the archive."""
    kept: list[int] = []
    keep = tarfile.TarFile.next

    def counting(archive: Any) -> Any:
        kept.append(len(archive.members))
        return keep(archive)

    monkeypatch.setattr(tarfile.TarFile, "next", counting)
    read(tar_of([(f"{i}.png", b"x") for i in range(50)]))
    assert max(kept) <= 1


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of([("T/\udcff.png", b"x")], form=tarfile.GNU_FORMAT))
    ((member, _),) = list_source(tmp_path / "a.tar")
    assert member.left_out == sources.NOT_UTF8


def test_xz_without_a_tar(tmp_path: Path) -> None:
    (tmp_path / "photo.png.xz").write_bytes(lzma.compress(b"a photograph" * 99))
    with pytest.raises(UserError, match="no zip or tar archive"):
        read_source(tmp_path / "photo.png.xz")
