"""Layouts of COCO exports: which JSON files are labels, and below which folders their images are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from robot_assets.data.importing.layout import LabelFiles, Layout, is_split
from robot_assets.data.tree import Tree, suffix_of

ROBOFLOW_NAME = "_annotations.coco.json"
_ANNOTATION_FOLDERS = ("annotations", "annotation", "ann")
_NAMES_WITHOUT_SPLIT = ("annotations", "_annotations.coco", "result", "result_coco", "labels", "coco", "data")
_AFFIXES = re.compile(
    r"^(instances|person_keypoints|annotations|labels|coco)[-_.]|[-_.](annotations|labels|coco)$", re.IGNORECASE
)
_NOT_LABELS = re.compile(
    r"(captions|panoptic|stuff|image_info|densepose)_.*|(notes|info|dataset|package|metadata|samples)\.json",
    re.IGNORECASE,
)
"""Names of JSON that annotation tools write beside the labels."""
_KEYS = (b'"images"', b'"annotations"', b'"categories"')


def is_json(name: str) -> bool:
    """Whether a file is JSON by its suffix."""
    return suffix_of(name) == ".json"


def is_keypoints(name: str) -> bool:
    """Whether a file has the name of COCO's keypoints, which are of persons that instances_SPLIT.json has, too."""
    return PurePosixPath(name).name.startswith("person_keypoints_")


def base_folder(document: str | Path) -> Path:
    """The folder that a label file is about: its own, or the one above a folder of annotations."""
    return Path(_base_of(PurePosixPath(document)))


def documents_of(tree: Tree) -> list[str]:
    """Every JSON file of a tree that may be labels, by its name."""
    return [name for name in filter(is_json, tree.files) if not _NOT_LABELS.fullmatch(PurePosixPath(name).name)]


def label_files(documents: Iterable[str]) -> LabelFiles | None:
    """The files of a source with these label files; None when there are none."""
    found = {document: tuple(_image_roots(document)) for document in documents}
    splits = dict.fromkeys(split for document in found if is_split(split := split_of(document)))
    return LabelFiles(documents=found, splits=tuple(splits)) if found else None


def split_of(document: str) -> str:
    """The split that a label file is about, by its name or by its folder, such as "train2017"; may be empty."""
    path = PurePosixPath(document)
    return _base_of(path).name if path.stem.lower() in _NAMES_WITHOUT_SPLIT else _AFFIXES.sub("", path.stem)


def has_coco_keys(tree: Tree, document: str) -> bool:
    """Whether a JSON file has the keys of a COCO document, by its bytes: it is not parsed."""
    encoded = tree.files[document].read_bytes()
    return all(key in encoded for key in _KEYS)


def _base_of(path: PurePosixPath) -> PurePosixPath:
    """The folder that a label file is about: its own, or the one above a folder of annotations."""
    return path.parent.parent if path.parent.name.lower() in _ANNOTATION_FOLDERS else path.parent


def _image_roots(document: str) -> Iterator[str]:
    """Folders below which ``file_name`` may be, in order of preference; "" is the source."""
    path = PurePosixPath(document)
    base, split = _base_of(path), split_of(document)
    top = PurePosixPath()
    near, far = _folders_of_images(base, split), _folders_of_images(top, split)
    yield from dict.fromkeys("" if str(root) == "." else str(root) for root in (*near, path.parent, top, *far))


def _folders_of_images(base: PurePosixPath, split: str) -> list[PurePosixPath]:
    return [base / "images" / split, base / split, base / "images", base / "data" / split, base / "data", base]


def _named(*names: str, beside: str = "") -> Callable[[Tree], LabelFiles | None]:
    """Finds label files of these names, in any folder; with the folder ``beside`` next to them, if one is given."""

    def find(tree: Tree) -> LabelFiles | None:
        found = [name for name in documents_of(tree) if PurePosixPath(name).name in names]
        return label_files(one for one in found if not beside or _has_folder(tree, PurePosixPath(one).parent / beside))

    return find


def _has_folder(tree: Tree, folder: PurePosixPath) -> bool:
    return any(name.startswith(f"{folder}/") for name in tree.files)


def _find_raw(tree: Tree) -> LabelFiles | None:
    return label_files(["annotations.json"]) if "annotations.json" in tree.files else None


def _in_annotations(tree: Tree) -> list[str]:
    """Label files in folders of annotations: instances_*.json, else any with COCO's keys, keypoints last."""
    every = [name for name in documents_of(tree) if PurePosixPath(name).parent.name.lower() == "annotations"]
    instances = [name for name in every if PurePosixPath(name).name.startswith("instances_")]
    if instances:
        return instances
    found = [name for name in every if has_coco_keys(tree, name)]
    return [name for name in found if not is_keypoints(name)] or found


def _find_cvat(tree: Tree) -> LabelFiles | None:
    found = _in_annotations(tree)
    return label_files(found) if any(name.endswith("/instances_default.json") for name in found) else None


def _find_published(tree: Tree) -> LabelFiles | None:
    return label_files(_in_annotations(tree))


def _find_any(tree: Tree) -> LabelFiles | None:
    return label_files(name for name in documents_of(tree) if has_coco_keys(tree, name))


LAYOUTS = (
    Layout(
        "raw",
        "coco",
        "annotations.json and images/, as raw data of robot-assets",
        "annotations.json and images/SESSION/FILE",
        _find_raw,
    ),
    Layout(
        "roboflow",
        "coco",
        "Roboflow export (COCO)",
        f"SPLIT/{ROBOFLOW_NAME} beside its images, or {ROBOFLOW_NAME} in one folder with all images",
        _named(ROBOFLOW_NAME),
    ),
    Layout(
        "cvat",
        "coco",
        "CVAT export (COCO 1.0)",
        "annotations/instances_default.json and images/",
        _find_cvat,
    ),
    Layout(
        "coco",
        "coco",
        "COCO as published (annotations/instances_SPLIT.json)",
        "annotations/instances_SPLIT.json, with the images in SPLIT/ or images/SPLIT/",
        _find_published,
    ),
    Layout(
        "label-studio",
        "coco",
        "Label Studio export (COCO)",
        "result.json and images/",
        _named("result.json", "result_coco.json"),
    ),
    Layout(
        "fiftyone",
        "coco",
        "FiftyOne export (COCO)",
        "labels.json and data/",
        _named("labels.json", beside="data"),
    ),
    Layout(
        "json",
        "coco",
        "COCO JSON",
        "one or more JSON files of any name with images, annotations and categories",
        _find_any,
    ),
)
"""In order of preference."""
