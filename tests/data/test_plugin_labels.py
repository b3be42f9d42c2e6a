"""The labels of a task outside of this package: an installed plug-in, from raw data to gates, by the command line."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from robot_assets.tasks.labels import AnnotationFormat, Counted, LabelGate, RawImage
from tests.data.conftest import SESSIONS
from tests.data.image_sources import CLASSES, read_labels, write_coco, write_labels
from tests.plugins import install, with_plugin

TASK = '''
"""Image tags: some classes of each image."""

from robot_assets.core.spec import Spec
from robot_assets.tasks.metrics import Metric
from robot_assets.tasks.task import Decoder, Task


class Nothing(Spec):
    """No parameters."""


def heads(input, options, classes, outputs):
    return ()


TASK = Task(
    name="tags",
    title="image tags",
    metric=Metric(key="recall", name="recall", class_key="recall", class_name="recall"),
    labels="acme_tags.labels:TAGS",
    scorer="acme_tags.absent:Scorer",
    decoders=(Decoder(name="tags", options=Nothing, heads=heads, run="acme_tags.absent:decode"),),
    training="acme_tags.absent:Training",
    loss=Nothing,
    compact_spec=None,
    compact=None,
    drawing="acme_tags.absent",
)
'''
LABELS = """
from collections import Counter

from robot_assets.core.label_issues import BadItem
from robot_assets.tasks.labels import AnnotationFormat, Counted, Inspected, LabelGate


class TagFormat(AnnotationFormat):
    counted = Counted(noun="tag", plural="tags", amount="tags", removal="remove these tags from the source")
    gate = LabelGate(
        name="tags_sane",
        description="Every image has tags of known classes, each once.",
        inspect="acme_tags.labels:inspect_tags",
        valid="of known classes, each once in its image",
    )

    def read(self, image):
        found = [image.category(place, annotation) for place, annotation in image.annotations]
        if len(set(found)) != len(found):
            raise BadItem(image.file_name, "a tag twice", "remove one of the two")
        return tuple(found)

    def counts(self, labels):
        return Counter(labels)

    def renumbered(self, labels, numbers):
        return tuple(numbers[label] for label in labels if label in numbers)

    def annotations(self, labels):
        return [{"category_id": label + 1} for label in labels]

    def unpacked(self, split, index):
        return tuple(annotation["category_id"] - 1 for annotation in split.annotations(index))


TAGS = TagFormat()


def inspect_tags(split, classes):
    tags = split.coco()["annotations"]
    return Inspected(len(tags), [f"tag {tag['id']}" for tag in tags if tag["category_id"] > classes])
"""
PROJECT = """
[project]
name = "acme-tags"
version = "1.0"
[project.entry-points."robot_assets.tasks"]
tags = "acme_tags.task:TASK"
[tool.setuptools]
packages = ["acme_tags"]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {"pyproject.toml": PROJECT, "acme_tags/__init__.py": "", "acme_tags/task.py": TASK}
    return install({**files, "acme_tags/labels.py": LABELS}, tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with raw data whose annotations have no boxes."""
    raw = write_coco(tmp_path / "data" / "raw" / "yard", SESSIONS)
    document = read_labels(raw)
    document["annotations"] = [
        {key: one[key] for key in ("id", "image_id", "category_id")} for one in document["annotations"]
    ]
    write_labels(raw, document)
    dataset = {
        "task": "tags",
        "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"},
        "classes": list(CLASSES),
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "calibration_images": 5,
    }
    params = {"store": {"url": "store"}, "datasets": {"yard": dataset}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def run(project: Path, installed: Path | None, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(project), "COLUMNS": "200"}
    return subprocess.run(
        [Path(sys.executable).with_name("robot-assets"), *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        env=with_plugin(environment, installed) if installed else environment,
    )


def test_data_of_a_plugin_is_checked_built_and_judged(project: Path, installed: Path) -> None:
    built = run(project, installed, "data", "build", "yard", "--json")
    assert built.returncode == 0, built.stderr
    summary: dict[str, Any] = json.loads(built.stdout)
    assert sum(summary["tags"][split]["goal post"] for split in summary["tags"]) == len(SESSIONS)
    document = json.loads((project / "data/datasets/yard/dataset.json").read_text())
    assert document["task"] == "tags"
    assert document["splits"]["train"]["tags"] == summary["tags"]["train"]
    checked = run(project, installed, "data", "check", "yard")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "classes_in_every_split: passed\n  3 classes in 3 splits; fewest tags: " in checked.stdout
    assert "tags_sane: passed\n  67 tags: of known classes, each once in its image" in checked.stdout


def test_a_bad_label_of_a_plugin_is_a_finding(project: Path, installed: Path) -> None:
    raw = project / "data" / "raw" / "yard"
    document = read_labels(raw)
    document["annotations"][1]["category_id"] = document["annotations"][0]["category_id"]
    write_labels(raw, document)
    checked = run(project, installed, "data", "check", "yard")
    assert checked.returncode == 1
    assert "1 bad item" in checked.stdout
    assert "a tag twice" in checked.stdout
    assert "remove one of the two" in checked.stdout


def test_the_documented_format_reads_counts_and_packs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data_sets.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {"AnnotationFormat": AnnotationFormat, "Counted": Counted, "Counter": Counter, "LabelGate": LabelGate}
    exec(code, names)
    tags = names["TagFormat"]()
    labels = tags.read(RawImage("a.jpg", 8, 8, [("a", {"category_id": 7})], {5: 0, 7: 1}, ("x", "y")))
    assert tags.counts(labels) == tags.scored_counts(labels) == {1: 1}
    assert tags.annotations(tags.renumbered(labels, {1: 0})) == [{"category_id": 1}]


def test_too_few_sessions_of_a_plugin_propose_no_import(project: Path, installed: Path) -> None:
    raw = project / "data" / "raw" / "yard"
    document = read_labels(raw)
    for index, image in enumerate(document["images"]):
        moved = raw / "images" / "all" / f"{index:03}.png"
        moved.parent.mkdir(exist_ok=True)
        (raw / "images" / image["file_name"]).rename(moved)
        image["file_name"] = f"all/{index:03}.png"
    write_labels(raw, document)
    checked = run(project, installed, "data", "check", "yard")
    assert checked.returncode == 1
    assert "1 session: cannot be split" in checked.stdout
    assert "fix: move the images of each recording to a folder of its own below images/" in checked.stdout
    assert "data import" not in checked.stdout


def test_a_task_that_is_not_installed_is_named_with_those_that_are(project: Path) -> None:
    checked = run(project, None, "data", "check", "yard")
    assert checked.returncode == 1
    assert "datasets.yard.task" in checked.stderr
    assert "'tags'" in checked.stderr
    assert "detection, segmentation" in checked.stderr
    assert "Traceback" not in checked.stderr
