"""One run at a time builds a desired state, and pins its open artifacts until its step ends."""

import dagster as dg
import pytest
import yaml

from dagster_project.producing.stage_runner import StageRunner, _exclusive
from robot_assets.core.errors import StoreError
from robot_assets.pipeline import names
from robot_assets.pipeline.graph import build_graph
from robot_assets.store.cache import Cache
from robot_assets.store.pins import is_pinned


def test_a_second_run_for_the_same_state_is_refused(tmp_path):
    workdir = tmp_path / "workdir"
    with _exclusive(workdir, "yard/checkpoint"):
        second = _exclusive(workdir, "yard/checkpoint")
        with pytest.raises(StoreError, match="another run on this machine is making yard/checkpoint"):
            second.__enter__()
    with _exclusive(workdir, "yard/checkpoint"):
        assert workdir.is_dir()


def test_a_step_releases_its_open_artifacts_only_when_it_ends(tmp_path):
    """Otherwise a process that runs many steps would keep all their artifacts from eviction."""
    yard = {
        "source": {"kind": "simulation", "images": 8, "sessions": 4, "width": 64, "height": 64, "seed": 1},
        "classes": ["pedestrian"],
        "split": {"train": 0.5, "val": 0.25, "test": 0.25},
    }
    document = {"store": {"url": str(tmp_path / "remote")}, "datasets": {"yard": yard}, "models": {}, "targets": {}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    stage_runner = StageRunner(root=str(tmp_path))
    store = stage_runner.project.store
    (tmp_path / "weights").write_text("weights")
    version = store.add(tmp_path / "weights").digest
    stage = build_graph(stage_runner.project.params)["raw/yard"]
    with dg.DagsterInstance.ephemeral() as instance, dg.build_asset_context(instance=instance) as context:
        with stage_runner.step(context, stage, names.RAW.parse(stage.asset)) as run:
            assert run.project.store.open(version).read_text() == "weights"
            assert is_pinned(Cache(store.cache), version)
        assert not is_pinned(Cache(store.cache), version)
