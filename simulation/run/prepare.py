"""From options to a federation that can be started: federation.toml, the start of its model, its
keys and roster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from msgspec import structs

from federation import config as federation_config
from federation import keys, roster
from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.keys import Secrets
from federation.roster import Roster
from hospital_node.local_data import data_root
from hospital_node.start import complete
from learning.data import Dataset, open_dataset
from learning.partition import Partition, partition
from simulation.run.options import Options
from simulation.run.seeds import hospital_ids, own_secret


@dataclass(frozen=True)
class Prepared:
    """A federation that is ready to be started; its files are in `folder`."""

    options: Options
    folder: Path
    config: FederationConfig
    dataset: Dataset

    @property
    def ids(self) -> list[str]:
        """The hospitals' names, in the order of their numbers."""
        return hospital_ids(self.options.hospitals)

    @cached_property
    def division(self) -> Partition:
        """Each hospital's rows of the training folder. Raises ConfigError."""
        options, index = self.options, self.dataset.train
        try:
            return partition(
                options.partition,
                index.labels,
                index.columns,
                options.hospitals,
                options.seed,
                groups=index.groups,
            )
        except ValueError as error:
            raise ConfigError(f"--partition {options.partition}: {error}") from None


def prepare(options: Options, dataset: Dataset | None = None) -> Prepared:
    """Write what all parties of a simulation agree on into `options.out`/setup.

    A folder that holds the same federation is continued: its files stay as they are.

    Args:
        options: What is asked for.
        dataset: The data, if it is not what `options.data` names.

    Raises:
        ConfigError: If the options do not fit the data or the model, or the folder holds another
            federation. Nothing is written then.
        DataError: If the data cannot be read.
    """
    if dataset is None:
        dataset = open_dataset(
            options.data,
            image_size=options.agreed.model.image_size,
            seed=options.seed,
            root=data_root(),
        )
    config, start = make_config(options, dataset)
    folder = options.out / "setup"
    prepared = Prepared(options, folder, config, dataset)
    _ = prepared.division  # a partition that does not work is refused before anything is written
    path = folder / "federation.toml"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / config.model.start).write_bytes(start)
        federation_config.write_text(path, federation_config.to_toml(config))
    elif federation_config.read(path) != config:
        raise ConfigError(
            f"--out {options.out}: holds a run with other options; take another folder, or give the"
            " same options to continue it"
        )
    return prepared


def make_config(options: Options, dataset: Dataset) -> tuple[FederationConfig, bytes]:
    """The federation.toml of these options on this data, and the content of its start file.

    Raises:
        ConfigError: If the options do not fit the data or the model.
    """
    draft = options.agreed
    model = structs.replace(draft.model, classes=tuple(dataset.classes), channels=dataset.channels)
    config, start = complete(
        structs.replace(draft, model=model), options.private_last, options.pretrained
    )
    text = federation_config.to_toml(config).encode()
    checked = federation_config.decode_toml(text, FederationConfig, "flop sim")
    return federation_config.validate(checked, "flop sim"), start


def admit(
    prepared: Prepared, address: str, transport: Callable[[], tuple[bytes, bytes]]
) -> tuple[Roster, dict[str, Secrets]]:
    """Keys and roster of the federation, in its folder. Keys that are there are kept.

    Args:
        prepared: The federation.
        address: Where its coordinator listens.
        transport: Makes a CURVE key pair: public and secret key, 32 bytes each.

    Returns:
        The roster, and each party's secrets by its name.
    """
    folder, path = prepared.folder, prepared.folder / "roster.toml"
    secrets: dict[str, Secrets] = {}
    parties = []
    for number, identifier in enumerate(("coordinator", *prepared.ids)):
        secret_path = folder / f"{identifier}.secret"
        if secret_path.exists():
            secrets[identifier] = keys.read_secret(secret_path)
        else:
            secrets[identifier] = keys.generate(
                identifier, transport(), own_secret(prepared.options.seed, identifier)
            )
        own = secrets[identifier]
        public = own.public("coordinator", address) if number == 0 else own.public()
        if not secret_path.exists():
            keys.write(folder, own, public)
        parties.append(public)
    path.unlink(missing_ok=True)
    return roster.add(path, parties), secrets
