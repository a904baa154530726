"""What a camera wrote into a photograph's file: when it was taken, by which camera, where.

Read from the head of a file, without decoding it. Tags are those of EXIF 3.0 (CIPA DC-008).
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image

from fishline.data.decode import FORMATS

TIME = "%Y:%m:%d %H:%M:%S"
Base, GPS = ExifTags.Base, ExifTags.GPS


@dataclass(frozen=True)
class Exif:
    """Texts, "" for what the file does not say.

    taken:     by the camera's clock, as 2026-05-31T14:03:59
    camera:    make and model, and a digest of its serial number if that is there
    latitude, longitude: in degrees, north and east
    owner:     of the camera, or the photographer
    """

    taken: str = ""
    camera: str = ""
    latitude: str = ""
    longitude: str = ""
    owner: str = ""


COLUMNS = tuple(field.name for field in fields(Exif))
NOTHING = astuple(Exif())
PERSONAL = ("latitude", "longitude", "owner")


def read_exif(content: bytes) -> tuple[str, ...]:
    """The fields of `Exif`, in the order of `COLUMNS`, of an image file.

    Whatever is wrong with the file, nothing is raised: it says nothing then.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            tags = image.getexif() if image.format == "TIFF" else _tags(image.info.get("exif"))
        return astuple(_exif(dict(tags), tags.get_ifd(ExifTags.IFD.Exif), _gps(tags)))
    except Exception:  # a parser may raise anything on a broken file, which `decode` will reject
        return NOTHING


def _tags(data: bytes | None) -> Image.Exif:
    tags = Image.Exif()  # not getexif(), which may decode the whole picture to find them
    tags.load(data or b"")
    return tags


def _gps(tags: Image.Exif) -> dict[int, Any]:
    try:
        return tags.get_ifd(ExifTags.IFD.GPSInfo)
    except Exception:  # time and camera are still of use
        return {}


def _exif(tags: dict[int, Any], more: dict[int, Any], gps: dict[int, Any]) -> Exif:
    return Exif(
        taken=_taken(more.get(Base.DateTimeOriginal) or tags.get(Base.DateTime)),
        camera=_camera(tags, more.get(Base.BodySerialNumber)),
        latitude=_degrees(gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef)),
        longitude=_degrees(gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef)),
        owner=_text(more.get(Base.CameraOwnerName)) or _text(tags.get(Base.Artist)),
    )


def _text(value: object) -> str:
    """`value` in one line, without what no table should hold."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line.encode("utf-8", "replace").decode()


def _taken(value: object) -> str:
    try:
        return datetime.strptime(_text(value)[:19].replace("-", ":"), TIME).isoformat()
    except ValueError:  # a clock that was never set writes 0000:00:00
        return ""


def _camera(tags: dict[int, Any], serial: object) -> str:
    make, model = _text(tags.get(Base.Make)), _text(tags.get(Base.Model))
    if make and not model.casefold().startswith(make.casefold()):
        model = f"{make} {model}".strip()
    number = _text(serial)
    if not number:
        return model
    # Tells two cameras of a model apart, and not whose they are: serial numbers are published.
    return f"{model} #{hashlib.sha256(number.encode()).hexdigest()[:8]}".strip()


def _degrees(value: Any, side: object) -> str:
    try:
        degrees, minutes, seconds = (float(part) for part in value)
        size = degrees + minutes / 60 + seconds / 3600
    except (TypeError, ValueError, ZeroDivisionError):
        return ""
    return f"{-size if _text(side) in ('S', 'W') else size:.6f}" if size <= 180 else ""
