"""The stage ``profile/<target>``: measures all engines of a robot together on its device. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robot_assets.core.publishing import publishing_directory
from robot_assets.profiling.measure import Measurement
from robot_assets.profiling.result import TRACE, save_profile
from robot_assets.profiling.spec import ProfileSpec
from robot_assets.profiling.streams import streams_of
from robot_assets.profiling.subprocess_run import measure_in_subprocess
from robot_assets.profiling.trace import trace_bytes


def profile_engines(target: str, spec: ProfileSpec, engines: Mapping[str, Path], out: Path) -> Measurement:
    """Run all engines of ``spec`` together at the rates of their sensors, and publish the profile.

    No two measurements have the same bytes, so nothing is built from a profile.

    Args:
        target: Name of this device.
        spec: Models, rates and durations.
        engines: Directory of each model's engine, by the name of the model.
        out: Directory to publish: ``profile.json`` and ``trace.json``.

    Raises:
        EngineError: A model has no engine, an engine does not load, or the process that runs them was killed.
    """
    streams = streams_of(spec, engines)
    found = measure_in_subprocess(target, streams, spec.duration_s, spec.alone_s)
    with publishing_directory(out) as staging:
        save_profile(staging, found.profile)
        (staging / TRACE).write_bytes(trace_bytes(streams, found.jobs))
    return found
