"""`hospital.toml`: the settings of one hospital. The file never leaves the hospital."""

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
    """Table `hospital`: its files, its device, and whether it computes baselines.

    Attributes:
        secret: The hospital's secret keys. All paths are relative to the folder of hospital.toml.
        federation: The federation.toml that all parties agree on.
        roster: The list of all parties with their public keys.
        accepted: Holds the digest of the roster that this hospital's operator has accepted.
        out: The folder of the hospital's results.
        coordinator: The coordinator's host:port, if it differs from the roster's.
        device: auto, cpu, mps, cuda, cuda:N, cuda:0,cuda:1, cuda:all, or cpu:N for N processes.
        threads: CPU threads; 0 lets PyTorch choose.
        baselines: Whether three baselines are computed after the run: the majority class, a linear
            model, and training alone.
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
    """Table `data`: the hospital's images.

    Attributes:
        source: A data set's name under FLOP_DATA, or a path.
        test_fraction: The fraction of the images that is held out for the local test.
    """

    source: str
    test_fraction: Fraction = 0.2


class Share(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A hospital's part of a data set that a simulation has divided; never in hospital.toml.

    Attributes:
        rows: Rows of the training folder.
        seed: For the split into training and test images, and for images that are drawn.
        notes: Sentences that describe the division, for the summary.
    """

    rows: tuple[int, ...]
    seed: int
    notes: tuple[str, ...] = ()


class HospitalSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of hospital.toml."""

    hospital: Files
    data: Data
    policy: Policy = Policy()


class Hospital:
    """All files of a hospital, read and checked before it starts."""

    def __init__(self, path: Path, share: Share | None = None) -> None:
        """Read hospital.toml and the files that it names.

        Args:
            path: The hospital.toml.
            share: The part of the data set that this hospital has; by default all of it.

        Raises:
            ConfigError: If a file cannot be read, contradicts another one, or is not accepted here.
        """
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
        """The coordinator's host:port."""
        return self.settings.hospital.coordinator or self.roster.coordinator.address

    def _check_accepted(self, accepted: Path, roster_path: Path) -> None:
        """Raise ConfigError unless this hospital's operator has accepted the roster."""
        known = accepted.read_text().strip() if accepted.exists() else ""
        if known != self.roster.digest.hex():
            raise ConfigError(
                f"{roster_path}: its fingerprint {self.roster.fingerprint} has not been accepted"
                " here; compare it with the coordinator's operator over the telephone, then run:"
                f" flop roster accept {roster_path} --fingerprint 'as it was read out'"
            )


def check_roster(config: FederationConfig, admitted: Roster, source: str) -> None:
    """Raise ConfigError if the roster has fewer hospitals than the cohort."""
    if len(admitted) < config.federation.cohort:
        raise ConfigError(
            f"{source}: has {len(admitted)} hospitals, but federation.cohort asks for"
            f" {config.federation.cohort}; add hospitals with `flop roster add`, or make the cohort"
            " smaller"
        )


def accept_roster(path: Path, fingerprint: str) -> Roster:
    """Accept a roster whose fingerprint the operator has compared over another channel.

    Args:
        path: The roster; `accepted-roster` is written beside it.
        fingerprint: As it was read out; spaces and capitals do not matter.

    Returns:
        The roster.

    Raises:
        ConfigError: If the file's fingerprint is another one.
    """
    admitted = roster.read(path)
    if "".join(fingerprint.split()).lower() != "".join(admitted.fingerprint.split()):
        raise ConfigError(
            f"{path}: its fingerprint is {admitted.fingerprint}, not {fingerprint}; do not use this"
            " file, ask the coordinator"
        )
    (path.parent / "accepted-roster").write_text(admitted.digest.hex() + "\n")
    return admitted
