"""The distribution repository: TUF metadata, targets and blobs, as the cluster writes them.

Written under a lock of the repository (a lease that is put if absent), so that the groups of a fleet can be published at
the same time. Metadata is versioned ("consistent snapshot"), and ``timestamp.json`` is written last: a process that is killed
at any point leaves the old state or the new one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError
from tuf.api.metadata import TargetFile

from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.blobs import read_bundle, upload_blobs
from robot_assets.fleet.creation import create_metadata
from robot_assets.fleet.draft import Draft, Place, drafting, expected_key
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files
from robot_assets.fleet.keys import RootKeys, make_online_keys, make_root_keys, role_key
from robot_assets.fleet.layout import ASSIGNMENTS_ROLE, RELEASES_ROLE, assignments_target, release_target
from robot_assets.fleet.metadata import (
    ADDED,
    RELEASE,
    SNAPSHOT_ROLE,
    SOON,
    TIMESTAMP_ROLE,
    custom,
    metadata_path,
    target_file,
    target_path,
)
from robot_assets.fleet.published import newest, read_target

ROOT_NAME = "root.json"
PUBLICATION_ROLES = (SNAPSHOT_ROLE, TIMESTAMP_ROLE)
RELEASES_KEPT = 10
"""Releases of each group that robots can install; the ones that are assigned stay in any case."""


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
        self, group: str, version: str, release: Path, keep: Collection[str] = (), now: datetime | None = None
    ) -> bool:
        """Upload a release and sign that it is authentic; whether that was new. Needs the key of ``releases`` alone.

        Blobs and ``bundle.json`` are uploaded first, then the next version of ``releases`` metadata is written. Robots see
        it with the next publication of assignments. Releases that are neither assigned, nor in ``keep``, nor among
        the last 10 of a group are left out of the metadata: robots cannot install them any more.

        Args:
            group: The group.
            version: Data version of ``release/<group>``.
            release: Its folder.
            keep: Data versions that stay installable, such as those that robots report.
            now: The present time.

        Raises:
            FleetError: The key is missing, the folder is not a release of the group, or the repository cannot be written.
        """
        role_key(self.keys, RELEASES_ROLE)
        content, bundle = read_bundle(release, group)
        upload_blobs(self.files, release, bundle)
        target = release_target(group, version)
        self.files.write(target_path(target, sha256(content).hexdigest()), content)
        with drafting(self.place, now or datetime.now(UTC)) as draft:
            return _add_release(draft, target, content, keep)

    def bundle_sha256(self, group: str, version: str) -> str | None:
        """sha256 of ``bundle.json`` as the newest ``releases`` metadata states it; None: not there."""
        found = newest(self.files, self.place.published(), RELEASES_ROLE).targets.get(release_target(group, version))
        return found.hashes["sha256"] if found else None

    def publish_assignments(self, assignments: Assignments, now: datetime) -> bool:
        """Publish who may have what, with new snapshot and timestamp; whether anything but the timestamp changed.

        Needs the keys of ``assignments``, ``snapshot`` and ``timestamp``. Equal assignments that were issued at another time
        are published again when half of the validity of the timestamp has passed.

        Raises:
            FleetError: A key is missing, the release is not in the metadata of ``releases``, or the repository cannot be
                written.
        """
        for role in (ASSIGNMENTS_ROLE, SNAPSHOT_ROLE, TIMESTAMP_ROLE):
            role_key(self.keys, role)
        with drafting(self.place, now) as draft:
            _check_release(draft, assignments)
            _assign(draft, assignments)
            return publish(draft)

    def assignments(self, group: str) -> Assignments | None:
        """What is published for a group; None: nothing yet. Raises FleetError."""
        found = self.place.published().parts[ASSIGNMENTS_ROLE].targets.get(assignments_target(group))
        return parse_assignments(read_target(self.files, found), group) if found else None


def publish(draft: Draft) -> bool:
    """Publish a draft with the keys that are here; whether anything but the timestamp changed. Raises FleetError."""
    snapshot, timestamp = (expected_key(draft.place.keys, role, draft.published.root) for role in PUBLICATION_ROLES)
    return draft.publish([snapshot], [timestamp])


def parse_assignments(content: bytes, group: str) -> Assignments:
    """Verified assignments of a group.

    Raises:
        FleetError: They have a format that this version does not know, or are of another group.
    """
    try:
        found = Assignments.model_validate_json(content)
    except ValidationError:
        raise FleetError(
            f"the assignments of {group} have a format that this version of robot-assets does not know",
            needed="the version of robot-assets that published them, or a later one",
            fix="pip install --upgrade robot-assets",
        ) from None
    if found.group != group:
        raise FleetError(
            f"the assignments of {group} are those of {found.group}",
            needed=f"assignments of {group}",
            fix=f"robot-assets build rollout/{group}",
        )
    return found


def _add_release(draft: Draft, target: str, content: bytes, keep: Collection[str]) -> bool:
    """Sign a release; whether it was new. Metadata that expires soon is renewed."""
    part = draft.parts[RELEASES_ROLE]
    file = target_file(target, content, {ADDED: part.version + 1})
    known = part.targets.get(target)
    is_new = known is None or known.hashes != file.hashes
    if is_new or part.metadata.signed.expires - draft.now < SOON:
        files = [
            file if is_new else part.targets[target],
            *(one for path, one in part.targets.items() if path != target),
        ]
        signer = draft.signer(RELEASES_ROLE, draft.published.targets)
        draft.write_delegated(RELEASES_ROLE, _kept(draft, files, keep), [signer])
    return is_new


def _kept(draft: Draft, files: Iterable[TargetFile], keep: Collection[str]) -> list[TargetFile]:
    """The releases that stay installable: the last ones of each group, those that are assigned, and those in ``keep``."""
    assigned = {custom(file, RELEASE) for file in draft.parts[ASSIGNMENTS_ROLE].targets.values()}
    names = {version.removesuffix(".dir") for version in {*assigned, *keep} if isinstance(version, str)}
    of_group: dict[str, list[TargetFile]] = defaultdict(list)
    for file in files:
        of_group[file.path.split("/")[1]].append(file)
    kept: list[TargetFile] = []
    for group in of_group.values():
        group.sort(key=_age)
        kept += [file for at, file in enumerate(group) if at < RELEASES_KEPT or Path(file.path).stem in names]
    return kept


def _age(file: TargetFile) -> tuple[int, str]:
    """Sorts the newest first."""
    added = custom(file, ADDED)
    return (-added if isinstance(added, int) else 0, file.path)


def _check_release(draft: Draft, assignments: Assignments) -> None:
    """Raise FleetError unless the role ``releases`` has signed the release that is assigned."""
    if assignments.release is None:
        return
    target = release_target(assignments.group, assignments.release)
    found = draft.parts[RELEASES_ROLE].targets.get(target)
    if found is None:
        raise FleetError(
            f"the release {assignments.release[:8]} of {assignments.group} is not signed by the role {RELEASES_ROLE}",
            needed=f"a release that the metadata of {RELEASES_ROLE} has; older ones than the last {RELEASES_KEPT} are gone",
            fix=f"robot-assets build release/{assignments.group} --force   # where the key releases.pem is",
        )
    if found.hashes["sha256"] != assignments.bundle_sha256:
        raise FleetError(
            f"the release {assignments.release[:8]} of {assignments.group} has another bundle.json than the signed one",
            needed=f"sha256 {found.hashes['sha256']}; found {assignments.bundle_sha256}",
            fix=f"robot-assets build release/{assignments.group} --force   # where the key releases.pem is",
        )


def _assign(draft: Draft, assignments: Assignments) -> None:
    """Write assignments where they differ from the newest ones, or those were issued long ago."""
    part = draft.parts[ASSIGNMENTS_ROLE]
    target = assignments_target(assignments.group)
    known = part.targets.get(target)
    is_expiring = part.metadata.signed.expires - draft.now < SOON
    if not is_expiring and known and _is_current(draft, known, assignments):
        return
    content = assignments.model_dump_json().encode()
    file = target_file(target, content, {RELEASE: assignments.release})
    draft.place.files.write(target_path(target, file.hashes["sha256"]), content)
    signer = draft.signer(ASSIGNMENTS_ROLE, draft.published.targets)
    draft.write_delegated(
        ASSIGNMENTS_ROLE, [{**part.targets, target: file}[path] for path in {*part.targets, target}], [signer]
    )


def _is_current(draft: Draft, known: TargetFile, assignments: Assignments) -> bool:
    try:
        found = parse_assignments(read_target(draft.place.files, known), assignments.group)
    except FleetError:  # lost or altered: what is signed now replaces it
        return False
    age = draft.now - datetime.fromisoformat(found.issued_at)
    is_equal = found.model_copy(update={"issued_at": assignments.issued_at}) == assignments
    return is_equal and age < draft.place.validity / 2
