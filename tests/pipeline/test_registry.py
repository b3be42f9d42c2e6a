"""Stage kinds: complete by construction, and all that the rest of the system knows of them."""

import ast
import re
from dataclasses import MISSING, fields, replace
from importlib import import_module
from pathlib import Path

import pytest

from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.pipeline import graph as graphs
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.kind import Production, StageKind
from robot_assets.pipeline.names import NamePattern
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.registry import STAGE_KINDS, reserved_words, stage_kinds
from tests.sample_params import sample_document

PRODUCTION = Production("A sentence.", "auto", (), run=lambda step: None, facts=lambda made: None, page=lambda *_: None)

FITS = Gate("fits", "It fits.", ("a:judge",))


def a_kind(*stages: Stage, name: str = "toy", production: Production | None = PRODUCTION) -> StageKind:
    return StageKind(name, NamePattern(f"{name}/{{target}}"), name, AssetTraits(), lambda params: stages, production)


@pytest.fixture
def params():
    return parse_params(sample_document())


@pytest.fixture
def graph_of(monkeypatch, params):
    """The graph of some kinds beside ours."""

    def build(*kinds: StageKind):
        monkeypatch.setattr(graphs, "stage_kinds", lambda: stage_kinds() | {kind.name: kind for kind in kinds})
        return build_graph(params)

    return build


@pytest.mark.parametrize("missing", ["description", "policy", "tools", "run", "facts", "page"])
def test_a_kind_without_a_policy_or_a_description_cannot_be_made(missing):
    given = {one.name: getattr(PRODUCTION, one.name) for one in fields(Production) if one.default is MISSING}
    assert missing in given
    del given[missing]
    with pytest.raises(TypeError, match=missing):
        Production(**given)


def test_a_gate_without_a_description_cannot_be_made():
    with pytest.raises(TypeError, match="description"):
        Gate(name="fits", code=("package.module:judge",))


def test_a_kind_that_neither_makes_nor_observes_anything_is_refused():
    with pytest.raises(TypeError, match="needed a production, an observation or both"):
        a_kind(production=None)


def test_every_stage_has_code_that_is_there(params):
    for stage in build_graph(params).values():
        for entry in (*stage.code, *(one for gate in stage.gates for one in gate.code)):
            module, _, name = entry.partition(":")
            assert getattr(import_module(module), name), entry


def test_params_of_a_stage_are_those_of_its_frozen_spec(params):
    """What the code gets is what its version counts."""
    for stage in build_graph(params).values():
        if stage.code and stage.params:
            assert stage.spec is not None, stage.asset


def test_inputs_come_before_their_readers_and_groups_stay_together(params):
    graph = build_graph(params)
    order = list(graph)
    for stage in graph.values():
        assert all(order.index(name) < order.index(stage.asset) for name in stage.inputs)
    of_models = [name.split("/")[0] for name in order if name.split("/")[0] in params.models]
    assert of_models == sorted(of_models, key=of_models.index)


def test_a_stage_of_ours_may_read_one_of_a_plug_in(graph_of):
    late = a_kind(Stage("late/one", "late", ("a:run",)), name="late")
    early = a_kind(Stage("early/one", "early", ("a:run",), inputs=("late/one",)), name="early")
    order = list(graph_of(early, late))
    assert order.index("late/one") < order.index("early/one")


def test_policies_come_from_params_or_from_the_kind(params):
    graph = build_graph(params)
    assert graph["sidewalk_detector/checkpoint"].policy == "manual"
    assert graph["sidewalk_detector/ptq"].policy == "auto"
    rebuild = params.rebuild.model_copy(update={"policy": {"ptq": "manual"}})
    graph = build_graph(params.model_copy(update={"rebuild": rebuild}))
    assert graph["sidewalk_detector/ptq"].policy == "manual"
    assert graph["sidewalk_detector/checkpoint"].policy == "manual"


@pytest.mark.parametrize(
    ("stages", "why"),
    [
        ([Stage("toy/one", "toy", ("a:run",), inputs=("toy/two",))], "reads toy/two, which no stage gives"),
        ([Stage("toy/one", "toy", ("a:run",), inputs=("toy/one",))], "made of itself"),
        ([Stage("toy/one", "toy")], "is observed, and the kind has no observation"),
        (
            [Stage("toy/one", "toy", ("a:run",), gates=(Gate("fits", "It fits.", ("a:judge",)),))],
            "a judge for its gates",
        ),
        ([Stage("other/one", "toy", ("a:run",))], "is not named like toy/"),
    ],
)
def test_a_kind_that_contradicts_itself_is_refused(graph_of, stages, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        graph_of(a_kind(*stages))


def test_no_model_may_be_called_like_the_first_word_of_other_assets():
    assert {"raw", "datasets", "platform", "profile"} <= reserved_words()
    assert "checkpoint" not in reserved_words()


def test_signed_kinds_are_those_that_robots_get():
    assert [kind.name for kind in STAGE_KINDS if kind.production and kind.production.is_signed] == ["engine"]
    assert replace(PRODUCTION, is_signed=True).is_signed


@pytest.mark.parametrize("room", ["robot_assets/lineage", "dagster_project"])
def test_no_other_room_decides_by_the_name_of_a_kind(repository: Path, room):
    """The kernel and Dagster's side compare nothing with a kind's name, and take no asset name apart."""
    names = {kind.name for kind in STAGE_KINDS}
    found = []
    for path in sorted((repository / room).rglob("*.py")):
        tree = ast.parse(path.read_text())
        decisive = {id(text) for node in ast.walk(tree) if decides(node) for text in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                begins = node.value.partition("/")[0] in reserved_words() and "/" in node.value
                if (id(node) in decisive and node.value in names) or begins:
                    found.append(f"{path.relative_to(repository)}:{node.lineno}: {node.value!r}")
    assert not found, "\n".join(found)


def decides(node: ast.AST) -> bool:
    """Whether a branch may hang on what is written in a node."""
    is_match = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("startswith", "endswith", "partition")
    return is_match or isinstance(node, ast.Compare | ast.MatchValue)
