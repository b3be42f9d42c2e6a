"""Compares our staleness with Dagster's, on the same instance with the same real materializations.

Dagster has MISSING, STALE and FRESH. Where it has the same information, its answer is the same: after random histories
of changed code, parameters, inputs and observations, of undone changes, and of rebuilds to the same or to other bytes.
In these cases, each with a test of its own below, the answers differ:

=====================================================  =======  ===========  =========================================
what happened                                          Dagster  we           because
=====================================================  =======  ===========  =========================================
only an ancestor is stale                              FRESH    BEHIND       Dagster checks direct inputs only
an observed asset was never observed                   FRESH    MISSING      Dagster assumes a version
the bytes are not in the store                         FRESH    STALE        Dagster does not store them
a gate has not run, or has a new budget                FRESH    GATE_DUE     its stale status ignores checks
a gate failed                                          FRESH    GATE_FAILED  the same
a gate of an input failed                              FRESH    BEHIND       the same
the definitions have newer code than the run           FRESH    STALE        Dagster records the definitions' version,
                                                                             we that of the run (dagster issue 33708)
a run was killed before its `builds` check             FRESH    STALE        only that check shows that it ended
a materialization that no build made was reported      FRESH    STALE        its inputs are unknown
a pointer was observed only after a build used it      STALE    FRESH        Dagster records the last observation, we
                                                                             the version that was opened
=====================================================  =======  ===========  =========================================

Dagster's ``code_version_changed()`` also differs: it is an edge, true in one evaluation whether or not anything was
rebuilt; staleness is a level.
"""

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from hypothesis import HealthCheck, Phase, given, settings

from dagster_project.instance.reader import STATE_KEY, latest_builds
from dagster_project.keys import asset_key
from dagster_project.observing.asset import observed_asset
from dagster_project.producing.asset import produced_asset
from dagster_project.producing.stage_runner import StageRun, StageRunner
from robot_assets.core.page import Facts, Page
from robot_assets.lineage.code import running_code
from robot_assets.lineage.graph import AssetTraits, Gate, Stage
from robot_assets.lineage.staleness import Built, State, gate_state, statuses
from robot_assets.pipeline.kind import Production, StageKind, Step
from robot_assets.pipeline.kinds import raw
from robot_assets.pipeline.names import AssetName, NamePattern
from robot_assets.pipeline.project import Project
from tests.lineage.worlds import (
    ENTRIES,
    VERSIONS,
    Build,
    FirstLook,
    Observe,
    SetEntry,
    SetInputs,
    SetParams,
    World,
    histories,
    started,
)

IN_DAGSTER = {
    State.FRESH: StaleStatus.FRESH,
    State.MISSING: StaleStatus.MISSING,
    State.STALE: StaleStatus.STALE,
    State.BEHIND: StaleStatus.FRESH,
}
PARAMS = """
store: {url: .robot_assets/store}
datasets:
  yard:
    source: {kind: dvc, pointer: data/raw/yard.dvc}
    classes: [cone]
    split: {train: 0.6, val: 0.2, test: 0.2}
    calibration_images: 8
models: {}
targets: {}
"""
# A history needs real runs, so shrinking it takes minutes.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
RAW, FIRST, SECOND, LAST = "toy/raw", "toy/first", "toy/second", "toy/last"
CHAIN = {
    stage.asset: stage
    for stage in (
        Stage(RAW, "raw"),
        Stage(FIRST, "toy", (ENTRIES[0],), {"epochs": 1}, (RAW,)),
        Stage(SECOND, "toy", (ENTRIES[0],), {"epochs": 1}, (FIRST,)),
        Stage(LAST, "toy", (ENTRIES[0],), {"epochs": 1}, (SECOND,)),
    )
}


def toy_name(stage: Stage) -> AssetName:
    return AssetName(stage.asset)


def toy_observed(stage: Stage) -> dg.SourceAsset | dg.AssetsDefinition:
    with warnings.catch_warnings():
        # Observable source assets are marked beta in the pinned version.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return observed_asset(stage, raw.KIND, toy_name(stage), {})


