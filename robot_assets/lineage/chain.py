"""The chain of an artifact: every step from it down to what was recorded on robots, as the records say.

Plain data; ``robot_assets.lineage.audit`` makes it, ``robot_assets.provenance`` signs it.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from robot_assets.core.spec import Spec
from robot_assets.lineage.record import Record

DECLARATIONS = ("licence", "source", "trained_on")
"""What the owner of an observed asset may declare of it, as facts of its observation."""


class GateRecord(Spec):
    """One evaluation of a blocking check on exactly the version that a link names.

    Attributes:
        name: Such as ``accuracy``.
        passed: Whether it passed.
        summary: Its result in one or two sentences.
        facts: Its figures.
        run_id: Dagster's run.
        evaluated_at: UTC, ISO 8601.
    """

    name: str
    passed: bool
    summary: str
    facts: dict[str, Any] = Field(default_factory=dict)
    run_id: str
    evaluated_at: str


class Link(Spec):
    """One version of one asset in a chain.

    Attributes:
        asset: Its name.
        version: Its data version.
        role: What a person calls this kind of asset, such as ``Checkpoint``.
        holds_bytes: Whether the version has bytes that a store keeps; the fingerprint of a device has none.
        record: The record of its materialization; None for an observed asset, or when there is no such record.
        observed_at: For an observed asset: when this version was first seen. UTC, ISO 8601.
        declared: For an observed asset: what its owner declares, such as ``licence`` and ``source``.
        hole: Why the lineage ends at this link where it should not, such as ``trained elsewhere``; empty for none.
        gates: Blocking checks that were evaluated on this version, by name.
        expected_gates: Names of the gates that params.yaml describes now.
        problems: What is missing, dirty or wrong, one sentence each.
    """

    asset: str
    version: str
    role: str = "Asset"
    holds_bytes: bool = True
    record: Record | None = None
    observed_at: str | None = None
    declared: dict[str, Any] = Field(default_factory=dict)
    hole: str = ""
    gates: tuple[GateRecord, ...] = ()
    expected_gates: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Chain(Spec):
    """An artifact and everything that it was made of, the artifact first, inputs after what read them."""

    links: tuple[Link, ...]

    @property
    def head(self) -> Link:
        """The artifact itself."""
        return self.links[0]

    @property
    def problems(self) -> tuple[str, ...]:
        """All problems, each with the asset that has it."""
        return tuple(f"{link.asset}: {problem}" for link in self.links for problem in link.problems)

    @property
    def holes(self) -> tuple[str, ...]:
        """Where the lineage ends and should not, each with the reason."""
        return tuple(f"{link.asset}: {link.hole}" for link in self.links if link.hole)
