"""What is known of photographs: from EXIF, from a table, from folders."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import ExifTags, Image

from fishline.data import exif
from fishline.data.exif import COLUMNS, NOTHING, read_exif
from fishline.data.photo_files import folder_part
from fishline.data.prepare.groups import bursts, images_to_split
from fishline.data.prepare.metadata import read_metadata


def photograph(taken: str = "2026:05:31 23:59:58", format: str = "JPEG", **serial: str) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Model] = "Canon\0", "Canon  EOS 5D"
    own = tags.get_ifd(ExifTags.IFD.Exif)
    own[ExifTags.Base.DateTimeOriginal], own[ExifTags.Base.CameraOwnerName] = taken, "A. Owner"
    own |= {getattr(ExifTags.Base, name): value for name, value in serial.items()}
    place = tags.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef], place[ExifTags.GPS.GPSLatitude] = "S", (12.0, 30.0, 36.0)
    place[ExifTags.GPS.GPSLongitudeRef], place[ExifTags.GPS.GPSLongitude] = "E", (1.0, 0.0, 0.0)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format, exif=tags)
    return file.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_what_a_camera_wrote(format: str) -> None:
    said = dict(zip(COLUMNS, read_exif(photograph(format=format)), strict=True))
    assert said == {
        "taken": "2026-05-31T23:59:58",
        "camera": "Canon EOS 5D",
        "latitude": "-12.510000",
        "longitude": "1.000000",
        "owner": "A. Owner",
    }


def test_cameras_of_a_model_are_told_apart_without_their_number() -> None:
    cameras = {read_exif(photograph(BodySerialNumber=number))[1] for number in ("1234567", "2")}
    assert len(cameras) == 2 and not any("1234567" in camera for camera in cameras)


@pytest.mark.parametrize("taken", ["0000:00:00 00:00:00", "yesterday", ""])
def test_a_clock_that_was_not_set(taken: str) -> None:
    assert read_exif(photograph(taken))[0] == ""


@pytest.mark.parametrize("content", [b"", b"words", photograph()[:60]])
def test_a_broken_file_says_nothing(content: bytes) -> None:
    assert read_exif(content) == NOTHING


@pytest.fixture
def files() -> pd.DataFrame:
    table = pd.DataFrame({"file": ["Trout/1.jpg", "test/Trout/2.jpg"], "species": "Trout"})
    table[list(COLUMNS)] = ""
    table.loc[0, list(COLUMNS)] = list(read_exif(photograph()))
    return table


def known(files: pd.DataFrame, root: Path, **choice: Any) -> pd.DataFrame:
    return read_metadata(files, set(files["file"]), root, **{"personal": False, **choice})


def test_personal_data_is_kept_where_it_is_asked_for(files: pd.DataFrame, tmp_path: Path) -> None:
    columns = ["taken", "camera", "day", "given_part"]
    assert list(known(files, tmp_path)) == columns
    assert set(known(files, tmp_path, personal=True)) == {*columns, *exif.PERSONAL}
    split = images_to_split(known(files, tmp_path, personal=True).assign(file=""), 10)
    assert not {"taken", *exif.PERSONAL} & set(split)


def test_the_table_counts_more_than_exif_and_folders(files: pd.DataFrame, tmp_path: Path) -> None:
    assert list(known(files, tmp_path)["day"]) == ["2026-05-31", ""]
    assert list(known(files, tmp_path)["given_part"]) == ["", "test"]
    rows = (
        "file,trip,part,camera,taken\nTrout/1.jpg,7,val,,\ntest/Trout/2.jpg,8,,My box,2020-01-02\n"
    )
    (tmp_path / "photographs.csv").write_text(rows)
    table = known(files, tmp_path)
    assert list(table["trip"]) == ["7", "8"]
    assert list(table["given_part"]) == ["validation", "test"]
    assert list(table["camera"]) == ["Canon EOS 5D", "My box"]
    assert list(table["day"]) == ["2026-05-31", "2020-01-02"]


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("Train/Trout/1.jpg", "train"),
        ("Trout/valid/1.jpg", "validation"),
        ("set/test/Trout/boat/1.jpg", "test"),
        ("Trout/testing/1.jpg", ""),
        ("Trout/test.jpg", ""),
    ],
)
def test_folders_that_stand_for_parts(file: str, part: str) -> None:
    assert folder_part(file, "Trout") == part
    assert folder_part("train/train/1.jpg", "train") == "train"  # of a set with trains in it
    assert folder_part("train/1.jpg", "train") == ""


def test_a_burst_is_of_one_camera_and_has_no_long_pause() -> None:
    at = ["10:00:05", "10:00:00", "10:00:20", "10:00:06", ""]
    images = pd.DataFrame({"taken": [f"2026-05-31T{t}" if t else "" for t in at]})
    images["camera"] = ["A", "A", "A", "B", "A"]
    named = list(bursts(images, 10))
    assert named[0] == named[1] == "A 2026-05-31T10:00:00"
    assert len({*named}) == 4 and named[4] == ""
    assert len({*bursts(images, 15)}) == 3
