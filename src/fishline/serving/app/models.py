"""The models that the page offers, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fishline.core.files import read_json
from fishline.core.paths import MODELS, run_record
from fishline.core.roles import ROLES
from fishline.models.artifact import ModelConfig
from fishline.serving.app.answers import percent
from fishline.serving.default_model import roles_by_use
from fishline.tracking import versions
from fishline.tracking.provenance import project_root
from fishline.tracking.store import tracking_uri
from fishline.tracking.versions import CHAMPION, Version

NOTHING = (
    "There is no trained model here. `dvc repro` in the project's folder trains and registers "
    "models; `fishline app` must be started in that folder, or with `MLFLOW_TRACKING_URI` set to "
    "the store that has them."
)
SPLITS = {
    "grouped": "by whole photographs: none of the test photographs was trained on",
    "given": "as it was given: what is known to be shared stands in the report",
    "stratified": "by single images: with copies in training, the accuracy promises too much",
    "random": "by single images: with copies in training, the accuracy promises too much",
}


@dataclass(frozen=True)
class Choice:
    """A model that can be asked.

    name:    what `predict.load` takes: fish-finetuned/3, or a folder
    state:   another as soon as the name stands for something else
    version: None for a folder
    """

    name: str
    state: str
    version: Version | None = None

    @property
    def label(self) -> str:
        aliases = ", ".join(self.version.aliases) if self.version else "not registered"
        return f"{self.name} ({aliases})" if aliases else self.name


def registered() -> list[Choice]:
    """All versions in the store: champions first, then by use, the newest first.

    Raises:
        UserError: the store cannot be reached or used.
    """
    store = project_root() / "mlflow.db"
    if tracking_uri() == f"sqlite:///{store}" and not store.is_file():
        return []  # looking into it would make it
    names = [role.registered for role in roles_by_use()]
    registered = [version for name in names for version in versions.versions(name)]
    registered.sort(key=lambda version: CHAMPION not in version.aliases)
    return [Choice(str(version), version.run_id, version) for version in registered]


def folders() -> list[Choice]:
    """The models that `dvc repro` or `dvc pull` left in this folder."""
    choices = []
    for folder in (MODELS / name for name in reversed(ROLES)):
        files = [folder / "model.json", folder / "model.safetensors"]
        if all(file.is_file() for file in files):
            choices.append(Choice(str(folder), str([file.stat().st_mtime_ns for file in files])))
    return choices


def others(choice: Choice, choices: Sequence[Choice]) -> list[Choice]:
    """What a model can be compared with: other versions of the same first."""
    name = choice.name.partition("/")[0]
    rest = [other for other in choices if other != choice]
    return sorted(rest, key=lambda choice: choice.name.partition("/")[0] != name)


def about(choice: Choice, config: ModelConfig) -> dict[str, str]:
    """What is known of a model, in words: where it comes from and how good it is."""
    rows = {"Model": choice.label, "Species it knows": ", ".join(config.species)}
    if choice.version is None:
        return rows | {"Test and training data": SPLITS[config.split]} | _run_of(choice)
    facts = versions.as_dict(choice.version, None)
    changed = ", with changes beyond it" if facts["dirty"] else ""
    known = {
        "Accuracy": _accuracy(choice.version),
        "Fish of other species": _others(choice.version),
        "Test and training data": SPLITS.get(facts["split"] or "", facts["split"]),
        "Trained": facts["created"].replace("T", " ").replace("+00:00", " UTC"),
        "MLflow run": facts["run_id"],
        "Git commit": facts["commit"] and facts["commit"] + changed,
        "DVC experiment": facts["experiment"],
        "Data (hash)": facts["data_hash"],
    }
    return rows | {name: text for name, text in known.items() if text}


def _run_of(choice: Choice) -> dict[str, str]:
    record = run_record(choice.name.rpartition("/")[2])
    return {"MLflow run": read_json(record)["run_id"]} if record.is_file() else {}


def _accuracy(version: Version) -> str:
    names = "accuracy", "accuracy_low", "accuracy_high", "images", "photographs"
    share, low, high, images, photographs = (version.metrics.get(f"test_{n}") for n in names)
    if share is None:
        return "not tested yet; `dvc repro evaluate` does"
    text = f"right on {percent(share)} of the test images"
    if images and photographs:
        text += f" ({images:.0f}, made of {photographs:.0f} photographs)"
    if low is not None and high is not None:
        text += f"; 95 % interval {percent(low)} to {percent(high)}"
    return text


def _others(version: Version) -> str | None:
    noticed = version.metrics.get("test_others_told_unknown")
    if noticed is None:
        return None
    return f"of test images of species that it does not know, {percent(noticed)} are called unknown"
