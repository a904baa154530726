"""All that the report and the model card say of one model, gathered from files and the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fishline.core.errors import UserError
from fishline.core.files import read_csv, read_json, require
from fishline.core.params import Params
from fishline.core.paths import CACHE, METRICS, PLOTS, SUBSETS, run_record
from fishline.core.roles import FINETUNED, ROLES
from fishline.core.training_params import Recipe
from fishline.data.cache import Cache
from fishline.data.dataset import Images
from fishline.data.prepare.colour_baseline import ColourBaseline, colour_baseline
from fishline.evaluation import figures
from fishline.evaluation.comparison import (
    Comparison,
    FreezeVariant,
    against_champion,
    freeze_variants,
)
from fishline.evaluation.mistakes import Shown, mistakes
from fishline.evaluation.replicates import Replicates, over_seeds
from fishline.evaluation.shared import Shared
from fishline.evaluation.statistics import group_of
from fishline.evaluation.test_run import TestRun
from fishline.models.transfer import count, learning
from fishline.tracking import search, versions
from fishline.tracking.search import Run
from fishline.tracking.versions import Version


@dataclass(frozen=True)
class ReportData:
    """One model.

    name:       in words
    summary:    as in metrics/evaluate.json and metrics/reliability.json
    counts:     a row per species: `<part>_images` and `<part>_photographs`
    recipe:     what it was trained with, in words
    audits:     of the split, as metrics/split.json has it, by task
    shared:     accuracy by what test images share with training
    curves, reliability: SVG
    version, run: None if the store does not have them
    leaky:      runs of the same data whose split lets copies through, newest first
    over_seeds: runs of the same recipe with other values of `seed`, of `split.seed`
    freeze_variants: fine-tuning alone: what was frozen
    """

    model: str
    name: str
    test_run: TestRun
    summary: Mapping[str, float]
    counts: pd.DataFrame
    recipe: Mapping[str, str]
    audits: Mapping[str, Mapping[str, Any]]
    shared: Sequence[Shared]
    colour_baseline: ColourBaseline
    shown: Sequence[Shown]
    curves: Sequence[str]
    reliability: str
    version: Version | None
    run: Run | None
    leaky: Sequence[Run]
    champion: Comparison | None
    over_seeds: Mapping[str, Replicates]
    freeze_variants: Sequence[FreezeVariant]

    @property
    def unit(self) -> str:
        """What the interval counts as one trial."""
        tested = self.test_run.predictions
        return (
            "group" if group_of(tested).nunique() < tested["original"].nunique() else "photograph"
        )

    @property
    def copies(self) -> int:
        """Test images with a copy in training."""
        return sum(audit["test_images_with_a_copy_in_train"] for audit in self.audits.values())


def gather(
    model: str,
    test_run: TestRun,
    images: Mapping[str, Images],
    summary: Mapping[str, float],
    params: Params,
) -> ReportData:
    """What there is to say of `models/<model>` and its `test_run` on `images["test"]`."""
    table = pd.concat([subset.table for subset in images.values()], ignore_index=True)
    role = ROLES[model]
    history = read_csv(require(PLOTS / f"{role.stage}.csv", role.stage))
    audits = read_json(require(METRICS / "split.json", "split"))
    version = _version(model)
    run = search.get_run(version.run_id) if version else None
    return ReportData(
        model=model,
        name=role.title(params),
        test_run=test_run,
        summary=summary,
        counts=counts(table, test_run.config.species),
        recipe=recipe(model, test_run, history, params),
        audits={task: audits[task] for task in role.tasks(params)},
        shared=test_run.shared_with(images["train"].table),
        colour_baseline=colour_baseline(table, Cache(CACHE), params.seed),
        shown=mistakes(test_run, images["test"]),
        curves=figures.curves_svg(history),
        reliability=_reliability(test_run),
        version=version,
        run=run,
        leaky=leaky_runs(run) if run else [],
        champion=against_champion(version) if version else None,
        over_seeds=over_seeds(run) if run else {},
        freeze_variants=freeze_variants(version, run)
        if version and run and role == FINETUNED
        else [],
    )


def _version(model: str) -> Version | None:
    record = read_json(require(run_record(model), ROLES[model].stage))
    try:
        return versions.find(f"{record['name']}/{record['version']}")
    except UserError:  # models can come without the store they were registered in
        return None


def counts(table: pd.DataFrame, species: Sequence[str]) -> pd.DataFrame:
    """Images and photographs of each species in each part."""
    columns = {}
    for subset in SUBSETS:
        of_subset = table[table["part"] == subset].groupby("species")["original"]
        columns[f"{subset}_images"] = of_subset.size()
        columns[f"{subset}_photographs"] = of_subset.nunique()
    return pd.DataFrame(columns).reindex(list(species)).fillna(0).astype(int)


def recipe(model: str, test_run: TestRun, history: pd.DataFrame, params: Params) -> dict[str, str]:
    """What a model was trained with."""
    tuned, described = ROLES[model] == FINETUNED, test_run.config
    network = test_run.model.network
    network.materialize()
    own: Recipe = params.finetune if tuned else params
    trained = params.finetune.train if tuned else params.base.train
    learnt = count(learning(network, trained, params.frozen_blocks))
    weights = params.model.weights
    if weights in ("none", "default"):
        weights = "pretrained weights" if params.model.is_pretrained else "random weights"
    return {
        "network": f"{described.network}, {described.image_size} × {described.image_size} pixels",
        "started from": "the base model" if tuned else weights,
        "parameters": f"{count(network.parameters()):,}, of which {learnt:,} learnt ({trained})",
        "epochs": f"{len(history)} of {own.epochs}, kept: {params.keep}",
        "learning rate": f"{own.lr:g}, {params.schedule}, {params.optimizer}",
        "images in a step": f"{own.batch_size}, {'augmented' if own.augment else 'as they are'}",
        "unequal species": own.balance,
        "split": f"{params.split.strategy}, seed {params.split.seed}",
        "seed": str(params.seed),
    }


def _reliability(test_run: TestRun) -> str:
    right = test_run.predictions["species"] == test_run.predictions["predicted"]
    return figures.reliability_svg(test_run.confidence.to_numpy(), right.to_numpy())


def leaky_runs(run: Run) -> list[Run]:
    """Tested runs that differ in the split alone, which is not by photograph, newest first."""
    if run.params.get("split.strategy") != "grouped":
        return []
    finished = search.runs(
        f"tags.`dvc.stage` = '{run.tags.get('dvc.stage')}' "
        f"AND tags.`data.hash` = '{run.tags.get('data.hash')}' "
        "AND tags.`split.strategy` != 'grouped'"
    )
    return [
        r
        for r in finished
        if r.params.get("split.strategy") != "given"
        and "test_accuracy" in r.metrics
        and _recipe(r) == _recipe(run)
    ]


def _recipe(run: Run) -> dict[str, str]:
    return {key: value for key, value in run.params.items() if key != "split.strategy"}
