"""Encodings, key agreement, signatures and sealed boxes: what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto import agreement, kdf, sealing, signing
from crypto.errors import CryptoError, InvalidSignature, OpenFailed

parts = st.lists(st.binary(max_size=6) | st.text(max_size=6) | st.integers(-300, 300), max_size=4)


@given(st.text(max_size=3), parts, st.text(max_size=3), parts)
@settings(deadline=None, max_examples=200)
def test_the_encoding_is_injective(domain: str, one: list, other_domain: str, other: list) -> None:
    same = (domain, [(type(p), p) for p in one]) == (other_domain, [(type(p), p) for p in other])
    assert (kdf.encode(domain, *one) == kdf.encode(other_domain, *other)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"ab", b"c"), (b"a", b"bc")),
        ((b"a",), ("a",)),
        ((1,), (b"\x01",)),
        ((-1,), (255,)),
        ((b"",), ()),
        (("a", b"b"), (b"a", "b")),
    ],
)
def test_no_two_lists_of_parts_share_a_digest_a_mac_or_a_key(one: tuple, other: tuple) -> None:
    for function in (
        lambda *p: kdf.digest("d", *p),
        lambda *p: kdf.mac(b"k", "d", *p),
        lambda *p: kdf.derive(b"k", "d", *p),
    ):
        assert function(*one) != function(*other)


def test_the_domain_separates_and_a_bool_or_float_is_no_part() -> None:
    assert kdf.digest("a", b"x") != kdf.digest("b", b"x")
    assert (
        kdf.digest("a", memoryview(b"xy"))
        == kdf.digest("a", bytearray(b"xy"))
        == kdf.digest("a", b"xy")
    )
    for part in (True, 1.0, None):
        with pytest.raises(TypeError):
            kdf.digest("a", part)  # type: ignore[arg-type]


def test_equal_compares_lengths_and_bytes() -> None:
    assert kdf.equal(b"abc", b"abc")
    assert not kdf.equal(b"abc", b"abd")
    assert not kdf.equal(b"abc", b"ab")


def test_both_ends_agree_on_a_secret_that_a_third_does_not_have() -> None:
    a, b, c = (agreement.generate() for _ in range(3))
    assert agreement.shared_secret(a.private, b.public) == agreement.shared_secret(
        b.private, a.public
    )
    assert agreement.shared_secret(a.private, b.public) != agreement.shared_secret(
        c.private, b.public
    )
    assert agreement.public_of(a.private) == a.public


@pytest.mark.parametrize(
    "public",
    [
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",  # of order 8
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # p - 1
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # p, that is 0
    ],
)
def test_a_public_key_of_low_order_is_refused(public: str) -> None:
    with pytest.raises(CryptoError, match="low order"):
        agreement.shared_secret(agreement.generate().private, bytes.fromhex(public))


def test_a_key_of_a_wrong_length_is_refused_everywhere() -> None:
    pair = agreement.generate()
    for call in (
        lambda: agreement.shared_secret(pair.private, pair.public[:-1]),
        lambda: agreement.shared_secret(pair.private + b"\0", pair.public),
        lambda: agreement.public_of(b""),
        lambda: signing.sign(b"short", "d"),
        lambda: sealing.seal(b"short", b"", b""),
        lambda: sealing.open_sealed(b"short", bytes(16), b""),
    ):
        with pytest.raises(CryptoError):
            call()


def test_printing_a_key_pair_does_not_show_the_private_key() -> None:
    pair = agreement.generate()
    assert repr(pair.private) not in repr(pair)
    assert repr(pair.public) in repr(pair)


def test_a_signature_holds_for_its_key_domain_and_parts_only() -> None:
    pair, stranger = signing.generate(), signing.generate()
    signature = signing.sign(pair.private, "survivors", b"run", 3)
    assert signature == signing.sign(pair.private, "survivors", b"run", 3)
    signing.verify(pair.public, signature, "survivors", b"run", 3)
    for public, given_signature, domain, given_parts in (
        (stranger.public, signature, "survivors", (b"run", 3)),
        (pair.public, signature, "keys", (b"run", 3)),
        (pair.public, signature, "survivors", (b"run", 4)),
        (pair.public, signature, "survivors", (b"ru", b"n", 3)),
        (pair.public, signature[:-1], "survivors", (b"run", 3)),
        (pair.public[:-1], signature, "survivors", (b"run", 3)),
        (b"\xff" * 32, signature, "survivors", (b"run", 3)),
    ):
        with pytest.raises(InvalidSignature):
            signing.verify(public, given_signature, domain, *given_parts)


def test_every_flipped_byte_of_a_signature_is_noticed() -> None:
    pair = signing.generate()
    signature = signing.sign(pair.private, "d", b"x")
    for i in range(len(signature)):
        broken = bytearray(signature)
        broken[i] ^= 1 << (i % 8)
        with pytest.raises(InvalidSignature):
            signing.verify(pair.public, bytes(broken), "d", b"x")


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.binary(max_size=40))
@settings(deadline=None, max_examples=50)
def test_a_box_opens_to_what_was_sealed_and_a_retry_is_the_same_box(
    key: bytes, plaintext: bytes, associated: bytes
) -> None:
    box = sealing.seal(key, plaintext, associated)
    assert box == sealing.seal(key, plaintext, associated)
    assert len(box) == len(plaintext) + sealing.OVERHEAD
    assert sealing.open_sealed(key, box, associated) == plaintext


def test_every_flipped_byte_of_a_box_its_key_or_its_associated_data_is_noticed() -> None:
    key, associated = bytes(range(32)), b"run 1, round 2, from 3, to 4"
    box = sealing.seal(key, b"two shares" * 7, associated)
    for which, whole in enumerate((key, box, associated)):
        for i in range(len(whole)):
            broken = bytearray(whole)
            broken[i] ^= 1 << (i % 8)
            arguments = [key, box, associated]
            arguments[which] = bytes(broken)
            with pytest.raises(OpenFailed):
                sealing.open_sealed(*arguments)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 85])
def test_a_truncated_or_extended_box_is_noticed(length: int) -> None:
    box = sealing.seal(bytes(32), b"two shares" * 7, b"")
    assert length < len(box)
    for wrong in (box[:length], box + bytes(length + 1)):
        with pytest.raises(OpenFailed):
            sealing.open_sealed(bytes(32), wrong, b"")


def test_the_secrets_of_one_key_with_many_peers_are_those_of_each_pair() -> None:
    mine, peers = agreement.generate(), [agreement.generate() for _ in range(3)]
    many = agreement.Agreements(mine.private)
    for _ in range(2):  # the second time they are remembered
        for peer in peers:
            assert many.secret(peer.public) == agreement.shared_secret(peer.private, mine.public)
    for bad in (bytes(32), bytes(31)):
        for _ in range(2):
            with pytest.raises(CryptoError):
                many.secret(bad)
    with pytest.raises(CryptoError):
        agreement.Agreements(bytes(31))


def test_of_many_signatures_the_first_that_does_not_hold_is_named() -> None:
    pairs = [signing.generate() for _ in range(4)]
    signed = [(pair.public, signing.sign(pair.private, "domain", 1, b"x")) for pair in pairs]
    assert signing.first_invalid(signed, "domain", 1, b"x") is None
    assert signing.first_invalid(signed, "domain", 2, b"x") == 0
    signed[2] = (signed[2][0], signed[1][1])
    signed[3] = (signed[3][0], b"short")
    assert signing.first_invalid(signed, "domain", 1, b"x") == 2
