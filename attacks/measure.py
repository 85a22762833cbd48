"""Measures one cell of the leakage matrix: the trial, the attack with its controls, the row."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from attacks import malicious, noise, rounds
from attacks.cells import Cell
from attacks.kinds import Panel, Scene, kind_of
from attacks.methods import Settings, find
from attacks.observation import OTHER_AGGREGATE, OTHER_LAYERS, OTHER_START, MissingKnowledge
from attacks.pictures import take
from attacks.row import Row, describe

LIES = {
    OTHER_LAYERS: malicious.other_layers,
    OTHER_START: malicious.another_start,
    OTHER_AGGREGATE: malicious.another_aggregate,
}
REFUSED = "the hospitals refuse it:"
BELIEVED = (
    "the hospitals believe it: nothing proves a sum, so the coordinator chooses the next model's"
    " numbers, though not its layers"
)


def measure(
    cell: Cell, *, root: Path | None = None, device: str = "cpu"
) -> tuple[Row, Panel | None]:
    """Return the cell's row, and pictures to show of it if the attack answers with pictures.

    A cell that cannot be tried has a row that says why. `root` holds the data sets.

    Raises:
        DataError: If the data set is too small or not there.
        ValueError: If there is no attack or model of that name.
    """
    attack = find(cell.attack)
    pictures = take(
        cell.dataset, rounds.enough(cell), image_size=cell.image_size, seed=cell.seed, root=root
    )
    row = describe(cell, None if cell.noise is None else noise.epsilon(cell.noise, cell.state + 1))
    if cell.adversary in LIES:
        words = LIES[cell.adversary](pictures, rounds.options(cell, rounds.hospitals(cell), 0))
        return replace(
            row, note=f"{REFUSED} {words}" if words else BELIEVED, refused=bool(words)
        ), None
    try:
        trials, cases = rounds.prepare(attack, cell, pictures)
        settings = Settings(device=device, seed=cell.seed, steps=cell.steps, restarts=cell.restarts)
        scene = Scene(cell, attack, pictures, trials, cases, settings)
        return kind_of(attack).measure(scene, row)
    except MissingKnowledge as error:
        return replace(row, note=str(error)), None
