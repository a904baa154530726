"""Stage `preprocess`: decode every photograph once, resize it, pack all into one file.

Reads `data.dir`, writes `data/cache/`:
    images.npy      uint8 (n, size, size, 3), RGB; later stages memory-map it
    manifest.csv    a row per image: file, species, index (row of images.npy), width, height,
                    mode (of the file), sha256 (of the file), original (if known)
    rejected.csv    file, species, reason: what was left out

Pillow releases the GIL while it decodes and resizes, so threads use all cores; measured on two
cores they are as quick as processes and need no pickling.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from tqdm import tqdm

from fishline.copies import find_originals
from fishline.errors import UserError
from fishline.files import read_csv, write_csv, write_json
from fishline.images import Decoded, decode, find_images, reason
from fishline.params import load_params
from fishline.paths import CACHE, METRICS

COLUMNS = ["file", "species", "index", "width", "height", "mode", "sha256"]
CHUNK = 512  # photographs under way at once: bounds the memory, whatever the size of the set

File = tuple[str, Path]  # species, path
Result = tuple[str, str, Decoded | str]  # species, sha256, image or why there is none


def preprocess(data_dir: Path, species: Sequence[str], size: int, out: Path) -> dict[str, int]:
    """Pack the images of `species` below `data_dir` into the folder `out`, replacing it.

    Returns:
        How many images were packed and how many files were rejected.

    Raises:
        UserError: the data folder is missing or empty, a species has no folder or no usable
            image.
    """
    files = list_files(data_dir, species)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        with (temporary / "images.npy").open("w+b") as store:
            kept, rejected = _pack(files, data_dir, size, store)
        manifest = pd.DataFrame(kept, columns=COLUMNS)
        _require_each(species, manifest, data_dir)
        originals = find_originals(data_dir, manifest["file"])
        write_csv(temporary / "manifest.csv", manifest.assign(original=originals))
        refused = pd.DataFrame(rejected, columns=["file", "species", "reason"])
        write_csv(temporary / "rejected.csv", refused)
        shutil.rmtree(out, ignore_errors=True)
        temporary.chmod(0o755)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {"images": len(kept), "rejected": len(rejected), "species": len(species)}


def list_files(data_dir: Path, species: Sequence[str]) -> list[File]:
    """The image files of each species, in order of species, then path."""
    if not data_dir.is_dir():
        raise UserError(f"data.dir: there is no folder {data_dir}")
    folders = sorted(p.name for p in data_dir.iterdir() if p.is_dir())
    if not folders:
        raise UserError(f"data.dir: {data_dir} has no folders; it needs one for each species")
    files: list[File] = []
    for name in species:
        if name not in folders:
            raise UserError(
                f"{data_dir} has no folder '{name}', which params.yaml lists as a species; "
                f"its folders are: {', '.join(folders)}"
            )
        files += [(name, path) for path in find_images(data_dir / name)]
    return files


def _pack(
    files: Sequence[File], data_dir: Path, size: int, store: BinaryIO
) -> tuple[list[tuple[Any, ...]], list[tuple[str, str, str]]]:
    """Write the pixels of all readable `files` to `store`; the rows of manifest and rejected."""
    kept: list[tuple[Any, ...]] = []
    rejected: list[tuple[str, str, str]] = []
    _write_header(store, (0, size, size, 3))
    bar = tqdm(_decode_all(files, size), "preprocess", len(files), unit="image", disable=None)
    for (_, path), (species, sha256, image) in zip(files, bar, strict=True):
        name = _printable(path.relative_to(data_dir))
        if isinstance(image, str):
            rejected.append((name, species, image))
            continue
        store.write(image.pixels.tobytes())
        row = (name, species, len(kept), image.width, image.height, image.mode, sha256)
        kept.append(row)
    store.seek(0)
    _write_header(store, (len(kept), size, size, 3))
    os.fsync(store.fileno())
    return kept, rejected


def _printable(path: Path) -> str:
    # A name that is no UTF-8 cannot stand in a table; its file is left out, under a stand-in.
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def _write_header(store: BinaryIO, shape: tuple[int, ...]) -> None:
    # NumPy pads the header so that a longer first axis fits in the same bytes ("growth axis").
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(store, header)


def _decode_all(files: Sequence[File], size: int) -> Iterator[Result]:
    """Results in the order of `files`, from all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd but readable files
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            yield from pool.map(_decode_one, chunk, [size] * len(chunk))


def _decode_one(file: File, size: int) -> Result:
    species, path = file
    try:
        path.as_posix().encode()  # a name that is not UTF-8 cannot stand in the manifest
        content = path.read_bytes()
        return species, hashlib.sha256(content).hexdigest(), decode(content, size)
    except Exception as error:  # a decoder may raise anything on a broken file
        return species, "", reason(error)


def _require_each(species: Sequence[str], manifest: pd.DataFrame, data_dir: Path) -> None:
    for name in species:
        if not (manifest["species"] == name).any():
            raise UserError(
                f"{data_dir / name} has no usable image; add photographs or take '{name}' "
                "out of params.yaml"
            )


def main() -> None:
    params = load_params()
    counts = preprocess(Path(params.data.dir), params.species, params.image_size, CACHE)
    write_json(METRICS / "preprocess.json", counts)
    print(f"preprocess: {counts['images']} images of {counts['species']} species in {CACHE}")
    rejected = read_csv(CACHE / "rejected.csv")
    for row in rejected.head(20).itertuples():
        print(f"  left out: {row.file}: {row.reason}")
    if len(rejected) > 20:
        print(f"  … and {len(rejected) - 20} more in {CACHE / 'rejected.csv'}")
