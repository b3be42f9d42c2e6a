"""The result of a gate: whether it passed, the measurements, and the fix if it failed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        passed: Whether assets that depend on the checked artifact may be built.
        summary: One sentence with the decisive figures.
        fix: How to fix the failure; empty when passed.
        facts: The underlying figures and names, JSON-serializable.
    """

    passed: bool
    summary: str
    fix: str = ""
    facts: dict[str, object] = field(default_factory=dict)
