"""Which device trains, and how: threads, determinism, mixed precision, memory format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Switch = Literal["auto", "on", "off"]


def choose(name: str = "auto") -> torch.device:
    """`auto` (CUDA, then MPS, then CPU), `cpu`, `mps`, `cuda` or `cuda:N`. ValueError when this
    machine does not have it.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise ValueError(f"no device is called {name!r}; choose auto, cpu, mps, cuda or cuda:N")
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


def choose_several(names: str) -> list[torch.device]:
    """One device as `choose` takes it, several with commas between (`cuda:0,cuda:1`), or
    `cuda:all`. ValueError likewise.
    """
    if names == "cuda:all":
        choose("cuda")
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [choose(name.strip()) for name in names.split(",")]


def prepare(threads: int | None = None) -> None:
    """Set the process up once: `threads` CPU threads (None: leave), and deterministic algorithms on
    the CPU.

    On the CPU the same seed and thread count then give the same bytes. On CUDA only what PyTorch
    does deterministically anyway is deterministic; forcing it there costs speed and refuses some
    layers.
    """
    if threads is not None:
        if threads < 1:
            raise ValueError(f"{threads} threads cannot train; choose at least 1")
        torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=True)
        # filling every new tensor guards against reading it unwritten; it costs time and we never
        # do
        torch.utils.deterministic.fill_uninitialized_memory = False


def precision(device: torch.device, switch: Switch = "auto") -> torch.dtype | None:
    """The dtype of mixed precision, or None for plain float32. `auto`: on CUDA (bfloat16 from
    Ampere on, else float16).
    """
    if switch == "off" or (switch == "auto" and device.type != "cuda"):
        return None
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return torch.float16
    return torch.bfloat16


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager:
    """Mixed precision with `dtype` as `precision` chose it; nothing for None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def memory_format(
    device: torch.device, switch: Switch = "auto", gains_on_cpu: bool = False
) -> torch.memory_format:
    """channels_last where it is faster: `auto` takes it on CUDA, and on the CPU for the models that
    gain by it.
    """
    faster = device.type == "cuda" or (device.type == "cpu" and gains_on_cpu)
    return (
        torch.channels_last
        if switch == "on" or (switch == "auto" and faster)
        else torch.contiguous_format
    )
