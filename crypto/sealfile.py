"""The files that Microsoft SEAL saves and loads: a scratch file for each call, and what is in one.

SEAL saves an object as a header of 16 bytes and a body. Byte 5 of the header is the compression
mode of the build: none, zlib or (TenSEAL's wheels) zstd. Only files of our *own* SEAL are read
here; no peer's bytes come here.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable
from typing import Any

from crypto.errors import CryptoError
from crypto.packing import Blob

ATTEMPTS = 16
HEADER_BYTES = 16
MODE = 5
NONE, ZLIB = 0, 1

ZSTD_MAGIC_BYTES = 4
BLOCK_HEADER_BYTES = 3
RAW_BLOCK = 0


class Scratch:
    """A file for SEAL, which saves and loads by path only: nameless memory (Linux), else a private
    temporary file.

    One for each call, so that neither threads nor forked processes ever meet in it.
    """

    def __enter__(self) -> Scratch:
        self._file = ""
        if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
            self._fd = os.memfd_create("ckks")
            self._path = f"/proc/self/fd/{self._fd}"
        else:
            self._fd, self._file = tempfile.mkstemp()
            self._path = self._file
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)
        if self._file:
            os.unlink(self._file)

    def save(self, thing: Any) -> bytes:
        thing.save(self._path)
        return os.pread(self._fd, os.fstat(self._fd).st_size, 0)

    def load(self, thing: Any, context: Any, *pieces: Blob) -> None:
        os.ftruncate(self._fd, 0)
        offset = 0
        for piece in pieces:
            offset += os.pwrite(self._fd, piece, offset)
        thing.load(context, self._path)


def saved(make: Callable[[], Any], scratch: Scratch) -> bytes:
    """The body of a fresh random object as SEAL saves it; of another, should zstd have found the
    first compressible.
    """
    for _ in range(ATTEMPTS):
        body = body_of(scratch.save(make()))
        if body is not None:
            return body
    raise CryptoError("SEAL saves its objects in a form that is not known here")


def body_of(file: bytes) -> bytes | None:
    """Return the body of a saved object, or None if zstd did compress it."""
    mode, body = file[MODE], file[HEADER_BYTES:]
    if mode == NONE:
        return body
    if mode == ZLIB:
        return zlib.decompress(body)
    return _raw_zstd(body)


def _raw_zstd(frame: bytes) -> bytes | None:
    """Return the content of a zstd frame of raw blocks only (RFC 8878, section 3.1.1), else None.

    zstd stores what it cannot compress, such as 60-bit random words, as raw blocks.
    """
    at = ZSTD_MAGIC_BYTES
    descriptor = frame[at]  # Frame_Header_Descriptor, section 3.1.1.1.1
    content_size_flag, dictionary_flag = descriptor >> 6, descriptor & 3
    single_segment = descriptor >> 5 & 1
    window_bytes = 0 if single_segment else 1
    dictionary_bytes = (0, 1, 2, 4)[dictionary_flag]
    content_size_bytes = (single_segment, 2, 4, 8)[content_size_flag]
    at += 1 + window_bytes + dictionary_bytes + content_size_bytes
    blocks, last = [], False
    while not last:  # Block_Header, section 3.1.1.2: last block, block type, block size
        header = int.from_bytes(frame[at : at + BLOCK_HEADER_BYTES], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind != RAW_BLOCK:
            return None
        at += BLOCK_HEADER_BYTES
        blocks.append(frame[at : at + size])
        at += size
    return b"".join(blocks)
