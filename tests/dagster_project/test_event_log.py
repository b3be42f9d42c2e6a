"""The batched readers give the results of Dagster's own readers, for every asset, on SQLite and on PostgreSQL.

Every test records events on a real instance and then compares the results for all assets of the instance, including
those of earlier tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib.metadata import version as installed_version
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sql
from packaging.specifiers import SpecifierSet

from dagster_project.instance.event_log import (
    DATA_VERSION_TAG,
    MATERIALIZATION,
    OBSERVATION,
    Version,
    events_of_version,
    latest_evaluations,
    latest_materializations,
    latest_versions,
    versions_with_prefix,
)
from dagster_project.instance.status import read
from dagster_project.keys import BUILDS_CHECK, asset_key, asset_name
from tests.synthetic.history import HistoryWriter, open_instance
from tests.synthetic.project import new_project

SEEN_TO_HOLD_FOR = SpecifierSet("==1.13.*")


def test_the_readers_were_tested_with_these_versions_of_dagster():
    installed = installed_version("dagster")
    assert installed in SEEN_TO_HOLD_FOR, (
        f"dagster {installed} is not {SEEN_TO_HOLD_FOR}, for which instance/event_log.py was last compared with "
        "it. Run this file: when all other tests pass on SQLite and PostgreSQL, widen SEEN_TO_HOLD_FOR here. When one "
        "fails, compare the tables in dagster/_core/storage/event_log/schema.py with those that event_log.py names, "
        "and get_asset_records, wipe_asset and store_asset_check_event in sql_event_log.py with what it takes for "
        "granted."
    )


@pytest.fixture(scope="module", params=["sqlite", "postgres", "postgres in Los Angeles"])
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """The PostgreSQL server has a time zone: Dagster writes some times in UTC and some in the session's zone."""
    url = None
    if request.param != "sqlite":
        server = request.getfixturevalue("postgres")
        timezone = "America/Los_Angeles" if "Los Angeles" in request.param else "UTC"
        url = server.new_database(f"event_log_{timezone}", timezone)
    with open_instance(tmp_path_factory.mktemp("instance"), url) as instance:
        yield instance


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
Body = Callable[[], dg.MaterializeResult]


def asset(name: str, body: Body, *checks: str) -> dg.AssetsDefinition:
    """An asset with ``body``, and checks of these names in its own step."""
    specs = [dg.AssetCheckSpec(check, asset=asset_key(name)) for check in checks]

    @dg.asset(key=asset_key(name), check_specs=specs, code_version="1")
    def made() -> dg.MaterializeResult:
        return body()

    return made


def version(text: str, *checks: dg.AssetCheckResult) -> dg.MaterializeResult:
    record = dg.MetadataValue.json({"data_version": text, "modules": {"robot_assets.training.loop": "0" * 32}})
    return dg.MaterializeResult(data_version=dg.DataVersion(text), metadata={"record": record}, check_results=checks)


