"""The registry of stage kinds: ours, then those of installed plug-ins.

A kind of ours is a module in ``kinds/`` and a line here. A kind of a plug-in is an entry point of its distribution::

    [project.entry-points."robot_assets.stage_kinds"]
    thumbnails = "my_package.thumbnails:KIND"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from robot_assets.core.plugins import registry_of
from robot_assets.lineage.graph import Stage
from robot_assets.pipeline.kind import StageKind
from robot_assets.pipeline.kinds import (
    checkpoint,
    dataset,
    engine,
    fleet,
    onnx,
    platform,
    profile,
    ptq,
    qat,
    raw,
    release,
    rollout,
    sensitivity,
    source,
    weights,
)
from robot_assets.pipeline.names import AssetName

ENTRY_POINTS = "robot_assets.stage_kinds"

STAGE_KINDS: tuple[StageKind, ...] = (
    raw.KIND,
    weights.KIND,
    dataset.KIND,
    platform.KIND,
    source.KIND,
    checkpoint.KIND,
    ptq.KIND,
    qat.KIND,
    onnx.KIND,
    sensitivity.KIND,
    engine.KIND,
    profile.KIND,
    release.KIND,
    fleet.KIND,
    rollout.KIND,
)
"""The kinds of this package."""


@cache
def stage_kinds() -> dict[str, StageKind]:
    """All kinds by name: ours first, then those of installed plug-ins in the order of their names.

    Raises:
        ParamsError: A plug-in cannot be loaded, or has a kind whose name is taken.
    """
    return registry_of(STAGE_KINDS, ENTRY_POINTS, StageKind, "stage kind")


def kind_of(asset: str) -> tuple[StageKind, AssetName] | None:
    """The kind that an asset is of by its name, and what the name says; None when no kind names its assets so."""
    for kind in _fixed_words_first():
        if (name := kind.pattern.parse(asset)) is not None:
            return kind, name
    return None


@cache
def _fixed_words_first() -> tuple[StageKind, ...]:
    """All kinds in the order to try their patterns in: "profile/onnx" is the profile of a target called onnx."""
    return tuple(sorted(stage_kinds().values(), key=lambda one: one.pattern.first_word is None))


def with_kinds(graph: Mapping[str, Stage]) -> Iterator[tuple[Stage, StageKind, AssetName]]:
    """Each stage of a graph with its kind and what its name says."""
    for stage in graph.values():
        if (found := kind_of(stage.asset)) is None:
            raise ValueError(f"{stage.asset} is not named like the assets of any kind")
        yield stage, *found


def reserved_words() -> frozenset[str]:
    """First words of asset names, which no model may be called."""
    return frozenset(word for kind in stage_kinds().values() if (word := kind.pattern.first_word))
