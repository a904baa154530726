"""Wrong labels: found where they were planted, and nothing said of what cannot be told."""

import numpy as np
import pandas as pd
import pytest

from fishline.core.errors import UserError
from fishline.data.explore import out_of_sample
from fishline.data.explore.label_errors import Labels, check_labels
from fishline.data.explore.out_of_sample import mean_features

SPECIES = ("Dorade, royale", "Bar é", "001", 'a "b"')
NONE = pd.DataFrame(columns=["file", "species", "index", "reason"])


class Collection:
    """Photographs that show a species each, `truth`, and lie under one, in some copies.

    Their features lie around a point for each species, 1 from the middle.
    """

    def __init__(self, *counts: int, copies: int = 2, spread: float = 0.25) -> None:
        rng = np.random.default_rng(0)
        self.truth = np.repeat(np.arange(len(counts)), counts)
        self.species = SPECIES[: len(counts)]
        self.labels = self.truth.copy()
        self.copies = copies
        centres = np.eye(len(counts), 16)
        photographs = centres[self.truth] + rng.normal(0, spread / 2, (len(self.truth), 16))
        self.features = np.repeat(photographs, copies, axis=0)
        self.features += rng.normal(0, 0.02, self.features.shape)
        self.alike: dict[int, int] = {}

    def name(self, photograph: int, copy: int = 0) -> str:
        return f"{self.species[self.labels[photograph]]}/{photograph:03}-{copy}.jpg"

    @property
    def manifest(self) -> pd.DataFrame:
        rows = [
            {
                "file": self.name(one, copy),
                "species": self.species[self.labels[one]],
                "index": one * self.copies + copy,
                "original": self.name(one),
                "alike": self.name(self.alike[one]) if one in self.alike else "",
            }
            for one in range(len(self.labels))
            for copy in range(self.copies)
        ]
        return pd.DataFrame(rows).sort_values("file", ignore_index=True)

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.features[rows].astype(np.float32)

    def check(self, rejected: pd.DataFrame = NONE) -> Labels:
        return check_labels(self.manifest, rejected, self.take, self.species)


def test_planted_errors_come_first_with_their_true_species() -> None:
    some = Collection(50, 50, 40, 20)
    wrong = np.random.default_rng(1).choice(160, 8, replace=False)
    some.labels[wrong] = (some.labels[wrong] + 1) % 4
    found = some.check()
    first = found.doubtful.head(8)
    assert set(first["file"]) == {some.name(one) for one in wrong}
    truth = {some.name(one): some.species[some.truth[one]] for one in wrong}
    assert dict(zip(first["file"], first["suggested"], strict=True)) == truth
    assert set(first["reason"]) == {"label"}
    assert (first["probability"] < first["suggested_probability"]).all()
    assert first["probability"].is_monotonic_increasing
    assert (found.photographs, found.wrong) == (160, 8)
    pd.testing.assert_frame_equal(some.check().doubtful, found.doubtful)


def test_right_labels_raise_no_doubt() -> None:
    found = Collection(30, 30, 30).check()
    assert (len(found.doubtful), found.wrong, found.unjudged) == (0, 0, [])


def test_a_photograph_of_many_copies_is_one_row() -> None:
    some = Collection(6, 6, copies=20)
    some.labels[0] = 1
    found = some.check()
    assert list(found.doubtful["file"]) == [some.name(0)]
    assert found.photographs == 12


def test_species_of_few_photographs() -> None:
    some = Collection(12, 2, 1, 3)
    found = some.check()
    assert found.unjudged == ["001"]
    assert found.photographs == 17
    assert not found.doubtful["species"].eq("001").any()
    some.labels[12] = 0  # of two photographs one is left, which is not judged either
    found = some.check()
    assert found.unjudged == ["Bar é", "001"]


def test_two_species_of_two_photographs_are_the_least() -> None:
    assert Collection(2, 2).check().photographs == 4
    with pytest.raises(UserError, match="two need two photographs each"):
        Collection(5, 1).check()


def test_a_photograph_under_several_species_is_doubted_under_all_but_the_likeliest() -> None:
    some = Collection(10, 10, 10)
    own = len(some.features)
    some.features = np.concatenate([some.features, some.features[[0, 25, 25]]])
    reasons = ("x and y", "y and z")
    rejected = pd.DataFrame(
        [
            ("Bar é/x.jpg", SPECIES[1], own, reasons[0]),
            ("Dorade, royale/y.jpg", SPECIES[0], own, reasons[0]),
            ("001/y.jpg", SPECIES[2], own + 1, reasons[1]),
            ("Bar é/z.jpg", SPECIES[1], own + 1, reasons[1]),
            ("Bar é/z 2.jpg", SPECIES[1], own + 2, reasons[1]),
            ("001/broken.jpg", SPECIES[2], -1, "not an image"),
        ],
        columns=["file", "species", "index", "reason"],
    )
    found = some.check(rejected).doubtful
    said = found[["file", "species", "suggested", "reason"]].to_numpy().tolist()
    assert sorted(said) == [
        ["001/y.jpg", SPECIES[2], SPECIES[1], "duplicate"],
        ["Bar é/x.jpg", SPECIES[1], SPECIES[0], "duplicate"],
    ]


@pytest.mark.parametrize("moved", [0, 10])
def test_of_look_alikes_the_one_is_doubted_that_fits_less(moved: int) -> None:
    some = Collection(10, 10, 10)
    some.alike = {0: 1, 1: 0, 10: 11, 2: 3}
    some.features[2 * 11 : 2 * 12] = some.features[2 * 10 : 2 * 11]
    some.labels[moved] = 2
    found = some.check().doubtful
    said = found[["file", "suggested", "reason"]].to_numpy().tolist()
    assert said == [[some.name(moved), SPECIES[some.truth[moved]], "look-alike"]]


def test_look_alikes_that_fit_their_species_come_last() -> None:
    some = Collection(10, 10)
    some.alike = {3: 14}
    some.labels[7] = 1
    found = some.check().doubtful
    assert list(found["reason"]) == ["label", "look-alike"]
    assert found["file"][1] in (some.name(3), some.name(14))


def test_features_are_averaged_over_copies_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    some = Collection(7, 7, copies=3)
    rows, number = np.arange(42), np.arange(42) // 3
    whole = mean_features(rows, number, some.take)
    means = some.features.reshape(14, 3, 16).mean(1)
    np.testing.assert_allclose(
        whole, means / np.linalg.norm(means, axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )
    monkeypatch.setattr(out_of_sample, "_BLOCK", 5)
    np.testing.assert_allclose(mean_features(rows, number, some.take), whole, rtol=1e-6)
