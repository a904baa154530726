"""How often `fishline watch` alarms without cause, and after how many photographs with one.

    python benchmarks/watch.py FOLDER [--weeks 200] [--repeats 21] [--seed 0]

FOLDER is a project whose stage `evaluate` has run; its base model is asked about its test
photographs, one file of each. For each week they are divided anew by lot: one half is the
reference, the other half is what comes in. First, weeks without a change: the share of them in
which each test alarms, at the rate of one look (RATE / LOOKS), and at 5 %, which is easier to
measure. `fishline` is the test of monitoring/drift.py. Others, of the same photographs: its T²
without regard to species, a Kolmogorov-Smirnov test of each feature (Bonferroni), as
alibi-detect's KSDrift has it, and a classifier that tells the two from each other. `another mix`
has a week of other shares of the species, drawn from Dirichlet(1): a change, but none of the
model's.

Then, where there are photographs enough, three places that are looked at daily, and how much of a
change a small reference sees. Last, the changes, each in all photographs but for `a new species`:
the median number of photographs after which each test alarms, as they come in one by one (looked at
by the numbers in STEPS).
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from report import print_table
from scipy.stats import ks_2samp, mannwhitneyu
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from fishline.core.params import Params, load_params
from fishline.core.paths import MODELS
from fishline.core.roles import BASE, active
from fishline.data.dataset import Images, model_images
from fishline.models.taxonomy import SPECIES
from fishline.models.trained_model import TrainedModel
from fishline.monitoring import drift
from fishline.monitoring.drift import LOOKS, RATE, Pair, Sample
from fishline.monitoring.reference import one_file_each
from fishline.serving.answer_log.schema import project

STEPS = (5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160)
NEW = 0.1  # share of the new species
WEEKLY, REFERENCES = 50, (20, 50, 100, 200, 400)
Test = Callable[[Sample, Sample], float]


def darker(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.5)


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(image.width / 100))


def another_camera(image: Image.Image) -> Image.Image:
    """Wider by a third, squeezed into the square as any photograph is, and recompressed."""
    edge, cut = image.width, image.width // 8
    wide = image.crop((0, cut, edge, edge - cut)).resize((edge, edge))
    out = io.BytesIO()
    wide.save(out, "JPEG", quality=40)
    return Image.open(out).convert("RGB")


CHANGES = {"darker by half": darker, "blurred": blurred, "another camera": another_camera}


def one_each(images: Images) -> Images:
    """A file of each photograph, by lot: the first by name may be the one that is not turned."""
    return images.at(torch.from_numpy(np.sort(one_file_each(images))))


def answered(model: TrainedModel, images: Images) -> Sample:
    embeddings, _ = model.embed_images(images)
    return sample(model, embeddings)


def sample(model: TrainedModel, embeddings: torch.Tensor) -> Sample:
    predictions = model.answer(embeddings)
    likeliest = np.array(model.config.species, object)[predictions.probabilities.argmax(1)]
    unsure = predictions.answers.ranks != SPECIES
    confidence = predictions.probabilities.max(1)
    numbers = np.c_[project(embeddings.numpy()), predictions.distances, confidence]
    return Sample(numbers, likeliest, unsure)


def changed(
    model: TrainedModel, images: Images, change: Callable[[Image.Image], Image.Image]
) -> Sample:
    embeddings = []
    for pixels, _ in images.batches(torch.arange(len(images)), 64):
        made = [np.asarray(change(Image.fromarray(one.numpy()))) for one in pixels]
        embeddings.append(model.embed(torch.from_numpy(np.stack(made))))
    return sample(model, torch.cat(embeddings))


def of(whole: Sample, rows: np.ndarray) -> Sample:
    return Sample(whole.numbers[rows], whole.species[rows], whole.unsure[rows])


def ours(reference: Sample, week: Sample) -> float:
    return min(drift.p_values({"": Pair(reference, week)}).values(), default=1)


def ours_with_mix(reference: Sample, week: Sample) -> float:
    return min(drift.p_values({"": Pair(reference, week, usual=True)}).values())


def without_species(reference: Sample, week: Sample) -> float:
    old, new = (Sample(s.numbers, np.full(len(s), "", object), s.unsure) for s in (reference, week))
    return drift.p_values({"": Pair(old, new)})["", drift.LOOK]


def kolmogorov_smirnov(reference: Sample, week: Sample) -> float:
    columns = zip(reference.numbers.T, week.numbers.T, strict=True)
    return float(min(ks_2samp(a, b).pvalue for a, b in columns) * reference.numbers.shape[1])


def classifier(reference: Sample, week: Sample) -> float:
    """Lopez-Paz & Oquab 2017: told from each other out of sample better than by chance?"""
    features = np.r_[reference.numbers, week.numbers]
    is_new = np.repeat([0, 1], [len(reference), len(week)])
    model = LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
    said = cross_val_predict(model, features, is_new, cv=5, method="predict_proba")[:, 1]
    return float(mannwhitneyu(said[is_new == 1], said[is_new == 0], alternative="greater").pvalue)


TESTS: Mapping[str, Test] = {
    "fishline": ours,
    "fishline, with the mix": ours_with_mix,
    "T², all species together": without_species,
    "KS, each feature": kolmogorov_smirnov,
    "classifier": classifier,
}


def halves(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(count)
    return order[: count // 2], order[count // 2 :]


def mixed(labels: np.ndarray, rows: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """`size` of `rows`, as far as there are so many, in other shares of their species."""
    kinds = np.unique(labels)
    weights = dict(zip(kinds, rng.dirichlet(np.ones(len(kinds))), strict=True))
    share = np.array([weights[label] for label in labels[rows]])
    return rng.choice(rows, min(size, len(rows)), replace=False, p=share / share.sum())


def false_alarms(plain: Sample, labels: np.ndarray, weeks: int, seed: int) -> Iterator[list[str]]:
    rng = np.random.default_rng(seed)
    sizes = [size for size in (10, 20, 50, 150) if size <= len(plain) // 2]
    for size, is_mixed in [(size, False) for size in sizes] + [(sizes[-1] // 2, True)]:
        found: dict[str, list[float]] = {name: [] for name in TESTS}
        for _ in range(weeks):
            old, new = halves(len(plain), rng)
            new = mixed(labels, new, size, rng) if is_mixed else new[:size]
            for name, test in TESTS.items():
                found[name].append(test(of(plain, old), of(plain, new)))
        shares = [
            np.mean(np.array(p)[:, None] < [RATE / LOOKS, 0.05], axis=0) for p in found.values()
        ]
        title = f"{size} a week" + (", another mix" if is_mixed else "")
        yield [title, *(f"{low:.1%} / {high:.1%}" for low, high in shares)]


def daily(plain: Sample, weeks: int, seed: int) -> int:
    """Weeks with a false alarm at any of three places on any of seven days, 10 more a day."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(weeks):
        old, new = halves(len(plain), rng)
        places = {name: new[70 * number :] for number, name in enumerate("abc")}
        for day in range(1, LOOKS + 1):
            come = {name: of(plain, rows[: 10 * day]) for name, rows in places.items()}
            pairs = {name: Pair(of(plain, old), week) for name, week in come.items()}
            if min(drift.p_values(pairs).values()) < RATE / LOOKS:
                found += 1
                break
    return found