@dataclass
class Plant:
    """A project on disk, an instance, and the assets of a graph, which write given bytes."""

    project: Project
    instance: dg.DagsterInstance
    graph: Mapping[str, Stage]
    contents: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, bool] = field(default_factory=dict)
    before_it_ends: Callable[[], object] = lambda: None

    @property
    def definitions(self) -> dg.Definitions:
        stages = list(self.graph.values())
        return dg.Definitions(
            assets=[
                toy_observed(stage) if stage.is_observed else produced_asset(stage, self.kind, toy_name(stage), {})
                for stage in stages
            ],
            asset_checks=[self._check(stage, gate) for stage in stages for gate in stage.gates],
            resources={"stage_runner": StageRunner(root=str(self.project.root))},
        )

    def see(self, name: str, version: str) -> None:
        """Record an observation of an observed asset."""
        tags = {"dagster/data_version": self.stored(version)}
        self.instance.report_runless_asset_event(dg.AssetObservation(asset_key(name), tags=tags))

    def build(self, *names: str, definitions: dg.Definitions | None = None, **contents: str) -> None:
        """Materialize some assets in one real run; ``contents`` by the last part of their names."""
        self.contents.update(contents)
        self._run(definitions or self.definitions, dg.AssetSelection.assets(*map(asset_key, names)))

    def judge(self, name: str) -> None:
        """Run only the gates of an asset; a blocking gate that fails ends its run with an error."""
        checks = [dg.AssetCheckKey(asset_key(name), gate.name) for gate in self.graph[name].gates]
        refused = pytest.raises(dg.DagsterError, match="blocking asset check")
        with nullcontext() if all(self.verdicts.values()) else refused:
            self._run(self.definitions, dg.AssetSelection.checks(*checks))

    def _run(self, definitions: dg.Definitions, selection: dg.AssetSelection) -> None:
        dg.materialize(
            [*(definitions.assets or []), *(definitions.asset_checks or [])],
            selection=selection,
            instance=self.instance,
            resources=definitions.resources,
            run_config=QUIET,
        )

    def ours(self) -> dict[str, State]:
        built = latest_builds(self.instance, self.graph, self.project.store)
        return {name: status.state for name, status in statuses(self.graph, built, running_code()).items()}

    def dagsters(self) -> dict[str, StaleStatus]:
        graph = self.definitions.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))
        return {name: resolver.get_status(asset_key(name)) for name in self.graph}

    def both(self, name: str) -> tuple[str, str]:
        """The status of one asset according to Dagster and to us."""
        return self.dagsters()[name].value, self.ours()[name].name

    def stored(self, text: str) -> str:
        folder = self.project.root / "bytes" / text
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "content").write_text(text)
        return self.project.store.add(folder).digest

    def edit(self, name: str, **changed: object) -> None:
        self.graph = {**self.graph, name: replace(self.graph[name], **changed)}

    @property
    def kind(self) -> StageKind:
        """A stage kind whose stages write given bytes."""
        return StageKind("toy", NamePattern("toy/{target}"), "toy", AssetTraits(), lambda params: (), self.production)

    @property
    def production(self) -> Production:
        return Production("A toy.", "auto", (), self._run_step, lambda made: Facts("made"), lambda step, made: Page())

    def _run_step(self, step: Step) -> None:
        shutil.copytree(self.project.store.open(self.stored(self._content(step.stage.asset))), step.output)
        self.before_it_ends()

    def made(self, run: StageRun) -> dg.MaterializeResult:
        """The result of an asset of another definition that works like one of ours."""
        self._run_step(run.step)
        return run.materialized(self.production, None)

    def _content(self, name: str) -> str:
        return self.contents.get(name.rpartition("/")[2], VERSIONS[0])

    def _check(self, stage: Stage, gate: Gate) -> dg.AssetChecksDefinition:
        """As ``producing/gates.py``, with a given verdict."""

        @dg.asset_check(asset=asset_key(stage.asset), name=gate.name, blocking=True)
        def check(context: dg.AssetCheckExecutionContext, stage_runner: StageRunner) -> dg.AssetCheckResult:
            built = {stage.asset: Built(stage_runner.version(context.instance, stage.asset))}
            state = gate_state(stage.asset, gate, built, running_code())
            return dg.AssetCheckResult(passed=self.verdicts.get(gate.name, True), metadata={STATE_KEY: state})

        return check


@contextmanager
def plant_of(graph: Mapping[str, Stage]) -> Iterator[Plant]:
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
        root = Path(folder)
        (root / "params.yaml").write_text(PARAMS)
        yield Plant(Project(root), instance, graph)


@pytest.fixture
def plant() -> Iterator[Plant]:
    """The chain, observed and built."""
    with plant_of(CHAIN) as plant:
        plant.see(RAW, "one")
        plant.build(FIRST, SECOND, LAST)
        yield plant


@given(histories(gates=False, code=False, losses=False, unseen=False, most=5))
@settings(max_examples=8, deadline=None, phases=WITHOUT_SHRINKING, suppress_health_check=list(HealthCheck))
def test_dagster_agrees_after_every_event_of_a_random_history(history):
    start, told = history
    world = started(start.graph)
    with plant_of(start.graph) as plant:
        for name in world.seen:
            plant.see(name, VERSIONS[0])
        if start.made:
            plant.build(*start.made)
        world = start
        assert_agreement(plant, world)
        for event in told:
            replay(plant, event)
            world = world.after(event)
            assert_agreement(plant, world)


