"""Addresses of git repositories, and names of revisions: what may be given to git, and what a person may see of it."""

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
    """Why ``url`` is not given to git; None when it may be.

    Git runs commands that an address can name (``ext::``, and hosts that start with a dash, which ssh takes for
    options), so that only plain addresses pass.
    """
    if not url or url.startswith("-") or _CONTROL.search(url):
        return "is empty, starts with '-' or has a space or control character in it"
    if _HELPER.match(url):
        return f"asks for a transport of its own; one of {', '.join(PROTOCOLS)}, or a path, is needed"
    if "://" in url:
        found = _SCHEME.match(url)
        if found is None or found[1] not in PROTOCOLS:
            return f"is none of {', '.join(f'{name}://' for name in PROTOCOLS)}"
        return "has a host that starts with '-'" if found[2].startswith("-") else None
    scp = _SCP_LIKE.match(url)
    return "has a host that starts with '-'" if scp and scp[1].startswith("-") else None


def why_revision_refused(revision: str) -> str | None:
    """Why ``revision`` is no branch, tag or full commit hash; None when it may be one (git-check-ref-format)."""
    if not revision or revision.startswith("-") or _NOT_IN_A_REVISION.search(revision):
        return "is no name of a branch or tag, nor a full commit hash"
    return None


def without_credentials(text: str, url: str = "") -> str:
    """``text`` without the credentials in any URL in it, and without those of ``url`` wherever they stand alone.

    The user name of ssh is none: everybody's is ``git``, and a key comes with it.
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


def as_given_to_git(url: str, root: Path) -> str:
    """A path, relative to ``root``, becomes a URL; a URL stays as it is."""
    is_path = "://" not in url and not _SCP_LIKE.match(url)
    return (root / url).resolve().as_uri() if is_path else url