def noticed(test: Test, reference: Sample, week: Sample) -> float:
    """After how many photographs of `week`; infinite if after none."""
    for step in (step for step in STEPS if step <= len(week)):
        if test(reference, of(week, np.arange(step))) < RATE / LOOKS:
            return step
    return np.inf


def delays(
    plain: Sample, kinds: Mapping[str, Sample], labels: np.ndarray, repeats: int, seed: int
) -> Iterator[list[str]]:
    for name, come in kinds.items():
        found: dict[str, list[float]] = {test: [] for test in TESTS}
        rng = np.random.default_rng(seed)
        for repeat in range(repeats):
            old, new = halves(len(plain), rng)
            if name == "one species gone":
                kinds_there = np.unique(labels)
                new = new[labels[new] != kinds_there[repeat % len(kinds_there)]]
            if name.startswith("a new species"):
                week = replaced(of(plain, new), come, rng.random(len(new)) < NEW, rng)
            else:
                week = of(come, new)
            for test in TESTS:
                found[test].append(noticed(TESTS[test], of(plain, old), week))
        yield [name, *(_median(values) for values in found.values())]


def powers(
    plain: Sample, kinds: Mapping[str, Sample], repeats: int, seed: int
) -> Iterator[list[str]]:
    """The share of weeks of `WEEKLY` in which fishline's test alarms, by the reference's size."""
    for name, come in kinds.items():
        rng, shares = np.random.default_rng(seed), []
        for size in REFERENCES:
            found = []
            for _ in range(repeats):
                order = rng.permutation(len(plain))
                week = of(come, order[size : size + WEEKLY])
                found.append(ours(of(plain, order[:size]), week) < RATE / LOOKS)
            shares.append(f"{np.mean(found):.0%}")
        yield [name, *shares]


