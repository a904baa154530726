"""The two models, and what each is called in files, in the graph and in the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fishline.core.params import Params


@dataclass(frozen=True)
class Role:
    """One of the two models.

    folder:     below models/; also in the names of its files in metrics/ and plots/
    task:       what it is trained for: a section of params.yaml, a table in data/split
    stage:      of dvc.yaml, that trains it
    registered: its name in MLflow's registry
    """

    folder: str
    task: str
    stage: str
    registered: str

    def extends(self, params: Params) -> bool:
        """Whether it is for the base species, too, and not for those of its own task alone."""
        return self == FINETUNED and params.finetune.mode == "extend"

    def tasks(self, params: Params) -> tuple[str, ...]:
        """The tasks whose species it tells apart, in the order of its logits."""
        return (BASE.task, self.task) if self.extends(params) else (self.task,)

    def title(self, params: Params) -> str:
        """The model in words."""
        if self.extends(params):
            return "Extended model"
        return "Base model" if self == BASE else "Fine-tuned model"


BASE = Role("base", task="base", stage="train-base", registered="fish-base")
FINETUNED = Role("finetuned", task="finetune", stage="finetune", registered="fish-finetuned")
ROLES = {role.folder: role for role in (BASE, FINETUNED)}

NO_FINETUNED = "finetune.species in params.yaml is empty: there is no fine-tuned model"


def active(params: Params) -> list[Role]:
    """Those of `ROLES` that have species: with one list, the base model alone."""
    return [role for role in ROLES.values() if getattr(params, role.task).species]
