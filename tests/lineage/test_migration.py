"""Records from before code versions had rules: stale once for one reason, and audited as before (docs/migration.md)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from robot_assets.lineage.audit import audit
from robot_assets.lineage.causes import causes_of, explain
from robot_assets.lineage.code import CODE_RULE
from robot_assets.lineage.graph import Stage
from robot_assets.lineage.plan import common_causes, make_plan
from robot_assets.lineage.rebuild import decide
from robot_assets.lineage.record import Record
from robot_assets.lineage.report.page import page
from robot_assets.lineage.report.terminal import plain
from robot_assets.lineage.spec import RebuildSpec
from robot_assets.lineage.staleness import Built, State, statuses
from tests.lineage.past import GivenStore, Past, built_yard, yard_graph, yard_traits
from tests.lineage.worlds import GivenCode

OLD = """
{
  "asset": "mower/checkpoint",
  "causes": [{"kind": "never built", "new": null, "old": null, "what": "mower/checkpoint"}],
  "code_version": "88edf5a317d65eeebf74dd6b72985eac",
  "data_version": "2c0a6c9edf4a5dc40d8dc0ae02011d05.dir",
  "desired_state": "d2f00c79b0f8f32a9f66f2ec1ceba8ff",
  "duration_s": 173.029,
  "files": 4,
  "git_commit": "6d287d837cbec8b0337d9452ef5b555d8e966b08",
  "git_dirty": false,
  "image": null,
  "inputs": {"datasets/yard": "93ad9bb64cc0ad86a24e55c119b6671d.dir"},
  "libraries": {"numpy": "2.4.6", "torch": "2.13.0+cpu"},
  "modules": {
    "robot_assets": "3a9a1ec11602c494f1e1322496c24200",
    "robot_assets.training.loop": "21b296128ac773888615bf6b1c88d2af"
  },
  "node": "vm",
  "params": {"training": {"epochs": 16, "seed": 0}},
  "run_id": "408bf9ac-581d-4cae-82ac-d288db404093",
  "size_bytes": 2234944,
  "started_at": "2026-11-27T13:25:30+00:00"
}
"""
RULE_CHANGED = f"code version rule changed (1 -> {CODE_RULE})"
ENTRY = "robot_assets.core.verdict:Verdict"
CODE = GivenCode({ENTRY: "0123456789ab"})
STAGE = Stage("mower/checkpoint", "checkpoint", (ENTRY,), {"training": {"epochs": 16, "seed": 0}}, ("datasets/yard",))


def old_record(**changed: object) -> Record:
    return Record.model_validate({**json.loads(OLD), **changed})


def old_yard() -> Past:
    """The whole yard, built when records had modules and no rule."""
    past = built_yard()
    for number, record in past.records.items():
        document = record.model_dump(mode="json", exclude={"code", "code_rule"})
        past.records[number] = Record.model_validate(document | {"modules": json.loads(OLD)["modules"]})
    return past


def causes(stage: Stage, record: Record, **inputs: str) -> list[str]:
    return list(map(str, causes_of(stage, record, {"datasets/yard": record.inputs["datasets/yard"]} | inputs, CODE)))


def test_a_record_of_the_old_form_is_of_rule_1():
    assert (old_record().code_rule, old_record().code, len(old_record().modules)) == (1, {}, 2)


def test_a_record_of_the_old_form_gives_exactly_one_cause():
    assert causes(STAGE, old_record()) == [RULE_CHANGED]
    assert causes(STAGE, old_record(modules={})) == [RULE_CHANGED]


def test_other_changes_are_named_beside_the_rule_where_there_really_are_some():
    record = old_record(params={"training": {"epochs": 8, "seed": 0}})
    assert causes(STAGE, record, **{"datasets/yard": "0" * 32 + ".dir"}) == [
        "datasets/yard changed (93ad9bb6 -> 00000000)",
        "training.epochs: 8 -> 16",
        RULE_CHANGED,
    ]


def test_a_record_of_the_present_rule_never_gives_that_cause():
    record = old_record(code={ENTRY: "aaaaaaaaaaaa"}, code_rule=CODE_RULE, modules={})
    assert causes(STAGE, record) == [f"code of {ENTRY} changed (aaaaaaaa -> 01234567)"]


def plan_of(graph: dict[str, Stage], past: Past) -> tuple[list[str], list[str]]:
    """The lines of the plan, and the assets that the sensor starts."""
    records = {name: past.records[past.made[name, version][0][0]] for name, version in produced(graph, past).items()}
    built = {name: Built(version) for name, version in past.latest.items()}
    built |= {name: Built(record.data_version, record.desired_state) for name, record in records.items()}
    found = statuses(graph, built, CODE)
    sentences = {name: explain(graph[name], found[name], built, records.get(name), CODE) for name in graph}
    steps = make_plan(graph, found, built, sentences)
    assert {step.state for step in steps} == {State.STALE}
    decision = decide(graph, found, RebuildSpec(runs_per_pool=9), frozenset(), {}, datetime.now(UTC))
    return [str(common) for common in common_causes(steps)], [request.asset for request in decision.requests]


def produced(graph: dict[str, Stage], past: Past) -> dict[str, str]:
    return {name: past.latest[name] for name, stage in graph.items() if not stage.is_observed}


def test_everything_is_stale_once_and_the_plan_has_one_line_for_it():
    graph = {
        name: Stage(name, stage.kind, stage.code, {"training": {"epochs": 3}}, stage.inputs, policy="manual")
        for name, stage in yard_graph().items()
    }
    lines, started = plan_of(graph, old_yard())
    assert lines == [f"4 assets: {RULE_CHANGED}, see docs/migration.md"]
    assert started == []  # what a person starts is not started because of the rule


def test_the_page_that_the_plan_names_exists():
    [common] = common_causes(make_steps(2))
    assert (Path(__file__).parents[2] / common.more).is_file()


def make_steps(count: int):
    graph = {f"s/{number}": Stage(f"s/{number}", "toy", (ENTRY,)) for number in range(count)}
    found = statuses(graph, {name: Built("bytes", "of rule 1") for name in graph}, CODE)
    return make_plan(graph, found, {}, dict.fromkeys(graph, (RULE_CHANGED,)))


def test_an_audit_of_old_records_has_no_problem_and_is_shown_with_modules():
    past = old_yard()
    head = "mower/engine/cpu"
    chain = audit(head, past.latest[head], yard_graph(), past, GivenStore(), yard_traits)
    assert chain.problems == ()
    assert len(chain.links) == 6
    assert "✔ complete and clean" in plain(chain)
    assert "Modules of its code (2)" in page(chain)
    assert "Definitions of its code" not in page(chain)
