"""The graph that ``params.yaml`` describes, made by the kinds of the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline.kind import StageKind
from robot_assets.pipeline.params import Params
from robot_assets.pipeline.registry import kind_of, stage_kinds


def build_graph(params: Params) -> dict[str, Stage]:
    """All stages by asset name, inputs before what reads them; what is in one group of the UI stays together.

    Raises:
        ValueError: A kind describes a stage that it cannot make, judge or observe, an input that no stage gives, or a
            circle of inputs.
    """
    groups: dict[str, list[Stage]] = {}
    for kind in stage_kinds().values():
        for stage in _stages(kind, params):
            groups.setdefault(_group(kind, stage), []).append(stage)
    stages = {stage.asset: stage for group in groups.values() for stage in group}
    return {stage.asset: stage for stage in _inputs_first(stages)}


def traits(asset: str) -> AssetTraits:
    """What is known of an asset by its name alone."""
    found = kind_of(asset)
    return found[0].traits if found else AssetTraits()


def _group(kind: StageKind, stage: Stage) -> str:
    name = kind.pattern.parse(stage.asset)
    if name is None:
        raise ValueError(f"stage kind {kind.name}: {stage.asset} is not named like {kind.pattern.text}")
    return kind.group_of(name)


def _stages(kind: StageKind, params: Params) -> Iterator[Stage]:
    production = kind.production
    for stage in kind.stages(params):
        if stage.is_observed:
            if kind.observation is None:
                raise ValueError(f"stage kind {kind.name}: {stage.asset} is observed, and the kind has no observation")
            yield stage
        elif production is None or (stage.gates and production.judge is None):
            raise ValueError(f"stage kind {kind.name}: {stage.asset} needs a production, with a judge for its gates")
        else:
            policy = params.rebuild.policy.get(kind.name, production.policy)
            yield stage if stage.policy == policy else replace(stage, policy=policy)


def _inputs_first(stages: Mapping[str, Stage]) -> Iterator[Stage]:
    """The stages in the order given, but inputs before their readers: a stage of ours may read one of a plug-in."""
    entered: set[str] = set()
    done: set[str] = set()
    pending = [(stage, False) for stage in reversed(list(stages.values()))]
    while pending:
        stage, are_inputs_done = pending.pop()
        if are_inputs_done:
            done.add(stage.asset)
            yield stage
        elif stage.asset not in done:
            if stage.asset in entered:
                raise ValueError(f"{stage.asset} is made of itself: its inputs run in a circle")
            entered.add(stage.asset)
            pending.append((stage, True))
            pending += [(_given(stages, stage, name), False) for name in reversed(stage.inputs) if name not in done]


def _given(stages: Mapping[str, Stage], reader: Stage, name: str) -> Stage:
    if name not in stages:
        raise ValueError(f"{reader.asset} reads {name}, which no stage gives")
    return stages[name]
