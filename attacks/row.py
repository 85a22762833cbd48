"""One row of the leakage matrix: the cell's settings and what was measured there."""

from __future__ import annotations

from dataclasses import asdict

import msgspec

from attacks.cells import Cell


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """None means that a figure does not apply.

    Attributes:
        psnr_q1, psnr_median, psnr_q3: dB, over the images; SSIM and |NCC| as medians.
        identifiability: Share of the images whose reconstruction is nearest to the true one of all
            images at hand; for membership the AUC.
        label_accuracy: Share of labels right; for label shares, 1 − total variation distance.
        success_rate: Share of the images at least 3 dB above their own best control.
        control_psnr: Median over the images of the best control, dB; each control's own beside it.
        chance: What the figure of an inference is without the update.
        refused: Whether the hospitals refused a lying coordinator; None if nobody lied to them.
        note: Why there is no figure, or what the figure is.
    """

    attack: str
    algorithm: str
    protection: str
    bits: int
    adversary: str
    model: str
    dataset: str
    cut: int
    mode: str
    state: str
    batch: int
    local_steps: int
    optimizer: str
    cohort: int
    dp_epsilon: float | None = None
    seed: int
    images: int
    psnr_q1: float | None = None
    psnr_median: float | None = None
    psnr_q3: float | None = None
    ssim_median: float | None = None
    ncc_median: float | None = None
    identifiability: float | None = None
    label_accuracy: float | None = None
    success_rate: float | None = None
    control_psnr: float | None = None
    steps: int | None = None
    seconds: float | None = None
    key: str
    noise: float | None = None
    rounds: int
    refused: bool | None = None
    chance: float | None = None
    control_grey: float | None = None
    control_mean: float | None = None
    control_unrelated: float | None = None
    note: str = ""

    @property
    def measured(self) -> bool:
        """Whether the attack ran."""
        return self.steps is not None

    @property
    def gain(self) -> float:
        """How far the median PSNR is above the best control, dB; −∞ if there are no images."""
        if self.psnr_median is None or self.control_psnr is None:
            return float("-inf")
        return self.psnr_median - self.control_psnr


COLUMNS = Row.__struct_fields__[: Row.__struct_fields__.index("key")]
"""The columns of cells.csv; the JSON rows have a few more."""


def describe(cell: Cell, dp_epsilon: float | None) -> Row:
    """Return the row of a cell before anything is measured."""
    settings = asdict(cell)
    shared = {name: settings[name] for name in COLUMNS if name in settings}
    shared |= {"bits": cell.coded_bits, "mode": cell.mode, "state": cell.state_name, "steps": None}
    return Row(**shared, dp_epsilon=dp_epsilon, key=cell.key, noise=cell.noise, rounds=cell.state)
