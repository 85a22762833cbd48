"""`federation.toml`: what all parties agree on. One frozen object, one digest that all compare."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
import tomli_w
from msgspec import Meta, Struct

from crypto.kdf import digest
from federation import protections
from federation.errors import ConfigError
from federation.types import Digest

T = TypeVar("T")
Algorithm = Literal["flop", "fedavg"]

Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]
Positive = Annotated[float, Meta(ge=1e-12, le=1e6)]


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table. An unknown key is an error that names it.

    A key is described here once, by its type's `Meta`: range, default and help text. The options of
    `flop sim` and `flop init` follow from it (`federation/options.py`); `extra={"option": …}` names
    an option differently from its key.
    """


class Rounds(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the run goes."""

    name: Annotated[
        str, Meta(min_length=1, max_length=64, description="Name of the federation.")
    ] = "federation"
    algorithm: Annotated[
        Algorithm,
        Meta(description="flop keeps the private layers at home; fedavg shares every layer."),
    ] = "flop"
    rounds: Annotated[int, Meta(ge=1, le=100_000, description="How many rounds.")] = 5
    cohort: Annotated[
        int, Meta(ge=1, le=4096, description="How many hospitals take part in a round.")
    ] = 5
    min_cohort: Annotated[
        int, Meta(ge=1, le=4096, description="A round with fewer survivors than this is aborted.")
    ] = 3
    beta: Annotated[
        float, Meta(gt=0.0, le=10.0, description="Server step: shared += beta * mean(update).")
    ] = 1.0
    weighting: Annotated[
        Literal["uniform", "examples"],
        Meta(description="Weight of an update in the mean: the same for all, or by examples."),
    ] = "uniform"
    seed: Annotated[
        int, Meta(ge=0, le=2**63 - 1, description="Run seed; it fixes the cohorts.")
    ] = 0
    patience: Annotated[
        float,
        Meta(gt=0.0, le=86_400.0, description="Seconds to wait for a hospital that is silent."),
    ] = 60.0


class Model(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The architecture, which of its layers stay private, and the digest of the common start."""

    name: Annotated[str, Meta(description="Network architecture.", extra={"option": "model"})] = (
        "cnn3"
    )
    classes: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
        Meta(
            min_length=2,
            max_length=1000,
            description="Class names, separated by commas, in the order that all agree on.",
            extra={"separator": ","},
        ),
    ]
    channels: Annotated[
        Literal[1, 3], Meta(description="1 for grey images, 3 for colour images.")
    ] = 1
    image_size: Annotated[
        int,
        Meta(
            ge=28, le=1024, description="Images are resized to this many pixels a side on loading."
        ),
    ] = 64
    private: Annotated[
        tuple[str, ...],
        Meta(description="Name pattern of layers that stay private; by default the classifier."),
    ] = ()
    buffers: Annotated[
        Literal["shared", "private"],
        Meta(description="Whether BatchNorm's running statistics are shared or stay private."),
    ] = "shared"
    start: Annotated[str, Meta(description="File with the start of the shared layers.")] = (
        "start.safetensors"
    )
    start_digest: Annotated[
        str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="SHA-256 of that file.")
    ]


