"""Failures of the operating system and of a remote, said in words, and without secrets."""

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
    """Return ``text`` (a URL, or a message with URLs) without the credentials in it.

    Args:
        text: What is about to be shown.
        url: A URL whose credentials may stand in the text on their own too, as libraries quote parts of it.
    """
    text = _SECRET_VALUE.sub(r"\1***", _USERINFO.sub("***@", text))
    secrets = [found.rstrip("@") for found in _USERINFO.findall(url)]
    secrets += [secret.partition(":")[2] for secret in secrets]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


@contextmanager
def explained(doing: str, where: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the enclosed block into a ``StoreError`` that says what to do.

    Args:
        doing: What was going on, as in "writing objects".
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
                "execution.cache), then run the same command again; what was finished is kept",
            ) from None
        raise StoreError(
            f"{doing} failed at {place}: {error.strerror or error}",
            needed=f"a working, readable and writable directory at {where}",
            fix="mend the permission or the disk, then run the same command again",
        ) from None
