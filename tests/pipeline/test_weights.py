"""``weights`` of params.yaml: an observed asset by its pointer, an input of checkpoints, with its licence."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robot_assets.core.errors import DataError, ParamsError
from robot_assets.lineage.code import Code
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.kind import Observer
from robot_assets.pipeline.observing import observe, open_version, require_available
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.project import Project
from robot_assets.store import write_pointer
from tests.sample_params import sample_document

ENTRY = {
    "pointer": "data/weights/coco.safetensors.dvc",
    "licence": "BSD-3-Clause",
    "source": "https://example.com/coco.safetensors",
}


def document(**entry):
    found = sample_document()
    found["weights"] = {"coco": {**ENTRY, **entry}}
    found["models"]["sidewalk_detector"]["network"]["weights"] = "coco"
    return found


@pytest.fixture
def project(tmp_path):
    import yaml

    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document()))
    return Project(tmp_path)


def add(project: Project, value: float = 1.0) -> tuple[Path, str]:
    """Write the file and its pointer, as dvc add does; gives the file and its version."""
    file = project.root / "data/weights/coco.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weight": torch.full((2,), value)}, file)
    artifact = project.store.digest_of(file)
    write_pointer(file.with_name("coco.safetensors.dvc"), artifact)
    return file, artifact.digest


def test_the_weights_are_an_input_of_the_checkpoint_that_names_them():
    graph = build_graph(parse_params(document()))
    assert graph["weights/coco"].is_observed
    assert "weights/coco" in graph["sidewalk_detector/checkpoint"].inputs
    assert "weights/coco" not in graph["robocup_detector/checkpoint"].inputs


def test_an_observation_has_the_hash_the_licence_and_the_source(project):
    _, version = add(project)
    seen = observe(Observer(project), "weights/coco")
    assert seen is not None
    assert seen.version == version
    assert seen.what == ENTRY["pointer"]
    assert {name: seen.facts[name] for name in ("licence", "source")} == {
        name: ENTRY[name] for name in ("licence", "source")
    }


def test_the_file_beside_the_pointer_is_stored_when_it_is_opened(project):
    file, version = add(project)
    require_available(project, "weights/coco", version)
    opened = open_version(project, "weights/coco", version)
    assert opened.read_bytes() == file.read_bytes()
    file.unlink()
    assert open_version(project, "weights/coco", version) == opened


def test_a_pointer_whose_file_was_edited_is_refused_with_both_fixes(project):
    file, version = add(project)
    file.write_bytes(b"other")
    for read in (require_available, open_version):
        with pytest.raises(DataError, match="has the hash") as caught:
            read(project, "weights/coco", version)
        assert "dvc pull" in caught.value.fix
        assert "dvc add" in caught.value.fix


def test_a_missing_file_is_pulled(project):
    file, version = add(project)
    file.unlink()
    with pytest.raises(DataError, match="does not exist") as caught:
        require_available(project, "weights/coco", version)
    assert caught.value.fix.startswith("dvc pull ")


def test_a_missing_pointer_is_added(project):
    with pytest.raises(DataError, match="no pointer at") as caught:
        observe(Observer(project), "weights/coco")
    assert "dvc add" in caught.value.fix


def stage_params(**entry):
    return build_graph(parse_params(document(**entry)))["sidewalk_detector/checkpoint"].params


def test_the_loading_rules_change_the_checkpoint_and_the_licence_does_not():
    before = stage_params()
    assert stage_params(licence="Apache-2.0", source="elsewhere", pointer="data/other.dvc") == before
    code = Code()
    entries = "robot_assets.pipeline.kinds.checkpoint:run"
    assert code.version(entries, stage_params(skip=["heads.*"])) != code.version(entries, before)
    assert code.version(entries, stage_params(rename={"module.": ""})) != code.version(entries, before)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"licence": ""}, "weights.coco.licence: needed a string of length 1 or more"),
        ({"pointer": "/data/coco.dvc"}, "needed a relative path inside the project that ends in .dvc"),
        ({"pointer": "data/../../coco.dvc"}, "needed a relative path inside the project that ends in .dvc"),
        ({"pointer": "data/coco.safetensors"}, "needed a relative path inside the project that ends in .dvc"),
        ({"license": "MIT"}, "weights.coco.license: unknown key; did you mean 'licence'?"),
    ],
)
def test_a_mistake_in_an_entry_is_named(change, text):
    with pytest.raises(ParamsError) as caught:
        parse_params(document(**change))
    assert text in caught.value.found


def test_weights_that_are_not_in_params_are_named_with_the_near_miss():
    found = document()
    found["models"]["sidewalk_detector"]["network"]["weights"] = "coca"
    with pytest.raises(ParamsError) as caught:
        parse_params(found)
    assert "models.sidewalk_detector.network.weights: unknown entry 'coca'; did you mean 'coco'?" in caught.value.found


def test_a_name_that_is_no_name_is_refused():
    found = document()
    found["weights"]["COCO"] = ENTRY
    with pytest.raises(ParamsError, match=r"weights\.COCO: a name is lower-case"):
        parse_params(found)
