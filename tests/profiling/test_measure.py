"""Measurements of real engines, in this process and in a subprocess."""

import itertools
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from robot_assets.core import progress
from robot_assets.core.errors import EngineError
from robot_assets.engines.tensorrt.build import build_engine
from robot_assets.engines.tensorrt.spec import TensorRTTarget
from robot_assets.platforms.memory import read_memory
from robot_assets.profiling.cores import core_use, read_core_times
from robot_assets.profiling.measure import measure
from robot_assets.profiling.periodic import SECOND_NS
from robot_assets.profiling.profile import profile_engines
from robot_assets.profiling.result import load_profile
from robot_assets.profiling.spec import ProfileSpec
from robot_assets.profiling.streams import Stream, streams_of
from robot_assets.profiling.subprocess_run import measure_in_subprocess
from robot_assets.profiling.trace import trace_bytes
from tests.detector_chain import whole
from tests.tensorrt_api.use import standin


def two_cameras() -> tuple[Stream, ...]:
    spec = ProfileSpec.model_validate({"models": {"small": {"rate_hz": 40, "sensors": 2}}})
    return streams_of(spec, {"small": whole().engine})


def test_every_sensor_has_its_own_stream():
    spec = ProfileSpec.model_validate(
        {"models": {"front": {"rate_hz": 10, "sensors": 2, "deadline_ms": 30}, "depth": {"rate_hz": 5, "phase_ms": 7}}}
    )
    streams = streams_of(spec, {"front": Path("a"), "depth": Path("b")})
    assert [one.name for one in streams] == ["front 1", "front 2", "depth"]
    assert [one.deadline_ms for one in streams] == [30, 30, 200]
    assert (streams[2].period_ns, streams[2].phase_ns) == (SECOND_NS // 5, 7_000_000)
    with pytest.raises(EngineError, match="no engine for depth"):
        streams_of(spec, {"front": Path("a")})


def test_every_frame_is_answered_or_skipped():
    found = measure("here", two_cameras(), duration_s=0.6, alone_s=0.3)
    assert [one.name for one in found.profile.streams] == ["small 1", "small 2"]
    for one in found.profile.streams:
        assert (one.together.frames, one.alone.frames) == (24, 12)
        assert one.together.answered + one.together.skipped == 24
        assert len(found.jobs[one.name]) == one.together.answered
        assert len(found.alone[one.name]) == one.alone.answered
        assert 0 < one.together.inference_ms.p50 <= one.together.latency_ms.max
        assert one.kind == "onnxruntime"
    assert found.profile.memory_mib >= found.profile.machine.runtime_mib > 0


def test_the_memory_of_this_process_does_not_count_in_a_subprocess():
    reports = []
    with progress.listening(lambda what, done, total, note: reports.append(what)):
        found = measure_in_subprocess("here", two_cameras(), duration_s=0.6, alone_s=0.3)
    assert {one.name: len(found.jobs[one.name]) for one in found.profile.streams} == {
        one.name: one.together.answered for one in found.profile.streams
    }
    assert found.profile.machine.resident_mib < read_memory().resident  # torch is loaded here
    assert reports[0] == "alone: small 1"
    assert reports[-1] == "together"


def test_an_error_in_the_subprocess_is_raised_unchanged(tmp_path):
    shutil.copytree(whole().engine, tmp_path / "engine")
    (tmp_path / "engine" / "engine.onnx").write_bytes(b"other bytes")
    with pytest.raises(EngineError, match="its manifest says"):
        measure_in_subprocess(
            "here", [Stream(name="a", engine=tmp_path / "engine", rate_hz=40, deadline_ms=25)], 0.5, 0.2
        )


def measuring_processes() -> list[int]:
    """Process ids of the children of this process that measure."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"robot_assets.profiling.subprocess_run" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_a_killed_subprocess_is_an_error():
    def kill_child(what: str, done: int, total: int, note: str) -> None:
        for child in measuring_processes():
            os.kill(child, signal.SIGKILL)

    with progress.listening(kill_child), pytest.raises(EngineError, match="2 engines was killed"):
        measure_in_subprocess("here", two_cameras(), duration_s=30, alone_s=30)


def test_the_artifact_has_the_figures_and_every_job(tmp_path):
    spec = ProfileSpec.model_validate(
        {"models": {"small": {"rate_hz": 40}}, "duration_s": 0.5, "alone_s": 0.2, "fit": {"missed_percent_max": 50}}
    )
    found = profile_engines("here", spec, {"small": whole().engine}, tmp_path / "out")
    assert load_profile(tmp_path / "out") == found.profile
    events = json.loads((tmp_path / "out" / "trace.json").read_bytes())["traceEvents"]
    assert len([event for event in events if event["ph"] == "X"]) == len(found.jobs["small"])


def test_the_trace_has_a_named_track_for_each_stream_and_marks_late_frames():
    found = measure("here", two_cameras(), duration_s=0.6, alone_s=0.3)
    late = [stream.model_copy(update={"deadline_ms": 0.001}) for stream in two_cameras()]
    events = json.loads(trace_bytes(late, found.jobs))["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names == {1: "small 1, 40 Hz", 2: "small 2, 40 Hz"}
    for track, name in enumerate(found.jobs, 1):
        mine = [event for event in events if event["tid"] == track]
        assert sum(event["ph"] == "i" for event in mine) == len(found.jobs[name])
        slices = [event for event in mine if event["ph"] == "X"]
        assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in itertools.pairwise(slices))


def test_only_cores_that_this_process_may_use_are_read(tmp_path):
    def reading(busy: int, idle: int, stolen: int = 0):
        core = min(os.sched_getaffinity(0))
        path = tmp_path / "stat"
        path.write_text(
            f"cpu 9 9 9 9 9 9 9 9 9 9\ncpu{core} {busy} 0 0 {idle} 0 0 0 {stolen} 0 0\n"
            "cpu4095 5 5 5 5 5 5 5 5\nctxt 1\n"
        )
        return read_core_times(path)

    use = core_use(reading(100, 100), reading(160, 140))
    assert list(use.percent.values()) == [60.0]
    assert use.stolen_ms == 0

    stolen = core_use(reading(100, 100, 20), reading(150, 140, 30))
    assert list(stolen.percent.values()) == [50.0], "stolen time is not load of this machine"
    assert stolen.stolen_ms == 10 * 1e3 / os.sysconf("SC_CLK_TCK")


def test_without_counters_the_utilization_is_unknown(tmp_path):
    use = core_use(read_core_times(tmp_path / "none"), read_core_times(tmp_path / "none"))
    assert use.percent == {}
    assert use.other_cores is None
    assert use.stolen_ms is None


def test_memory_is_read_in_the_format_of_the_kernel(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
    (tmp_path / "meminfo").write_text("MemTotal: 9999 kB\nMemAvailable:    4096 kB\n")
    found = read_memory(tmp_path)
    assert (found.resident, found.resident_peak, found.available) == (1.0, 2.0, 4.0)


def test_tensorrt_engines_run_together_on_the_gpu_and_on_a_dla(monkeypatch, tmp_path):
    """With the stand-in for TensorRT, which infers with ONNX Runtime and refuses a closed context."""
    standin(monkeypatch, "10.3.0", dla_cores=2)
    for name, dla in (("gpu", None), ("dla", {"core": 1})):
        build_engine(whole().onnx, TensorRTTarget(dla=dla), tmp_path / name)
    streams = [Stream(name=name, engine=tmp_path / name, rate_hz=20, deadline_ms=50) for name in ("gpu", "dla")]
    found = measure("orin", streams, duration_s=0.5, alone_s=0.2).profile
    assert [(one.kind, one.place) for one in found.streams] == [("tensorrt", "GPU"), ("tensorrt", "DLA 1")]
    assert all(one.together.answered for one in found.streams)
