"""Which device trains, and how: threads, determinism, mixed precision, memory format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

Switch = Literal["auto", "on", "off"]


def choose(name: str = "auto") -> torch.device:
    """The device of `choose_several`, or the first of several: the one that also evaluates.

    Raises:
        ValueError: If this machine does not have it, or there is no such name.
    """
    return choose_several(name)[0]


def choose_several(names: str = "auto") -> tuple[torch.device, ...]:
    """The devices that train, from a configuration's text.

    Args:
        names: `auto` (CUDA, then MPS, then CPU), `cpu`, `mps`, `cuda`, `cuda:N`; several with
            commas between (`cuda:0,cuda:1`), `cuda:all`, or `cpu:N` for N processes on the CPU.

    Raises:
        ValueError: If this machine does not have one of them, or there is no such name.
    """
    if names == "cuda:all":
        _one("cuda")
        return tuple(torch.device("cuda", index) for index in range(torch.cuda.device_count()))
    kind, _, count = names.partition(":")
    if kind == "cpu" and count.isdecimal() and int(count) >= 1:
        return (torch.device("cpu"),) * int(count)
    return tuple(_one(name.strip()) for name in names.split(","))


def _one(name: str) -> torch.device:
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
        raise ValueError(
            f"no device is called {name!r}; choose auto, cpu, mps, cuda, cuda:N, several of these"
            " with commas, or cpu:N for N processes"
        )
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise ValueError(
                f"device {name} is not there: PyTorch sees {count} CUDA devices; choose auto or cpu"
            )
        return torch.device("cuda", int(index or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device mps is not there; choose auto or cpu")
    return torch.device(kind)


def prepare(threads: int | None = None) -> None:
    """Set the process up once: the number of threads, and deterministic algorithms on the CPU.

    On the CPU the same seed and number of threads then give the same bytes. On CUDA nothing is
    forced, because that costs speed and refuses some layers.

    Args:
        threads: How many CPU threads; None: as many as before.

    Raises:
        ValueError: If `threads` is below 1.
    """
    if threads is not None:
        if threads < 1:
            raise ValueError(f"{threads} threads cannot train; choose at least 1")
        torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling every new tensor guards against reading it unwritten. It costs time, and no code
        # of ours does that.
        flags: Any = torch.utils.deterministic  # its type does not know the property
        flags.fill_uninitialized_memory = False


def precision(device: torch.device, switch: Switch = "auto") -> torch.dtype | None:
    """The dtype of mixed precision, or None for plain float32.

    `auto` takes it on CUDA: bfloat16 from Ampere on, else float16.
    """
    if switch == "off" or (switch == "auto" and device.type != "cuda"):
        return None
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return torch.float16
    return torch.bfloat16


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Mixed precision with `dtype` as `precision` chose it; nothing for None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def memory_format(
    device: torch.device, switch: Switch = "auto", gains_on_cpu: bool = False
) -> torch.memory_format:
    """channels_last or contiguous; `auto` is channels_last on CUDA and where a CPU gains by it."""
    faster = device.type == "cuda" or (device.type == "cpu" and gains_on_cpu)
    return (
        torch.channels_last
        if switch == "on" or (switch == "auto" and faster)
        else torch.contiguous_format
    )
