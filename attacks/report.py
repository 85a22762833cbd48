"""`report.html`, `cells.csv` and pictures of a leakage matrix, for a reader who decides and does
not program.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from PIL import Image

from attacks.cells import BATCHNORM, COLLUDING, CURIOUS, Cell
from attacks.gates import Gate
from attacks.matrix import BELIEVED, COLUMNS, REFUSED, Row

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CURVES = (
    ("noise", "DP noise multiplier", "log"),
    ("local_steps", "local steps on the same batch", "log"),
    ("batch", "images in the batch", "linear"),
    ("cut", "private layers, from the end", "linear"),
)
CLEAR = 25.0  # dB: recognisable at a glance
TOLD_APART = 0.3  # of the images, among some two hundred
ATTACKS = {
    "varpro": "adaptive: needs neither head nor label (VarPro)",
    "flop_naive": "naive: a made-up head",
    "flop_joint": "image, label and head searched together",
    "oracle_head": "with the hospital's own head",
    "proxy_head": "with a colluding hospital's head",
    "dlg": "DLG, on every layer",
    "idlg": "iDLG, on every layer",
    "inverting_gradients": "Inverting Gradients, on every layer",
    "inverting_gradients_multistep": "Inverting Gradients, training replayed",
    "gradinversion": "GradInversion, with BatchNorm's statistics",
    "closed_form": "closed form, of a shared linear layer",
    "imprint": "imprint block (Robbing the Fed)",
    "membership": "was this image in the batch?",
    "label_distribution": "which diagnoses, how often?",
}
THEMES = (
    "Nothing hidden but FLOP's private head",
    "With a protection",
    "A coordinator that lies",
    "With noise: differential privacy",
    "More private layers",
    "More images, more steps, later rounds",
    "Other models, and training as hospitals do it",
)
GUESSES = {
    "control_grey": "mid-grey, without looking at anything",
    "control_mean": "the mean image of comparable data",
    "control_unrelated": "the same attack on another hospital's update",
}


def write(
    out: Path, cells: Sequence[Cell], rows: Sequence[Row], gates: Sequence[Gate], about: str
) -> Path:
    """Writes cells.csv, pictures/*.png and report.html into `out`; returns the report's path. What
    does not apply is empty.
    """
    with (out / "cells.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        table.writeheader()
        table.writerows(
            {name: "" if row[name] is None else row[name] for name in COLUMNS} for row in rows
        )
    pictures = out / "pictures"
    pictures.mkdir(exist_ok=True)
    shown = []
    for cell, row in zip(cells, rows, strict=True):
        panel = _panel(out / "cells" / f"{cell.key}.npz", pictures / f"{cell.key}.png")
        words = {"what": setting(cell), "method": ATTACKS[cell.attack], "theme": theme(cell)}
        shown.append(
            row | words | {"sentence": sentence(row), "verdict": verdict(row), "panel": panel}
        )
    curves = [name for name in (_curve(cells, rows, *curve, pictures) for curve in CURVES) if name]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True
    )
    page = environment.get_template("report.html").render(
        themes=[(name, [row for row in shown if row["theme"] == name]) for name in THEMES],
        guesses=[(said, rows[0][name]) for name, said in GUESSES.items() if rows[0].get(name) is not None],
        gates=[asdict(g) for g in gates], curves=curves, about=about, headline=headline(rows), clear=CLEAR,
    )  # fmt: skip
    (out / "report.html").write_text(page, encoding="utf-8")
    return out / "report.html"


def theme(cell: Cell) -> str:
    """Under which heading a cell stands: the first that fits."""
    _, protected, lying, noisy, deeper, more, real = THEMES
    if cell.adversary.startswith("malicious"):
        return lying
    if not cell.protection.startswith("plain"):
        return protected
    if cell.noise is not None:
        return noisy
    if cell.model != Cell().model:
        return real
    if cell.batch > 1 or cell.local_steps > 1 or cell.optimizer != "sgd" or cell.state:
        return more
    return deeper if cell.cut > 1 else THEMES[0]


def setting(cell: Cell) -> str:
    """The cell in words: what is protected how, against whom."""
    base = Cell()
    parts = [
        (
            "FedAvg"
            if cell.algorithm == "fedavg"
            else "FLOP" + (f", last {cell.cut} layers private" if cell.cut > 1 else "")
        )
    ]
    parts.append(
        {"plain": "unprotected", "plain-12bit": "unprotected, 12 bits"}.get(
            cell.protection, cell.protection
        )
    )
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
    if cell.model in BATCHNORM:
        parts.append("BatchNorm in train mode" if cell.mode == "train" else "BatchNorm frozen")
    if cell.adversary.startswith("malicious"):
        parts.append(cell.adversary.partition(": ")[2])
    elif cell.adversary == COLLUDING:
        parts.append("one hospital helps the coordinator")
    return " · ".join(parts)


def verdict(row: Row) -> str:
    """leaks, partly, n/a; and where nothing was found: holds under a protection, which rests on
    more than this attack, else nothing.
    """
    if row["psnr_median"] is None:
        if row["note"].startswith(REFUSED):
            return "holds"
        if row["note"] == BELIEVED:
            return "partly"
        if row.get("chance") is None:
            return "n/a"
        figure = row["identifiability"] if row["attack"] == "membership" else row["label_accuracy"]
        better = (figure - row["chance"]) / (1 - row["chance"])
        return "leaks" if better > 0.8 else "partly" if better > 0.2 else "nothing"
    if row["success_rate"] >= 0.5:
        return "leaks" if row["psnr_median"] >= CLEAR else "partly"
    if row["success_rate"] > 0 or _told_apart(row):
        return "partly"
    return "nothing" if row["protection"].startswith("plain") else "holds"


def sentence(row: Row) -> str:
    """What the attacker gets, in one plain sentence."""
    if row["psnr_median"] is None:
        if row["attack"] == "membership" and row["identifiability"] is not None:
            return (
                f"Told a patient's image from a stranger's in {100 * row['identifiability']:.0f} %"
                " of pairs; a coin would in 50 %."
            )
        if row["attack"] == "label_distribution" and row["label_accuracy"] is not None:
            right, chance = 100 * row["label_accuracy"], 100 * row["chance"]
            return (
                f"Reads how often each diagnosis occurs, {right:.0f} % right; guessing the usual"
                f" mix is {chance:.0f} % right."
            )
        if row["note"].startswith((REFUSED, BELIEVED)):
            return row["note"][0].upper() + row["note"][1:].rstrip(".") + "."
        return "Cannot be tried: " + row["note"] + "."
    figure = f"{row['psnr_median']:.0f} dB; the best guess without it {row['control_psnr']:.0f} dB"
    share = f"{100 * row['success_rate']:.0f} %"
    if row["success_rate"] >= 0.5 and row["psnr_median"] >= CLEAR:
        return f"The patients' images, recognisable: {share} of them ({figure})."
    if row["success_rate"] >= 0.5:
        return f"Blurred images, more than a guess for {share} of them ({figure})."
    if row["success_rate"] > 0:
        return f"Mostly nothing; something of {share} of the images ({figure})."
    if _told_apart(row):
        return (
            f"No image, but for {100 * row['identifiability']:.0f} % of them which one of all at"
            f" hand it is ({figure})."
        )
    return f"Nothing that a blind guess would not show as well ({figure})."


def _told_apart(row: Row) -> bool:
    """PSNR and identifiability can disagree: a reconstruction that resembles nothing may still be
    nearest to the true image.
    """
    return (row["identifiability"] or 0.0) >= TOLD_APART


def headline(rows: Sequence[Row]) -> list[str]:
    """The findings that a reader must not miss, made from the rows and from nothing else."""

    def best(**wanted: Any) -> Row | None:
        found = [
            r
            for r in rows
            if r["psnr_median"] is not None and all(r[k] == v for k, v in wanted.items())
        ]
        return max(found, key=lambda r: r["psnr_median"] - r["control_psnr"], default=None)

    said = []
    flop = best(algorithm="flop", protection="plain", attack="varpro")
    if flop and flop["success_rate"] >= 0.5:
        said.append(
            "FLOP alone, without a protection: the adaptive attack reaches"
            f" {flop['psnr_median']:.0f} dB knowing neither head nor label (best guess without an"
            f" update: {flop['control_psnr']:.0f} dB)."
        )
    naive = best(algorithm="flop", protection="plain", attack="flop_naive")
    if naive:
        said.append(
            f"The naive attack that guesses the head reaches {naive['psnr_median']:.0f} dB: it"
            " would call FLOP safe, wrongly."
        )
    for kind in ("masked", "ckks", "masked+ckks"):
        row = best(protection=kind, adversary=CURIOUS)
        if row:
            said.append(
                f"{kind}: {row['psnr_median']:.0f} dB at most, best guess"
                f" {row['control_psnr']:.0f} dB."
            )
    pair = best(protection="masked", adversary=COLLUDING)
    if pair:
        worth = "as bad as no mask" if pair["success_rate"] >= 0.5 else "no better than a guess"
        said.append(
            f"masked with a cohort of {pair['cohort']} and a colluding hospital:"
            f" {pair['psnr_median']:.0f} dB, {worth}."
        )
    block = best(attack="imprint")
    if block:
        tries = [
            row
            for row in rows
            if row["attack"] == "imprint" and row["note"].startswith((REFUSED, BELIEVED))
        ]
        refused = sum(row["note"].startswith(REFUSED) for row in tries)
        said.append(
            "A coordinator whose hospitals run whatever it sends reads"
            f" {100 * block['success_rate']:.0f} % of a batch ({block['psnr_median']:.0f} dB); the"
            f" product's hospitals refused {refused} of its {len(tries)} ways in."
        )
    real = best(optimizer="adam", batch=8)
    if real:
        worth = (
            "these attacks fail there"
            if real["success_rate"] == 0
            else f"{100 * real['success_rate']:.0f} % of the images leak"
        )
        said.append(
            "Nearer to what hospitals do (8 images at once, several passes, Adam):"
            f" {real['psnr_median']:.0f} dB at most, best guess {real['control_psnr']:.0f} dB;"
            f" {worth}."
        )
    return said


def save_images(images: np.ndarray, folder: Path) -> None:
    """Every reconstruction (cases, B, C, H, W) as a PNG of eight times its size."""
    for case, batch in enumerate(images):
        for place, image in enumerate(batch):
            pixels = np.clip(image[0] if len(image) == 1 else image.transpose(1, 2, 0), 0, 1)
            big = np.kron(pixels, np.ones((8, 8, 1) if pixels.ndim == 3 else (8, 8)))
            plt.imsave(folder / f"{case}-{place}.png", big, cmap="gray", vmin=0, vmax=1)


def _panel(source: Path, target: Path) -> str | None:
    """Originals above, reconstructions below them, and at the bottom what the same attack found in
    another's update.
    """
    if not source.exists():
        return None
    with np.load(source, allow_pickle=False) as arrays:
        said = {
            "truth": "original",
            "found": "from the update",
            "unrelated": "control: from another's update",
        }
        lines = [(said[name], arrays[name].astype(float)) for name in said if name in arrays]
    count = len(lines[0][1])
    figure, axes = plt.subplots(
        len(lines), count, figsize=(0.95 * count + 0.1, 1.12 * len(lines)), squeeze=False
    )
    for row, (label, images) in zip(axes, lines, strict=True):
        row[0].set_title(label, fontsize=7, loc="left", pad=2)
        for place, image in zip(row, images, strict=False):
            place.imshow(
                np.clip(image[0] if len(image) == 1 else image.transpose(1, 2, 0), 0, 1),
                cmap="gray",
                vmin=0,
                vmax=1,
            )
        for place in row:
            place.set_axis_off()
    figure.tight_layout(pad=0.2)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=72)
    plt.close(figure)
    picture = Image.open(drawn)
    # noise does not compress: one channel where the images have one, a palette where they have
    # three
    (
        picture.convert("L") if lines[0][1].shape[1] == 1 else picture.convert("RGB").quantize(256)
    ).save(target, optimize=True)
    return target.name


def _curve(
    cells: Sequence[Cell], rows: Sequence[Row], axis: str, label: str, scale: str, folder: Path
) -> str | None:
    """PSNR of VarPro along one axis, everything else as in the base cell (the first one)."""
    base = asdict(cells[0])
    points = sorted(
        (
            getattr(cell, axis) or 0,
            row["psnr_q1"],
            row["psnr_median"],
            row["psnr_q3"],
            row["control_psnr"],
        )
        for cell, row in zip(cells, rows, strict=True)
        if row["psnr_median"] is not None
        and all(v == base[k] for k, v in asdict(cell).items() if k not in (axis, "images", "steps"))
    )
    if len(points) < 2:
        return None
    x, low, middle, high, control = (
        np.array(column, float) for column in zip(*points, strict=True)
    )
    figure, place = plt.subplots(figsize=(4, 2.8))
    place.plot(x, middle, "o-", color="#b03030", label="attack, median")
    place.fill_between(x, low, high, color="#b03030", alpha=0.2, label="quartiles")
    place.plot(x, control, "--", color="#555", label="best control")
    if scale == "log":
        place.set_xscale("symlog", linthresh=min((v for v in x if v > 0), default=1.0))
    else:
        place.set_xticks(x)
    place.set_xlabel(label)
    place.set_ylabel("PSNR, dB")
    place.legend(fontsize=7)
    figure.tight_layout()
    name = f"curve-{axis}.png"
    figure.savefig(folder / name, dpi=110)
    plt.close(figure)
    return name
