"""May anything depend on this engine? Accuracy and latency, measured on the target itself. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

from robot_assets.engines.benchmark import measure
from robot_assets.engines.load import load_engine
from robot_assets.engines.spec import GateSpec
from robot_assets.errors import EngineError
from robot_assets.verdict import Verdict


def check_accuracy(engine: Path, checkpoint: Path, dataset: Path, gate: GateSpec) -> Verdict:
    """Compare the engine's mAP@50 on the test split with the checkpoint's, in points of 100.

    Raises:
        EngineError: The engine does not load, or the checkpoint has no test metrics.
    """
    from robot_assets.data.packed import open_split
    from robot_assets.training.evaluate import evaluate

    loaded = load_engine(engine)
    before = _checkpoint_map50(checkpoint)
    metrics = evaluate(loaded.infer, open_split(dataset, "test"), loaded.manifest.network)
    drop = 100 * (before - metrics.map50)
    passed = drop <= gate.accuracy_drop_points_max
    summary = (
        f"mAP@50 on test {100 * metrics.map50:.2f}, checkpoint {100 * before:.2f}: "
        f"{_change(drop)} (may lose {gate.accuracy_drop_points_max:g})"
    )
    fix = (
        ""
        if passed
        else (
            "look at the model's ptq and qat assets: when they lost as much on val, raise quantization.qat.epochs or "
            "calibration_images in params.yaml; when they did not, the rewrite for this target lost it. Raise "
            "accuracy_drop_points_max of the target only if the robot can live with it"
        )
    )
    facts: dict[str, object] = {
        "checkpoint_map50": before,
        "drop_points": drop,
        "drop_points_max": gate.accuracy_drop_points_max,
        **metrics.as_json(),
    }
    return Verdict(passed, summary, fix, facts)


def check_latency(engine: Path, gate: GateSpec, inferences: int = 200) -> Verdict:
    """Compare the engine's 95th percentile latency on this device with the target's budget.

    Raises:
        EngineError: The engine does not load.
    """
    latencies = measure(engine, inferences)
    passed = latencies.p95 <= gate.latency_ms_p95_max
    summary = (
        f"p95 {latencies.p95:.2f} ms, median {latencies.p50:.2f} ms over {inferences} inferences "
        f"(budget {gate.latency_ms_p95_max:g} ms)"
    )
    fix = (
        ""
        if passed
        else (
            "run it again on an idle device; then lower network.width or the input size in params.yaml, give the "
            "target more threads, or raise its latency_ms_p95_max if the robot can wait"
        )
    )
    facts: dict[str, object] = {
        **latencies.as_json(),
        "latency_ms_p95_max": gate.latency_ms_p95_max,
        "latencies_ms": [round(value, 4) for value in latencies.milliseconds],
    }
    return Verdict(passed, summary, fix, facts)


def _change(drop: float) -> str:
    return f"{drop:.2f} points lost" if drop > 0 else f"{-drop:.2f} points gained"


def _checkpoint_map50(checkpoint: Path) -> float:
    path = checkpoint / "metrics.json"
    try:
        return float(json.loads(path.read_bytes())["test"]["map50"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"{path} has no mAP@50 of the test split ({type(error).__name__})",
            needed="the metrics.json that training writes",
            fix="train the checkpoint again",
        ) from None
