"""`flop.Federation` and `flop.load_run` with `run.seen`: what the coordinator of a run saw."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from torch import nn

from attacks.recorded import Seen, load
from learning import models
from simulation import front


class Run(front.Run):
    """A finished run; see `simulation.front.Run`."""

    def seen(self, round: int = 1) -> list[Seen]:
        """What the coordinator saw of a round: one entry for each thing that it could read.

        That is every hospital's update under plain, their sum under masked, and ciphertexts under
        ckks. Hand the list, or one of its entries, to `flop.attack`.

        Raises:
            ConfigError: If the run was not made with `record=True`, or has no such round.

        Example:
            >>> import flop
            >>> run = flop.Federation("phantom-cxr:60", image_size=28, hospitals=3, rounds=1,
            ...                       record=True).run()
            >>> run.seen(round=1)[0].observation.summed
            3
        """
        with models.own(self.module) if self.module is not None else nullcontext():
            return load(self.folder, round)


class Federation(front.Federation):
    __doc__ = front.Federation.__doc__

    def run(self, on_round: front.OnRound | None = None) -> Run:
        """Run all rounds; see `simulation.front.Federation.run`."""
        made = super().run(on_round)
        return Run(made.folder, made.module)


def load_run(path: str | Path, model: nn.Module | None = None) -> Run:
    """A finished run from its directory, which `flop sim` or `flop.Federation` has written.

    Args:
        path: The run directory.
        model: The module, if the run was made with a module of yours; only `seen` needs it.

    Raises:
        ConfigError: If there is no finished run.
    """
    return Run(Path(path), model)
