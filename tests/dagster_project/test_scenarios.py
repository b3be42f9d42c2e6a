"""Rebuilds through the real daemon: `dagster dev` with its sensors, on a checkout with its own copy of the code.

One daemon serves all scenarios of this module, in order; each begins when everything is fresh and counts what
has been materialized since. Two models: ``first`` on recorded data (a ``.dvc`` pointer) for two targets, of which
``board`` reports its platform itself; ``second`` on simulated data.

Only the processor is simulated: the system reads ``proc/cpuinfo`` of the checkout instead of the machine's, so that a
test can remove a feature.
"""

import copy
import hashlib
import itertools
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.keys import asset_key
from dagster_project.local.instance import write_configuration
from dagster_project.observing.observations import latest_observed_version
from robot_assets.data.simulate import simulate
from robot_assets.data.spec import SimulationSource
from robot_assets.store import open_store, read_pointer, write_pointer
from tests.alter import flip_bit
from tests.dagster_project.conftest import SMALL_PARAMS
from tests.dagster_project.daemon import Daemon, Workplace, copy_code

FIRST = ("first/checkpoint", "first/ptq", "first/qat", "first/onnx", "first/engine/board", "first/engine/cpu")
SECOND = ("second/checkpoint", "second/ptq", "second/qat", "second/onnx", "second/engine/cpu")


def scenario_params() -> dict:
    params = copy.deepcopy(SMALL_PARAMS)
    small = params["datasets"].pop("small")
    model = params["models"].pop("small_detector")
    model["training"]["epochs"] = 1
    params["datasets"] = {
        "yard": {**small, "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"}},
        "small": {**small, "source": {**small["source"], "seed": 5}},
    }
    cpu = params["targets"]["cpu"]
    params["targets"]["board"] = {**cpu, "platform": "reported"}
    params["models"] = {
        "first": {**model, "dataset": "yard", "targets": ["board", "cpu"]},
        "second": {**model, "dataset": "small", "targets": ["cpu"]},
    }
    everything = {kind: "auto" for kind in ("raw", "dataset", "checkpoint", "ptq", "qat", "onnx", "engine")}
    params["rebuild"] = {"policy": everything, "tries": 2, "backoff_s": 1, "interval_s": 1}
    return params


def record(workplace: Workplace, seed: int) -> None:
    """What ``dvc add data/raw/yard`` does after a day on the robots: new bytes in the store, a new pointer."""
    folder = workplace.root / "data" / "raw" / "yard"
    shutil.rmtree(folder, ignore_errors=True)
    source = SimulationSource.model_validate({**SMALL_PARAMS["datasets"]["small"]["source"], "seed": seed})
    simulate(source, folder)
    artifact = open_store(".robot_assets/store", workplace.root).add(folder)
    write_pointer(folder.with_suffix(".dvc"), artifact)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Workplace:
    """Everything built once by the command line; a platform reported by ``board``, which is like this machine."""
    root = tmp_path_factory.mktemp("scenarios") / "workplace"
    root.mkdir()
    copy_code(repository, root)
    shutil.copy(repository / "workspace.yaml", root)
    (root / "proc").mkdir()
    (root / "proc" / "cpuinfo").write_bytes(Path("/proc/cpuinfo").read_bytes())
    (root / "params.yaml").write_text(json.dumps(scenario_params()))
    made = Workplace(root)
    record(made, seed=3)
    write_configuration(root / ".dagster")
    settings = root / ".dagster" / "dagster.yaml"
    settings.write_text(settings.read_text().replace("start_timeout_seconds: 120", "start_timeout_seconds: 40"))
    made.run("robot-assets", "platform", "report", "board")
    made.build()
    return made


@pytest.fixture(scope="module")
def daemon(workplace: Workplace):
    with Daemon(workplace).running() as running:
        running.settle()
        yield running


@pytest.fixture
def since(daemon: Daemon):
    """The materializations since the test began, without needless ones."""
    daemon.settle()
    before = daemon.workplace.versions()
    return lambda: Counter(daemon.workplace.versions()) - before


