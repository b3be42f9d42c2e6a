"""An entry of ``targets`` becomes an instance of the class of its kind; only the keys of the kind decide an engine."""

import pytest
from pydantic import BaseModel, ValidationError

from robot_assets.engines.onnxruntime.spec import OnnxRuntimeTarget
from robot_assets.engines.registry import engine_kind
from robot_assets.engines.tensorrt.spec import TensorRTTarget
from robot_assets.pipeline.targets import TargetEntry

GATE = {"latency_ms_p95_max": 8}


class Document(BaseModel):
    targets: dict[str, TargetEntry]


def entry(**keys) -> TargetEntry:
    return Document.model_validate({"targets": {"robot": {"gate": GATE, **keys}}}).targets["robot"]


def test_an_entry_has_the_keys_of_its_kind_and_those_of_every_target():
    found = entry(kind="tensorrt", platform="node", workspace_mib=64)
    assert isinstance(found, TargetEntry)
    assert (found.kind, found.platform, found.profile, found.gate.latency_ms_p95_max) == ("tensorrt", "node", None, 8)
    assert found.target == TensorRTTarget(workspace_mib=64)
    assert type(entry(kind="onnxruntime").target) is OnnxRuntimeTarget


def test_only_the_keys_of_the_kind_are_parameters_of_an_engine():
    cpu = entry(kind="onnxruntime", threads=2, platform="reported")
    assert engine_kind("onnxruntime").slice(cpu) == {"kind": "onnxruntime", "threads": 2}
    orin = entry(kind="tensorrt", dla={"core": 1})
    assert engine_kind("tensorrt").slice(orin) == {
        "kind": "tensorrt",
        "precision": "int8_fp16",
        "typing": "auto",
        "workspace_mib": 1024,
        "optimization_level": 3,
        "batch": {"max": 1, "optimal": None},
        "dla": {"core": 1, "gpu_fallback": True},
        "timing_cache": True,
        "weight_stripped": False,
    }


@pytest.mark.parametrize(
    ("keys", "kind_of_mistake", "place"),
    [
        ({}, "union_tag_not_found", ()),
        ({"kind": "onnx"}, "union_tag_invalid", ()),
        ({"kind": "onnxruntime", "threads": 0}, "greater_than_equal", ("onnxruntime", "threads")),
        ({"kind": "onnxruntime", "workspace_mib": 64}, "extra_forbidden", ("onnxruntime", "workspace_mib")),
        ({"kind": "tensorrt", "gate": {}}, "missing", ("tensorrt", "gate", "latency_ms_p95_max")),
        ({"kind": "tensorrt", "dla": {}, "precision": "int8_fp32"}, "value_error", ("tensorrt",)),
    ],
)
def test_a_mistake_has_the_place_of_its_key_in_the_document(keys, kind_of_mistake, place):
    with pytest.raises(ValidationError) as caught:
        entry(**keys)
    [mistake] = caught.value.errors()
    assert (mistake["type"], mistake["loc"]) == (kind_of_mistake, ("targets", "robot", *place))
