"""The shared start: one safetensors file whose digest all parties agree on (seeded initialisation
differs between processors).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from federation import model as shared_model
from federation.errors import ConfigError
from learning import models, parameters, private_layers, randomness


def write_start(
    path: Path,
    *,
    name: str,
    classes: int,
    channels: int,
    image_size: int,
    private: Sequence[str],
    private_last: int | None,
    algorithm: str,
    buffers: str,
    clip: float,
    seed: int,
    pretrained: bool,
) -> tuple[str, tuple[str, ...]]:
    """Write the start of the shared layers; returns its SHA-256 and the private patterns as they
    were meant. Raises ConfigError.
    """
    try:
        with randomness.seeded(seed):
            network = models.build(
                name,
                channels=channels,
                image_size=image_size,
                classes=classes,
                pretrained=pretrained,
            )
        chosen = private_layers.choose(
            network,
            private or None,
            private_last,
            algorithm=algorithm,
            default=models.spec(name).private,
            buffers=buffers,
        )
    except ValueError as error:
        raise ConfigError(f"--model {name}: {error}") from None
    if algorithm == "fedavg":
        patterns: tuple[str, ...] = ()
    elif private_last is not None:
        patterns = tuple(
            dict.fromkeys(
                name.rpartition(".")[0] for name in chosen.private if _is_parameter(network, name)
            )
        )
    else:
        patterns = tuple(private or models.spec(name).private)
    start = shared_model.start(parameters.to_numpy(network, chosen.shared), chosen.shared, clip)
    start.save(path)
    return shared_model.file_digest(path), patterns


def _is_parameter(network: nn.Module, name: str) -> bool:
    return name in dict(network.named_parameters())
