"""Asset names <-> Dagster keys, and the names of the checks that are not gates.

``sidewalk_detector/engine/cpu`` in the domain is ``AssetKey(["sidewalk_detector", "engine", "cpu"])`` in Dagster.
"""

import dagster as dg

BUILDS_CHECK = "builds"
"""The check on every produced asset that it builds from its present code and inputs. Each build passes it and records
its desired state; the rebuild sensor fails it after the last attempt."""

INTACT_CHECK = "lineage_intact"
"""The check on each signed asset that its audit is complete and its signature good."""


def asset_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("/"))


def asset_name(key: dg.AssetKey) -> str:
    return "/".join(key.path)
