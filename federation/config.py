"""`federation.toml`: what all parties agree on. One frozen object, one digest that all compare."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
import tomli_w
from msgspec import Meta, Struct

from crypto.errors import ConfigOverflow
from crypto.kdf import digest
from crypto.packing import Packing
from federation.errors import ConfigError
from federation.types import Digest

T = TypeVar("T")
Algorithm = Literal["flop", "fedavg"]
ProtectionKind = Literal["plain", "masked", "ckks", "masked+ckks"]

Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]
Positive = Annotated[float, Meta(ge=1e-12, le=1e6)]


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table. An unknown key is an error that names it."""


class Rounds(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the run goes. Seconds where a time is meant."""

    name: Annotated[str, Meta(min_length=1, max_length=64)] = "federation"
    algorithm: Algorithm = "flop"
    rounds: Annotated[int, Meta(ge=1, le=100_000)] = 5
    cohort: Annotated[int, Meta(ge=1, le=4096)] = 5
    min_cohort: Annotated[int, Meta(ge=1, le=4096)] = 3
    beta: Annotated[float, Meta(gt=0.0, le=10.0)] = 1.0
    weighting: Literal["uniform", "examples"] = "uniform"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    patience: Annotated[float, Meta(gt=0.0, le=86_400.0)] = 60.0


class Model(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The architecture, where it is cut, and the digest of the start that all hospitals load."""

    name: str = "cnn3"
    classes: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
        Meta(min_length=2, max_length=1000),
    ]
    channels: Literal[1, 3] = 1
    image_size: Annotated[int, Meta(ge=28, le=1024)] = 64
    private: tuple[str, ...] = ()
    buffers: Literal["shared", "private"] = "shared"
    start: str = "start.safetensors"
    start_digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Training(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a hospital does with its data in one round."""

    epochs: Annotated[int, Meta(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Meta(ge=1, le=65_536)] = 32
    lr: Positive = 0.001
    optimizer: Literal["sgd", "adam"] = "adam"
    momentum: Fraction = 0.0
    weight_decay: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0
    proximal_mu: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0
    class_weights: bool = False


class Protection(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How an update is coded and kept from the coordinator.

    `bits` is the width of a value, 0 means float32 (only `plain`). `ring` is the width of a sum.
    `clip` is round 1's bound on |update| per element, `buffer_clip` that of BatchNorm's running
    statistics, which move by whole units and not by learning rates; later rounds use
    max(`clip_floor`, `clip_factor` · max|last mean|) per tensor. `threshold` 0 means floor(2n/3) +
    1. `corrupt` and `dropouts` size the sparse neighbour graph.
    """

    kind: ProtectionKind = "masked"
    bits: Annotated[int, Meta(ge=0, le=24)] = 12
    ring: Literal[16, 24, 32] = 16
    clip: Positive = 0.25
    buffer_clip: Positive = 8.0
    clip_floor: Positive = 0.002
    clip_factor: Annotated[float, Meta(ge=1.0, le=1e6)] = 4.0
    threshold: Annotated[int, Meta(ge=0, le=4096)] = 0
    max_examples: Annotated[int, Meta(ge=1, lt=2**40)] = 100_000
    graph: Literal["complete", "sparse"] = "complete"
    corrupt: Fraction = 0.1
    dropouts: Fraction = 0.3
    key_rounds: Annotated[int, Meta(ge=1)] = 10


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
    rounds, code = config.federation, config.protection

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
    if (
        code.kind in ("masked", "masked+ckks")
        and code.threshold
        and 2 * code.threshold <= rounds.cohort
    ):
        raise refuse(
            "protection.threshold", f"must be more than half of the cohort of {rounds.cohort}"
        )
    if code.bits == 0 and code.kind != "plain":
        raise refuse(
            "protection.bits",
            "0 (float32) goes only with kind = 'plain'; masks and ciphertexts carry integers",
        )
    if code.bits == 1 or code.bits > code.ring:
        raise refuse(
            "protection.bits", f"{code.bits} must be 0, or between 2 and the ring's {code.ring}"
        )
    least = least_ring(code.bits, rounds.cohort)
    if code.bits and least > code.ring:
        raise refuse(
            "protection.ring",
            f"{code.bits} bits and a cohort of {rounds.cohort} need a ring of {least} bits, "
            f"not {code.ring}; take a wider ring or fewer bits",
        )
    if code.kind in ("ckks", "masked+ckks"):
        try:
            Packing(code.bits, rounds.cohort, code.kind == "masked+ckks")
        except ConfigOverflow as error:
            raise refuse("protection.bits", str(error)) from None
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
