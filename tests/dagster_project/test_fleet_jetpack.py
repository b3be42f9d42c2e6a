"""The loop of a cluster and a robot: a JetPack update comes back as a new set, and a new engine is soon on the canary.

The agent is the real one. What the device is, it reads from a folder that stands for ``/proc``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.update import Agent
from robot_assets.fleet.desired import ROOT_FILE
from robot_assets.fleet.reports import State
from robot_assets.platforms.probe import PROC_VARIABLE, probe
from tests.dagster_project.fleet_project import GROUP, FleetProject, fleet_project

ENGINE, RELEASE, ROLLOUT = "floor/engine/cpu", f"release/{GROUP}", f"rollout/{GROUP}"
OTHERS = ("floor/engine/bench", "release/depot", "rollout/depot")


def with_two_targets(params: dict) -> None:
    """The robots of each group report what the device of their target is."""
    cpu = {**params["targets"]["cpu"], "platform": "fleet"}
    params["targets"] = {"cpu": cpu, "bench": dict(cpu)}
    params["models"]["floor"]["targets"] = ["cpu", "bench"]
    yard = {**params["fleet"]["groups"][GROUP], "robots": ["mower_1"], "rollout": {"prove_s": 0, "bake_s": 0}}
    depot = {**yard, "robots": ["mower_2"], "target": "bench"}
    params["fleet"]["groups"] = {GROUP: yard, "depot": depot}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FleetProject]:
    monkeypatch.setenv(PROC_VARIABLE, str(tmp_path / "proc"))
    with fleet_project(tmp_path / "project") as built:
        built.change(with_two_targets)
        built.commit()
        yield built


def installed(folder: Path, *features: str) -> None:
    """What the device has from now on."""
    (folder / "proc").mkdir(exist_ok=True)
    (folder / "proc" / "cpuinfo").write_text(f"flags : {' '.join(features)}\n")


def agent_of(fleet: FleetProject, folder: Path) -> Agent:
    """The agent of mower_1, as it is when the device has started."""
    project = fleet.project
    robot = RobotSpec(
        robot="mower_1",
        group=GROUP,
        url=str(fleet.repository.files.folder),
        root=fleet.root / ROOT_FILE,
        key=fleet.root / "keys" / "mower_1.pem",
        trusted_keys=tuple(map(str, project.trust().keys)),
        state=folder / "robot",
        reserve_mib=0,
    )
    return Agent(robot)


def versions(fleet: FleetProject) -> dict[str, str]:
    return {name: fleet.version(name) for name in (ENGINE, RELEASE, ROLLOUT, *OTHERS)}


def test_a_jetpack_update_of_a_robot_rebuilds_exactly_its_target(fleet, tmp_path):
    installed(tmp_path, "avx2", "avx512bw")
    old = probe().fingerprint
    agent_of(fleet, tmp_path).once()
    fleet.robots()[1].says(None, State.IDLE, group="depot")
    fleet.build(ROLLOUT, "rollout/depot")
    assert agent_of(fleet, tmp_path).once().current == fleet.release
    before = versions(fleet)

    installed(tmp_path, "avx2", "avx512bw", "avx512_vnni")
    new = probe().fingerprint
    held = agent_of(fleet, tmp_path).once()
    assert held.state is State.HELD
    assert "avx512_vnni" in held.why

    assert "fleet/yard: " in fleet.observe()
    recorded = fleet.observe("platform")
    assert f"platform/cpu: {old[:8]} -> {new[:8]} (cpu_features: " in recorded
    assert "platform/bench" in recorded.partition("unchanged")[2]
    causes: dict[str, str] = {}
    while started := fleet.rebuild():
        causes |= started
    assert set(causes) == {ENGINE, RELEASE, ROLLOUT}
    assert causes[ENGINE] == f"platform/cpu changed ({old[:8]} -> {new[:8]})"
    after = versions(fleet)
    assert {name for name in after if after[name] != before[name]} == {ENGINE, RELEASE, ROLLOUT}

    taken = agent_of(fleet, tmp_path).once()
    assert (taken.state, taken.current) == (State.COMMITTED, after[RELEASE])
    fleet.observe()
    fleet.rebuild()
    assert fleet.decision()["robots"] == {"mower_1": "baked"}


def test_an_engine_that_passed_its_gates_is_on_the_canary_after_two_ticks_and_one_poll(fleet, tmp_path):
    installed(tmp_path, "avx2")
    agent_of(fleet, tmp_path).once()
    fleet.robots()[1].says(None, State.IDLE, group="depot")
    fleet.build(ROLLOUT, "rollout/depot")
    agent_of(fleet, tmp_path).once()
    fleet.observe()
    fleet.rebuild()

    fleet.put_network(1)
    fleet.commit()
    fleet.observe("source")
    while ENGINE not in fleet.rebuild():
        pass
    assert set(fleet.rebuild()) >= {RELEASE}
    assert set(fleet.rebuild()) >= {ROLLOUT}
    taken = agent_of(fleet, tmp_path).once()
    assert (taken.state, taken.current) == (State.COMMITTED, fleet.release)
