"""Copies what some groups need to a folder, such as a USB stick: robots without a network take releases from there."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath

from robot_assets.core import progress
from robot_assets.core.text import plural
from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.blobs import digest_of
from robot_assets.fleet.draft import Place
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files
from robot_assets.fleet.layout import (
    ASSIGNMENTS_ROLE,
    BLOBS,
    METADATA,
    RELEASES_ROLE,
    assignments_target,
    blob,
    release_target,
)
from robot_assets.fleet.metadata import ROOT_ROLE, SNAPSHOT_ROLE, TIMESTAMP_ROLE, metadata_path, target_path
from robot_assets.fleet.published import Published, read_target
from robot_assets.fleet.publishing import parse_assignments
from robot_assets.release.bundle import parse_bundle

_MIB = 1 << 20


@dataclass(frozen=True)
class Exported:
    """A copy that was verified.

    Attributes:
        out: Its folder.
        releases: Data version by group.
        files: Number of files.
        size_bytes: Their size.
        expires: When robots begin to distrust it.
    """

    out: Path
    releases: Mapping[str, str]
    files: int
    size_bytes: int
    expires: datetime


def export(place: Place, groups: Sequence[str], out: Path, now: datetime) -> Exported:
    """Copy the metadata and the present releases of ``groups`` to ``out``, and verify the copy; a rerun continues.

    ``timestamp.json`` is copied last. Blobs of earlier exports are removed.

    Raises:
        FleetError: A group has no release, the repository has expired, the folder has another repository, too little
            room, or files that do not read back as they were written.
    """
    published = place.published()
    expires = published.expiries[TIMESTAMP_ROLE]
    if expires <= now:
        raise FleetError(
            f"the repository expired at {expires.isoformat()}: robots would refuse the copy",
            needed="a renewed timestamp",
            fix="robot-assets fleet refresh",
        )
    assigned = {group: _assigned(place.files, published, group) for group in groups}
    targets, blobs = _contents(place.files, published, assigned)
    target = Files(str(out))
    _refuse_other(target, place, published)
    _require_room(out, {path: size for path, (_, size) in blobs.items() if target.size(path) != size})
    repairs = [
        f"robot-assets fleet publish {group} --release {one.release} --repair" for group, one in assigned.items()
    ]
    _copy_blobs(place.files, target, blobs, " && ".join(repairs))
    _write_all(target, targets)
    _write_all(target, _metadata(place.files, published))
    _remove_others(target, set(blobs))
    sizes = {path: size for path, (_, size) in blobs.items()} | _verified(target, targets)
    releases = {group: str(one.release) for group, one in assigned.items()}
    return Exported(out, releases, len(sizes), sum(sizes.values()), expires)


def _assigned(files: Files, published: Published, group: str) -> Assignments:
    """The published assignments of a group, which have a release."""
    found = published.parts[ASSIGNMENTS_ROLE].targets.get(assignments_target(group))
    assigned = parse_assignments(read_target(files, found), group) if found else None
    if assigned is None or assigned.release is None:
        raise FleetError(
            f"no release is assigned to the group {group}",
            needed="a rollout that has assigned one",
            fix=f"robot-assets build rollout/{group}",
        )
    return assigned


def _contents(
    files: Files, published: Published, assigned: Mapping[str, Assignments]
) -> tuple[dict[str, bytes], dict[str, tuple[str, int]]]:
    """Targets by path with their content, and blobs by path with sha256 and size."""
    targets: dict[str, bytes] = {}
    blobs: dict[str, tuple[str, int]] = {}
    for group, one in assigned.items():
        stated = published.parts[ASSIGNMENTS_ROLE].targets[assignments_target(group)]
        release = published.parts[RELEASES_ROLE].targets.get(release_target(group, str(one.release)))
        if release is None:
            raise FleetError(
                f"the release {str(one.release)[:8]} of {group} is not published any more",
                needed="a release that the role releases has signed",
                fix=f"robot-assets fleet publish {group}",
            )
        for file in (stated, release):
            targets[target_path(file.path, file.hashes["sha256"])] = read_target(files, file)
        bundle = parse_bundle(targets[target_path(release.path, release.hashes["sha256"])])
        blobs |= {blob(file.sha256): (file.sha256, file.size) for file in bundle.files}
    return targets, blobs


def _metadata(files: Files, published: Published) -> dict[str, bytes]:
    """Metadata by path in the order in which it is written: the timestamp last."""
    versions = published.versions
    paths = [metadata_path(ROOT_ROLE, version) for version in range(1, versions[ROOT_ROLE] + 1)]
    paths += [metadata_path(role, versions[role]) for role in (*published.parts, SNAPSHOT_ROLE, TIMESTAMP_ROLE)]
    return {path: files.read(path) for path in paths}


def _refuse_other(target: Files, place: Place, published: Published) -> None:
    """Refuse a folder with another repository."""
    first = metadata_path(ROOT_ROLE, 1)
    if target.has(first) and target.read(first) != place.files.read(first):
        raise FleetError(
            f"{target.name} has another distribution repository",
            needed="an empty folder, or one of an earlier export of this repository",
            fix=f"rm -r {shlex.quote(str(Path(target.url) / METADATA))}   # or name another folder",
        )
    if place.files.folder is not None and place.files.folder.resolve() == Path(target.url).resolve():
        raise FleetError(f"{target.name} is the repository itself", needed="another folder", fix="name another --out")


def _require_room(out: Path, sizes: Mapping[str, int]) -> None:
    """Raise FleetError when the files that are missing do not fit."""
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free, needed = shutil.disk_usage(place).free, sum(sizes.values())
    if needed > free:
        raise FleetError(
            f"{out} has {free / _MIB:.0f} MiB free; {plural(len(sizes), 'file')} with {needed / _MIB:.0f} MiB to copy",
            needed=f"{needed / _MIB:.0f} MiB of free space",
            fix=f"df -h {shlex.quote(str(place))}   # then free some space and run the command again",
        )


def _copy_blobs(source: Files, target: Files, blobs: Mapping[str, tuple[str, int]], fix: str) -> None:
    for done, (path, (digest, size)) in enumerate(blobs.items(), start=1):
        if target.size(path) != size or _digest_on_disk(target, path) != digest:
            with _local(source, path) as local:
                if digest_of(local) != digest:
                    raise FleetError(
                        f"{source.where(path)} is damaged or was altered",
                        needed=f"bytes with sha256 {digest}",
                        fix=f"{fix}   # where releases.pem is",
                    )
                target.upload(local, path)
            _require_read_back(target, path, digest)
        progress.report("exporting", done, len(blobs))


@contextmanager
def _local(files: Files, path: str) -> Iterator[Path]:
    """A file of the repository on this machine."""
    missing = FleetError(
        f"{files.where(path)} is missing",
        needed="every file of a published release",
        fix="robot-assets fleet publish GROUP   # uploads what is missing",
    )
    if files.folder is not None:
        if not files.has(path):
            raise missing
        yield files.folder / path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, PurePosixPath(path).name)
        try:
            with open(local, "wb") as stream:
                stream.writelines(files.read_from(path, 0))
        except FileNotFoundError:
            raise missing from None
        yield local


def _write_all(target: Files, contents: Mapping[str, bytes]) -> None:
    for path, content in contents.items():
        target.write(path, content)


def _verified(target: Files, contents: Mapping[str, bytes]) -> dict[str, int]:
    for path, content in contents.items():
        _require_read_back(target, path, sha256(content).hexdigest())
    return {path: len(content) for path, content in contents.items()}


def _require_read_back(target: Files, path: str, digest: str) -> None:
    if _digest_on_disk(target, path) != digest:
        raise FleetError(
            f"{target.where(path)} does not read back as it was written",
            needed="a disk that keeps what is written to it",
            fix="run the command again with another USB stick or disk",
        )


def _digest_on_disk(target: Files, path: str) -> str:
    """sha256 of a file as the disk has it: what the kernel has cached is dropped first."""
    local = Path(target.url) / path
    handle = os.open(local, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
    return digest_of(local)


def _remove_others(target: Files, kept: set[str]) -> None:
    for listed in target.listing(BLOBS):
        if listed.path not in kept:
            target.remove(listed.path)
