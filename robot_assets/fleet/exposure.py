"""Which releases and robots are made of what a hash names: by published statements, by reports, and by the history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.recall import Part, match

if TYPE_CHECKING:
    from robot_assets.fleet.view import FleetView, Running


@dataclass(frozen=True)
class Exposure:
    """What a recall of a hash affects.

    Attributes:
        parts: What the hash names in published statements; each digest once.
        releases: (group, data version) of published releases that are made of it.
        robots: Robots that run one of these, or a release of the history that is made of it.
        unknown: Robots that run a release of which there are no statements.
        unseen: Those of ``releases`` whose statements do not name it, so that a robot cannot know: what is below the
            release and not below an engine, such as the code that put the release together.
        without_release: Groups that have published releases, and none that is free of it.
        errors: Why the robots of a group are not known, by group.
    """

    parts: tuple[Part, ...] = ()
    releases: tuple[tuple[str, str], ...] = ()
    robots: tuple[Running, ...] = ()
    unknown: tuple[Running, ...] = ()
    unseen: tuple[tuple[str, str], ...] = ()
    without_release: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups whose releases or robots are affected."""
        return tuple(dict.fromkeys([*(group for group, _ in self.releases), *(one.group for one in self.robots)]))


def exposure(view: FleetView, digest: str, built: Collection[str] = ()) -> Exposure:
    """What is made of ``digest``.

    Args:
        view: The fleet.
        digest: First digits of a hash, or the line of a key.
        built: Data versions of releases that are made of it by the history of their builds.

    Raises:
        FleetError: The repository cannot be read.
    """
    parts: dict[str, Part] = {}
    releases: list[tuple[str, str]] = []
    unseen: list[tuple[str, str]] = []
    empty: list[str] = []
    for group in view.fleet.groups:
        named = _named(view, group, digest, parts)
        found = [version for version in view.releases(group) if version in named or version in built]
        releases += [(group, version) for version in found]
        unseen += [(group, version) for version in found if version not in named]
        if found and len(found) == len(view.releases(group)):
            empty.append(group)
    affected = {version for _, version in releases}.union(built)
    running, errors = _running(view)
    unknown = [one for one in running if one.release not in affected and view.parts(one.group, one.release) is None]
    return Exposure(
        parts=tuple(parts.values()),
        releases=tuple(releases),
        robots=tuple(one for one in running if one.release in affected),
        unknown=tuple(unknown),
        unseen=tuple(unseen),
        without_release=tuple(empty),
        errors=errors,
    )


def _running(view: FleetView) -> tuple[list[Running], dict[str, str]]:
    """Robots that run a release, and why those of a group are not known."""
    found: list[Running] = []
    errors: dict[str, str] = {}
    for group in view.fleet.groups:
        try:
            found += [one for one in view.running(group) if one.release is not None]
        except FleetError as error:
            errors[group] = error.found
    return found, errors


def _named(view: FleetView, group: str, digest: str, parts: dict[str, Part]) -> set[str]:
    """Published releases of a group whose statements name ``digest``; adds what it names to ``parts``."""
    found = set()
    for version in view.releases(group):
        part = match(view.parts(group, version) or (), digest)
        if part is not None:
            parts.setdefault(part.digest, part)
            found.add(version)
    return found
