"""`report.html`, `cells.csv` and pictures of a leakage matrix, for a reader who decides and does not program."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np

from attacks.cells import Cell
from attacks.gates import Gate
from attacks.matrix import COLUMNS, Row

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CURVES = (
    ("noise", "DP noise multiplier", "log"),
    ("local_steps", "local steps", "log"),
    ("batch", "images in the batch", "linear"),
    ("cut", "private layers, from the end", "linear"),
)
CLEAR, PARTLY = 25.0, 3.0  # dB: recognisable at a glance; and above the best control


def write(out: Path, cells: Sequence[Cell], rows: Sequence[Row], gates: Sequence[Gate], about: str) -> Path:
    """Writes cells.csv, pictures/*.png and report.html into `out`; returns the report's path. What does not apply is empty."""
    with (out / "cells.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        table.writeheader()
        table.writerows({name: "" if row[name] is None else row[name] for name in COLUMNS} for row in rows)
    pictures = out / "pictures"
    pictures.mkdir(exist_ok=True)
    shown = []
    for cell, row in zip(cells, rows, strict=True):
        panel = _panel(out / "cells" / f"{cell.key}.npz", pictures / f"{cell.key}.png")
        shown.append(row | {"what": setting(cell), "sentence": sentence(row), "verdict": verdict(row), "panel": panel})
    curves = [name for name in (_curve(cells, rows, *curve, pictures) for curve in CURVES) if name]
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = environment.get_template("report.html").render(
        rows=shown, gates=[asdict(g) for g in gates], curves=curves, about=about, headline=headline(rows)
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    return out / "report.html"


def setting(cell: Cell) -> str:
    """The cell in words: what is protected how, against whom."""
    base = Cell()
    parts = ["FedAvg" if cell.algorithm == "fedavg" else "FLOP" + (f", last {cell.cut} layers private" if cell.cut > 1 else "")]
    parts.append({"plain": "unprotected", "plain-12bit": "unprotected, 12 bits"}.get(cell.protection, cell.protection))
    if cell.protection not in ("plain", "plain-12bit"):
        parts.append(f"cohort of {cell.cohort}")
    if cell.noise is not None:
        parts.append(f"DP noise {cell.noise:g}")
    parts.append(cell.model)
    if cell.batch > 1:
        parts.append(f"{cell.batch} images at once")
    if cell.local_steps > 1:
        parts.append(f"{cell.local_steps} local steps")
    if cell.optimizer != base.optimizer:
        parts.append("Adam")
    if cell.state:
        parts.append(f"after {cell.state} round{'s' if cell.state > 1 else ''}")
    if cell.mode == "train":
        parts.append("BatchNorm in train mode")
    return " · ".join(parts)


def verdict(row: Row) -> str:
    """leaks, partly, holds, or n/a: the colour of a row."""
    if row["psnr_median"] is None:
        guess = row["identifiability"]
        return "n/a" if row["note"].startswith(("attack", "the protection")) or guess is None else "partly" if guess > 0.6 else "holds"
    if row["success_rate"] >= 0.5:
        return "leaks" if row["psnr_median"] >= CLEAR else "partly"
    return "partly" if row["success_rate"] > 0 else "holds"


def sentence(row: Row) -> str:
    """What the attacker gets, in one plain sentence."""
    if row["psnr_median"] is None:
        if row["attack"] == "membership" and row["identifiability"] is not None:
            return f"Ranks the patient's image above a stranger's in {100 * row['identifiability']:.0f} % of pairs; chance is 50 %."
        if row["attack"] == "label_distribution" and row["label_accuracy"] is not None:
            return f"Reads {100 * row['label_accuracy']:.0f} % of the diagnoses' shares; {row['note'].split('; ')[-1]}."
        return "Cannot be tried: " + row["note"] + "."
    figure = f"{row['psnr_median']:.0f} dB, against {row['control_psnr']:.0f} dB for the best guess without an update"
    if row["success_rate"] >= 0.5 and row["psnr_median"] >= CLEAR:
        return f"Recovers recognisable images ({figure}; {100 * row['success_rate']:.0f} % of them)."
    if row["success_rate"] > 0:
        return f"Recovers something of {100 * row['success_rate']:.0f} % of the images ({figure})."
    return f"Recovers nothing that a blind guess would not ({figure})."


def headline(rows: Sequence[Row]) -> list[str]:
    """The findings that a reader must not miss, made from the rows and from nothing else."""

    def best(**wanted: Any) -> Row | None:
        found = [r for r in rows if r["psnr_median"] is not None and all(r[k] == v for k, v in wanted.items())]
        return max(found, key=lambda r: r["psnr_median"] - r["control_psnr"], default=None)

    said = []
    flop = best(algorithm="flop", protection="plain", attack="varpro")
    if flop:
        said.append(
            f"FLOP alone, without a protection: the adaptive attack reaches {flop['psnr_median']:.0f} dB knowing neither head nor "
            f"label (best guess without an update: {flop['control_psnr']:.0f} dB)."
        )
    naive = best(algorithm="flop", protection="plain", attack="flop_naive")
    if naive:
        said.append(f"The naive attack that guesses the head reaches {naive['psnr_median']:.0f} dB: it would call FLOP safe, wrongly.")
    for kind in ("masked", "ckks", "masked+ckks"):
        row = best(protection=kind, adversary="honest-but-curious")
        if row:
            said.append(f"{kind}: {row['psnr_median']:.0f} dB at most, best guess {row['control_psnr']:.0f} dB.")
    pair = best(protection="masked", adversary="honest-but-curious + 1 hospital")
    if pair:
        said.append(f"masked with a cohort of {pair['cohort']} and a colluding hospital: {pair['psnr_median']:.0f} dB, as bad as no mask.")
    return said


def save_images(images: np.ndarray, folder: Path) -> None:
    """Every reconstruction (cases, B, C, H, W) as a PNG of eight times its size."""
    for case, batch in enumerate(images):
        for place, image in enumerate(batch):
            pixels = np.clip(image[0] if len(image) == 1 else image.transpose(1, 2, 0), 0, 1)
            big = np.kron(pixels, np.ones((8, 8, 1) if pixels.ndim == 3 else (8, 8)))
            plt.imsave(folder / f"{case}-{place}.png", big, cmap="gray", vmin=0, vmax=1)


def _panel(source: Path, target: Path) -> str | None:
    """Originals above, reconstructions below."""
    if not source.exists():
        return None
    with np.load(source, allow_pickle=False) as arrays:
        truth, found = arrays["truth"], arrays["found"]
    count = len(truth)
    figure, axes = plt.subplots(2, count, figsize=(1.1 * count, 2.3), squeeze=False)
    for row, images in zip(axes, (truth, found), strict=True):
        for place, image in zip(row, images, strict=True):
            place.imshow(np.clip(image[0] if len(image) == 1 else image.transpose(1, 2, 0), 0, 1), cmap="gray", vmin=0, vmax=1)
            place.set_axis_off()
    axes[0][0].set_title("original", fontsize=8, loc="left")
    axes[1][0].set_title("from the update", fontsize=8, loc="left")
    figure.tight_layout(pad=0.3)
    figure.savefig(target, dpi=90)
    plt.close(figure)
    return target.name


def _curve(cells: Sequence[Cell], rows: Sequence[Row], axis: str, label: str, scale: str, folder: Path) -> str | None:
    """PSNR of VarPro along one axis, everything else as in the base cell (the first one)."""
    base = asdict(cells[0])
    points = sorted(
        (getattr(cell, axis) or 0, row["psnr_q1"], row["psnr_median"], row["psnr_q3"], row["control_psnr"])
        for cell, row in zip(cells, rows, strict=True)
        if row["psnr_median"] is not None and all(v == base[k] for k, v in asdict(cell).items() if k != axis)
    )
    if len(points) < 2:
        return None
    x, low, middle, high, control = (np.array(column, float) for column in zip(*points, strict=True))
    figure, place = plt.subplots(figsize=(4, 2.8))
    place.plot(x, middle, "o-", color="#b03030", label="attack, median")
    place.fill_between(x, low, high, color="#b03030", alpha=0.2, label="quartiles")
    place.plot(x, control, "--", color="#555", label="best control")
    if scale == "log":
        place.set_xscale("symlog", linthresh=min((v for v in x if v > 0), default=1.0))
    place.set_xlabel(label)
    place.set_ylabel("PSNR, dB")
    place.legend(fontsize=7)
    figure.tight_layout()
    name = f"curve-{axis}.png"
    figure.savefig(folder / name, dpi=110)
    plt.close(figure)
    return name
