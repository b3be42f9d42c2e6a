"""The calls of our builder on a real TensorRT: TensorRT-RTX, whose parser and builder need no GPU.

Its Python API is that of TensorRT 11 under another name. Its kernels are not those of a Jetson; no engine runs here.
"""

import importlib.util
import json
import platform
import subprocess
import sys

import pytest

from tests.detector_chain import whole

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason=f"no tensorrt_rtx here ({platform.system()} {platform.machine()}); `make setup` installs it on Linux x86_64",
)

PROGRAM = """
import json, sys
from pathlib import Path
import onnx, tensorrt_rtx as trt
from robot_assets.engines.tensorrt.spec import TensorRTTarget
from robot_assets.engines.tensorrt import api, graph, network
from robot_assets.core.errors import EngineError

path, settings, broken = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
target = TensorRTTarget(**settings)
features = api.features_of(trt)
log, logger = api.open_log(trt)
builder = trt.Builder(logger)
typing = network.typing_of(target, features)
config = network.configure(trt, builder, target, features, typing)
model = onnx.load(path)
if broken:
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.op_type, node.name = "Det", "the_odd_one"
exported = model.SerializeToString() if broken else path.read_bytes()
half = typing == "strong" and target.precision == "int8_fp16"
prepared = graph.prepare(
    exported, model, batch_is_dynamic=target.batch.is_dynamic, to_half=half and not broken, without_quantization=False
)
parsing = network.Parsing(config, None, model, path)
try:
    built, parser = network.parse(trt, builder, logger, prepared, features, typing, parsing)
except EngineError as error:
    print(json.dumps({"error": error.found}))
    sys.exit()
if target.batch.is_dynamic:
    network.add_batch_profile(builder, config, built, target.batch.profile)
plan = network.build_plan(builder, built, config, log, target, path)
print(json.dumps({
    "typing": typing,
    "plan": len(plan),
    "workspace": config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE),
    "level": config.builder_optimization_level,
    "detail": config.profiling_verbosity.name,
    "messages": len(log.lines),
}))
"""


def on_rtx(settings: dict, *more: str) -> dict:
    """Output of the program in a process with TensorRT-RTX."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        PROGRAM,
        str(whole().onnx / "model.onnx"),
        json.dumps(settings),
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"precision": "int8_fp32"},
        {"batch": {"max": 4, "optimal": 2}},
    ],
    ids=["half", "float", "dynamic batch"],
)
def test_our_graphs_and_settings_build_on_a_real_tensorrt(settings):
    found = on_rtx({"workspace_mib": 64, "optimization_level": 2, **settings})
    assert found["typing"] == "strong"
    assert found["plan"] > 10_000
    assert (found["workspace"], found["level"], found["detail"]) == (64 << 20, 2, "DETAILED")
    assert found["messages"] > 0


def test_an_operator_that_the_real_parser_lacks_is_named_with_its_node():
    assert "node 'the_odd_one' (Det): unsupported node" in on_rtx({}, "broken")["error"]
