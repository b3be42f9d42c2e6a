"""Compares the time of all gates of a cpu engine with bare inference of the test split, alternating in one run.

    python -m benchmarks.gate                       # sidewalk_detector, built first if needed
    python -m benchmarks.gate --model robocup_detector
    python -m benchmarks.gate --engine DIR --dataset DIR --checkpoint DIR --onnx DIR

Bare inference is a loop over all images of the split, unpacked before. The gates are everything from the folder of the
engine to four verdicts: verifying and loading it, unpacking the images, inference, decoding, accuracy, parity, latency
and resources. Exit code 1 when they take more than 1.2 times as long (median of the rounds).
"""

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from robot_assets.data.packed import open_split
from robot_assets.engines.budgets import GateSpec
from robot_assets.engines.gate import GATES, check_engine
from robot_assets.engines.load import load_engine
from robot_assets.pipeline.project import find_project
from robot_assets.platforms.probe import probe
from robot_assets.runtime.preprocess import fitted, to_input
from tests.synthetic.built import built_versions

RATIO_MAX = 1.2
BUDGETS = GateSpec(accuracy_drop_points_max=100, latency_ms_p95_max=1e6)


@dataclass(frozen=True)
class Folders:
    engine: Path
    dataset: Path
    checkpoint: Path
    onnx: Path


def main() -> int:
    arguments = _arguments()
    here = probe()
    print(f"{here.architecture} ({', '.join(here.cpu_features)}), ONNX Runtime {here.onnxruntime}, ", end="")
    print(f"{arguments.rounds} rounds, alternating; seconds, median and best\n")
    print(f"{'':22}{'images':>7}{'bare':>16}{'gates':>16}{'ratio':>8}")
    ratios = [_measure(name, folders, arguments.rounds) for name, folders in _inputs(arguments).items()]
    worst = max(ratios)
    print(f"\nthe gates take {worst:.2f} times as long as bare inference (at most {RATIO_MAX:g})")
    return 0 if worst <= RATIO_MAX else 1


def _measure(name: str, folders: Folders, rounds: int) -> float:
    split = open_split(folders.dataset, "test")
    bare, gate = [], []
    with load_engine(folders.engine) as engine:
        given = engine.manifest.input
        inputs = [to_input([fitted(split.image(index), given).image], given) for index in range(len(split))]
        for number in range(rounds + 1):
            started = time.perf_counter()
            for images in inputs:
                engine.infer(images)
            middle = time.perf_counter()
            check_engine(
                folders.engine,
                BUDGETS,
                GATES,
                dataset=folders.dataset,
                baseline=folders.checkpoint,
                onnx=folders.onnx,
            )
            if number:  # the first round imports
                bare.append(middle - started)
                gate.append(time.perf_counter() - middle)
    ratio = statistics.median(gate) / statistics.median(bare)
    times = "".join(f"{statistics.median(one):10.3f} {min(one):.3f}" for one in (bare, gate))
    print(f"{name:22}{len(split):7}{times}{ratio:8.2f}", flush=True)
    return ratio


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model of params.yaml; it is built first if needed")
    for name in ("engine", "dataset", "checkpoint", "onnx"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    given = [arguments.engine, arguments.dataset, arguments.checkpoint, arguments.onnx]
    if any(given) and not all(given):
        parser.error("needed: all of --engine, --dataset, --checkpoint and --onnx, or none of them")
    return arguments


def _inputs(arguments: argparse.Namespace) -> dict[str, Folders]:
    if arguments.engine:
        given = Folders(arguments.engine, arguments.dataset, arguments.checkpoint, arguments.onnx)
        return {arguments.engine.name: given}
    model = arguments.model or "sidewalk_detector"
    project = find_project()
    versions = built_versions(model)
    names = (f"{model}/engine/cpu", f"datasets/{project.params.models[model].dataset}")
    names += (f"{model}/checkpoint", f"{model}/onnx")
    return {model: Folders(*(project.store.open(versions[name]["data_version"]) for name in names))}


if __name__ == "__main__":
    sys.exit(main())
