"""Steps and validation: each as PyTorch's own, frozen where it says so, in any precision."""

import copy
import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from tiny import Dropping, small
from torch import nn
from torch.nn import functional as F

from fishline.core.errors import UserError
from fishline.core.training_params import Balance
from fishline.data.dataset import Images
from fishline.models.artifact import scale
from fishline.training.sampling import class_weights
from fishline.training.trainer import EpochState, Trainer

State = dict[str, torch.Tensor]
MakeTrainer = Callable[..., Trainer]


def state(network: nn.Module) -> State:
    return copy.deepcopy(dict(network.state_dict()))


def changed(before: State, after: State) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def run(trainer: Trainer, epochs: int = 1) -> list[EpochState]:
    passes = []
    for _ in range(epochs):
        passes.append(trainer.start_epoch())
        assert trainer.run_epoch(passes[-1]) > 0
    return passes


def losses(trainer: Trainer, epochs: int = 1) -> list[float]:
    return [float(loss) for steps in run(trainer, epochs) for loss in steps.losses]


def predict(trainer: Trainer, images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of `images`."""
    pixels = images.pixels[images.rows]
    with torch.no_grad():
        return trainer.network.eval()(trainer.normalize(scale(pixels))), images.labels


def assess(trainer: Trainer, images: Images) -> tuple[float, float]:
    return trainer.validate(trainer.validation(images))


@pytest.mark.parametrize(
    ("part", "prefixes"),
    [("head", ("classifier.7.",)), ("classifier", ("classifier.",)), ("all", ("",))],
)
def test_frozen_means_frozen(
    make_trainer: MakeTrainer, part: str, prefixes: tuple[str, ...]
) -> None:
    """Weights and batch-norm statistics of the frozen part stay bit for bit as they were."""
    trainer = make_trainer(part, weight_decay=0.1, lr=0.01, ema=0.9, augment=True, views=2)
    before = state(trainer.network)
    assert any(name.endswith("running_mean") for name in before)
    run(trainer, 2)
    moved = changed(before, state(trainer.network))
    assert moved == {name for name in before if name.startswith(prefixes)}
    counts = [n for k, n in trainer.network.state_dict().items() if k.endswith("tracked")]
    assert set(map(int, counts)) == {6 if part == "all" else 0}  # two epochs of 24 images in 8s


def test_each_step_is_one_of_plain_sgd(make_trainer: MakeTrainer, images: Images) -> None:
    trainer = make_trainer("head", optimizer="sgd", batch_size=24, lr=0.1, weight_decay=0.01)
    network = copy.deepcopy(trainer.network).eval()
    head = network.classifier[-1]
    optimizer = torch.optim.SGD(
        [{"params": [head.weight], "weight_decay": 0.01}, {"params": [head.bias]}],
        lr=0.1,
        momentum=0.9,
    )
    pixels = trainer.normalize(scale(images.pixels[images.rows]))
    for _ in range(3):
        run(trainer)
        optimizer.zero_grad()
        F.cross_entropy(network(pixels), images.labels).backward()
        optimizer.step()
    torch.testing.assert_close(state(trainer.network), state(network))


def test_a_pass_notes_the_loss_and_the_rate_of_each_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(network=small, schedule="cosine", epochs=2, batch_size=7)
    seen: list[tuple[int, int]] = []
    steps = trainer.start_epoch()
    trainer.run_epoch(steps, lambda: seen.append((len(steps.losses), len(steps.lrs))))
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)]
    rates = [0.001 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert steps.lrs == pytest.approx(rates[:4])
    assert run(trainer)[0].lrs == pytest.approx(rates[4:])
    assert all(loss.shape == () and not loss.requires_grad for loss in steps.losses)


@pytest.mark.parametrize("clip", [0.0, 1e-3, 1e6])
def test_clipping_limits_the_step(make_trainer: MakeTrainer, clip: float) -> None:
    trainer = make_trainer(
        network=small, optimizer="sgd", lr=1.0, weight_decay=0.0, batch_size=24, clip=clip
    )
    before = nn.utils.parameters_to_vector(trainer.network.parameters()).detach()
    run(trainer)  # one step: without momentum yet
    after = nn.utils.parameters_to_vector(trainer.network.parameters()).detach()
    length = float((after - before).norm())
    assert length == pytest.approx(1e-3, rel=1e-2) if clip == 1e-3 else length > 0.01


@pytest.mark.parametrize("balance", get_args(Balance))
def test_the_loss_is_weighted_for_class_weights_alone(
    make_trainer: MakeTrainer, make_images: Callable[..., Images], balance: str
) -> None:
    uneven = make_images(9, 2, 4)
    trainer = make_trainer(train=uneven, balance=balance)
    logits, labels = predict(trainer, uneven)
    weights = class_weights(uneven) if balance == "class_weights" else None
    expected = float(F.cross_entropy(logits, labels, weights))
    assert assess(trainer, uneven)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"label_smoothing": 0.2}, lambda *a: F.cross_entropy(*a, label_smoothing=0.2)),
        ({"loss": "multi_margin"}, F.multi_margin_loss),
        (
            {"label_smoothing": 0.2, "balance": "class_weights"},
            lambda *a: F.cross_entropy(*a, torch.tensor([2, 1, 2 / 3]), label_smoothing=0.2),
        ),
        (
            {"loss": "multi_margin", "balance": "class_weights"},
            lambda *a: F.multi_margin_loss(*a, weight=torch.tensor([2, 1, 2 / 3])),
        ),
    ],
    ids=["smoothed", "margin", "smoothed, weighted", "margin, weighted"],
)
def test_losses_are_pytorchs_means_in_training_and_validation(
    make_trainer: MakeTrainer,
    make_images: Callable[..., Images],
    options: dict[str, Any],
    expected: Callable[..., torch.Tensor],
) -> None:
    uneven, others = make_images(2, 4, 6), make_images(5, 1, 2)
    trainer = make_trainer(train=uneven, network=small, batch_size=12, **options)
    validated, trained = (float(expected(*predict(trainer, images))) for images in (others, uneven))
    assert assess(trainer, others)[0] == pytest.approx(validated, rel=1e-5)
    assert losses(trainer) == pytest.approx([trained], rel=1e-5)


def test_a_train_loss_is_that_of_its_batch(make_trainer: MakeTrainer, images: Images) -> None:
    """With nothing learnt in between, batches of any size give the same mean over images."""
    means = []
    for size in (24, 7):
        found = losses(make_trainer("head", batch_size=size, lr=1e-12))
        sizes = [min(size, 24 - first) for first in range(0, 24, size)]
        means.append(sum(n * x for n, x in zip(sizes, found, strict=True)) / 24)
    assert means[0] == pytest.approx(means[1], rel=1e-5)
    assert means[0] == pytest.approx(assess(make_trainer("head"), images)[0], rel=1e-5)


def test_a_last_batch_of_one_image_trains(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(batch_size=23)  # of 24
    assert all(map(math.isfinite, losses(trainer)))
    assert all(bool(p.isfinite().all()) for p in trainer.network.parameters())


def test_augmenting_is_for_training_alone(make_trainer: MakeTrainer, images: Images) -> None:
    plain, augmented = make_trainer(), make_trainer(augment=True)
    assert assess(plain, images) == assess(augmented, images)
    assert losses(plain)[0] != losses(augmented)[0]


def test_validating_changes_nothing(make_trainer: MakeTrainer, images: Images) -> None:
    trainer = make_trainer(ema=0.9)
    run(trainer)
    before, rng = state(trainer.network), trainer.rng.get_state()
    assert assess(trainer, images) == assess(trainer, images)
    assert not changed(before, state(trainer.network))
    assert torch.equal(rng, trainer.rng.get_state())


@pytest.mark.parametrize("batch", [256, 5])
def test_accuracy_and_loss_of_known_logits(
    make_trainer: MakeTrainer, images: Images, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """A head that always says species 0 is right in a third of the images."""
    monkeypatch.setattr("fishline.training.trainer.BATCH", batch)
    trainer = make_trainer()
    head = trainer.network.classifier[-1]
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    loss, accuracy = assess(trainer, images)
    assert accuracy == pytest.approx(1 / 3)
    total = math.log(math.e + 2)
    assert loss == pytest.approx((3 * total - 1) / 3)


def test_averaged_weights_are_validated_and_kept(make_trainer: MakeTrainer, images: Images) -> None:
    trainer = make_trainer(network=Dropping, ema=0.5, lr=0.01, batch_size=12)
    expected = state(trainer.network)

    def average() -> None:
        for name, live in trainer.network.state_dict().items():
            mixed = live.is_floating_point()
            expected[name] = 0.5 * expected[name] + 0.5 * live if mixed else live.clone()

    trainer.run_epoch(trainer.start_epoch(), average)
    live = state(trainer.network)
    torch.testing.assert_close(trainer.weights(), expected)
    assert not changed(live, state(trainer.network))
    found = assess(trainer, images)
    trainer.network.load_state_dict(expected)
    logits, labels = predict(trainer, images)
    assert found[0] == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert changed(live, expected)


def test_weights_are_a_copy(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(network=small)
    kept = trainer.weights()
    before = copy.deepcopy(kept)
    run(trainer)
    assert not changed(before, kept)
    assert changed(before, trainer.weights())


def test_bfloat16_trains_nearly_as_float32(make_trainer: MakeTrainer, images: Images) -> None:
    full, half = (
        make_trainer(network=Dropping, precision=precision) for precision in ("float32", "bfloat16")
    )
    assert assess(half, images) != assess(full, images)  # else this would show nothing
    assert assess(half, images)[0] == pytest.approx(assess(full, images)[0], rel=0.02)
    torch.manual_seed(0)
    expected = losses(full, 2)
    torch.manual_seed(0)
    assert losses(half, 2) == pytest.approx(expected, rel=0.05)
    assert all(p.dtype == torch.float32 for p in half.network.parameters())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "float16"}, "float16"),
        ({"device": "cuda"}, "cuda"),
        ({"device": "mps"}, "mps"),
    ],
    ids=str,
)
def test_what_this_machine_lacks_is_said(
    make_trainer: MakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"params.yaml: .* is {said}"):
        make_trainer(network=small, **options)


def test_compile_compiles_what_learns(
    make_trainer: MakeTrainer, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That compiled code gives the same numbers is PyTorch's to test; compiling takes too long."""
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    for part in ("all", "head"):
        trainer = make_trainer(part, network=small, compile=True)
        assert compiled.pop() is trainer.tail
    make_trainer(network=small)
    assert not compiled


def test_the_number_of_steps_follows_the_balance(
    make_trainer: MakeTrainer, make_images: Callable[..., Images]
) -> None:
    uneven = make_images(7, 3, 5)
    for balance, steps in (("none", 4), ("oversample", 6), ("undersample", 3)):
        trainer = make_trainer(
            train=uneven, network=small, balance=balance, batch_size=4, schedule="cosine", epochs=1
        )
        (found,) = run(trainer)
        assert len(found.losses) == steps
        assert trainer.schedule.get_last_lr()[0] == pytest.approx(0)
