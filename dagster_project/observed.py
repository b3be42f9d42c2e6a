"""Observed assets: what is made elsewhere, and whose version is read off the world.

``raw/<dataset>`` of recorded data is versioned by its pointer in git; ``platform/<target>`` by what the device is.
This module reads them; ``assets/observed.py`` shows them to Dagster, ``sensors/observing.py`` and ``reporting.py``
record what was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from robot_assets.core.errors import PlatformError
from robot_assets.data.entry import RecordedSource
from robot_assets.data.recorded import check_available, open_recorded, read_recorded
from robot_assets.data.repository import Repositories
from robot_assets.lineage.graph import platform_name
from robot_assets.pipeline.project import Project
from robot_assets.platforms.probe import Platform, probe


@dataclass(frozen=True)
class Sighting:
    """What an observed asset is at one look.

    Attributes:
        version: Hash of the data, or fingerprint of the device.
        what: Where that was read, as a person would say it.
        facts: What else is known, for the page: text, numbers, or lists of text.
    """

    version: str
    what: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Observer:
    """One look at the world: a device is probed once, and a revision of a repository is asked for once.

    Attributes:
        project: What there is to observe.
        nodes: Reads the device of a target off its nodes, and says which. Without it such a device has the version that
            was observed last: only the sensor has rights on nodes.
    """

    project: Project
    nodes: Callable[[str], tuple[Platform, str]] | None = None

    def see(self, name: str) -> Sighting | None:
        """What ``name`` is now; None when a stage produces it, or when its device is not to be seen from here.

        Raises:
            DataError: The pointer, its repository or its revision is missing.
            StoreError: It is no pointer.
            PlatformError: The device cannot be probed, or its nodes cannot be asked or are different devices.
        """
        room, _, rest = name.partition("/")
        if room == "platform":
            return self._platform(rest)
        if room == "raw" and (source := _source(self.project, rest)) is not None:
            found = read_recorded(source, self.project.root, self._repositories)
            facts = {"commit": found.commit, "size_bytes": found.size_bytes, "files": found.files}
            known = {key: value for key, value in facts.items() if value is not None}
            return Sighting(found.version, found.where, known)
        return None

    def _platform(self, target: str) -> Sighting | None:
        match self.project.params.targets[target].platform:
            case "here":
                return seen_platform(self._here, "this machine")
            case "node" if self.nodes is not None:
                return seen_platform(*self.nodes(target))
        return None

    @cached_property
    def _here(self) -> Platform:
        return probe()

    @cached_property
    def _repositories(self) -> Repositories:
        return Repositories(self.project.state / "git", self.project.root)


def observed_version(project: Project, name: str) -> str | None:
    """The present version of an observed asset; None when a stage produces it, or its device is not to be seen here.

    Raises:
        DataError: The pointer, its repository or its revision is missing.
        StoreError: It is no pointer.
        PlatformError: This device cannot be probed.
    """
    sighting = Observer(project).see(name)
    return sighting.version if sighting else None


def is_reported(project: Project, name: str) -> bool:
    """Whether ``name`` is a device that says itself what it is: its version is its latest report."""
    room, _, target = name.partition("/")
    return room == "platform" and project.params.targets[target].platform == "reported"


def is_on_nodes(project: Project, name: str) -> bool:
    """Whether ``name`` is a device that the nodes of a cluster tell of; the sensor ``platforms`` reads them."""
    room, _, target = name.partition("/")
    return room == "platform" and project.params.targets[target].platform == "node"


def seen_platform(device: Platform, what: str) -> Sighting:
    """A device as a sighting."""
    return Sighting(device.fingerprint, what, device.as_json())


def require_available(project: Project, name: str, version: str) -> None:
    """Refuse a version of recorded data that nobody could open. Nothing to do for what holds no bytes.

    Raises:
        DataError: Neither the store nor the folder beside the pointer has it; the fix is a command.
    """
    room, _, rest = name.partition("/")
    if room == "raw" and (source := _source(project, rest)) is not None:
        check_available(source, project.root, version, project.store)


def open_observed(project: Project, name: str, version: str) -> Path | None:
    """Open an observed data set at ``version``; None when ``name`` is produced by a stage."""
    room, _, rest = name.partition("/")
    if room == "platform":
        return project.root
    if room == "raw" and (source := _source(project, rest)) is not None:
        return open_recorded(source, project.root, version, project.store)
    return None


def refuse_other_platform(project: Project, target: str, expected_version: str) -> None:
    """Make sure that this machine is the device that an engine is to be built for.

    Args:
        project: Says how the device of ``target`` is observed.
        target: Name under ``targets`` in params.yaml.
        expected_version: Fingerprint that lineage has for it.

    Raises:
        PlatformError: This machine is another one.
    """
    here = probe()
    if here.fingerprint == expected_version:
        return
    name = platform_name(target)
    if is_reported(project, name):
        fix = f"run it on the device of {target}; if this is that device: robot-assets platform report {target}"
    elif is_on_nodes(project, name):
        fix = (
            f"if this is a node of {target}, the sensor `platforms` sees the change and has the engine rebuilt; a step "
            "must see of its device what platform-publisher sees (docs/kubernetes.md)"
        )
    else:
        fix = f"run it on the machine of the code location, or set targets.{target}.platform to reported in params.yaml"
    raise PlatformError(
        f"this machine is {here.fingerprint[:8]} ({in_words(here)}), and {name} was seen as {expected_version[:8]}",
        needed=f"the device that the engine is for: an engine of {target} is built and checked on {target}",
        fix=fix,
    )


def in_words(device: Platform) -> str:
    """A device in one line."""
    runtime = f"ONNX Runtime {device.onnxruntime}" if device.onnxruntime else ""
    jetson = f"Jetson Linux {device.l4t}" if device.l4t else ""
    return ", ".join(filter(None, (device.board, jetson, device.architecture, runtime)))


def _source(project: Project, dataset: str) -> RecordedSource | None:
    source = project.params.datasets[dataset].source
    return source if isinstance(source, RecordedSource) else None
