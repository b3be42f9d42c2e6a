"""The artifact record and the format of digests."""

from __future__ import annotations

import re
from dataclasses import dataclass

from robot_assets.core.errors import StoreError

DIRECTORY_SUFFIX = ".dir"
_DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Artifact:
    """A version of a file or of a directory.

    Attributes:
        digest: As ``dvc`` computes it: the md5 of a file in 32 hexadecimal digits, or the md5 of a directory's
            listing followed by ``.dir``.
        size_bytes: Sum of the sizes of all files.
        files: Number of files; 1 for a file.
        is_executable: Whether it is one file with its owner's execute bit set (DVC records it in the pointer).
    """

    digest: str
    size_bytes: int
    files: int
    is_executable: bool = False

    @property
    def is_directory(self) -> bool:
        """Whether the artifact is a directory."""
        return is_directory(self.digest)


def is_directory(digest: str) -> bool:
    """Whether ``digest`` is that of a directory listing."""
    return digest.endswith(DIRECTORY_SUFFIX)


def checked_digest(digest: str) -> str:
    """Return ``digest`` if it is well-formed.

    Raises:
        StoreError: It is not; it may be a name, a path or a shortened hash.
    """
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise StoreError(
            f"{digest!r} is not a digest",
            needed="32 lower-case hexadecimal digits, followed by .dir for a directory",
            fix="copy the whole md5 from the .dvc file, from dvc.lock or from the asset's data version",
        )
    return digest
