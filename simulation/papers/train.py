"""One run of a study: through the real sessions in memory, then everything that any view asks of
it, as plain numbers.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from federation.records import files
from hospital_node.summary import figures
from learning import device, parameters
from learning.data import Images, Index, LocalData
from learning.evaluation import Scores, auroc, evaluate
from learning.gradcam import grad_cam_plus_plus
from learning.models.classifier import Classifier
from learning.training import to_input
from simulation.papers.studies import StudyRun
from simulation.run.alone import Unfederated
from simulation.run.federate import Federation
from simulation.run.prepare import Prepared, prepare
from simulation.run.summary import round_metrics

MAPS_PER_CLASS = 2
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """`figures` is what the store keeps as JSON. `maps`: Grad-CAM++ `images`, `heat`, `labels`,
    `predicted`, and `side` (pixels of the last convolution's maps); or nothing.
    """

    run: StudyRun
    figures: dict[str, Any]
    maps: Arrays


def execute(run: StudyRun, cache: Path) -> Result:
    """Train and measure. Raises ConfigError, DataError. `cache`: folder of decoded images, shared
    by runs.
    """
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flop-experiment-") as folder:
        prepared = with_data(prepare(run.options(Path(folder))), run, cache)
        found = _central(prepared, run) if run.framework == "central" else _federated(prepared, run)
        rounds = [files.to_dict(line) for line in round_metrics(prepared)]
    network, locals_, facts = found
    where = device.choose(prepared.options.device)
    classes = len(prepared.config.model.classes)
    maps: Arrays = {}
    # the whole training folder trained, so that its accuracy is a training accuracy
    if not run.test_fraction:
        facts["global_train"] = _scored(
            evaluate(network, locals_[0].images, locals_[0].labels, classes, where),
            locals_[0].labels,
        )
    if prepared.dataset.test is not None:
        images = prepared.dataset.test.load()
        scores = evaluate(network, images.images, images.labels, classes, where)
        sources = prepared.dataset.test.columns.get("source")
        facts["global_test"] = _scored(scores, images.labels) | {
            "per_source": (
                _per_source([sources[row] for row in images.kept_rows], scores, images.labels)
                if sources
                else {}
            )
        }
        maps = _maps(network, images, where, run.seed) if run.maps else {}
    return Result(
        run,
        {
            "run": asdict(run),
            "classes": list(prepared.config.model.classes),
            "rounds": rounds,
            "device": torch.cuda.get_device_name(where) if where.type == "cuda" else str(where),
            "seconds": time.monotonic() - began,
            **facts,
        },
        maps,
    )


def with_data(prepared: Prepared, run: StudyRun, cache: Path) -> Prepared:
    """The run's images: as many as its scale says, decoded once for all runs of the same size."""
    dataset = prepared.dataset
    stem = f"{dataset.name}-{run.image_size}-{run.images or 'all'}"
    train = dataset.train if not run.images else subset(dataset.train, run.images)
    test = dataset.test and dataset.test.cached(cache / f"{stem}-test.safetensors")
    train = train.cached(cache / f"{stem}-train.safetensors")
    return replace(prepared, dataset=replace(dataset, train=train, test=test))


def subset(index: Index, count: int) -> Index:
    """About `count` images with the set's class shares, groups whole; the same for every seed."""
    _, unit = np.unique(
        np.arange(len(index)) if index.groups is None else index.groups, return_inverse=True
    )
    wanted = np.bincount(index.labels) * (count / len(index))
    kept: list[np.ndarray] = []
    for group in np.random.default_rng(0).permutation(unit.max() + 1):
        rows = np.flatnonzero(unit == group)
        label = index.labels[rows[0]]
        if wanted[label] > 0:
            wanted[label] -= len(rows)
            kept.append(rows)
    return index.select(np.sort(np.concatenate(kept)))


def _federated(
    prepared: Prepared, run: StudyRun
) -> tuple[Classifier, Sequence[LocalData], dict[str, Any]]:
    federation = Federation(prepared)
    federation.play()
    shared = federation.hospitals[0].session.shared
    scores = []
    learners = federation.learners
    for learner in learners:
        learner.adopt(shared.vector, counted=False)
        scores.append(learner.test())
    facts = _local(prepared, [learner.data for learner in learners], scores)
    facts["rounds_completed"] = federation.run.completed
    facts["shared_parameters"] = shared.layout.size
    facts["private_parameters"] = int(sum(value.size for value in learners[0].private.values()))
    # the paper's ablation: the mean of all hospitals' full models
    mean = {
        name: np.mean([learner.private[name] for learner in learners], axis=0)
        for name in learners[0].private
    }
    parameters.load(learners[0].model, mean)
    return learners[0].model, federation.divided.locals, facts


def _central(
    prepared: Prepared, run: StudyRun
) -> tuple[Classifier, Sequence[LocalData], dict[str, Any]]:
    alone = Unfederated(prepared, lambda: False, None)
    alone.play()
    learner, locals_ = alone.learners[0], alone.divided.locals
    scores = [
        evaluate(learner.model, one.images, one.labels, learner.classes, alone.where, rows=one.test)
        for one in locals_
    ]
    facts = _local(prepared, locals_, scores) | {
        "rounds_completed": run.rounds,
        "shared_parameters": 0,
    }
    return (
        learner.model,
        locals_,
        facts | {"private_parameters": sum(value.numel() for value in learner.model.parameters())},
    )


def _local(
    prepared: Prepared, locals_: Sequence[LocalData], scores: Sequence[Scores]
) -> dict[str, Any]:
    """The last round's local tests together, the hospitals' images, and what the majority class of
    each would get.
    """
    classes = len(prepared.config.model.classes)
    counts = [one.class_counts(classes) for one in locals_]
    majority = [test[int(np.argmax(train))] / sum(test) for train, test in counts if sum(test)]
    rows = np.concatenate([one.test.numpy() for one in locals_])
    together = Scores(
        float("nan"),
        np.sum([one.confusion for one in scores], axis=0),
        np.concatenate([one.probabilities for one in scores]),
    )
    labels = locals_[0].labels[torch.from_numpy(rows)]
    return {
        "local_test": (
            _scored(together, labels)
            | {"per_source": _per_source(_sources(prepared, rows, locals_[0]), together, labels)}
        ),
        "majority": float(np.mean(majority)) if majority else None,
        "train_counts": [train for train, _ in counts],
        "test_counts": [test for _, test in counts],
        "notes": list(locals_[0].notes),
        "skipped": list(dict.fromkeys(s for one in locals_ for s in one.skipped))[:20],
    }


def _sources(prepared: Prepared, rows: np.ndarray, data: LocalData) -> list[str]:
    """Each tested image's source; nothing where the set has none or an image was skipped."""
    index = prepared.dataset.train
    loaded = np.unique(np.concatenate(prepared.division.parts))
    column = index.columns.get("source")
    return (
        [column[row] for row in loaded[rows]] if column and len(loaded) == len(data.labels) else []
    )


def _scored(scores: Scores, labels: torch.Tensor) -> dict[str, Any]:
    known = len(labels) and len(scores.probabilities)
    area = auroc(scores.probabilities, labels) if known else None
    return {**files.to_dict(figures(scores.confusion)), "auroc": area}


def _per_source(
    sources: Sequence[str], scores: Scores, labels: torch.Tensor
) -> dict[str, dict[str, int]]:
    right = (
        scores.probabilities.argmax(axis=1) == labels.cpu().numpy()
        if len(sources)
        else np.zeros(0, bool)
    )
    table: dict[str, dict[str, int]] = {}
    for source, hit in zip(sources, right, strict=True):
        row = table.setdefault(source, {"right": 0, "examples": 0})
        row["right"] += int(hit)
        row["examples"] += 1
    return dict(sorted(table.items()))


def _maps(network: Classifier, images: Images, where: torch.device, seed: int) -> Arrays:
    """Grad-CAM++ for the true class of a few test images of every class, the same images for every
    model.
    """
    rng = np.random.default_rng(seed)
    labels = images.labels.numpy()
    rows = [
        rng.choice(np.flatnonzero(labels == label), MAPS_PER_CLASS, replace=False)
        for label in np.unique(labels)
    ]
    chosen = torch.from_numpy(np.concatenate(rows))
    pixels, truth = images.images[chosen], images.labels[chosen]
    heat = grad_cam_plus_plus(network, pixels, truth, where)
    predicted = evaluate(network, pixels, truth, network.classes, where).probabilities.argmax(
        axis=1
    )
    with torch.inference_mode():
        side = network.body(to_input(pixels[:1].to(where))).shape[-1]
    return {
        "images": pixels.numpy(),
        "heat": heat,
        "labels": truth.numpy(),
        "predicted": predicted.astype(np.int64),
        "side": np.array([side], np.int64),
    }
