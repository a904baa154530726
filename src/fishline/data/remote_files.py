"""Photographs behind a URL, such as `s3://bucket/prefix`: whatever fsspec has a file system for.

https://filesystem-spec.readthedocs.io. Credentials and endpoint come from where the file system
itself looks: for S3 the AWS_… variables, ~/.aws and the machine's role.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tqdm import tqdm

from fishline.core.errors import UserError
from fishline.data.photo_files import MASKS, MAX_BYTES, image_endings, reason

THREADS = 8  # that read for each processor: they wait for answers most of the time

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_WEB = ("http://", "https://")
_S3 = ("s3", "s3a")
# What S3 says where not the one file is refused, but whoever asks.
_LOGIN = {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
_OF_THE_DISK = {
    errno.EDQUOT, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOSPC, errno.ENOTDIR,
}  # fmt: skip


def is_url(text: str) -> bool:
    """Whether `text` begins with a scheme, as in `s3://`."""
    return bool(_URL.match(text))


@dataclass(frozen=True)
class RemoteFile:
    """A file behind a URL."""

    url: str

    def read(self) -> bytes:
        """Its content, at least one byte and at most `MAX_BYTES`, by one request.

        Of an HTTP server that gives no parts of a file, more may come before it is refused.

        Raises:
            OSError, ValueError: this file cannot be had, or is empty or too large; see `reason`.
            UserError: no file can be had, such as without a network or with a login that expired.
        """
        files, path = open_files(self.url)
        try:
            content: bytes = files.cat_file(path, start=0, end=MAX_BYTES + 1)
        except Exception as error:  # of whatever library the file system uses
            if _is_empty(files, path):  # a range of it cannot be had
                raise ValueError("an empty file") from None
            raise self._about(error) from None
        if not content:
            raise ValueError("an empty file")
        if len(content) > MAX_BYTES:
            raise ValueError(f"over {MAX_BYTES} bytes, which is the limit")
        return content

    def _about(self, error: Exception) -> Exception:
        """What to raise: a file that is not there is one thing, a network that fails another."""
        if isinstance(error, FileNotFoundError):
            return ValueError("no such file")
        status = getattr(error, "status", None)  # of HTTP
        if isinstance(status, int) and 400 <= status < 500:
            return ValueError(f"refused with HTTP status {status}")
        if isinstance(error, PermissionError) and _code(error) not in _LOGIN:
            return ValueError(f"access denied: {reason(error)}")
        return explained(self.url, error)


def _is_empty(files: Any, path: str) -> bool:
    try:
        return bool(files.size(path) == 0)
    except Exception:  # the first error says why
        return False


def _code(error: BaseException) -> str:
    """What S3 calls the error."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def open_files(url: str) -> tuple[Any, str]:
    """The file system that `url` lies in, and the path in it.

    Raises:
        UserError: fsspec knows no such scheme, or a package is missing.
    """
    import fsspec

    scheme = url.partition("://")[0]
    try:
        kind = fsspec.get_filesystem_class(scheme)
        # Not url_to_fs: to that, "::" in a name is a chain of file systems.
        files = kind(**kind._get_kwargs_from_urls(url), use_listings_cache=False)
    except ImportError as error:
        s3fs = "s3fs, which is not installed: pip install 'fishline[s3]'"
        raise UserError(f"{url} needs {s3fs if scheme in _S3 else error}") from None
    except Exception as error:
        raise UserError(f"{url}: {reason(error)}") from None
    return files, kind._strip_protocol(url)


class Listed(NamedTuple):
    """A file that a URL has below it."""

    url: str
    path: str  # below the URL; its own name, if the URL is that of the file
    size: int  # bytes


def list_files(url: str) -> Iterator[Listed]:
    """The files below `url`, or the one it names, in no order.

    One folder directly below `url` after the other, as a listing takes a KB for each file.

    Raises:
        UserError: there is no such place, or it cannot be listed.
    """
    if url.startswith(_WEB):
        raise UserError(f"{url}: a web site cannot be listed; download it first")
    files, root = open_files(url)
    root = root.rstrip("/")
    try:
        for entry in files.ls(root, detail=True):
            below = [entry]
            if entry["type"] == "directory":
                below = list(files.find(entry["name"], detail=True).values())
            for file in below:
                name = str(file["name"])
                if name.endswith("/"):  # S3's mark of an empty folder
                    continue
                path = name.rpartition("/")[2] if name == root else name.removeprefix(f"{root}/")
                yield Listed(files.unstrip_protocol(name), path, int(file["size"] or 0))
    except Exception as error:  # of whatever library the file system uses
        raise explained(url, error) from None


def find_images(url: str) -> Iterator[str]:
    """Whatever below `url` is named like an image, sorted; no hidden files, no mask folders.

    What has such a name itself, or is of a web site, is one photograph.

    Raises:
        UserError: there is no such place, or it cannot be listed.
    """
    endings = image_endings()
    if url.startswith(_WEB) or PurePosixPath(url).suffix.lower() in endings:
        yield url
        return
    files = tqdm(list_files(url), "names", unit="file", leave=False, disable=None)
    yield from sorted(file.url for file in files if _is_image(file.path, endings))


def _is_image(path: str, endings: set[str]) -> bool:
    parts = path.split("/")
    aside = any(part.startswith(".") or part.endswith(MASKS) for part in parts)
    return not aside and PurePosixPath(path).suffix.lower() in endings


def download(file: Listed, target: Path) -> None:
    """Write the content of `file` to `target`, whose folder is there.

    Raises:
        UserError: it cannot be had or written.
    """
    files, path = open_files(file.url)
    try:
        files.get_file(path, str(target))
    except Exception as error:  # of whatever library the file system uses
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise UserError(f"{target}: {error.strerror}") from None
        raise explained(file.url, error) from None
    if target.stat().st_size != file.size:
        raise UserError(f"{file.url} changed while it was read; try again")


def explained(url: str, error: BaseException) -> UserError:
    """What to say of a URL that cannot be reached, and what to do."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{url}: there is no such bucket or folder, or nothing in it")
    kind = type(error).__name__
    if "Credentials" in kind or isinstance(error, PermissionError):
        return UserError(
            f"{url}: access is denied ({reason(error)}). Log in: for S3 set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public bucket FSSPEC_S3_ANON=true"
        )
    return UserError(
        f"{url} cannot be reached ({reason(error)}). Are network and address right (for S3 "
        "AWS_ENDPOINT_URL, if it is not Amazon's)? The same command goes on from here"
    )
