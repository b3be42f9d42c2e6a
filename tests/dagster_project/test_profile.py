"""``profile/<target>``: all engines together, measured by the real command on a real instance."""

import json
import re

import pytest

from dagster_project.keys import asset_key
from tests.dagster_project.conftest import Checkout

PROFILE = "profile/cpu"
ENGINE = "small_detector/engine/cpu"
# Two cameras of an engine that takes a millisecond; a shared test machine may still be busy.
TWO_CAMERAS = {
    "models": {"small_detector": {"rate_hz": 20, "sensors": 2}},
    "duration_s": 2,
    "alone_s": 0.5,
    "fit": {"missed_percent_max": 90},
}


@pytest.fixture
def profiled(copy_of_built: Checkout) -> Checkout:
    copy_of_built.change(lambda params: params["targets"]["cpu"].update(profile=TWO_CAMERAS))
    return copy_of_built


def change_profile(checkout: Checkout, **changes) -> None:
    checkout.change(lambda params: params["targets"]["cpu"]["profile"].update(changes))


def measurements(checkout: Checkout) -> list:
    """Newest first."""
    with checkout.instance() as instance:
        records = instance.fetch_materializations(asset_key(PROFILE), limit=10).records
    return [record.asset_materialization for record in records]


def test_a_profile_is_measured_again_only_after_a_change(profiled):
    report = profiled.build()
    assert list(report["built"]) == [PROFILE]
    assert re.match(r"2 engines fit: \d+ of 80 deadlines missed, ", report["assets"][PROFILE]["headline"])
    [measured] = measurements(profiled)
    assert profiled.page(PROFILE)["report"].count("data:image/png;base64,") == 1
    assert "| small_detector 2 |" in profiled.page(PROFILE)["report"]
    assert set(measured.metadata["record"].value["inputs"]) == {ENGINE, "platform/cpu"}
    assert profiled.build()["built"] == {}

    change_profile(profiled, models={"small_detector": {"rate_hz": 25}})
    built = profiled.build()["built"]
    assert list(built) == [PROFILE]
    assert "rate_hz: 20" in built[PROFILE]
    assert len(measurements(profiled)) == 2


def test_a_new_measurement_has_other_bytes_and_makes_nothing_stale(profiled):
    profiled.build(PROFILE)
    select = ["--select", 'key:"profile/cpu"']
    profiled.run("dagster", "asset", "materialize", "-m", "dagster_project.definitions", *select)
    new, old = measurements(profiled)
    assert new.tags["dagster/data_version"] != old.tags["dagster/data_version"]
    assert profiled.build()["built"] == {}


def test_an_exceeded_budget_fails_the_gate_without_a_new_measurement(profiled):
    profiled.build(PROFILE)
    change_profile(profiled, fit={"missed_percent_max": 90, "memory_mib_max": 1})
    planned = json.loads(profiled.run("robot-assets", "plan", "--json", check=False).stdout)["plan"]
    assert list(planned) == [PROFILE]
    assert planned[PROFILE]["policy"] == "auto"
    done = profiled.run("robot-assets", "build", check=False)
    assert done.returncode == 1
    assert "fits" in done.stderr
    assert "(at most 1)" in done.stderr
    assert "memory_mib_max" in done.stderr
    assert len(measurements(profiled)) == 1


def test_the_command_line_profiles_a_target_by_its_name(profiled, tmp_path):
    picture, trace = tmp_path / "together.png", tmp_path / "trace.json"
    options = ["--seconds", "1", "--json", "--out", str(picture), "--trace", str(trace)]
    found = json.loads(profiled.run("robot-assets", "engine", "profile", "cpu", *options).stdout)
    assert [one["name"] for one in found["streams"]] == ["small_detector 1", "small_detector 2"]
    assert found["fits"] is True
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads(trace.read_bytes())["traceEvents"]
    assert measurements(profiled) == []
