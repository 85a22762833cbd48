"""Observations of a real round, from what `--record` kept of the coordinator's frames. Nothing else
of the run is read.

`observations/round-N/` holds the shared model before (where the coordinator knows it), the
hospitals' update frames and the aggregate. Under plain every hospital's update is an observation;
under masked the uploads are noise by themselves and the sum is the observation; under ckks each
upload is one observation without an update.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from attacks.observation import Observation, SideKnowledge
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

KEPT_CIPHERTEXT = 1 << 20
_OURS = codec.Limits(1 << 30, 1 << 40)  # our own recording, not a peer's message


class Recorded(NamedTuple):
    """An observation with the hospitals it speaks of (one under plain and ckks, the survivors under
    masked).
    """

    hospitals: tuple[str, ...]
    observation: Observation


def load(run: Path, round_: int = 1) -> list[Recorded]:
    """Every observation of a recorded round. Raises ConfigError where the run was not recorded or
    is damaged.
    """
    folder = run / "observations" / f"round-{round_}"
    if not (folder / "observation.json").exists():
        kept = sorted(
            int(path.parent.name.partition("-")[2])
            for path in run.glob("observations/round-*/observation.json")
        )
        if kept:
            raise ConfigError(
                f"{run}: holds no recording of round {round_}; recorded are"
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
    """What the agreed config tells everybody; `images`, how many a hospital trained on, is a guess
    that must be declared.
    """
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


def _read(folder: Path, run: Path, config: FederationConfig) -> list[Recorded]:
    sees = protections.get(config.protection.kind).sees
    before = shared_model.read(
        folder / "before.safetensors" if sees.total else run / "setup" / "start.safetensors"
    )
    coding = Coding.of(config, before.layout)
    context = {
        "model": config.model.name,
        "channels": config.model.channels,
        "image_size": config.model.image_size,
        "algorithm": config.federation.algorithm,
        "protection": config.protection.kind,
        "cohort": config.federation.cohort,
    }
    names, private = _parameters(config, before.layout.names)
    tensors = before.layout.unflatten(before.vector)
    base = Observation(
        shared_before={name: tensors[name] for name in names},
        update=None,
        private=private,
        buffers_before={name: tensors[name] for name in before.layout.names if name not in names},
        **context,
    )
    uploads = sorted(folder.glob("update-*.bin"))
    if sees.reads is Reads.NOTHING:
        found = []
        for path in uploads:
            raw = b"".join(bytes(buffer) for buffer in _decode(path).buffers)
            sealed = replace(base, ciphertext=raw[:KEPT_CIPHERTEXT], ciphertext_bytes=len(raw))
            found.append(Recorded((_hospital(path),), sealed))
        return found
    if sees.reads is Reads.EACH:
        return [
            Recorded((_hospital(path),), _seen(base, before, coding, _decode(path).buffers[0], 1))
            for path in uploads
        ]
    message = _decode(folder / "aggregate.bin")
    if not isinstance(message, Aggregate):
        raise ValueError("the aggregate's file holds another message")
    members = tuple(_hospital(path) for path in uploads)
    return [
        Recorded(members, _seen(base, before, coding, message.buffers[0], len(message.survivors)))
    ]


def _seen(
    base: Observation, before: shared_model.SharedModel, coding: Coding, buffer: object, summed: int
) -> Observation:
    """The coordinator's reading of one coded vector: the mean over `summed` hospitals, times their
    number.
    """
    values = read_vector(coding, (buffer,))
    mean = coding.mean(coding.decode(values, summed), before.clips)
    moved = before.layout.unflatten(mean)
    update = {name: moved[name] * summed for name in base.shared_before}
    after = {name: value + moved[name] for name, value in base.buffers_before.items()}
    return replace(base, update=update, buffers_after=after, summed=summed)


def _parameters(
    config: FederationConfig, shared: tuple[str, ...]
) -> tuple[list[str], frozenset[str]]:
    """The shared names that are parameters, in order, and the parameters that stay in the hospital."""
    described = config.model
    net = models.build(
        described.name,
        channels=described.channels,
        image_size=described.image_size,
        classes=len(described.classes),
    )
    trainable = [name for name, _ in net.named_parameters()]
    return [name for name in shared if name in trainable], frozenset(trainable) - frozenset(shared)


def _decode(path: Path) -> Update | Aggregate:
    return codec.decode(read_frames(path), _OURS)


def _hospital(path: Path) -> str:
    return path.stem.removeprefix("update-")
