"""The distribution repository: TUF metadata, targets and blobs, as the cluster writes them.

Written under a lock of the repository (a lease that is put if absent), so that the groups of a fleet can be published at
the same time. Metadata is versioned ("consistent snapshot"), and ``timestamp.json`` is written last: a process that is killed
at any point leaves the old state or the new one.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.files import Files


class Repository:
    """A distribution repository.

    Args:
        files: Where it is.
        keys: Folder with the private keys that are here: ``ROLE.pem`` each (robot_assets.fleet.keys).
    """

    def __init__(self, files: Files, keys: Path) -> None:
        self.files = files
        self.keys = keys

    @property
    def exists(self) -> bool:
        """Whether ``fleet init`` has made it. Raises FleetError when it cannot be reached."""
        raise NotImplementedError

    def publish_release(self, group: str, version: str, release: Path) -> bool:
        """Upload a release and sign that it is authentic; whether that was new. Needs the key of ``releases`` alone.

        Blobs and ``bundle.json`` are uploaded first, then the next version of ``releases`` metadata is written. Robots see
        it with the next publication of assignments.

        Raises:
            FleetError: The key is missing, or the repository cannot be written.
        """
        raise NotImplementedError

    def bundle_sha256(self, group: str, version: str) -> str | None:
        """sha256 of ``bundle.json`` as the newest ``releases`` metadata states it; None: not there."""
        raise NotImplementedError

    def publish_assignments(self, assignments: Assignments, now: datetime) -> bool:
        """Publish who may have what, with new snapshot and timestamp; whether anything but the timestamp changed.

        Needs the keys of ``assignments``, ``snapshot`` and ``timestamp``.

        Raises:
            FleetError: A key is missing, the release is not in the metadata of ``releases``, or the repository cannot be
                written.
        """
        raise NotImplementedError

    def assignments(self, group: str) -> Assignments | None:
        """What is published for a group; None: nothing yet."""
        raise NotImplementedError
