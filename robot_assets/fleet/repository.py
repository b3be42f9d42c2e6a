"""The distribution repository: TUF metadata, targets and blobs, as the cluster writes them.

Written under a lock of the repository (a lease that is put if absent), so that the groups of a fleet can be published
at the same time. Metadata is versioned ("consistent snapshot"), and ``timestamp.json`` is written last: a process that
is killed at any point leaves the old state or the new one.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.blobs import read_bundle, upload_blobs
from robot_assets.fleet.creation import create_metadata
from robot_assets.fleet.draft import Place, drafting
from robot_assets.fleet.files import Files
from robot_assets.fleet.keys import RootKeys, make_online_keys, make_root_keys, role_key
from robot_assets.fleet.layout import ASSIGNMENTS_ROLE, RELEASES_ROLE, assignments_target, release_target
from robot_assets.fleet.metadata import SNAPSHOT_ROLE, TIMESTAMP_ROLE, metadata_path, target_path
from robot_assets.fleet.published import newest, read_target
from robot_assets.fleet.publishing import add_release, assign, check_release, parse_assignments, publish

ROOT_NAME = "root.json"


class Repository:
    """A distribution repository.

    Args:
        files: Where it is.
        keys: Folder with the private keys that are here: ``ROLE.pem`` each (robot_assets.fleet.keys).
        root: File with the root metadata that is trusted; default: ``root.json`` in the folder of keys.
        timestamp_days: Days after which robots distrust an unrenewed repository (``fleet.timestamp_days``).
    """

    def __init__(self, files: Files, keys: Path, root: Path | None = None, timestamp_days: int = 7) -> None:
        self.files = files
        self.keys = keys
        self.place = Place(files, keys, root or keys / ROOT_NAME, timestamp_days)

    @classmethod
    def create(
        cls,
        files: Files,
        keys: Path,
        root: Path | None = None,
        timestamp_days: int = 7,
        root_keys: RootKeys | None = None,
        now: datetime | None = None,
    ) -> Repository:
        """Make a repository with new keys; a call that was interrupted is continued.

        Args:
            files: Where it will be.
            keys: Folder of the private keys; created.
            root: File that the root metadata is written to; default: ``root.json`` in the folder of keys.
            timestamp_days: Validity of snapshot and timestamp.
            root_keys: Keys of the root; default: one, in the folder ``root`` of the folder of keys.
            now: The present time.

        Raises:
            FleetError: There is one already, or a file cannot be written.
        """
        made = cls(files, keys, root, timestamp_days)
        offline = root_keys or make_root_keys(keys / "root", 1, 1)
        create_metadata(made.place, offline, make_online_keys(keys), now or datetime.now(UTC))
        return made

    @property
    def exists(self) -> bool:
        """Whether ``fleet init`` has made it. Raises FleetError when it cannot be reached."""
        return self.files.has(metadata_path(TIMESTAMP_ROLE, 0))

    def publish_release(
        self,
        group: str,
        version: str,
        release: Path,
        keep: Collection[str] = (),
        now: datetime | None = None,
        repair: bool = False,
    ) -> bool:
        """Upload a release and sign that it is authentic; whether that was new. Needs the key of ``releases`` alone.

        Blobs and ``bundle.json`` are uploaded first, then the next version of ``releases`` metadata is written. Robots
        see it with the next publication of assignments. Releases that are neither assigned, nor in ``keep``, nor among
        the last 10 of a group are left out of the metadata: robots cannot install them any more.

        Args:
            group: The group.
            version: Data version of ``release/<group>``.
            release: Its folder.
            keep: Data versions that stay installable, such as those that robots report.
            now: The present time.
            repair: Whether the bytes of files that are there already are compared, and damaged ones replaced.

        Raises:
            FleetError: The key is missing, the folder is not a release of the group, or the repository cannot be
                written.
        """
        role_key(self.keys, RELEASES_ROLE)
        content, bundle = read_bundle(release, group)
        upload_blobs(self.files, release, bundle, repair)
        target = release_target(group, version)
        with drafting(self.place, now or datetime.now(UTC)) as draft:
            upload_blobs(self.files, release, bundle)  # what was pruned meanwhile; nothing is removed under the lock
            self.files.write(target_path(target, sha256(content).hexdigest()), content)
            return add_release(draft, target, content, keep)

    def bundle_sha256(self, group: str, version: str) -> str | None:
        """sha256 of ``bundle.json`` as the newest ``releases`` metadata states it; None: not there."""
        found = newest(self.files, self.place.published(), RELEASES_ROLE).targets.get(release_target(group, version))
        return found.hashes["sha256"] if found else None

    def publish_assignments(self, assignments: Assignments, now: datetime) -> bool:
        """Publish who may have what, with new snapshot and timestamp; whether anything but the timestamp changed.

        Needs the keys of ``assignments``, ``snapshot`` and ``timestamp``. Equal assignments that were issued at another
        time are published again when half of the validity of the timestamp has passed.

        Raises:
            FleetError: A key is missing, the release is not in the metadata of ``releases``, or the repository cannot
                be written.
        """
        for role in (ASSIGNMENTS_ROLE, SNAPSHOT_ROLE, TIMESTAMP_ROLE):
            role_key(self.keys, role)
        with drafting(self.place, now) as draft:
            check_release(draft, assignments)
            assign(draft, assignments)
            return publish(draft)

    def assignments(self, group: str) -> Assignments | None:
        """What is published for a group; None: nothing yet. Raises FleetError."""
        found = self.place.published().parts[ASSIGNMENTS_ROLE].targets.get(assignments_target(group))
        return parse_assignments(read_target(self.files, found), group) if found else None
