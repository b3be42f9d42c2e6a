"""Files of a distribution repository: a folder, or any URL that fsspec opens. Paths are relative, with ``/``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Listed:
    """One file in a listing.

    Attributes:
        path: Relative to the root.
        size: Bytes.
        modified_at: When the storage received it, by its own clock.
        tag: Changes with the content: an ETag, or size and time.
    """

    path: str
    size: int
    modified_at: datetime
    tag: str


class Files:
    """Files below a URL.

    Args:
        url: A folder, ``file://``, ``s3://``, or another fsspec URL. It may contain credentials: print ``name``.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def name(self) -> str:
        """The URL without credentials."""
        raise NotImplementedError

    def read(self, path: str) -> bytes:
        """All bytes of a file. Raises FileNotFoundError or FleetError."""
        raise NotImplementedError

    def read_from(self, path: str, start: int) -> Iterator[bytes]:
        """Bytes from ``start`` on, in chunks. Raises FileNotFoundError or FleetError."""
        raise NotImplementedError

    def write(self, path: str, content: bytes) -> None:
        """Replace a file; readers see the old or the new bytes. Raises FleetError."""
        raise NotImplementedError

    def write_new(self, path: str, content: bytes) -> bool:
        """Write a file unless it exists; of two concurrent calls one returns True. Raises FleetError."""
        raise NotImplementedError

    def upload(self, source: Path, path: str) -> None:
        """As ``write``, from a local file of any size. Raises FleetError."""
        raise NotImplementedError

    def has(self, path: str) -> bool:
        """Whether there is such a file. Raises FleetError."""
        raise NotImplementedError

    def listing(self, folder: str) -> list[Listed]:
        """The files in a folder and below it; none where there is no folder. Raises FleetError."""
        raise NotImplementedError

    def remove(self, path: str) -> None:
        """Remove a file, if it is there. Raises FleetError."""
        raise NotImplementedError