def replay(plant: Plant, event: object) -> None:
    match event:
        case Build(asset, version):
            plant.build(asset, **{asset.rpartition("/")[2]: version})
        case Observe(asset, version):
            plant.see(asset, version)
        case FirstLook(asset):
            plant.see(asset, VERSIONS[0])
        case SetEntry(asset, entry):
            plant.edit(asset, code=(entry,))
        case SetParams(asset, params):
            plant.edit(asset, params=params)
        case SetInputs(asset, inputs):
            plant.edit(asset, inputs=inputs)
        case _:
            raise AssertionError(f"{event} cannot be replayed")


def assert_agreement(plant: Plant, world: World) -> None:
    ours = plant.ours()
    assert ours == {name: status.state for name, status in world.found.items()}
    assert plant.dagsters() == {name: IN_DAGSTER[state] for name, state in ours.items()}


def test_a_code_change_during_a_run_makes_its_assets_stale_for_both(plant):
    plant.before_it_ends = lambda: plant.edit(FIRST, params={"epochs": 2})
    plant.build(FIRST)
    assert plant.both(FIRST) == ("STALE", "STALE")


def test_an_input_rebuilt_during_a_run_makes_its_assets_stale_for_both(plant):
    def rebuild_the_input() -> None:
        plant.before_it_ends = lambda: None
        plant.build(FIRST, first="two")

    plant.before_it_ends = rebuild_the_input
    plant.build(SECOND)
    assert plant.both(SECOND) == ("STALE", "STALE")


def test_a_restored_input_version_is_no_change_for_both(plant):
    plant.see(RAW, "two")
    assert plant.both(FIRST) == ("STALE", "STALE")
    plant.see(RAW, "one")
    assert plant.both(FIRST) == ("FRESH", "FRESH")
    plant.build(FIRST, first="two")
    assert plant.both(SECOND) == ("STALE", "STALE")
    plant.build(FIRST, first="one")
    assert plant.both(SECOND) == ("FRESH", "FRESH")


@pytest.mark.parametrize("inputs", [(), (FIRST, RAW), (RAW,)])
def test_an_input_added_removed_or_replaced_counts_for_both(plant, inputs):
    plant.edit(SECOND, inputs=inputs)
    assert plant.both(SECOND) == ("STALE", "STALE")


def test_an_added_input_that_was_never_built_counts_for_both(plant):
    new = Stage("toy/new", "toy", (ENTRIES[0],))
    plant.graph = {new.asset: new, **plant.graph}
    plant.edit(SECOND, inputs=(FIRST, new.asset))
    assert plant.both(new.asset) == ("MISSING", "MISSING")
    assert plant.both(SECOND) == ("STALE", "STALE")


def test_an_input_whose_history_was_wiped_counts_for_both(plant):
    plant.instance.wipe_assets([asset_key(FIRST)])
    assert plant.both(FIRST) == ("MISSING", "MISSING")
    assert plant.both(SECOND) == ("STALE", "STALE")


def test_a_failed_run_changes_nothing_for_both(plant):
    plant.edit(FIRST, params={"epochs": 2})
    plant.before_it_ends = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        plant.build(FIRST)
    assert plant.both(FIRST) == ("STALE", "STALE")
    plant.edit(FIRST, params={"epochs": 1})
    assert plant.both(FIRST) == ("FRESH", "FRESH")


def test_dagster_reports_assets_behind_as_fresh(plant):
    plant.see(RAW, "two")
    assert plant.both(FIRST) == ("STALE", "STALE")
    assert plant.both(SECOND) == plant.both(LAST) == ("FRESH", "BEHIND")


def test_dagster_assumes_a_version_before_the_first_observation():
    with plant_of(CHAIN) as plant:
        assert plant.both(RAW) == ("FRESH", "MISSING")
        assert plant.both(FIRST) == ("MISSING", "MISSING")


def test_dagster_does_not_detect_lost_bytes(plant):
    plant.build(SECOND, second="two")
    digest = plant.stored("two")
    for path in plant.project.store.cache.rglob(digest[2:]):
        path.unlink()
    assert not plant.project.store.has(digest)
    assert plant.both(SECOND) == ("FRESH", "STALE")


