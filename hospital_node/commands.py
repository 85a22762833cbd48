"""The commands of a federation on separate machines: keygen, init, roster, node, doctor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from federation import config as federation_config
from federation import keys, roster
from federation.config import FederationConfig, Protection
from federation.errors import ConfigError
from hospital_node.policy import Policy

_options = {"add_completion": False, "pretty_exceptions_enable": False}
keygen_app = typer.Typer(**_options)
init_app = typer.Typer(**_options)
roster_app = typer.Typer(
    **_options, no_args_is_help=True, help="The list of who is admitted, with which keys."
)
node_app = typer.Typer(**_options)
doctor_app = typer.Typer(**_options)


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
        "for `flop roster add`, with the hospitals' own"
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
        print(f"{folder / 'hospital.toml'}: this hospital's own settings; they never leave")
    print(f"fingerprint of {id}: {public.fingerprint}")


@init_app.command()
def init(
    classes: Annotated[
        str, typer.Option(help="Class names, separated by commas, in the order that all agree on.")
    ],
    cohort: Annotated[int, typer.Option(help="Hospitals in a round.")],
    model: Annotated[str, typer.Option(help="One of the models of `flop sim --help`.")] = "cnn3",
    private: Annotated[
        list[str] | None,
        typer.Option(help="Name pattern of layers that stay private; give it again for more."),
    ] = None,
    private_last: Annotated[
        int | None, typer.Option(help="Keep the last K layers private.")
    ] = None,
    algorithm: Annotated[str, typer.Option(help="flop or fedavg.")] = "flop",
    protection: Annotated[str, typer.Option(help="plain, masked, ckks or masked+ckks.")] = "masked",
    rounds: Annotated[int, typer.Option(help="Rounds of the run.")] = 20,
    channels: Annotated[int, typer.Option(help="1 for grey images, 3 for colour.")] = 1,
    image_size: Annotated[
        int, typer.Option(help="Images are resized to this many pixels a side.")
    ] = 64,
    pretrained: Annotated[
        bool, typer.Option(help="Start from ImageNet weights; needs a connection to download them.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Run seed: fixes the cohorts. By default drawn at random.")
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(help="Any other key of federation.toml, e.g. training.lr=0.0005."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the files are written.")] = Path("."),
) -> None:
    """Write federation.toml and start.safetensors, for everybody to copy.

    Example: flop init --classes normal,pneumonia,covid19 --cohort 3 --model resnet18
    """
    from hospital_node.start import write_start

    path = folder / "federation.toml"
    if path.exists():
        raise ConfigError(
            f"{path}: exists; a federation is agreed once, move it away to begin another"
        )
    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    run_seed = int.from_bytes(os.urandom(7), "big") if seed is None else seed
    protection_settings = _convert({"kind": protection}, Protection, "protection")
    digest, patterns = write_start(
        folder / "start.safetensors",
        name=model,
        classes=len(names),
        channels=channels,
        image_size=image_size,
        private=private or [],
        private_last=private_last,
        algorithm=algorithm,
        buffers="shared",
        clip=protection_settings.clip,
        seed=run_seed,
        pretrained=pretrained,
    )
    tables = {
        "federation": {
            "rounds": rounds,
            "cohort": cohort,
            "min_cohort": min(3, cohort),
            "algorithm": algorithm,
            "seed": run_seed,
        },
        "model": {
            "name": model,
            "classes": names,
            "channels": channels,
            "image_size": image_size,
            "private": patterns,
            "start_digest": digest,
        },
        "training": {},
        "protection": {"kind": protection},
    }
    apply_settings(tables, set or [])
    config = federation_config.validate(
        _convert(tables, FederationConfig, "flop init"), "flop init"
    )
    path.write_text(federation_config.to_toml(config))
    if cohort < 3:
        print(
            f"warning: in a cohort of {cohort} each hospital can compute the other's update from"
            " the sum; 3 are the least that protect"
        )
    print(
        f"{path} and {folder / 'start.safetensors'}: copy both to every hospital\nconfig digest:"
        f" {keys.readable(config.digest)}"
    )


def apply_settings(tables: dict[str, dict[str, object]], settings: list[str]) -> None:
    """Put `table.key=value` settings into the tables; values are read as TOML, else as text. Raises
    ConfigError.
    """
    import tomllib

    for setting in settings:
        where, found, value = setting.partition("=")
        table, dot, key = where.strip().partition(".")
        if not (found and dot) or table not in tables:
            raise ConfigError(
                f"--set {setting}: give TABLE.KEY=VALUE with one of the tables {', '.join(tables)}"
            )
        try:
            tables[table][key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            tables[table][key] = value.strip()


def _convert(tables: object, kind: type, source: str) -> object:
    return federation_config.decode_toml(tomli_w.dumps(tables).encode(), kind, source)


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
    """Show the fingerprints of a roster and of everybody in it."""
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
    """Accept a roster, after its fingerprint was compared over another channel than the file came
    by.

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


@node_app.command()
def node(
    config: Annotated[Path, typer.Option(help="This hospital's hospital.toml.")] = Path(
        "hospital.toml"
    ),
) -> None:
    """Run one hospital until the federation's rounds are over. Started again, it goes on where it
    was.

    Example: flop node --config hospital.toml
    """
    from hospital_node.service import serve

    raise typer.Exit(serve(config, _say))


@doctor_app.command()
def doctor(
    config: Annotated[Path, typer.Option(help="This hospital's hospital.toml.")] = Path(
        "hospital.toml"
    ),
) -> None:
    """Check everything that a hospital needs, hop by hop, and name the first one that fails.

    Example: flop doctor --config hospital.toml
    """
    from hospital_node.doctor import examine

    raise typer.Exit(0 if examine(config, _say) else 2)


def _say(text: str) -> None:
    print(text, flush=True)
