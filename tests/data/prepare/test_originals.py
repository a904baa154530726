"""The record of which files show the same photograph: it joins what pixels cannot."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fishline.core.errors import UserError
from fishline.data.prepare.originals import RECORD, name_originals, read_record

FILES = ["Trout/3.png", "Trout/1.png", "Trout/2.png", "Shrimp/1.png", "Shrimp/2.png"]


def manifest(groups: Sequence[int], alike: Sequence[int] = (-1,) * 5) -> pd.DataFrame:
    """Files with the number of the photograph that the pixels tell; the index is of any kind."""
    species = [file.split("/")[0] for file in FILES]
    columns = {"file": FILES, "species": species, "group": np.array(groups, np.int64)}
    return pd.DataFrame(columns | {"alike": alike}, index=[7, 3, 5, 0, 11])


def record(folder: Path, *lines: str, head: str = "file,original") -> Path:
    (folder / RECORD).write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    return folder


def named(table: pd.DataFrame, root: Path) -> dict[str, str]:
    originals = name_originals(table, root)
    return dict(zip(originals["file"], originals["original"], strict=True))


def test_without_a_record_the_pixels_decide(tmp_path: Path) -> None:
    assert named(manifest([4, 2, 4, 9, 0]), tmp_path) == {
        "Trout/3.png": "Trout/2.png",  # the first by name, not the first row
        "Trout/1.png": "Trout/1.png",
        "Trout/2.png": "Trout/2.png",
        "Shrimp/1.png": "Shrimp/1.png",
        "Shrimp/2.png": "Shrimp/2.png",
    }


def test_nothing_else_changes(tmp_path: Path) -> None:
    before = manifest([4, 2, 4, 9, 0])
    table = before.copy()
    after = name_originals(table, record(tmp_path, "Trout/1.png,a", "Trout/2.png,a"))
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(
        after.drop(columns=["alike", "original"]), before.drop(columns="alike")
    )


@pytest.mark.parametrize(
    ("lines", "groups", "expected"),
    [
        # what the record says of files in the order of FILES: equal letters, one photograph
        ([], [0, 1, 2, 3, 4], "abcde"),
        (["Trout/1.png,x", "Trout/2.png,x"], [0, 1, 2, 3, 4], "abbde"),
        (["Trout/1.png,x", "Trout/2.png,y"], [0, 1, 2, 3, 4], "abcde"),
        (["Trout/1.png,x", "Trout/2.png,y"], [0, 1, 1, 3, 4], "abbde"),  # it never parts
        (["Trout/1.png,x", "Trout/3.png,x"], [0, 1, 1, 3, 4], "aaade"),  # by a chain
        (["Trout/1.png,x"], [0, 1, 2, 3, 4], "abcde"),
        (["Trout/1.png,x", "other/9.png,x"], [0, 1, 2, 3, 4], "abcde"),
        (["other/8.png,x", "other/9.png,x"], [0, 1, 2, 3, 4], "abcde"),
        (["Trout/1.png,", "Trout/2.png,", "Trout/3.png,x"], [0, 1, 2, 3, 4], "abcde"),
        (["Trout/1.png,", "Trout/2.png,", "Shrimp/1.png,"], [0, 1, 2, 3, 4], "abcde"),
        (["Trout/1.png,x", "Shrimp/1.png,x"], [0, 1, 2, 3, 4], "abcde"),  # of one species
        (
            [f"{file},x" for file in FILES] + ["Trout/1.png,x"],
            [0, 1, 2, 3, 4],
            "aaadd",
        ),
        (["Trout/3.png,7", "Trout/1.png,007", "Trout/2.png,7.0"], [0, 1, 2, 3, 4], "abcde"),
        (["Trout/3.png,NA", "Trout/1.png,NA", "Trout/2.png,nan"], [0, 1, 2, 3, 4], "aacde"),
        (["Trout/1.png,x", "Trout/2.png,x"], [9, 8, 7, 600, 500], "abbde"),
    ],
)
def test_the_record_only_joins(
    tmp_path: Path, lines: list[str], groups: list[int], expected: str
) -> None:
    originals = named(manifest(groups), record(tmp_path, *lines))
    same = [[originals[a] == originals[b] for b in FILES] for a in FILES]
    assert same == [[a == b for b in expected] for a in expected]
    for file, original in originals.items():
        assert original == min(f for f in FILES if originals[f] == originals[file])


def test_other_columns_and_their_order_do_not_matter(tmp_path: Path) -> None:
    folder = record(tmp_path, "x,Trout/1.png,note", "x,Trout/2.png,", head="original,file,comment")
    assert named(manifest(range(5)), folder)["Trout/2.png"] == "Trout/1.png"
    assert read_record(folder / RECORD).to_dict() == {"Trout/1.png": "x", "Trout/2.png": "x"}


@pytest.mark.parametrize(
    ("alike", "lines", "expected"),
    [
        ([-1, -1, -1, -1, -1], [], ["", "", "", "", ""]),
        ([1, 0, -1, 3, -1], [], ["Trout/1.png", "Trout/2.png", "", "Shrimp/2.png", ""]),
        ([1, 0, 0, -1, -1], ["Trout/1.png,x", "Trout/2.png,x"], ["", "", "", "", ""]),
        ([77, 1, -1, -1, -1], [], ["", "", "", "", ""]),  # left out, or itself
    ],
)
def test_look_alikes_are_named_by_their_original(
    tmp_path: Path, alike: list[int], lines: list[str], expected: list[str]
) -> None:
    table = name_originals(manifest([0, 1, 0, 2, 3], alike), record(tmp_path, *lines))
    assert list(table["alike"]) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,original\nTrout/1.png,a\n", "no column 'file'"),
        ("file,photo\nTrout/1.png,a\n", "no column 'original'"),
        ("file,original\nTrout/1.png,a\nTrout/1.png,b\n", "Trout/1.png more than one"),
        ("file,original\nTrout/1.png,a\nTrout/1.png,\n", "Trout/1.png more than one"),
        ("", "cannot be read"),
        ('file,original\n"Trout/1.png,a\n', "cannot be read"),
        ("file,original\nTrout/1.png,a,b,c\nTrout/2.png\n,,,,,,\n", "cannot be read"),
        ("file,original\nTrout/\xff.png,a\n", "cannot be read"),
        ("file,original\nTrout/1,2.png,a\nTrout/1,3.png,a\n", "more fields"),
    ],
)
def test_a_record_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / RECORD).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=says) as caught:
        name_originals(manifest(range(5)), tmp_path)
    assert str(tmp_path / RECORD) in caught.value.message
