"""What `flop sim` is asked for, and the federation.toml, keys and hospital.toml files that follow
from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from federation import config as federation_config
from federation import keys, roster
from federation.config import FederationConfig
from federation.errors import ConfigError
from federation.keys import Secrets
from federation.roster import Roster
from hospital_node.commands import apply_settings
from hospital_node.local_data import data_root, divide
from hospital_node.start import write_start
from learning.data import Dataset, open_dataset
from simulation.run.seeds import hospital_ids, own_secret

ALONE = ("local", "central")
DEFAULT_BITS = {16: 12, 24: 16, 32: 16}
RINGS = tuple(DEFAULT_BITS)


@dataclass(frozen=True)
class Options:
    """The options of `flop sim`, by their names. None: the default that fits the others."""

    data: str = "phantom-cxr"
    image_size: int = 64
    model: str = "cnn3"
    private: tuple[str, ...] = ()
    private_last: int | None = None
    algorithm: str = "flop"
    protection: str = "masked"
    bits: int | None = None
    ring: int | None = None
    threshold: int = 0
    weighting: str = "uniform"
    hospitals: int = 5
    cohort: int | None = None
    min_cohort: int | None = None
    rounds: int = 5
    local_epochs: int = 1
    batch_size: int = 32
    lr: float = 0.001
    optimizer: str = "adam"
    beta: float = 1.0
    pretrained: bool = False
    partition: str = "iid"
    transport: str = "zmq"
    device: str = "auto"
    seed: int = 0
    record: bool = False
    baselines: bool = True
    test_fraction: float = 0.2
    out: Path = Path("runs/sim")
    set: tuple[str, ...] = field(default=())

    @property
    def alone(self) -> bool:
        return self.algorithm in ALONE


@dataclass(frozen=True)
class Prepared:
    """A federation that is ready to be started: its files lie in `folder`."""

    options: Options
    folder: Path
    config: FederationConfig
    dataset: Dataset

    @property
    def ids(self) -> list[str]:
        return hospital_ids(self.options.hospitals)


def check(options: Options) -> None:
    """Refuse combinations that make no sense. Raises ConfigError."""
    if options.algorithm not in ("flop", "fedavg", *ALONE):
        raise ConfigError(f"--algorithm {options.algorithm}: choose flop, fedavg, local or central")
    if options.transport not in ("zmq", "memory"):
        raise ConfigError(f"--transport {options.transport}: choose zmq or memory")
    if options.alone and options.protection not in ("masked", "plain"):
        raise ConfigError(
            f"--algorithm {options.algorithm} sends nothing, so --protection {options.protection}"
            " makes no sense; leave it out"
        )
    if options.alone and options.record:
        raise ConfigError(
            f"--algorithm {options.algorithm} sends nothing, so there is nothing to --record"
        )
    if options.hospitals < 1:
        raise ConfigError("--hospitals: at least 1 is needed")
    if options.cohort is not None and not 1 <= options.cohort <= options.hospitals:
        raise ConfigError(
            f"--cohort {options.cohort}: must be between 1 and the {options.hospitals} hospitals"
        )


def open_data(options: Options) -> Dataset:
    """The data set without its pixels. Raises DataError, a sentence for the user."""
    return open_dataset(
        options.data, image_size=options.image_size, seed=options.seed, root=data_root()
    )


def make_config(options: Options, dataset: Dataset, folder: Path) -> FederationConfig:
    """Write start.safetensors and federation.toml into `folder`. Raises ConfigError."""
    cohort = options.cohort or options.hospitals
    clip = federation_config.Protection().clip
    algorithm = "fedavg" if options.alone else options.algorithm
    digest, patterns = write_start(
        folder / "start.safetensors",
        name=options.model,
        classes=len(dataset.classes),
        channels=dataset.channels,
        image_size=options.image_size,
        private=options.private,
        private_last=options.private_last,
        algorithm=algorithm,
        buffers="shared",
        clip=clip,
        seed=options.seed,
        pretrained=options.pretrained,
    )
    protection = "plain" if options.alone else options.protection
    bits = DEFAULT_BITS.get(options.ring or RINGS[0], 0) if options.bits is None else options.bits
    least = federation_config.least_ring(bits, cohort)
    ring = options.ring or next((ring for ring in RINGS if ring >= least), RINGS[-1])
    tables: dict[str, dict[str, object]] = {
        "federation": {
            "name": "simulation",
            "algorithm": algorithm,
            "rounds": options.rounds,
            "cohort": cohort,
            "min_cohort": min(3, cohort) if options.min_cohort is None else options.min_cohort,
            "beta": options.beta,
            "weighting": options.weighting,
            "seed": options.seed,
            "patience": 30.0,
        },
        "model": {
            "name": options.model,
            "classes": list(dataset.classes),
            "channels": dataset.channels,
            "image_size": options.image_size,
            "private": list(patterns),
            "start_digest": digest,
        },
        "training": {
            "epochs": options.local_epochs,
            "batch_size": options.batch_size,
            "lr": options.lr,
            "optimizer": options.optimizer,
        },
        "protection": {
            "kind": protection,
            "ring": ring,
            "bits": bits,
            "threshold": options.threshold,
        },
    }
    apply_settings(tables, list(options.set))
    text = tomli_w.dumps(tables).encode()
    config = federation_config.validate(
        federation_config.decode_toml(text, FederationConfig, "flop sim"), "flop sim"
    )
    (folder / "federation.toml").write_text(federation_config.to_toml(config))
    return config


def prepare(options: Options) -> Prepared:
    """Everything but the keys. A folder that holds the same federation is gone on with; another one
    is refused. Raises ConfigError.
    """
    check(options)
    dataset = open_data(options)
    # refused here rather than in every hospital
    divide(dataset.train, options.partition, options.hospitals, options.seed)
    setup = options.out / "setup"
    old = setup / "federation.toml"
    before = federation_config.read(old) if old.exists() else None
    setup.mkdir(parents=True, exist_ok=True)
    fresh = setup if before is None else setup / "again"
    fresh.mkdir(exist_ok=True)
    try:
        config = make_config(options, dataset, fresh)
    finally:
        if before is not None:
            for name in ("start.safetensors", "federation.toml"):
                (fresh / name).unlink(missing_ok=True)
            fresh.rmdir()
    if before is not None and before != config:
        raise ConfigError(
            f"--out {options.out}: holds a run with other options; take another folder, or the same"
            " options to go on with it"
        )
    return Prepared(options, setup, config, dataset)


def admit(
    prepared: Prepared, address: str, transport: Callable[[], tuple[bytes, bytes]]
) -> tuple[Roster, dict[str, Secrets]]:
    """Keys and roster of the federation, in its folder; made once. `transport` makes a CURVE pair."""
    folder, path = prepared.folder, prepared.folder / "roster.toml"
    secrets: dict[str, Secrets] = {}
    parties = []
    for identifier in ("coordinator", *prepared.ids):
        secret_path = folder / f"{identifier}.secret"
        role = ("coordinator", address) if identifier == "coordinator" else ("hospital", "")
        if secret_path.exists():
            secrets[identifier] = keys.read_secret(secret_path)
        else:
            secrets[identifier] = keys.generate(
                identifier, transport(), own_secret(prepared.options.seed, identifier)
            )
            keys.write(folder, secrets[identifier], secrets[identifier].public(*role))
        parties.append(secrets[identifier].public(*role))
    path.unlink(missing_ok=True)
    return roster.add(path, parties), secrets
