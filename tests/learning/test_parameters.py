"""Arrays out of a model and into it: copies, all or nothing, and fresh draws from a seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from learning import parameters


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))


NAMES = [name for name in network().state_dict() if "num_batches" not in name]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(NAMES), unique=True), st.integers(0, 2**31))
def test_what_is_loaded_comes_back_and_the_rest_stays(names, seed):
    model = network()
    before = parameters.to_numpy(model, NAMES)
    rng = np.random.default_rng(seed)
    sent = {name: rng.normal(size=before[name].shape).astype(np.float32) for name in names}
    parameters.load(model, sent)
    after = parameters.to_numpy(model, NAMES)
    for name in NAMES:
        assert after[name].tobytes() == sent.get(name, before[name]).tobytes()
    assert list(parameters.to_numpy(model, names)) == names


def test_read_only_and_turned_arrays_are_loaded_as_they_look():
    model = network()
    turned = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2))
    turned.flags.writeable = False
    parameters.load(model, {"3.weight": turned})
    assert model[3].weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert model[3].weight.requires_grad and model[3].weight.is_leaf


def test_loading_does_not_keep_the_callers_array():
    model, array = network(), np.ones(3, np.float32)
    parameters.load(model, {"3.bias": array})
    array[:] = 5
    assert model[3].bias.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("3.bias", np.zeros((3, 1), np.float32), r"3\.bias has shape \(3, 1\).*needs \(3,\)"),
        ("3.bias", np.zeros(3, np.float16), "3.bias has dtype float16, the model needs float32"),
        ("3.bias", np.zeros(3, ">f4"), "3.bias has dtype >f4"),
        ("4.bias", np.zeros(3, np.float32), "no parameter called 4.bias"),
    ],
)
def test_one_array_that_does_not_fit_leaves_the_model_as_it_was(name, array, says):
    model = network()
    before = parameters.to_numpy(model, NAMES)
    good = {"0.bias": np.full(2, 9, np.float32)}
    for arrays in ({**good, name: array}, {name: array, **good}):
        with pytest.raises(ValueError, match=says):
            parameters.load(model, arrays)
    after = parameters.to_numpy(model, NAMES)
    assert all(before[key].tobytes() == after[key].tobytes() for key in NAMES)


def test_an_unknown_name_is_refused_on_the_way_out_too():
    with pytest.raises(ValueError, match="no parameter called head"):
        parameters.to_numpy(network(), ["0.bias", "head"])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.integers(0, 2**31))
def test_the_order_of_the_names_does_not_change_what_is_drawn(names, seed):
    one, other = network(), network()
    parameters.reinitialise(one, names, seed)
    parameters.reinitialise(other, names[::-1], seed)
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    start = network().state_dict()
    for name, value in one.state_dict().items():
        if name not in names:
            assert torch.equal(value, start[name])


def test_fresh_weights_have_their_layers_own_bounds():
    """A linear layer: uniform within 1 / sqrt(inputs); BatchNorm: 1."""
    model = nn.Sequential(nn.Linear(100, 400), nn.BatchNorm1d(400))
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(50)
    parameters.reinitialise(model, ["0.weight", "1.weight"], seed=1)
    assert model[0].weight.abs().max() <= 0.1 and model[0].weight.std() > 0.05
    assert (model[1].weight == 1).all() and (model[0].bias == 50).all()


def test_a_layer_without_an_initialisation_is_refused():
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    model = nn.ModuleDict({"bare": Bare()})
    with pytest.raises(ValueError, match="layer bare has no initialisation of its own"):
        parameters.reinitialise(model, ["bare.scale"], seed=0)


def test_drawing_afresh_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    model = network()
    torch.random.set_rng_state(before)
    parameters.reinitialise(model, NAMES, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
