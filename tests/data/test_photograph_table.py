"""What a user's table says of photographs, and what is wrong with it."""

from pathlib import Path

import pytest

from fishline.core.errors import UserError
from fishline.data.photograph_table import match, read_table, require_rows

FILES = ("Dorée/1.jpg", "Dorée/2.jpg", "Sole, common/a/3.jpg", "Sole, common/a/b/4.jpg")


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "photographs.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_values_are_texts_by_file(tmp_path: Path) -> None:
    rows = 'file,trip,taken\n./Dorée/1.jpg,007,2026-05-31 14:03\n"Sole, common\\a\\3.jpg",NA,\n'
    path = write(tmp_path, rows)
    known = match(read_table(path), FILES, path)
    assert known["trip"].to_dict() == {"Dorée/1.jpg": "007", "Sole, common/a/3.jpg": "NA"}
    assert list(known["taken"]) == ["2026-05-31T14:03:00", ""]
    with pytest.raises(UserError, match=r"no row for 2 files: Dorée/2\.jpg, Sole, common/a/b/4"):
        require_rows(FILES, known, path)


def test_the_deepest_folder_that_has_a_row_counts(tmp_path: Path) -> None:
    rows = "folder;trip\nDorée/;1\nSole, common;2\nSole, common/a/b;3\n"
    path = write(tmp_path, rows, "utf-8-sig")
    known = match(read_table(path), FILES, path)
    assert list(known.loc[list(FILES), "trip"]) == ["1", "1", "2", "3"]


@pytest.mark.parametrize(("part", "stands_for"), [("val", "validation"), ("Train", "train")])
def test_parts_have_several_names(tmp_path: Path, part: str, stands_for: str) -> None:
    assert list(read_table(write(tmp_path, f"file,part\n1.jpg,{part}\n"))["part"]) == [stands_for]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs a column 'file' or a column 'folder'"),
        ("trip\n1\n", "needs a column 'file' or a column 'folder'"),
        ("file,folder\n1,2\n", "and not both"),
        ("file,trip,trip\n", "two columns of one name"),
        ("file,original\n1,2\n", "cannot be called 'original'"),
        ("file,a/b\n1,2\n", "cannot be called 'a/b'"),
        ("file,trip\n1.jpg,2,3\n", "begins with '1.jpg' has 3 fields, and the head has 2"),
        ("file,trip\n1.jpg,2\n./1.jpg,3\n", "more than one row for file '1.jpg'"),
        ("file,part\n1.jpg,train2\n", "part must be one of train, validation, test, val, valid"),
        ("file,taken\n1.jpg,May\n", "taken must be a time such as .* and not 'May'"),
        ("file,trip\n9.jpg,2\n", "1 row for a file that is not among the photographs: 9.jpg"),
        ("folder,trip\nSole,2\n", "1 row for a folder that is not among the photographs: Sole"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=says):
        match(read_table(path), FILES, path)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as CSV in UTF-8"):
        read_table(write(tmp_path, "file,trip\nDorée,1\n", "latin-1"))
