"""summary.json of `flop sim`: every hospital's own summary merged with the coordinator's, and what
a person reads of it. Only a simulation may merge them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load

from federation import model as shared_model
from federation.records import files
from federation.records.summary import (
    ClassCounts,
    CoordinatorSummary,
    Figures,
    GlobalFigures,
    HospitalSummary,
    LocalFigures,
    MergedFigures,
    MergedLine,
    MetricsLine,
    RunSummary,
    Seconds,
)
from hospital_node.summary import figures
from learning import models, parameters
from learning.evaluation import evaluate
from learning.metrics import METRICS, percent, sentence
from simulation.run.prepare import Prepared

MOST_SKIPPED = 200
"""Skipped images that the merged summary names."""


def merge(
    prepared: Prepared,
    hospitals: Sequence[HospitalSummary],
    coordinator: CoordinatorSummary | None,
    rounds_completed: int,
    seconds: float,
    stopped: bool,
) -> RunSummary:
    """Return the merged summary; its `global_test` is still to be added.

    Args:
        prepared: What was asked for.
        hospitals: The summaries of the hospitals that wrote one.
        coordinator: Its summary; None if there was none (algorithm local or central).
        rounds_completed: Rounds that gave a result.
        seconds: Wall-clock time of the whole run.
        stopped: Whether the user stopped it.
    """
    options, config = prepared.options, prepared.config
    first = hospitals[0] if hospitals else None
    names = sorted({name for one in hospitals for name in one.baselines})
    local_test = _joined([one.local_test for one in hospitals])
    return RunSummary(
        algorithm=options.algorithm,
        protection="none" if options.alone else options.protection,
        transport="none" if options.alone else options.transport,
        model=options.model,
        dataset=prepared.dataset.name,
        classes=list(config.model.classes),
        partition=options.partition,
        partition_notes=first.partition_notes if first else [],
        hospitals=options.hospitals,
        cohort=config.federation.cohort,
        rounds=options.rounds,
        rounds_completed=rounds_completed,
        seed=options.seed,
        finished=not stopped and len(hospitals) == options.hospitals,
        shared_parameters=first.shared_parameters if first else 0,
        private_parameters=first.private_parameters if first else 0,
        local_test=LocalFigures(
            per_hospital={one.id: one.local_test.metrics.get("accuracy") for one in hospitals},
            metrics=local_test.metrics,
            examples=local_test.examples,
            confusion=local_test.confusion,
            interval=local_test.interval,
            pooled_accuracy=local_test.pooled_accuracy,
        ),
        baselines={
            name: _joined([one.baselines[name] for one in hospitals if name in one.baselines])
            for name in names
        },
        bytes=coordinator.bytes if coordinator else None,
        seconds=Seconds(
            total=seconds,
            train=sum(one.train_seconds for one in hospitals),
            protect=sum(one.protect_seconds for one in hospitals),
            aggregate=coordinator.seconds.aggregate if coordinator else None,
        ),
        skipped_images=[f"{one.id}: {name}" for one in hospitals for name in one.skipped_images][
            :MOST_SKIPPED
        ],
        data_per_hospital={
            one.id: ClassCounts(train=one.train_examples, test=one.test_examples)
            for one in hospitals
        },
    )


def _joined(tests: Sequence[Figures]) -> MergedFigures:
    """The tests of several hospitals together; every metric says how it is merged."""
    if not tests:
        return MergedFigures(metrics=dict.fromkeys(METRICS))
    pooled = figures(np.sum([one.confusion for one in tests], axis=0))
    means = mean_metrics([one.metrics for one in tests])
    return MergedFigures(
        metrics={
            name: (means if metric.merged == "mean" else pooled.metrics)[name]
            for name, metric in METRICS.items()
        },
        pooled_accuracy=pooled.metrics["accuracy"],
        interval=pooled.interval,
        confusion=pooled.confusion,
        examples=pooled.examples,
    )


def mean_metrics(several: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of every metric over those that have it; None if none has."""
    return {name: _mean([one.get(name) for one in several]) for name in METRICS}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def global_test(prepared: Prepared, where: torch.device) -> GlobalFigures | None:
    """Test on the common test folder, as in the FLOP paper's ablation (section 4.3).

    Returns:
        The figures of the mean of all hospitals' full models; None if the data set has no test
        folder or a hospital has no model.
    """
    dataset = prepared.dataset
    if dataset.test is None or not len(dataset.test):
        return None
    images = dataset.test.load()
    config = prepared.config
    classes = len(config.model.classes)
    network = models.build(
        config.model.name,
        channels=config.model.channels,
        image_size=config.model.image_size,
        classes=classes,
    )

    def test() -> Figures:
        return figures(evaluate(network, images.images, images.labels, classes, where).confusion)

    states, scores = [], []
    for identifier in prepared.ids:
        folder = prepared.options.out / "hospitals" / identifier
        if not (folder / "shared.safetensors").exists():
            return None
        parameters.load(network, shared_model.read(folder / "shared.safetensors").tensors())
        parameters.load(network, load((folder / "private.safetensors").read_bytes()))
        states.append(
            {
                name: value.clone()
                for name, value in network.state_dict().items()
                if value.is_floating_point()
            }
        )
        scores.append(test().metrics["accuracy"])
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    network.load_state_dict(mean, strict=False)
    found = test()
    return GlobalFigures(
        metrics=found.metrics,
        examples=found.examples,
        confusion=found.confusion,
        interval=found.interval,
        sensitivity=found.sensitivity,
        what="the mean of all hospitals' full models",
        mean_of_hospitals=_mean(scores),
    )


