"""The answer of a gate: passed or not, what was measured, and what to do when it did not pass."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        passed: Whether what depends on the checked artifact may go on.
        summary: One sentence with the figures that decided.
        fix: What a person does now; empty when passed.
        facts: The figures and names behind the sentence, JSON-serializable.
    """

    passed: bool
    summary: str
    fix: str = ""
    facts: dict[str, object] = field(default_factory=dict)
