"""Runs the cells of the leakage matrix: the trial, the attack, its controls, the row. Resumable
cell by cell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import dp_accounting
import numpy as np
import torch
from dp_accounting.rdp import RdpAccountant

from attacks import malicious, scores
from attacks.cells import (
    BATCHNORM,
    COLLUDING,
    DP_CLIP,
    OTHER_AGGREGATE,
    OTHER_LAYERS,
    OTHER_START,
    UNCHECKED,
    Cell,
)
from attacks.imprinting import imprinted
from attacks.methods import Settings, find
from attacks.observation import Case, MissingKnowledge, SideKnowledge
from attacks.pictures import Pictures, take
from attacks.trials import Trial, play, play_frozen
from federation.files import write_whole
from simulation import engines
from simulation.run.options import Options

COLUMNS = (
    *(
        "attack",
        "algorithm",
        "protection",
        "adversary",
        "model",
        "dataset",
        "cut",
        "mode",
        "state",
        "batch",
        "local_steps",
    ),
    *(
        "optimizer",
        "cohort",
        "dp_epsilon",
        "seed",
        "images",
        "psnr_q1",
        "psnr_median",
        "psnr_q3",
        "ssim_median",
        "ncc_median",
    ),
    *("identifiability", "label_accuracy", "success_rate", "control_psnr", "steps", "seconds"),
)
DELTA = 1e-5
SHOWN = 8
LIES = {
    OTHER_LAYERS: malicious.other_layers,
    OTHER_START: malicious.another_start,
    OTHER_AGGREGATE: malicious.another_aggregate,
}
REFUSED = "the hospitals refuse it:"
BELIEVED = (
    "the hospitals believe it: nothing proves a sum, so the coordinator chooses the next model's"
    " numbers, though not its layers"
)
Row = dict[str, Any]
Panel = dict[str, np.ndarray]


def run_all(
    cells: Sequence[Cell],
    out: Path,
    *,
    root: Path | None = None,
    device: str = "cpu",
    jobs: int = 2,
    engine: str = "joblib",
    told: Callable[[int, int, Row], None] = lambda done, of, row: None,
) -> list[Row]:
    """Rows in the order of the cells. A cell whose file lies in `out` is read, not run. Raises
    ConfigError.
    """
    (out / "cells").mkdir(parents=True, exist_ok=True)
    rows = {cell: _read(out, cell) for cell in cells}
    todo = [cell for cell, row in rows.items() if row is None]
    calls = [(cell, out.absolute(), root, device) for cell in sorted(todo, key=_cost, reverse=True)]
    work = engines.engine(engine)(_run_and_keep, calls, min(jobs, max(1, len(todo))))
    done = len(cells) - len(todo)
    for cell, row in work:
        rows[cell] = row
        done += 1
        told(done, len(cells), row)
    return [rows[cell] for cell in cells]


def _cost(cell: Cell) -> float:
    """Long cells first, so that none of them is left alone at the end."""
    return (
        (50.0 if cell.model in BATCHNORM else 1.0)
        * cell.batch
        * cell.local_steps
        * (2 if cell.cohort > 1 else 1)
    )


def _read(out: Path, cell: Cell) -> Row | None:
    path = out / "cells" / f"{cell.key}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _run_and_keep(cell: Cell, out: Path, root: Path | None, device: str) -> tuple[Cell, Row]:
    torch.set_num_threads(1)
    row, panel = run(cell, root=root, device=device)
    if panel is not None:
        np.savez_compressed(out / "cells" / f"{cell.key}.npz", **panel)
    write_whole(out / "cells" / f"{cell.key}.json", json.dumps(row))
    return cell, row


def run(cell: Cell, *, root: Path | None = None, device: str = "cpu") -> tuple[Row, Panel | None]:
    """The row of one cell, and what to show of it: `truth`, what was `found`, what was found in
    somebody else's update (`unrelated`) and the mean image, each (n, C, H, W). A refused cell has a
    row that says why.
    """
    pictures = take(
        cell.dataset, enough(cell), image_size=cell.image_size, seed=cell.seed, root=root
    )
    row: Row = {name: None for name in COLUMNS} | {
        name: value for name, value in asdict(cell).items() if name in COLUMNS and name != "steps"
    }
    row |= {
        "key": cell.key,
        "mode": cell.mode,
        "state": cell.state_name,
        "note": "",
        "noise": cell.noise,
        "rounds": cell.state,
    }
    row["dp_epsilon"] = None if cell.noise is None else epsilon(cell.noise, cell.state + 1)
    if cell.adversary in LIES:
        words = LIES[cell.adversary](pictures, options(cell, hospitals(cell), 0))
        return row | {"note": f"{REFUSED} {words}" if words else BELIEVED}, None
    try:
        attack = find(cell.attack)
        trials, cases = prepare(cell, pictures)
        settings = Settings(device=device, seed=cell.seed, steps=cell.steps, restarts=cell.restarts)
        if attack.finds != "images":
            return row | _inference(cell, attack.run(cases, settings), pictures, trials), None
        crossed = [
            _crossed(case, other) for case, other in zip(cases, cases[1:] + cases[:1], strict=True)
        ]
        # the control runs in the same batch: half of the copies attack somebody else's update
        both = attack.run([*cases, *crossed] if len(cases) > 1 else cases, settings)
    except (MissingKnowledge, KeyError) as error:
        what = (
            f"the protection {cell.protection} is not there"
            if isinstance(error, KeyError)
            else str(error)
        )
        return row | {"note": what}, None
    found, unrelated = both.images[: len(cases)], both.images[len(cases) :]
    row |= {"steps": both.steps, "seconds": round(both.seconds, 2)}
    row |= _scored(found, unrelated, both.labels, trials, pictures)
    panel = {
        "truth": np.concatenate([t.truth.images for t in trials]),
        "found": _paired(found, trials),
        "mean": pictures.mean[None],
    }
    if len(unrelated):
        panel["unrelated"] = _paired(unrelated, trials)
    return row, {name: images[:SHOWN].astype(np.float16) for name, images in panel.items()}


def _paired(found: np.ndarray, trials: Sequence[Trial]) -> np.ndarray:
    return np.concatenate(
        [f[scores.assignment(f, t.truth.images)] for f, t in zip(found, trials, strict=True)]
    )


def _crossed(case: Case, other: Case) -> Case:
    return case._replace(observation=replace(case.observation, update=other.observation.update))


def _scored(
    found: np.ndarray,
    unrelated: np.ndarray,
    labels: np.ndarray | None,
    trials: Sequence[Trial],
    pictures: Pictures,
) -> Row:
    pool = np.concatenate([pictures.images, pictures.others]) / 255.0
    every, best, single = [], [], {name: [] for name in ("grey", "mean", "unrelated")}
    for i, trial in enumerate(trials):
        truth = trial.truth
        every += scores.score(
            found[i],
            truth.images,
            pool=pool,
            labels=None if labels is None else labels[i],
            true_labels=truth.labels,
        )
        guesses = scores.constant_controls(truth.images, pictures.mean)
        if len(unrelated):
            guesses["unrelated"] = np.array(
                [s.psnr for s in scores.score(unrelated[i], truth.images)]
            )
        best.append(np.max(list(guesses.values()), axis=0))
        for name, values in guesses.items():
            single[name] += list(values)
    summary = asdict(scores.summarise(every, np.concatenate(best)))
    summary |= {
        f"control_{name}": float(np.median(values)) for name, values in single.items() if values
    }
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in summary.items()
    }


def _inference(cell: Cell, result: Any, pictures: Pictures, trials: Sequence[Trial]) -> Row:
    """Membership: the AUC stands under `identifiability` (chance 0.5). Label shares: 1 − total
    variation distance to the truth under `label_accuracy`, the same for the shadow data's own mix
    in the note.
    """
    row: Row = {"steps": result.steps, "seconds": round(result.seconds, 2), "images": cell.images}
    if cell.attack == "membership":
        member = np.repeat([1, 0], [cell.batch, cell.batch])
        values = [scores.auc(answer, member) for answer in result.answers]
        return row | {
            "identifiability": round(float(np.mean(values)), 4),
            "chance": 0.5,
            "note": "AUC of membership; chance is 0.5",
        }
    classes = len(pictures.classes)
    mix = np.bincount(pictures.other_labels, minlength=classes)
    real = [np.bincount(t.truth.labels, minlength=classes) for t in trials]
    right = np.mean(
        [
            1 - scores.total_variation_distance(a, b)
            for a, b in zip(result.answers, real, strict=True)
        ]
    )
    chance = np.mean([1 - scores.total_variation_distance(mix, b) for b in real])
    return row | {
        "label_accuracy": round(float(right), 4),
        "chance": round(float(chance), 4),
        "note": f"share of labels right; the comparable data's own mix gives {chance:.2f}",
    }


# ---- trials and what is known --------------------------------------------------------


def prepare(cell: Cell, pictures: Pictures) -> tuple[list[Trial], list[Case]]:
    """The rounds of a cell and the cases that its attacker has of them."""
    if cell.adversary == UNCHECKED:
        trials = imprinted(pictures, batch=cell.images, seed=cell.seed)
        return trials, [Case(t.observation, SideKnowledge(batch_size=cell.images)) for t in trials]
    together = hospitals(cell)
    trials: list[Trial] = []
    per_round = together * cell.batch
    for at in range(0, len(pictures.images) - per_round + 1, per_round):
        part = slice(at, at + per_round)
        if cell.frozen:
            trials += play_frozen(
                pictures.images[part],
                pictures.labels[part],
                pictures.classes,
                options(cell, together, at),
            )
            continue
        trials += play(
            pictures.images[part],
            pictures.labels[part],
            pictures.classes,
            options(cell, together, at),
            cell.state + 1,
        )
    if cell.adversary == COLLUDING and cell.protection == "masked":
        trials = _without_colluders(cell, pictures, trials, together)
    if cell.noise is not None:
        trials = _noisy(trials, cell)
    return trials, [_case(cell, pictures, trials, i) for i in range(len(trials))]


def hospitals(cell: Cell) -> int:
    """How many hospitals one round of the trial has: a sum's cohort, or all that are attacked side
    by side, at least two.
    """
    return (
        max(2, cell.images // cell.batch)
        if cell.protection in ("plain", "plain-12bit")
        else cell.cohort
    )


def enough(cell: Cell) -> int:
    """How many images the cell's rounds take: at least two observations, so that each has another's
    update for its control.
    """
    if cell.adversary == UNCHECKED:
        return cell.images
    per_round = hospitals(cell) * cell.batch
    return per_round * max(
        1 if cell.protection.startswith("plain") else 2, -(-cell.images // per_round)
    )


def options(cell: Cell, together: int, at: int) -> Options:
    """The federation of a cell: every hospital holds one batch and makes `local_steps` passes over
    it a round.
    """
    protection = "plain" if cell.protection.startswith("plain") else cell.protection
    return Options.of(
        image_size=cell.image_size, model=cell.model, algorithm=cell.algorithm, protection=protection,
        private_last=cell.cut if cell.algorithm == "flop" and cell.cut > 1 else None,
        bits=0 if cell.protection == "plain" else 12,
        hospitals=together, min_cohort=min(3, together), rounds=cell.state + 1,
        local_epochs=cell.local_steps, batch_size=cell.batch, lr=cell.lr, optimizer=cell.optimizer, seed=cell.seed + at,
        device="cpu",
    )  # fmt: skip


def _case(cell: Cell, pictures: Pictures, trials: Sequence[Trial], i: int) -> Case:
    seen, truth = trials[i].observation, trials[i].truth
    known = SideKnowledge(
        learning_rate=cell.lr,
        local_steps=cell.local_steps,
        optimizer=cell.optimizer,
        batch_size=cell.batch,
        classes=len(pictures.classes),
        mode=cell.mode,
    )
    if seen.update is None:
        seen = seen.read_as_numbers(cell.seed)
    if cell.attack == "oracle_head":
        known = replace(known, head=truth.heads[0], head_source="oracle")
    if cell.attack == "proxy_head":
        known = replace(
            known, head=trials[(i + 1) % len(trials)].truth.heads[0], head_source="proxy"
        )
    if cell.attack == "membership":
        others = pictures.others[i * cell.batch : (i + 1) * cell.batch] / 255.0
        known = replace(known, candidates=np.concatenate([truth.images, others]))
    if cell.attack == "label_distribution":
        known = replace(known, shadow=(pictures.others / 255.0, pictures.other_labels))
    return Case(seen, known)


def _without_colluders(
    cell: Cell, pictures: Pictures, trials: Sequence[Trial], together: int
) -> list[Trial]:
    """All but the first hospital hand over what they sent; it is replayed under plain, from the
    same seeds.
    """
    plain = replace(cell, protection="plain-12bit", adversary="")
    per_round, left = together * cell.batch, []
    for n, trial in enumerate(trials):
        part = slice(n * per_round, (n + 1) * per_round)
        own = play(
            pictures.images[part],
            pictures.labels[part],
            pictures.classes,
            options(plain, together, n * per_round),
            cell.state + 1,
        )
        first = trial.truth.images[: cell.batch]
        told = [t for t in own if not np.array_equal(t.truth.images, first)]
        known = {
            name: sum(t.observation.update[name] for t in told) for name in trial.observation.update
        }
        seen = trial.observation.without(known, len(told))
        truth = replace(
            trial.truth,
            images=first,
            labels=trial.truth.labels[: cell.batch],
            heads=trial.truth.heads[:1],
        )
        left.append(Trial(seen, truth))
    return left


def _noisy(trials: Sequence[Trial], cell: Cell) -> list[Trial]:
    """The Gaussian mechanism on every hospital's update: cut to an L2 norm of DP_CLIP, then noise
    of multiplier x DP_CLIP on every element. It is added to the float32 update that `plain` shows,
    as the hospital would before it sends.
    """
    coins, noisy = np.random.default_rng(cell.seed), []
    for trial in trials:
        shrink = min(1.0, DP_CLIP / max(_norm(trial.observation.update), 1e-30))
        update = {
            name: (
                (value * shrink + coins.normal(0, cell.noise * DP_CLIP, value.shape)).astype(
                    np.float32
                )
            )
            for name, value in trial.observation.update.items()
        }
        noisy.append(Trial(replace(trial.observation, update=update), trial.truth))
    return noisy


def _norm(update: Any) -> float:
    return math.sqrt(sum(float((value.astype(np.float64) ** 2).sum()) for value in update.values()))


def epsilon(noise: float, rounds: int) -> float:
    """ε at δ = 1e-5 for one hospital's whole contribution over `rounds` rounds without sampling
    (dp-accounting, RDP).

    The unit is the hospital: its whole update, of at most the clip's norm, or none.
    """
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(noise), rounds)
    return round(float(RdpAccountant().compose(event).get_epsilon(DELTA)), 2)
