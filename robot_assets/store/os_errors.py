"""Translates errors of the operating system and of remotes into ``StoreError``, without secrets."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robot_assets.core.errors import StoreError

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_VALUE = re.compile(r"(?i)\b([\w-]*(?:secret|token|password|signature|credential|key)[\w-]*=)[^&\s]+")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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
        place = error.filename or where
        if error.errno in _FULL:
            raise StoreError(
                f"no space left while {doing}: {place} ({error.strerror})",
                needed=f"free space, quota and file size limit for the whole artifact at {where}",
                fix="free some space, or use a larger disk (store.url; for the cache of a remote ROBOT_ASSETS_CACHE or "
                "execution.cache), then run the same command again; finished parts are kept",
            ) from None
        raise StoreError(
            f"{doing} failed at {place}: {error.strerror or error}",
            needed=f"a working, readable and writable directory at {where}",
            fix="correct the permissions or replace the disk, then run the same command again",
        ) from None
