"""Photographs in a bucket: found, read within bounds, and what is said where that cannot be."""

import sys
from collections.abc import Callable, Iterator, Mapping

import pytest

from fishline.core.errors import UserError
from fishline.data import remote_files
from fishline.data.remote_files import RemoteFile, find_images, is_url, list_files

MakeBucket = Callable[[str, Mapping[str, bytes]], str]


@pytest.fixture(scope="module")
def bucket(make_bucket: MakeBucket) -> str:
    keys = ["b/2.jpg", "b/1.PNG", "a.png", "b/deep/er/3.webp"]
    others = ["notes.txt", "b/.hidden/4.png", "b/.5.png", "b GT/6.png", "b/::odd #?%41.png"]
    return make_bucket("remote-files", {key: key.encode() for key in (*keys, *others)})


@pytest.fixture
def fresh() -> Iterator[None]:
    """A file system with the environment of this test."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()


def test_images_are_found_as_in_a_folder(bucket: str) -> None:
    odd = f"{bucket}/b/::odd #?%41.png"
    names = ["a.png", "b/1.PNG", "b/2.jpg", "b/::odd #?%41.png", "b/deep/er/3.webp"]
    for url in (bucket, f"{bucket}/"):
        assert list(find_images(url)) == [f"{bucket}/{name}" for name in names]
    assert RemoteFile(odd).read() == b"b/::odd #?%41.png"
    below = [f"{bucket}/b/deep/er/3.webp"]
    assert list(find_images(f"{bucket}/b/deep")) == list(find_images(below[0])) == below
    for one in ("http://127.0.0.1:1/get?photo=1", f"{bucket}/none.jpg"):
        assert list(find_images(one)) == [one]  # nobody is asked


def test_files_are_listed_with_their_place_and_size(bucket: str) -> None:
    listed = {file.path: file.size for file in list_files(f"{bucket}/b")}
    assert listed["deep/er/3.webp"] == len("b/deep/er/3.webp")
    assert [file.path for file in list_files(f"{bucket}/a.png")] == ["a.png"]


def test_what_cannot_be_read_is_an_error_of_that_file(
    make_bucket: MakeBucket, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "MAX_BYTES", 5)
    url = make_bucket("bounds", {"empty.png": b"", "fits.png": b"12345", "large.png": b"123456"})
    assert RemoteFile(f"{url}/fits.png").read() == b"12345"
    for name, error in {
        "empty.png": "an empty file",
        "large.png": "over 5 bytes",
        "none.png": "no such file",
    }.items():
        with pytest.raises(ValueError, match=error):
            RemoteFile(f"{url}/{name}").read()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://no-such-bucket/a", "there is no such bucket or folder, or nothing in it"),
        ("s3://remote-files/none", "there is no such bucket or folder, or nothing in it"),
        ("nix://a/b", "Protocol not known: nix"),
        ("https://a/b", "a web site cannot be listed"),
    ],
)
def test_places_that_are_not_there(bucket: str, url: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{url}: {message}"):
        list(list_files(url))


@pytest.mark.usefixtures("bucket", "fresh")
def test_without_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for name in ("CONFIG", "SHARED_CREDENTIALS"):
        monkeypatch.setenv(f"AWS_{name}_FILE", "/nowhere")
    with pytest.raises(UserError, match="access is denied .* set AWS_ACCESS_KEY_ID and"):
        list(find_images("s3://remote-files"))


@pytest.mark.usefixtures("bucket")
def test_a_login_that_expires_stops_and_a_file_that_is_denied_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from botocore.exceptions import ClientError
    from s3fs import S3FileSystem
    from s3fs.errors import translate_boto_error

    def fail(self: object, path: str, **_: object) -> bytes:
        code = path.rpartition("/")[2]
        error = ClientError({"Error": {"Code": code, "Message": f"it is {code}"}}, "GetObject")
        raise translate_boto_error(error) from error

    monkeypatch.setattr(S3FileSystem, "cat_file", fail)
    with pytest.raises(ValueError, match="access denied: .*it is AccessDenied"):
        RemoteFile("s3://remote-files/AccessDenied").read()
    for code in ("ExpiredToken", "InternalError"):
        with pytest.raises(UserError, match=f"it is {code}"):
            RemoteFile(f"s3://remote-files/{code}").read()


def test_without_a_network() -> None:
    with pytest.raises(UserError, match="cannot be reached .* network and address"):
        RemoteFile("http://127.0.0.1:1/a.jpg").read()


def test_without_s3fs(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec  # which has a dictionary of the same name as the module

    known = vars(sys.modules[f"{fsspec.__name__}.registry"])["_registry"]
    monkeypatch.delitem(known, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match=r"needs s3fs.*pip install 'fishline\[s3\]'"):
        list(find_images("s3://bucket"))


def test_what_is_a_url() -> None:
    assert [is_url(text) for text in ("s3://a", "S3A://a", "a/b://c", "C:\\a", "://a", "a")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
