"""dvc.yaml has the simulated data sets of params.yaml, and every module whose code their versions cover."""

from pathlib import Path

import yaml

from robot_assets.lineage.code import Code
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import load_params

ROOT = Path(__file__).parents[2]
GENERAL = ("core", "pipeline", "store")
"""Packages whose code decides no byte of a data set."""
NAMES = {"data/dvc_links.py", "data/spec.py", "tasks/registry.py", "tasks/task.py", "tasks/segmentation/classes.py"}
"""Modules of texts, parameters, which are dependencies of their own, and names."""


def test_every_simulated_data_set_is_a_stage_of_its_task() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    datasets = load_params(ROOT / "params.yaml").datasets
    simulated = {name: {"task": one.task} for name, one in datasets.items() if one.source.kind == "simulation"}
    assert stages["dataset"]["foreach"] == simulated
    assert stages["simulate"]["foreach"] == [*simulated]


def test_the_dependencies_of_a_data_set_are_the_modules_of_its_code() -> None:
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["dataset"]
    graph = build_graph(load_params(ROOT / "params.yaml"))
    for key, item in stage["foreach"].items():
        listed = {one.replace("${item.task}", item["task"]) for one in stage["do"]["deps"][1:]}
        entries = graph[f"datasets/{key}"].code
        names = {name.partition(":")[0] for entry in entries for name in Code().definitions(entry)}
        files = {f"{name.removeprefix('robot_assets.').replace('.', '/')}.py" for name in names}
        needed = {f"robot_assets/{file}" for file in files - NAMES if file.partition("/")[0] not in GENERAL}
        assert needed <= listed
        assert all((ROOT / one).is_file() for one in listed)
