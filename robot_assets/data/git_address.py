"""Validates addresses of git repositories and names of revisions, and masks credentials."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

PROTOCOLS = ("https", "ssh", "file", "git")

_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_NOT_IN_A_REVISION = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{")
_HELPER = re.compile(r"[\w+.-]+::")
_SCHEME = re.compile(r"([\w+.-]+)://(?:[^/]*@)?([^/]*)")
_SCP_LIKE = re.compile(r"(?:[^/:]*@)?([^/:]+):")
_USERINFO = re.compile(r"([\w+.-]+)://([^/\s]+)@")
_SHORTEST_SECRET = 4


def why_url_refused(url: str) -> str | None:
    """The reason why ``url`` is refused; None when it is allowed.

    An address can make git run commands (``ext::``, or hosts that start with a dash, which ssh reads as options), so
    only plain addresses are allowed.
    """
    if not url or url.startswith("-") or _CONTROL.search(url):
        return "is empty, starts with '-' or contains a space or control character"
    if _HELPER.match(url):
        return f"uses a remote helper; needed: a path, or one of {', '.join(PROTOCOLS)}"
    if "://" in url:
        found = _SCHEME.match(url)
        if found is None or found[1] not in PROTOCOLS:
            return f"does not start with {' or '.join(f'{name}://' for name in PROTOCOLS)}"
        return "has a host that starts with '-'" if found[2].startswith("-") else None
    scp = _SCP_LIKE.match(url)
    return "has a host that starts with '-'" if scp and scp[1].startswith("-") else None


def why_revision_refused(revision: str) -> str | None:
    """The reason why ``revision`` is refused; None when it is a valid name (git-check-ref-format) or hash."""
    if not revision or revision.startswith("-") or _NOT_IN_A_REVISION.search(revision):
        return "is not a valid branch, tag or full commit hash"
    return None


def without_credentials(text: str, url: str = "") -> str:
    """Mask the credentials of every URL in ``text``, and those of ``url`` wherever they occur.

    An ssh user name without a password is not a credential: it is usually ``git``.
    """
    for scheme, userinfo in _USERINFO.findall(url):
        for part in (userinfo, userinfo.partition(":")[2]) if _is_secret(scheme, userinfo) else ():
            for form in (part, unquote(part)):
                text = text.replace(form, "***") if len(form) >= _SHORTEST_SECRET else text
    return _USERINFO.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    return f"{found[1]}://***@" if _is_secret(found[1], found[2]) else found[0]


def _is_secret(scheme: str, userinfo: str) -> bool:
    return scheme != "ssh" or ":" in userinfo


def absolute_url(url: str, root: Path) -> str:
    """Convert a path, relative to ``root``, to a file URL; return a URL unchanged."""
    is_path = "://" not in url and not _SCP_LIKE.match(url)
    return (root / url).resolve().as_uri() if is_path else url
