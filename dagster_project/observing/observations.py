"""Reads the latest observation of an asset, and creates the next one when its version has changed.

An observation has the version as Dagster's tag, and as metadata where it was read and what has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_project.instance.event_log import DATA_VERSION_TAG
from dagster_project.keys import asset_key
from robot_assets.core.markdown import literal
from robot_assets.lineage.chain import DECLARATIONS
from robot_assets.pipeline.kind import Sighting

FACTS_KEY = "facts"


def latest_observation(instance: dg.DagsterInstance, name: str) -> dg.AssetObservation | None:
    """The latest observation of an asset; None when it was never observed."""
    records = instance.fetch_observations(asset_key(name), limit=1).records
    return records[0].asset_observation if records else None


def observed_data_version(observation: dg.AssetObservation | None) -> str | None:
    """The data version of an observation."""
    return (observation.tags or {}).get(DATA_VERSION_TAG) if observation else None


def latest_observed_version(instance: dg.DagsterInstance, name: str) -> str | None:
    """Data version of the latest observation of an asset; None when it was never observed."""
    return observed_data_version(latest_observation(instance, name))


def new_observation(name: str, sighting: Sighting, before: dg.AssetObservation | None) -> dg.AssetObservation:
    """The observation to record for a sighting whose version differs from that of the last observation."""
    different = changes(sighting, before)
    shown = {title: ", ".join(value) if isinstance(value, list) else value for title, value in sighting.facts.items()}
    return dg.AssetObservation(
        asset_key(name),
        description=f"{transition(sighting, before)}, seen at {sighting.what}",
        metadata={
            "seen at": sighting.what,
            "version": sighting.version,
            "version before": observed_data_version(before) or "none: never observed before",
            **({"changes": _listed(different)} if different else {}),
            **shown,
            FACTS_KEY: dg.MetadataValue.json(dict(sighting.facts)),
        },
        tags={DATA_VERSION_TAG: sighting.version},
    )


def _listed(lines: Sequence[str]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("\n".join(f"- {literal(line)}" for line in lines))


def transition(sighting: Sighting, before: dg.AssetObservation | None) -> str:
    """``old -> new``, abbreviated."""
    old = observed_data_version(before)
    return f"{old[:8]} -> {sighting.version[:8]}" if old else f"first version {sighting.version[:8]}"


def changes(sighting: Sighting, before: dg.AssetObservation | None) -> list[str]:
    """The changed facts since the last observation, one a line; empty when that one has no facts."""
    old, new = facts_of(before), sighting.facts
    if old is None:
        return []
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return [f"{name}: {_text(old.get(name))} -> {_text(new.get(name))}" for name in names]


def is_new(sighting: Sighting, before: dg.AssetObservation | None) -> bool:
    """Whether the version, or what the owner declares of it, such as its licence, differs from the last observation."""
    old = facts_of(before) or {}
    has_declarations = any(name in sighting.facts for name in DECLARATIONS)
    return observed_data_version(before) != sighting.version or (
        has_declarations and any(old.get(name) != sighting.facts.get(name) for name in DECLARATIONS)
    )


def facts_of(observation: dg.AssetObservation | None) -> Mapping[str, Any] | None:
    """The facts of an observation; None when it has none."""
    value = observation.metadata.get(FACTS_KEY) if observation else None
    facts = value.value if isinstance(value, dg.JsonMetadataValue) else None
    return facts if isinstance(facts, dict) else None


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
