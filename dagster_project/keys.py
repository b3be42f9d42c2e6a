"""Asset names <-> Dagster keys, and the names of groups. Nothing else decides what an asset is called.

The domain says ``sidewalk_detector/engine/cpu``; Dagster says ``AssetKey(["sidewalk_detector", "engine", "cpu"])``.
"""

import dagster as dg

from robot_assets.profiling.spec import ROOM as PROFILE_ROOM

DATA_GROUP = "data"
PLATFORM_GROUP = "platforms"
PROFILE_GROUP = "profiles"

BUILDS_CHECK = "builds"
"""The check that every produced asset carries: it builds from its present code and inputs. The build itself
passes it and notes for which state; the rebuild sensor fails it when it has given up."""

INTACT_CHECK = "lineage_intact"
"""The check on each engine that its audit is complete and its signature good."""


def asset_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("/"))


def asset_name(key: dg.AssetKey) -> str:
    return "/".join(key.path)


def group_name(asset: str) -> str:
    """Data, platforms and profiles have a group each; everything else is in the group of its model."""
    room = asset.split("/")[0]
    groups = {"raw": DATA_GROUP, "datasets": DATA_GROUP, "platform": PLATFORM_GROUP, PROFILE_ROOM: PROFILE_GROUP}
    return groups.get(room, room)
