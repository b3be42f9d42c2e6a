"""Names symlinks into a cache of DVC for what they are."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.text import plural

_OBJECT = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}$")
"""The end of the path of an object in a cache of DVC."""


def is_dvc_link(path: Path) -> bool:
    """Whether a path is a symlink to an object in a cache of DVC, as ``cache.type symlink`` makes them."""
    return path.is_symlink() and _OBJECT.search(os.readlink(path)) is not None


def refuse_dvc_links(folder: Path, links: Sequence[Path]) -> None:
    """Refuse a folder with symlinks into a cache of DVC: their bytes are not in the folder, and DVC may remove them.

    Args:
        folder: The folder.
        links: Its symlinks, whatever they point to.

    Raises:
        DataError: One of them points into a cache of DVC; the fix replaces all of them by files.
    """
    found = [path for path in links if is_dvc_link(path)]
    if not found:
        return
    raise DataError(
        f"{folder} has {plural(len(found), 'symlink')} into the cache of DVC (cache.type is symlink), such as "
        f"{found[0].relative_to(folder)}",
        needed="the files themselves",
        fix=f"dvc config --local cache.type reflink,hardlink,copy && dvc checkout --relink {_target(folder)}".rstrip(),
    )


def _target(folder: Path) -> str:
    """The DVC pointer of the folder, or of the closest folder above it that has one; "" when there is none."""
    every = (one.with_name(f"{one.name}.dvc") for one in (folder, *folder.parents) if one.name)
    return next((shlex.quote(str(pointer)) for pointer in every if pointer.is_file()), "")
