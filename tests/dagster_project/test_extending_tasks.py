"""The task of docs/extending.md, installed as a package: a data set, a training and a gated engine, no file of ours."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.dagster_project.conftest import Checkout, new_checkout
from tests.plugins import install_documented, with_plugin

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220)}
ENGINE = "surface_classifier/engine/cpu"


@dataclass(frozen=True)
class Classifying:
    """A project of the plug-in's task."""

    checkout: Checkout
    environment: dict[str, str]

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(
            command, cwd=self.checkout.root, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done.stdout or done.stderr

    def audit(self) -> dict:
        """The audit of the engine, which is not complete: the project has no commit."""
        found: dict = json.loads(self.run("robot-assets", "audit", ENGINE, "--format", "json", code=1))
        return found


def draw(raw: Path, more: int = 0) -> None:
    """60 noisy images of ten sessions, each with the tint of its class; ``more`` annotations on the first image."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(60):
        label = index % 3
        name = f"s{index // 6:02d}/{index:04d}.png"
        pixels = rng.integers(0, 120, (64, 96, 3)) + np.array([*COLOURS.values()][label]) // 2
        (raw / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(raw / "images" / name)
        images.append({"id": index + 1, "file_name": name, "width": 96, "height": 64})
        count = 1 + (more if index == 0 else 0)
        annotations += [{"image_id": index + 1, "category_id": label + 1} for _ in range(count)]
    document = {
        "info": {"task": "classification"},
        "licenses": [],
        "images": images,
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, start=1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(COLOURS, start=1)],
    }
    (raw / "annotations.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = (repository / "docs" / "extending.md").read_text()
    return install_documented(page, "robot-assets-classification/", tmp_path_factory.mktemp("classification"))


def documented_params(repository: Path) -> dict:
    page = (repository / "docs" / "extending.md").read_text()
    section = page[page.index("## A task") :]
    found: dict = yaml.safe_load(section[section.index("```yaml\n") + 8 :].partition("```")[0])
    return found


def project(root: Path, repository: Path, installed: Path, **drawing: int) -> Classifying:
    checkout = new_checkout(root, repository)
    draw(checkout.root / "data" / "raw" / "surfaces", **drawing)
    documented = documented_params(repository)

    def edit(document: dict) -> None:
        document["datasets"], document["models"] = documented["datasets"], documented["models"]
        document["datasets"]["surfaces"]["near_duplicate_bits"] = 0
        document["targets"] = {"cpu": {"kind": "onnxruntime", "gate": {"latency_ms_p95_max": 1000}}}

    checkout.change(edit)
    made = Classifying(checkout, with_plugin(checkout.environment, installed))
    made.run("git", "init", "--quiet")
    made.run("dvc", "init", "--quiet")
    made.run("dvc", "add", "--quiet", "data/raw/surfaces")
    return made


@pytest.fixture(scope="module")
def classifying(repository: Path, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Classifying:
    made = project(tmp_path_factory.mktemp("project") / "surfaces", repository, installed)
    made.run("robot-assets", "build", "surface_classifier")
    return made


def test_an_engine_of_the_task_is_built_and_passes_its_gates(classifying: Classifying) -> None:
    audit = classifying.audit()
    head = audit["links"][0]
    gates = {gate["name"]: gate for gate in head["gates"]}
    assert set(gates) >= {"accuracy", "parity", "latency", "resources"}
    assert all(gate["passed"] for gate in gates.values())
    assert "top-1 accuracy" in gates["accuracy"]["summary"]
    assert "mAP" not in json.dumps(audit)
    assert json.loads(classifying.run("robot-assets", "plan", "surface_classifier", "--json"))["plan"] == {}


def test_its_parts_are_code_of_the_stages_that_use_them(classifying: Classifying) -> None:
    audit = classifying.audit()
    code = {link["asset"]: set(link["record"]["code"]) for link in audit["links"] if link["record"]}
    own = "robot_assets_classification"
    assert f"{own}.training:ClassificationLearning" in code["surface_classifier/checkpoint"]
    assert f"{own}.network:SmallClassifier" in code["surface_classifier/checkpoint"]
    assert f"{own}.labels:ImageClasses" in code["datasets/surfaces"]
    assert f"{own}.decode:decode_logits" in code[ENGINE]
    assert not any("drawing" in name for entries in code.values() for name in entries)


def test_the_checkpoint_has_learned_the_colours(classifying: Classifying) -> None:
    page = classifying.checkout.page("surface_classifier/checkpoint")
    assert page["top1_test"] > 0.9


def test_an_image_of_two_classes_is_a_finding_of_the_task(repository: Path, installed: Path, tmp_path: Path) -> None:
    twice = project(tmp_path / "twice", repository, installed, more=1)
    said = twice.run("robot-assets", "build", "datasets/surfaces", code=1)
    assert "2 annotations, needed one: the class of the image" in said


def test_a_machine_without_the_plug_in_names_the_task(classifying: Classifying) -> None:
    done = classifying.checkout.run("robot-assets", "plan", "surface_classifier", check=False)
    assert done.returncode == 1
    assert "unknown task 'classification'" in done.stderr
