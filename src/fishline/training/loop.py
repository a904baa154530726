"""The training loop: epochs until the last or until nothing improves, and the best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import torch
from tqdm import tqdm

from fishline.core.training_params import Keep
from fishline.training.batches import Inputs
from fishline.training.trainer import EpochState, State, Trainer


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; the names are those of the logged metrics.

    images_per_second: None if it was resumed after its last step, with none left to time
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    lr: float
    images_per_second: float | None


@dataclass
class TrainingProgress:
    """How far a training has come.

    chosen:    the network of the epoch to keep, so far
    under_way: the epoch that is not finished
    """

    history: list[Epoch] = field(default_factory=list)
    chosen: State = field(default_factory=dict)
    under_way: EpochState | None = None

    def state_dict(self) -> State:
        """All of it as plain values and tensors."""
        steps = self.under_way
        return {
            "history": [asdict(epoch) for epoch in self.history],
            "chosen": self.chosen,
            "under_way": steps
            and {"rng": steps.rng, "losses": torch.stack(steps.losses), "lrs": steps.lrs},
        }

    @classmethod
    def of(cls, state: State, device: torch.device) -> TrainingProgress:
        """What `state_dict` gave."""
        steps = state["under_way"]
        under_way = steps and EpochState(
            steps["rng"], list(steps["losses"].to(device)), list(steps["lrs"])
        )
        return cls([Epoch(**epoch) for epoch in state["history"]], state["chosen"], under_way)


def fit(
    trainer: Trainer,
    validation: Inputs,
    progress: TrainingProgress,
    title: str,
    after_step: Callable[[], None] = lambda: None,
    after_epoch: Callable[[Epoch, EpochState], None] = lambda epoch, steps: None,
) -> list[Epoch]:
    """Run the epochs that `progress` leaves, then give the network the weights of `chosen_epoch`.

    Args:
        after_step, after_epoch: called when `progress` and the trainer's state can be saved.
        title: what the progress bar is called.
    """
    epochs = trainer.settings.epochs
    bar = tqdm(total=epochs, initial=len(progress.history), desc=title, unit="epoch", disable=None)
    while not is_over(progress.history, epochs, trainer.settings.patience):
        under_way = progress.under_way = progress.under_way or trainer.start_epoch()
        speed = trainer.run_epoch(under_way, after_step)
        epoch = _epoch(trainer, validation, under_way, len(progress.history) + 1, speed)
        progress.history.append(epoch)
        progress.under_way = None
        if chosen_epoch(progress.history, trainer.settings.keep) is epoch:
            progress.chosen = trainer.weights()
        bar.update()
        bar.set_postfix(loss=f"{epoch.train_loss:.3f}", val_accuracy=f"{epoch.val_accuracy:.3f}")
        after_epoch(epoch, under_way)
    bar.close()
    trainer.restore(progress.chosen)
    return progress.history


def _epoch(
    trainer: Trainer, validation: Inputs, steps: EpochState, number: int, speed: float | None
) -> Epoch:
    losses = torch.stack(steps.losses).cpu().double()
    size = trainer.settings.batch_size
    sizes = torch.full_like(losses, size)
    sizes[-1] = trainer.length - size * (len(losses) - 1)
    val_loss, val_accuracy = trainer.validate(validation)
    train_loss = float((losses * sizes).sum() / trainer.length)
    return Epoch(number, train_loss, val_loss, val_accuracy, steps.lrs[-1], speed)


def is_over(history: Sequence[Epoch], epochs: int, patience: int) -> bool:
    """All epochs done, or `patience` (if not 0) of them without a better one."""
    if len(history) >= epochs:
        return True
    return bool(patience and history) and len(history) - best_epoch(history).epoch >= patience


def chosen_epoch(history: Sequence[Epoch], keep: Keep) -> Epoch:
    """The epoch whose weights are kept (`keep`)."""
    return history[-1] if keep == "last" else best_epoch(history)


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """Highest validation accuracy; of equals, the one with the lowest validation loss."""
    return max(
        history,
        key=lambda e: (e.val_accuracy, -math.inf if math.isnan(e.val_loss) else -e.val_loss),
    )
