"""CKKS: exact sums, exact sizes, and nothing from a peer that reaches SEAL unchecked."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crypto import ckks, sealfile
from crypto.ckks import Adder, Encryptor, generate_secret_key
from crypto.ckks_common import CommonSettings
from crypto.errors import ConfigOverflow, CryptoError, OpenFailed, OutOfRange
from crypto.packing import HEADER_BYTES, PRIME, SUM, Packing

PACKING = Packing(16, 3)
SECRET_KEY = generate_secret_key(PACKING)
RNG = np.random.default_rng(0)


def decoded_sum(packing: Packing, values: np.ndarray) -> np.ndarray:
    """A whole aggregation: values int32[parties, length], each row masked first where the packing
    says so.
    """
    hospital = Encryptor(generate_secret_key(packing), packing)
    adder = Adder(packing, values.shape[1])
    masks = np.zeros(packing.parts(values.shape[1]), np.int64)
    for row in values:
        parts = packing.pack(row)
        if packing.masked:
            mask = RNG.integers(0, 2**packing.modulus_bits, parts.size, np.int64)
            masks += mask
            parts = packing.wrap(parts + mask)
        adder.add(hospital.encrypt(parts))
    if packing.masked:
        adder.subtract(packing.wrap(masks))
    return packing.unpack(hospital.decrypt(adder.result()), values.shape[1])


def upload(values: list[int], packing: Packing = PACKING, key: bytes = SECRET_KEY) -> list[bytes]:
    return Encryptor(key, packing).encrypt(packing.pack(np.array(values, np.int32)))


# --- exactness


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("parties", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("bits", [2, 7, 10, 12, 16, 19, 22, 26, 32])
def test_sums_are_exact_at_the_limits(bits: int, parties: int, masked: bool) -> None:
    packing = Packing(bits, parties, masked)
    length = packing.degree * packing.fields
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    everyone = np.ones((parties, 1), np.int32)
    for extreme in (
        np.full(length, low),
        np.full(length, high),
        np.where(np.arange(length) % 3, high, low),
    ):
        values = everyone * extreme.astype(np.int32)
        assert np.array_equal(decoded_sum(packing, values), values.sum(axis=0, dtype=np.int64))
    values = RNG.integers(low, high, (parties, length), np.int32, endpoint=True)
    assert np.array_equal(decoded_sum(packing, values), values.sum(axis=0, dtype=np.int64))


@pytest.mark.parametrize(
    ("bits", "parties", "masked"), [(16, 19, True), (3, 31, True), (10, 32, False), (2, 22, False)]
)
def test_sums_are_exact_where_the_formula_leaves_the_least_room(
    bits: int, parties: int, masked: bool
) -> None:
    assert Packing(bits, parties, masked).rounding_error > 0.47
    test_sums_are_exact_at_the_limits(bits, parties, masked)


@pytest.mark.parametrize("length", [1, 2, 8191, 8192, 8193, 20001])
def test_any_length_and_the_exact_sizes(length: int) -> None:
    values = RNG.integers(-(2**15), 2**15, (2, length), np.int32)
    hospital, adder = Encryptor(SECRET_KEY, PACKING), Adder(PACKING, length)
    for row in values:
        blobs = hospital.encrypt(PACKING.pack(row))
        assert [len(blob) for blob in blobs] == [PACKING.ciphertext_bytes] * PACKING.ciphertexts(
            length
        )
        adder.add(blobs)
    result = adder.result()
    assert [len(blob) for blob in result] == [PACKING.sum_bytes] * PACKING.ciphertexts(length)
    assert np.array_equal(PACKING.unpack(hospital.decrypt(result), length), values.sum(axis=0))


def test_only_parts_of_the_agreed_length_and_range_are_subtracted() -> None:
    packing = Packing(16, 3, masked=True)
    adder, parts = Adder(packing, 10_000), np.zeros(packing.parts(10_000), np.int64)
    with pytest.raises(CryptoError, match="no upload"):
        adder.subtract(parts)
    adder.add(Encryptor(generate_secret_key(packing), packing).encrypt(parts))
    for wrong in (
        parts[:4096],
        np.zeros(8193, np.int64),
        parts + packing.part_limit + 1,
        parts.astype(np.float64),
    ):
        with pytest.raises(OutOfRange):
            adder.subtract(wrong)


def test_the_larger_ring_decodes_as_well() -> None:
    packing = Packing(16, 4, masked=True, degree=8192)
    values = RNG.integers(-(2**15), 2**15, (4, 20_000), np.int32)
    assert np.array_equal(decoded_sum(packing, values), values.sum(axis=0))


@pytest.mark.parametrize("packing", [Packing(16, 16, masked=True), Packing(12, 5), Packing(2, 3)])
def test_the_noise_is_what_the_formula_says(
    packing: Packing, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital = Encryptor(generate_secret_key(packing), packing)
    adder = Adder(packing, 2 * packing.degree * packing.fields)
    total = np.zeros(2 * packing.degree, np.int64)
    for _ in range(packing.parties):
        parts = RNG.integers(-packing.part_limit // 2, packing.part_limit // 2, total.size)
        total += parts
        adder.add(hospital.encrypt(parts))
    monkeypatch.setattr(ckks.np, "rint", lambda exact: exact)
    with ckks.Scratch() as scratch:
        noise = (
            np.concatenate([hospital._decrypt(blob, scratch) for blob in adder.result()]) - total
        )
    assert noise.std() == pytest.approx(packing.sigma, rel=0.05)
    assert np.abs(noise).max() < 6.5 * packing.sigma


def test_seal_holds_the_security_level() -> None:
    with pytest.raises(CryptoError, match="security standard"):
        ckks._Scheme(2048, 15)


# --- secrecy


def test_the_same_values_twice_share_nothing() -> None:
    first, second = upload([1, 2, 3])[0], upload([1, 2, 3])[0]
    assert first[-64:] != second[-64:]
    same = np.frombuffer(first[HEADER_BYTES:-64], "<u8") == np.frombuffer(
        second[HEADER_BYTES:-64], "<u8"
    )
    assert same.sum() < 3


def test_forked_workers_draw_their_own_seeds() -> None:
    hospital, parts = Encryptor(SECRET_KEY, PACKING), PACKING.pack(np.zeros(5, np.int32))
    seeds = [hospital.encrypt(parts)[0][-64:]]
    for _ in range(2):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, hospital.encrypt(parts)[0][-64:])
            os._exit(0)
        seeds.append(os.read(read, 64))
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)
    assert len({bytes(seed) for seed in seeds if len(seed) == 64}) == 3


def test_the_key_is_in_no_ciphertext() -> None:
    adder = Adder(PACKING, 3)
    sent = upload([1, 2, 3])
    adder.add(sent)
    key = {SECRET_KEY[i : i + 8] for i in range(HEADER_BYTES, len(SECRET_KEY), 8)}
    for blob in sent + adder.result():
        assert not key & {blob[i : i + 8] for i in range(HEADER_BYTES, len(blob), 8)}
    assert generate_secret_key(PACKING) != SECRET_KEY
    assert len(SECRET_KEY) == PACKING.key_bytes


# --- what a peer may send


def _flip(position: int) -> Callable[[bytes], bytes]:
    return lambda blob: blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :]


def _words(word: int) -> Callable[[bytes], bytes]:
    return lambda blob: blob[:HEADER_BYTES] + word.to_bytes(8, "little") + blob[HEADER_BYTES + 8 :]


SEAL_HEADER = b"\x5e\xa1\x10\x04\x01\x02\x00\x00"
RLE_BOMB = b"\x28\xb5\x2f\xfd\xa0\xff\xff\xff\x7f" + b"\x02\xff\xff\x00" * 16384
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda blob: b"",
    "truncated": lambda blob: blob[:-1],
    "trailing byte": lambda blob: blob + b"\0",
    "twice": lambda blob: blob + blob,
    **{f"header byte {i}": _flip(i) for i in range(HEADER_BYTES)},
    "word equal to the prime": _words(PRIME),
    "largest word": _words(2**64 - 1),
    "SEAL's own header, mode zstd": (
        lambda blob: SEAL_HEADER + len(blob).to_bytes(8, "little") + blob[16:]
    ),
    "zstd bomb": lambda blob: SEAL_HEADER + (16 + len(RLE_BOMB)).to_bytes(8, "little") + RLE_BOMB,
    "zstd bomb of the right size": lambda blob: (
        SEAL_HEADER + len(blob).to_bytes(8, "little") + RLE_BOMB
    )[: len(blob)],
    "another packing": lambda blob: upload(
        [1, 2, 3], Packing(16, 5), generate_secret_key(Packing(16, 5))
    )[0],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_the_coordinator_refuses_before_seal_loads(
    damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [5] * 10_000
    good, adder = upload(values), Adder(PACKING, 10_000)
    adder.add(good)
    bad = [good[0], damage(good[1])]
    with monkeypatch.context() as patch:
        patch.setattr(ckks.Scratch, "load", lambda *args: pytest.fail("SEAL was asked to load it"))
        with pytest.raises(CryptoError):
            adder.add(bad)
    adder.add(upload(values))
    total = Encryptor(SECRET_KEY, PACKING).decrypt(adder.result())
    assert PACKING.unpack(total, 10_000).tolist() == [10] * 10_000


def test_the_coordinator_wants_a_whole_upload_and_not_too_many() -> None:
    adder = Adder(PACKING, 10_000)
    with pytest.raises(CryptoError, match="no upload"):
        adder.result()
    blobs = upload([1] * 10_000)
    for wrong in ([], blobs[:1], blobs + blobs[:1]):
        with pytest.raises(CryptoError, match="ciphertexts where 2 belong"):
            adder.add(wrong)
    for _ in range(PACKING.parties):
        adder.add(blobs)
    with pytest.raises(CryptoError, match="sums 3 uploads"):
        adder.add(blobs)
    with pytest.raises(CryptoError):
        Adder(PACKING, 3).add(Encryptor(SECRET_KEY, PACKING).encrypt(np.zeros(3, np.int64)) * 2)


def test_a_seal_error_in_the_middle_spoils_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    adder, blobs = Adder(PACKING, 10_000), upload([1] * 10_000)
    adder.add(blobs)
    calls = iter([True, False])
    load = ckks.Scratch.load

    def second_fails(self: ckks.Scratch, *args: object) -> None:
        if not next(calls):
            raise RuntimeError("SEAL")
        load(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(ckks.Scratch, "load", second_fails)
    with pytest.raises(RuntimeError):
        adder.add(blobs)
    for use in (adder.result, lambda: adder.add(blobs)):
        with pytest.raises(CryptoError):
            use()


def test_every_failure_to_decrypt_looks_the_same() -> None:
    adder = Adder(PACKING, 3)
    adder.add(upload([1, 2, 3]))
    good = adder.result()[0]
    hospital = Encryptor(SECRET_KEY, PACKING)
    assert PACKING.unpack(hospital.decrypt([good]), 3).tolist() == [1, 2, 3]
    outcomes = set()

    def fails(blobs: object, by: Encryptor = hospital) -> None:
        with pytest.raises(OpenFailed) as caught:
            PACKING.unpack(by.decrypt(blobs), 3)  # type: ignore[arg-type]
        outcomes.add(
            (
                type(caught.value),
                str(caught.value),
                caught.value.__cause__,
                caught.value.__suppress_context__,
            )
        )

    for damage in DAMAGE.values():
        fails([damage(good)])
    fails(upload([1, 2, 3]))
    fails([None])
    fails([_words(12345)(good)])
    fails([PACKING.header(SUM) + bytes(16 * 4096 - 8) + (PRIME // 2).to_bytes(8, "little")])
    fails([good], Encryptor(generate_secret_key(PACKING), PACKING))
    assert outcomes == {(OpenFailed, "ciphertext refused", None, True)}
    for parts in (hospital.decrypt([good, good]), np.full(4096, 2**60)):
        with pytest.raises(OpenFailed, match=r"^ciphertext refused$"):
            PACKING.unpack(parts, 3)


def test_a_key_that_is_none_is_refused() -> None:
    for damage in DAMAGE.values():
        with pytest.raises(OpenFailed, match=r"^secret key refused$"):
            Encryptor(damage(SECRET_KEY), PACKING)
    with pytest.raises(OpenFailed, match=r"^secret key refused$"):
        Encryptor(generate_secret_key(Packing(16, 5)), PACKING)


def test_the_owner_is_told_what_cannot_be_encrypted() -> None:
    hospital = Encryptor(SECRET_KEY, PACKING)
    for parts in (
        np.array([PACKING.part_limit + 1]),
        np.zeros(3, np.int32),
        np.zeros((2, 2), np.int64),
    ):
        with pytest.raises(OutOfRange):
            hospital.encrypt(parts)
    with pytest.raises(ConfigOverflow):
        Packing(32, 2**14)


# --- SEAL's paths


def test_without_memfd_a_private_file_serves_and_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    modes = []
    save = ckks.Scratch.save

    def watched(self: ckks.Scratch, thing: object) -> bytes:
        modes.append(os.fstat(self._fd).st_mode & 0o777)
        return save(self, thing)

    monkeypatch.setattr(ckks.Scratch, "save", watched)
    values = RNG.integers(-(2**15), 2**15, (3, 9000), np.int32)
    assert np.array_equal(decoded_sum(PACKING, values), values.sum(axis=0))
    assert set(modes) == {0o600}
    assert not list(tmp_path.iterdir())


def test_what_zstd_compresses_is_drawn_again_or_read_word_by_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = RNG.integers(-(2**15), 2**15, (2, 100), np.int32)
    body, calls = ckks.body_of, iter(range(10**6))
    for module in (ckks, sealfile):
        monkeypatch.setattr(module, "body_of", lambda blob: body(blob) if next(calls) % 2 else None)
    assert np.array_equal(decoded_sum(PACKING, expected), expected.sum(axis=0))
    for module in (ckks, sealfile):
        monkeypatch.setattr(module, "body_of", lambda blob: None)
    with pytest.raises(CryptoError, match="form"):
        upload([1])


def test_the_frame_of_raw_blocks_comes_off() -> None:
    words = os.urandom(300)
    raw = b"\x28\xb5\x2f\xfd\x60" + (300 - 256).to_bytes(2, "little")
    raw += (
        (100 << 3).to_bytes(3, "little")
        + words[:100]
        + (200 << 3 | 1).to_bytes(3, "little")
        + words[100:]
    )
    assert ckks.body_of(SEAL_HEADER + bytes(8) + raw) == words
    assert ckks.body_of(SEAL_HEADER[:5] + bytes(11) + words) == words
    assert ckks.body_of(SEAL_HEADER + bytes(8) + RLE_BOMB) is None


def test_the_common_settings_are_approximate_and_large() -> None:
    common = CommonSettings()
    values = RNG.normal(0, 0.1, (2, 2000)).astype(np.float32)
    blobs = [common.encrypt(row) for row in values]
    total = common.load(blobs[0])
    total += common.load(blobs[1])
    decrypted = common.decrypt(common.save(total))
    assert np.abs(decrypted - values.sum(axis=0, dtype=np.float64)).max() < 1e-4
    assert len(blobs[0]) > 20 * 4 * 2000
