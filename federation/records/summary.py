"""summary.json and metrics.jsonl: what a run gave, in three hands.

A hospital writes its own, the coordinator writes what it saw, and `flop sim` merges them. The key
`kind` of summary.json tells which one a file is (its tag).
"""

from __future__ import annotations

import msgspec


class Measured(msgspec.Struct, kw_only=True):
    """A record with metrics, e.g. {"accuracy": 0.91}, None if there was nothing to test.

    On disk every metric is a key of its own beside the other keys (see `federation.records.files`):
    which metrics there are is decided in `learning/metrics.py`, not here.
    """

    metrics: dict[str, float | None] = {}


class Figures(Measured, kw_only=True):
    """One test.

    `confusion` has rows of true and columns of predicted classes. `interval` is the 95 % Wilson
    interval of the accuracy; `sensitivity` has one entry per class, None for an absent class.
    """

    examples: int
    confusion: list[list[int]]
    interval: tuple[float, float] | None
    sensitivity: list[float | None]


class MergedFigures(Measured, kw_only=True):
    """The tests of several hospitals together.

    `confusion` is the sum over hospitals, None if no hospital was tested. Accuracy is the mean over
    hospitals, as in the FLOP paper; `pooled_accuracy` and `interval` follow from the summed counts.
    """

    examples: int = 0
    confusion: list[list[int]] | None = None
    interval: tuple[float, float] | None = None
    pooled_accuracy: float | None = None


class LocalFigures(MergedFigures, kw_only=True):
    """The local tests of all hospitals; `per_hospital` holds each hospital's accuracy."""

    per_hospital: dict[str, float | None]


class GlobalFigures(Figures, kw_only=True):
    """The test of `what` on the common test folder.

    `mean_of_hospitals` is the mean accuracy of the hospitals' own models on the same folder.
    """

    what: str
    mean_of_hospitals: float | None


class ClassCounts(msgspec.Struct):
    """How many images of each class a hospital trains on and tests on."""

    train: list[int]
    test: list[int]


class Traffic(msgspec.Struct):
    """Bytes of one round at one hospital.

    `plain_float32` is what the update would take unprotected; `expansion` is upload over that.
    """

    upload_per_hospital_per_round: int
    download_per_hospital_per_round: int
    plain_float32: int
    expansion: float | None


class Seconds(msgspec.Struct, kw_only=True):
    """Wall-clock time of a whole run; training and protecting are summed over the hospitals."""

    total: float
    train: float | None = None
    protect: float | None = None
    aggregate: float | None = None


class HospitalSummary(msgspec.Struct, kw_only=True, tag_field="kind", tag="hospital"):
    """A hospital's own summary.json. It never leaves the hospital.

    `round` is the last round whose result this hospital applied; `baselines` maps majority, linear
    and local to their figures on the same held-out images.
    """

    id: str
    run: str
    algorithm: str
    protection: str
    model: str
    classes: list[str]
    round: int
    train_examples: list[int]
    test_examples: list[int]
    shared_parameters: int
    private_parameters: int
    local_test: Figures
    baselines: dict[str, Figures] = {}
    skipped_images: list[str]
    partition_notes: list[str]
    train_seconds: float
    protect_seconds: float
    device: str
    finished: bool


class CoordinatorSummary(msgspec.Struct, kw_only=True, tag_field="kind", tag="coordinator"):
    """The coordinator's summary.json.

    `stopped` is the reason code if the run ended early, else empty. `mean_shared_accuracy` is the
    mean over the hospitals that share theirs. `limits` are the sizes that a message may have.
    """

    run: str
    protection: str
    rounds_completed: int
    finished: bool
    stopped: str
    mean_shared_accuracy: float | None
    bytes: Traffic
    seconds: Seconds
    limits: dict[str, int] = {}


class RunSummary(msgspec.Struct, kw_only=True, tag_field="kind", tag="simulation"):
    """summary.json of `flop sim`: every hospital's own summary, merged with the coordinator's.

    `bytes` is None if nothing was sent (algorithm local or central); `skipped_images` names at most
    200.
    """

    algorithm: str
    protection: str
    transport: str
    model: str
    dataset: str
    classes: list[str]
    partition: str
    partition_notes: list[str]
    hospitals: int
    cohort: int
    rounds: int
    rounds_completed: int
    seed: int
    finished: bool
    shared_parameters: int
    private_parameters: int
    local_test: LocalFigures
    baselines: dict[str, MergedFigures]
    global_test: GlobalFigures | None = None
    bytes: Traffic | None
    seconds: Seconds
    skipped_images: list[str]
    data_per_hospital: dict[str, ClassCounts]


AnySummary = HospitalSummary | CoordinatorSummary | RunSummary


class MetricsLine(Measured, kw_only=True, omit_defaults=True):
    """One line of a hospital's metrics.jsonl: one round. What is not known is left out.

    `counted` tells whether this hospital's update was in the sum; `train_*` and `steps` are None if
    it did not train; `clipped` counts its clipped values, None if the protection does not count.
    """

    round: int
    counted: bool | None = None
    train_loss: float | None = None
    train_seconds: float | None = None
    steps: int | None = None
    protect_seconds: float | None = None
    test_loss: float | None = None
    clipped: int | None = None


class MergedLine(Measured, kw_only=True):
    """One line of `flop sim`'s metrics.jsonl: means over the hospitals that wrote this round.

    Means of every metric, because a hospital's line holds no counts: a metric that summary.json
    computes from summed counts (`Metric.merged`) differs a little. `clipped` is a sum.
    """

    round: int
    hospitals: int
    train_loss: float | None
    test_loss: float | None
    clipped: int
