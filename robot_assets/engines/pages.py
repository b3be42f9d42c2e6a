"""What the pages of all engines have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robot_assets.core.markdown import literal
from robot_assets.core.page import Block, Facts, Text
from robot_assets.engines.kind import BuildSummary
from robot_assets.platforms.memory import MIB
from robot_assets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from robot_assets.engines.benchmark import Latencies

CAPTION = "Latency of one frame"
"""Of the picture of an engine's latencies."""


def engine_facts(manifest: Manifest, **more: Any) -> Facts:
    """Figures of a manifest; ``more``: those that only one kind has."""
    kernels = manifest.kernels
    int8, in_float = kernels.int8_convolutions, kernels.float_convolutions
    return Facts(
        f"int8 {int8} of {int8 + in_float} convolutions, {manifest.engine_size_bytes / MIB:.2f} MiB",
        {
            "int8_convolutions": int8,
            "float_convolutions": in_float,
            "kernels": kernels.model_dump(mode="json"),
            "platform_fingerprint": manifest.platform_fingerprint,
            "engine_md5": manifest.engine_md5,
            "engine_size_bytes": manifest.engine_size_bytes,
            **more,
        },
    )


def notes_of(summary: BuildSummary[Any]) -> tuple[Block, ...]:
    """The remarks on a build as a list; nothing without any."""
    return (Text("\n".join(f"- {literal(note)}" for note in summary.notes)),) if summary.notes else ()


def latencies(timed: Latencies) -> dict[str, float]:
    """Percentiles in milliseconds, not rounded."""
    return {"latency_ms_p50": timed.p50, "latency_ms_p95": timed.p95, "latency_ms_p99": timed.p99}
