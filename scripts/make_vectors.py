"""Writes tests/vectors/*.json: known answers of this project's own constructions, for other
implementations and for CI.

    python scripts/make_vectors.py            writes the files
    python scripts/make_vectors.py --check    exit 1 if a file differs from what the code gives

Whole rounds and the bytes of every message are in tests/vectors/protocol/ (round_vectors.py,
message_vectors.py). A long result is given by its SHA-256 and its first bytes. All inputs come from
the vectors' own keys: nothing is random.
"""

import argparse
import hashlib
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import numpy as np  # noqa: E402
from message_vectors import messages, unannounced  # noqa: E402
from round_vectors import rounds  # noqa: E402

from crypto import agreement, kdf, keystream, limbs, sealing, sharing, signing, tag  # noqa: E402
from crypto.fixedpoint import FixedPoint  # noqa: E402
from crypto.keystream import CHUNK  # noqa: E402
from crypto.protect import quantise_and_mask  # noqa: E402
from crypto.ring import Ring  # noqa: E402

FOLDER = ROOT / "tests" / "vectors"
KEYS = [bytes(range(i, i + 32)) for i in range(8)]
LONG = CHUNK + 7  # one chunk, one partial quarter and a remainder of three
RINGS = (16, 24, 32, 64)


def brief(data: bytes | memoryview) -> dict[str, Any]:
    whole = bytes(data)
    return {
        "bytes": len(whole),
        "first": whole[:48].hex(),
        "sha256": hashlib.sha256(whole).hexdigest(),
    }


def an_update(count: int) -> np.ndarray:
    """float32[count] in [-1, 1), exact on every machine: element j is (j * 2654435761 mod 2^32) /
    2^31 - 1, rounded.
    """
    words = np.arange(count, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32)
    return (words.astype(np.float64) / 2**31 - 1).astype(np.float32)


def kdf_vectors() -> list[Any]:
    cases: list[tuple[str, list[Any]]] = [
        ("", []),
        ("mask", [b""]),
        ("mask", [b"ab", b"c"]),
        ("mask", [b"a", b"bc"]),
        ("mask", ["ab", 0, -1, 127, 128, -128, 2**64]),
        ("Mäske", ["ü", b"\x00\xff"]),
    ]
    return [
        {
            "domain": domain,
            "parts": [{"bytes": part.hex()} if isinstance(part, bytes) else part for part in parts],
            "encoded": kdf.encode(domain, *parts).hex(),
            "digest": kdf.digest(domain, *parts).hex(),
            "derived_48_from_key_0": kdf.derive(KEYS[0], domain, *parts, length=48).hex(),
            "mac_under_key_0": kdf.mac(KEYS[0], domain, *parts).hex(),
        }
        for domain, parts in cases
    ]


def key_vectors() -> list[Any]:
    return [
        {
            "private": private.hex(),
            "x25519_public": agreement.public_of(private).hex(),
            "x25519_shared_with_next": (
                agreement.shared_secret(private, agreement.public_of(following)).hex()
            ),
            "ed25519_public": signing.public_of(private).hex(),
            "signature_of_survivors_b_run_3": signing.sign(private, "survivors", b"run", 3).hex(),
            "sealed_share_for_from_1_to_2": sealing.seal(private, b"share", b"from 1 to 2").hex(),
        }
        for private, following in itertools.pairwise(KEYS[:4])
    ]


def sharing_vectors() -> list[Any]:
    result = []
    for secret, holders, threshold in (
        (bytes(32), [0], 1),
        (KEYS[1], [0, 1, 2, 3, 4], 4),
        (b"\xff" * 32, [7, 2**31 - 1, 0], 2),
    ):
        coefficients = [
            int.from_bytes(kdf.derive(KEYS[2], "coefficient", k), "big")
            for k in range(threshold - 1)
        ]
        draws = iter(coefficients)
        shares = sharing.split(secret, holders, threshold, lambda below, draws=draws: next(draws))  # type: ignore[misc]
        result.append(
            {
                "secret": secret.hex(),
                "threshold": threshold,
                "coefficients_from_x_upwards": [hex(c) for c in coefficients],
                "shares": {str(holder): share.hex() for holder, share in shares.items()},
            }
        )
    return result


def mask_vectors() -> list[Any]:
    result = []
    for bits, count in itertools.product(RINGS, (1, 6, LONG)):
        ring = Ring(bits)
        vector = np.zeros(count, ring.dtype)
        keystream.apply(vector, [(KEYS[0], 1), (KEYS[1], -1), (KEYS[2], 1)], ring)
        ring.reduce(vector)
        result.append(
            {
                "ring": bits,
                "count": count,
                "streams": [[KEYS[0].hex(), 1], [KEYS[1].hex(), -1], [KEYS[2].hex(), 1]],
                "first_elements": vector[:6].tolist(),
                "last_elements": vector[-4:].tolist(),
                "wire": brief(ring.to_wire(vector)),
            }
        )
    return result


