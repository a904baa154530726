"""The registered models: registered once, found by what people call them, fetched.

A registered model is addressed as `fish-finetuned/3`, `fish-finetuned@champion`, by MLflow's
`models:/…`, or by the id of the run that trained it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from fishline.core.errors import UserError
from fishline.core.roles import ROLES
from fishline.tracking.metric_buffer import LOST
from fishline.tracking.store import connect, store_lock, tracking_uri

SIZE = "weights.bytes"  # tag of a version
PAGE = 100  # runs in one request
CHAMPION = "champion"  # alias of the version that is served


@dataclass(frozen=True)
class Version:
    """One registered version.

    tags:            its own: where it comes from, what a gate said of it
    metrics, params: of the run that trained it; metrics' names begin with `test_` where they are
                     of the test images
    created:         in UTC
    """

    name: str
    number: int
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created: datetime
    metrics: Mapping[str, float]
    params: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    @property
    def model(self) -> str:
        """The folder below models/ that it was made in: base or finetuned."""
        return next((r.folder for r in ROLES.values() if r.registered == self.name), self.name)


def register(model: str, run_id: str, model_id: str, tags: Mapping[str, str]) -> int:
    """Register a logged model once, however often asked; its version."""
    store = mlflow.MlflowClient()
    name = ROLES[model].registered
    with store_lock():
        there = store.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'")
        if there:
            return int(there[0].version)
        size = _listed_size(f"models:/{model_id}")
        own = {"run_id": run_id} | ({} if size is None else {SIZE: str(size)})
        registered = mlflow.register_model(f"models:/{model_id}", name, tags={**tags, **own})
    return int(registered.version)


def versions(name: str) -> list[Version]:
    """All versions of a model, the newest first; none if the model is not registered."""
    store = connect()
    registered = store.search_model_versions(f"name = '{name}'")
    if not registered:
        return []
    aliases = _aliases(store, name)
    runs = _runs(store, [str(version.run_id) for version in registered])
    newest = sorted(registered, key=lambda version: int(version.version), reverse=True)
    return [_version(version, runs.get(str(version.run_id)), aliases) for version in newest]


def _runs(store: mlflow.MlflowClient, ids: list[str]) -> dict[str, Run]:
    """Runs by id, also deleted ones, in one request for many; without those that are gone."""
    experiments = [e.experiment_id for e in store.search_experiments(view_type=ViewType.ALL)]
    runs: dict[str, Run] = {}
    for start in range(0, len(ids), PAGE):
        quoted = ", ".join(f"'{run_id}'" for run_id in ids[start : start + PAGE])
        condition = f"attributes.run_id IN ({quoted})"
        page = store.search_runs(experiments, condition, ViewType.ALL, max_results=PAGE)
        runs |= {run.info.run_id: run for run in page}
    return runs


def find(reference: str) -> Version:
    """The version that `reference` names: name/number, name@alias, name (its champion), run id.

    Raises:
        UserError: there is no such version; the message says what there is.
    """
    store = connect()
    text = reference.removeprefix("models:/")
    if re.fullmatch(r"[0-9a-f]{8,32}", text):
        return _of_run(store, text)
    name, separator, rest = re.fullmatch(r"([^/@]*)([/@]?)(.*)", text).groups()  # type: ignore[union-attr]
    try:
        if separator == "/":
            registered = store.get_model_version(name, rest)
        else:
            registered = store.get_model_version_by_alias(name, rest or CHAMPION)
    except MlflowException:
        raise UserError(_unknown(store, reference, name)) from None
    return _with_run(store, registered)


def _of_run(store: mlflow.MlflowClient, run_id: str) -> Version:
    """The version trained by the run whose id begins with `run_id`."""
    registered = [
        version
        for role in ROLES.values()
        for version in store.search_model_versions(f"name = '{role.registered}'")
        if str(version.run_id).startswith(run_id)
    ]
    if len(registered) != 1:
        several = f"{len(registered)} registered models are of runs that begin with"
        raise UserError(f"{several if registered else 'no registered model is of run'} {run_id}")
    return _with_run(store, registered[0])


def _unknown(store: mlflow.MlflowClient, reference: str, name: str) -> str:
    """What to say of a reference that leads nowhere."""
    there = {model.name: model for model in store.search_registered_models()}
    if name not in there:
        names = ", ".join(sorted(there)) or "none; `dvc repro` trains and registers models"
        return f"{reference}: {tracking_uri()} has no registered model '{name}'. It has: {names}"
    numbers = sorted(int(v.version) for v in store.search_model_versions(f"name = '{name}'"))
    aliases = ", ".join(sorted(there[name].aliases)) or "none"
    have = f"{name} has the versions {', '.join(map(str, numbers))} and the aliases: {aliases}"
    wanted = reference.removeprefix("models:/")
    if wanted in (name, f"{name}@{CHAMPION}"):
        return (
            f"{name} has no champion yet. `fishline promote {name}` makes its newest version the "
            f"champion; {name}/{max(numbers, default=1)} names a version. {have}."
        )
    return f"{reference}: there is no such version. {have}."


def _aliases(store: mlflow.MlflowClient, name: str) -> dict[str, list[str]]:
    """Aliases by version. A version that was found by search does not say its own."""
    named: dict[str, list[str]] = {}
    for alias, number in store.get_registered_model(name).aliases.items():
        named.setdefault(str(number), []).append(alias)
    return named


def _with_run(store: mlflow.MlflowClient, registered: ModelVersion) -> Version:
    try:
        run = store.get_run(str(registered.run_id))
    except MlflowException:  # deleted for good
        run = None
    return _version(registered, run, _aliases(store, registered.name))


def _version(
    registered: ModelVersion, run: Run | None, aliases: Mapping[str, list[str]]
) -> Version:
    return Version(
        name=registered.name,
        number=int(registered.version),
        run_id=str(registered.run_id),
        aliases=tuple(sorted(aliases.get(str(registered.version), []))),
        tags=dict(registered.tags),
        created=datetime.fromtimestamp(registered.creation_timestamp / 1000, UTC),
        metrics=dict(run.data.metrics) if run else {},
        params=dict(run.data.params) if run else {},
    )


def fetch(version: Version, folder: Path) -> Path:
    """Download a registered model into `folder`; the folder in it that `models.load` reads.

    Raises:
        UserError: files of it are gone.
    """
    try:
        whole = mlflow.artifacts.download_artifacts(
            f"models:/{version.name}/{version.number}", dst_path=str(folder)
        )
    except (*LOST, OSError) as error:
        raise UserError(f"the files of {version} cannot be had: {error}") from None
    for description in Path(whole).glob("artifacts/*/model.json"):
        return description.parent
    raise UserError(f"the files of {version} are gone, or are not fishline's: no model.json")


def run_file(version: Version, path: str, folder: Path) -> Path | None:
    """Download one file of the run that trained `version`; None if it has no such file."""
    try:
        file = mlflow.artifacts.download_artifacts(
            run_id=version.run_id, artifact_path=path, dst_path=tempfile.mkdtemp(dir=folder)
        )
    except (*LOST, OSError):
        return None
    return Path(file)


def require_versions(name: str) -> list[Version]:
    """All versions of `name`, the newest first.

    Raises:
        UserError: there are none.
    """
    registered = versions(name) if "'" not in name else []  # MLflow's search cannot quote it
    if not registered:
        others = (role.registered for role in ROLES.values() if role.registered != name)
        there = ", ".join(other for other in others if versions(other)) or "none"
        raise UserError(
            f"{tracking_uri()} has no registered model '{name}'; it has: {there}. "
            "`dvc repro` trains and registers models."
        )
    return registered


def weights_size(version: Version) -> int | None:
    """Bytes of the weights of a registered model; None if its files are gone."""
    if size := version.tags.get(SIZE):
        return int(size)
    return _listed_size(f"models:/{version.name}/{version.number}")


def _listed_size(root: str) -> int | None:
    """Bytes of the weights below a model's URI, by two requests."""
    try:
        inside = mlflow.artifacts.list_artifacts(f"{root}/artifacts")
        files: list[Any] = [
            file
            for folder in inside
            if folder.is_dir
            for file in mlflow.artifacts.list_artifacts(f"{root}/{folder.path}")
        ]
    except (*LOST, OSError):
        return None
    sizes = [file.file_size for file in files if file.path.endswith("/model.safetensors")]
    return int(sizes[0]) if sizes and sizes[0] is not None else None


def as_dict(version: Version, size: int | None) -> dict[str, Any]:
    """All that is known of a version, ready for JSON; None for what its run did not log."""
    tags, metrics = version.tags, version.metrics
    low, high = metrics.get("test_accuracy_low"), metrics.get("test_accuracy_high")
    return {
        "model": version.name,
        "version": version.number,
        "aliases": list(version.aliases),
        "experiment": tags.get("dvc.exp"),
        "commit": tags.get("git.commit"),
        "dirty": {"true": True, "false": False}.get(tags.get("git.dirty", "")),
        "data_hash": tags.get("data.hash"),
        "split": tags.get("split.strategy"),
        "test_accuracy": metrics.get("test_accuracy"),
        "test_accuracy_interval": None if low is None or high is None else [low, high],
        "worst_recall": metrics.get("test_worst_recall"),
        "bytes": size,
        "created": version.created.isoformat(timespec="seconds"),
        "run_id": version.run_id,
        "tags": dict(tags),
        "metrics": dict(metrics),
        "params": dict(version.params),
    }