def _median(values: list[float]) -> str:
    middle = float(np.median(values))
    caught = np.isfinite(values).mean()
    return (f"{middle:.0f}" if np.isfinite(middle) else "–") + f" ({caught:.0%})"


def replaced(week: Sample, strange: Sample, where: np.ndarray, rng: np.random.Generator) -> Sample:
    rows = rng.choice(len(strange), int(where.sum()))
    values = [getattr(week, name).copy() for name in ("numbers", "species", "unsure")]
    for value, name in zip(values, ("numbers", "species", "unsure"), strict=True):
        value[where] = getattr(strange, name)[rows]
    return Sample(*values)


def asked(
    description: str, repeats: int
) -> tuple[argparse.Namespace, Params, TrainedModel, Images]:
    """The options; of the project that they name, its parameters, base model and test photographs.

    The process is in the project's folder then.
    """
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--weeks", type=int, default=200)
    options.add_argument("--repeats", type=int, default=repeats)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    os.chdir(chosen.folder)
    params = load_params()
    model = TrainedModel.load(MODELS / BASE.folder)
    return chosen, params, model, one_each(model_images(BASE, params)["test"])


def main() -> None:
    chosen, params, model, test = asked(__doc__, repeats=21)
    plain, labels = answered(model, test), test.table["species"].to_numpy()
    head = ["", *TESTS]
    print(f"{len(plain)} photographs: alarms without a change, at {RATE / LOOKS:.2%} / 5 %\n")
    print_table([head, *false_alarms(plain, labels, chosen.weeks, chosen.seed)])
    if len(plain) >= 2 * 3 * 10 * LOOKS:
        alarmed = daily(plain, chosen.weeks, chosen.seed)
        print(f"\nthree places, looked at daily: an alarm in {alarmed} of {chosen.weeks} weeks")
    kinds = {name: changed(model, test, change) for name, change in CHANGES.items()}
    if len(test) >= WEEKLY + max(REFERENCES):
        print(f"\nnoticed in a week of {WEEKLY}, by the number of photographs in the reference\n")
        sizes = [f"{size}" for size in REFERENCES]
        print_table([["", *sizes], *powers(plain, kinds, chosen.repeats, chosen.seed)])
    for role in active(params)[1:]:
        others = one_each(model_images(role, params)["test"])
        kinds[f"a new species, {NEW:.0%}"] = answered(model, others)
    kinds["one species gone"] = plain
    print("\nnoticed after so many photographs (median; share noticed within all there are)\n")
    print_table([head, *delays(plain, kinds, labels, chosen.repeats, chosen.seed)])


if __name__ == "__main__":
    main()
