"""Plug-ins as real installed packages: written, built by pip, and installed into a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def files_in(page: str) -> dict[str, str]:
    """The files that a page of the documentation shows: a name in backquotes, a colon, and a code block."""
    return dict(re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", page, re.MULTILINE | re.DOTALL))


def install(files: Mapping[str, str], folder: Path) -> Path:
    """Install the package of ``files``; gives the folder that has to be on PYTHONPATH."""
    source, target = folder / "source", folder / "installed"
    source.mkdir(parents=True)
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    command = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target, source]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *command], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return target


def install_documented(page: str, prefix: str, folder: Path) -> Path:
    """Install the package whose files a page shows below the folder ``prefix``."""
    files = files_in(page)
    return install({name.removeprefix(prefix): text for name, text in files.items() if name.startswith(prefix)}, folder)


def with_plugin(environment: Mapping[str, str], installed: Path) -> dict[str, str]:
    """An environment in which the plug-in is installed."""
    path = os.pathsep.join(filter(None, [str(installed), environment.get("PYTHONPATH")]))
    return {**environment, "PYTHONPATH": path}
