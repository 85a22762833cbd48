"""A row of the matrix in words, for a reader who decides and does not program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import asdict

from attacks import protected
from attacks.cells import Cell
from attacks.kinds import kind_of
from attacks.kinds._kind import HOLDS, NOT_TRIED, PARTLY
from attacks.methods import ATTACKS, Attack, find
from attacks.observation import COLLUDING, CURIOUS, MALICIOUS
from attacks.row import Row
from learning import models

THEMES = (
    "Nothing hidden but FLOP's private head",
    "With a protection",
    "A coordinator that lies",
    "With noise: differential privacy",
    "More private layers",
    "More images, more steps, later rounds",
    "Other models, and training as hospitals do it",
)


def theme(cell: Cell) -> str:
    """Return the heading of `THEMES` under which the cell is listed: the first that fits."""
    base, hidden, lying, noisy, deeper, more, real = THEMES
    if cell.adversary.startswith(MALICIOUS):
        return lying
    if not protected.reads_updates(cell.protection):
        return hidden
    if cell.noise is not None:
        return noisy
    if cell.model != Cell().model:
        return real
    if cell.batch > 1 or cell.local_steps > 1 or cell.optimizer != "sgd" or cell.state:
        return more
    return deeper if cell.cut > 1 else base


def setting(cell: Cell) -> str:
    """Return the cell in words: what is trained how, protected how, against whom."""
    parts = ["FedAvg" if cell.algorithm == "fedavg" else "FLOP"]
    if cell.cut > 1:
        parts[0] += f", last {cell.cut} layers private"
    if protected.reads_updates(cell.protection):
        parts.append("unprotected" + (f", {cell.coded_bits} bits" if cell.coded_bits else ""))
    else:
        parts += [cell.protection, f"cohort of {cell.cohort}"]
    if cell.noise is not None:
        parts.append(f"DP noise {cell.noise:g}")
    parts.append(cell.model)
    if cell.batch > 1:
        parts.append(f"{cell.batch} images at once")
    if cell.local_steps > 1:
        parts.append(f"{cell.local_steps} local steps")
    if cell.optimizer == "adam":
        parts.append("Adam")
    if cell.state:
        parts.append(f"after {cell.state} round{'s' if cell.state > 1 else ''}")
    if models.has_batchnorm(cell.model):
        parts.append("BatchNorm in train mode" if cell.mode == "train" else "BatchNorm frozen")
    if cell.adversary.startswith(MALICIOUS):
        parts.append(cell.adversary.partition(": ")[2])
    elif cell.adversary == COLLUDING:
        parts.append("one hospital helps the coordinator")
    return " · ".join(parts)


def verdict(row: Row) -> str:
    """Return leaks, partly, nothing, holds or n/a. Nothing was found under "nothing" and "holds";
    the latter rests on more than this attack: on a protection, or on a refusal.
    """
    if row.refused is not None:
        return HOLDS if row.refused else PARTLY
    return kind_of(find(row.attack)).verdict(row) if row.measured else NOT_TRIED


def sentence(row: Row) -> str:
    """Return what the attacker gets, in one plain sentence."""
    if row.refused is not None:
        return row.note[0].upper() + row.note[1:].rstrip(".") + "."
    if not row.measured:
        return f"Cannot be tried: {row.note}."
    return kind_of(find(row.attack)).sentence(row)


def headline(rows: Sequence[Row]) -> list[str]:
    """Return the findings that a reader must not miss, made from the rows and nothing else."""
    said = [finding(attack, rows) for attack in ATTACKS.values()]
    for name in protected.protecting():
        row = _best(rows, protection=name, adversary=CURIOUS)
        if row:
            said.append(
                f"{name}: {row.psnr_median:.0f} dB at most, best guess {row.control_psnr:.0f} dB."
            )
        pair = _best(rows, protection=name, adversary=COLLUDING)
        if pair:
            leaks = (pair.success_rate or 0.0) >= 0.5
            said.append(
                f"{name} with a cohort of {pair.cohort} and a colluding hospital:"
                f" {pair.psnr_median:.0f} dB,"
                f" {'as bad as no mask' if leaks else 'no better than a guess'}."
            )
    real = _best(rows, optimizer="adam", batch=8)
    if real:
        success = real.success_rate or 0.0
        worth = (
            f"{100 * success:.0f} % of the images leak" if success else "these attacks fail there"
        )
        said.append(
            "Nearer to what hospitals do (8 images at once, several passes, Adam):"
            f" {real.psnr_median:.0f} dB at most, best guess {real.control_psnr:.0f} dB;"
            f" {worth}."
        )
    return [sentence for sentence in said if sentence]


def finding(attack: Attack[Any], rows: Sequence[Row]) -> str | None:
    """Return the attack's own sentence for the top of the report, filled from its best row."""
    if attack.finding is None:
        return None
    best = _best(rows, attack=attack.name, **attack.finding.where)
    if best is None or (best.success_rate or 0.0) < attack.finding.least:
        return None
    lies = [row.refused for row in rows if row.attack == attack.name and row.refused is not None]
    facts = asdict(best) | {"refused": sum(lies), "tried": len(lies)}
    return attack.finding.sentence.format(**facts | {"success": 100 * (best.success_rate or 0.0)})


def _best(rows: Sequence[Row], **wanted: object) -> Row | None:
    """The row with images that gains most over its control, of those with these values."""
    found = [
        row
        for row in rows
        if row.psnr_median is not None and all(getattr(row, k) == v for k, v in wanted.items())
    ]
    return max(found, key=lambda row: row.gain, default=None)
