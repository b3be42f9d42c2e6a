"""The code version of a data set and of its gates covers everything of ours that runs, for the labels of any task."""

from pathlib import Path

import pytest

from robot_assets.lineage.code import Code, load
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.kind import GateStep, Step
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.registry import kind_of
from robot_assets.store import open_store
from tests.data.conftest import SESSIONS
from tests.data.image_sources import CLASSES, write_coco
from tests.data.mask_sources import GROUND, write_masks
from tests.lineage.code.test_soundness import OUTSIDE
from tests.lineage.code.tracing import called_during

DATASET = {
    "source": {"kind": "dvc", "pointer": "data/raw/x.dvc"},
    "split": {"train": 0.6, "val": 0.2, "test": 0.2},
    "calibration_images": 5,
}
PARAMS = {
    "store": {"url": "store"},
    "datasets": {
        "field": {**DATASET, "classes": CLASSES},
        "ground": {**DATASET, "classes": GROUND[::-1], "task": "segmentation"},
    },
}


@pytest.mark.parametrize(("name", "write"), [("field", write_coco), ("ground", write_masks)])
def test_every_function_that_runs_is_covered_by_the_code_version(name: str, write, tmp_path: Path) -> None:
    stage = build_graph(parse_params(PARAMS))[f"datasets/{name}"]
    found = kind_of(stage.asset)
    assert found is not None
    production = found[0].production
    assert production is not None
    assert production.judge is not None
    raw, out, code = write(tmp_path / "raw", SESSIONS), tmp_path / "out", Code()

    def uncovered(entries: tuple[str, ...], action) -> list[tuple[str, str]]:
        load(entries)
        called = called_during(action, tuple(OUTSIDE))
        assert called
        return sorted(one for one in called if not code.covers(entries, *one))

    step = Step(
        stage,
        found[1],
        {f"raw/{name}": raw},
        {},
        out,
        tmp_path,
        open_store("store", tmp_path),
        print,
        Project(tmp_path),
    )
    assert uncovered(stage.code, lambda: production.run(step)) == []
    for gate in stage.gates:
        judged = GateStep(stage, found[1], (gate,), out, {}, Project(tmp_path))
        assert uncovered(gate.code, lambda judged=judged: production.judge(judged)) == []
