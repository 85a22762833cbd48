"""A shared Linear+ReLU layer gives away every image of a sum; without one the attack says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from attacks.command import attack_app
from attacks.methods import Settings, disaggregation, find
from attacks.methods._separation import CERTAIN
from attacks.observation import Case, MissingKnowledge, Observation, SideKnowledge
from attacks.pictures import take
from federation.errors import ConfigError
from learning import models
from learning.randomness import seeded
from learning.training import INPUT_MEAN, INPUT_STD
from simulation.run.options import Options
from simulation.run.simulate import simulate

HOSPITALS, BATCH = 2, 2
PICTURES = take("phantom-cxr:300", HOSPITALS * BATCH, image_size=28)


def summed(model: str, bits: int = 0) -> Observation:
    """One step of SGD at each of two hospitals with heads of their own; the coordinator's sum."""
    private = frozenset({"head.weight", "head.bias"})
    before: dict[str, np.ndarray] = {}
    update: dict[str, np.ndarray] = {}
    quanta: dict[str, float] = {}
    for hospital in range(HOSPITALS):
        with seeded(0):
            net = models.build(model, channels=1, image_size=28, classes=3).train()
        part = slice(hospital * BATCH, (hospital + 1) * BATCH)
        x = torch.from_numpy(PICTURES.images[part]).float() / 255.0
        with seeded(hospital + 1):  # its own head, and its own dropout
            torch.nn.init.normal_(net.head.weight)
            logits = net((x - INPUT_MEAN) / INPUT_STD)
        functional.cross_entropy(logits, torch.from_numpy(PICTURES.labels[part])).backward()
        for name, value in net.named_parameters():
            if name in private or value.grad is None:
                continue
            before[name] = value.detach().numpy()
            step = -0.1 * value.grad.double().numpy()
            if bits:
                quantum = quanta.setdefault(name, np.abs(step).max() / 2 ** (bits - 1))
                step = np.round(step / quantum) * quantum
            update[name] = update.get(name, 0.0) + step
    return Observation(
        model, 1, 28, before, update, private, algorithm="flop", protection="masked", summed=2
    )


def case(model: str) -> Case:
    return Case(summed(model), SideKnowledge(batch_size=BATCH, public=PICTURES.public / 255.0))


def test_the_images_of_a_sum_are_told_apart_without_a_head() -> None:
    attacked = case("vgg11")
    result = disaggregation.ATTACK.run([attacked], Settings(steps=4))
    assert result.images.shape == (1, HOSPITALS * BATCH, 1, 28, 28)
    assert result.objective is not None and result.objective[0] < CERTAIN
    mean = PICTURES.public.mean(0) / 255.0
    truth = PICTURES.images / 255.0
    for image in truth:
        errors = ((result.images[0] - image) ** 2).reshape(HOSPITALS * BATCH, -1).mean(1)
        assert errors.min() < ((mean - image) ** 2).mean() / 2


def test_another_sum_does_not_give_the_images() -> None:
    """The control: the same attack on a sum of other images misses these."""
    attacked = case("vgg11")
    other = {name: value[::-1].copy() for name, value in attacked.observation.readable.items()}
    crossed = Case(replace(attacked.observation, update=other), attacked.knowledge)
    result = disaggregation.ATTACK.run([crossed], Settings(steps=1))
    assert result.objective is not None and result.objective[0] > CERTAIN


def test_a_network_without_such_a_layer_is_refused_by_name() -> None:
    with pytest.raises(MissingKnowledge, match="linear layer with bias before a ReLU; lenet-dlg"):
        disaggregation.ATTACK.run([case("lenet-dlg")])


def test_the_noise_of_a_quantised_update_is_its_step() -> None:
    seen = summed("vgg11", bits=12)
    name = "neck.3.weight"
    step = float(np.abs(seen.readable[name][seen.readable[name] != 0]).min())
    assert disaggregation.noise_of(seen, name) == pytest.approx(step * (2 / 6) ** 0.5, rel=1e-3)
    assert disaggregation.noise_of(summed("vgg11"), name) < 1e-7


def test_the_attack_is_registered() -> None:
    assert find("disaggregation") is disaggregation.ATTACK


def test_public_images_can_be_named_on_the_command_line(tmp_path: Path) -> None:
    """Without them the attack is refused by the name of what it needs."""
    recorded = tmp_path / "run"
    options = Options.of(
        data="phantom-cxr:24",
        image_size=28,
        model="vgg11",
        protection="plain",
        bits=0,
        optimizer="sgd",
        hospitals=3,
        rounds=1,
        transport="memory",
        record=True,
        baselines=False,
        out=recorded,
    )
    simulate(options)
    arguments = ["--run", str(recorded), "--attack", "disaggregation", "--steps", "1"]
    with pytest.raises(ConfigError, match="public images of the same kind"):
        attack_app(["run", *arguments], standalone_mode=False)
    out = tmp_path / "pictures"
    named = ["--public", "phantom-cxr:30", "--most", "1", "--images", "4", "--out", str(out)]
    attack_app(["run", *arguments, *named], standalone_mode=False)
    assert list(out.iterdir())
