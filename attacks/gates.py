"""The benchmark's gates: positive and negative controls, each with a figure that can be missed.

`flop attack bench --gates` runs them all. A positive control shows that the attacks are strong, so
that "it did not leak" means something; a negative control shows that a protection leaves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from attacks import protected, scores
from attacks.cells import BITS
from attacks.gate_trials import (
    KNOWN,
    KNOWN_STEP,
    ONE_STEP,
    Scale,
    after_collusion,
    controls,
    psnrs,
    readable,
    trials,
)
from attacks.kinds.images import crossing
from attacks.methods import (
    Attack,
    Reconstruction,
    closed_form,
    disaggregation,
    dlg,
    idlg,
    inverting_gradients,
)
from attacks.methods import varpro as varpro_method
from attacks.methods._replica import Replica
from attacks.observation import Case
from attacks.throughput import rate
from attacks.trials import play

FEDAVG_LENET = ONE_STEP.but(model="lenet-dlg", algorithm="fedavg")
FLOP_LENET = ONE_STEP.but(model="lenet-dlg")


@dataclass(frozen=True)
class Gate:
    """One row of the gate table; `detail` says in plain words what was measured."""

    name: str
    figure: float
    threshold: float
    unit: str
    passed: bool
    detail: str
    seconds: float


class Figure(NamedTuple):
    """What a gate measured, and the sentence that explains it."""

    value: float
    detail: str


def _timed(
    name: str, unit: str, threshold: float, run: Callable[[], Figure], below: bool = False
) -> Gate:
    begun = time.perf_counter()
    value, detail = run()
    passed = value <= threshold if below else value >= threshold
    return Gate(name, value, threshold, unit, passed, detail, time.perf_counter() - begun)


# ---- positive controls ---------------------------------------------------------------


def _full_gradient(scale: Scale, attack: Attack[Reconstruction]) -> tuple[Figure, float]:
    """Median PSNR against FedAvg on DLG's LeNet, one image, one step; share of labels right."""
    pictures = scale.pictures(scale.xrays)
    found = trials(pictures, FEDAVG_LENET, 1)
    cases = [Case(t.observation, KNOWN_STEP) for t in found]
    result = attack.run(cases, scale.settings(scale.steps, scale.restarts))
    truth = np.array([t.truth.labels for t in found])
    right = 0.0 if result.labels is None else float((result.labels == truth).mean())
    median = float(np.median(psnrs(result.images, found)))
    detail = f"{len(found)} images of {pictures.name}, labels {100 * right:.0f} % right"
    return Figure(median, detail), right


def full_dlg(scale: Scale) -> Gate:
    """DLG must copy the images."""
    run = lambda: _full_gradient(scale, dlg.ATTACK)[0]  # noqa: E731
    return _timed("DLG, full gradient", "dB", 40.0, run)


def full_idlg(scale: Scale) -> Gate:
    """iDLG must copy the images; the gate fails as well if a single label is wrong."""

    def run() -> Figure:
        figure, right = _full_gradient(scale, idlg.ATTACK)
        return figure if right == 1 else Figure(0.0, figure.detail)

    return _timed("iDLG, full gradient, all labels right", "dB", 40.0, run)


def closed_form_exact(scale: Scale) -> Gate:
    """The input of the shared head under FedAvg, from the exact gradient in float64."""

    def run() -> Figure:
        worst = np.inf
        found = trials(scale.pictures(scale.xrays, 4), FEDAVG_LENET, 1)
        for trial in found:
            copy = Replica([Case(trial.observation, KNOWN)], dtype=torch.float64)
            image = torch.from_numpy(trial.truth.images)[None]
            gradient = copy.gradients(image, torch.from_numpy(trial.truth.labels)[None])
            exact = {name: -value[0].detach().numpy() for name, value in gradient.items()}
            features = closed_form.layer_inputs(replace(trial.observation, update=exact), "head")
            real = copy.features(image)[0, 0].detach().numpy()
            worst = min(worst, float(scores.psnr(((features - real) ** 2).mean())))
        return Figure(worst, f"worst of {len(found)} layer inputs")

    return _timed("closed form, shared linear with bias", "dB", 80.0, run)


def colour_lenet(scale: Scale) -> Gate:
    """Geiping et al. 2020, table 1: 18.00 dB on average for an untrained LeNet. One standard
    deviation below is the least.
    """

    def run() -> Figure:
        pictures = scale.pictures(scale.colour)
        found = trials(pictures, FEDAVG_LENET, 1)
        cases = [Case(t.observation, KNOWN_STEP) for t in found]
        result = inverting_gradients.ATTACK.run(cases, scale.settings(scale.ig_steps))
        db = psnrs(result.images, found)
        what = f"{len(found)} images of {pictures.name}, {result.steps} steps, ± {db.std():.1f} dB"
        return Figure(float(db.mean()), what)

    return _timed("Inverting Gradients, untrained LeNet (mean)", "dB", 18.0 - 3.3, run)


def private_head(scale: Scale, model: str, threshold: float) -> Gate:
    """VarPro must see through FLOP's private head."""

    def run() -> Figure:
        pictures = scale.pictures(scale.xrays)
        found = trials(pictures, ONE_STEP.but(model=model), 1)
        settings = scale.settings(scale.steps, scale.restarts)
        result = varpro_method.ATTACK.run([Case(t.observation, KNOWN) for t in found], settings)
        db, best = psnrs(result.images, found), controls(found, pictures.mean)
        return Figure(
            float(np.median(db)),
            f"{len(found)} images of {pictures.name}: {db.min():.0f} to {db.max():.0f} dB,"
            f" constant controls {np.median(best):.1f} dB, {result.seconds / len(found):.0f} s"
            " an image",
        )

    return _timed(f"VarPro against FLOP, head unknown, {model}", "dB", threshold, run)


