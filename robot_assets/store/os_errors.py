"""Translates errors of the operating system and of remotes into ``StoreError``, without secrets."""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robot_assets.core.errors import StoreError
from robot_assets.core.os_errors import mount_of

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_VALUE = re.compile(r"(?i)\b([\w-]*(?:secret|token|password|signature|credential|key)[\w-]*=)[^&\s]+")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def masked(text: str, url: str = "") -> str:
    """Return ``text`` (a URL, or a message with URLs) with its credentials masked.

    Args:
        text: The text to print.
        url: A URL whose credentials are masked wherever they occur in the text: libraries quote parts of a URL.
    """
    text = _SECRET_VALUE.sub(r"\1***", _USERINFO.sub("***@", text))
    secrets = [found.rstrip("@") for found in _USERINFO.findall(url)]
    secrets += [secret.partition(":")[2] for secret in secrets]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


@contextmanager
def explaining_os_errors(doing: str, where: Path) -> Iterator[None]:
    """Turn an ``OSError`` in the block into a ``StoreError`` with a fix.

    Args:
        doing: The operation, such as "writing objects".
        where: The directory that was written to or read from.
    """
    try:
        yield
    except OSError as error:
        place = error.filename2 or error.filename or where
        if error.errno in FULL:
            raise no_space(doing, Path(str(place)), error) from None
        raise _failed(doing, where, error.filename or where, error) from None


def no_space(doing: str, place: Path, error: OSError) -> StoreError:
    """The error for a full disk, an exhausted quota or a file size limit.

    Args:
        doing: The operation, such as "writing objects".
        place: The file or directory that was written to.
        error: What was raised.
    """
    if error.errno == errno.EFBIG:
        return StoreError(
            f"a file is larger than the limit while {doing}: {place} ({error.strerror})",
            needed="a file size limit, and a file system, for the whole artifact",
            fix="ulimit -f unlimited   # then run the same command again; finished parts are kept",
        )
    disk = mount_of(place)
    what = "the quota is exhausted" if error.errno == errno.EDQUOT else "no space left"
    return StoreError(
        f"{what} on {disk} while {doing}: {place}",
        needed=f"free space on {disk} for the whole artifact",
        fix=f"df -h {shlex.quote(disk)}   # free some space, or set store.url (for the cache of a remote "
        "ROBOT_ASSETS_CACHE) to a larger disk; then run the same command again: finished parts are kept",
    )


def _failed(doing: str, where: Path, place: object, error: OSError) -> StoreError:
    folder = shlex.quote(str(where))
    fixes = {
        errno.EACCES: f"ls -ld {folder}   # then change its owner or rights",
        errno.EPERM: f"ls -ld {folder}   # then change its owner or rights",
        errno.EROFS: f"findmnt --target {folder}   # then mount it writable, or set store.url to another disk",
        errno.ENOTDIR: f"ls -ld {folder}   # a part of this path is a file: move it away",
        errno.EEXIST: f"ls -ld {folder}   # a file is where a folder belongs: move it away",
    }
    return StoreError(
        f"{doing} failed at {place}: {error.strerror or error}",
        needed=f"a working, readable and writable directory at {where}",
        fix=fixes.get(error.errno or 0, f"dmesg | tail   # then repair or replace the disk of {folder}"),
    )
