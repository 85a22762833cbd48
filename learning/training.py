"""One hospital's local training: SGD or Adam over images that are uint8 until their batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from learning import device as devices
from learning import randomness

# Fixed and public: constants computed from a hospital's own images would leak and would differ
# between hospitals.
INPUT_MEAN, INPUT_STD = 0.5, 0.25
AUGMENTATION = 0x617567  # keeps augmentation's random numbers apart from those of the order


def to_input(
    images: Tensor, memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """uint8 (B, C, H, W) to float32 `(x / 255 - 0.5) / 0.25`, in [-2, 2].

    That is about what ImageNet's own constants give.
    """
    scaled = images.to(dtype=torch.float32, memory_format=memory_format)
    return scaled.sub_(255 * INPUT_MEAN).div_(255 * INPUT_STD)


@dataclass(frozen=True)
class TrainSettings:
    """What one local training does. `proximal_mu`: FedProx's mu (Li et al. 2020).
    `freeze_batchnorm`: train with running statistics.
    """

    epochs: int = 1
    batch_size: int = 32
    lr: float = 1e-3
    optimizer: str = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    proximal_mu: float = 0.0
    class_weights: bool = False
    freeze_batchnorm: bool = False
    mixed_precision: devices.Switch = "auto"
    channels_last: devices.Switch = "auto"

    def __post_init__(self) -> None:
        if self.optimizer not in ("sgd", "adam"):
            raise ValueError(f"no optimizer is called {self.optimizer!r}; choose sgd or adam")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr is {self.lr}; it must be above 0")
        for name in ("momentum", "weight_decay", "proximal_mu"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        for name in ("mixed_precision", "channels_last"):
            if getattr(self, name) not in ("auto", "on", "off"):
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose auto, on or off")


@dataclass(frozen=True)
class TrainStats:
    """`examples` in the training set, `steps` made, mean `loss` over the examples seen (nan for
    none), `stopped` early.
    """

    examples: int
    steps: int
    loss: float
    seconds: float
    stopped: bool


Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Changes a training batch, uint8 (B, C, H, W) on the training device, into another one of the same
shape and type. All its randomness comes from the generator, which is on the CPU.
"""


class SingleProcess:
    """How one process trains: it takes whole batches. `learning.distributed` has the other way."""

    rank = 0
    smallest_batch = 2

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module that computes the logits."""
        return model

    def share(self, rows: Tensor) -> Tensor:
        """The part of a batch that this process computes."""
        return rows

    def loss(self, logits: Tensor, labels: Tensor, rows: Tensor, weights: Tensor | None) -> Tensor:
        """The (weighted) mean cross-entropy of the batch `rows`, whose `share` gave `logits`."""
        return cross_entropy(logits, labels[rows], weight=weights)

    def agree(self, stop: bool) -> bool:
        """Whether all processes stop; `stop` is this one's answer."""
        return stop

    def total(self, value: Tensor) -> float:
        """The sum of the losses over the processes."""
        return value.item()


