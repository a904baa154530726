"""What is in the data, in words and tables: the page of `explore`, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from fishline.core.text import code, many, share, table, text
from fishline.data.explore import statistics
from fishline.data.explore.charts import NAMES, few
from fishline.data.explore.processing import processing
from fishline.data.prepare.leaks import leaked

ROWS = 10  # of a list of files
SPECIES = 40  # of a table of species


@dataclass(frozen=True)
class Task:
    """A training: its name in words, its species, and the value of `balance` that it is set to."""

    name: str
    species: tuple[str, ...]
    balance: str


def page(
    images: pd.DataFrame,
    rejected: pd.DataFrame,
    tasks: Mapping[str, Task],
    shown: Sequence[str],
) -> str:
    """The whole page.

    Args:
        images: of `facts.measure`, with task and part.
        rejected: columns file and reason.
        tasks: by the names in the column task.
        shown: the names of the pictures that lie beside the page.
    """
    sections = [
        _start(images, rejected, tasks),
        _picture("species", shown, "Images and photographs per species and part"),
        _species(images, tasks),
        "One training image of each species, in its true proportions:",
        _picture("samples", shown, "A training image of each species"),
        "## Is it balanced?",
        *(_balance(images, task) for task in tasks.values()),
        _remedies(images, tasks),
        "## Was it pre-processed, and how?",
        processing(images),
        _picture("processing", shown, "Sizes, black pixels, and angles between copies"),
        _picture("copies", shown, "One photograph of each species, and copies of it"),
        "## What this means for the split",
        _leak(images),
        _look_alikes(images),
        _doubts(images),
        _picture("doubts", shown, "The least certain decisions"),
        "## What was left out",
        _rejected(rejected),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _start(images: pd.DataFrame, rejected: pd.DataFrame, tasks: Mapping[str, Task]) -> str:
    count, photographs = len(images), images["original"].nunique()
    species = sum(len(task.species) for task in tasks.values())
    left_out = f"{many(len(rejected), 'file')} had to be left out. " if len(rejected) else ""
    return (
        "# What is in the data\n\n"
        f"**{many(count, 'image')}** of **{species} species** show **"
        f"{many(photographs, 'photograph')}**. {left_out}An image is a file. A photograph is what "
        "it shows: files that are turned, mirrored or resized copies of one another show one "
        "photograph.\n\n"
        "The numbers come from `data/cache` and `data/split`; `make explore` brings this page up "
        "to date."
    )


def _species(images: pd.DataFrame, tasks: Mapping[str, Task]) -> str:
    rows = []
    for task in tasks.values():
        whole = statistics.counts(images, task.species)
        parts = {part: statistics.counts(images, task.species, part) for part in NAMES}
        for name in few(task.species, whole["images"], SPECIES):
            in_parts = [_both(parts[part], name) for part in NAMES]
            rows.append([text(name), task.name, _both(whole, name), *in_parts])
    head = ["species", "for the", "all", *NAMES.values()]
    return "Images, and in brackets photographs:\n\n" + table(head, rows)


def _both(counts: pd.DataFrame, name: str) -> str:
    images, photographs = (int(counts[column][name]) for column in ("images", "photographs"))
    return f"{images:,} ({photographs:,})"


def _balance(images: pd.DataFrame, task: Task) -> str:
    """A judgement on images, and one on photographs if that differs."""
    train = statistics.counts(images, task.species, "train")
    words = [f"**The {task.name}:** {_range(train['images'], 'training images')}."]
    of_images, of_photographs = (statistics.unevenness(train[column]) for column in train)
    if of_photographs > max(statistics.EVEN, 1.1 * of_images):
        words.append(
            f"In photographs it is less even: {_range(train['photographs'], 'photographs')}. "
            "Copies make up the numbers, but teach less than new photographs would."
        )
    return " ".join(words)


def _range(numbers: pd.Series[int], what: str) -> str:
    low, high = numbers.min(), numbers.max()
    if low == high:
        return f"each species has {low:,} {what}: balanced"
    ratio = statistics.unevenness(numbers)
    verdict = "as good as balanced" if ratio <= statistics.EVEN else "not balanced"
    return (
        f"from {low:,} {what} ({text(str(numbers.idxmin()))}) to {high:,} "
        f"({text(str(numbers.idxmax()))}), {ratio:.2f} to 1: {verdict}"
    )


def _remedies(images: pd.DataFrame, tasks: Mapping[str, Task]) -> str:
    rows, notes = [], []
    for task in tasks.values():
        train = statistics.counts(images, task.species, "train")["images"]
        choices = statistics.remedies(train)
        for name in few(task.species, train, SPECIES):
            row = choices.loc[name]
            numbers = [f"{row[column]:,.0f}" for column in ("none", "oversample", "undersample")]
            rows.append([text(name), *numbers, f"{row['class_weights']:.3f}"])
        total = [f"**{choices[c].sum():,}**" for c in ("none", "oversample", "undersample")]
        rows.append([f"**{task.name}, an epoch**", *total, f"**{train.sum():,} images**"])
        notes.append(_note(task, train))
    head = ["", "`none`", "`oversample`", "`undersample`", "`class_weights`"]
    return (
        "`balance` in `params.yaml` chooses between four remedies. How many images of a species "
        "each would show in an epoch, or what each of its images would weigh in the loss "
        f"(`class_weights`):\n\n{table(head, rows)}\n\n" + "\n".join(notes)
    )


def _note(task: Task, train: pd.Series[int]) -> str:
    ratio = statistics.unevenness(train)
    start = f"- The {task.name} is trained with `{task.balance}`. "
    if not train.min():
        return f"{start}But {text(str(train.idxmin()))} has no training image: that will fail."
    if ratio <= statistics.EVEN:
        return start + "The set is even, so the four hardly differ and `none` is the plain choice."
    unseen = 1 - len(train) * train.min() / train.sum()
    rare, common = text(str(train.idxmin())), text(str(train.idxmax()))
    return (
        f"{start}`none` lets the loss follow the frequent species. `oversample` shows each image "
        f"of {rare} {ratio:.1f} times an epoch: nothing is lost, but the same pictures come again. "
        f"`undersample` leaves out {unseen:.0%} of the images, others in each epoch. "
        f"`class_weights` shows each image once and lets one of {rare} count {ratio:.1f} times as "
        f"much as one of {common}."
    )


def _leak(images: pd.DataFrame) -> str:
    if images["original"].is_unique:
        return "Without copies, no split can put one photograph on both sides."
    copied, test = leaked(images), int((images["part"] == "test").sum())
    verdict = (
        "so the test accuracy is that of unseen photographs"
        if copied == 0
        else "so the test accuracy measures memory as well; `split.strategy: grouped` prevents it"
    )
    return (
        f"{copied:,} of {test:,} test images have a copy of their photograph in training, "
        f"{verdict}. Were single images drawn by lot, {share(statistics.expected_leak(images))} of "
        "them would have one, on average."
    )


def _look_alikes(images: pd.DataFrame) -> str:
    pairs = statistics.look_alikes(images)
    if pairs.empty:
        return "No two photographs look alike enough to be mentioned."
    across = pairs[pairs["part"] != pairs["other_part"]]
    start = f"{many(len(pairs), 'pair')} of different photographs look much alike, "
    if across.empty:
        return start + "none of them in different parts."
    rows = [
        [
            f"{pair['confidence']:.2f}",
            f"{code(pair['original'])} ({NAMES[pair['part']]})",
            f"{code(pair['alike'])} ({NAMES[pair['other_part']]})",
        ]
        for pair in across.head(ROWS).to_dict("records")
    ]
    head = ["confidence that they are two", "photograph", "looks like"]
    return (
        f"{start}{len(across):,} of them in different parts: a milder leak, if they show the same "
        "animal or the same tray. Should a pair be one photograph after all, say so in "
        f"`originals.csv` in the data folder.\n\n{table(head, rows, len(across))}"
    )


def _doubts(images: pd.DataFrame) -> str:
    found = statistics.doubtful(images)
    if found.empty:
        return "Which files show one photograph was clear for every one of them (confidence 1)."
    rows = [
        [
            f"{row['confidence']:.2f}",
            code(row["file"]),
            code(row["joined"]) if row["joined"] else "",
            code(row["alike"]) if row["alike"] else "",
        ]
        for row in found.head(ROWS).to_dict("records")
    ]
    head = ["confidence", "file", "counted as one with", "told apart from"]
    return (
        f"What shows one photograph is a judgement from pixels. It was quite clear for "
        f"{share((images['confidence'] >= 1).mean())} of the images (confidence 1). The "
        f"least clear ones, 0 being the toss of a coin:\n\n{table(head, rows, len(found))}"
    )


def _rejected(rejected: pd.DataFrame) -> str:
    if rejected.empty:
        return "Nothing: every file could be used."
    rows = [
        [code(row["file"]), text(row["reason"])] for row in rejected.head(ROWS).to_dict("records")
    ]
    return table(["file", "reason"], rows, len(rejected))


def _picture(name: str, shown: Sequence[str], caption: str) -> str:
    return f"![{caption}]({name}.png)" if name in shown else ""
