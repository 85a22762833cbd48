"""Whether `phantom-cxr` is a fair small problem: three classifiers of growing strength on it.

`python -m simulation.bench.phantom` prints the test accuracy of mean brightness alone (must be at
most 0.45), of multinomial logistic regression on pixels (at most 0.75) and of cnn3 (at least 0.90),
each trained centrally.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from learning import models
from learning.data import Images, open_dataset
from learning.randomness import seeded
from learning.training import to_input

LIMITS = {"brightness": (0.0, 0.45), "linear": (0.0, 0.75), "cnn3": (0.90, 1.0)}


def measure(
    seed: int = 0, image_size: int = 64, epochs: int = 5, images: int | None = None
) -> dict[str, float]:
    """Return each classifier's test accuracy on balanced classes, and the seconds of drawing."""
    start = time.process_time()
    dataset = open_dataset(
        f"phantom-cxr:{images}" if images else "phantom-cxr", image_size=image_size, seed=seed
    )
    if dataset.test is None:
        raise RuntimeError("the phantoms have a test part")
    train, test = dataset.train.load(), dataset.test.load()
    drawn = time.process_time() - start
    return {
        "brightness": brightness(train, test),
        "linear": linear(train, test),
        "cnn3": network(train, test, epochs, seed),
        "seconds_drawing": drawn,
    }


def brightness(train: Images, test: Images, bins: int = 16) -> float:
    """Return the accuracy of guessing by mean brightness.

    The guess is the most common class in each of `bins` equally filled ranges of the mean, which is
    at least as good as any threshold.
    """
    means = [part.images.float().mean(dim=(1, 2, 3)).numpy() for part in (train, test)]
    edges = np.quantile(means[0], np.linspace(0, 1, bins + 1)[1:-1])
    place = [np.digitize(mean, edges) for mean in means]
    table = np.zeros((bins, int(train.labels.max()) + 1))
    np.add.at(table, (place[0], train.labels.numpy()), 1)
    return float((table.argmax(axis=1)[place[1]] == test.labels.numpy()).mean())


def linear(train: Images, test: Images) -> float:
    """Return the accuracy of multinomial logistic regression on standardised pixels (L-BFGS).

    It is the best of four ridge penalties on the test images. That choice favours the linear model,
    which is the safe side of an upper limit.
    """
    x, y = train.images.flatten(1).float() / 255, train.labels
    mean, spread = x.mean(0), x.std(0) + 0.05
    x, t = (x - mean) / spread, (test.images.flatten(1).float() / 255 - mean) / spread
    best = 0.0
    for penalty in (1e-3, 1e-2, 1e-1, 1.0):
        layer = nn.Linear(x.shape[1], int(y.max()) + 1)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        optimiser = torch.optim.LBFGS(
            layer.parameters(), max_iter=60, history_size=10, line_search_fn="strong_wolfe"
        )

        def loss(
            layer: nn.Linear = layer,
            optimiser: torch.optim.LBFGS = optimiser,
            penalty: float = penalty,
        ) -> torch.Tensor:
            optimiser.zero_grad()
            value = F.cross_entropy(layer(x), y) + penalty * layer.weight.square().sum() / 2
            value.backward()  # type: ignore[no-untyped-call]  # torch has no types here
            return value

        optimiser.step(loss)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            best = max(best, float((layer(t).argmax(1) == test.labels).float().mean()))
    return best


def network(train: Images, test: Images, epochs: int, seed: int) -> float:
    """Return the accuracy of cnn3, trained with Adam and a rate that falls to zero."""
    with seeded(seed):
        model = models.build("cnn3", channels=1, image_size=train.images.shape[-1], classes=3)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters())
    count, batch = len(train.labels), 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2e-3, total_steps=epochs * -(-count // batch)
    )
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(count, generator=generator), batch):
            optimiser.zero_grad()
            loss = F.cross_entropy(model(to_input(train.images[rows])), train.labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
            optimiser.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        guesses = torch.cat(
            [model(to_input(images)).argmax(1) for images in torch.split(test.images, 256)]
        )
    return float((guesses == test.labels).float().mean())


def main() -> int:
    found = measure()
    print(json.dumps(found, indent=2))
    missed = [name for name, (low, high) in LIMITS.items() if not low <= found[name] <= high]
    for name in missed:
        print(f"{name} is outside {LIMITS[name]}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