def round_metrics(prepared: Prepared) -> list[MergedLine]:
    """One line a round: the mean over the hospitals' own lines."""
    rounds: dict[int, list[MetricsLine]] = {}
    for identifier in prepared.ids:
        path = prepared.options.out / "hospitals" / identifier / "metrics.jsonl"
        for line in files.read_lines(path, MetricsLine):
            rounds.setdefault(line.round, []).append(line)
    return [
        MergedLine(
            round=round_,
            hospitals=len(lines),
            metrics=mean_metrics([line.metrics for line in lines]),
            train_loss=_mean([line.train_loss for line in lines]),
            test_loss=_mean([line.test_loss for line in lines]),
            clipped=sum(line.clipped or 0 for line in lines),
        )
        for round_, lines in sorted(rounds.items())
    ]


def sentences(summary: RunSummary, folder: Path) -> list[str]:
    """What a person wants to know first, printed at the end of `flop sim`."""
    test, seconds = summary.local_test, summary.seconds.total
    lines = [
        f"{summary.algorithm.upper()} on {summary.dataset} with {summary.model}:"
        f" {summary.hospitals} hospitals, {summary.rounds_completed} of {summary.rounds} rounds,"
        f" protection: {summary.protection}, transport: {summary.transport}, {seconds:.0f} s"
    ]
    if told := sentence(test.metrics):
        against = ", ".join(
            f"{name} {_percent(summary.baselines[name].metrics.get('accuracy'))}"
            for name in ("majority", "linear", "local")
            if name in summary.baselines
        )
        lines.append(
            f"mean local test accuracy {told}"
            + (f"; on the same splits: {against}" if against else "")
        )
    if summary.global_test is not None:
        lines.append(
            "the mean of the hospitals' models on the test folder:"
            f" {sentence(summary.global_test.metrics)}"
        )
    if summary.bytes is not None and summary.bytes.expansion:
        lines.append(
            f"each hospital keeps {summary.private_parameters:,} parameters and shares"
            f" {summary.shared_parameters:,}: {summary.bytes.upload_per_hospital_per_round:,} bytes"
            f" up a round, {summary.bytes.expansion:.2f} × float32"
        )
    lines += [f"note: {note}" for note in summary.partition_notes]
    if summary.skipped_images:
        lines.append(f"{len(summary.skipped_images)} images were skipped; summary.json names them")
    if not summary.finished:
        lines.append(
            "the run was stopped; the same command continues it"
            if summary.transport == "zmq"
            else "the run was stopped"
        )
    return [*lines, f"everything is in {folder}"]


def _percent(value: float | None) -> str:
    return "n/a" if value is None else percent(value)
