"""Hashes files, and copies them while hashing."""

from __future__ import annotations

import fcntl
import hashlib
import os

CHUNK = 1 << 20
_FICLONE = 0x40049409


def hash_file(path: str) -> str:
    """Return the md5 of a file, 32 hexadecimal digits."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return hash_handle(handle)
    finally:
        os.close(handle)


def hash_handle(handle: int) -> str:
    """Return the md5 of an open file from its current position on."""
    md5 = hashlib.md5(usedforsecurity=False)
    while chunk := os.read(handle, CHUNK):
        md5.update(chunk)
    return md5.hexdigest()


def copy_hashed(source: int, destination: str) -> str:
    """Copy an open file to the existing file ``destination``; return the md5 of the copied bytes.

    Uses a reflink where the file system supports it (and hashes the clone: the source may change meanwhile), else
    a plain copy. Never a hard link: one end is always a user's writable file.
    """
    target = os.open(destination, os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC)
    try:
        if _is_cloned(source, target):
            return hash_handle(target)
        return _copy(source, target)
    finally:
        os.close(target)


def _is_cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy(source: int, target: int) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    while chunk := os.read(source, CHUNK):
        md5.update(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(target, rest) :]
    return md5.hexdigest()
