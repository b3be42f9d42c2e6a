"""``assignments/<group>.json``: which robots of a group may have which release now. Light to import: robots read it.

A robot that is not listed keeps what it runs. So nothing is remembered between two looks: a superseded release is
not named any more, and a robot that was off for weeks finds the release of today.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from robot_assets.core.spec import Spec

FORMAT: Final = 1


class Recall(Spec):
    """A hash that nothing on a robot may be made of any more.

    Attributes:
        hash: First digits, at least 8, of a data version, a sha256, a code version, or the ``ed25519:...`` of a key.
        reason: Why, for people.
    """

    hash: str = Field(min_length=8)
    reason: str = Field(min_length=1)


class Assignments(Spec):
    """The content of ``assignments/<group>.json``.

    Attributes:
        group: The group. A robot of another group ignores the file.
        release: Data version of the release; None: no release is assigned.
        bundle_sha256: sha256 of its ``bundle.json``; the role ``releases`` has to say the same.
        install: Robots that may switch to it.
        download_ahead: Whether the other robots of the group may download it.
        window: Daily window in which robots switch, as ``fleet.groups.GROUP.rollout.window``; None: at any time.
        prove_s: Seconds for which a robot has to serve healthily before it commits.
        silence_s: A robot that has started counts as failed after this time without a report; so it reports more often.
        bake_s: Seconds of health after which a robot counts as baked.
        on_recall: What a robot does whose every set is recalled.
        recalls: What was recalled; robots decide from the statements beside their engines.
        issued_at: When it was published, ISO 8601 UTC: the robot's lower bound of the present time.
    """

    format: Literal[1] = FORMAT
    group: str
    release: str | None
    bundle_sha256: str | None
    install: tuple[str, ...] = ()
    download_ahead: bool = True
    window: dict[str, Any] | None = None
    prove_s: float = 0
    silence_s: float = 3600
    bake_s: float = 0
    on_recall: Literal["last_good", "stop"] = "last_good"
    recalls: tuple[Recall, ...] = ()
    issued_at: str
