"""Sentences that all forms of the report share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from robot_assets.core.text import plural
from robot_assets.lineage.chain import Chain, GateRecord, Link
from robot_assets.lineage.record import Record


def verdict(chain: Chain) -> str:
    """The answer in a few words."""
    if not chain.problems:
        return "Complete and clean"
    return f"{plural(len(chain.problems), 'problem')} in {_steps_with_problems(chain)}"


def explanation(chain: Chain) -> str:
    """What the answer means."""
    steps = plural(len(chain.links), "step")
    if not chain.problems:
        return (
            f"{steps}. Each has a record and was made by committed code, every expected gate has passed, and the store "
            "still has every file."
        )
    return f"{steps}. What is missing, dirty or failed is listed here, and marked at its step."


def _steps_with_problems(chain: Chain) -> str:
    bad = sum(bool(link.problems) for link in chain.links)
    return f"{bad} of {plural(len(chain.links), 'step')}"


def short(version: str | None) -> str:
    """The first twelve digits, as the Dagster UI and ``robot-assets build`` show them."""
    return version.removesuffix(".dir")[:12] if version else "none"


def when(time: str | None) -> str:
    """An ISO 8601 time as ``2026-03-01 08:00:00 UTC``; the text itself when it does not parse."""
    if not time:
        return "unknown"
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return time
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def declaration(value: Any) -> str:
    """What an owner declares: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def span(seconds: float) -> str:
    """A duration."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(size_bytes: int) -> str:
    """Bytes in decimal units."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def state_of_code(record: Record) -> str:
    """Whether the commit of a record is all of its code."""
    if record.git_commit is None:
        return "no commit"
    return {True: "with uncommitted changes", False: "clean", None: "not known whether clean"}[record.git_dirty]


def reasons(record: Record) -> list[str]:
    """Why it was built, one line each."""
    return [str(cause) for cause in record.causes]


def outcome(gate: GateRecord) -> str:
    """``passed`` or ``failed``."""
    return "passed" if gate.passed else "failed"


def missing_gates(link: Link) -> list[str]:
    """Gates that params.yaml describes and that were not evaluated on this version."""
    known = {gate.name for gate in link.gates}
    return [name for name in link.expected_gates if name not in known]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Nested parameters or facts as (dotted key, value); a list is one value, an empty mapping gives nothing."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def printable(text: str) -> str:
    """One line without control characters: names come from files, and a terminal interprets escape sequences."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in " ".join(text.split()))
