"""`flop bench training`: our local training beside the plainest PyTorch loop, in one run.

The plain loop is what a tutorial writes: a DataLoader over float32 images that are ready in memory,
a default optimiser, the loss read at every step. Ours starts from uint8. On CUDA the plain loop
stays float32; ours uses mixed precision and channels_last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from learning import device as devices
from learning import models
from learning.training import Trainer, TrainSettings, to_input

CLASSES = 3
SETTINGS = TrainSettings(epochs=1, batch_size=32, lr=1e-3, optimizer="adam")


def run(
    model: str = "cnn3",
    image_size: int = 64,
    examples: int = 1024,
    device: str = "auto",
    repeats: int = 5,
) -> dict[str, Any]:
    """Train both loops `repeats` times in turn, after one unmeasured turn, on random grey images.

    Returns:
        The seconds of the fastest epoch (`plain_seconds`, `ours_seconds`), `ratio` = plain / ours
        (above 1: ours is faster), `images_per_second` of ours, and what was measured.
    """
    where = devices.choose(device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (examples, 1, image_size, image_size), dtype=torch.uint8, generator=generator
    )
    labels = torch.randint(0, CLASSES, (examples,), generator=generator)
    floats = to_input(images)
    held, held_labels = images.to(where), labels.to(where)

    def build() -> nn.Module:
        torch.manual_seed(0)
        return models.build(model, channels=1, image_size=image_size, classes=CLASSES)

    plain_model, trainer = build().to(where), Trainer(build(), SETTINGS, where)
    plain: list[float] = []
    ours: list[float] = []
    for turn in range(repeats + 1):
        # in turn, so that a busy machine slows both
        plain.append(_seconds(lambda: _plain_epoch(plain_model, floats, labels, where), where))
        ours.append(_seconds(partial(trainer.train, held, held_labels, seed=turn), where))
    # the fastest turn is the least disturbed one
    plain_seconds, ours_seconds = min(plain[1:]), min(ours[1:])
    precision = devices.precision(where, SETTINGS.mixed_precision)
    return {
        "model": model,
        "image_size": image_size,
        "examples": examples,
        "batch_size": SETTINGS.batch_size,
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else where.type,
        "threads": torch.get_num_threads(),
        "precision": str(precision or torch.float32).removeprefix("torch."),
        "plain_seconds": plain_seconds,
        "ours_seconds": ours_seconds,
        "ratio": plain_seconds / ours_seconds,
        "images_per_second": examples / ours_seconds,
    }


def _plain_epoch(model: nn.Module, images: Tensor, labels: Tensor, device: torch.device) -> float:
    loader = DataLoader(TensorDataset(images, labels), batch_size=SETTINGS.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=SETTINGS.lr)
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = cross_entropy(model(x.to(device)), y.to(device))
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        optimizer.step()
        total += loss.item()
    return total


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
