"""The shared layers before round 1, and the keys of federation.toml that follow from them.

All parties load one file and compare its digest, because a seeded initialisation gives different
numbers on different processors.
"""

from __future__ import annotations

import hashlib

from msgspec import structs

from federation import model as shared_model
from federation.config import FederationConfig
from federation.errors import ConfigError
from learning import models, parameters, private_layers, randomness


def complete(
    draft: FederationConfig, private_last: int | None = None, pretrained: bool = False
) -> tuple[FederationConfig, bytes]:
    """Initialise a model and fill in the keys of federation.toml that follow from it.

    Args:
        draft: The config with placeholders for `model.start_digest` and, if they are not given, the
            patterns of private layers.
        private_last: Keep the last K layers private, instead of `model.private`.
        pretrained: Start from ImageNet weights.

    Returns:
        The config with the SHA-256 of the start and its private patterns, and the content of
        start.safetensors.

    Raises:
        ConfigError: If the model does not exist or lacks one of the private layers.
    """
    agreed, algorithm = draft.model, draft.federation.algorithm
    try:
        with randomness.seeded(draft.federation.seed):
            network = models.build(
                agreed.name,
                channels=agreed.channels,
                image_size=agreed.image_size,
                classes=len(agreed.classes),
                pretrained=pretrained,
            )
        default = models.spec(agreed.name).private
        chosen = private_layers.choose(
            network,
            agreed.private or None,
            private_last,
            algorithm=algorithm,
            default=default,
            buffers=agreed.buffers,
        )
    except ValueError as error:
        raise ConfigError(f"--model {agreed.name}: {error}") from None
    if algorithm == "fedavg":
        patterns: tuple[str, ...] = ()
    elif private_last is not None:
        parameters_of = dict(network.named_parameters())
        patterns = tuple(
            dict.fromkeys(
                name.rpartition(".")[0] for name in chosen.private if name in parameters_of
            )
        )
    else:
        patterns = tuple(agreed.private or default)
    start = shared_model.start(
        parameters.to_numpy(network, chosen.shared), chosen.shared, draft.protection.clip
    )
    content = shared_model.to_bytes(start)
    model = structs.replace(
        agreed, private=patterns, start_digest=hashlib.sha256(content).hexdigest()
    )
    return structs.replace(draft, model=model), content
