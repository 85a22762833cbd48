"""`flop keygen` and `flop roster`: make a party's keys, and list the parties with theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from federation import cli, keys, roster
from federation.errors import ConfigError
from hospital_node.policy import Policy

keygen_app = cli.app()
roster_app = cli.app(
    no_args_is_help=True,
    help="The list of parties, with their public keys.\n\nExample: flop roster show roster.toml",
)


@keygen_app.command()
def keygen(
    id: Annotated[
        str,
        typer.Option(
            help="This party's name in the federation: small letters, digits, '-' and '_'."
        ),
    ],
    coordinator: Annotated[bool, typer.Option(help="These are the coordinator's keys.")] = False,
    address: Annotated[
        str,
        typer.Option(
            help="Coordinator only: host:port that hospitals connect to; an IP address will do."
        ),
    ] = "",
    data: Annotated[
        str, typer.Option(help="Hospital only: where its images are, for hospital.toml.")
    ] = "",
    folder: Annotated[Path, typer.Option(help="Where the files are written.")] = Path("."),
) -> None:
    """Make one party's keys; a hospital also gets a hospital.toml to edit.

    Example: flop keygen --id north --data /data/chest        flop keygen --id hub --coordinator
    --address 192.0.2.10:5555
    """
    from federation.transport.link import CurveKeys, parse_address

    if coordinator and not address:
        raise ConfigError(
            "flop keygen --coordinator: --address is missing; give host:port that hospitals can"
            " reach"
        )
    if address:
        parse_address(address)
    pair = CurveKeys.generate()
    secret = keys.generate(id, (pair.public, pair.secret))
    public = secret.public("coordinator", address) if coordinator else secret.public()
    secret_path, public_path = keys.write(folder, secret, public)
    whom = (
        "for `flop roster add`, together with the hospitals' .pub files"
        if coordinator
        else "send it to the coordinator's operator"
    )
    print(f"{secret_path}: secret, stays on this machine\n{public_path}: {whom}")
    if not coordinator and not (folder / "hospital.toml").exists():
        content = {
            "hospital": {"secret": secret_path.name, "out": "run", "device": "auto"},
            "data": {"source": data or "phantom-cxr"},
            "policy": {
                "min_cohort": 3,
                "share_metrics": False,
                "protections": list(Policy().protections),
            },
        }
        (folder / "hospital.toml").write_text(tomli_w.dumps(content))
        print(
            f"{folder / 'hospital.toml'}: this hospital's own settings; they stay on this machine"
        )
    print(f"fingerprint of {id}: {public.fingerprint}")


@roster_app.command("add")
def roster_add(
    parties: Annotated[
        list[Path],
        typer.Argument(help=".pub files, the coordinator's among them when the roster is new."),
    ],
    file: Annotated[Path, typer.Option(help="The roster.")] = Path("roster.toml"),
) -> None:
    """Add parties to the roster and show every fingerprint, to be compared with each operator.

    Example: flop roster add hub.pub north.pub south.pub east.pub
    """
    admitted = roster.add(file, [keys.read_public(path) for path in parties])
    _show(admitted, file)


@roster_app.command("show")
def roster_show(
    file: Annotated[Path, typer.Argument(help="The roster.")] = Path("roster.toml"),
) -> None:
    """Show the fingerprints of a roster and of every party in it.

    Example: flop roster show roster.toml
    """
    _show(roster.read(file), file)


@roster_app.command("accept")
def roster_accept(
    file: Annotated[
        Path, typer.Argument(help="The roster that the coordinator's operator sent.")
    ] = Path("roster.toml"),
    fingerprint: Annotated[
        str, typer.Option(help="The fingerprint as the coordinator's operator reads it out to you.")
    ] = "",
) -> None:
    """Accept a roster whose fingerprint was compared over the telephone or face to face.

    Example: flop roster accept roster.toml --fingerprint '3f2a 77c1 …'
    """
    from hospital_node.settings import accept_roster

    if not fingerprint:
        raise ConfigError(
            f"{file}: its fingerprint is {roster.read(file).fingerprint}; call the coordinator's"
            " operator, compare it, and give it with --fingerprint"
        )
    admitted = accept_roster(file, fingerprint)
    print(
        f"accepted: {len(admitted)} hospitals and the coordinator {admitted.coordinator.id!r} at"
        f" {admitted.coordinator.address}"
    )


def _show(admitted: roster.Roster, file: Path) -> None:
    for party in (admitted.coordinator, *admitted.hospitals):
        print(f"  {party.id:<20} {party.role:<12} {party.fingerprint}")
    print(f"{file}: fingerprint of the whole roster: {admitted.fingerprint}")
