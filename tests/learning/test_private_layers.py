"""Shared and private by name: every entry in exactly one of them, counters in neither."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import models, private_layers

torch.manual_seed(0)
RESNET = models.build("resnet18", channels=1, image_size=28, classes=3)
TRAVELS = [name for name in RESNET.state_dict() if not name.endswith("num_batches_tracked")]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from(TRAVELS), max_size=4, unique=True),
    st.sampled_from(["shared", "private"]),
)
def test_every_entry_is_on_one_side_in_state_dict_order(private: list[str], buffers: str) -> None:
    chosen = private_layers.choose(RESNET, private, buffers=buffers)
    assert sorted(chosen.shared + chosen.private, key=TRAVELS.index) == TRAVELS
    for side in (chosen.shared, chosen.private):
        assert list(side) == sorted(side, key=TRAVELS.index)
    running = [name for name in TRAVELS if "running" in name]
    assert set(private or ["head.weight", "head.bias"]) <= set(chosen.private)
    assert buffers == "shared" or set(running) <= set(chosen.private)


def test_batch_counters_never_travel() -> None:
    for algorithm in ("flop", "fedavg", "local", "central"):
        chosen = private_layers.choose(RESNET, algorithm=algorithm)
        assert not [
            name for name in chosen.shared + chosen.private if "num_batches_tracked" in name
        ]


@pytest.mark.parametrize(
    ("algorithm", "shares_all"), [("fedavg", True), ("local", False), ("central", False)]
)
def test_the_other_algorithms_share_all_or_nothing(algorithm: str, shares_all: bool) -> None:
    chosen = private_layers.choose(RESNET, algorithm=algorithm)
    assert (list(chosen.shared), list(chosen.private)) == (
        (TRAVELS, []) if shares_all else ([], TRAVELS)
    )


@pytest.mark.parametrize("pattern", ["body.layer4.*", "body.layer4"])
def test_a_layers_name_stands_for_what_is_in_it(pattern: str) -> None:
    chosen = private_layers.choose(RESNET, [pattern, "head"])
    assert "body.layer4.1.bn2.running_var" in chosen.private and "head.bias" in chosen.private
    assert all(name.startswith(("body.layer4.", "head.")) for name in chosen.private)


def test_the_last_layers_take_their_buffers_along() -> None:
    assert private_layers.choose(RESNET, private_last=1).private == ("head.weight", "head.bias")
    two = private_layers.choose(RESNET, private_last=2).private
    assert two[:4] == tuple(
        f"body.layer4.1.bn2.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    )
    assert two[4:] == ("head.weight", "head.bias")


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"private": ["heads.*"]}, "'heads.*'.*head"),
        ({"private_last": 0}, "choose 1 to 40"),
        ({"private_last": 41}, "choose 1 to 40"),
        ({"private": ["*"]}, "nothing to share"),
        ({"private": ["head.*"], "private_last": 1}, "not by both"),
        ({"private": ["head.*"], "algorithm": "fedavg"}, "fedavg"),
        ({"algorithm": "flip"}, "flip"),
        ({"buffers": "both"}, "both"),
    ],
)
def test_a_choice_without_sense_is_refused(choice: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        private_layers.choose(RESNET, **choice)
