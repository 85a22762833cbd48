"""Between a model's tensors and the numpy arrays that everything outside PyTorch works with."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import nn

from learning import randomness


def to_numpy(model: nn.Module, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Copies of the named state_dict entries: float32, C-contiguous, in the order of `names`.

    Raises:
        ValueError: If there is no entry of a name.
    """
    state = model.state_dict()
    return {name: _owned(_entry(state, name)) for name in names}


def load(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Write float32 arrays into the model, all of them or none.

    Raises:
        ValueError: If a name, shape or dtype does not fit. Nothing is written then.
    """
    state = model.state_dict()
    for name, array in arrays.items():
        target = _entry(state, name)
        if array.dtype != np.float32:
            raise ValueError(f"{name} has dtype {array.dtype}, the model needs float32")
        if array.shape != tuple(target.shape):
            raise ValueError(
                f"{name} has shape {array.shape}, the model needs {tuple(target.shape)}"
            )
    with torch.no_grad():
        for name, array in arrays.items():
            # copied first: the array may be read-only, which torch warns about
            state[name].copy_(torch.from_numpy(np.array(array, order="C")))


def reinitialise(model: nn.Module, names: Iterable[str], seed: int) -> None:
    """Draw the named entries afresh, by their layers' own default initialisation, from `seed`.

    They are drawn on the CPU and in the order of the model, so that the device makes no difference;
    the global random state is restored.

    Raises:
        ValueError: If a name is unknown, or its layer has no `reset_parameters`.
    """
    state = model.state_dict()
    wanted: dict[str, list[str]] = defaultdict(list)
    for name in names:
        _entry(state, name)
        owner, _, field = name.rpartition(".")
        wanted[owner].append(field)
    with randomness.seeded(seed), torch.no_grad():
        for owner, module in model.named_modules():
            if owner not in wanted:
                continue
            fresh = copy.deepcopy(module).cpu()
            if not hasattr(fresh, "reset_parameters"):
                raise ValueError(
                    f"the layer {owner} has no initialisation of its own; choose other private"
                    " layers"
                )
            fresh.reset_parameters()
            drawn = fresh.state_dict()
            for field in wanted[owner]:
                state[f"{owner}.{field}"].copy_(drawn[field])


def _entry(state: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    if name not in state:
        raise ValueError(f"the model has no parameter called {name}")
    return state[name]


def _owned(tensor: torch.Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, order="C", copy=True)
