"""A coordinator that lies to the product's own hospitals: what they answer.

The imprint block needs layers that are not in the agreed architecture and parameters that no honest
aggregation made. The coordinator can try to bring them in with another architecture in start file
and config, with another start, or with an aggregate of its own making. Under `plain` nothing proves
that an aggregate is a sum, so the coordinator chooses the numbers of the next model there, though
never its layers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from attacks.methods.imprint import PREFIX, ImprintBlock
from attacks.pictures import Pictures
from attacks.trials import arrange
from federation import model as shared_model
from federation.errors import ConfigError
from federation.messages import Aggregate, Message
from learning.randomness import seeded
from simulation.run.federate import Federation
from simulation.run.memory import Fault
from simulation.run.options import Options
from simulation.run.prepare import Prepared

PATIENCES = 4.0  # how long a run whose hospitals refuse is watched


def other_layers(pictures: Pictures, options: Options) -> str:
    """Name the block's layers in start file and config, with a digest that fits.

    Returns what a hospital answers; empty if it believes the lie.
    """

    def forge(prepared: Prepared, path: Path) -> Prepared:
        honest = shared_model.read(path)
        shape = pictures.images.shape
        block = ImprintBlock(shape[1], shape[2], 16, np.linspace(-1, 1, 100))
        tensors = {
            PREFIX + name: value.detach().numpy() for name, value in block.named_parameters()
        } | honest.tensors()
        shared_model.start(tensors, tuple(tensors), 1.0).save(path)
        described = msgspec.structs.replace(
            prepared.config.model, start_digest=shared_model.file_digest(path)
        )
        return replace(prepared, config=msgspec.structs.replace(prepared.config, model=described))

    return _answer(pictures, options, forge)


def another_start(pictures: Pictures, options: Options) -> str:
    """Start from the agreed layers with other numbers, under the agreed config.

    Returns what a hospital answers; empty if it believes the lie.
    """

    def forge(prepared: Prepared, path: Path) -> Prepared:
        start = shared_model.read(path)
        start.vector = start.vector + np.float32(1)
        start.save(path)
        return prepared

    return _answer(pictures, options, forge)


def another_aggregate(pictures: Pictures, options: Options) -> str:
    """Change one number of the sum, for every hospital.

    Returns what the hospitals answer; empty if they believe the lie.
    """
    with tempfile.TemporaryDirectory() as folder:
        federation = Federation(_arrange(pictures, options, Path(folder)))

        def raised(total: np.ndarray) -> None:
            total[0] += 1

        federation.bus.fault = _instead(federation, raised)
        federation.bus.play(PATIENCES * federation.prepared.config.federation.patience)
        if any(one.session.shared.round for one in federation.hospitals.values()):
            return ""
        refused = [
            note.text
            for _, note in federation.bus.notes
            if note.error and "refused Aggregate" in note.text
        ]
        return refused[0].partition(": ")[2]


def _instead(federation: Federation, change: Callable[[np.ndarray], None]) -> Fault:
    """A wire on which every aggregate's numbers are changed."""
    coding = federation.keeper.coding
    dtype = coding.ring_type.dtype if coding.bits else "<f4"

    def lie(
        who: int, direction: str, message: Message, now: float
    ) -> Iterable[tuple[float, Message]]:
        if isinstance(message, Aggregate):
            total = np.frombuffer(message.buffers[0], dtype).copy()
            change(total)
            message = msgspec.structs.replace(
                message, buffers=(total.view(np.uint8).data, *message.buffers[1:])
            )
        return ((0.0, message),)

    return lie


def _answer(
    pictures: Pictures, options: Options, forge: Callable[[Prepared, Path], Prepared]
) -> str:
    with tempfile.TemporaryDirectory() as folder:
        prepared = _arrange(pictures, options, Path(folder))
        path = prepared.folder / prepared.config.model.start
        with seeded(options.seed):
            prepared = forge(prepared, path)
        try:
            Federation(prepared)
        except ConfigError as error:
            return str(error).replace(f"{path}: ", "").replace("federation.toml: model: ", "")
    return ""


def _arrange(pictures: Pictures, options: Options, folder: Path) -> Prepared:
    part = slice(0, options.hospitals)
    return arrange(pictures.images[part], pictures.labels[part], pictures.classes, options, folder)
