"""The built-in data set: drawn fish, for a fresh clone that has no photographs yet.

It is modelled on "A Large-Scale Dataset for Fish Segmentation and Classification": few originals,
each present as several copies turned around the middle and mirrored. ``originals.csv`` records
which files show the same original.
"""

import os
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator
from PIL import Image, ImageOps
from tqdm import tqdm

from fishline.core.parallel import usable_cores
from fishline.data.sample.scene import photograph
from fishline.data.sample.species import SPECIES

MASKED = "Trout"  # this species comes with a folder of masks, as in the real set
TRUNCATED = "Sea Bass"  # this species' last file is cut off in the middle


def draw_original(folder: Path, name: str, numbers: list[int], rng: Generator) -> None:
    """Draw one original and save a turned, maybe mirrored copy under each of ``numbers``."""
    pictures = photograph(SPECIES[name], rng)
    folders = (folder / name, folder / f"{name} GT") if name == MASKED else (folder / name,)
    for number in numbers:
        angle, mirror = float(rng.uniform(0, 360)), bool(rng.integers(2))
        for picture, home in zip(pictures, folders, strict=False):
            copy = ImageOps.mirror(picture) if mirror else picture
            how = Image.Resampling.BILINEAR if picture.mode == "RGB" else Image.Resampling.NEAREST
            # Grainy pictures hardly pack: Huffman coding alone is quicker and nearly as small.
            options = {"compress_level": 1, "compress_type": zlib.Z_HUFFMAN_ONLY}
            copy.rotate(angle, how).save(home / f"{number:05}.png", "PNG", **options)


def draw_species(folder: Path, seed: int, originals: int, copies: int) -> pd.DataFrame:
    """Draw every species into ``folder``; returns the record of file, species and original."""
    jobs, rows = [], []
    for index, name in enumerate(SPECIES):
        (folder / name).mkdir(parents=True)
        numbers = np.random.default_rng((seed, index)).permutation(originals * copies) + 1
        for original, mine in enumerate(numbers.reshape(originals, copies).tolist()):
            rng = np.random.default_rng((seed, index, original + 1))
            jobs.append((folder, name, mine, rng))
            rows += [(f"{name}/{n:05}.png", name, f"{name}-{original + 1:02}") for n in mine]
    (folder / f"{MASKED} GT").mkdir()
    with ThreadPoolExecutor(usable_cores()) as pool:
        done = pool.map(lambda job: draw_original(*job), jobs)
        list(tqdm(done, "drawing fish", len(jobs), disable=None, unit="fish"))
    record = pd.DataFrame(rows, columns=["file", "species", "original"])
    return record.sort_values("file", ignore_index=True)


def draw_sample(out: Path, *, seed: int, originals: int, copies: int) -> pd.DataFrame:
    """Draw the data set into ``out``, in place of what was there, and return its record.

    The record, also saved as ``originals.csv``, has the columns file (relative to ``out``),
    species and original, one row per picture. Equal arguments give equal bytes.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        new = Path(temporary, "new")
        record = draw_species(new, seed, originals, copies)
        cut = new / cut_file(originals, copies)
        os.truncate(cut, cut.stat().st_size // 2)
        record.to_csv(new / "originals.csv", index=False, lineterminator="\n")
        if out.exists():
            out.rename(Path(temporary, "old"))
        new.rename(out)
    return record


def cut_file(originals: int, copies: int) -> str:
    """The one file that ends in the middle, relative to the data set."""
    return f"{TRUNCATED}/{originals * copies:05}.png"
