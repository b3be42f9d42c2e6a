"""Why an asset is stale: what changed, from what, to what, in words that a person can act on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from robot_assets.lineage.causes import causes_of, explain
from robot_assets.lineage.graph import Gate, Kind, Stage
from robot_assets.lineage.record import Cause, CauseKind, Record, desired_state
from robot_assets.lineage.staleness import Built, GateResult, gate_state, present_inputs, statuses
from tests.lineage.worlds import GivenCode

MODULE = "robot_assets.core.verdict"
RAW = Stage("raw/yard", Kind.RAW, None)
DATASET = Stage("datasets/yard", Kind.DATASET, MODULE, {"split": {"val": 0.2, "seed": 0}}, ("raw/yard",))
MODEL = Stage(
    "yard/checkpoint", Kind.CHECKPOINT, MODULE, {}, ("datasets/yard",), (Gate("size", MODULE), Gate("speed", MODULE))
)


def digest(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class YardCode(GivenCode):
    """Two modules make everything of the yard."""

    def modules(self, module: str) -> dict[str, str]:
        return dict(self._given)


CODE = YardCode({MODULE: digest("verdict"), "robot_assets.core.progress": digest("progress")})


def record_of(stage: Stage, inputs: dict[str, str], **changed: Any) -> Record:
    code_version = CODE.version(str(stage.module), stage.params)
    facts = {
        "asset": stage.asset,
        "data_version": digest(stage.asset),
        "code_version": code_version,
        "desired_state": desired_state(stage.asset, code_version, inputs),
        "inputs": inputs,
        "params": stage.params,
        "modules": CODE.modules(str(stage.module)),
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


def sentences(record: Record | None, stage: Stage = DATASET, code: GivenCode = CODE, **built: Built) -> tuple[str, ...]:
    """What is said of a data set that was built on Monday."""
    stands = {
        "raw/yard": Built(INPUTS["raw/yard"]),
        "datasets/yard": Built(RECORD.data_version, RECORD.desired_state),
        **{f"{room}/yard": one for room, one in built.items()},
    }
    graph = {"raw/yard": RAW, "raw/more": replace(RAW, asset="raw/more"), stage.asset: stage}
    return explain(stage, statuses(graph, stands, code)[stage.asset], stands, record, code)


def test_nothing_is_said_of_what_is_fresh():
    assert sentences(RECORD) == ()


def test_a_changed_input_is_named_with_its_old_and_its_new_hash():
    old, new = INPUTS["raw/yard"], digest("tuesday")
    assert sentences(RECORD, raw=Built(new)) == (f"raw/yard changed ({old[:8]} -> {new[:8]})",)
    assert causes_of(DATASET, RECORD, {"raw/yard": new}, CODE) == (
        Cause(kind=CauseKind.INPUT, what="raw/yard", old=old, new=new),
    )


def test_a_changed_parameter_is_named_by_its_dotted_key_with_both_values():
    stage = replace(DATASET, params={"split": {"val": 0.3, "seed": 0}})
    assert sentences(RECORD, stage) == ("split.val: 0.2 -> 0.3",)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"epochs": 1}, {"epochs": 1, "seed": None}, "seed is new: null"),
        ({"epochs": 1, "seed": 0}, {"epochs": 1}, "seed is gone (was 0)"),
        ({"exempt": {}}, {"exempt": {"tram": "rare"}}, "exempt.tram is new: rare"),
        ({"calibrators": ["mse"]}, {"calibrators": ["mse", "entropy"]}, "calibrators: [mse] -> [mse, entropy]"),
        ({"kind": "onnxruntime"}, {"kind": "tensorrt"}, "kind: onnxruntime -> tensorrt"),
        ({"workers": 1}, {"workers": "1"}, "workers: 1 -> '1'"),
        ({"shuffle": 1}, {"shuffle": True}, "shuffle: 1 -> true"),
        ({"shuffle": None}, {"shuffle": "null"}, "shuffle: null -> 'null'"),
    ],
)
def test_every_change_of_parameters_that_counts_is_named_as_params_yaml_would_write_it(before, after, said):
    old = replace(DATASET, params=before)
    assert "; ".join(sentences(record_of(old, INPUTS), replace(DATASET, params=after))) == said


def test_a_change_that_no_key_shows_is_put_down_to_the_stage():
    before, after = replace(DATASET, params={"exempt": {}}), replace(DATASET, params={})
    (said,) = sentences(record_of(before, INPUTS), after)
    assert said.startswith(f"code of {MODULE} changed (")


def test_changed_code_is_named_by_the_module_that_changed_and_by_no_other():
    now = YardCode({MODULE: digest("verdict"), "robot_assets.core.progress": digest("faster")})
    (said,) = sentences(RECORD, code=now)
    assert said == f"code of robot_assets.core.progress changed ({digest('progress')[:8]} -> {digest('faster')[:8]})"


def test_a_module_that_the_stage_begins_or_ceases_to_import_is_named():
    now = YardCode({MODULE: digest("verdict"), "robot_assets.core.errors": digest("errors")})
    assert sentences(RECORD, code=now) == (
        "code of robot_assets.core.errors is new",
        "code of robot_assets.core.progress is gone",
    )


def test_an_old_record_without_modules_still_says_that_the_code_changed():
    now = YardCode({MODULE: digest("another verdict")})
    (said,) = sentences(record_of(DATASET, INPUTS, modules={}), code=now)
    new = now.version(MODULE, DATASET.params)
    assert said == f"code of {MODULE} changed ({RECORD.code_version[:8]} -> {new[:8]})"


def test_an_old_record_without_modules_cannot_put_it_all_down_to_a_parameter():
    stage = replace(DATASET, params={"split": {"val": 0.3, "seed": 0}})
    said = sentences(record_of(DATASET, INPUTS, modules={}), stage)
    assert said[0] == "split.val: 0.2 -> 0.3"
    assert said[1].startswith(f"code of {MODULE} changed (")


def test_an_added_and_a_removed_input_are_named():
    stage = replace(DATASET, inputs=("raw/more",))
    record = record_of(DATASET, INPUTS)
    assert causes_of(stage, record, {"raw/more": digest("more")}, CODE) == (
        Cause(kind=CauseKind.INPUT, what="raw/more", new=digest("more")),
        Cause(kind=CauseKind.INPUT, what="raw/yard", old=INPUTS["raw/yard"]),
    )
    assert sentences(record, stage) == ("raw/more is new", "raw/yard is gone", "waits for raw/more")


def test_an_added_input_that_was_never_built_is_named_and_waited_for():
    stage = replace(DATASET, inputs=("raw/yard", "raw/more"))
    assert sentences(RECORD, stage) == ("raw/more is new", "waits for raw/more")


def test_stale_and_waiting_at_once_says_both():
    changed = YardCode({MODULE: digest("another verdict"), "robot_assets.core.progress": digest("progress")})
    graph = {"raw/yard": RAW, "datasets/yard": DATASET, "yard/checkpoint": MODEL}
    record = record_of(MODEL, {"datasets/yard": RECORD.data_version})
    stands = {
        "raw/yard": Built(INPUTS["raw/yard"]),
        "datasets/yard": Built(RECORD.data_version, RECORD.desired_state),
        "yard/checkpoint": Built(record.data_version, record.desired_state),
    }
    status = statuses(graph, stands, changed)["yard/checkpoint"]
    said = explain(MODEL, status, stands, record, changed)
    assert said[0].startswith(f"code of {MODULE} changed (")
    assert said[1:] == ("waits for datasets/yard",)


def test_what_is_merely_behind_waits():
    graph = {"raw/yard": RAW, "datasets/yard": DATASET, "yard/checkpoint": MODEL}
    record = record_of(MODEL, {"datasets/yard": RECORD.data_version})
    stands = {
        "raw/yard": Built(digest("tuesday")),
        "datasets/yard": Built(RECORD.data_version, RECORD.desired_state),
        "yard/checkpoint": Built(record.data_version, record.desired_state),
    }
    status = statuses(graph, stands, CODE)["yard/checkpoint"]
    assert explain(MODEL, status, stands, record, CODE) == ("waits for datasets/yard",)


def test_what_was_never_built_or_never_seen_says_so():
    graph = {"raw/yard": RAW, "datasets/yard": DATASET}
    found = statuses(graph, {}, CODE)
    assert explain(RAW, found["raw/yard"], {}, None, CODE) == ("was never observed",)
    assert explain(DATASET, found["datasets/yard"], {}, None, CODE) == ("was never built", "waits for raw/yard")


def test_lost_bytes_are_named_by_their_hash():
    lost = Built(RECORD.data_version, RECORD.desired_state, is_stored=False)
    assert sentences(RECORD, datasets=lost) == (f"the store has lost {RECORD.data_version[:8]}",)


def test_what_something_else_reported_says_so():
    assert sentences(None, datasets=Built(digest("from elsewhere"))) == (
        "was reported by something else than a build of this system",
    )


def test_a_build_that_was_killed_before_it_was_checked_in_says_so():
    assert sentences(RECORD, datasets=Built(RECORD.data_version)) == (
        "its last build was cut off before it had been checked in",
    )


def test_gates_that_failed_and_gates_that_have_not_run_are_told_apart():
    graph = {"raw/yard": RAW, "datasets/yard": DATASET, "yard/checkpoint": replace(MODEL, inputs=())}
    stage = graph["yard/checkpoint"]
    stands = {"yard/checkpoint": Built("bytes", record_of(stage, {}).desired_state)}
    speed = GateResult(gate_state(stage.asset, stage.gates[1], stands, CODE), False)
    stands["yard/checkpoint"] = replace(stands["yard/checkpoint"], gates={"speed": speed})
    status = statuses(graph, stands, CODE)["yard/checkpoint"]
    assert explain(stage, status, stands, None, CODE) == ("speed failed", "size has not run on this state")


def test_a_build_that_nothing_asked_for_has_no_cause():
    assert causes_of(DATASET, RECORD, present_inputs(DATASET, {"raw/yard": Built(INPUTS["raw/yard"])}), CODE) == ()
