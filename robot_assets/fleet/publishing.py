"""What goes into the next state of a repository: a release that is authentic, and assignments of a group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError
from tuf.api.metadata import TargetFile

from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.draft import Draft, expected_key
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.layout import ASSIGNMENTS_ROLE, RELEASES_ROLE, TARGETS, assignments_target, release_target
from robot_assets.fleet.metadata import (
    ADDED,
    RELEASE,
    SNAPSHOT_ROLE,
    SOON,
    TIMESTAMP_ROLE,
    custom,
    target_file,
    target_path,
)
from robot_assets.fleet.published import read_target

PUBLICATION_ROLES = (SNAPSHOT_ROLE, TIMESTAMP_ROLE)
RELEASES_KEPT = 10
"""Releases of each group that robots can install; the ones that are assigned stay in any case."""


def publish(draft: Draft) -> bool:
    """Publish a draft with the keys that are here; whether anything but the timestamp changed. Raises FleetError."""
    snapshot, timestamp = (expected_key(draft.place.keys, role, draft.published.root) for role in PUBLICATION_ROLES)
    return draft.publish([snapshot], [timestamp])


def add_release(draft: Draft, target: str, content: bytes, keep: Collection[str]) -> bool:
    """Sign a release; whether it was new. Metadata that expires soon is renewed."""
    part = draft.parts[RELEASES_ROLE]
    file = target_file(target, content, {ADDED: part.version + 1})
    known = part.targets.get(target)
    is_new = known is None or known.hashes != file.hashes
    if is_new or part.metadata.signed.expires - draft.now < SOON:
        files = {**part.targets, target: file} if is_new else part.targets
        signer = draft.signer(RELEASES_ROLE, draft.published.targets)
        draft.write_delegated(RELEASES_ROLE, _kept(draft, files.values(), keep), [signer])
    return is_new


def _kept(draft: Draft, files: Iterable[TargetFile], keep: Collection[str]) -> list[TargetFile]:
    """The releases that stay installable: the last ones of each group, the assigned ones, and those in ``keep``."""
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


def check_release(draft: Draft, assignments: Assignments) -> None:
    """Raise FleetError unless the role ``releases`` has signed the release that is assigned."""
    if assignments.release is None:
        return
    target = release_target(assignments.group, assignments.release)
    found = draft.parts[RELEASES_ROLE].targets.get(target)
    if found is None:
        raise FleetError(
            f"the release {assignments.release[:8]} of {assignments.group} is not signed by the role {RELEASES_ROLE}",
            needed=f"a release in the metadata of {RELEASES_ROLE}, which keeps the last {RELEASES_KEPT} of a group",
            fix=f"robot-assets fleet publish {assignments.group}   # where releases.pem is",
        )
    if found.hashes["sha256"] != assignments.bundle_sha256:
        raise FleetError(
            f"the release {assignments.release[:8]} of {assignments.group} has another bundle.json than the signed one",
            needed=f"sha256 {found.hashes['sha256']}; found {assignments.bundle_sha256}",
            fix=f"robot-assets fleet publish {assignments.group}   # where releases.pem is",
        )


def assign(draft: Draft, assignments: Assignments) -> None:
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
    draft.write_delegated(ASSIGNMENTS_ROLE, {**part.targets, target: file}.values(), [signer])
    _remove_superseded(draft, target, {file.hashes["sha256"], known.hashes["sha256"] if known else ""})


def _is_current(draft: Draft, known: TargetFile, assignments: Assignments) -> bool:
    try:
        found = parse_assignments(read_target(draft.place.files, known), assignments.group)
        age = draft.now - datetime.fromisoformat(found.issued_at)
    except (FleetError, ValueError, TypeError):  # lost, altered, or issued at no time: what is signed now replaces it
        return False
    is_equal = found.model_copy(update={"issued_at": assignments.issued_at}) == assignments
    return is_equal and abs(age) < draft.place.validity / 2


def _remove_superseded(draft: Draft, target: str, kept: Collection[str]) -> None:
    """Remove older assignments of a group. What cannot be removed now costs room and nothing else."""
    folder, _, name = target.rpartition("/")
    with suppress(FleetError):
        for one in draft.place.files.listing(f"{TARGETS}/{folder}"):
            digest, _, rest = Path(one.path).name.partition(".")
            if rest == name and digest not in kept:
                draft.place.files.remove(one.path)


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
