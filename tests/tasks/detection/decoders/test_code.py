"""The code of decoders: robots import and run it, and refuse an engine that was built with another one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from robot_assets.lineage.code import Code
from robot_assets.tasks.detection.task import TASK
from robot_assets.tasks.task import Decoder

DECODERS = TASK.decoders[1:]


@pytest.fixture(scope="module")
def code() -> Code:
    return Code()


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_the_code_of_a_decoder_has_neither_the_others_nor_the_texts_of_errors(code: Code, decoder: Decoder) -> None:
    """Or an engine would be refused by a robot whose package only words an error in another way."""
    names = code.definitions(decoder.run)
    own = {one.run for one in DECODERS} & set(names)
    assert own == {decoder.run}
    others = ("matching", "recognize", "options", "coco", "labels:_without", "labels:wrong_count", "core.")
    assert not [name for name in names if any(part in name.partition("robot_assets.")[2] for part in others)]
    assert "robot_assets.tasks.detection.decoders.decode.reading:checked" in names


def test_the_registry_of_tasks_imports_no_numpy() -> None:
    """``robot-assets --help`` and params.yaml need none."""
    text = (
        "import sys, robot_assets.tasks.registry; print(sorted({'numpy', 'torch', 'onnx', 'PIL'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "[]"


def test_decoders_import_neither_torch_nor_onnx() -> None:
    runs = {one.run.partition(":")[0] for one in DECODERS}
    assert imported_by(*sorted(runs)) & {"torch", "onnx", "onnxruntime", "PIL"} == set()


def imported_by(*modules: str) -> set[str]:
    text = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120)
    return set(found.stdout.split())
