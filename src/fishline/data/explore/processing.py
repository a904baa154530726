"""Was the data pre-processed, and how? The answer in words, for the page of `explore`."""

from __future__ import annotations

from pathlib import PurePosixPath

import pandas as pd

from fishline.core.text import many, share, shares
from fishline.data.explore import statistics


def processing(images: pd.DataFrame) -> str:
    """Whether the images were pre-processed, and how; of `facts.measure`."""
    endings = images["file"].map(lambda file: PurePosixPath(file).suffix.lower().lstrip("."))
    sizes = images.drop_duplicates(["width", "height"])
    signs = {
        "one size for all": len(sizes) == 1,
        "copies": images["original"].duplicated().any(),
        "black corners": (images["corners"] >= 2).mean() > 0.05,
    }
    found = [sign for sign, seen in signs.items() if seen]
    verdict = f"Yes: {', '.join(found)}." if found else "There is no sign of it."
    lines = [
        f"- **Sizes:** {_sizes(images)}",
        f"- **Files:** {shares(endings)}; colour mode {shares(images['mode'])}.",
        f"- **Black:** {_black(images)}",
        *_copies(images),
    ]
    return "\n".join([f"{verdict}\n", *lines])


def _sizes(images: pd.DataFrame) -> str:
    sizes = images["width"].astype(str) + " × " + images["height"].astype(str)
    aspects = images["width"] / images["height"]
    if sizes.nunique() == 1:
        return (
            f"every image has {sizes.iloc[0]} pixels (width to height {aspects.iloc[0]:.2f}). "
            "One size for all is rare among photographs as taken: they were resized or cut."
        )
    return (
        f"{sizes.nunique():,} different ones, in pixels {shares(sizes)}. Width to height goes from "
        f"{aspects.min():.2f} to {aspects.max():.2f}, half of the images lie between "
        f"{aspects.quantile(0.25):.2f} and {aspects.quantile(0.75):.2f}. "
        "`preprocess` squashes all to one square."
    )


def _black(images: pd.DataFrame) -> str:
    black = images["corners"] >= 2
    if not black.any():
        return "no image has black corners: no sign of borders."
    turned = images.loc[black, "angle"].notna().any()
    why = (
        "as turning a picture about its middle leaves them"
        if turned
        else "a border or a dark background"
    )
    return (
        f"{share(black.mean())} of the images have at least two black corners, {why}; "
        f"typically {images.loc[black, 'black'].median():.0%} of such a picture is black."
    )


def _copies(images: pd.DataFrame) -> list[str]:
    sizes = images.groupby("original").size()
    if sizes.max() == 1:
        return ["- **Copies:** no two images show the same photograph."]
    copied = sizes[sizes > 1]
    same = int(images["sha256"].duplicated().sum())
    repeated = f" {many(same, 'file')} repeat others byte for byte." if same else ""
    copies = images[images["file"] != images["original"]]
    known = copies.dropna(subset=["angle"])
    lines = [
        f"- **Copies:** {len(copied):,} of {many(len(sizes), 'photograph')} stand in more than "
        f"one file, in {_from_to(copied)}.{repeated}"
    ]
    if len(known):
        lines.append(f"- **Turned and mirrored,** against the first file of each: {_turns(known)}")
    if len(known) < len(copies):
        lines.append(
            f"- {len(copies) - len(known):,} of {len(copies):,} copies are not alike enough to "
            "their first file to tell an angle: a record or a chain of others joins them."
        )
    return lines


def _from_to(numbers: pd.Series[int]) -> str:
    low, high, middle = numbers.min(), numbers.max(), numbers.median()
    return f"{low}" if low == high else f"{low} to {high} (typically {middle:.0f})"


def _turns(known: pd.DataFrame) -> str:
    words = f"{share(known['mirrored'].mean())} of the copies are mirrored"
    mirrors = statistics.plain_mirrors(known)
    if mirrors:
        words += (
            f"; of {many(mirrors, 'photograph')} one file is the first one's plain mirror image"
        )
    return f"{words}. {_angles(known['angle'])}"


def _angles(angles: pd.Series[float]) -> str:
    step = statistics.angle_step(angles.to_numpy())
    if step == 360:
        return "They were not turned."
    if step:
        return f"The angles cluster at multiples of {step}°."
    tens = ((angles + 5) % 360 // 10 * 10).astype(int).value_counts()
    turned = tens.drop(0, errors="ignore")
    if len(turned) < 35:
        near = ", ".join(f"{angle}°" for angle in sorted(tens.index[:12]))
        return f"The most frequent angles lie near {near}."
    every = "Apart from 0°, every angle" if tens.get(0, 0) > 2 * turned.median() else "Every angle"
    if turned.max() > 3 * turned.median():
        return f"{every} occurs; the most frequent lies near {turned.index[0]}°."
    return f"{every} occurs about as often as any other: there is no fixed step between them."
