"""Stage `preprocess`: decode every photograph once, resize it, and find copies.

Reads `data.dir`, writes `data/cache/`:
    pixels/         the photographs, packed (packing.py)
    manifest.csv    a row per file: file, species, index (row in the packed files), width, height,
                    mode, sha256 (of the file), original (the first file that shows the same
                    photograph), confidence of that, alike (another original that looks like it)
    rejected.csv    file, species, reason: what was left out
    made_by.json    what decided the pixels

What an earlier run decoded is used again, by content: only new photographs are decoded. Pixels are
held for 1/256 of the set and some more at a time; copies.py takes about 3 KB for each photograph.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fishline.core.errors import UserError
from fishline.core.files import read_csv, write_csv, write_json
from fishline.core.parallel import in_threads
from fishline.core.params import Data, load_params
from fishline.core.paths import CACHE, METRICS
from fishline.data.cache import Cache
from fishline.data.decode import Decoded, decode
from fishline.data.photo_files import find_images, read, reason
from fishline.data.prepare.copies import find_copies
from fishline.data.prepare.originals import name_originals
from fishline.data.prepare.packing import made_by, pack

COLUMNS = "file species index width height mode sha256 original confidence alike".split()

File = tuple[str, Path]  # species, path


def preprocess(data: Data, species: Sequence[str], size: int, out: Path) -> dict[str, int]:
    """Pack the images of `species` below `data.dir` into the folder `out`, replacing it.

    Returns:
        How many images of how many species there are, how many photographs they show, and how
        many files were rejected.

    Raises:
        UserError: the data folder is missing or empty, a species has no folder or no usable
            image, a photograph lies under two species (unless `data.conflicts` is `drop`), or the
            record of originals cannot be used.
    """
    root = Path(data.dir)
    files = _digest_all(list_files(root, species), root)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        broken = _pack(files, size, out, temporary)
        packed = Cache(temporary)
        row = {digest: row for row, digest in enumerate(packed.digests())}
        files["index"] = files["sha256"].map(row)
        good = files["index"].notna()
        _require_each(species, files[good], root)
        manifest, conflicting = _settle_conflicts(_look_up(files[good], packed), data.conflicts)
        _require_each(species, manifest, root)
        manifest = name_originals(manifest, root)
        rejected = _reasons(files[~good], broken)
        write_csv(temporary / "manifest.csv", manifest[COLUMNS])
        write_csv(temporary / "rejected.csv", pd.concat([rejected, conflicting]).sort_index())
        write_json(temporary / "made_by.json", made_by(size))
        shutil.rmtree(out, ignore_errors=True)
        temporary.chmod(0o755)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {
        "images": len(manifest),
        "photographs": manifest["original"].nunique(),
        "rejected": len(rejected) + len(conflicting),
        "species": len(species),
    }


def list_files(root: Path, species: Sequence[str]) -> list[File]:
    """The image files of each species, in order of species, then path."""
    if not root.is_dir():
        raise UserError(f"data.dir: there is no folder {root}")
    folders = sorted(p.name for p in root.iterdir() if p.is_dir())
    if not folders:
        raise UserError(f"data.dir: {root} has no folders; it needs one for each species")
    files: list[File] = []
    for name in species:
        if name not in folders:
            raise UserError(
                f"{root} has no folder '{name}', which params.yaml lists as a species; "
                f"its folders are: {', '.join(folders)}"
            )
        files += [(name, path) for path in find_images(root / name)]
    return files


def _digest_all(files: Sequence[File], root: Path) -> pd.DataFrame:
    """A row per file: file, species, path, sha256 ("" if it cannot be read) and the reason."""
    rows = [
        (_printable(path.relative_to(root)), species, path, *found)
        for (species, path), found in zip(
            files, in_threads(_digest, [path for _, path in files]), strict=True
        )
    ]
    return pd.DataFrame(rows, columns=["file", "species", "path", "sha256", "reason"])


def _digest(path: Path) -> tuple[str, str]:
    try:
        path.as_posix().encode()  # a name that is not UTF-8 cannot stand in the manifest
        return hashlib.sha256(read(path)).hexdigest(), ""
    except Exception as error:
        return "", reason(error)


def _printable(path: Path) -> str:
    # A name that is no UTF-8 cannot stand in a table; its file is left out, under a stand-in.
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def _pack(files: pd.DataFrame, size: int, old: Path, new: Path) -> dict[str, str]:
    """Pack the contents of `files` into `new`; for each that is no usable image, the reason."""
    contents = files[files["sha256"] != ""].drop_duplicates("sha256").set_index("sha256")["path"]

    def decode_all(digests: Sequence[str]) -> Iterator[Decoded | str]:
        jobs = [(digest, contents[digest], size) for digest in digests]
        bar = tqdm(total=len(jobs), desc="decode", unit="image", disable=None)
        for image in in_threads(_decode, jobs):
            bar.update()
            yield image
        bar.close()

    return pack(sorted(contents.index), decode_all, size, old, new)


def _decode(job: tuple[str, Path, int]) -> Decoded | str:
    digest, path, size = job
    try:
        content = read(path)
        if hashlib.sha256(content).hexdigest() != digest:
            return "the file changed while it was read"
        return decode(content, size)
    except Exception as error:  # a decoder may raise anything on a broken file
        return reason(error)


def _look_up(files: pd.DataFrame, packed: Cache) -> pd.DataFrame:
    """The manifest, with `group`, the number of each file's photograph, instead of its original.

    `alike` is the number of another photograph that looks like it, or -1.
    """
    rows = files["index"].to_numpy(np.int64)
    width, height = packed.column("width"), packed.column("height")
    found = find_copies(lambda some: packed.take(some, "thumbnail"), width / height)
    alike = np.where(found.alike < 0, -1, found.group[found.alike])
    return files.assign(
        index=rows,
        width=width[rows],
        height=height[rows],
        mode=packed.column("mode")[rows].astype(str),
        group=found.group[rows],
        confidence=found.confidence[rows].round(3),
        alike=alike[rows],
    )


def _reasons(files: pd.DataFrame, broken: dict[str, str]) -> pd.DataFrame:
    told = files["reason"].where(files["sha256"] == "", files["sha256"].map(broken))
    return files[["file", "species"]].assign(reason=told)


def _settle_conflicts(manifest: pd.DataFrame, choice: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Refuse or reject photographs that lie under more than one species."""
    firsts = manifest.drop_duplicates(["group", "species"]).groupby("group")["file"].agg(list)
    conflicts = firsts[firsts.map(len) > 1]
    if len(conflicts) and choice == "fail":
        named = "".join(f"\n  {' and '.join(files)}" for files in conflicts.head(10))
        more = f"\n  … and {len(conflicts) - 10} more" if len(conflicts) > 10 else ""
        raise UserError(
            f"the same photograph lies under different species, {len(conflicts)} times:{named}"
            f"{more}\nKeep each under its true species, or set data.conflicts to drop to leave "
            "out all files that show it."
        )
    out = manifest["group"].isin(conflicts.index)
    shown = manifest.loc[out, "group"].map(conflicts.map(" and ".join))
    reasons = "one photograph under different species: " + shown.astype(str)
    return manifest[~out], manifest.loc[out, ["file", "species"]].assign(reason=reasons)


def _require_each(species: Sequence[str], manifest: pd.DataFrame, root: Path) -> None:
    for name in species:
        if not (manifest["species"] == name).any():
            raise UserError(
                f"{root / name} has no usable image; add photographs or take '{name}' "
                "out of params.yaml"
            )


def main() -> None:
    params = load_params()
    counts = preprocess(params.data, params.species, params.image_size, CACHE)
    write_json(METRICS / "preprocess.json", counts)
    print(
        f"preprocess: {counts['images']} images of {counts['species']} species in {CACHE}, "
        f"showing {counts['photographs']} photographs"
    )
    rejected = read_csv(CACHE / "rejected.csv")
    for row in rejected.head(20).itertuples():
        print(f"  left out: {row.file}: {row.reason}")
    if len(rejected) > 20:
        print(f"  … and {len(rejected) - 20} more in {CACHE / 'rejected.csv'}")
