"""Stage `split`: which image serves for training, validation or test.

Reads the manifest, writes `data/split/base.csv` and `data/split/finetune.csv`: a row per image
with file, species, original and part; to `plots/`, how many there are, and a training image of
each species. Strategies:
    grouped      whole photographs: all copies of one go to the same part (the honest one)
    stratified   single images, the same fractions of each species
    random       single images, whatever their species (the course notebook's)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from fishline.errors import UserError
from fishline.files import read_csv, replacing, write_csv, write_json
from fishline.images import contact_sheet
from fishline.params import Split, load_params
from fishline.paths import CACHE, METRICS, PLOTS, SPLIT

PARTS = ("train", "validation", "test")


def split(images: pd.DataFrame, settings: Split) -> pd.DataFrame:
    """Give every image a part.

    Args:
        images: columns file, species and original (the photograph a file shows, or "").
        settings: strategy, seed and fractions.

    Returns:
        A copy with a column `part`, one of `PARTS`.

    Raises:
        UserError: a species has too few photographs for three parts, or `grouped` is asked for
            and the photographs behind the files are not known.
    """
    table = images.reset_index(drop=True)
    groups = table["file"] if settings.strategy != "grouped" else _known(table["original"])
    strata = table["species"] if settings.strategy != "random" else pd.Series("all", table.index)
    fractions = np.array([getattr(settings, part) for part in PARTS])
    rng = np.random.default_rng(settings.seed)
    part = pd.Series("", table.index)
    for stratum, members in groups.groupby(strata, sort=True):
        sizes = members.value_counts(sort=False).sort_index()
        _require_three(str(stratum), sizes, settings.strategy)
        part[members.index] = members.map(_assign(sizes, fractions, rng))
    return table.assign(part=part)


def _assign(
    sizes: pd.Series[int], fractions: np.ndarray, rng: np.random.Generator
) -> dict[str, str]:
    """A part for each group so that the parts' numbers of images come near `fractions`.

    Groups in random order, larger ones first; each goes where most images are still wanted.
    """
    order = sizes.sample(frac=1, random_state=rng).sort_values(ascending=False, kind="stable")
    wanted = fractions * sizes.sum()
    parts: dict[str, str] = {}
    for group, size in order.items():
        best = int(np.argmax(wanted))
        wanted[best] -= size
        parts[str(group)] = PARTS[best]
    for part in PARTS:  # with few groups a small part may have got none: give it a small one
        if part not in parts.values():
            held = list(parts.values())
            donor = max(PARTS, key=held.count)
            parts[next(g for g in reversed(parts) if parts[g] == donor)] = part
    return parts


def _known(originals: pd.Series[str]) -> pd.Series[str]:
    if (originals == "").any():
        raise UserError(
            "split.strategy is 'grouped', but which files show the same photograph is not "
            "known: put originals.csv (columns file, original) into data.dir, or set "
            "split.strategy to 'stratified' and expect copies to leak into the test set"
        )
    return originals


def _require_three(stratum: str, sizes: pd.Series[int], strategy: str) -> None:
    if len(sizes) < len(PARTS):
        what = "photographs" if strategy == "grouped" else "images"
        raise UserError(
            f"{stratum}: {len(sizes)} {what} cannot be split into {', '.join(PARTS)}; "
            f"at least {len(PARTS)} are needed"
        )


def leaked(table: pd.DataFrame) -> int | None:
    """How many test images show a photograph that also stands in training; None if unknown."""
    photographs = _photographs(table)
    if photographs is None:
        return None
    train = photographs[table["part"] == "train"]
    return int(photographs[table["part"] == "test"].isin(train).sum())


def _photographs(table: pd.DataFrame) -> pd.Series[str] | None:
    """One name per photograph: an original's name counts within its species."""
    if (table["original"] == "").any():
        return None
    return table["species"] + "/" + table["original"]


def summary(table: pd.DataFrame) -> dict[str, int | None]:
    """Images per part, photographs (if known) and leaked test images, for the metrics."""
    counts = table["part"].value_counts()
    photographs = _photographs(table)
    return {
        **{part: int(counts.get(part, 0)) for part in PARTS},
        "photographs": None if photographs is None else int(photographs.nunique()),
        "test_images_with_a_copy_in_train": leaked(table),
    }


def _show_samples(table: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Save a picture of one training image of each species, as the models see it."""
    pixels = np.load(CACHE / "images.npy", mmap_mode="r")
    firsts = table[table["part"] == "train"].drop_duplicates("species").merge(manifest, on="file")
    images = map(Image.fromarray, pixels[firsts["index"].to_numpy()])
    columns = {name: [image] for name, image in zip(firsts["species"], images, strict=True)}
    with replacing(PLOTS / "samples.png") as temporary:
        contact_sheet(columns, (130, 130)).save(temporary, format="png")


def main() -> None:
    params = load_params()
    manifest = read_csv(CACHE / "manifest.csv")
    images = manifest[["file", "species", "original"]]
    tables = {
        task: split(images[images["species"].isin(getattr(params, task).species)], params.split)
        for task in ("base", "finetune")
    }
    for task, table in tables.items():
        write_csv(SPLIT / f"{task}.csv", table)
    write_json(METRICS / "split.json", {task: summary(table) for task, table in tables.items()})
    both = pd.concat(tables.values())
    counts = both.groupby(["species", "part"]).size().rename("images").reset_index()
    write_csv(PLOTS / "split.csv", counts)
    _show_samples(both, manifest[["file", "index"]])
    print(f"split: {params.split.strategy}, images per species and part:")
    print(counts.pivot(index="species", columns="part", values="images").to_string())
