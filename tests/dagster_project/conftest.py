"""A small project on disk, built once for the session by the real command on a real instance."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.instance.reader import latest_pages
from dagster_project.keys import asset_key
from robot_assets.pipeline.project import Project

SMALL_PARAMS = {
    "store": {"url": ".robot_assets/store"},
    "datasets": {
        "small": {
            "source": {
                "kind": "simulation",
                "images": 72,
                "sessions": 9,
                "width": 160,
                "height": 120,
                "seed": 3,
            },
            "classes": ["pedestrian", "cyclist", "car", "robot", "cone", "bin"],
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
            "calibration_images": 8,
        }
    },
    "models": {
        "small_detector": {
            "task": "detection",
            "dataset": "small",
            "targets": ["cpu"],
            "network": {"input_height": 96, "input_width": 128, "width": 16, "depth": 1},
            "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.002},
            "quantization": {"qat": {"epochs": 1, "learning_rate": 0.0001}},
        }
    },
    # A network of two epochs detects nothing, so its accuracy cannot drop; real budgets are in params.yaml.
    "targets": {
        "cpu": {
            "kind": "onnxruntime",
            "threads": 1,
            "gate": {"accuracy_drop_points_max": 5.0, "latency_ms_p95_max": 1000.0},
        }
    },
}


@dataclass(frozen=True)
class Checkout:
    """A project folder with an instance of its own, and the commands of this environment."""

    root: Path

    @property
    def project(self) -> Project:
        return Project(self.root)

    @property
    def environment(self) -> dict[str, str]:
        binaries = Path(sys.executable).parent
        return {
            **os.environ,
            "DAGSTER_HOME": str(self.root / ".dagster"),
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "2",
        }

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def build(self, *selection: str) -> dict:
        return json.loads(self.run("robot-assets", "build", *selection, "--json").stdout)

    def change(self, edit: Callable[[dict], None]) -> None:
        """Edit params.yaml."""
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text())
        edit(document)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.root / ".dagster"))

    def latest(self, name: str) -> dg.AssetMaterialization:
        """The latest materialization of an asset."""
        with self.instance() as instance:
            event = instance.get_latest_materialization_event(asset_key(name))
        assert event is not None
        assert event.asset_materialization is not None
        return event.asset_materialization

    def page(self, name: str) -> dict[str, object]:
        """The metadata values of an asset and of its page, which is recorded later."""
        with self.instance() as instance:
            return dict(latest_pages(instance, [name])[name])


def new_checkout(root: Path, repository: Path) -> Checkout:
    root.mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(SMALL_PARAMS, sort_keys=False))
    shutil.copy(repository / "workspace.yaml", root)
    return Checkout(root)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Checkout:
    """Everything built once. Tests that change it use ``copy_of_built``."""
    checkout = new_checkout(tmp_path_factory.mktemp("project") / "small", repository)
    checkout.build()
    return checkout


@pytest.fixture
def copy_of_built(built: Checkout, tmp_path: Path) -> Checkout:
    shutil.copytree(built.root, tmp_path / "copy", symlinks=True)
    return Checkout(tmp_path / "copy")
