"""Numbers, names and tables in Markdown, and templates for pages of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tabulate import tabulate  # type: ignore[import-untyped]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], count: int = 0) -> str:
    """A Markdown table; if it should have had `count` rows, a line says how many are left out."""
    body = list(rows)
    hidden = count - len(body)
    more = f"\n\n… and {hidden:,} more." if hidden > 0 else ""
    return str(tabulate(body, head, "github", disable_numparse=True)) + more


def shares(values: pd.Series[str]) -> str:
    """The most frequent values, in words: "jpg (98 %), png (2 %)"."""
    counts = values.value_counts()
    if len(counts) == 1:
        return f"{text(str(counts.index[0]))} only"
    named = [f"{text(str(name))} ({n / len(values):.0%})" for name, n in counts.head(4).items()]
    more = f" and {len(counts) - 4:,} more" if len(counts) > 4 else ""
    return ", ".join(named) + more


def share(share: float) -> str:
    """In whole percent; only none is called 0% and only all 100%."""
    if 0 < share < 0.01:
        return "less than 1%"
    return "more than 99%" if 0.99 < share < 1 else f"{share:.0%}"


def many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def text(value: str) -> str:
    """`value` as plain text of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|#$])", r"\\\1", " ".join(value.split()))


def code(value: str) -> str:
    """`value` in a monospaced font; Markdown has no way to write a backtick there."""
    return "`" + " ".join(value.split()).replace("`", "'").replace("|", r"\|") + "`"


def templates(folder: Path, autoescape: bool = False) -> Environment:
    """The templates in `folder`; a name that they miss is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
