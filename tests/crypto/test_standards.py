"""The primitives, as this project calls them, against the vectors that their standards print."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.poly1305 import Poly1305

from crypto import agreement, kdf, keystream, sealing, signing

H = bytes.fromhex


@pytest.mark.parametrize(
    ("scalar", "point", "result"),
    [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ],
)
def test_x25519_rfc_7748_section_5_2(scalar: str, point: str, result: str) -> None:
    assert agreement.shared_secret(H(scalar), H(point)) == H(result)


def test_x25519_rfc_7748_section_6_1() -> None:
    alice = H("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = H("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert agreement.public_of(alice) == H(
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    )
    assert agreement.public_of(bob) == H(
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    )
    secret = H("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert agreement.shared_secret(alice, agreement.public_of(bob)) == secret
    assert agreement.shared_secret(bob, agreement.public_of(alice)) == secret


@pytest.mark.parametrize(
    ("secret", "salt", "info", "result"),
    [
        (
            "0b" * 22,
            bytes(range(13)),
            bytes(range(0xF0, 0xFA)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)),
            bytes(range(0xB0, 0x100)),
            (
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
                "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
            ),
        ),
        (
            "0b" * 22,
            b"",
            b"",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_hkdf_rfc_5869_appendix_a(secret: str, salt: bytes, info: bytes, result: str) -> None:
    assert kdf.hkdf(H(secret), salt, info, len(H(result))) == H(result)


def test_derive_is_hkdf_without_salt_over_the_encoded_info() -> None:
    assert kdf.derive(b"secret", "mask", b"a", 7, length=48) == kdf.hkdf(
        b"secret", None, kdf.encode("mask", b"a", 7), 48
    )


@pytest.mark.parametrize(
    ("private", "public", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            (
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
            ),
        ),
    ],
)
def test_ed25519_rfc_8032_section_7_1(
    private: str, public: str, message: str, signature: str
) -> None:
    assert signing.public_of(H(private)) == H(public)
    assert signing.sign_raw(H(private), H(message)) == H(signature)
    signing.verify_raw(H(public), H(signature), H(message))


def test_sign_is_ed25519_over_the_encoded_parts() -> None:
    pair = signing.generate()
    assert signing.sign(pair.private, "survivors", 3) == signing.sign_raw(
        pair.private, kdf.encode("survivors", 3)
    )


def test_chacha20_poly1305_rfc_8439_section_2_8_2() -> None:
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the"
        b" future, sunscreen would be it."
    )
    box = ChaCha20Poly1305(bytes(range(0x80, 0xA0))).encrypt(
        H("070000004041424344454647"), plaintext, H("50515253c0c1c2c3c4c5c6c7")
    )
    assert box == H(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
        "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
        "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"
    )


def test_a_sealed_box_is_the_rfc_8439_construction_under_the_zero_nonce() -> None:
    # Appendix A.1, vectors 1 and 2: the first two blocks of ChaCha20 under a zero key and a zero
    # nonce.
    one_time_key = H("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    keystream_block = H(
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d5"
        "31ed1f28510afb45ace10a1f4b794d6f"
    )
    box = sealing.seal(bytes(32), bytes(64), b"from 1 to 2")
    assert box[:64] == keystream_block
    lengths = (11).to_bytes(8, "little") + (64).to_bytes(8, "little")
    assert box[64:] == Poly1305.generate_tag(
        one_time_key, b"from 1 to 2" + bytes(5) + keystream_block + lengths
    )


NIST_KEY = H("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")


def test_aes_256_ctr_nist_sp_800_38a_f_5_5() -> None:
    plaintext = H(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    buffer = bytearray(64)
    keystream._counter_mode(NIST_KEY, bytes(range(0xF0, 0x100))).update_into(plaintext, buffer)
    assert buffer == H(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )


def test_a_stream_is_the_block_cipher_over_the_counters_from_zero() -> None:
    count = 70_000  # past the point where a 16-bit counter would repeat
    counters = np.zeros((count, 16), np.uint8)
    counters[:, 12:] = np.arange(count, dtype=">u4").view(np.uint8).reshape(count, 4)
    blocks = Cipher(algorithms.AES(NIST_KEY), modes.ECB()).encryptor().update(counters.tobytes())
    buffer = np.empty(16 * count, np.uint8)
    keystream.Stream(NIST_KEY).read_into(buffer)
    assert buffer.tobytes() == blocks
