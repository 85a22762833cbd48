"""Key files: who may read them, what a fingerprint covers, and what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from crypto import agreement, signing
from federation import keys
from federation.errors import ConfigError
from federation.keys import PublicKeys, Secrets

PAIR = (b"\1" * 32, b"\2" * 32)


def north() -> Secrets:
    return keys.generate("north", PAIR)


def test_every_key_is_drawn_afresh() -> None:
    one, other = north(), north()
    for field in ("signing", "sealing", "own"):
        assert getattr(one, field) != getattr(other, field)


def test_only_own_randomness_may_come_from_a_seed() -> None:
    one, other = (
        keys.generate("north", PAIR, bytes(31) + b"\1"),
        keys.generate("north", PAIR, bytes(31) + b"\1"),
    )
    assert one.own == other.own and one.signing != other.signing and one.sealing != other.sealing


def test_public_keys_belong_to_the_secret_ones() -> None:
    made = north()
    public = made.public("coordinator", "127.0.0.1:5000")
    assert public.transport == PAIR[0].hex()
    assert public.signing == signing.public_of(made.signing_key).hex()
    assert public.sealing == agreement.public_of(bytes.fromhex(made.sealing)).hex()
    assert (public.id, public.role, public.address) == ("north", "coordinator", "127.0.0.1:5000")
    assert not {made.transport, made.signing, made.sealing, made.own} & set(
        msgspec.to_builtins(public).values()
    )


def test_printing_secrets_shows_none() -> None:
    made = north()
    for value in (made.transport, made.signing, made.sealing, made.own):
        assert value not in repr(made) and value not in str(made)


@pytest.mark.parametrize(
    "identifier", ["", "North", "-north", "a" * 33, "a b", "../x", "ä", "north\n"]
)
def test_an_id_is_small_letters_digits_and_dashes(identifier: str) -> None:
    with pytest.raises(ConfigError, match=r"--id .*must be 1 to 32 small letters"):
        keys.generate(identifier, PAIR)


def test_files_go_round_and_only_the_owner_may_read_the_secret(tmp_path: Path) -> None:
    made = north()
    secret, public = keys.write(tmp_path / "new" / "folder", made, made.public())
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert keys.read_secret(secret) == made
    assert keys.read_public(public) == made.public()
    assert made.signing not in public.read_text() and made.own not in public.read_text()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_secret_that_others_may_touch_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    secret, _ = keys.write(tmp_path, north(), north().public())
    secret.chmod(mode)
    with pytest.raises(
        ConfigError, match=f"{secret}: other users may read it; run: chmod 600 {secret}"
    ):
        keys.read_secret(secret)


@pytest.mark.parametrize("name", ["north.secret", "north.pub"])
def test_keys_are_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(
        ConfigError, match=f"{name}: exists; keys are never overwritten, move it away first"
    ):
        keys.write(tmp_path, north(), north().public())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/keys: cannot be written to: .*; check the path"):
        keys.write(tmp_path / "file" / "keys", north(), north().public())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('id = "north"\n', "missing required field `transport`"),
        ('id = "north"\nrole = "king"\n', "role: Invalid enum value 'king'"),
        ('id = "north"\ntransport = "00"\n', "transport: Expected `str` matching regex"),
        (
            f'id = "north"\ntransport = "{"00" * 32}\\n"\n',
            "transport: Expected `str` matching regex",
        ),
        ("colour = 1\n", "unknown field `colour`"),
        ("id = 5\n", "id: Expected `str`"),
    ],
)
def test_a_broken_public_file_is_refused_by_file_and_key(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "north.pub"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        keys.read_public(path)
    assert str(refused.value).startswith(f"{path}: ") and words in str(refused.value)


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(PublicKeys)])
def test_the_fingerprint_covers_every_field(field: str) -> None:
    public = north().public()
    other = {"id": "south", "role": "coordinator", "address": "127.0.0.1:1"}.get(field, "ab" * 32)
    assert msgspec.structs.replace(public, **{field: other}).fingerprint != public.fingerprint


def test_a_fingerprint_can_be_read_aloud() -> None:
    groups = north().public().fingerprint.split(" ")
    assert len(groups) == 8 and all(
        len(group) == 4 and set(group) <= set("0123456789abcdef") for group in groups
    )
