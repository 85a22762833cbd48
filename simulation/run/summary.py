"""summary.json of a simulation: every hospital's own summary merged, with what the coordinator
measured. Only `flop sim` may do this.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from federation import model as shared_model
from hospital_node.summary import figures
from learning import models, parameters
from learning.data import Dataset
from learning.evaluation import evaluate
from simulation.run.prepare import Prepared

Json = dict[str, Any]


def merge(
    prepared: Prepared, hospitals: list[Json], coordinator: Json, seconds: float, stopped: bool
) -> Json:
    """The keys of DESIGN.md's run directory, and a few more."""
    options, config = prepared.options, prepared.config
    per_hospital = {one["id"]: one["local_test"]["accuracy"] for one in hospitals}
    with_baselines = [one for one in hospitals if one.get("baselines")]
    names = sorted({name for one in with_baselines for name in one["baselines"]})
    finished = not stopped and len(hospitals) == options.hospitals
    return {
        "algorithm": options.algorithm,
        "protection": "none" if options.alone else options.protection,
        "transport": "none" if options.alone else options.transport,
        "model": options.model,
        "dataset": prepared.dataset.name,
        "classes": list(config.model.classes),
        "partition": options.partition,
        "partition_notes": hospitals[0].get("partition_notes", []) if hospitals else [],
        "hospitals": options.hospitals,
        "cohort": config.federation.cohort,
        "rounds": options.rounds,
        "rounds_completed": coordinator.get("rounds_completed", 0),
        "seed": options.seed,
        "finished": finished,
        "shared_parameters": hospitals[0].get("shared_parameters", 0) if hospitals else 0,
        "private_parameters": hospitals[0].get("private_parameters", 0) if hospitals else 0,
        "local_test": (
            _joined([one["local_test"] for one in hospitals]) | {"per_hospital": per_hospital}
        ),
        "baselines": {
            name: _joined(
                [one["baselines"][name] for one in with_baselines if name in one["baselines"]]
            )
            for name in names
        },
        "global_test": None,
        "bytes": coordinator.get("bytes"),
        "seconds": {
            "total": seconds,
            "train": sum(one.get("train_seconds", 0.0) for one in hospitals),
            "protect": sum(one.get("protect_seconds", 0.0) for one in hospitals),
            "aggregate": coordinator.get("seconds", {}).get("aggregate"),
        },
        "skipped_images": [
            f"{one['id']}: {name}" for one in hospitals for name in one.get("skipped_images", [])
        ][:200],
        "data_per_hospital": {
            one["id"]: {"train": one["train_examples"], "test": one["test_examples"]}
            for one in hospitals
        },
    }


def _joined(tests: list[Json]) -> Json:
    """Accuracy is the mean over hospitals, as in the FLOP paper; the confusion matrix is their sum."""
    if not tests:
        return {"accuracy": None, "balanced_accuracy": None, "confusion": None}
    total = figures(np.sum([np.asarray(one["confusion"]) for one in tests], axis=0))
    scores = [one["accuracy"] for one in tests if one["accuracy"] is not None]
    return {
        "accuracy": sum(scores) / len(scores) if scores else None,
        "pooled_accuracy": total["accuracy"],
        "interval": total["interval"],
        "balanced_accuracy": total["balanced_accuracy"],
        "confusion": total["confusion"],
        "examples": total["examples"],
    }


def global_test(prepared: Prepared, where: torch.device) -> Json | None:
    """The paper's ablation: the mean of all hospitals' full models on the test folder; and the mean
    of their single scores.
    """
    dataset: Dataset = prepared.dataset
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
    states, scores = [], []
    for identifier in prepared.ids:
        folder = prepared.options.out / "hospitals" / identifier
        if not (folder / "shared.safetensors").exists():
            return None
        parameters.load(network, shared_model.read(folder / "shared.safetensors").tensors())
        parameters.load(network, _private(folder / "private.safetensors"))
        states.append(
            {
                name: value.clone()
                for name, value in network.state_dict().items()
                if value.is_floating_point()
            }
        )
        scores.append(
            figures(evaluate(network, images.images, images.labels, classes, where).confusion)[
                "accuracy"
            ]
        )
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    network.load_state_dict(mean, strict=False)
    found = figures(evaluate(network, images.images, images.labels, classes, where).confusion)
    return {
        **found,
        "what": "the mean of all hospitals' full models",
        "mean_of_hospitals": sum(scores) / len(scores),
    }


def _private(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(path.read_bytes())


def round_metrics(prepared: Prepared) -> list[Json]:
    """One line a round: the mean over the hospitals' own lines."""
    rounds: dict[int, list[Json]] = {}
    for identifier in prepared.ids:
        path = prepared.options.out / "hospitals" / identifier / "metrics.jsonl"
        for text in path.read_text().splitlines() if path.exists() else []:
            line = json.loads(text)
            rounds.setdefault(line["round"], []).append(line)
    made = []
    for round_, lines in sorted(rounds.items()):
        merged: Json = {"round": round_, "hospitals": len(lines)}
        for key in ("accuracy", "balanced_accuracy", "test_loss", "train_loss"):
            values = [line[key] for line in lines if line.get(key) is not None]
            merged[key] = sum(values) / len(values) if values else None
        merged["clipped"] = sum(line.get("clipped", 0) for line in lines)
        made.append(merged)
    return made


def sentences(summary: Json, folder: Path) -> list[str]:
    """What a person wants to know first."""
    test, base = summary["local_test"], summary["baselines"]
    lines = [
        f"{summary['algorithm'].upper()} on {summary['dataset']} with {summary['model']}:"
        f" {summary['hospitals']} hospitals, {summary['rounds_completed']} of {summary['rounds']}"
        f" rounds, protection: {summary['protection']}, transport: {summary['transport']},"
        f" {summary['seconds']['total']:.0f} s"
    ]
    if test["accuracy"] is not None:
        against = ", ".join(
            f"{name} {_percent(base[name]['accuracy'])}"
            for name in ("majority", "linear", "local")
            if name in base
        )
        lines.append(
            f"mean local test accuracy {_percent(test['accuracy'])} (balanced"
            f" {_percent(test['balanced_accuracy'])})"
            + (f"; on the same splits: {against}" if against else "")
        )
    if summary.get("global_test"):
        lines.append(
            "the mean of the hospitals' models on the test folder:"
            f" {_percent(summary['global_test']['accuracy'])}"
        )
    if summary["bytes"] and summary["bytes"]["expansion"]:
        size = summary["bytes"]
        lines.append(
            f"each hospital keeps {summary['private_parameters']:,} parameters and shares"
            f" {summary['shared_parameters']:,}: {size['upload_per_hospital_per_round']:,} bytes up"
            f" a round, {size['expansion']:.2f} × float32"
        )
    lines += [f"note: {note}" for note in summary["partition_notes"]]
    if summary["skipped_images"]:
        lines.append(
            f"{len(summary['skipped_images'])} images were skipped; summary.json names them"
        )
    if not summary["finished"]:
        lines.append(
            "the run was stopped; the same command goes on with it"
            if summary["transport"] == "zmq"
            else "the run was stopped"
        )
    return [*lines, f"everything is in {folder}"]


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"