class Training(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a hospital does with its data in one round."""

    epochs: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Epochs of local training in a round.",
            extra={"option": "local-epochs"},
        ),
    ] = 1
    batch_size: Annotated[int, Meta(ge=1, le=65_536, description="Images in a batch.")] = 32
    lr: Annotated[Positive, Meta(description="Learning rate.")] = 0.001
    optimizer: Annotated[
        Literal["sgd", "adam"], Meta(description="Optimizer of the local training.")
    ] = "adam"
    momentum: Annotated[Fraction, Meta(description="Momentum of sgd.")] = 0.0
    weight_decay: Annotated[float, Meta(ge=0.0, le=1e6, description="L2 penalty on weights.")] = 0.0
    proximal_mu: Annotated[
        float,
        Meta(ge=0.0, le=1e6, description="FedProx's pull towards the round's start; 0: none."),
    ] = 0.0
    class_weights: Annotated[
        bool, Meta(description="Weight the loss of a class by the inverse of its frequency.")
    ] = False


class Protection(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an update is coded and hidden from the coordinator."""

    kind: Annotated[
        protections.Name,
        Meta(
            description="How updates are hidden from the coordinator.",
            extra={"option": "protection"},
        ),
    ] = protections.DEFAULT
    bits: Annotated[
        int, Meta(ge=0, le=24, description="Bits of a quantised value; 0: float32 (only plain).")
    ] = 12
    ring: Annotated[Literal[16, 24, 32], Meta(description="Bits of a sum of updates.")] = 16
    clip: Annotated[
        Positive, Meta(description="Bound on the absolute value of an update's element in round 1.")
    ] = 0.25
    buffer_clip: Annotated[
        Positive,
        Meta(description="The same for BatchNorm's running statistics, which move by whole units."),
    ] = 8.0
    clip_floor: Annotated[Positive, Meta(description="Least bound in later rounds.")] = 0.002
    clip_factor: Annotated[
        float,
        Meta(
            ge=1.0,
            le=1e6,
            description="Bound in later rounds, per tensor: this times max |last mean|.",
        ),
    ] = 4.0
    threshold: Annotated[
        int,
        Meta(
            ge=0,
            le=4096,
            description="Hospitals that must survive a round; 0: floor(2n/3) + 1 of a cohort of n.",
        ),
    ] = 0
    max_examples: Annotated[
        int, Meta(ge=1, lt=2**40, description="Most images a hospital may weigh by (weighting).")
    ] = 100_000
    graph: Annotated[
        Literal["complete", "sparse"],
        Meta(description="Who shares masks with whom: all pairs, or random neighbours."),
    ] = "complete"
    corrupt: Annotated[
        Fraction, Meta(description="Sparse graph: fraction of colluding hospitals it withstands.")
    ] = 0.1
    dropouts: Annotated[
        Fraction, Meta(description="Sparse graph: fraction of dropouts it withstands.")
    ] = 0.3
    key_rounds: Annotated[
        int, Meta(ge=1, description="ckks: rounds before the hospitals make a new group key.")
    ] = 10


class FederationConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of `federation.toml`."""

    federation: Rounds
    model: Model
    training: Training = Training()
    protection: Protection = Protection()

    @property
    def digest(self) -> Digest:
        """32 bytes that stand for every key and value; all parties compare it."""
        return Digest(digest("federation-config", msgspec.msgpack.encode(self)))

    @property
    def threshold(self) -> int:
        """t of the announced cohort: floor(2n/3) + 1, never recomputed from who is left."""
        return self.protection.threshold or default_threshold(self.federation.cohort)


def default_threshold(cohort: int) -> int:
    """floor(2n/3) + 1 (Bonawitz et al. 2017, the active setting), at most n."""
    return min(cohort, 2 * cohort // 3 + 1)


def least_ring(bits: int, cohort: int) -> int:
    """The bits that a sum of `cohort` values of `bits` bits needs."""
    return bits + math.ceil(math.log2(cohort))


def validate(config: FederationConfig, source: str = "federation.toml") -> FederationConfig:
    """Refuse combinations that make no sense. Raises ConfigError that names the key and the fix."""
    rounds, coding = config.federation, config.protection

    def refuse(key: str, text: str) -> ConfigError:
        return ConfigError(f"{source}: {key}: {text}")

    if rounds.min_cohort > rounds.cohort:
        raise refuse(
            "federation.min_cohort",
            f"{rounds.min_cohort} is more than the cohort of {rounds.cohort}; lower it",
        )
    if config.threshold > rounds.cohort:
        raise refuse(
            "protection.threshold", f"{config.threshold} is more than the cohort of {rounds.cohort}"
        )
    if coding.bits == 1 or coding.bits > coding.ring:
        raise refuse(
            "protection.bits", f"{coding.bits} must be 0, or between 2 and the ring's {coding.ring}"
        )
    least = least_ring(coding.bits, rounds.cohort)
    if coding.bits and least > coding.ring:
        raise refuse(
            "protection.ring",
            f"{coding.bits} bits and a cohort of {rounds.cohort} need a ring of {least} bits, "
            f"not {coding.ring}; take a wider ring or fewer bits",
        )
    protections.get(coding.kind).validate(config, source)
    if len(set(config.model.classes)) != len(config.model.classes):
        raise refuse("model.classes", "a class is named twice")
    if rounds.algorithm == "fedavg" and config.model.private:
        raise refuse(
            "model.private",
            "fedavg shares every layer; remove the patterns or take algorithm = 'flop'",
        )
    return config


def decode_toml(text: bytes, kind: type[T], source: str) -> T:
    """Read one TOML text strictly. Raises ConfigError naming file and key."""
    try:
        return msgspec.toml.decode(text, type=kind)
    except msgspec.ValidationError as error:
        where = str(error).partition(" - at `$")
        key = where[2].rstrip("`").lstrip(".")
        raise ConfigError(
            f"{source}: {key or 'top level'}: {where[0]}{_choices(kind, key)}"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{source}: is not valid TOML: {error}") from None


def _choices(kind: type, key: str) -> str:
    """What may stand at `a.b`, or which keys `a` has, for the end of a sentence."""
    found = msgspec.inspect.type_info(kind)
    for name in key.split(".") if key else ():
        fields = found.fields if isinstance(found, msgspec.inspect.StructType) else ()
        found = next(
            (field.type for field in fields if field.encode_name == name), msgspec.inspect.AnyType()
        )
        found = found.type if isinstance(found, msgspec.inspect.Metadata) else found
    if isinstance(found, msgspec.inspect.LiteralType):
        return f"; it is one of {', '.join(str(value) for value in found.values)}"
    if isinstance(found, msgspec.inspect.StructType):
        return f"; the keys here are {', '.join(field.encode_name for field in found.fields)}"
    return ""


def read(path: Path) -> FederationConfig:
    """Load and validate `federation.toml`. Raises ConfigError."""
    return validate(decode_toml(read_bytes(path), FederationConfig, str(path)), str(path))


def read_bytes(path: Path) -> bytes:
    """A small file's bytes. Raises ConfigError with the path where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check the path") from None


def write_text(path: Path, text: str) -> None:
    """Raises ConfigError with the path where it cannot be written."""
    try:
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; check the path") from None


def to_toml(table: Struct) -> str:
    """The TOML text of a config."""
    return tomli_w.dumps(msgspec.to_builtins(table))
