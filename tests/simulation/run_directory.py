"""A run directory as `flop sim` leaves it, made without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from federation import config as federation_config
from federation.config import FederationConfig, Model, Protection, Rounds
from federation.records import files
from federation.records.events import (
    Event,
    HospitalJoined,
    HospitalLost,
    PhaseClosed,
    RoundBegun,
    RoundFailed,
    RoundReported,
)
from federation.records.summary import (
    GlobalFigures,
    HospitalSummary,
    LocalFigures,
    MetricsLine,
    RunSummary,
    Seconds,
    Traffic,
)
from hospital_node.summary import figures

CLASSES = ("normal", "pneumonia", "covid19")
IDS = tuple(f"hospital-{number}" for number in range(1, 6))
TRAIN = ([150, 40, 30], [30, 160, 20], [60, 50, 90], [80, 70, 10], [20, 20, 20])
CONFIG = FederationConfig(
    federation=Rounds(name="simulation", rounds=12, cohort=5, min_cohort=3),
    model=Model(classes=CLASSES, image_size=64, start_digest="00" * 32),
    protection=Protection(kind="masked", threshold=4),
)
EVENTS: tuple[Event, ...] = (
    *(HospitalJoined(name) for name in IDS),
    RoundBegun(4, IDS),
    HospitalLost("hospital-2", "masked_update", "lost", "made no progress for 30 s"),
    RoundBegun(5, IDS),
    HospitalLost("hospital-2", "advertise_keys", "lost", "is not connected"),
    HospitalLost("hospital-4", "advertise_keys", "lost", "is not connected"),
    RoundFailed(5, "threshold", "advertise_keys: 3 hospitals are left, 4 are needed"),
    RoundBegun(6, IDS),
    RoundReported(6, {"hospital-1": 0.8}),
)


def confusion(right: float, counts: list[int]) -> list[list[int]]:
    """A matrix with a share `right` on its diagonal."""
    matrix = np.zeros((len(counts),) * 2, int)
    for row, count in enumerate(counts):
        matrix[row, row] = round(right * count)
        matrix[row, (row + 1) % len(counts)] = count - matrix[row, row]
    return [[int(cell) for cell in row] for row in matrix]


def majority(test: list[int]) -> list[list[int]]:
    matrix = np.zeros((3, 3), int)
    matrix[:, int(np.argmax(test))] = test
    return [[int(cell) for cell in row] for row in matrix]


def scores(number: int, rounds: int = 12) -> list[float]:
    """The accuracies of a hospital, round by round."""
    last = 0.55 + 0.02 * number
    return [float(0.33 + last * (1 - np.exp(-round_ / 3.0))) for round_ in range(1, rounds + 1)]


def hospital(number: int, rounds: int = 12) -> HospitalSummary:
    train = TRAIN[number % 5]
    test = [max(1, count // 4) for count in train]
    return HospitalSummary(
        id=IDS[number],
        run="00" * 16,
        algorithm="flop",
        protection="masked",
        model="cnn3",
        classes=list(CLASSES),
        round=rounds,
        train_examples=train,
        test_examples=test,
        shared_parameters=51_000,
        private_parameters=98_307,
        local_test=figures(confusion(scores(number, rounds)[-1], test)),
        baselines={
            "majority": figures(majority(test)),
            "linear": figures(confusion(0.62, test)),
            "local": figures(confusion(0.74, test)),
        },
        skipped_images=["scan <07>.png: is cut off after 812 bytes"] if number == 1 else [],
        partition_notes=["by:site: 14 sites were put together to 5 hospitals"],
        train_seconds=18.0,
        protect_seconds=0.1,
        device="cpu",
        finished=True,
    )


def lines(number: int) -> list[MetricsLine]:
    return [
        MetricsLine(
            round=round_,
            counted=True,
            train_loss=1.0 / round_,
            train_seconds=1.5,
            steps=7,
            test_loss=0.9 / round_,
            clipped=3,
            metrics={"accuracy": score, "balanced_accuracy": score},
        )
        for round_, score in enumerate(scores(number), 1)
        if round_ != 5
    ]


def merged() -> RunSummary:
    common = figures(confusion(0.9, [50, 50, 50]))
    return RunSummary(
        algorithm="flop",
        protection="masked",
        transport="zmq",
        model="cnn3",
        dataset="phantom-cxr",
        classes=list(CLASSES),
        partition="by:site",
        partition_notes=[],
        hospitals=5,
        cohort=5,
        rounds=12,
        rounds_completed=11,
        seed=0,
        finished=True,
        shared_parameters=51_000,
        private_parameters=98_307,
        local_test=LocalFigures(per_hospital={}, metrics={"accuracy": 0.5}),
        baselines={},
        global_test=GlobalFigures(
            what="the mean of all hospitals' full models",
            mean_of_hospitals=0.8,
            examples=common.examples,
            confusion=common.confusion,
            interval=common.interval,
            sensitivity=common.sensitivity,
            metrics=common.metrics,
        ),
        bytes=Traffic(102_096, 102_000, 204_000, 0.5),
        seconds=Seconds(total=71.2, train=18.0, protect=0.41, aggregate=0.22),
        skipped_images=[],
        data_per_hospital={},
    )


def write_run(folder: Path, **changes: Any) -> Path:
    """`changes` are fields of the merged summary."""
    for number, name in enumerate(IDS):
        place = folder / "hospitals" / name
        place.mkdir(parents=True)
        files.write(place / "summary.json", hospital(number))
        files.write_lines(place / "metrics.jsonl", lines(number))
    files.write(folder / "summary.json", msgspec.structs.replace(merged(), **changes))
    write_events(folder, EVENTS)
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"event": "cut o')
    (folder / "config.toml").write_text(federation_config.to_toml(CONFIG))
    return folder


def write_events(folder: Path, events: tuple[Event, ...]) -> None:
    files.write_lines(folder / "events.jsonl", events)


def round_of(number: int, *survivors: str) -> tuple[Event, ...]:
    """The events of a masked round whose sum holds these hospitals' updates."""
    return (
        RoundBegun(number, IDS),
        PhaseClosed("advertise_keys", IDS, "share_keys"),
        PhaseClosed("masked_update", survivors, "consistency"),
        PhaseClosed("unmask", survivors, "aggregate"),
    )
