"""Why an asset is stale: what changed, from what, to what."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from robot_assets.lineage.causes import causes_of, explain
from robot_assets.lineage.code import CODE_RULE, Entries
from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.record import Cause, CauseKind, Record, desired_state
from robot_assets.lineage.staleness import Built, GateResult, gate_state, present_inputs, statuses
from tests.lineage.worlds import GivenCode

CODE = ("toy.make:make",)
SIZE, SPEED = (Gate(name, f"The {name} is right.", CODE) for name in ("size", "speed"))
RAW = Stage("raw/yard", "raw")
DATASET = Stage("datasets/yard", "dataset", CODE, {"split": {"val": 0.2, "seed": 0}}, ("raw/yard",))
MODEL = Stage("yard/checkpoint", "checkpoint", CODE, {}, ("datasets/yard",), (SIZE, SPEED))


def digest(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class YardCode(GivenCode):
    """All definitions that it is given are the code of every stage of the yard."""

    def definitions(self, entries: Entries) -> dict[str, str]:
        return dict(self._digests_given)


DEFINITIONS = {"toy.make:make": digest("make"), "toy.draw:draw": digest("draw")}
NOW = YardCode(DEFINITIONS)


def code(**changed: str | None) -> YardCode:
    """The code when some functions have other texts, or are gone (None), by name."""
    edited = {f"toy.{name}:{name}": text and digest(text) for name, text in changed.items()}
    return YardCode({name: text for name, text in (DEFINITIONS | edited).items() if text is not None})


def record_of(stage: Stage, inputs: dict[str, str], **changed: Any) -> Record:
    code_version = NOW.version(stage.code, stage.params)
    facts = {
        "asset": stage.asset,
        "data_version": digest(stage.asset),
        "code_version": code_version,
        "desired_state": desired_state(stage.asset, code_version, inputs),
        "inputs": inputs,
        "params": stage.params,
        "code": NOW.definitions(stage.code),
        "code_rule": CODE_RULE,
        "git_commit": None,
        "git_dirty": None,
        "image": None,
        "node": "here",
        "libraries": {},
        "size_bytes": 1,
        "files": 1,
        "started_at": "2026-01-01T00:00:00+00:00",
        "duration_s": 1.0,
        "run_id": "run",
    }
    return Record.model_validate(facts | changed)


INPUTS = {"raw/yard": digest("monday")}
RECORD = record_of(DATASET, INPUTS)


def sentences(record: Record | None, stage: Stage = DATASET, code: GivenCode = NOW, **built: Built) -> tuple[str, ...]:
    """The causes of a data set that was built on Monday."""
    present = {
        "raw/yard": Built(INPUTS["raw/yard"]),
        "datasets/yard": Built(RECORD.data_version, RECORD.desired_state),
        **{f"{prefix}/yard": one for prefix, one in built.items()},
    }
    graph = {"raw/yard": RAW, "raw/more": replace(RAW, asset="raw/more"), stage.asset: stage}
    return explain(stage, statuses(graph, present, code)[stage.asset], present, record, code)


def test_what_is_fresh_has_no_cause():
    assert sentences(RECORD) == ()


def test_a_changed_input_is_named_with_its_old_and_its_new_hash():
    old, new = INPUTS["raw/yard"], digest("tuesday")
    assert sentences(RECORD, raw=Built(new)) == (f"raw/yard changed ({old[:8]} -> {new[:8]})",)
    assert causes_of(DATASET, RECORD, {"raw/yard": new}, NOW) == (
        Cause(kind=CauseKind.INPUT, what="raw/yard", old=old, new=new),
    )


def test_a_changed_parameter_is_named_by_its_dotted_key_with_both_values():
    stage = replace(DATASET, params={"split": {"val": 0.3, "seed": 0}})
    assert sentences(RECORD, stage) == ("split.val: 0.2 -> 0.3",)


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ({"epochs": 1}, {"epochs": 1, "seed": None}, "seed is new: null"),
        ({"epochs": 1, "seed": 0}, {"epochs": 1}, "seed was removed (before: 0)"),
        ({"exempt": {}}, {"exempt": {"tram": "rare"}}, "exempt.tram is new: rare"),
        ({"calibrators": ["mse"]}, {"calibrators": ["mse", "entropy"]}, "calibrators: [mse] -> [mse, entropy]"),
        ({"kind": "onnxruntime"}, {"kind": "tensorrt"}, "kind: onnxruntime -> tensorrt"),
        ({"workers": 1}, {"workers": "1"}, "workers: 1 -> '1'"),
        ({"shuffle": 1}, {"shuffle": True}, "shuffle: 1 -> true"),
        ({"shuffle": None}, {"shuffle": "null"}, "shuffle: null -> 'null'"),
        ({"classes": ["ball"]}, {"classes": ["공", "été"]}, "classes: [ball] -> [공, été]"),
        ({"kind": "a"}, {"kind": "\x1b[31m"}, r'kind: a -> "\e[31m"'),
    ],
)
def test_a_changed_parameter_is_named_as_params_yaml_would_write_it(before, after, cause):
    old = replace(DATASET, params=before)
    assert "; ".join(sentences(record_of(old, INPUTS), replace(DATASET, params=after))) == cause


def test_a_change_that_no_key_and_no_definition_shows_is_named_by_the_asset():
    before, after = replace(DATASET, params={"exempt": {}}), replace(DATASET, params={})
    (cause,) = sentences(record_of(before, INPUTS), after)
    assert cause.startswith("code of datasets/yard changed (")


def test_changed_code_is_named_by_the_definition_that_changed_and_by_no_other():
    (cause,) = sentences(RECORD, code=code(draw="draw faster"))
    assert cause == f"code of toy.draw:draw changed ({digest('draw')[:8]} -> {digest('draw faster')[:8]})"


def test_a_definition_that_the_stage_begins_or_ceases_to_reach_is_named():
    assert sentences(RECORD, code=code(draw=None, cut="cut")) == (
        "code of toy.cut:cut is new",
        "code of toy.draw:draw was removed",
    )


def definitions(module: str, count: int, text: str = "") -> dict[str, str]:
    """Digests of ``count`` functions of a module."""
    return {f"{module}:f{number:03}": digest(f"{module} {number} {text}") for number in range(count)}


def test_many_changed_definitions_of_a_module_are_one_cause_and_few_are_named():
    old = definitions("toy.many", 100) | definitions("toy.few", 3)
    new = definitions("toy.many", 100, "edited") | definitions("toy.few", 3, "edited")
    many, *few = reversed(sentences(record_of(DATASET, INPUTS, code=old), code=YardCode(new)))
    assert many.startswith("code of toy.many (100 definitions) changed (")
    assert [cause.partition(" changed")[0] for cause in reversed(few)] == [f"code of toy.few:f00{n}" for n in range(3)]


def test_a_module_that_the_stage_begins_or_ceases_to_reach_is_one_cause():
    old, new = definitions("toy.old", 20), definitions("toy.new", 30)
    assert sentences(record_of(DATASET, INPUTS, code=old), code=YardCode(new)) == (
        "code of toy.new (30 definitions) is new",
        "code of toy.old (20 definitions) was removed",
    )


def test_a_record_without_definitions_still_has_the_cause_that_the_code_changed():
    now = code(make="make better")
    (cause,) = sentences(record_of(DATASET, INPUTS, code={}), code=now)
    new = now.version(CODE, DATASET.params)
    assert cause == f"code of datasets/yard changed ({RECORD.code_version[:8]} -> {new[:8]})"


def test_a_record_without_definitions_does_not_put_everything_down_to_a_parameter():
    stage = replace(DATASET, params={"split": {"val": 0.3, "seed": 0}})
    causes = sentences(record_of(DATASET, INPUTS, code={}), stage)
    assert causes[0] == "split.val: 0.2 -> 0.3"
    assert causes[1].startswith("code of datasets/yard changed (")


def test_an_added_and_a_removed_input_are_named():
    stage = replace(DATASET, inputs=("raw/more",))
    record = record_of(DATASET, INPUTS)
    assert causes_of(stage, record, {"raw/more": digest("more")}, NOW) == (
        Cause(kind=CauseKind.INPUT, what="raw/more", new=digest("more")),
        Cause(kind=CauseKind.INPUT, what="raw/yard", old=INPUTS["raw/yard"]),
    )
    assert sentences(record, stage) == ("raw/more is new", "raw/yard was removed", "waits for raw/more")


def test_an_added_input_that_was_never_built_is_named_and_waited_for():
    stage = replace(DATASET, inputs=("raw/yard", "raw/more"))
    assert sentences(RECORD, stage) == ("raw/more is new", "waits for raw/more")


def test_what_is_stale_and_waits_has_both_causes():
    changed = code(make="make better")
    graph = {"raw/yard": RAW, "datasets/yard": DATASET, "yard/checkpoint": MODEL}
    record = record_of(MODEL, {"datasets/yard": RECORD.data_version})
    present = {
        "raw/yard": Built(INPUTS["raw/yard"]),
        "datasets/yard": Built(RECORD.data_version, RECORD.desired_state),
        "yard/checkpoint": Built(record.data_version, record.desired_state),
    }
    status = statuses(graph, present, changed)["yard/checkpoint"]
    causes = explain(MODEL, status, present, record, changed)
    assert causes[0].startswith("code of toy.make:make changed (")
    assert causes[1:] == ("waits for datasets/yard",)


def test_what_is_merely_behind_waits():
    graph = {"raw/yard": RAW, "datasets/yard": DATASET, "yard/checkpoint": MODEL}
    record = record_of(MODEL, {"datasets/yard": RECORD.data_version})
    present = {
        "raw/yard": Built(digest("tuesday")),
        "datasets/yard": Built(RECORD.data_version, RECORD.desired_state),
        "yard/checkpoint": Built(record.data_version, record.desired_state),
    }
    status = statuses(graph, present, NOW)["yard/checkpoint"]
    assert explain(MODEL, status, present, record, NOW) == ("waits for datasets/yard",)


def test_what_was_never_built_or_never_observed_has_that_cause():
    graph = {"raw/yard": RAW, "datasets/yard": DATASET}
    found = statuses(graph, {}, NOW)
    assert explain(RAW, found["raw/yard"], {}, None, NOW) == ("was never observed",)
    assert explain(DATASET, found["datasets/yard"], {}, None, NOW) == ("was never built", "waits for raw/yard")


def test_lost_bytes_are_named_by_their_hash():
    lost = Built(RECORD.data_version, RECORD.desired_state, is_stored=False)
    assert sentences(RECORD, datasets=lost) == (f"its bytes ({RECORD.data_version[:8]}) are not in the store",)


def test_what_something_else_reported_has_that_cause():
    assert sentences(None, datasets=Built(digest("from elsewhere"))) == (
        "was not materialized by a build of this system",
    )


def test_a_build_that_was_killed_before_it_was_checked_in_has_that_cause():
    assert sentences(RECORD, datasets=Built(RECORD.data_version)) == (
        "its last build was interrupted before it was recorded",
    )


def test_gates_that_failed_and_gates_that_have_not_run_have_different_causes():
    graph = {"raw/yard": RAW, "datasets/yard": DATASET, "yard/checkpoint": replace(MODEL, inputs=())}
    stage = graph["yard/checkpoint"]
    present = {"yard/checkpoint": Built("bytes", record_of(stage, {}).desired_state)}
    speed = GateResult(gate_state(stage.asset, stage.gates[1], present, NOW), False)
    present["yard/checkpoint"] = replace(present["yard/checkpoint"], gates={"speed": speed})
    status = statuses(graph, present, NOW)["yard/checkpoint"]
    assert explain(stage, status, present, None, NOW) == (
        "the gate speed failed",
        "the gate size has not run on this version",
    )


def test_a_build_without_any_change_has_no_cause():
    assert causes_of(DATASET, RECORD, present_inputs(DATASET, {"raw/yard": Built(INPUTS["raw/yard"])}), NOW) == ()
