"""A local folder, with the part of fsspec's interface that a remote uses. A robot pulls from one without fsspec."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import Any


class LocalFiles:
    """Files of this machine, or of a mounted disk."""

    protocol = "file"

    def info(self, path: str) -> dict[str, Any]:
        """Path and size of a file. Raises FileNotFoundError."""
        return {"name": path, "size": os.stat(path).st_size}

    def ls(self, path: str, detail: bool = True) -> list[Any]:
        """Paths of the files in a folder, or the info of each. Raises FileNotFoundError."""
        found = []
        with os.scandir(path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # removed since it was listed
                    found.append(self.info(entry.path))
        return found if detail else [info["name"] for info in found]

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""
        return os.path.exists(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Create a folder and those above it."""
        os.makedirs(path, exist_ok=exist_ok)

    def get_file(self, path: str, destination: str) -> None:
        """Copy a file from the folder."""
        shutil.copyfile(path, destination)

    def put_file(self, source: str, path: str) -> None:
        """Copy a file to the folder."""
        shutil.copyfile(source, path)

    def rm_file(self, path: str) -> None:
        """Remove a file."""
        os.remove(path)
