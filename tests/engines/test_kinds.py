"""Engine kinds: what one has to say, and that an edit of one leaves the others alone."""

import json
import shutil
import subprocess
import sys
from dataclasses import fields
from typing import ClassVar, Literal

import pytest

from robot_assets.core.errors import EngineError
from robot_assets.engines.kind import EngineKind, TargetSpec
from robot_assets.engines.load import load_engine, load_manifest
from robot_assets.engines.registry import engine_kind, engine_kinds
from robot_assets.lineage.code import Code
from robot_assets.runtime.manifest import Manifest
from tests.detector_chain import whole

OURS = engine_kind("onnxruntime")
GATE = "robot_assets.engines.gate:check_engine"


def kind(**changes) -> EngineKind:
    """The kind of ONNX Runtime with some fields replaced."""
    return EngineKind(**{field.name: getattr(OURS, field.name) for field in fields(EngineKind)} | changes)


@pytest.mark.parametrize("name", [field.name for field in fields(EngineKind)])
def test_a_kind_without_one_of_its_fields_is_a_type_error(name):
    given = {field.name: getattr(OURS, field.name) for field in fields(EngineKind) if field.name != name}
    with pytest.raises(TypeError, match=name):
        EngineKind(**given)


class OtherTarget(TargetSpec):
    kind: Literal["other"]


class OtherManifest(Manifest):
    kind: Literal["other"]
    engine_file: ClassVar[str] = "engine.other"


def test_a_class_of_another_kind_is_a_type_error():
    with pytest.raises(TypeError, match=r"needed kind: Literal\['onnxruntime'\] in OtherTarget"):
        kind(target=OtherTarget)


def test_a_manifest_that_leaves_a_question_open_is_a_type_error():
    with pytest.raises(TypeError, match="OtherManifest has no cpu_threads, memory_of, runs_on, uses_gpu"):
        kind(name="other", target=OtherTarget, manifest=OtherManifest)


def test_a_function_that_code_versions_cannot_name_is_a_type_error():
    with pytest.raises(TypeError, match="functions of a module as build and load"):
        kind(load=lambda engine, manifest, threads: None)


@pytest.mark.parametrize(("one", "other"), [("onnxruntime", "tensorrt"), ("tensorrt", "onnxruntime")])
def test_no_code_of_one_kind_is_part_of_a_build_or_a_gate_of_the_other(one, other):
    code = Code()
    for entries in (engine_kind(one).build_code, (GATE, *engine_kind(one).run_code)):
        reached = code.modules(entries)
        assert f"robot_assets.engines.{one}.kind" in reached
        assert not [name for name in reached if name.startswith(f"robot_assets.engines.{other}")]


def test_budgets_are_part_of_the_gates_and_not_of_the_build():
    code = Code()
    for each in engine_kinds().values():
        assert "robot_assets.engines.budgets" in code.modules((GATE, *each.run_code))
        assert "robot_assets.engines.budgets" not in code.modules(each.build_code)


def test_registering_the_kinds_imports_no_runtime_and_nothing_heavy():
    heavy = ["onnxruntime", "tensorrt", "cuda.bindings", "torch", "onnx", "matplotlib", "PIL", "dagster"]
    program = (
        "import json, sys\n"
        "import robot_assets.engines.registry, robot_assets.runtime.manifest\n"
        f"print(json.dumps([name for name in {heavy!r} if name in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_an_engine_of_a_kind_that_is_not_installed_is_refused_with_its_file_and_its_kind(tmp_path):
    folder = shutil.copytree(whole().engine, tmp_path / "engine")
    document = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_text(json.dumps(document | {"kind": "openvino"}))
    for read in (load_manifest, load_engine):
        with pytest.raises(EngineError) as caught:
            read(folder)
        assert caught.value.found.startswith(f"{folder}/manifest.json: no engine kind 'openvino'; installed are ")
        assert "'openvino'" in caught.value.needed


def test_the_page_of_an_engine_on_the_cpu_has_its_latency_beside_fp32(tmp_path):
    chain = whole()
    summary = OURS.build(chain.onnx, OURS.target(threads=1), tmp_path / "engine", None)
    facts = OURS.facts(summary)
    assert facts.headline.startswith("int8 18 of 23 convolutions, ")
    assert facts.values["engine_md5"] == summary.manifest.engine_md5
    page = OURS.page(summary, tmp_path / "engine", chain.onnx, tmp_path / "scratch")
    assert "x FP32" in page.headline
    assert page.values["speedup_over_fp32"] == page.values["fp32_latency_ms_p50"] / page.values["latency_ms_p50"]
    [picture] = page.blocks
    assert picture.png.startswith(b"\x89PNG")
