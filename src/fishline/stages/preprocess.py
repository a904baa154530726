"""Stage `preprocess`: decode every photograph once, resize it, and find copies.

Reads `data.dir`, writes `data/cache/`:
    pixels/         the photographs, packed (packing.py)
    manifest.csv    a row per file: file, species, index (row in the packed files), width, height,
                    mode, sha256 (of the file), original (the first file that shows the same
                    photograph), confidence of that, alike (another original that looks like it),
                    and what else is known of it: taken, camera, day … (metadata.py)
    rejected.csv    file, species, index (-1 but for photographs under several species),
                    sha256, reason: what was left out
    made_by.json    what decided the pixels

What an earlier run decoded is used again, by content: only new photographs are decoded. Few
pixels are held at a time; while copies are looked for, 1.5 KB for each photograph lie on the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fishline.core.files import read_csv, remaking, write_csv, write_json
from fishline.core.params import Data, load_params
from fishline.core.paths import CACHE, METRICS
from fishline.data import exif
from fishline.data.cache import Cache
from fishline.data.prepare import manifest as steps
from fishline.data.prepare.metadata import read_metadata
from fishline.data.prepare.originals import name_originals


def preprocess(data: Data, species: Sequence[str], size: int, out: Path) -> dict[str, int]:
    """Pack the images of `species` below `data.dir` into the folder `out`, replacing it.

    Returns:
        How many images of how many species there are, how many photographs they show, and how
        many files were rejected.

    Raises:
        UserError: the data folder is missing or empty, a species has no folder or no usable
            image, a photograph lies under two species (unless `data.conflicts` is `drop`), or the
            record of originals or the table of photographs cannot be used.
    """
    root = Path(data.dir)
    files = steps.digest_files(steps.list_files(root, species), root)
    known = read_metadata(files, steps.list_names(root), root, data.personal == "keep")
    files = files.drop(columns=list(exif.COLUMNS)).join(known)
    with remaking(out) as new:
        broken = steps.pack_files(files, size, out, new)
        packed = Cache(new)
        row = {digest: row for row, digest in enumerate(packed.digests())}
        files["index"] = files["sha256"].map(row)
        good = files["index"].notna()
        steps.require_each(species, files[good], root)
        described = steps.describe_files(files[good], packed, new)
        manifest, conflicting = steps.settle_conflicts(described, data.conflicts)
        steps.require_each(species, manifest, root)
        manifest = name_originals(manifest, root)
        rejected = pd.concat([steps.rejections(files[~good], broken), conflicting]).sort_index()
        write_csv(new / "manifest.csv", manifest[[*steps.COLUMNS, *known]])
        write_csv(new / "rejected.csv", rejected)
    return {
        "images": len(manifest),
        "photographs": manifest["original"].nunique(),
        "rejected": len(rejected),
        "species": len(species),
    }


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