def once(*names: str) -> Counter[str]:
    return Counter(names)


def test_1_new_data_rebuilds_everything_up_to_the_engines(daemon, since):
    record(daemon.workplace, seed=4)
    daemon.settle()
    assert since() == once("datasets/yard", *FIRST)
    with daemon.workplace.instance() as instance:
        runs = [run for run in instance.get_run_records(limit=7)]
    began = {run.dagster_run.tags["robot_assets/asset"]: run.start_time for run in runs}
    ended = {run.dagster_run.tags["robot_assets/asset"]: run.end_time for run in runs}
    order = ["datasets/yard", "first/checkpoint", "first/qat", "first/onnx", "first/engine/cpu"]
    for before, after in itertools.pairwise(order):
        assert ended[before] <= began[after]
    tags = next(run.dagster_run.tags for run in runs if run.dagster_run.tags["robot_assets/asset"] == "datasets/yard")
    assert tags["robot_assets/because"].startswith("raw/yard changed (")


def test_2_the_same_bytes_stop_the_rebuild(daemon, since):
    daemon.workplace.edit("data/dataset.py", lambda text: text + "\nbuild_dataset.was_edited = True\n")
    daemon.settle()
    assert since() == once("datasets/yard", "datasets/small")


def test_3_a_changed_platform_rebuilds_exactly_its_engines(daemon, since):
    info = daemon.workplace.root / "proc" / "cpuinfo"
    features = info.read_text()
    assert " avx2 " in features
    info.write_text(features.replace(" avx2 ", " "))
    # board reports its platform itself, and has reported no change
    daemon.settle()
    assert since() == once("first/engine/cpu", "second/engine/cpu")
    info.write_text(features)
    daemon.settle()
    assert since() == once("first/engine/cpu", "second/engine/cpu") + once("first/engine/cpu", "second/engine/cpu")


def test_4_a_comment_rebuilds_nothing_and_the_loss_rebuilds_from_the_checkpoint_on(daemon, since):
    daemon.workplace.edit("tasks/detection/loss.py", lambda text: text + "\n# A remark.\n")
    daemon.settle()
    assert since() == Counter()
    daemon.workplace.edit("tasks/detection/loss.py", lambda text: text.replace("(4 / math.pi**2)", "(2 / math.pi**2)"))
    daemon.settle()
    assert since() == once(*FIRST, *SECOND)


def test_5_a_parameter_rebuilds_its_model_only_and_once_despite_a_kill(daemon, since):
    workplace = daemon.workplace

    def slower(params):
        params["models"]["second"]["training"]["learning_rate"] = 0.001

    workplace.change(slower)
    daemon.until(lambda: workplace.unfinished() or None, "a run that is being started")
    daemon.kill()
    daemon.start()
    daemon.until(lambda: started(workplace, "second/qat") or None, "a run in the middle of its work")
    daemon.kill()
    daemon.start()
    daemon.settle()
    assert since() == once(*SECOND)


def test_6_changes_while_the_sensor_is_off_are_built_once(daemon, since):
    workplace = daemon.workplace
    workplace.run("dagster", "sensor", "stop", "stale_assets", "-w", "workspace.yaml")

    def edit(params):
        params["models"]["second"]["quantization"]["ptq"] = {"calibrators": ["mse"]}
        params["targets"]["cpu"]["threads"] = 2

    workplace.change(edit)
    record(workplace, seed=6)
    daemon.until(lambda: observed(workplace) == pointer(workplace) or None, "the new pointer seen")
    record(workplace, seed=4)
    daemon.until(lambda: observed(workplace) == pointer(workplace) or None, "the old pointer seen")
    assert since() == Counter()
    workplace.run("dagster", "sensor", "start", "stale_assets", "-w", "workspace.yaml")
    daemon.settle()
    made = since()
    assert made.pop("second/onnx", 1) == 1
    assert made == once("second/ptq", "second/qat", "first/engine/cpu", "second/engine/cpu")


