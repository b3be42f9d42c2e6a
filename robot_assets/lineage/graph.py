"""Stages and gates: what an asset is made of, by which code, with which parameters, and what it has to pass.

Plain data that knows no kind of stage. Whoever describes a project (``robot_assets.pipeline``) makes the stages;
asset definitions, staleness, plans and audits are all derived from them, so that they cannot disagree about what
depends on what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_assets.lineage.spec import Policy

GENERAL = "general"
"""The node pool of every step that needs no particular node."""


@dataclass(frozen=True)
class Gate:
    """A blocking check on an asset: what depends on the asset waits until it passes.

    ``code`` and ``params`` give the gate a code version of its own: a changed budget makes the gate due without making
    the asset stale.

    Attributes:
        name: Such as ``accuracy``.
        description: What holds when it has passed, one sentence.
        code: Entry points of the code that judges, such as ``robot_assets.data.checks:check_leakage``.
        params: The slice of parameters that it reads, JSON-serializable.
        inputs: Assets that it reads beside the one that it judges.
    """

    name: str
    description: str
    code: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One asset.

    Attributes:
        asset: Name, such as ``robocup_detector/engine/cpu``.
        kind: Name of the kind of stage. Nothing here reads it but to show it.
        code: Entry points of the code that makes it, ``package.module:function``; empty for an observed asset, whose
            version is read from the world.
        params: The slice of parameters that this code reads, JSON-serializable.
        inputs: Names of the assets that it reads.
        gates: Its blocking checks.
        pool: The node pool that it and its gates run on.
        policy: Who starts its rebuild: the sensor (``auto``) or a person (``manual``).
        fleet: Stages of one fleet are one thing for several devices: when many are stale, one is rebuilt first as the
            canary of the others. None: it is in no fleet.
        is_urgent: Whether it carries out orders, such as a pause or a recall, that no rebuild may delay. It waits for
            no input: instead of one that is not fresh, it reads the version that its last build read. Nor does it wait
            for the end of the quiet window, or for runs of other assets.
        spec: The frozen parameters as the code takes them; ``params`` is their JSON.
    """

    asset: str
    kind: str
    code: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    pool: str = GENERAL
    policy: Policy = "auto"
    fleet: str | None = None
    is_urgent: bool = False
    spec: Any = field(default=None, compare=False, repr=False)

    @property
    def is_observed(self) -> bool:
        """Whether its version is read from the world instead of being produced here."""
        return not self.code


@dataclass(frozen=True)
class AssetTraits:
    """What is known of an asset by its name alone, even when the graph no longer has it.

    Attributes:
        role: What a person calls this kind of asset, such as ``Checkpoint``.
        holds_bytes: Whether a version has bytes that a store keeps; the fingerprint of a device has none.
        files: Patterns of the files by which a person refers to a version, such as ``engine.*``.
        hole: Why the lineage of the asset ends where it should not, such as ``trained elsewhere``; empty for none.
    """

    role: str = "Asset"
    holds_bytes: bool = True
    files: tuple[str, ...] = ()
    hole: str = ""


def with_ancestors(graph: Mapping[str, Stage], names: Iterable[str]) -> tuple[str, ...]:
    """``names`` and everything that they are made of, in graph order."""
    wanted = set(names)
    for stage in reversed(list(graph.values())):
        if stage.asset in wanted:
            wanted.update(stage.inputs)
    return tuple(name for name in graph if name in wanted)
