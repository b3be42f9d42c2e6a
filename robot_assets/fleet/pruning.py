"""Removes files of releases that no robot can install any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from robot_assets.fleet.draft import Draft, Place, drafting
from robot_assets.fleet.files import Listed
from robot_assets.fleet.layout import BLOBS, RELEASES_ROLE, TARGETS, blob
from robot_assets.fleet.metadata import target_path
from robot_assets.fleet.published import read_target
from robot_assets.release.bundle import parse_bundle


@dataclass(frozen=True)
class Pruned:
    """What a call removed.

    Attributes:
        files: Number of files.
        size_bytes: Their size.
    """

    files: int
    size_bytes: int


def prune(place: Place, now: datetime, days: float) -> Pruned:
    """Remove blobs and bundles of releases that are not in the metadata of ``releases``, neither published nor newest.

    Args:
        place: The repository.
        now: The present time.
        days: Files that arrived later stay: somebody may be uploading a release, or a robot downloading one.

    Raises:
        FleetError: The repository cannot be verified, read or written; nothing was removed when a bundle is damaged.
    """
    with drafting(place, now) as draft:
        kept = set(_kept(draft))
        before = now - timedelta(days=days)
        found = [one for one in _stored(draft) if one.path not in kept and one.modified_at < before]
        for one in found:
            draft.lock.check()
            place.files.remove(one.path)
    return Pruned(len(found), sum(one.size for one in found))


def _stored(draft: Draft) -> Iterator[Listed]:
    yield from draft.place.files.listing(BLOBS)
    yield from draft.place.files.listing(f"{TARGETS}/releases")


def _kept(draft: Draft) -> Iterator[str]:
    """Paths of the files of every release that can be installed, or could after the next publication."""
    for part in (draft.published.parts[RELEASES_ROLE], draft.parts[RELEASES_ROLE]):
        for file in part.targets.values():
            yield target_path(file.path, file.hashes["sha256"])
            bundle = parse_bundle(read_target(draft.place.files, file))
            yield from (blob(one.sha256) for one in bundle.files)
