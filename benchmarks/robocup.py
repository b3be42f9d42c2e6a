"""Accuracy of robocup_detector on unseen recording sessions. Exit code 1 below a test mAP@50 of 0.45.

    robot-assets build robocup_detector && python -m benchmarks.robocup

Reads the metrics of the last build. ``python -m benchmarks.engine --model robocup_detector`` measures its engine.
"""

from __future__ import annotations

import json
import sys

import dagster as dg

from dagster_project.instance.reader import latest_metadata
from dagster_project.local.instance import ensure_dagster_home
from robot_assets.pipeline import names
from robot_assets.pipeline.project import find_project

MODEL = "robocup_detector"
MAP50_MIN = 0.45


def main() -> int:
    project = find_project()
    ensure_dagster_home(project.root)
    model = project.params.models[MODEL]
    checkpoint, data = names.checkpoint(MODEL), names.dataset(model.dataset)
    with dg.DagsterInstance.get() as instance:
        records = {name: page["record"] for name, page in latest_metadata(instance, [checkpoint, data]).items()}
    if checkpoint not in records:
        print(f"{checkpoint} has not been built; run: robot-assets build {MODEL}", file=sys.stderr)
        return 1
    trained, packed = (project.store.open(records[name]["data_version"]) for name in (checkpoint, data))
    metrics = json.loads((trained / "metrics.json").read_text())
    splits = json.loads((packed / "dataset.json").read_text())["splits"]
    print(f"trained in {records[checkpoint]['duration_s'] / 60:.1f} min, training seed {model.training.seed}, ", end="")
    print(f"split by recording session with seed {project.params.datasets[model.dataset].split.seed}\n")
    classes = list(metrics["test"]["per_class_ap50"])
    print(f"{'':6}{'sessions':>9}{'images':>8}{'mAP@50':>9}{'@50-95':>9}" + "".join(f"{name:>11}" for name in classes))
    for split in ("val", "test"):
        found = metrics[split]
        print(
            f"{split:6}{len(splits[split]['sessions']):9}{found['images']:8}{found['map50']:9.4f}"
            f"{found['map50_95']:9.4f}" + "".join(_ap50(found["per_class_ap50"][name]) for name in classes)
        )
    print(f"\ntest mAP@50 {metrics['test']['map50']:.3f} (at least {MAP50_MIN})")
    return int(metrics["test"]["map50"] < MAP50_MIN)


def _ap50(value: float | None) -> str:
    return f"{'none':>11}" if value is None else f"{value:11.4f}"


if __name__ == "__main__":
    sys.exit(main())
