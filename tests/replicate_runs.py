"""Runs in a real store, as trainings that differ in their parameters leave them."""

from collections.abc import Mapping
from itertools import count

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

from fishline.tracking.run import CONTEXTS
from fishline.tracking.store import experiment_name

PARAMS = {"lr": "0.1", "seed": "42", "split.seed": "42", "split.strategy": "grouped"}
PARAMS |= {"split.train": "0.7", "split.test": "0.2"}
TAGS = {"dvc.stage": "finetune", "data.hash": "d1"}
STARTED = count(1)  # milliseconds; a later run is newer


def trained(
    store: MlflowClient,
    accuracy: float | None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    test_images: str | None = None,
    status: str = "FINISHED",
    **metrics: float,
) -> str:
    """Make a run that differs from others in `params` and `tags`; its id.

    Args:
        accuracy: None for a run that was not tested.
        test_images: digest of its test images, by default one for each split and data.
    """
    experiment = store.get_experiment_by_name(experiment_name())
    assert experiment is not None
    tags, params = {**TAGS, **(tags or {})}, {**PARAMS, **(params or {})}
    run_id = str(store.create_run(experiment.experiment_id, next(STARTED), tags).info.run_id)
    metrics |= {} if accuracy is None else {"test_accuracy": accuracy}
    store.log_batch(
        run_id,
        [Metric(key, value, 0, 0) for key, value in metrics.items()],
        [Param(key, value) for key, value in params.items()],
    )
    tested = f"{tags['data.hash']}-{params['split.seed']}" if test_images is None else test_images
    inputs = {"train": "learnt", "test": tested}
    store.log_inputs(run_id, [_input(*item) for item in inputs.items() if item[1]])
    store.set_terminated(run_id, status)
    return run_id


def _input(subset: str, digest: str) -> DatasetInput:
    dataset = Dataset(f"finetune-{subset}", digest, "code", "{}")
    return DatasetInput(dataset, [InputTag("mlflow.data.context", CONTEXTS[subset])])
