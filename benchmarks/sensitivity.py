"""Which layers a model's quantization hurts, and whether a layer with a ruined scale is found and spared.

    python -m benchmarks.sensitivity --model sidewalk_detector
    python -m benchmarks.sensitivity --onnx DIR --ptq DIR --qat DIR --dataset DIR

The graph is searched as it was exported, and with the input scale of one convolution made too large. Engines of both,
and of what the search makes of the second, are measured on the test split, which the search has not seen. Exit code 1
when another layer is chosen, or when the engine stays more than 1.0 point of its metric below the unharmed one.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from robot_assets.data.packed import open_split
from robot_assets.engines.benchmark import interleave
from robot_assets.engines.load import load_engine
from robot_assets.engines.onnxruntime.build import build_engine
from robot_assets.engines.onnxruntime.spec import OnnxRuntimeTarget
from robot_assets.sensitivity.analysis import Sensitivity, find_sensitive_layers
from robot_assets.sensitivity.latency import measure_variants
from robot_assets.sensitivity.spec import SensitivitySpec
from robot_assets.sensitivity.summary import headline
from robot_assets.training.evaluate import evaluate
from tests.synthetic.built import built_versions
from tests.synthetic.corrupted import corrupt_scale

DROP_POINTS_MAX = 1.0
TARGET = OnnxRuntimeTarget(threads=1)


def main() -> int:
    arguments = _arguments()
    onnx, ptq, qat, dataset = _inputs(arguments)
    spec = SensitivitySpec(images=arguments.images, drop_points_max=DROP_POINTS_MAX)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        bad = corrupt_scale(onnx, root / "bad", arguments.layer, arguments.factor)
        found, weights = {}, {"ptq": ptq, "qat": qat}
        for name, source in (("as exported", onnx), ("ruined", bad)):
            started = time.monotonic()
            found[name] = find_sensitive_layers(source, weights, dataset, spec, root / f"{name} searched")
            _print(name, found[name], source, time.monotonic() - started)
        sources = {"as exported": onnx, "ruined": bad, "ruined, searched": root / "ruined searched"}
        scores = _measure(sources, root, dataset)
    chosen = found["ruined"].chosen.best.layers
    lost = 100 * (scores["as exported"] - scores["ruined, searched"])
    print(f"\nin float: {', '.join(chosen) or 'none'}; {lost:+.2f} points against the unharmed engine")
    return 0 if chosen == (arguments.layer,) and lost <= DROP_POINTS_MAX else 1


def _print(name: str, found: Sensitivity, onnx: Path, seconds: float) -> None:
    timed = measure_variants(onnx, found.chosen.best.layers)
    print(f"{name}: {headline(found, timed.added_by_chosen)}")
    print(f"  {found.images} images of val, {len(found.chosen.trials)} sets tried, {seconds:.0f} s")
    print(f"  {found.metric.name} float {found.float_score:.4f}, int8 {found.int8_score:.4f}")
    worst = sorted(found.layers, key=lambda one: (-round(one.drop_points, 1), -one.output_error))[:6]
    for one in worst:
        added = 100 * timed.added(one.layer.name)
        print(
            f"  {one.layer.name:24}{one.drop_points:7.2f} points{100 * one.output_error:8.2f} %{added:+7.1f} % latency"
        )


def _measure(sources: dict[str, Path], root: Path, dataset: Path) -> dict[str, float]:
    """Print accuracy on test and latency of an engine of each; returns the accuracy."""
    engines = {}
    for name, source in sources.items():
        build_engine(source, TARGET, root / "engines" / name)
        engines[name] = load_engine(root / "engines" / name)
    test = open_split(dataset, "test")
    scores = {name: evaluate(one.infer, test, one.manifest.interface).score for name, one in engines.items()}
    images = {name: one.manifest.input.shape for name, one in engines.items()}
    import numpy as np

    noise = np.random.default_rng(0).random(next(iter(images.values())), dtype=np.float32)
    timed = interleave({name: lambda one=one: one.infer(noise) for name, one in engines.items()}, 200, 20)
    print(f"\n{'engine':20}{'p50 ms':>9}{'p95 ms':>9}{'score on test':>17}  convolutions")
    for name, one in engines.items():
        kernels = one.manifest.kernels
        counts = f"{kernels.int8_convolutions} int8, {kernels.float_convolutions} float"
        print(f"{name:20}{timed[name].p50:9.2f}{timed[name].p95:9.2f}{scores[name]:17.4f}  {counts}")
    return scores


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model of params.yaml; sidewalk_detector unless told")
    for name in ("onnx", "ptq", "qat", "dataset"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--images", type=int, default=100, help="of the val split")
    parser.add_argument("--layer", default="stage8.0", help="the convolution whose input scale is ruined")
    parser.add_argument("--factor", type=float, default=60.0, help="how much too large the scale is")
    arguments = parser.parse_args()
    given = [arguments.onnx, arguments.ptq, arguments.qat, arguments.dataset]
    if any(given) and not all(given):
        parser.error("needed: all of --onnx, --ptq, --qat and --dataset, or none of them")
    if not any(given) and not arguments.model:
        arguments.model = "sidewalk_detector"
    return arguments


def _inputs(arguments: argparse.Namespace) -> tuple[Path, Path, Path, Path]:
    """The four directories: as given, or the present versions of a built model's assets."""
    if not arguments.model:
        return arguments.onnx, arguments.ptq, arguments.qat, arguments.dataset

    from robot_assets.pipeline.project import find_project

    project = find_project()
    data = project.params.models[arguments.model].dataset
    names = (*(f"{arguments.model}/{part}" for part in ("onnx", "ptq", "qat")), f"datasets/{data}")
    versions = built_versions(arguments.model)
    onnx, ptq, qat, dataset = (project.store.open(versions[name]["data_version"]) for name in names)
    return onnx, ptq, qat, dataset


if __name__ == "__main__":
    sys.exit(main())
