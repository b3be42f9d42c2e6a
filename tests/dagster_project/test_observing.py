"""``data_pointers`` and ``platforms`` record changed versions, and nothing else."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.instance.history import InstanceHistory
from dagster_project.keys import asset_key
from dagster_project.observing.sensor import ObservationFailed, observing_sensors
from robot_assets.core.errors import PlatformError
from robot_assets.pipeline.kinds.platform import require_this_device
from robot_assets.pipeline.observing import observed_version, reports_itself
from robot_assets.pipeline.project import Project
from robot_assets.platforms.probe import probe
from robot_assets.store import write_pointer

CPU = "processor : 0\nflags : fpu avx2 {}\n"


def recorded(name: str) -> dict:
    return {
        "source": {"kind": "dvc", "pointer": f"data/raw/{name}.dvc"},
        "classes": ["person"],
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
    }


class World:
    """A project, an instance, and the sensors of a code location that was loaded when the project was made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        target = {"kind": "onnxruntime", "gate": {"latency_ms_p95_max": 40}}
        self.write_params(
            {
                "store": {"url": ".robot_assets/store"},
                "datasets": {"yard": recorded("yard"), "field": recorded("field")},
                "models": {},
                "targets": {"cpu": target, "orin": {**target, "platform": "reported"}},
                "rebuild": {"interval_s": 45},
            }
        )
        self.sensors = {sensor.name: sensor for sensor in observing_sensors(root)}
        (root / ".dagster").mkdir()
        self.instance = dg.DagsterInstance.from_config(str(root / ".dagster"))

    @property
    def project(self) -> Project:
        return Project(self.root)

    def write_params(self, document: dict) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))

    def change(self, edit: Callable[[dict], None]) -> None:
        document = yaml.safe_load((self.root / "params.yaml").read_text())
        edit(document)
        self.write_params(document)

    def add(self, name: str, text: str) -> str:
        """Record data as `robot-assets data import` does: its folder, the store, the pointer."""
        folder = self.root / "data/raw" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "frame.txt").write_text(text)
        artifact = self.project.store.add(folder)
        write_pointer(folder.with_suffix(".dvc"), artifact)
        return artifact.digest

    def tick(self, sensor: str) -> str:
        """One tick as in the daemon: records the events and returns the message."""
        context = dg.build_sensor_context(instance=self.instance)
        result = self.sensors[sensor].evaluate_tick(context)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        assert not result.run_requests
        return result.skip_message

    def observations(self, name: str) -> list[dg.AssetObservation]:
        records = self.instance.fetch_observations(asset_key(name), limit=10).records
        return [record.asset_observation for record in records]

    def versions(self, name: str) -> list[str]:
        return [observation.tags["dagster/data_version"] for observation in self.observations(name)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    procfs = tmp_path / "proc"
    procfs.mkdir()
    (procfs / "cpuinfo").write_text(CPU.format("avx512_vnni"))
    monkeypatch.setenv("ROBOT_ASSETS_PROC", str(procfs))
    root = tmp_path / "project"
    root.mkdir()
    return World(root)


def test_all_are_on_by_default_described_and_have_the_interval_of_params(world):
    intervals = {name: sensor.minimum_interval_seconds for name, sensor in world.sensors.items()}
    pointers = dict.fromkeys(("data_pointers", "onnx_pointers", "weights_pointers"), 45)
    assert intervals == {**pointers, "platforms": 22, "fleet_reports": 22}
    for sensor in world.sensors.values():
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert "observation" in sensor.description


# data_pointers


def test_a_pointer_is_recorded_only_when_it_changes(world):
    first = {name: world.add(name, "one") for name in ("yard", "field")}
    assert world.tick("data_pointers") == (
        f"recorded raw/yard: first version {first['yard'][:8]} (data/raw/yard.dvc); "
        f"raw/field: first version {first['field'][:8]} (data/raw/field.dvc)"
    )
    assert world.tick("data_pointers") == "2 data pointers unchanged: raw/yard, raw/field"
    second = world.add("yard", "two")
    assert world.tick("data_pointers") == (
        f"recorded raw/yard: {first['yard'][:8]} -> {second[:8]} (data/raw/yard.dvc)"
        " | 1 data pointer unchanged: raw/field"
    )
    assert world.versions("raw/yard") == [second, first["yard"]]
    assert world.versions("raw/field") == [first["field"]]


def test_an_observation_has_its_location_and_the_previous_version(world):
    first = world.add("yard", "one")
    world.add("field", "one")
    world.tick("data_pointers")
    second = world.add("yard", "two, and longer")
    world.tick("data_pointers")
    latest = world.observations("raw/yard")[0]
    shown = {key: value.value for key, value in latest.metadata.items()}
    assert (shown["seen at"], shown["version"], shown["version before"]) == ("data/raw/yard.dvc", second, first)
    assert shown["changes"] == "- size_bytes: 3 -> 15"
    assert latest.description == f"{first[:8]} -> {second[:8]}, seen at data/raw/yard.dvc"


def test_a_change_that_is_undone_between_two_ticks_is_not_recorded(world):
    world.add("field", "one")
    world.add("yard", "one")
    world.tick("data_pointers")
    world.add("yard", "two")
    world.add("yard", "one")
    assert world.tick("data_pointers").startswith("2 data pointers unchanged")


def test_a_git_push_is_recorded(world, tmp_path):
    world.add("field", "one")
    version = world.add("yard", "one")
    pointer = (world.root / "data/raw/yard.dvc").read_text()
    (world.root / "data/raw/yard.dvc").unlink()
    registry, clone = tmp_path / "registry.git", tmp_path / "clone"
    git("init", "--quiet", "--bare", "-b", "main", str(registry))
    git("init", "--quiet", "-b", "main", str(clone))
    (clone / "yard.dvc").write_text(pointer)
    git("-C", str(clone), "add", ".")
    git("-C", str(clone), "commit", "--quiet", "-m", "data")
    source = {"kind": "dvc", "pointer": "yard.dvc", "repository": registry.as_uri(), "revision": "main"}
    world.change(lambda params: params["datasets"]["yard"].update(source=source))
    assert "error: raw/yard: revision 'main'" in world.tick("data_pointers")
    git("-C", str(clone), "push", "--quiet", str(registry), "main")
    where = f"yard.dvc at main of {registry.as_uri()}"
    assert world.tick("data_pointers").startswith(f"recorded raw/yard: first version {version[:8]} ({where})")
    assert len(world.observations("raw/yard")[0].metadata["commit"].value) == 40


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=Robot", "-c", "user.email=robot@example.com")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_unavailable_data_is_not_recorded_and_the_fix_is_a_command(world):
    world.add("field", "one")
    pointer = world.root / "data/raw/yard.dvc"
    pointer.write_text(f"outs:\n- md5: {'a' * 32}.dir\n  hash: md5\n  path: yard\n")
    message = world.tick("data_pointers")
    assert message.startswith("recorded raw/field: first version ")
    assert "error: raw/yard: data/raw/yard.dvc points at aaaa" in message
    with pytest.raises(ObservationFailed) as caught:
        world.tick("data_pointers")
    assert "fix: robot-assets data import yolo SOURCE --name yard" in str(caught.value)
    assert re.search(r"dvc pull \S*data/raw/yard\.dvc", str(caught.value))
    assert world.versions("raw/yard") == []


def test_all_errors_are_in_one_failed_tick(world):
    with pytest.raises(ObservationFailed) as caught:
        world.tick("data_pointers")
    assert str(caught.value).count("no pointer at") == 2


def test_each_tick_reads_params_yaml_again(world):
    world.add("yard", "one")
    world.change(lambda params: params["datasets"].pop("field"))
    assert "raw/field" not in world.tick("data_pointers")
    world.change(lambda params: params["datasets"].pop("yard"))
    assert world.tick("data_pointers") == "no recorded data sets in params.yaml"
    world.change(lambda params: params.update(stor={}))
    with pytest.raises(ObservationFailed, match="stor: unknown key"):
        world.tick("data_pointers")


def test_a_data_set_that_is_not_in_the_code_location_is_named_and_not_recorded(world):
    for name in ("yard", "field", "park"):
        world.add(name, "one")
    world.change(lambda params: params["datasets"].update(park=recorded("park")))
    message = world.tick("data_pointers")
    assert message.endswith("new in params.yaml; reload the code location to observe it: raw/park")
    assert world.versions("raw/park") == []


def test_an_unexpected_error_of_one_data_set_does_not_hide_the_others(world):
    world.add("yard", "one")
    world.add("field", "one")
    pointer = world.root / "data/raw/yard.dvc"
    pointer.write_text("[" * 5000)  # exceeds the recursion limit of the YAML parser
    message = world.tick("data_pointers")
    assert message.startswith("recorded raw/field")
    assert "error: raw/yard: " in message


# platforms


def test_a_device_is_recorded_only_when_it_changes(world, tmp_path):
    before = probe().fingerprint
    assert world.tick("platforms") == (
        f"recorded platform/cpu: first version {before[:8]} (this machine) | self-reported: platform/orin"
    )
    assert world.tick("platforms") == ("1 platform unchanged: platform/cpu | self-reported: platform/orin")
    (tmp_path / "proc/cpuinfo").write_text(CPU.format("avx_vnni"))
    after = probe().fingerprint
    assert world.tick("platforms").startswith(
        f"recorded platform/cpu: {before[:8]} -> {after[:8]} (cpu_features: avx2, avx512_vnni -> avx2, avx_vnni)"
    )
    assert world.versions("platform/cpu") == [after, before]
    assert world.versions("platform/orin") == []


def test_a_reported_device_has_no_version_here(world):
    assert reports_itself(world.project, "platform/orin")
    assert observed_version(world.project, "platform/orin") is None
    assert not reports_itself(world.project, "platform/cpu")
    assert observed_version(world.project, "platform/cpu") == probe().fingerprint


def test_an_engine_is_refused_on_another_machine_than_its_target(world):
    require_this_device("orin", "reported", probe().fingerprint)
    with pytest.raises(PlatformError) as caught:
        require_this_device("orin", "reported", "f" * 32)
    assert caught.value.found.startswith(f"this machine is {probe().fingerprint[:8]} ({probe().architecture}, ")
    assert "platform/orin was observed as ffffffff" in caught.value.found
    assert caught.value.fix == (
        "run it on the device of orin; if this is that device: robot-assets platform report orin"
    )
    with pytest.raises(PlatformError) as caught:
        require_this_device("cpu", "here", "f" * 32)
    assert "targets.cpu.platform to reported" in caught.value.fix


def test_another_licence_of_the_same_weights_is_recorded(world):
    def weights(licence: str) -> Callable[[dict], None]:
        entry = {"pointer": "data/raw/coco.dvc", "licence": licence, "source": "https://example.com/coco"}
        return lambda document: document.update(weights={"coco": entry})

    version = world.add("coco", "weights")
    world.change(weights("unknown"))
    world.sensors = {sensor.name: sensor for sensor in observing_sensors(world.root)}
    assert world.tick("weights_pointers").startswith(f"recorded weights/coco: first version {version[:8]}")
    assert world.tick("weights_pointers") == "1 weights pointer unchanged: weights/coco"
    world.change(weights("BSD-3-Clause"))
    assert world.tick("weights_pointers").startswith("recorded weights/coco: ")
    declared = InstanceHistory(world.instance).declared("weights/coco", version)
    assert declared == {"licence": "BSD-3-Clause", "source": "https://example.com/coco"}
