"""The configuration of DVC beside the store: ``dvc pull`` has to read from where we write.

``store.url`` of params.yaml and the default remote in ``.dvc/config`` are the same place. ``robot-assets init`` writes
both; :func:`drift` compares them. DVC itself is not needed.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from robot_assets.store.os_errors import masked

REMOTE = "store"
"""The name of the remote that ``init`` writes."""
_SECTION = re.compile(r"\s*\[\s*([^\[].*?)\s*\]\s*(?:[#;].*)?")
_REMOTE = re.compile(r"""['"]?\s*remote\s+["'](.*?)["']\s*['"]?""")

_CONFLICT = re.compile(r"[<>]{7}( |$)")
_QUOTED = re.compile("'''|\"\"\"")
"""Quotes of a value of several lines."""


@dataclass(frozen=True)
class Drift:
    """Two places for one fact.

    Attributes:
        found: Both, for people, without credentials.
        fix: The command that makes DVC's remote the store.
    """

    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.found}\n  fix: {self.fix}"


def configuration(store_url: str) -> str:
    """The ``.dvc/config`` of a project whose store is at ``store_url``."""
    url = store_url if _is_absolute(store_url) else f"../{store_url}"
    url = f'"{url}"' if re.search(r"[,#;'\s]", url) else url
    return (
        "[core]\n    analytics = false\n    autostage = false\n"
        f"    remote = {REMOTE}\n['remote \"{REMOTE}\"']\n    url = {url}\n"
    )


def drift(root: Path, store_url: str) -> Drift | None:
    """Where the default remote of DVC is another place than the store; None where they agree or DVC is not set up.

    Args:
        root: Folder of the project.
        store_url: ``store.url`` of params.yaml.
    """
    shared, local = _read(root / ".dvc" / "config"), _read(root / ".dvc" / "config.local")
    if shared is None:
        return None
    if unreadable := _unreadable(root / ".dvc" / "config") or _unreadable(root / ".dvc" / "config.local"):
        return unreadable
    merged = {**shared, **(local or {})}
    command = "dvc" if Path.cwd() == root else f"dvc --cd {shlex.quote(str(root))}"
    name = merged.get(("core", "remote"))
    if name is None:
        return Drift(
            f"store.url in params.yaml is {masked(store_url)}, and .dvc/config has no default remote: dvc pull fails",
            f"{command} remote add --default --force {REMOTE} {shlex.quote(store_url)}",
        )
    url = merged.get((f"remote {name}", "url"))
    if url is not None and _place(root / ".dvc", url) == _place(root, store_url):
        return None
    is_local = ("core", "remote") in (local or {}) or (f"remote {name}", "url") in (local or {})
    verb = "modify" if url is not None else "add --force"
    options = " --local" if is_local else ""
    target = f"{name} url" if url is not None else name
    return Drift(
        f"store.url in params.yaml is {masked(store_url)}, and the remote {name!r} of DVC is "
        f"{masked(url) if url else 'without a url'}: dvc pull and dvc push use another place than builds",
        f"{command} remote {verb}{options} {target} {shlex.quote(store_url)}",
    )


def _unreadable(config: Path) -> Drift | None:
    """The line at which DVC stops to read its configuration; None where it reads all."""
    text = config.read_text("utf-8", errors="replace") if config.is_file() else ""
    file = shlex.quote(str(config))
    for number, line in enumerate(text.splitlines(), 1):
        if _CONFLICT.match(line):
            return Drift(
                f"{config} has conflict markers of git, the first in line {number}: dvc cannot read it",
                f"git checkout --ours -- {file}   # or --theirs, or edit it: keep one of the two versions",
            )
        is_entry = "=" in line or _SECTION.fullmatch(line) or line.strip().startswith(("#", ";"))
        if line.strip() and not is_entry and not _QUOTED.search(text):
            return Drift(
                f"line {number} of {config} is neither [SECTION] nor KEY = VALUE: dvc cannot read it",
                f"git checkout -- {file}   # or correct that line",
            )
    return None


def _read(config: Path) -> dict[tuple[str, str], str] | None:
    """(section, key) -> value; None where there is no such file. The section of a remote is ``remote NAME``."""
    try:
        lines = config.read_text("utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    found: dict[tuple[str, str], str] = {}
    section = ""
    for line in lines:
        if match := _SECTION.fullmatch(line):
            remote = _REMOTE.fullmatch(match[1])
            section = f"remote {remote[1]}" if remote else match[1].strip("'\"")
        elif (key := line.partition("=")[0].strip()) and not key.startswith(("#", ";")) and "=" in line:
            found[section, key] = line.partition("=")[2].strip().strip("'\"")
    return found


def _is_absolute(url: str) -> bool:
    return "://" in url or Path(url).is_absolute()


def _place(base: Path, url: str) -> str:
    """A form in which equal places are equal. DVC's relative paths start in ``.dvc``, ours in the project."""
    path = url.removeprefix("file://")
    if "://" in path:
        return path.rstrip("/")
    return os.path.realpath(base / os.path.expanduser(path))
