"""The record of which files show the same photograph."""

from pathlib import Path

import pandas as pd
import pytest

from fishline.copies import RECORD, find_originals
from fishline.errors import UserError

FILES = pd.Series(["Trout/1.png", "Trout/2.png", "Shrimp/1.png"], index=[7, 3, 5])


def record(folder: Path, text: str) -> Path:
    (folder / RECORD).write_text(text, encoding="utf-8")
    return folder


def test_without_a_record_nothing_is_known(tmp_path: Path) -> None:
    assert set(find_originals(tmp_path, FILES)) == {""}


def test_originals_align_with_the_files(tmp_path: Path) -> None:
    text = "file,original\nShrimp/1.png,c\nTrout/2.png,b\nother/9.png,z\nTrout/1.png,a\n"
    originals = find_originals(record(tmp_path, text), FILES)
    assert originals.to_dict() == {7: "a", 3: "b", 5: "c"}


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    text = "original,file,note\n007,Trout/1.png,x\n7,Trout/2.png,\n1e3,Shrimp/1.png,\n"
    originals = find_originals(record(tmp_path, text), FILES)
    assert list(originals) == ["007", "7", "1e3"]


def test_a_repeated_line_does_no_harm(tmp_path: Path) -> None:
    lines = ["Trout/1.png,a", "Trout/2.png,a", "Shrimp/1.png,b", "Trout/1.png,a"]
    originals = find_originals(record(tmp_path, "\n".join(["file,original", *lines])), FILES)
    assert list(originals) == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,original\nTrout/1.png,a\n", "no column 'file'"),
        ("file,photo\nTrout/1.png,a\n", "no column 'original'"),
        ("file,original\nTrout/1.png,a\nShrimp/1.png,b\n", "1 of 3 files, among them Trout/2.png"),
        ("file,original\nTrout/1.png,a\nTrout/2.png,\nShrimp/1.png,b\n", "among them Trout/2.png"),
        ("file,original\n", "3 of 3 files"),
        ("file,original\nTrout/1.png,a\nTrout/1.png,b\n", "Trout/1.png more than one"),
        ("", "cannot be read"),
        ('file,original\n"Trout/1.png,a\n', "cannot be read"),
    ],
)
def test_a_record_with_gaps_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        find_originals(record(tmp_path, text), FILES)
    assert RECORD in caught.value.message
