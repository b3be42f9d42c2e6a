"""Judges an engine by the budgets of its target, from one evaluation on the target itself. Needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from robot_assets.core.errors import EngineError
from robot_assets.core.text import plural
from robot_assets.core.verdict import Verdict
from robot_assets.engines.budgets import BUDGETS, GateSpec
from robot_assets.engines.evaluation import Evaluation, evaluate_engine
from robot_assets.engines.load import load_manifest
from robot_assets.platforms.memory import MIB
from robot_assets.tasks.metrics import Metric
from robot_assets.tasks.registry import task_of

GATES = tuple(BUDGETS)

_TOO_SLOW = (
    "evaluate it again on an idle device; then lower network.width or the input size in params.yaml, give the target "
    "more threads, or raise the budget if the robot can wait"
)
_FIXES = {
    "accuracy_drop_points_max": "look at the model's ptq and qat assets: when they lost as much on val, raise "
    "quantization.qat.epochs or calibration_images in params.yaml; otherwise the build for this target lost it, and "
    "`robot-assets engine compare ENGINE MODEL/onnx` shows where. Raise accuracy_drop_points_max only if the robot can "
    "accept the loss",
    "parity_differing_share_max": "compare the engine with its ONNX: `robot-assets engine compare ENGINE MODEL/onnx`; "
    "when accuracy holds, the target only rounds differently, and parity_differing_share_max may be raised",
    **dict.fromkeys(BUDGETS["latency"], _TOO_SLOW),
    "load_s_max": "evaluate it again on an idle device: the first load also reads the engine from disk",
    "memory_mib_max": "lower network.width or the input size in params.yaml, or raise memory_mib_max if the robot has "
    "the memory",
    "engine_size_mib_max": "lower network.width in params.yaml, or raise engine_size_mib_max",
    "power_w_max": "set a lower power mode on the device (nvpmodel), or raise power_w_max if its supply allows it",
    "temperature_c_max": "let the device cool down and evaluate it again; then check its fan and its heat sink",
}
_SHORT = {
    "latency_ms_p50_max": "p50",
    "latency_ms_p95_max": "p95",
    "latency_ms_p99_max": "p99",
    "throughput_images_per_s_min": "images/s",
}
_MEMORY = {"memory_mib": "of memory", "memory_peak_mib": "at its peak"}
_QUANTITIES = {
    "memory_mib_max": "the memory of the engine",
    "power_w_max": "its power",
    "temperature_c_max": "its temperature",
}


def check_engine(
    engine: Path,
    gate: GateSpec,
    gates: Collection[str],
    *,
    dataset: Path,
    baseline: Path | None = None,
    onnx: Path | None = None,
) -> dict[str, Verdict]:
    """Evaluate an engine once on this device and judge it by some of its gates.

    Args:
        engine: Directory of the engine.
        gate: The budgets of its target.
        gates: Names among :data:`GATES`.
        dataset: A packed data set, on whose test split the engine runs.
        baseline: For ``accuracy``: the artifact whose metrics in float are compared with the engine's, which is the
            checkpoint, or the ONNX artifact of a foreign graph.
        onnx: For ``parity``: the ONNX artifact that the engine was built from, with its recorded heads.

    Returns:
        A verdict for each of ``gates``, in their order.

    Raises:
        EngineError: The engine does not load, its decoder is not the one here, or the baseline has no test metrics.
        ExportError: The ONNX artifact is incomplete.
        DataError: The data set is incomplete.
    """
    before = math.nan
    if baseline is not None and "accuracy" in gates:
        before = _float_score(baseline, task_of(load_manifest(engine).interface.task).metric)
    found = evaluate_engine(engine, dataset, onnx if "parity" in gates else None, is_scored="accuracy" in gates)
    return {name: judge(name, found, gate, before) for name in gates}


def judge(name: str, found: Evaluation, gate: GateSpec, before: float = math.nan) -> Verdict:
    """The verdict of one gate.

    Args:
        name: One of :data:`GATES`.
        found: The evaluation of the engine.
        gate: The budgets of the target.
        before: For ``accuracy``: what the task is judged by, of the network in float on test, in [0, 1].
    """
    match name:
        case "accuracy":
            return _accuracy(found, gate, before)
        case "parity":
            return _parity(found, gate)
        case "latency":
            return _latency(found, gate)
        case "resources":
            return _resources(found, gate)
    raise ValueError(f"no gate {name!r}; there are {', '.join(GATES)}")


def _accuracy(found: Evaluation, gate: GateSpec, before: float) -> Verdict:
    if found.metrics is None or math.isnan(before):
        raise ValueError("accuracy is judged against the network in float; needed: the folder with its metrics")
    metric, after = found.metrics.metric, found.metrics.score
    drop = 100 * (before - after)
    summary = (
        f"{metric.name} on test {100 * after:.2f}, float {100 * before:.2f}: "
        f"{_change(drop)} (budget: {gate.accuracy_drop_points_max:g} lost)"
    )
    facts = {
        f"float_{metric.key}": before,
        "drop_points": drop,
        "drop_points_max": gate.accuracy_drop_points_max,
        **found.metrics.as_json(),
    }
    return _verdict(summary, facts, {"accuracy_drop_points_max": drop}, gate.of("accuracy"))


def _parity(found: Evaluation, gate: GateSpec) -> Verdict:
    if found.parity is None:
        raise ValueError("parity is judged against an ONNX artifact; needed: its folder")
    parity, budgets = found.parity, gate.of("parity")
    limit = budgets.get("parity_differing_share_max")
    summary = (
        f"{100 * parity.differing_share:.3f} % of the values differ from the exported ONNX on "
        f"{plural(parity.images, 'image')} ({'no budget' if limit is None else f'budget: {100 * limit:g} %'}), "
        f"at most by {parity.largest_in_words}"
    )
    return _verdict(summary, parity.as_json(), {"parity_differing_share_max": parity.differing_share}, budgets)


def _latency(found: Evaluation, gate: GateSpec) -> Verdict:
    timed, budgets = found.latencies, gate.of("latency")
    shown = ", ".join(f"{_SHORT[name]} {limit:g}" for name, limit in budgets.items())
    summary = (
        f"p50 {timed.p50:.2f} ms, p95 {timed.p95:.2f} ms, p99 {timed.p99:.2f} ms, {timed.images_per_s:.0f} images/s "
        f"over {len(timed.milliseconds)} inferences after a warm-up of {found.warmup} (budget: {shown})"
    )
    measured = {
        "latency_ms_p50_max": timed.p50,
        "latency_ms_p95_max": timed.p95,
        "latency_ms_p99_max": timed.p99,
        "throughput_images_per_s_min": timed.images_per_s,
    }
    facts = {
        **timed.as_json(),
        "warmup_inferences": found.warmup,
        "helpers": found.helpers,
        "latencies_ms": [round(value, 4) for value in timed.milliseconds],
    }
    return _verdict(summary, facts, measured, budgets)


def _resources(found: Evaluation, gate: GateSpec) -> Verdict:
    facts = _resource_facts(found)
    known = [
        f"loaded in {found.load_s:.3f} s",
        *(f"{facts[name]:.1f} MiB {text}" for name, text in _MEMORY.items() if name in facts),
        f"engine of {facts['engine_size_mib']:.2f} MiB",
        *([f"{facts['power_w_mean']:.1f} W on average ({facts['power_of']})"] if "power_w_mean" in facts else []),
        *([f"{facts['temperature_c_highest']:.0f} °C ({facts['hottest']})"] if "hottest" in facts else []),
    ]
    unknown = [what for what in ("power", "temperature") if not any(name.startswith(what) for name in facts)]
    summary = ", ".join(known) + (f"; no sensor for {' or '.join(unknown)} on this device" if unknown else "")
    measured = {
        "load_s_max": found.load_s,
        "memory_mib_max": facts.get("memory_mib"),
        "engine_size_mib_max": facts["engine_size_mib"],
        "power_w_max": facts.get("power_w_mean"),
        "temperature_c_max": facts.get("temperature_c_highest"),
    }
    return _verdict(summary, facts, measured, gate.of("resources"))


def _resource_facts(found: Evaluation) -> dict[str, Any]:
    """Measured facts, without those that the device has no sensor for. None has the name of a budget."""
    manifest, memory, telemetry = found.manifest, found.memory, asdict(found.telemetry)
    facts = {
        "load_s": round(found.load_s, 4),
        "memory_mib": memory.process_mib if manifest.memory_of == "process" else memory.device_mib,
        "memory_peak_mib": memory.process_peak_mib,
        "memory_of": manifest.memory_of,
        "engine_size_mib": round(manifest.engine_size_bytes / MIB, 4),
        "power_w_highest": telemetry.pop("power_w_max"),
        "temperature_c_highest": telemetry.pop("temperature_c_max"),
        **telemetry,
        **manifest.resources,
    }
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in facts.items()}
    return {name: value for name, value in rounded.items() if value is not None}


def _verdict(
    summary: str, facts: Mapping[str, Any], measured: Mapping[str, float | None], budgets: Mapping[str, float]
) -> Verdict:
    """Compare measured values with the budgets; a budget without a measured value is exceeded."""
    problems = {name: _problem(name, limit, measured[name]) for name, limit in budgets.items()}
    problems = {name: problem for name, problem in problems.items() if problem}
    return Verdict(
        passed=not problems,
        summary="; ".join([summary, *problems.values()]),
        fix=". ".join(dict.fromkeys(_fix(name, measured[name]) for name in problems)),
        facts={**facts, **budgets},
    )


def _problem(name: str, limit: float, value: float | None) -> str:
    """Why a budget is not kept; empty when it is."""
    if value is None:
        return f"{name} is {limit:g}, but this device does not report {_QUANTITIES[name]}"
    is_kept = value >= limit if name.endswith("_min") else value <= limit
    return "" if is_kept else f"{name} is {limit:g}, measured {value:.4g}"


def _fix(name: str, value: float | None) -> str:
    if value is None:
        return f"give the process access to the sensor (docs/gates.md says where it is read), or remove {name}"
    return _FIXES[name]


def _change(drop: float) -> str:
    return f"{drop:.2f} points lost" if drop > 0 else f"{-drop:z.2f} points gained"


def _float_score(baseline: Path, metric: Metric) -> float:
    """The score in float on test: of ``{"test": {...}}``, or of ``{"test": {"float": {...}}}`` of a foreign graph."""
    path = baseline / "metrics.json"
    try:
        found = json.loads(path.read_bytes())["test"]
        return float(found.get("float", found)[metric.key])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"{path} has no {metric.name} of the test split ({type(error).__name__})",
            needed=f"a metrics.json with the key {metric.key} below test",
            fix="build it again: robot-assets build MODEL/checkpoint   # for a foreign graph MODEL/onnx",
        ) from None
