"""What a split lets through from training into the test set.

Tables here have the columns original, alike and part, a row per image, as data/split has them.
"""

from __future__ import annotations

import pandas as pd

# What every table of a split has, and what is added where it is read.
_OWN = frozenset("file species original alike task group part index sha256".split())


def leaked(table: pd.DataFrame) -> int:
    """How many test images show a photograph that also stands in training."""
    train = table.loc[table["part"] == "train", "original"]
    return int(table.loc[table["part"] == "test", "original"].isin(train).sum())


def look_alikes(table: pd.DataFrame) -> int:
    """How many test images show a photograph that looks like another one in training.

    A milder leak than a copy: the same fish on the same tray, say, photographed twice.
    """
    test = table["part"] == "test"
    train = table[table["part"] == "train"]
    of_train = set(train["original"])
    alike = table["alike"].isin(of_train) | table["original"].isin(train["alike"])
    return int((test & alike & ~table["original"].isin(of_train)).sum())


def shared(table: pd.DataFrame, column: str) -> pd.Series[bool]:
    """Of each row, whether it is a test image whose value of `column` stands in training, too."""
    known = table[column] != ""
    train = set(table.loc[known & (table["part"] == "train"), column])
    return (table["part"] == "test") & known & table[column].isin(train)


def known_columns(table: pd.DataFrame) -> list[str]:
    """What is known of its images that photographs may share: a trip, a day, a camera, …"""
    known = [str(name) for name in table if name not in _OWN]
    return [name for name in known if (table[name] != "").any()]
