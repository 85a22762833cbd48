"""Observations of a real round, from what `--record` kept of the coordinator's frames.

`observations/round-N/` holds the shared model before the round (if the coordinator knows it), the
hospitals' update frames and the aggregate; nothing else of the run is read. If the protection lets
the coordinator read updates, every hospital's is an observation. If it lets it read only sums, the
uploads are noise by themselves and the sum is the one observation. Otherwise each upload is an
observation without an update.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from attacks.observation import Case, Observation, SideKnowledge
from federation import codec, protections
from federation import config as federation_config
from federation import model as shared_model
from federation.coding import Coding
from federation.config import FederationConfig
from federation.errors import ConfigError, FederationError
from federation.framefile import read_frames
from federation.messages import Aggregate, Update
from federation.protections.checks import read_vector
from federation.protections.sees import Reads
from learning import models

M = TypeVar("M", Update, Aggregate)
KEPT_CIPHERTEXT = 1 << 20
_OURS = codec.Limits(1 << 30, 1 << 40)  # our own recording, not a peer's message


class Seen(NamedTuple):
    """An observation, the hospitals it speaks of, and the config that all parties agreed on."""

    hospitals: tuple[str, ...]
    observation: Observation
    config: FederationConfig

    def case(self, images: int | None = None) -> Case:
        """Return the case of an attacker who knows what the agreed config tells everybody.

        `images`, how many a hospital trained on, is a guess that must be declared.
        """
        return Case(self.observation, knowledge(self.config, images))


def load(run: Path, round: int = 1) -> list[Seen]:
    """Return every observation of a recorded round.

    Raises:
        ConfigError: If the run or the round was not recorded, or the recording is damaged.
    """
    folder = run / "observations" / f"round-{round}"
    if not (folder / "observation.json").exists():
        kept = sorted(
            int(path.parent.name.partition("-")[2])
            for path in run.glob("observations/round-*/observation.json")
        )
        if kept:
            raise ConfigError(
                f"{run}: holds no recording of round {round}; recorded are"
                f" {', '.join(map(str, kept))}"
            )
        raise ConfigError(
            f"{run}: holds no recording; run flop sim again with --record and another --out"
        )
    config = federation_config.read(run / "config.toml")
    try:
        return _read(folder, run, config)
    except (ValueError, FederationError) as error:
        raise ConfigError(f"{folder}: the recording is damaged ({error})") from None


def knowledge(config: FederationConfig, images: int | None = None) -> SideKnowledge:
    """Return what the agreed config tells everybody; `images` as in `Seen.case`."""
    training = config.training
    batch = min(images, training.batch_size) if images else training.batch_size
    steps = training.epochs * -(-images // batch) if images else None
    return SideKnowledge(
        learning_rate=training.lr,
        local_steps=steps,
        optimizer=training.optimizer,
        batch_size=batch,
        images=images,
        classes=len(config.model.classes),
        mode="eval" if batch == 1 else "train",
    )


def _read(folder: Path, run: Path, config: FederationConfig) -> list[Seen]:
    sees = protections.get(config.protection.kind).sees
    before = shared_model.read(
        folder / "before.safetensors" if sees.total else run / "setup" / "start.safetensors"
    )
    names, private = _parameters(config, before.layout.names)
    tensors = before.layout.unflatten(before.vector)
    base = Observation(
        model=config.model.name,
        channels=config.model.channels,
        image_size=config.model.image_size,
        shared_before={name: tensors[name] for name in names},
        update=None,
        private=private,
        buffers_before={name: tensors[name] for name in before.layout.names if name not in names},
        algorithm=config.federation.algorithm,
        protection=config.protection.kind,
        cohort=config.federation.cohort,
    )
    uploads = sorted(folder.glob("update-*.bin"))
    if sees.reads is Reads.EACH:
        each = ((path, _decode(path, Update).buffers[0]) for path in uploads)
        return [
            Seen((_hospital(path),), _decoded(base, before, config, upload, 1), config)
            for path, upload in each
        ]
    if sees.reads is Reads.SUM:
        total = _decode(folder / "aggregate.bin", Aggregate)
        summed = _decoded(base, before, config, total.buffers[0], len(total.survivors))
        return [Seen(tuple(_hospital(path) for path in uploads), summed, config)]
    found = []
    for path in uploads:
        raw = b"".join(bytes(buffer) for buffer in _decode(path, Update).buffers)
        sealed = replace(base, ciphertext=raw[:KEPT_CIPHERTEXT], ciphertext_bytes=len(raw))
        found.append(Seen((_hospital(path),), sealed, config))
    return found


def _decoded(
    base: Observation,
    before: shared_model.SharedModel,
    config: FederationConfig,
    buffer: bytes | memoryview,
    summed: int,
) -> Observation:
    """The coordinator's reading of one coded vector: the mean over `summed` hospitals, times their
    number.
    """
    coding = Coding.of(config, before.layout)
    values = read_vector(coding, (buffer,))
    mean = coding.mean(coding.decode(values, summed), before.clips)
    moved = before.layout.unflatten(mean)
    update = {name: moved[name] * summed for name in base.shared_before}
    after = {name: value + moved[name] for name, value in base.buffers_before.items()}
    return replace(base, update=update, buffers_after=after, summed=summed)


def _parameters(
    config: FederationConfig, shared: tuple[str, ...]
) -> tuple[list[str], frozenset[str]]:
    """The shared names that are parameters, in order; and the parameters that stay private."""
    described = config.model
    net = models.build(
        described.name,
        channels=described.channels,
        image_size=described.image_size,
        classes=len(described.classes),
    )
    trainable = [name for name, _ in net.named_parameters()]
    return [name for name in shared if name in trainable], frozenset(trainable) - frozenset(shared)


def _decode(path: Path, wanted: type[M]) -> M:
    """Raises ValueError if the file holds another message."""
    message = codec.decode(read_frames(path), _OURS)
    if not isinstance(message, wanted):
        raise ValueError(f"{path.name} holds another message than {wanted.__name__}")
    return message


def _hospital(path: Path) -> str:
    return path.stem.removeprefix("update-")
