"""Names in a distribution repository. Robots and the cluster agree on nothing else but these and the file formats.

::

    metadata/                    TUF: N.root.json, timestamp.json, N.snapshot.json, N.targets.json,
                                 N.releases.json, N.assignments.json
    targets/releases/GROUP/SHA256.VERSION.json      bundle.json of a release
    targets/assignments/SHA256.GROUP.json           who may have which release now (robot_assets.fleet.assignments)
    blobs/SHA256                 the files of releases, by content
    reports/GROUP/ROBOT.json     the last report of each robot, signed by it (robot_assets.fleet.reports)
    locks/                       who is writing (robot_assets.fleet.lock); robots ignore it

Roles: root and targets (threshold, offline), snapshot and timestamp, and two delegations of targets with different
keys: ``releases`` says what is authentic, ``assignments`` says which robot gets what now.
"""

from __future__ import annotations

METADATA = "metadata"
TARGETS = "targets"
BLOBS = "blobs"
REPORTS = "reports"
LOCKS = "locks"

RELEASES_ROLE = "releases"
ASSIGNMENTS_ROLE = "assignments"
ONLINE_ROLES = ("timestamp", "snapshot", RELEASES_ROLE, ASSIGNMENTS_ROLE)


def release_target(group: str, version: str) -> str:
    """TUF target of the ``bundle.json`` of a release; ``version`` is the data version of ``release/<group>``."""
    return f"releases/{group}/{version.removesuffix('.dir')}.json"


def assignments_target(group: str) -> str:
    """TUF target of the assignments of a group."""
    return f"assignments/{group}.json"


def blob(sha256: str) -> str:
    """Path of a file of a release."""
    return f"{BLOBS}/{sha256}"


def report(group: str, robot: str) -> str:
    """Path of the last report of a robot."""
    return f"{REPORTS}/{group}/{robot}.json"
