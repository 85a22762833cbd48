"""Which parts of a model are shared and which stay private (`M_s` and `M_p` of the FLOP paper)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn


@dataclass(frozen=True)
class Split:
    """The names of both parts, in state_dict order.

    Integer counters (`num_batches_tracked`) are in neither part: they are never sent.
    """

    shared: tuple[str, ...]
    private: tuple[str, ...]


def choose(
    model: nn.Module,
    private: Sequence[str] | None = None,
    private_last: int | None = None,
    algorithm: str = "flop",
    default: Sequence[str] = ("head.*",),
    buffers: str = "shared",
) -> Split:
    """Split the model's state for an algorithm.

    Args:
        model: The model; its state_dict names are what is split.
        private: For flop: fnmatch patterns; a layer's own name stands for all that is in it.
        private_last: For flop, instead of `private`: the number of last layers that own parameters.
        algorithm: flop; fedavg shares everything; local and central share nothing.
        default: For flop: the patterns if neither `private` nor `private_last` is given.
        buffers: "shared": BatchNorm's running mean and variance follow their layer; "private": all
            of them stay in the hospital.

    Raises:
        ValueError: If a pattern matches nothing, if every layer would be private, if tied weights
            would be shared under one name and private under another, or if the algorithm has no use
            for the choice.
    """
    names = [name for name, value in model.state_dict().items() if value.is_floating_point()]
    if algorithm not in ("flop", "fedavg", "local", "central"):
        raise ValueError(
            f"no algorithm is called {algorithm!r}; choose flop, fedavg, local or central"
        )
    if buffers not in ("shared", "private"):
        raise ValueError(f"buffers are 'shared' or 'private', not {buffers!r}")
    if private and private_last is not None:
        raise ValueError(
            "choose the private part by pattern or by number of last layers, not by both"
        )
    if algorithm != "flop" and (private or private_last is not None):
        raise ValueError(
            f"{algorithm} has no private part to choose; leave it out or take the algorithm flop"
        )

    if algorithm == "fedavg":
        kept: set[str] = set()
    elif algorithm in ("local", "central"):
        kept = set(names)
    elif private_last is not None:
        kept = _of_layers(names, _last_layers(model, private_last))
    else:
        kept = _matching(model, names, private or default)
    if buffers == "private":
        # also the second name of tied weights, which are no buffers
        parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        kept |= {name for name in names if name not in parameters}
    if algorithm == "flop" and kept.issuperset(name for name, _ in model.named_parameters()):
        raise ValueError(
            "every layer is private, so there is nothing to share; that is the algorithm local"
        )
    _refuse_torn_weights(model, kept)
    return Split(
        shared=tuple(name for name in names if name not in kept),
        private=tuple(name for name in names if name in kept),
    )


def layers(model: nn.Module) -> list[str]:
    """Names of the modules that own parameters themselves, in the model's order."""
    return [
        name
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]


def _refuse_torn_weights(model: nn.Module, kept: set[str]) -> None:
    """Raise ValueError if weights with two names are private under only one of them."""
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        other = first.setdefault(id(parameter), name)
        if (name in kept) != (other in kept):
            raise ValueError(
                f"{other} and {name} are the same weights, so one cannot be private without the"
                " other; choose both or neither"
            )


def _matching(model: nn.Module, names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    kept: set[str] = set()
    for pattern in patterns:
        matched = {
            name
            for name in names
            if fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")
        }
        if not matched:
            candidates = layers(model)
            shown = ", ".join(candidates[-12:])
            more = f" and {len(candidates) - 12} before them" if len(candidates) > 12 else ""
            raise ValueError(
                f"the private pattern {pattern!r} matches no layer; the model's layers are"
                f" {shown}{more}"
            )
        kept |= matched
    return kept


def _last_layers(model: nn.Module, count: int) -> list[str]:
    candidates = layers(model)
    if not 1 <= count < len(candidates):
        raise ValueError(
            f"the last {count} layers cannot be private; choose 1 to {len(candidates) - 1} for this"
            " model"
        )
    return candidates[-count:]


def _of_layers(names: Iterable[str], owners: Iterable[str]) -> set[str]:
    wanted = set(owners)
    return {name for name in names if name.rpartition(".")[0] in wanted}
