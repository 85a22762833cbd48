"""The private part by pattern and by number, on modules of every shape."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from learning.private_layers import choose, layers


def network(depth: int, batchnorm: bool) -> nn.Sequential:
    """`depth` linear layers, each with a BatchNorm behind it if asked for."""
    parts: list[nn.Module] = []
    for _ in range(depth):
        parts.append(nn.Linear(2, 2))
        parts += [nn.BatchNorm1d(2)] if batchnorm else []
    return nn.Sequential(*parts)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 6), st.booleans(), st.data())
def test_the_last_layers_grow_from_the_end(depth, batchnorm, data):
    model = network(depth, batchnorm)
    owners = layers(model)
    count = data.draw(st.integers(1, len(owners) - 1))
    split = choose(model, private_last=count)
    kept = {name.rpartition(".")[0] for name in split.private}
    assert kept == set(owners[-count:])
    assert not kept & {name.rpartition(".")[0] for name in split.shared}
    if count > 1:
        assert set(choose(model, private_last=count - 1).private) < set(split.private)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 5), st.sets(st.integers(0, 4), min_size=1), st.randoms())
def test_the_order_and_the_repetition_of_patterns_do_not_matter(depth, chosen, order):
    model = network(depth, True)
    names = [f"{2 * one}.*" for one in chosen if one < depth]
    if not names:
        return
    shuffled = names * 2
    order.shuffle(shuffled)
    assert choose(model, names) == choose(model, shuffled)


@pytest.mark.parametrize("algorithm", ["flop", "fedavg"])
def test_private_buffers_stay_even_of_shared_layers(algorithm):
    model = network(2, True)
    split = choose(model, algorithm=algorithm, default=("3.*",), buffers="private")
    assert {"1.running_mean", "1.running_var"} <= set(split.private)
    assert {"1.weight", "1.bias"} <= set(split.shared)
    assert not any("running" in name for name in split.shared)


def test_a_pattern_without_a_wildcard_is_not_a_prefix():
    model = nn.ModuleDict({"head": nn.Linear(1, 1), "head2": nn.Linear(1, 1)})
    assert choose(model, ["head"]).private == ("head.weight", "head.bias")
    assert choose(model, ["head.bias"]).private == ("head.bias",)


def test_patterns_tell_capitals_apart():
    with pytest.raises(ValueError, match="'Head'"):
        choose(nn.ModuleDict({"head": nn.Linear(1, 1), "body": nn.Linear(1, 1)}), ["Head"])


def test_a_refusal_names_the_last_twelve_layers():
    with pytest.raises(ValueError, match=r"layers are 3, 4, .*, 14 and 3 before them$"):
        choose(network(15, False), ["none"])


def test_an_empty_choice_is_the_models_default():
    model = network(3, False)
    assert choose(model, [], default=("2.*",)) == choose(model, None, default=("2.*",))
    assert choose(model, [], default=("2.*",)).private == ("2.weight", "2.bias")


@pytest.mark.parametrize("algorithm", ["fedavg", "local", "central"])
@pytest.mark.parametrize("how", [{"private": ["0"]}, {"private_last": 1}, {"private_last": 0}])
def test_only_flop_has_a_private_part_to_choose(algorithm, how):
    with pytest.raises(ValueError, match=f"{algorithm} has no private part to choose"):
        choose(network(2, False), algorithm=algorithm, **how)


def test_parameters_of_the_module_itself_are_a_layer():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))
            self.head = nn.Linear(2, 2)

    model = Scaled()
    assert layers(model) == ["", "head"]
    assert choose(model, private_last=1).shared == ("scale",)


def test_weights_under_two_names_are_no_buffers():
    """Tied weights: `named_parameters` gives one of the names only."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2), nn.Linear(2, 2))
    model[2].weight = model[0].weight
    split = choose(model, algorithm="fedavg", buffers="private")
    assert split.private == ("1.running_mean", "1.running_var")


def test_weights_under_two_names_are_not_shared_under_one_of_them():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[2].weight = model[0].weight
    with pytest.raises(ValueError, match=r"0\.weight and 2\.weight are the same weights"):
        choose(model, ["2.*"])
    split = choose(model, ["0.*", "2.*"])
    assert split.shared == ("1.weight", "1.bias")
    assert choose(model, ["1"]).private == ("1.weight", "1.bias")