def masked_sum(scale: Scale, hospitals: int = 5, batch: int = 4) -> Gate:
    """The images of a masked sum of an honest cohort, FLOP's head private and unknown: VGG-11, one
    step of SGD, 12 bits, round 2. Masks hide whose update it is, and not the images in the sum.
    """

    def run() -> Figure:
        pictures = scale.pictures(scale.xrays, hospitals * batch)
        options = ONE_STEP.but(
            model="vgg11",
            protection="masked",
            bits=BITS,
            hospitals=hospitals,
            batch_size=batch,
            rounds=2,
        )
        (trial,) = play(pictures.images, pictures.labels, pictures.classes, options, round_=2)
        known = replace(KNOWN, batch_size=batch, public=pictures.public / 255.0)
        case = Case(trial.observation, known)
        result = disaggregation.ATTACK.run([case], scale.settings(scale.steps))
        pool = np.concatenate([trial.truth.images, pictures.others / 255.0])
        found = scores.score(result.images[0], trial.truth.images, pool=pool)
        mean = pictures.public.mean(0) / 255.0
        guess = np.max(list(scores.constant_controls(trial.truth.images, mean).values()), axis=0)
        total = scores.summarise(found, guess)
        certificate = 1.0 if result.objective is None else float(result.objective[0])
        return Figure(
            total.psnr_median,
            f"{total.images} images of {pictures.name} in one sum ({total.psnr_q1:.1f} to"
            f" {total.psnr_q3:.1f} dB), {100 * (total.identifiability or 0.0):.0f} % identified"
            f" among {len(pool)}, success {100 * total.success_rate:.0f} %, best guess"
            f" {total.control_psnr:.1f} dB, certificate {100 * certificate:.2f} %,"
            f" {len(pictures.public)} public images",
        )

    return _timed("masked sum of 5 x 4 images taken apart, VGG-11", "dB", 22.0, run)


# ---- negative controls, and their limit ----------------------------------------------


def _advantage(scale: Scale, protection: str, hospitals: int, collude: bool = False) -> Figure:
    """Median over images of PSNR less the image's best control: grey, mean image, the attack on an
    unrelated update.
    """
    pictures = scale.pictures(scale.xrays, max(2, scale.images // hospitals) * hospitals)
    bits = 0 if protected.reads_updates(protection) else BITS
    found = trials(pictures, FLOP_LENET.but(protection=protection, bits=bits), hospitals)
    if collude:
        found = after_collusion(pictures, FLOP_LENET, found)
    cases = [readable(trial) for trial in found]
    settings = scale.settings(scale.steps or 200, 1)
    attack = varpro_method.ATTACK
    db = psnrs(attack.run(cases, settings).images, found)
    crossed = [crossing(c, d) for c, d in zip(cases, [*cases[1:], cases[0]], strict=True)]
    unrelated = psnrs(attack.run(crossed, settings).images, found)
    best = np.maximum(controls(found, pictures.mean), unrelated)
    success = float((db >= best + scores.SUCCESS_DB).mean())
    return Figure(
        float(np.median(db - best)),
        f"{len(db)} images: median {np.median(db):.1f} dB, best control {np.median(best):.1f} dB,"
        f" success {100 * success:.0f} %",
    )


def hidden(scale: Scale, protection: str) -> Gate:
    """No better than the best control: the median advantage is not above 0 dB."""
    who = f"{protection}, honest cohort of 5" if protected.reads_sums(protection) else protection
    run = partial(_advantage, scale, protection, 5)
    return _timed(f"{who}: advantage over the best control", "dB", 0.0, run, below=True)


def colluding(scale: Scale, protection: str) -> Gate:
    """A cohort of two, one of which helps the coordinator, must leak as if unprotected."""
    run = partial(_advantage, scale, protection, 2, collude=True)
    name = f"{protection}, cohort of 2, one colludes: as bad as plain (advantage)"
    return _timed(name, "dB", 10.0, run)


def throughput(scale: Scale, together: int = 32) -> Gate:
    """Many images at once must pay, in the same process and threads."""

    def run() -> Figure:
        one, many = rate(scale, 1), rate(scale, together)
        return Figure(
            many / one,
            f"{one:.0f} image-steps/s alone, {many:.0f} with {together} together,"
            f" {torch.get_num_threads()} threads",
        )

    return _timed(f"Inverting Gradients, {together} images at once", "times", 4.0, run)


GATES: dict[str, Callable[[Scale], Gate]] = {
    "dlg": full_dlg,
    "idlg": full_idlg,
    "closed-form": closed_form_exact,
    "inverting-gradients": colour_lenet,
    "varpro": partial(private_head, model="lenet-dlg", threshold=40.0),
    "varpro-relu": partial(private_head, model="lenet-dlg-relu", threshold=25.0),
    "masked-sum": masked_sum,
    **{name: partial(hidden, protection=name) for name in protected.protecting()},
    **{
        f"{name}-colluding": partial(colluding, protection=name)
        for name in protected.protecting()
        if protected.reads_sums(name)
    },
    "throughput": throughput,
}
