"""Nothing of ours runs in a stage or a gate that its code version does not cover: the whole chain, traced."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from robot_assets.lineage.code import Code, load
from robot_assets.pipeline.kind import GateStep, Step
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.registry import kind_of
from robot_assets.platforms.probe import probe
from robot_assets.store import Store, is_directory, open_store
from robot_assets.tasks.building import build
from tests.foreign import graphs
from tests.lineage.code.project import PARAMS, graph_with_own_network, named
from tests.lineage.code.tracing import called_during
from tests.own_networks import installed
from tests.tensorrt_api.use import folders, standin

OUTSIDE: Mapping[str, str] = {
    "robot_assets.core.plugins": "finds the plug-ins of a dispatch point; what is chosen among them is an entry point",
    "robot_assets.lineage.code": "computes code versions, such as that of the decoder in the manifest of an engine",
    "robot_assets.pipeline.kind": "the properties of a step, which are its versioned parameters and inputs",
    "robot_assets.tasks.task": "finds the parts of a task, which are entry points of whoever uses them",
    "robot_assets.store": "handed in by the caller; keeps bytes under their hash, and decides none",
}
"""Modules that are outside of every code version, with everything that they call, and why."""


@dataclass
class Chain:
    """Every stage and gate of the small project, run once. TensorRT is the stand-in of ``tests/tensorrt_api``."""

    folder: Path
    store: Store
    called: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    code: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def run(self) -> None:
        write_yolov8(self.path("bought/source"))
        write_weights(self.path("weights/backbone"))
        for asset, stage in graph_with_own_network().items():
            found = kind_of(asset)
            assert found is not None
            production = found[0].production
            if stage.is_observed or production is None:
                continue
            versions = {name: probe().fingerprint if name.startswith("platform/") else "v" for name in stage.inputs}
            step = Step(
                stage=stage,
                name=found[1],
                inputs={name: self.path(name) for name in stage.inputs},
                versions=versions,
                output=self.path(asset),
                scratch=self.folder / "scratch" / asset,
                store=self.store,
                note=lambda line: None,
                project=Project(self.folder),
            )
            self.trace(asset, stage.code, lambda step=step, run=production.run: run(step))
            for gate in stage.gates:
                inputs = {name: self.path(name) for name in gate.inputs}
                judged = GateStep(
                    stage=stage,
                    name=found[1],
                    gates=(gate,),
                    artifact=self.path(asset),
                    inputs=inputs,
                    project=Project(self.folder),
                )
                judge = production.judge
                self.trace(f"{asset}:{gate.name}", gate.code, lambda judged=judged, judge=judge: judge(judged))

    def path(self, asset: str) -> Path:
        path = self.folder / "artifacts" / asset / "artifact"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def trace(self, name: str, code: tuple[str, ...], action: Callable[[], object]) -> None:
        load(code)
        self.code[name] = code
        self.called[name] = called_during(action, tuple(OUTSIDE))


def write_yolov8(path: Path) -> None:
    """A graph with the output of YOLOv8 for six classes: boxes in pixels and scores, of one grid."""
    import onnx
    from onnx import helper

    nodes, constants = graphs.conv(0, "images", 3, 10, strides=[8, 8])
    nodes += [
        helper.make_node("Sigmoid", ["conv0"], ["shares"]),
        helper.make_node("Mul", ["shares", "scales"], ["cells"]),
        helper.make_node("Reshape", ["cells", "shape"], ["output0"]),
    ]
    scales = np.array([96, 64, 40, 40] + [1] * 6, np.float32).reshape(1, 10, 1, 1)
    constants += [graphs.constant("scales", scales), graphs.constant("shape", np.array([1, 10, 96]))]
    onnx.save(graphs.model(nodes, constants, outputs={"output0": (1, 10, 96)}, shape=(1, 3, 64, 96)), path)


def write_weights(path: Path) -> None:
    """Weights of the whole segmenter."""
    from safetensors.torch import save_file

    model = parse_params(PARAMS).models["segmenter"]
    network = build(model.network, model.interface(tuple(PARAMS["datasets"]["ground"]["classes"])), seed=1)
    save_file(network.state_dict(), path)


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    with installed(folder / "acme") as package, pytest.MonkeyPatch.context() as patch:
        standin(patch, "10.3.0")
        patch.setenv("PYTHONPATH", os.pathsep.join([*folders("10.3.0"), str(package)]))
        done = Chain(folder, open_store("store", folder))
        done.run()
        yield done


def test_every_stage_and_gate_has_run(chain):
    assert {name.removeprefix("detector/") for name in chain.called} == named(graph_with_own_network()).keys()
    assert all(chain.called.values())


def test_every_function_that_runs_is_covered_by_the_code_version(chain):
    code = Code()
    uncovered = {
        name: sorted(
            f"{module}:{function}" for module, function in called if not code.covers(entries, module, function)
        )
        for (name, entries), called in zip(chain.code.items(), chain.called.values(), strict=True)
    }
    assert {name: functions for name, functions in uncovered.items() if functions} == {}


def test_the_trace_sees_this_thread_others_and_other_processes():
    file = Path(__file__)

    def in_a_thread() -> None:
        thread = Thread(target=is_directory, args=("a" * 32,))
        thread.start()
        thread.join()

    program = f"from pathlib import Path; from robot_assets.core.digests import md5_of; md5_of(Path({str(file)!r}))"
    found = called_during(
        lambda: (in_a_thread(), probe(), subprocess.run([sys.executable, "-c", program], check=True, cwd=file.parent)),
    )
    assert {
        ("robot_assets.store.artifact", "is_directory"),
        ("robot_assets.platforms.probe", "probe"),
        ("robot_assets.core.digests", "md5_of"),
        ("robot_assets.core.digests", "md5_of.<locals>.<lambda>"),
    } <= found


def test_the_trace_leaves_out_what_it_is_told_to_with_what_that_calls():
    called = called_during(probe)
    assert {module for module, _ in called} >= {"robot_assets.platforms.probe", "robot_assets.platforms.jetson"}
    assert called_during(probe, ("robot_assets.platforms.probe",)) == set()


def test_what_a_stage_does_not_name_is_not_covered(chain):
    code = Code()
    called = chain.called["detector/qat"]
    assert not all(code.covers(chain.code["detector/ptq"], *one) for one in called)


@pytest.mark.parametrize("module", OUTSIDE)
def test_what_is_left_out_exists(module):
    import_module(module)
