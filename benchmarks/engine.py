"""Compares an INT8 engine with the FP32 ONNX of the same checkpoint: latency on the same threads, accuracy on test.

    python -m benchmarks.engine --model sidewalk_detector
    python -m benchmarks.engine --checkpoint DIR --engine DIR --dataset DIR

Exit code 1 when the engine is less than 2x faster or loses more than 1.0 point of its metric.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from robot_assets.engines.benchmark import compare
from robot_assets.engines.budgets import GateSpec
from robot_assets.engines.gate import check_engine
from robot_assets.engines.load import load_manifest
from robot_assets.export.onnx_export import export_float
from robot_assets.platforms.probe import probe
from robot_assets.tasks.registry import task_of
from tests.synthetic.built import built_versions

SPEEDUP_MIN = 2.0
DROP_POINTS_MAX = 1.0


def main() -> int:
    arguments = _arguments()
    checkpoint, engine, dataset = _inputs(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        float_onnx = Path(scratch, "float32.onnx")
        export_float(checkpoint, float_onnx)
        timed = compare(engine, float_onnx, arguments.inferences)
    gate = GateSpec(accuracy_drop_points_max=DROP_POINTS_MAX, latency_ms_p95_max=1e6)
    verdict = check_engine(engine, gate, ["accuracy"], dataset=dataset, baseline=checkpoint)["accuracy"]
    manifest = load_manifest(engine)
    here = probe()
    shape = "x".join(str(size) for size in manifest.input.shape)
    print(
        f"{here.architecture} ({', '.join(here.cpu_features)}), ONNX Runtime {here.onnxruntime}, {shape}, ",
        end="",
    )
    print(f"{timed.runs_on}, {arguments.inferences} inferences, alternating\n")
    metric = task_of(manifest.interface.task).metric
    print(f"{'':6}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{metric.name:>9}  convolutions")
    floats, ours = timed.float32, timed.engine
    before, after = verdict.facts[f"float_{metric.key}"], verdict.facts[metric.key]
    kernels = manifest.kernels
    counts = f"{kernels.int8_convolutions} int8, {kernels.float_convolutions} float"
    print(f"{'FP32':6}{floats.p50:9.2f}{floats.p95:9.2f}{floats.p99:9.2f}{before:9.4f}")
    print(f"{'INT8':6}{ours.p50:9.2f}{ours.p95:9.2f}{ours.p99:9.2f}{after:9.4f}  {counts}")
    print(f"\n{timed.speedup:.2f}x (at least {SPEEDUP_MIN:g}x); {verdict.summary}")
    return 0 if verdict.passed and timed.speedup >= SPEEDUP_MIN else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", help="a model of params.yaml whose cpu engine is measured; default: sidewalk_detector"
    )
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--engine", type=Path)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--inferences", type=int, default=300)
    arguments = parser.parse_args()
    given = [arguments.checkpoint, arguments.engine, arguments.dataset]
    if any(given) and not all(given):
        parser.error("needed: all of --checkpoint, --engine and --dataset, or none of them")
    if not any(given) and not arguments.model:
        arguments.model = "sidewalk_detector"
    return arguments


def _inputs(arguments: argparse.Namespace) -> tuple[Path, Path, Path]:
    """Directories of the checkpoint, the engine and the data set: as given, or those of a built model."""
    if not arguments.model:
        return arguments.checkpoint, arguments.engine, arguments.dataset
    from robot_assets.pipeline.project import find_project

    project = find_project()
    model = project.params.models[arguments.model]
    names = (f"{arguments.model}/checkpoint", f"{arguments.model}/engine/cpu", f"datasets/{model.dataset}")
    versions = built_versions(arguments.model)
    checkpoint, engine, dataset = (project.store.open(versions[name]["data_version"]) for name in names)
    return checkpoint, engine, dataset


if __name__ == "__main__":
    sys.exit(main())
