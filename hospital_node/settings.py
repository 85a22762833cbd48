"""`hospital.toml`: local, never leaves this hospital."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from federation import config as federation_config
from federation import keys, roster
from federation.config import FederationConfig, Fraction, decode_toml, read_bytes
from federation.errors import ConfigError
from federation.keys import Secrets
from federation.roster import Roster
from hospital_node.policy import Policy


class Files(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Table `hospital`: its files, what it trains on, and what it computes besides.

    Attributes:
        secret: The hospital's keys. This and all other paths start at the folder of hospital.toml.
        federation: What all parties agree on.
        roster: Who is admitted.
        accepted: Holds the digest of the roster that this hospital's operator has accepted.
        out: The folder of the hospital's results.
        coordinator: Its host:port, if that is another one than the roster's.
        device: auto, cpu, mps, cuda, cuda:N, cuda:0,cuda:1, cuda:all, or cpu:N for N processes.
        threads: Of the CPU; 0 leaves the number to PyTorch.
        baselines: Whether the run ends with a majority class, a linear model and training alone.
    """

    secret: str
    federation: str = "federation.toml"
    roster: str = "roster.toml"
    accepted: str = "accepted-roster"
    out: str = "run"
    coordinator: str = ""
    device: str = "auto"
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    baselines: bool = True


class Data(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`source`: a data set's name under FLOP_DATA, or a path. `test_fraction`: part of the images
    that the hospital tests itself with.
    """

    source: str
    test_fraction: Fraction = 0.2


class Share(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A hospital's part of a data set that a simulation has divided; never in hospital.toml.

    Attributes:
        rows: Rows of the training folder.
        seed: For the split into training and test images, and for images that are drawn.
        notes: Sentences about the division.
    """

    rows: tuple[int, ...]
    seed: int
    notes: tuple[str, ...] = ()


class HospitalSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    hospital: Files
    data: Data
    policy: Policy = Policy()


class Hospital:
    """Everything that a node is started with, read and checked. Raises ConfigError."""

    def __init__(self, path: Path, share: Share | None = None) -> None:
        """`share`: what of the data this hospital has; by default all of it."""
        self.path, self.folder, self.share = path, path.parent, share
        self.settings = decode_toml(read_bytes(path), HospitalSettings, str(path))
        files = self.settings.hospital
        self.secrets: Secrets = keys.read_secret(self.folder / files.secret)
        self.config: FederationConfig = federation_config.read(self.folder / files.federation)
        self.roster: Roster = roster.read(self.folder / files.roster)
        self.out = self.folder / files.out
        self.start_path = self.folder / Path(files.federation).parent / self.config.model.start
        self.settings.policy.check(self.config, str(path))
        self._check_accepted(self.folder / files.accepted, self.folder / files.roster)
        check_roster(self.config, self.roster, str(self.folder / files.roster))
        mine = self.roster.hospitals[self.roster.number_named(self.secrets.id)]
        if mine != self.secrets.public():
            raise ConfigError(
                f"{self.folder / files.roster}: holds other keys for {self.secrets.id!r} than"
                f" {files.secret}; send the coordinator this hospital's .pub file again"
            )

    @property
    def address(self) -> str:
        return self.settings.hospital.coordinator or self.roster.coordinator.address

    def _check_accepted(self, accepted: Path, roster_path: Path) -> None:
        """A new roster takes effect only when this hospital's operator has accepted its
        fingerprint.
        """
        known = accepted.read_text().strip() if accepted.exists() else ""
        if known != self.roster.digest.hex():
            raise ConfigError(
                f"{roster_path}: its fingerprint {self.roster.fingerprint} has not been accepted"
                " here; compare it with the coordinator's operator over the telephone, then run:"
                f" flop roster accept {roster_path} --fingerprint 'as it was read out'"
            )


def check_roster(config: FederationConfig, admitted: Roster, source: str) -> None:
    """Raises ConfigError where the roster is too small for the cohort."""
    if len(admitted) < config.federation.cohort:
        raise ConfigError(
            f"{source}: has {len(admitted)} hospitals, federation.cohort asks for"
            f" {config.federation.cohort}; add hospitals with `flop roster add`, or make the cohort"
            " smaller"
        )


def accept_roster(path: Path, fingerprint: str) -> Roster:
    """Accept a roster whose fingerprint the operator has compared. Raises ConfigError where it is
    another one.
    """
    admitted = roster.read(path)
    if "".join(fingerprint.split()).lower() != "".join(admitted.fingerprint.split()):
        raise ConfigError(
            f"{path}: its fingerprint is {admitted.fingerprint}, not {fingerprint}; do not use this"
            " file, ask the coordinator"
        )
    (path.parent / "accepted-roster").write_text(admitted.digest.hex() + "\n")
    return admitted
