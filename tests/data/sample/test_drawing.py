"""The drawn data set: complete, repeatable, honest about its originals, and written safely."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fishline.data.sample import drawing
from fishline.data.sample.drawing import draw_sample
from fishline.data.sample.species import SPECIES
from fishline.stages import sample

ORIGINALS, COPIES = 2, 2


def digests(folder: Path) -> dict[str, str]:
    """Path (relative) and digest of every file under ``folder``."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def photographs(folder: Path) -> list[str]:
    """The pictures to classify, relative to ``folder``."""
    names = (path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))
    return sorted(name for name in names if " GT/" not in name)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set."""
    out = tmp_path_factory.mktemp("data") / "sample"
    draw_sample(out, seed=1, originals=ORIGINALS, copies=COPIES)
    return out


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the species that the masks and the cut file need, for speed."""
    kept = {name: SPECIES[name] for name in (drawing.MASKED, drawing.TRUNCATED)}
    monkeypatch.setattr(drawing, "SPECIES", kept)


def test_layout(drawn: Path) -> None:
    folders = {path.name for path in drawn.iterdir() if path.is_dir()}
    assert folders == {*SPECIES, f"{drawing.MASKED} GT"}
    assert len(SPECIES) == 9
    for name in SPECIES:
        numbers = [path.name for path in sorted((drawn / name).iterdir())]
        assert numbers == [f"{n:05}.png" for n in range(1, ORIGINALS * COPIES + 1)]
    for name in photographs(drawn):
        with Image.open(drawn / name) as image:
            assert (image.size, image.mode) == ((590, 445), "RGB")


def test_masks_belong_to_pictures(drawn: Path) -> None:
    masks = sorted((drawn / f"{drawing.MASKED} GT").iterdir())
    assert [m.name for m in masks] == [p.name for p in sorted((drawn / drawing.MASKED).iterdir())]
    for path in masks:
        with Image.open(path) as mask, Image.open(drawn / drawing.MASKED / path.name) as picture:
            inside = np.asarray(mask)
            assert mask.size == picture.size
            assert set(np.unique(inside)) == {0, 255}
            # Where the mask says fish, there is picture: nothing black from outside it.
            assert np.asarray(picture)[inside == 255].max(axis=1).mean() > 20


def test_record_lists_the_pictures(drawn: Path) -> None:
    record = pd.read_csv(drawn / "originals.csv")
    assert list(record.columns) == ["file", "species", "original"]
    assert record.file.tolist() == photographs(drawn)
    assert (record.file.str.split("/").str[0] == record.species).all()


def test_copies_share_their_original(drawn: Path) -> None:
    record = pd.read_csv(drawn / "originals.csv")
    sizes = record.groupby(["species", "original"]).size()
    assert len(sizes) == len(SPECIES) * ORIGINALS
    assert (sizes == COPIES).all()
    assert "Trout-01" in set(record.original)


def test_originals_differ_more_than_copies(drawn: Path) -> None:
    """Copies are turned about the middle, so their middles have the colours of their original."""
    record = pd.read_csv(drawn / "originals.csv").query("species == 'Gilt-Head Bream'")
    middles = {}
    for row in record.itertuples():
        with Image.open(drawn / str(row.file)) as image:
            box = (295 - 60, 222 - 60, 295 + 60, 222 + 60)
            middles.setdefault(row.original, []).append(np.asarray(image.crop(box)).mean((0, 1)))
    (a, b), (c, d) = middles.values()
    within = max(np.abs(a - b).max(), np.abs(c - d).max())
    assert within < np.abs((a + b) / 2 - (c + d) / 2).max()


def test_exactly_one_file_is_cut_off(drawn: Path) -> None:
    broken = []
    for name in photographs(drawn):
        try:
            with Image.open(drawn / name) as image:
                image.load()
        except OSError:
            broken.append(name)
    assert broken == [drawing.cut_file(ORIGINALS, COPIES)]


def test_same_seed_same_bytes_for_any_thread_count(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fishline.data.sample.drawing.usable_cores", lambda: 1)
    draw_sample(tmp_path / "again", seed=1, originals=ORIGINALS, copies=COPIES)
    assert digests(tmp_path / "again") == digests(drawn)


@pytest.mark.usefixtures("few")
def test_other_seed_other_pictures(tmp_path: Path) -> None:
    for seed in (1, 2):
        draw_sample(tmp_path / str(seed), seed=seed, originals=1, copies=1)
    one, two = (digests(tmp_path / str(seed)) for seed in (1, 2))
    assert one.keys() == two.keys()
    assert all(one[name] != two[name] for name in one if name.endswith(".png"))


@pytest.mark.usefixtures("few")
def test_replaces_an_older_set_whole(tmp_path: Path) -> None:
    out = tmp_path / "sample"
    (out / "Pike").mkdir(parents=True)
    (out / "Pike" / "00001.png").write_bytes(b"old")
    draw_sample(out, seed=1, originals=1, copies=2)
    assert not (out / "Pike").exists()
    assert (out / "originals.csv").is_file()
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.usefixtures("few")
def test_failure_leaves_the_older_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "sample"
    draw_sample(out, seed=1, originals=1, copies=1)
    before = digests(out)

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(drawing, "photograph", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_sample(out, seed=2, originals=2, copies=1)
    assert digests(out) == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.usefixtures("few")
def test_stage_reads_its_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Params:
        class sample:
            seed, originals, copies = 1, 1, 2

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sample, "load_params", lambda: Params)
    sample.main()
    assert len(pd.read_csv(tmp_path / "data/sample/originals.csv")) == 4
    assert drawing.cut_file(1, 2) in capsys.readouterr().out
