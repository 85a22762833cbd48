"""What `flop sim` is asked for: keys of federation.toml, and words that only a simulation has."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct

from federation import options as typed
from federation.config import FederationConfig, Fraction, decode_toml, least_ring
from federation.errors import ConfigError
from federation.protections import DEFAULT, UNPROTECTED
from learning import models

ALONE = ("local", "central")
DEFAULT_BITS = {16: 12, 24: 16, 32: 16}
RINGS = tuple(DEFAULT_BITS)
FROM_THE_DATA = ("model.classes", "model.channels", "model.start", "model.start_digest")
"""Keys of federation.toml that a simulation computes, so that nobody may set them."""


class Simulation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of `flop sim` that are no keys of federation.toml."""

    data: Annotated[
        str,
        Meta(
            description="phantom-cxr (built in) or phantom-cxr:COUNT, a data set's name under"
            " FLOP_DATA, or a folder (`flop data list` shows what there is)."
        ),
    ] = "phantom-cxr"
    algorithm: Annotated[
        Literal["flop", "fedavg", "local", "central"],
        Meta(
            description="flop keeps the private layers at home, fedavg shares every layer, local"
            " trains each hospital alone, central trains on all images at once."
        ),
    ] = "flop"
    private_last: Annotated[int | None, Meta(description="Keep the last K layers private.")] = None
    pretrained: Annotated[
        bool, Meta(description="Start from ImageNet weights (downloads them).")
    ] = False
    hospitals: Annotated[int, Meta(ge=1, le=4096, description="How many hospitals.")] = 5
    partition: Annotated[
        str,
        Meta(
            description="Who gets which images: iid, skew:LAMBDA[:CHUNKS], dirichlet:ALPHA or"
            " by:COLUMN."
        ),
    ] = "iid"
    test_fraction: Annotated[
        Fraction, Meta(description="Part of each hospital's images that it tests itself with.")
    ] = 0.2
    transport: Annotated[
        Literal["zmq", "memory"],
        Meta(description="zmq: real processes on loopback; memory: one process, the same bytes."),
    ] = "zmq"
    device: Annotated[
        str,
        Meta(
            description="auto, cpu, cuda, cuda:N or mps; several with commas or cuda:all train"
            " together, cpu:N is N processes."
        ),
    ] = "auto"
    record: Annotated[
        bool, Meta(description="Keep what the coordinator sees, for `flop attack`.")
    ] = False
    baselines: Annotated[
        bool,
        Meta(description="Also compute majority class, linear model, and training alone."),
    ] = True
    out: Annotated[Path, Meta(description="Run directory.")]
    set: Annotated[
        tuple[str, ...],
        Meta(description="Any key of federation.toml, e.g. training.weight_decay=1e-4."),
    ] = ()


def _options() -> dict[str, typed.Option]:
    omit = (*FROM_THE_DATA, "federation.name", "federation.algorithm")
    found = typed.of_struct(Simulation) | typed.of_config(FederationConfig, omit)
    derived = {
        "out": "a new folder under runs/",
        "cohort": "all hospitals",
        "min_cohort": "3, or the cohort if it is smaller",
        "bits": "12, or 16 in a wider ring",
        "ring": "the narrowest that --bits fits in",
    }
    for name, text in derived.items():
        found[name] = replace(found[name], derived=text)
    found["model"] = found["model"].naming(models.REGISTRY)
    found["patience"] = replace(found["patience"], default=30.0)
    found["seed"] = replace(found["seed"], about="Run seed. The same seed gives the same bytes.")
    return found


OPTIONS = _options()
"""Every option of `flop sim` by its Python name."""


class Options(Simulation, frozen=True, kw_only=True):
    """All that a simulation is asked for, checked. Made by `Options.of`.

    Attributes:
        agreed: federation.toml as far as it is known without the data: `model` has placeholders for
            the keys of FROM_THE_DATA.
        given: The options that were given, by name.
    """

    agreed: FederationConfig
    given: Mapping[str, Any]

    @classmethod
    def of(cls, **given: object) -> Options:
        """Options by name, as `flop sim` takes them; one that is not given has its default.

        Args:
            given: For example `hospitals=3, rounds=2, lr=0.01`. None: not given.

        Raises:
            ConfigError: If an option is unknown, a value is refused, or two contradict each other.
        """
        values = typed.read(OPTIONS, given)
        own = {name: value for name, value in values.items() if not OPTIONS[name].table}
        own.setdefault("out", Path("runs") / time.strftime("%Y%m%d-%H%M%S"))
        words = Simulation(**own)
        agreed = _agreed(words, typed.tables(OPTIONS, values))
        options = cls(**msgspec.structs.asdict(words), agreed=agreed, given=values)
        _check(options)
        return options

    def but(self, **given: object) -> Options:
        """The same options with some given otherwise. Raises ConfigError as `of` does."""
        return Options.of(**{**self.given, **given})

    @property
    def alone(self) -> bool:
        """True if nothing is sent: each hospital trains alone, or one trains on all images."""
        return self.algorithm in ALONE

    @property
    def protection(self) -> str:
        return self.agreed.protection.kind

    @property
    def rounds(self) -> int:
        return self.agreed.federation.rounds

    @property
    def seed(self) -> int:
        return self.agreed.federation.seed

    @property
    def model(self) -> str:
        return self.agreed.model.name


def _agreed(words: Simulation, tables: dict[str, dict[str, Any]]) -> FederationConfig:
    """federation.toml with placeholders for what follows from the data."""
    federation, protection = tables["federation"], tables["protection"]
    cohort = federation.setdefault("cohort", words.hospitals)
    alone = words.algorithm in ALONE
    bits = protection.get("bits", DEFAULT_BITS[protection.get("ring", RINGS[0])])
    least = least_ring(bits, cohort)
    defaults: dict[str, dict[str, Any]] = {
        "federation": {
            "name": "simulation",
            "algorithm": "fedavg" if alone else words.algorithm,
            "min_cohort": min(3, cohort),
            "patience": OPTIONS["patience"].default,
        },
        "model": {"classes": ["one", "another"], "start_digest": "0" * 64},
        "training": {},
        "protection": {
            "bits": bits,
            "ring": next((ring for ring in RINGS if ring >= least), RINGS[-1]),
        },
    }
    filled = {name: defaults[name] | tables[name] for name in tables}
    if alone:
        filled["protection"]["kind"] = "plain"
    typed.apply_settings(filled, words.set, FROM_THE_DATA)
    return decode_toml(tomli_w.dumps(filled).encode(), FederationConfig, "flop sim")


def _check(options: Options) -> None:
    """Refuse combinations that make no sense. Raises ConfigError."""
    protection = options.given.get("protection", DEFAULT)
    if options.alone and protection not in {DEFAULT, UNPROTECTED}:
        raise ConfigError(
            f"--algorithm {options.algorithm} sends nothing, so --protection {protection}"
            " makes no sense; leave it out"
        )
    if options.alone and options.record:
        raise ConfigError(
            f"--algorithm {options.algorithm} sends nothing, so there is nothing to --record"
        )
    cohort = options.agreed.federation.cohort
    if cohort > options.hospitals:
        raise ConfigError(
            f"--cohort {cohort}: give a whole number from 1 to {options.hospitals}, the number of"
            " hospitals"
        )
