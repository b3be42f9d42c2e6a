"""Asset names <-> Dagster keys, and the names of the checks that are not gates.

The domain says ``sidewalk_detector/engine/cpu``; Dagster says ``AssetKey(["sidewalk_detector", "engine", "cpu"])``.
"""

import dagster as dg

BUILDS_CHECK = "builds"
"""The check that every produced asset carries: it builds from its present code and inputs. The build itself
passes it and notes for which state; the rebuild sensor fails it when it has given up."""

INTACT_CHECK = "lineage_intact"
"""The check on each signed asset that its audit is complete and its signature good."""


def asset_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("/"))


def asset_name(key: dg.AssetKey) -> str:
    return "/".join(key.path)