def fixedpoint_vectors() -> list[Any]:
    result = []
    for bits, clip in itertools.product((4, 12, 16, 24), (0.5, 0.3, 3.0)):
        fixed = FixedPoint(bits, 32, 5)
        values, clipped = fixed.quantise(an_update(LONG), clip, KEYS[3])
        mean = fixed.dequantise_mean(values, clip, 3)
        result.append(
            {
                "bits": bits,
                "clip": clip,
                "rounding_key": KEYS[3].hex(),
                "count": LONG,
                "first": values[:8].tolist(),
                "clipped": clipped,
                "int32": brief(values.astype("<i4").tobytes()),
                "a_third_as_float32": brief(mean.astype("<f4").tobytes()),
            }
        )
    return result


def limb_vectors() -> list[Any]:
    counts = [0, 1, 2047, 2048, 1234567, 2**48 - 1]
    return [
        {"bits": bits, "counts": counts, "limbs": limbs.encode(counts, bits).tolist()}
        for bits in (0, 2, 8, 12, 16, 24)
    ]


def tag_vectors() -> list[Any]:
    fixed = FixedPoint(12, 16, 5)
    long = fixed.quantise(an_update(LONG), 1.0, KEYS[3])[0]
    cases: list[tuple[int | str, np.ndarray, str]] = [
        (0, np.array([], np.int32), "nothing"),
        (0, np.array([1, -1, 2047, -2047, 0], np.int32), "1, -1, 2047, -2047, 0"),
        ("A", np.array([1], np.int32), "1"),
        (4, long, f"the fixed-point vector of 12 bits with clip 1.0, {LONG} elements"),
    ]
    context = b"run 1, round 2"
    return [
        {
            "key": KEYS[4].hex(),
            "context": context.hex(),
            "hospital": hospital,
            "x": says,
            "tag": tag.tag(KEYS[4], context, hospital, x),
        }
        for hospital, x, says in cases
    ]


def protect_vectors() -> list[Any]:
    result = []
    for bits, ring in ((12, 16), (20, 24), (16, 32), (24, 64)):
        tagger = tag.Tagger(KEYS[4], b"run 1, round 2")
        protected = quantise_and_mask(
            an_update(LONG),
            [0.5, 0.75],
            FixedPoint(bits, ring, 5),
            KEYS[3],
            [(KEYS[5], 1), (KEYS[6], -1)],
            lengths=[1000, LONG - 1000],
            counts=[17, 2**40],
            tagger=tagger,
        )
        result.append(
            {
                "bits": bits,
                "ring": ring,
                "clips": [0.5, 0.75],
                "lengths": [1000, LONG - 1000],
                "counts": [17, 2**40],
                "rounding_key": KEYS[3].hex(),
                "streams": [[KEYS[5].hex(), 1], [KEYS[6].hex(), -1]],
                "clipped": protected.clipped,
                "tag_of_hospital_1": tagger.tag(1),
                "wire": brief(protected.wire),
            }
        )
    return result


FILES: dict[str, Callable[[], Any]] = {
    "fixedpoint": fixedpoint_vectors,
    "kdf": kdf_vectors,
    "keys": key_vectors,
    "limbs": limb_vectors,
    "masks": mask_vectors,
    "protect": protect_vectors,
    "sharing": sharing_vectors,
    "tag": tag_vectors,
}


def texts() -> dict[str, str]:
    """Return the text of every file, by its path in the folder."""
    found = {f"{name}.json": make() for name, make in FILES.items()}
    found |= {f"protocol/{name}.json": played for name, played in rounds().items()}
    found["protocol/messages.json"] = messages()
    return {
        name: json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        for name, value in found.items()
    }


def silently_changed() -> list[str]:
    """Return the messages that differ from the committed ones without a new protocol version."""
    path = FOLDER / "protocol" / "messages.json"
    if not path.is_file():
        return []
    return unannounced(json.loads(path.read_text(encoding="utf-8")), messages())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    if changed := silently_changed():
        print(
            f"{', '.join(changed)}: another message than before; raise codec.PROTOCOL_VERSION",
            file=sys.stderr,
        )
        return 1
    different = []
    for name, text in texts().items():
        path = FOLDER / name
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            different.append(path.name)
    if different:
        print(f"differ from what the code gives: {', '.join(different)}", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