def test_7_a_failing_build_has_a_limit_of_attempts_until_it_is_fixed(daemon, since):
    workplace = daemon.workplace
    broken = "    card, model = read_export(onnx)\n"
    workplace.edit("engines/onnxruntime/build.py", lambda text: text.replace(broken, f"    raise OSError\n{broken}"))
    engines = ("first/engine/board", "first/engine/cpu", "second/engine/cpu")
    daemon.settle("left alone after 2 failed attempts: " + ", ".join(engines))
    failed = failures(workplace, engines)
    assert failed == {name: 2 for name in engines}
    assert since() == Counter()
    daemon.settle("left alone after 2 failed attempts")
    assert failures(workplace, engines) == failed
    for name in engines:
        word = latest_evaluation(workplace, name, "builds")
        assert not word.passed
        assert "2 attempts failed" in (word.description or "")
    workplace.edit("engines/onnxruntime/build.py", lambda text: text.replace("    raise OSError\n", "    repr(out)\n"))
    daemon.settle()
    assert since() == once(*engines)


def test_8_an_engine_altered_by_one_byte_is_reported(daemon, since):
    workplace, engine = daemon.workplace, "second/engine/cpu"
    assert judged_intact(workplace, engine).metadata["facts"].value["altered"] == []
    workplace.run("robot-assets", "engine", "get", engine, "--out", "robot")
    workplace.run("robot-assets", "verify", "robot")
    got = workplace.root / "robot" / "engine.onnx"
    md5 = hashlib.md5(got.read_bytes(), usedforsecurity=False).hexdigest()
    stored = workplace.root / ".robot_assets" / "store" / "files" / "md5" / md5[:2] / md5[2:]
    for path in (got, stored):
        flip_bit(path)
    refused = workplace.run("robot-assets", "verify", "robot", check=False)
    assert refused.returncode == 1
    assert "engine.onnx was altered" in refused.stdout
    judged = judged_intact(workplace, engine)
    assert not judged.passed
    assert judged.severity is dg.AssetCheckSeverity.ERROR
    assert judged.metadata["facts"].value["altered"] == [f"engine.onnx of {engine} at {stored}"]


def judged_intact(workplace: Workplace, engine: str) -> dg.AssetCheckEvaluation:
    """Run the check `lineage_intact` of an engine, as a click in the UI does, and give its answer."""
    key = asset_key(engine).path
    code = (
        "import dagster as dg; from dagster_project.definitions import defs\n"
        f"check = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey({key!r}), 'lineage_intact'))\n"
        "dg.materialize([*defs.assets, *defs.asset_checks], selection=check, resources=defs.resources,\n"
        "               instance=dg.DagsterInstance.get())"
    )
    workplace.run(sys.executable, "-c", code)
    return latest_evaluation(workplace, engine, "lineage_intact")


def observed(workplace: Workplace) -> str | None:
    with workplace.instance() as instance:
        return latest_observed_version(instance, "raw/yard")


def pointer(workplace: Workplace) -> str:
    return read_pointer(workplace.root / "data" / "raw" / "yard.dvc").digest


def runs_of(workplace: Workplace, asset: str) -> list[dg.DagsterRun]:
    with workplace.instance() as instance:
        return list(instance.get_runs(filters=dg.RunsFilter(tags={"robot_assets/asset": asset})))


def failures(workplace: Workplace, assets: tuple[str, ...]) -> dict[str, int]:
    return {name: sum(run.status is dg.DagsterRunStatus.FAILURE for run in runs_of(workplace, name)) for name in assets}


def started(workplace: Workplace, asset: str) -> list[dg.DagsterRun]:
    return [run for run in runs_of(workplace, asset) if run.status is dg.DagsterRunStatus.STARTED]


def latest_evaluation(workplace: Workplace, asset: str, check: str) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(asset_key(asset), check)
    with workplace.instance() as instance:
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert latest.event is not None
    evaluation = latest.event.asset_check_evaluation
    assert evaluation is not None
    return evaluation
