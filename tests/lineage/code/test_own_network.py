"""The code of a network of one's own: an edit of its package makes stale what is built with it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_assets.lineage.code import Code
from robot_assets.lineage.errors import LineageError
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import parse_params
from tests.lineage.code.project import OWN_NETWORK, PARAMS, graph_with_own_network, named
from tests.own_networks import installed

BUILT = {f"pico/{name}" for name in ("checkpoint", "ptq", "qat", "onnx")}


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Iterator[Path]:
    with installed(tmp_path_factory.mktemp("acme")) as folder:
        yield folder / "acme_nets"


def versions() -> dict[str, str]:
    code = Code()
    return {name: code.version(one.code, {}) for name, one in named(graph_with_own_network()).items()}


@pytest.mark.parametrize(
    ("file", "before", "after", "stale"),
    [
        ("pico.py", "features = self.stem(images)", "features = self.stem(images * 2)", BUILT),
        ("pico.py", "nn.SiLU()", "nn.ReLU()", BUILT),
        ("pico.py", '"""Fits; what it', '"""What it', set()),
        ("pico.py", "class Idle(Pico):", "class Idle(Empty):", set()),
        ("__init__.py", '"""Networks of Acme."""', "print()", BUILT),
        ("syntax.py", "def network(:", "def network(): ...", set()),
    ],
)
def test_an_edit_of_the_package_makes_stale(package, file, before, after, stale):
    path = package / file
    text, old = path.read_text(), versions()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    try:
        new = versions()
    finally:
        path.write_text(text)
    assert {name for name in new if new[name] != old[name]} == stale


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it():
    entry = {**OWN_NETWORK, "network": {**OWN_NETWORK["network"], "kind": "nobodys_nets.pico:Pico"}}
    graph = build_graph(parse_params({**PARAMS, "models": {**PARAMS["models"], "pico": entry}}))
    with pytest.raises(LineageError, match="nobodys_nets is not installed") as caught:
        Code().version(graph["pico/checkpoint"].code, {})
    assert caught.value.fix.startswith("pip install -e ")
