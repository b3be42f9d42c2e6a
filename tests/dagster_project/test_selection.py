"""Selections: names and expressions, and what is not one, with the nearest names and the place of a mistake."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.definitions import build_definitions
from dagster_project.instance.selection import SelectionError, select
from robot_assets.pipeline.project import Project
from tests.dagster_project.conftest import SMALL_PARAMS

RAW, DATASET, ENGINE = "raw/small", "datasets/small", "small_detector/engine/cpu"
CHECKPOINT = "small_detector/checkpoint"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("project")
    (root / "params.yaml").write_text(yaml.safe_dump(SMALL_PARAMS))
    return Project(root)


@pytest.fixture(scope="module")
def definitions(project: Project) -> dg.Definitions:
    return build_definitions(project)


@pytest.fixture
def selected(project: Project, definitions: dg.Definitions) -> Callable[..., tuple[str, ...]]:
    return lambda *texts: select(project, definitions, texts, "robot-assets build")


@pytest.mark.parametrize(
    ("text", "last"),
    [
        (DATASET, DATASET),
        ("small_detector", ENGINE),
        ("small_detector+", ENGINE),
        ("+small_detector", ENGINE),
        (f'key:"{DATASET}"', DATASET),
        (f"key:{DATASET}+1", "small_detector/qat"),
        (f"{DATASET}+", ENGINE),
        (f"+{DATASET}", DATASET),
        ("group:small_detector", ENGINE),
        ('key:"datasets/*"', DATASET),
        (f"key:{RAW} or key:{DATASET}", DATASET),
        ("*", ENGINE),
    ],
)
def test_names_and_expressions_select_assets_with_their_ancestors(selected, text: str, last: str) -> None:
    names = selected(text)
    assert names[0] == RAW
    assert last in names


def test_nothing_selects_everything(selected) -> None:
    assert ENGINE in selected()


@pytest.mark.parametrize("text", ["yolov8", "yolov8+1", "2+yolov8", "+yolov8"])
def test_a_name_may_end_with_digits(tmp_path: Path, text: str) -> None:
    models = SMALL_PARAMS["models"] | {"yolov8": SMALL_PARAMS["models"]["small_detector"]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(SMALL_PARAMS | {"models": models}))
    project = Project(tmp_path)
    chosen = select(project, build_definitions(project), (text,))
    assert "yolov8/engine/cpu" in chosen
    assert CHECKPOINT not in chosen


def error(selected, *texts: str) -> SelectionError:
    with pytest.raises(SelectionError) as caught:
        selected(*texts)
    for part in (caught.value.found, caught.value.needed, caught.value.fix):
        assert "AssetKey" not in part
        assert "AssetsDefinition" not in part
        assert "Invalid selection" not in part
    return caught.value


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("datasets/smal", DATASET),
        ("dataset/small", DATASET),
        ("Datasets/Small", DATASET),
        ("small", DATASET),
        ("smal", DATASET),
        ("cpu", ENGINE),
        ("engine/cpu", ENGINE),
        ("checkpoint", CHECKPOINT),
        ("small_detectr", "small_detector"),
        ("small_detector/", "small_detector"),
        ("small_detector/engine/cpv", ENGINE),
        ("datasets/smal+", f'key:"{DATASET}"+'),
        ("key:datasets/smal", f"key:{DATASET}"),
        ('key:"datasets/smal"+', f'key:"{DATASET}"+'),
        (f"key:{RAW} or key:datasets/smal", f"key:{RAW} or key:{DATASET}"),
        ("group:small_detectr", "group:small_detector"),
        ("datasets/*", 'key:"datasets/*"'),
        (f'"{DATASET}"', DATASET),
    ],
)
def test_a_near_miss_has_a_fix_that_selects_what_was_meant(selected, typed: str, meant: str) -> None:
    found = error(selected, typed)
    assert typed in found.found or typed.strip("+") in found.found
    words = shlex.split(found.fix, comments=True)
    assert words == ["robot-assets", "build", meant]
    assert selected(words[-1])


def test_the_name_of_a_data_set_or_a_target_is_called_what_it_is(selected) -> None:
    assert error(selected, "small").found == "'small' is a data set of params.yaml, not an asset or a model"
    assert error(selected, "cpu").found == "'cpu' is a target of params.yaml, not an asset or a model"


def test_an_unknown_part_of_an_expression_is_not_left_out_in_silence(selected) -> None:
    assert "no asset is 'nope'" in error(selected, f"key:{DATASET} or key:nope").found


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a b", "'a b' at character 1 is unexpected"),
        (f"key:{DATASET} and", "it ends too early"),
        (f"(key:{DATASET}", "it ends too early"),
        (f"key:{DATASET} xor key:{RAW}", f"'xor key:{RAW}' at character {len(f'key:{DATASET} ') + 1} is unexpected"),
        ("kinds:onnx", "'kinds:onnx' at character 1 is unexpected"),
        ("", "it ends too early"),
    ],
)
def test_a_mistake_in_the_syntax_has_its_place(selected, text: str, place: str) -> None:
    found = error(selected, text)
    assert found.found == f"{text!r} is not an asset selection: {place}"
    assert shlex.split(found.fix, comments=True)[:2] == ["robot-assets", "build"]


@pytest.mark.parametrize("text", ["column:x", "code_location:x", "status:healthy"])
def test_an_attribute_of_the_ui_is_refused_in_our_words(selected, text: str) -> None:
    assert "which" not in error(selected, text).found
    assert "UI only" in error(selected, text).found


def test_an_expression_that_matches_nothing_is_an_error(selected) -> None:
    assert error(selected, "kind:nope").found == "'kind:nope' selects no asset"


def test_a_project_without_assets_has_an_error_as_well(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("store: {url: s}\ndatasets: {}\nmodels: {}\ntargets: {}\n")
    project = Project(tmp_path)
    with pytest.raises(SelectionError, match="no asset or model is 'x'"):
        select(project, build_definitions(project), ["x"])
