"""The page on the data: its numbers against sets whose making is known, and against training."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps

from fishline.core.errors import UserError
from fishline.core.files import read_csv, write_csv
from fishline.core.params import Data
from fishline.core.text import code, share, text
from fishline.data.cache import Cache
from fishline.data.contact_sheet import Picture, write_sheet
from fishline.data.dataset import Images
from fishline.data.decode import THUMBNAIL
from fishline.data.explore import statistics
from fishline.data.explore.charts import few, write_counts
from fishline.data.prepare.leaks import leaked
from fishline.stages import explore
from fishline.stages.preprocess import preprocess
from fishline.training.sampling import class_weights, epoch_order

ROOT = Path(__file__).parents[3]
Draw = Callable[[int], Image.Image]
Digests = Callable[[Path], dict[str, str]]
TURNS = ((0, False), (72, False), (144, True), (288, True))  # degrees clockwise, mirrored before
SUBSETS = {2: "validation", 3: "test"}  # by a photograph's number; the others are for training
SPECIES = ("A", "B", "C$_1$", "D")
PAGE = "plots/explore/explore.md"


def copy_of(image: Image.Image, degrees: int, mirrored: bool) -> Image.Image:
    image = ImageOps.flip(image) if mirrored else image  # upside down
    return image.rotate(-degrees, Image.Resampling.BICUBIC)


def write_params(root: Path) -> None:
    start, _, rest = (ROOT / "params.yaml").read_text().partition("base:\n")
    recipe = rest[rest.index("  mode:") :]
    base, new = list(SPECIES[:2]), list(SPECIES[2:])
    species = f"base:\n  species: {base}\n  train: all\nfinetune:\n  species: {new}\n"
    (root / "params.yaml").write_text(start + species + recipe)


class SpeciesOf:
    """Features that tell the species of a manifest, but of one file another one."""

    def __init__(self, manifest: pd.DataFrame, file: str, species: str) -> None:
        shown = manifest["species"].mask(manifest["file"] == file, species)
        numbers = shown.map(SPECIES.index).to_numpy()
        self._features = np.zeros((len(manifest), len(SPECIES)), np.float32)
        self._features[manifest["index"], numbers] = 1

    def plain(self, rows: np.ndarray) -> np.ndarray:
        return self._features[rows]


def write_project(root: Path, wrong: tuple[str, str] | None = None) -> None:
    """Cache, split and page of the photographs in `root`/raw, named by their numbers.

    `wrong`: a file, and the species that its features tell; None for no features.
    """
    write_params(root)
    preprocess(
        Data(dir=str(root / "raw"), conflicts="fail", personal="drop"),
        SPECIES,
        64,
        root / "data/cache",
    )
    images = read_csv(root / "data/cache/manifest.csv")
    number = images["original"].str.extract(r"/(\d+)", expand=False).astype(int)
    images["part"] = number.map(lambda n: SUBSETS.get(n, "train"))
    for task, names in (("base", SPECIES[:2]), ("finetune", SPECIES[2:])):
        mine = images[images["species"].isin(names)]
        table = mine[["file", "species", "original", "alike", "part"]]
        write_csv(root / f"data/split/{task}.csv", table)
    run(root, SpeciesOf(images, *wrong) if wrong else None)


def run(root: Path, features: SpeciesOf | None = None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(explore.Features, "open", lambda folder, cache: features)
        explore.main()


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory, draw_photograph: Draw) -> Path:
    """Four species, four photographs of each, four files of each of these, and a broken file."""
    root = tmp_path_factory.mktemp("copied")
    for letter, species in enumerate(SPECIES):
        (root / "raw" / species).mkdir(parents=True)
        for number in range(4):
            small = draw_photograph(10 * letter + number).resize((295, 222))
            for place, turn in enumerate(TURNS):
                copy_of(small, *turn).save(root / "raw" / species / f"{number}-{place}.png")
    (root / "raw" / "A" / "not | a picture.jpg").write_text("words")
    write_project(root)
    return root


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, draw_photograph: Draw) -> Path:
    """No copies: 8, 5, 5 and 5 photographs in several formats, modes and sizes."""
    root = tmp_path_factory.mktemp("plain")
    for letter, species in enumerate(SPECIES):
        (root / "raw" / species).mkdir(parents=True)
        for number in range(5 if letter else 8):
            image = draw_photograph(100 + 10 * letter + number).resize((280, 180 + 10 * number))
            ending = "jpg" if number % 2 else "webp"
            image = image.convert("L" if number == 1 else "RGB")
            image.save(root / "raw" / species / f"{number}.{ending}")
    write_project(root, wrong=("B/3.jpg", "C$_1$"))
    return root


def words_of(root: Path) -> str:
    """The page without what only lines up its tables."""
    return re.sub(" +", " ", (root / PAGE).read_text())


def test_the_page_tells_how_a_set_was_made(copied: Path) -> None:
    page = words_of(copied)
    for words in (
        "**64 images** of **4 species** show **16 photographs**. 1 file had to be left out.",
        "| A | base model | 16 (4) | 8 (2) | 4 (1) | 4 (1) |",
        "each species has 8 training images: balanced",
        "Yes: one size for all, copies, black corners.",
        "every image has 295 × 222 pixels (width to height 1.33)",
        "png only; colour mode RGB only",
        "75% of the images have at least two black corners",
        "16 of 16 photographs stand in more than one file, in 4.",
        "67% of the copies are mirrored. The angles cluster at multiples of 72°.",
        "0 of 16 test images have a copy of their photograph in training, so the test accuracy is",
        "Not looked for: there are no features to tell species by",
        "| `A/not \\| a picture.jpg` | not an image that Pillow can read |",
    ):
        assert words in page


def test_the_page_of_an_uneven_set_without_copies(plain: Path) -> None:
    page = words_of(plain)
    for words in (
        "**23 images** of **4 species** show **23 photographs**. An image",
        "from 3 training images (B) to 6 (A), 2.00 to 1: not balanced",
        "`undersample` leaves out 33% of the images",
        "each species has 3 training images: balanced",
        "There is no sign of it.",
        "8 different ones, in pixels 280 × 180 (17%), ",
        "webp (57%), jpg (43%); colour mode RGB (83%), L (17%)",
        "no image has black corners",
        "no two images show the same photograph",
        "no split can put one photograph on both sides",
        "A classifier was asked about 23 photographs",
        "For 1 something speaks against the label.",
        "| `B/3.jpg` | B (0.0",
        "![Photographs whose labels are likely wrong](labels.png)",
        "Nothing: every file could be used.",
    ):
        assert words in page
    assert not (plain / PAGE).with_name("copies.png").exists()


@pytest.mark.parametrize("name", ["copied", "plain"])
def test_the_page_shows_what_is_there(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name) / PAGE
    linked = re.findall(r"\]\((.*?)\)", path.read_text())
    assert sorted(linked) == sorted(picture.name for picture in path.parent.glob("*.png"))
    assert {"species.png", "samples.png", "processing.png"} <= set(linked)


def test_the_same_data_give_the_same_bytes(copied: Path, digests: Digests) -> None:
    first = digests(copied / "plots")
    run(copied)
    assert digests(copied / "plots") == first


def test_leaks_are_called_leaks(copied: Path) -> None:
    images = measured(copied)
    half = images["file"].str.contains(r"-[01]\.")
    images["part"] = np.where(half, "train", "test")
    assert leaked(images) == (images["part"] == "test").sum() == 32
    assert statistics.expected_leak(images) == pytest.approx(1 - 0.5**3)


def measured(root: Path) -> pd.DataFrame:
    cache = Cache(root / "data/cache")
    images = read_csv(root / "data/cache/manifest.csv")
    return statistics.measure(images, lambda rows: cache.take(rows, "thumbnail"))


def test_angles_and_mirrors_of_known_copies(copied: Path) -> None:
    images = measured(copied)
    first = images["file"] == images["original"]
    assert images.loc[first, "angle"].isna().all() and not images.loc[first, "mirrored"].any()
    for place, (degrees, mirrored) in enumerate(TURNS[1:], 1):
        some = images[images["file"].str.endswith(f"-{place}.png")]
        assert len(some) == 16
        assert np.abs(some["angle"] - degrees).max() <= statistics.NEAR
        assert (some["mirrored"] == mirrored).all()


@pytest.mark.parametrize(
    ("top", "left", "level", "corners"),
    [(0, 0, 0, 0), (20, 0, 0, 2), (0, 20, 0, 2), (20, 20, 0, 3), (20, 20, 200, 0)],
)
def test_black_corners_are_counted(top: int, left: int, level: int, corners: int) -> None:
    thumbnail = np.full((1, THUMBNAIL, THUMBNAIL), 120, np.uint8)
    thumbnail[:, :top] = level
    thumbnail[:, :, :left] = level
    one = {"file": "a", "original": "a", "index": 0, "width": 4, "height": 3}
    found = statistics.measure(pd.DataFrame([one]), lambda rows: thumbnail)
    assert found["corners"].tolist() == [corners]
    assert found["black"][0] == pytest.approx((thumbnail == 0).mean())


@pytest.mark.parametrize("counts", [(8, 8, 8), (9, 5, 2)])
def test_the_remedies_are_those_of_training(
    make_images: Callable[..., Images], counts: Sequence[int]
) -> None:
    images = make_images(*counts)
    table = statistics.remedies(pd.Series(counts, images.species))
    for balance in ("none", "oversample", "undersample"):
        order = epoch_order(images.labels, balance, torch.Generator().manual_seed(0))
        assert images.labels[order].bincount().tolist() == table[balance].tolist()
    weights = class_weights(images).tolist()
    assert weights == pytest.approx(table["class_weights"].tolist())


def test_a_species_without_training_images_stays_without() -> None:
    table = statistics.remedies(pd.Series({"A": 4, "B": 0}))
    assert table.loc["B", ["none", "oversample", "undersample"]].tolist() == [0, 0, 0]
    assert table["undersample"]["A"] == 4


@pytest.mark.parametrize(
    ("angles", "step"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 1, 359, 0], 360),
        ([0, 180] * 5, 180),
        ([0, 91, 179, 269] * 3, 90),
        ([36, 72, 107, 145, 325] * 2, 36),
        ([30, 60, 330] * 4 + [45], 30),  # one of 13 is off
        ([30, 60, 330] * 3 + [45], 30),
        ([30, 60, 330] * 3 + [45, 77], 15),
        (list(range(0, 360, 7)), None),
        ([90, 180], None),
    ],
)
def test_a_step_between_angles_is_found_if_there_is_one(
    angles: list[float], step: int | None
) -> None:
    assert statistics.angle_step(np.array(angles, float)) == step


def table_of(rows: Sequence[tuple[str, str, str, float, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["file", "original", "alike", "confidence", "part", "task"])


PAIRS = table_of(
    [
        ("a", "a", "c", 0.5, "train", "base"),
        ("b", "a", "", 0.9, "train", "base"),
        ("c", "c", "a", 0.5, "test", "base"),
        ("d", "c", "a", 0.4, "test", "base"),
        ("e", "e", "f", 0.8, "train", "base"),  # alike, but of another task
        ("f", "f", "", 1.0, "test", "finetune"),
    ]
)


def test_look_alikes_are_named_once_and_within_a_task() -> None:
    found = statistics.look_alikes(PAIRS)
    assert found[["file", "part", "other_part"]].to_numpy().tolist() == [["d", "test", "train"]]


def test_doubts_start_with_the_least_clear_and_name_the_other_side() -> None:
    found = statistics.doubtful(PAIRS)
    assert found[["file", "joined"]].to_numpy().tolist() == [["d", "c"], ["e", ""], ["b", "a"]]
    kept = PAIRS.assign(confidence=[0.2, 0.9, 1, 1, 1, 1], alike="")
    assert statistics.doubtful(kept)["joined"].tolist() == ["b"]  # the copy of "a"


def test_a_split_of_other_images_is_refused(copied: Path) -> None:
    manifest = read_csv(copied / "data/cache/manifest.csv")
    splits = {"base": read_csv(copied / "data/split/base.csv")}
    with pytest.raises(UserError, match="dvc repro split"):
        statistics.join(manifest, splits)


def test_without_a_split_the_message_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"manifest\.csv is missing; `dvc repro split`"):
        explore.main()


def test_pictures_stand_in_their_true_proportions(tmp_path: Path) -> None:
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    blue = np.full((8, 8, 3), (0, 0, 255), np.uint8)
    pictures = [Picture(red, 2.0, "wide"), Picture(blue, 0.5, "tall")]
    write_sheet(tmp_path / "sheet.png", [("", pictures)])
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"), int)
    for channel, aspect in ((0, 2.0), (2, 0.5)):
        others = [c for c in range(3) if c != channel]
        mask = (pixels[:, :, channel] > 200) & (pixels[:, :, others].max(axis=2) < 50)
        height, width = mask.any(axis=1).sum(), mask.any(axis=0).sum()
        assert width / height == pytest.approx(aspect, rel=0.05)


def test_many_species_fit_on_a_chart(tmp_path: Path) -> None:
    names = [f"species {n}" for n in range(300)]
    images = pd.DataFrame(
        {"species": np.repeat(names, 2), "original": range(600), "part": ["train", "test"] * 300}
    )
    write_counts(tmp_path / "species.png", images, names)
    with Image.open(tmp_path / "species.png") as picture:
        assert picture.height < 2000


def test_of_many_the_extremes_are_kept_in_order() -> None:
    numbers = pd.Series({"a": 5, "b": 1, "c": 9, "d": 4, "e": 2})
    assert few(list("abcde"), numbers, 4) == ["a", "b", "c", "e"]
    assert few(list("abcde"), numbers, 5) == list("abcde")


@pytest.mark.parametrize(
    ("value", "escaped", "monospaced"),
    [
        ("Sea Bass", "Sea Bass", "`Sea Bass`"),
        ("a_b|c", r"a\_b\|c", r"`a_b\|c`"),
        ("<b>`x`\n*", r"\<b\>\`x\` \*", "`<b>'x' *`"),
    ],
)
def test_no_name_breaks_the_page(value: str, escaped: str, monospaced: str) -> None:
    assert (text(value), code(value)) == (escaped, monospaced)


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0%"), (0.004, "less than 1%"), (0.5, "50%"), (0.996, "more than 99%"), (1, "100%")],
)
def test_only_none_is_none_and_only_all_is_all(number: float, words: str) -> None:
    assert share(number) == words


def test_nothing_heavy_is_loaded() -> None:
    program = (
        "import sys, fishline.stages.explore; print({n.partition('.')[0] for n in sys.modules})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not {"torch", "mlflow", "dvc", "sklearn"} & set(re.findall(r"\w+", done.stdout))
