"""The roster: numbers, fingerprint, and what is refused."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import msgspec
import pytest

from federation import keys, roster
from federation.errors import ConfigError
from federation.keys import PublicKeys
from federation.roster import Roster


def party(name: str, number: int, role: keys.Role = "hospital") -> PublicKeys:
    made = keys.generate(name, (bytes([number] * 32), bytes([number + 100] * 32)))
    return made.public(role, "127.0.0.1:5000" if role == "coordinator" else "")


HUB = party("hub", 0, "coordinator")
EAST, NORTH, SOUTH = party("east", 1), party("north", 2), party("south", 3)


def test_a_hospitals_number_is_its_place_by_id_whatever_the_order() -> None:
    for order in permutations([EAST, NORTH, SOUTH]):
        made = Roster(HUB, list(order))
        assert [made.id_of(number) for number in range(3)] == ["east", "north", "south"]
        assert made.digest == Roster(HUB, [EAST, NORTH, SOUTH]).digest
        assert made.number_named("south") == 2
        assert made.verify_keys[1] == bytes.fromhex(NORTH.signing)


def test_a_hospital_is_known_by_its_transport_key_only() -> None:
    made = Roster(HUB, [NORTH, EAST])
    assert made.number_of(made.transport_of(1)) == 1
    assert made.number_of(bytes.fromhex(HUB.transport)) is None
    assert made.number_of(bytes.fromhex(NORTH.signing)) is None
    assert made.number_of(b"") is None


@pytest.mark.parametrize("field", ["id", "transport", "signing", "sealing"])
def test_no_two_parties_share_a_key_or_an_id(field: str) -> None:
    for one in (NORTH, HUB):
        twin = msgspec.structs.replace(EAST, **{field: getattr(one, field)})
        with pytest.raises(
            ConfigError,
            match=(
                f"two parties have the same {field}; every party makes its own keys with `flop"
                " keygen`"
            ),
        ):
            Roster(HUB, [NORTH, twin])


@pytest.mark.parametrize("who", [0, 1, 2])
@pytest.mark.parametrize(
    "field", [field.name for field in msgspec.structs.fields(PublicKeys) if field.name != "role"]
)
def test_the_fingerprint_changes_with_every_field_of_every_party(who: int, field: str) -> None:
    parties = [HUB, EAST, NORTH]
    parties[who] = msgspec.structs.replace(
        parties[who], **{field: {"id": "other", "address": "10.0.0.1:1"}.get(field, "ab" * 32)}
    )
    changed = Roster(parties[0], parties[1:])
    assert (
        changed.digest != Roster(HUB, [EAST, NORTH]).digest
        and changed.fingerprint != Roster(HUB, [EAST, NORTH]).fingerprint
    )


def test_the_fingerprint_changes_with_every_hospital_more_or_less() -> None:
    digests = {
        Roster(HUB, hospitals).digest
        for hospitals in ([], [EAST], [NORTH], [EAST, NORTH], [EAST, NORTH, SOUTH])
    }
    assert len(digests) == 5


def test_roles_are_what_they_must_be() -> None:
    with pytest.raises(
        ConfigError, match=r"\[coordinator\] needs role = 'coordinator' and an address"
    ):
        Roster(msgspec.structs.replace(HUB, address=""), [EAST])
    with pytest.raises(ConfigError, match=r"\[coordinator\] needs role = 'coordinator'"):
        Roster(msgspec.structs.replace(HUB, role="hospital"), [EAST])
    with pytest.raises(ConfigError, match="only one party may have the role of coordinator"):
        Roster(HUB, [msgspec.structs.replace(EAST, role="coordinator")])


def test_an_unknown_id_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="has no hospital 'west'; it has east, north"):
        Roster(HUB, [NORTH, EAST]).number_named("west")
    with pytest.raises(ConfigError, match="it has none"):
        Roster(HUB, []).number_named("west")


def test_a_file_goes_round_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "roster.toml"
    first = roster.add(path, [NORTH, HUB])
    assert roster.read(path).digest == first.digest
    # who is there already, with the same keys, changes nothing
    grown = roster.add(path, [EAST, NORTH])
    assert (
        len(grown) == 2
        and roster.read(path).digest == grown.digest == Roster(HUB, [EAST, NORTH]).digest
    )
    assert roster.add(path, [HUB, EAST]).digest == grown.digest


def test_what_cannot_be_added_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "roster.toml"
    with pytest.raises(
        ConfigError, match=r"has no coordinator yet; add the coordinator's \.pub file first"
    ):
        roster.add(path, [NORTH])
    assert not path.exists()
    roster.add(path, [HUB, NORTH])
    before = path.read_bytes()
    for newcomer, words in (
        (
            party("other", 9, "coordinator"),
            "has a coordinator already; begin a new roster for another one",
        ),
        (party("north", 7), "two parties have the same id"),
        (
            msgspec.structs.replace(SOUTH, transport=NORTH.transport),
            "two parties have the same transport",
        ),
    ):
        with pytest.raises(ConfigError, match=words):
            roster.add(path, [newcomer])
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("[coordinator]", "[king]"), "unknown field `king`"),
        (
            lambda text: text.replace('id = "north"', 'id = "North"'),
            "id: Expected `str` matching regex",
        ),
        (lambda text: text + "colour = 1\n", "unknown field `colour`"),
        (
            lambda text: text.replace(NORTH.signing, NORTH.signing[:-1]),
            "signing: Expected `str` matching regex",
        ),
        (lambda text: "hospital = []\n", "missing required field `coordinator`"),
    ],
)
def test_a_broken_file_is_refused_by_its_path(tmp_path: Path, change: object, words: str) -> None:
    path = tmp_path / "roster.toml"
    roster.add(path, [HUB, NORTH])
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(ConfigError) as refused:
        roster.read(path)
    assert str(refused.value).startswith(str(path)) and words in str(refused.value)


def test_a_roster_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"roster\.toml: cannot be written: No such file or directory; check the path",
    ):
        roster.add(tmp_path / "none" / "roster.toml", [HUB])