class Trainer:
    """Trains a model in place, with a new optimiser state in every call, as in the papers.

    Args:
        model: The model; it is moved to `device`.
        settings: What one local training does.
        device: Where it computes.
        proximal: The parameters that FedProx's term holds near their start of round; None: all.
        augment: Applied to every training batch; None: batches are used as they are. It is seeded
            like the order of the images.
        group: How the work is divided among processes; None: this is the only one.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TrainSettings,
        device: torch.device,
        *,
        proximal: Collection[str] | None = None,
        augment: Augment | None = None,
        group: SingleProcess | None = None,
    ) -> None:
        self.group = group or SingleProcess()
        self.augment = augment
        self.settings = settings
        self.device = device
        self.proximal = proximal
        gains = getattr(model, "channels_last_on_cpu", False)
        self.memory_format = devices.memory_format(device, settings.channels_last, gains)
        self.model = model.to(device).to(memory_format=self.memory_format)

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
        rows: Tensor | None = None,
        progress: Callable[[int, int], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> TrainStats:
        """Train on images, or on some rows of them.

        The same seed gives the same bytes on one CPU and thread count. Every step has at least two
        examples (a last single one joins the batch before it), because BatchNorm has no variance of
        one; if there is only one in all, BatchNorm uses its running statistics.

        Args:
            images: uint8, (N, C, H, W). Put them on the device once, and let many hospitals share
                them through `rows`; images in main memory are sent batch by batch.
            labels: int64, (N,).
            seed: For the order of the images, dropout and augmentation.
            rows: The rows to train on; None: all.
            progress: Called after every batch with the steps made and the steps in all.
            stop: Asked before every batch.

        Raises:
            ValueError: If there is no image to train on.
        """
        settings, group, started = self.settings, self.group, time.perf_counter()
        rows = torch.arange(len(labels)) if rows is None else rows.cpu()
        if len(rows) == 0:
            raise ValueError("the training set is empty; give this hospital at least one image")
        labels = labels.to(self.device, torch.int64)
        weights = (
            class_weights(labels[rows.to(self.device)], classes_of(self.model))
            if settings.class_weights
            else None
        )
        bounds = batch_bounds(len(rows), settings.batch_size, group.smallest_batch)
        optimizer = _optimizer(self.model, settings)
        pull = (
            _Proximal(self.model, settings.proximal_mu, self.proximal)
            if settings.proximal_mu
            else None
        )
        dtype = devices.precision(self.device, settings.mixed_precision)
        # float16 alone needs its gradients scaled; bfloat16 has float32's range
        scaler = torch.amp.GradScaler(self.device.type, enabled=dtype == torch.float16)

        steps, seen, stopped = 0, 0, False
        total = torch.zeros(
            (),
            dtype=torch.float64 if self.device.type != "mps" else torch.float32,
            device=self.device,
        )
        coins = torch.Generator().manual_seed((seed + group.rank) ^ AUGMENTATION)
        model = group.wrap(self.model).train()
        if settings.freeze_batchnorm or min(len(rows), settings.batch_size) == 1:
            _freeze_batchnorm(model)
        # dropout draws from the global generators
        with randomness.seeded(seed + group.rank, self.device):
            for chosen in _batches(rows, bounds, settings.epochs, seed):
                if group.agree(stop is not None and stop()):
                    stopped = True
                    break
                batch = self._fetch(images, group.share(chosen))
                if self.augment is not None:
                    batch = self.augment(batch, coins)
                x = to_input(batch, self.memory_format)
                with devices.autocast(self.device, dtype):
                    loss = group.loss(model(x), labels, chosen.to(self.device), weights)
                optimizer.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's own
                if pull is not None:
                    scaler.unscale_(optimizer)
                    pull.add_gradient()
                scaler.step(optimizer)
                scaler.update()
                # summed on the device: reading it every step would make the accelerator wait for us
                total += loss.detach() * len(chosen)
                steps, seen = steps + 1, seen + len(chosen)
                if progress is not None:
                    progress(steps, len(bounds) * settings.epochs)
        self.model.eval()
        mean = group.total(total) / seen if seen else math.nan
        return TrainStats(len(rows), steps, mean, time.perf_counter() - started, stopped)

    def _fetch(self, images: Tensor, rows: Tensor) -> Tensor:
        batch = images[rows.to(images.device)]
        if batch.device == self.device:
            return batch
        # pinned, so that the copy runs while the device still computes the batch before
        pinned = batch.pin_memory() if self.device.type == "cuda" else batch
        return pinned.to(self.device, non_blocking=True)


def classes_of(model: nn.Module) -> int:
    """The number of logits of a model: its `classes`, or the width of its last linear layer.

    Raises:
        ValueError: If the model has neither.
    """
    known = getattr(model, "classes", None)
    if isinstance(known, int):
        return known
    widths = [module.out_features for module in model.modules() if isinstance(module, nn.Linear)]
    if not widths:
        raise ValueError("class weights need a model with an attribute classes: how many there are")
    return widths[-1]


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (classes,) for the loss, inverse to each class's count.

    They are 1 on average over the examples, and 0 for a class without examples.
    """
    counts = torch.bincount(labels, minlength=classes).to(torch.float32)
    present = counts > 0
    return torch.where(
        present, len(labels) / (present.sum() * counts.clamp(min=1)), torch.zeros_like(counts)
    )


def batch_bounds(examples: int, batch_size: int, smallest: int = 2) -> list[tuple[int, int]]:
    """Start and end of each batch.

    A last batch of fewer than `smallest` examples joins the one before, unless all are that small.
    """
    bounds = [
        (start, min(start + batch_size, examples)) for start in range(0, examples, batch_size)
    ]
    if batch_size >= smallest and len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] < smallest:
        bounds[-2:] = [(bounds[-2][0], examples)]
    return bounds


def _batches(
    rows: Tensor, bounds: list[tuple[int, int]], epochs: int, seed: int
) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows), generator=generator)]
        for start, end in bounds:
            yield order[start:end]


def _optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # fused: one pass over the parameters instead of one per arithmetic operation
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in trained)
    lr, decay = settings.lr, settings.weight_decay
    if settings.optimizer == "adam":
        return torch.optim.Adam(trained, lr=lr, weight_decay=decay, fused=fused)
    return torch.optim.SGD(
        trained, lr=lr, momentum=settings.momentum, weight_decay=decay, fused=fused
    )


class _Proximal:
    """FedProx: the gradient mu * (w - w_start), added rather than differentiated."""

    def __init__(self, model: nn.Module, mu: float, names: Collection[str] | None) -> None:
        self.mu = mu
        self.held = [
            (parameter, parameter.detach().clone())
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and (names is None or name in names)
        ]

    def add_gradient(self) -> None:
        for parameter, start in self.held:
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - start, alpha=self.mu)


def _freeze_batchnorm(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
