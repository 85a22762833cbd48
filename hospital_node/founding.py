"""`flop init`: write the files with which a federation begins."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from msgspec import Meta, Struct

from federation import cli, keys
from federation import config as federation_config
from federation import options as typed
from federation.config import FederationConfig
from federation.errors import ConfigError
from learning import models

FROM_THE_MODEL = ("model.start", "model.start_digest")
"""Keys of federation.toml that are computed and cannot be set."""
init_app = cli.app()


class Founding(Struct, frozen=True, kw_only=True):
    """The options of `flop init` that are not keys of federation.toml."""

    private_last: Annotated[int | None, Meta(description="Keep the last K layers private.")] = None
    pretrained: Annotated[
        bool, Meta(description="Start from ImageNet weights (downloads them).")
    ] = False
    folder: Annotated[Path, Meta(description="Where the files are written.")] = Path(".")
    set: Annotated[
        tuple[str, ...],
        Meta(description="Any key of federation.toml, e.g. training.lr=0.0005."),
    ] = ()


def _options() -> dict[str, typed.Option]:
    found = typed.of_config(FederationConfig, FROM_THE_MODEL) | typed.of_struct(Founding)
    asked = {name: found.pop(name) for name in ("classes", "cohort")}
    asked["cohort"] = replace(asked["cohort"], default=typed.REQUIRED)
    found["rounds"] = replace(found["rounds"], default=20)
    found["min_cohort"] = replace(found["min_cohort"], derived="3, or the cohort if it is smaller")
    found["model"] = found["model"].naming(models.REGISTRY)
    found["seed"] = replace(found["seed"], derived="drawn at random")
    return asked | found


OPTIONS = _options()
"""Every option of `flop init` by its Python name."""


@cli.command(init_app, OPTIONS)
def init(given: dict[str, Any]) -> None:
    """Write federation.toml and start.safetensors, which every party copies.

    Example: flop init --classes normal,pneumonia,covid19 --cohort 3 --model resnet18
    """
    values = typed.read(OPTIONS, given)
    extra = Founding(**{name: value for name, value in values.items() if not OPTIONS[name].table})
    path = extra.folder / "federation.toml"
    if path.exists():
        raise ConfigError(f"{path}: exists already; move it away to begin another federation")
    tables = typed.tables(OPTIONS, values)
    federation = tables["federation"]
    federation.setdefault("rounds", OPTIONS["rounds"].default)
    federation.setdefault("min_cohort", min(3, federation["cohort"]))
    federation.setdefault("seed", int.from_bytes(os.urandom(7), "big"))
    typed.apply_settings(tables, extra.set, FROM_THE_MODEL)
    tables["model"]["start_digest"] = "0" * 64
    draft = _checked(tomli_w.dumps(tables))

    from hospital_node.start import complete

    config, start = complete(draft, extra.private_last, extra.pretrained)
    text = federation_config.to_toml(config)
    config = _checked(text)
    (extra.folder / config.model.start).write_bytes(start)
    federation_config.write_text(path, text)
    cohort = config.federation.cohort
    if cohort < 3:
        print(
            f"warning: in a cohort of {cohort} each hospital can compute the other's update from"
            " the sum; use a cohort of at least 3"
        )
    print(
        f"{path} and {extra.folder / config.model.start}: copy both to every hospital\n"
        f"config digest: {keys.readable(config.digest)}"
    )


def _checked(text: str) -> FederationConfig:
    config = federation_config.decode_toml(text.encode(), FederationConfig, "flop init")
    return federation_config.validate(config, "flop init")