def test_dagsters_stale_status_ignores_gates(plant):
    gate = Gate("size", "It is small.", (ENTRIES[0],), {"size_max": 1})
    plant.edit(SECOND, gates=(gate,))
    assert plant.both(SECOND) == ("FRESH", "GATE_DUE")
    plant.verdicts["size"] = False
    plant.judge(SECOND)
    assert plant.both(SECOND) == ("FRESH", "GATE_FAILED")
    assert plant.both(LAST) == ("FRESH", "BEHIND")
    plant.edit(SECOND, gates=(replace(gate, params={"size_max": 2}),))
    assert plant.both(SECOND) == ("FRESH", "GATE_DUE")
    plant.verdicts["size"] = True
    plant.judge(SECOND)
    assert plant.both(SECOND) == plant.both(LAST) == ("FRESH", "FRESH")


def test_dagster_records_the_code_version_of_the_definitions_not_of_the_run(plant):
    """A long-lived process reloads its definitions with a new code version, and has the old code in memory."""
    old = plant.graph[FIRST]
    plant.edit(FIRST, params={"epochs": 2})
    newer = running_code().version(ENTRIES[0], {"epochs": 2})

    @dg.asset(key=asset_key(FIRST), deps=[asset_key(RAW)], code_version=newer, check_specs=_builds(FIRST))
    def stamped(context: dg.AssetExecutionContext, stage_runner: StageRunner) -> dg.MaterializeResult:
        with stage_runner.step(context, old, toy_name(old)) as run:
            return plant.made(run)

    stage_runner = plant.definitions.resources
    plant.build(FIRST, definitions=dg.Definitions([stamped, toy_observed(CHAIN[RAW])], resources=stage_runner))
    assert plant.both(FIRST) == ("FRESH", "STALE")


def _builds(name: str) -> list[dg.AssetCheckSpec]:
    return [dg.AssetCheckSpec("builds", asset=asset_key(name))]


def test_dagster_reports_a_build_killed_before_its_check_as_fresh(plant):
    plant.edit(FIRST, params={"epochs": 2})

    @dg.asset(
        key=asset_key(FIRST),
        deps=[asset_key(RAW)],
        code_version=running_code().version(ENTRIES[0], {"epochs": 2}),
    )
    def killed(context: dg.AssetExecutionContext, stage_runner: StageRunner) -> dg.MaterializeResult:
        stage = plant.graph[FIRST]
        with stage_runner.step(context, stage, toy_name(stage)) as run:
            whole = plant.made(run)
        return dg.MaterializeResult(data_version=whole.data_version, metadata=whole.metadata)

    resources = plant.definitions.resources
    plant.build(FIRST, definitions=dg.Definitions([killed, toy_observed(CHAIN[RAW])], resources=resources))
    assert plant.both(FIRST) == ("FRESH", "STALE")


def test_dagster_reports_a_reported_materialization_as_fresh(plant):
    tags = {"dagster/data_version": plant.stored("two")}
    plant.instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(FIRST), tags=tags))
    assert plant.both(FIRST) == ("FRESH", "STALE")
    assert plant.both(SECOND) == ("STALE", "STALE")


def test_dagster_records_the_last_observed_version_not_the_opened_one():
    graph = {
        "raw/yard": Stage("raw/yard", "raw"),
        FIRST: Stage(FIRST, "toy", (ENTRIES[0],), {}, ("raw/yard",)),
    }
    with plant_of(graph) as plant:
        for version in ("one", "two"):
            pointer = plant.project.root / "data" / "raw" / "yard.dvc"
            pointer.parent.mkdir(parents=True, exist_ok=True)
            entry = {"md5": plant.stored(version), "hash": "md5", "path": "yard"}
            pointer.write_text(json.dumps({"outs": [entry]}))
            if version == "one":
                plant.see("raw/yard", version)
        plant.build(FIRST)
        plant.see("raw/yard", "two")
        assert plant.both(FIRST) == ("STALE", "FRESH")


def test_dagsters_code_version_changed_is_true_in_one_evaluation_only(plant):
    condition = dg.AutomationCondition.code_version_changed()

    def look(epochs: int, cursor: object) -> dg.EvaluateAutomationConditionsResult:
        @dg.asset(
            key=asset_key(FIRST),
            deps=[asset_key(RAW)],
            code_version=running_code().version(ENTRIES[0], {"epochs": epochs}),
            automation_condition=condition,
        )
        def conditioned() -> None: ...

        plant.edit(FIRST, params={"epochs": epochs})
        return dg.evaluate_automation_conditions([conditioned], instance=plant.instance, cursor=cursor)

    with warnings.catch_warnings():
        # Dagster's own, on how the conditions select their assets
        warnings.simplefilter("ignore", dg.BetaWarning)
        first = look(1, None)
        changed = look(2, first.cursor)
        still_changed = look(2, changed.cursor)
    assert [one.total_requested for one in (first, changed, still_changed)] == [0, 1, 0]
    assert plant.both(FIRST) == ("STALE", "STALE")
