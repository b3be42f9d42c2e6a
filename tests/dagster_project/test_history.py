"""The history of a real instance: the build and the gates of a version, and the asset of a hash."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sql

from dagster_project.instance.history import READ_KEY, InstanceHistory
from dagster_project.keys import BUILDS_CHECK, asset_key
from robot_assets.lineage.audit import audit
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.record import Record, desired_state
from robot_assets.pipeline.graph import build_graph, traits
from robot_assets.pipeline.project import Project
from tests.dagster_project.conftest import Checkout, new_checkout
from tests.lineage.past import COMMIT, START, GivenStore, version_of

DATA, ENGINE, DEVICE = "datasets/small", "small_detector/engine/cpu", "platform/cpu"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ONE, OTHER = version_of("one"), version_of("other")


@dataclass
class Plant:
    """Builds trivial assets with real runs of Dagster and the records of real builds."""

    instance: dg.DagsterInstance

    @property
    def history(self) -> InstanceHistory:
        return InstanceHistory(self.instance)

    def run(self, *definitions: Any, selection: dg.AssetSelection | None = None) -> str:
        """Execute assets and checks in one run; a blocking check that does not pass fails its step."""
        result = dg.materialize(
            list(definitions), instance=self.instance, run_config=QUIET, selection=selection, raise_on_error=False
        )
        errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
        assert {error.cls_name for error in errors if error} <= {"DagsterAssetCheckFailedError"}, errors
        return result.run_id

    def build(
        self, name: str, version: str, *checks: Any, metadata: Mapping[str, Any] | None = None, **record: Any
    ) -> str:
        """Materialize ``name`` at ``version`` and evaluate ``checks`` in one run."""

        @dg.asset(key=asset_key(name), check_specs=[dg.AssetCheckSpec(BUILDS_CHECK, asset=asset_key(name))])
        def trivial(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            facts = written(name, version, run_id=context.run.run_id, **record).model_dump(mode="json")
            return dg.MaterializeResult(
                data_version=dg.DataVersion(version),
                metadata={"record": dg.MetadataValue.json(facts)} if metadata is None else metadata,
                check_results=[dg.AssetCheckResult(check_name=BUILDS_CHECK, passed=True)],
            )

        return self.run(trivial, *checks)

    def judge(self, *checks: dg.AssetChecksDefinition) -> str:
        return self.run(*checks, selection=dg.AssetSelection.all_asset_checks())

    def observe(self, name: str, version: str) -> None:
        tags = {"dagster/data_version": version}
        self.instance.report_runless_asset_event(dg.AssetObservation(asset_key(name), tags=tags))

    def report(self, name: str, version: str) -> None:
        """Report a materialization, as in the UI."""
        tags = {"dagster/data_version": version}
        self.instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(name), tags=tags))


def written(name: str, version: str, inputs: Mapping[str, str] | None = None, **changes: Any) -> Record:
    read = dict(inputs or {})
    return Record(
        **{
            "asset": name,
            "data_version": version,
            "code_version": "c" * 32,
            "desired_state": desired_state(name, "c" * 32, read),
            "inputs": read,
            "params": {"threads": 1},
            "git_commit": COMMIT,
            "git_dirty": False,
            "image": None,
            "node": "bench-1",
            "libraries": {"numpy": "2.1"},
            "size_bytes": 10,
            "files": 1,
            "started_at": START.isoformat(timespec="seconds"),
            "duration_s": 1.0,
            "run_id": "run",
        }
        | changes
    )


def gate(
    asset: str,
    name: str = "latency",
    passed: bool = True,
    blocking: bool = True,
    read: Mapping[str, str] | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset_key(asset), name=name, blocking=blocking)
    def check() -> dg.AssetCheckResult:
        meanwhile()
        metadata: dict[str, Any] = {"facts": dg.MetadataValue.json({"p95": 1.5})}
        if read is not None:
            metadata[READ_KEY] = dg.MetadataValue.json(dict(read))
        description = "p95 1.5 ms" if passed else "p95 41 ms\n\nfix: a smaller network"
        return dg.AssetCheckResult(passed=passed, description=description, metadata=metadata)

    return check


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield Plant(instance)


def names(gates: Any) -> list[tuple[str, bool]]:
    return [(one.name, one.passed) for one in gates]


def test_materializations_of_a_version_are_found_newest_first_with_their_records(plant):
    runs = [plant.build(ENGINE, ONE, inputs={DATA: ONE}), plant.build(ENGINE, OTHER), plant.build(ENGINE, ONE)]
    history = plant.history
    found = history.materializations(ENGINE, ONE)
    assert [history.record(ENGINE, one.number).run_id for one in found] == [runs[2], runs[0]]
    assert history.record(ENGINE, found[1].number).inputs == {DATA: ONE}
    assert found[0].ended_at > found[1].ended_at
    assert history.materializations(DATA, ONE) == []
    assert history.latest_version(ENGINE) == ONE
    assert history.assets() == [ENGINE]


def test_a_reported_materialization_has_no_record(plant):
    plant.report(ENGINE, ONE)
    [made] = plant.history.materializations(ENGINE, ONE)
    with pytest.raises(LineageError, match="no build of this system materialized it"):
        plant.history.record(ENGINE, made.number)


def test_the_latest_version_outlives_its_deleted_run_and_older_ones_do_not(plant):
    runs = [plant.build(ENGINE, OTHER), plant.build(ENGINE, ONE)]
    for run in runs:
        plant.instance.delete_run(run)
    [made] = plant.history.materializations(ENGINE, ONE)
    assert plant.history.record(ENGINE, made.number).run_id == runs[1]
    assert plant.history.materializations(ENGINE, OTHER) == []


def test_a_record_of_another_form_is_refused_with_the_field(plant):
    metadata = {"record": dg.MetadataValue.json({"asset": ENGINE})}
    plant.build(ENGINE, ONE, metadata=metadata)
    [made] = plant.history.materializations(ENGINE, ONE)
    with pytest.raises(LineageError, match="data_version: Field required"):
        plant.history.record(ENGINE, made.number)


def test_an_observed_version_is_dated_by_its_first_observation(plant):
    plant.observe(DEVICE, ONE)
    first = plant.history.first_observed(DEVICE, ONE)
    plant.observe(DEVICE, OTHER)
    plant.observe(DEVICE, ONE)
    assert plant.history.first_observed(DEVICE, ONE) == first
    assert first.endswith("+00:00")
    assert plant.history.first_observed(DEVICE, "e" * 32) is None
    assert plant.history.materializations(DEVICE, ONE) == []
    assert plant.history.latest_version(DEVICE) == ONE


def test_only_blocking_checks_on_exactly_this_version_are_its_gates(plant):
    run = plant.build(ENGINE, ONE, gate(ENGINE), gate(ENGINE, "hint", blocking=False))
    plant.build(ENGINE, OTHER)
    [latency] = plant.history.gates(ENGINE, ONE)
    assert (latency.name, latency.passed, latency.summary, latency.run_id) == ("latency", True, "p95 1.5 ms", run)
    assert latency.facts == {"p95": 1.5}
    assert plant.history.gates(ENGINE, OTHER) == []


def test_the_last_evaluation_counts_with_its_summary_without_the_fix(plant):
    plant.build(ENGINE, ONE, gate(ENGINE))
    plant.judge(gate(ENGINE, passed=False))
    [latency] = plant.history.gates(ENGINE, ONE)
    assert not latency.passed
    assert latency.summary == "p95 41 ms"


def test_a_gate_that_ran_on_an_older_materialization_of_the_same_bytes_counts(plant):
    plant.build(ENGINE, ONE, gate(ENGINE))
    plant.build(ENGINE, OTHER, gate(ENGINE, passed=False))
    plant.build(ENGINE, ONE)
    assert names(plant.history.gates(ENGINE, ONE)) == [("latency", True)]
    assert names(plant.history.gates(ENGINE, OTHER)) == [("latency", False)]


def test_a_rebuild_during_a_gate_is_not_the_version_that_the_gate_evaluated(plant):
    plant.build(ENGINE, ONE)
    plant.judge(gate(ENGINE, read={ENGINE: ONE}, meanwhile=lambda: plant.report(ENGINE, OTHER)))
    assert plant.history.gates(ENGINE, OTHER) == []


def test_the_versions_that_a_gate_read_are_among_its_facts(plant):
    plant.build(ENGINE, ONE, gate(ENGINE, read={ENGINE: ONE, DATA: OTHER}))
    [latency] = plant.history.gates(ENGINE, ONE)
    assert latency.facts == {"p95": 1.5, "read": {ENGINE: ONE, DATA: OTHER}}


def test_a_hash_is_found_by_its_prefix_latest_first_without_wildcards(plant):
    plant.build(ENGINE, ONE)
    plant.build(DATA, ONE)
    plant.observe(DEVICE, OTHER)
    assert plant.history.holders(ONE[:8]) == [(DATA, ONE), (ENGINE, ONE)]
    assert plant.history.holders("") == [(DEVICE, OTHER), (DATA, ONE), (ENGINE, ONE)]
    assert plant.history.holders("%") == []
    assert plant.history.holders("_" + ONE[1:]) == []


def test_a_wiped_asset_is_gone_and_later_builds_are_found(plant):
    plant.build(ENGINE, ONE)
    plant.instance.wipe_assets([asset_key(ENGINE)])
    assert plant.history.materializations(ENGINE, ONE) == []
    assert plant.history.holders(ONE) == []
    plant.build(ENGINE, ONE)
    assert len(plant.history.materializations(ENGINE, ONE)) == 1


GRAPH = {
    DATA: Stage(DATA, "dataset", ("robot_assets.data.dataset",)),
    DEVICE: Stage(DEVICE, "platform"),
    ENGINE: Stage(
        ENGINE,
        "engine",
        ("robot_assets.engines.gate",),
        inputs=(DATA, DEVICE),
        gates=(Gate("latency", "It is quick.", ("m",)),),
    ),
}


def test_an_audit_follows_a_real_history(plant):
    plant.observe(DEVICE, OTHER)
    plant.build(DATA, ONE)
    later = {"started_at": "2100-01-01T00:00:00+00:00"}
    plant.build(ENGINE, OTHER, gate(ENGINE), inputs={DATA: ONE, DEVICE: OTHER}, **later)
    chain = audit(ENGINE, OTHER, GRAPH, plant.history, GivenStore(), traits)
    assert chain.head.asset == ENGINE
    assert {link.asset: link.version for link in chain.links} == {ENGINE: OTHER, DATA: ONE, DEVICE: OTHER}
    assert chain.problems == ()


def test_no_query_of_an_audit_reads_through_all_events(plant):
    plant.observe(DEVICE, OTHER)
    plant.build(DATA, ONE)
    plant.build(ENGINE, OTHER, gate(ENGINE), inputs={DATA: ONE, DEVICE: OTHER})
    asked: list[tuple[str, Any]] = []

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    sql.event.listen(sql.Engine, "before_cursor_execute", listen)
    try:
        audit(ENGINE, OTHER, GRAPH, plant.history, GivenStore(), traits)
    finally:
        sql.event.remove(sql.Engine, "before_cursor_execute", listen)
    selects = [(statement, parameters) for statement, parameters in asked if statement.lstrip().startswith("SELECT")]
    assert len(selects) > len(GRAPH)
    plans = []
    with plant.instance.event_log_storage.index_connection() as connection:
        for statement, parameters in selects:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans += [row[3] for row in rows]
    assert not [
        plan for plan in plans if "SCAN" in plan and any(table in plan for table in ("event_logs", "checks", "tags"))
    ]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Checkout:
    """A project with a data set and an engine from it, built from a clean commit; both are in the store."""
    checkout = new_checkout(tmp_path_factory.mktemp("project") / "small", repository)
    home = checkout.root / ".dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    versions = {name: stored(checkout.project, name) for name in (DATA, ENGINE)}
    with checkout.instance() as instance:
        plant = Plant(instance)
        plant.observe(DEVICE, OTHER)
        checks = [gate(DATA, name) for name in ("no_leakage", "classes_in_every_split", "boxes_sane")]
        plant.build(DATA, versions[DATA], *checks)
        later = {"started_at": "2100-01-01T00:00:00+00:00"}
        gates = [gate(ENGINE, one.name) for one in build_graph(checkout.project.params)[ENGINE].gates]
        plant.build(ENGINE, versions[ENGINE], *gates, inputs={DATA: versions[DATA], DEVICE: OTHER}, **later)
    return checkout


def stored(project: Project, name: str) -> str:
    folder = project.root / "made" / name
    folder.mkdir(parents=True)
    (folder / "engine.onnx").write_text(f"the bytes of {name}")
    return project.store.add(folder).digest


def test_the_command_succeeds_for_a_clean_engine_by_name_file_and_hash(checkout):
    version = stored_version(checkout, ENGINE)
    for what in (ENGINE, f"made/{ENGINE}/engine.onnx", version[:8]):
        done = checkout.run("robot-assets", "audit", what)
        assert done.stdout.startswith(f"{ENGINE}  {version}\n✔ complete and clean")


def test_the_command_prints_the_chain_for_a_machine(checkout):
    links = json.loads(checkout.run("robot-assets", "audit", ENGINE, "--format", "json").stdout)["links"]
    assert links[0]["asset"] == ENGINE
    assert links[0]["record"]["inputs"] == {link["asset"]: link["version"] for link in links[1:]}


def test_the_command_writes_one_page(checkout):
    done = checkout.run("robot-assets", "audit", ENGINE, "--format", "html", "--out", "audit.html")
    assert done.stdout == "audit.html: Complete and clean\n"
    assert (checkout.root / "audit.html").read_text().startswith("<!DOCTYPE html>")
    (checkout.root / "pages").mkdir()
    refused = checkout.run("robot-assets", "audit", ENGINE, "--format", "html", "--out", "pages", check=False)
    assert "--out is pages, which is a folder" in refused.stderr
    assert "--out pages/audit.html" in refused.stderr


def test_the_command_prints_the_signed_statements_one_a_line_or_that_there_are_none(checkout):
    done = checkout.run("robot-assets", "audit", DATA, "--format", "intoto", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "has no signed statements" in done.stderr
    checkout.project.store.attest(stored_version(checkout, ENGINE), "provenance", b'{"payload":\n"eA=="}')
    done = checkout.run("robot-assets", "audit", ENGINE, "--format", "intoto")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"payload": "eA=="}]


def test_the_command_fails_for_a_chain_with_problems(checkout):
    done = checkout.run("robot-assets", "audit", DATA[:-1], check=False)
    assert done.returncode == 1
    assert f"did you mean {DATA}" in done.stderr
    altered = checkout.root / "altered"
    altered.mkdir()
    (altered / "engine.onnx").write_text("other bytes")
    done = checkout.run("robot-assets", "audit", "altered/engine.onnx", check=False)
    assert done.returncode == 1
    assert "its md5 is" in done.stderr
    assert checkout.run("robot-assets", "audit", ENGINE, "--format", "pdf", check=False).returncode == 2


def test_the_command_fails_when_the_store_has_lost_an_input(checkout, tmp_path):
    version = stored_version(checkout, DATA)
    listing = checkout.project.store.cache / "files" / "md5" / version[:2] / version[2:]
    listing.rename(tmp_path / "kept")
    try:
        done = checkout.run("robot-assets", "audit", ENGINE, check=False)
    finally:
        (tmp_path / "kept").rename(listing)
    assert done.returncode == 1
    assert "✘ 1 problem in 1 of 3 steps" in done.stdout
    assert "its bytes are no longer in the store" in done.stdout


def stored_version(checkout: Checkout, name: str) -> str:
    return checkout.project.store.digest_of(checkout.root / "made" / name).digest