def run(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize(list(assets), instance=instance, run_config=QUIET, raise_on_error=False)


def report(instance: dg.DagsterInstance, event: Any) -> None:
    instance.report_runless_asset_event(event)


def assert_agreement(instance: dg.DagsterInstance) -> None:
    """The readers and Dagster's own readers agree on every asset of the instance."""
    keys = instance.all_asset_keys()
    assert latest_versions(instance, MATERIALIZATION) == dict(materializations_by_dagster(instance))
    assert latest_versions(instance, OBSERVATION) == dict(observations_by_dagster(instance, keys))
    ours = latest_evaluations(instance)
    shown = {at: (one.passed, one.run_id, dict(one.metadata)) for at, one in ours.items()}
    assert shown == dict(evaluations_by_dagster(instance, keys))


def materializations_by_dagster(instance: dg.DagsterInstance) -> Iterator[tuple[str, Version]]:
    for record in instance.get_asset_records():
        latest = record.asset_entry.last_materialization_record
        tags = (latest.asset_materialization.tags or {}) if latest else {}
        if DATA_VERSION_TAG in tags:
            name = asset_name(record.asset_entry.asset_key)
            yield name, Version(tags[DATA_VERSION_TAG], latest.run_id, latest.storage_id)


def observations_by_dagster(instance: dg.DagsterInstance, keys: list[dg.AssetKey]) -> Iterator[tuple[str, Version]]:
    for key in keys:
        for latest in instance.fetch_observations(key, limit=1).records:
            tags = latest.asset_observation.tags
            if DATA_VERSION_TAG in tags:
                yield asset_name(key), Version(tags[DATA_VERSION_TAG], latest.run_id, latest.storage_id)


CHECKS = (
    BUILDS_CHECK,
    "parity",
    "accuracy",
    "latency",
    "resources",
    "no_leakage",
    "classes_in_every_split",
    "boxes_sane",
)


def evaluations_by_dagster(
    instance: dg.DagsterInstance, keys: list[dg.AssetKey]
) -> Iterator[tuple[tuple[str, str], tuple[bool, str, dict[str, Any]]]]:
    wanted = [dg.AssetCheckKey(key, check) for key in keys for check in CHECKS]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(wanted)
    for key, row in latest.items():
        evaluation = row.event.asset_check_evaluation if row.event else None
        if evaluation is not None:
            values = {name: getattr(value, "value", None) for name, value in evaluation.metadata.items()}
            yield (asset_name(key.asset_key), key.name), (evaluation.passed, row.run_id, values)


def test_the_latest_of_two_materializations_counts(instance):
    deep = "sidewalk_detector/engine/cpu"
    for text in ("a1", "a2"):
        run(instance, asset(deep, lambda text=text: version(text)), asset("b", lambda text=text: version("same")))
    assert latest_versions(instance, MATERIALIZATION)[deep].data_version == "a2"
    assert_agreement(instance)


def test_the_checks_of_a_step_have_their_metadata(instance):
    metadata = {
        "state": "f" * 32,
        "duration_s": 1.5,
        "tries": 3,
        "is_dirty": True,
        "nothing": None,
        "facts": dg.MetadataValue.json({"map50": 0.8, "nested": [1, {"deep": None}]}),
        "unicode": 'größer ≥ ☃ "quoted"',
    }
    passed = dg.AssetCheckResult(check_name="parity", passed=True, metadata=metadata)
    failed = dg.AssetCheckResult(check_name="accuracy", passed=False, description="3 points lost")
    run(instance, asset("checked", lambda: version("c1", passed, failed), "parity", "accuracy"))
    found = latest_evaluations(instance)
    assert found["checked", "parity"].metadata["facts"] == {"map50": 0.8, "nested": [1, {"deep": None}]}
    assert not found["checked", "accuracy"].passed
    assert latest_evaluations(instance, of_checks=["parity"]) == {
        at: one for at, one in found.items() if at[1] == "parity"
    }
    assert_agreement(instance)


def test_observations_are_read_like_materializations(instance):
    @dg.op
    def look(context):
        context.log_event(dg.AssetObservation(asset_key("seen"), tags={DATA_VERSION_TAG: "o1"}))

    @dg.job
    def look_once() -> None:
        look()

    look_once.execute_in_process(instance=instance, run_config=QUIET)
    assert latest_versions(instance, OBSERVATION)["seen"].data_version == "o1"
    for text in ("o2", "o3"):
        report(instance, dg.AssetObservation(asset_key("seen"), tags={DATA_VERSION_TAG: text}))
    report(instance, dg.AssetObservation(asset_key("looked/at"), metadata={"without": "a version"}))
    assert latest_versions(instance, OBSERVATION)["seen"].data_version == "o3"
    assert_agreement(instance)


def test_reported_events_count(instance):
    run(instance, asset("reported", lambda: version("r1")))
    report(instance, dg.AssetMaterialization(asset_key("reported"), tags={DATA_VERSION_TAG: "r2"}))
    assert latest_versions(instance, MATERIALIZATION)["reported"].data_version == "r2"
    assert_agreement(instance)
    report(instance, dg.AssetMaterialization(asset_key("reported"), description="of no version"))
    assert "reported" not in latest_versions(instance, MATERIALIZATION)
    assert_agreement(instance)


def test_checks_evaluated_outside_of_runs_count(instance):
    run(instance, asset("judged", lambda: version("j1", dg.AssetCheckResult(passed=True)), "parity"))
    for passed in (True, False):
        report(instance, dg.AssetCheckEvaluation(asset_key("judged"), "parity", passed, metadata={"state": "s"}))
    assert not latest_evaluations(instance)["judged", "parity"].passed
    assert_agreement(instance)


def test_a_wiped_asset_has_nothing(instance):
    name = "wiped/engine"
    run(instance, asset(name, lambda: version("w1", dg.AssetCheckResult(passed=True)), "parity"))
    report(instance, dg.AssetObservation(asset_key(name), tags={DATA_VERSION_TAG: "w1"}))
    instance.wipe_assets([asset_key(name)])
    assert name not in latest_versions(instance, MATERIALIZATION)
    assert name not in latest_versions(instance, OBSERVATION)
    assert (name, "parity") not in latest_evaluations(instance)
    assert not events_of_version(instance, name, "w1", MATERIALIZATION)
    assert (name, "w1") not in versions_with_prefix(instance, "w")
    assert_agreement(instance)


@pytest.mark.parametrize("again", ["w2", None])
def test_a_rebuilt_wiped_asset_has_only_the_new_version(instance, again):
    """SQLite reuses the id of the wiped event, and keeps its tag."""
    name = f"wiped/again/{again}"
    report(instance, dg.AssetMaterialization(asset_key(name), tags={DATA_VERSION_TAG: "w1"}))
    report(instance, dg.AssetObservation(asset_key(name), tags={DATA_VERSION_TAG: "w1"}))
    instance.wipe_assets([asset_key(name)])
    tags = {DATA_VERSION_TAG: again} if again else None
    report(instance, dg.AssetMaterialization(asset_key(name), tags=tags))
    found = latest_versions(instance, MATERIALIZATION).get(name)
    assert (found.data_version if found else None) == again
    assert name not in latest_versions(instance, OBSERVATION)
    assert not events_of_version(instance, name, "w1", MATERIALIZATION)
    assert len(events_of_version(instance, name, str(again), MATERIALIZATION)) == (1 if again else 0)
    assert_agreement(instance)


def test_the_version_of_a_wiped_asset_does_not_pass_to_another(instance):
    """On SQLite the event of the other asset gets the id that the tag of the wiped one still has."""
    report(instance, dg.AssetMaterialization(asset_key("wiped/giver"), tags={DATA_VERSION_TAG: "g1"}))
    instance.wipe_assets([asset_key("wiped/giver")])
    report(instance, dg.AssetMaterialization(asset_key("taker"), description="of no version"))
    assert "taker" not in latest_versions(instance, MATERIALIZATION)
    assert versions_with_prefix(instance, "g1") == []
    assert_agreement(instance)


def test_a_wiped_asset_that_is_only_observed_has_no_materialization(instance):
    name = "wiped/observed"
    run(instance, asset(name, lambda: version("w1")))
    instance.wipe_assets([asset_key(name)])
    report(instance, dg.AssetObservation(asset_key(name), tags={DATA_VERSION_TAG: "w2"}))
    assert name not in latest_versions(instance, MATERIALIZATION)
    assert latest_versions(instance, OBSERVATION)[name].data_version == "w2"
    assert_agreement(instance)


def test_an_interrupted_run_removes_the_check_result_and_keeps_the_version(instance):
    def interrupted() -> dg.MaterializeResult:
        raise RuntimeError("the power went")

    name = "cut/off"
    good = dg.AssetCheckResult(check_name="parity", passed=True)
    run(instance, asset(name, lambda: version("k1", good), "parity"))
    assert not run(instance, asset(name, interrupted, "parity")).success
    assert latest_versions(instance, MATERIALIZATION)[name].data_version == "k1"
    assert (name, "parity") not in latest_evaluations(instance)
    assert_agreement(instance)


def test_a_materialization_outlives_its_deleted_run(instance):
    name = "pruned"
    checked_in = dg.AssetCheckResult(check_name=BUILDS_CHECK, passed=True, metadata={"state": "s"})
    first = run(instance, asset(name, lambda: version("p1", checked_in), BUILDS_CHECK))
    last = run(instance, asset(name, lambda: version("p2", checked_in), BUILDS_CHECK))
    instance.delete_run(last.run_id)
    made = latest_materializations(instance)[name]
    assert made.version.data_version == "p2"
    assert made.builds_check.run_id == last.run_id
    assert_agreement(instance)
    instance.delete_run(first.run_id)
    assert latest_versions(instance, MATERIALIZATION)[name].data_version == "p2"
    assert_agreement(instance)


def test_the_builds_check_is_that_of_the_same_run(instance):
    """Two concurrent runs materialize one asset: the one that began first ends last."""
    name = "made/twice"

    def checked_in(text: str) -> dg.MaterializeResult:
        return version(text, dg.AssetCheckResult(passed=True, metadata={"data_version": text}))

    def outer() -> dg.MaterializeResult:
        run(instance, asset(name, lambda: checked_in("inner"), BUILDS_CHECK))
        return checked_in("outer")

    ended_last = run(instance, asset(name, outer, BUILDS_CHECK))
    made = latest_materializations(instance)[name]
    assert made.version.data_version == "outer"
    assert made.builds_check.metadata == {"data_version": "outer"}
    assert made.builds_check.run_id == ended_last.run_id
    assert_agreement(instance)


def test_a_version_is_found_by_its_prefix(instance):
    for name, text in (("found/a", "abc1"), ("found/b", "abc2"), ("found/a", "abc1")):
        report(instance, dg.AssetMaterialization(asset_key(name), tags={DATA_VERSION_TAG: text}))
    assert versions_with_prefix(instance, "abc") == [("found/a", "abc1"), ("found/b", "abc2")]


@contextlib.contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that any engine executes."""
    seen: list[str] = []

    def listen(connection, cursor, statement, parameters, context, executemany):
        seen.append(statement)

    sql.event.listen(sql.Engine, "before_cursor_execute", listen)
    try:
        yield seen
    finally:
        sql.event.remove(sql.Engine, "before_cursor_execute", listen)


def test_a_reader_runs_as_many_queries_for_fifty_assets_as_for_five(instance):
    readers = {
        "materializations": lambda: latest_materializations(instance),
        "observations": lambda: latest_versions(instance, OBSERVATION),
        "evaluations": lambda: latest_evaluations(instance),
    }
    counts: dict[str, list[int]] = {name: [] for name in readers}
    for wanted in (5, 50):
        for number in range(wanted):
            key = asset_key(f"many/{number}")
            report(instance, dg.AssetMaterialization(key, tags={DATA_VERSION_TAG: str(number)}))
            report(instance, dg.AssetObservation(key, tags={DATA_VERSION_TAG: str(number)}))
            report(instance, dg.AssetCheckEvaluation(key, BUILDS_CHECK, True))
        for name, reader in readers.items():
            with statements() as seen:
                found = reader()
            assert len([one for one in found if "many/" in str(one)]) == wanted
            counts[name].append(len(seen))
    assert all(few == many for few, many in counts.values()), counts
    assert counts["observations"] == counts["evaluations"] == [1, 1]
    assert_agreement(instance)


def test_the_status_runs_as_many_queries_for_fifty_assets_as_for_eight(instance, tmp_path):
    counts = {}
    for models in (1, 7):
        project = new_project(tmp_path / str(models), models, targets=1)
        HistoryWriter(project, instance).write_round()
        with statements() as seen:
            found = read(project, instance).found
        assert all(status.is_fresh for status in found.values())
        counts[len(found)] = len(seen)
    assert list(counts) == [8, 50]
    assert counts[8] == counts[50]
    assert_agreement(instance)
