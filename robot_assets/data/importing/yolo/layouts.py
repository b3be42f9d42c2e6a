"""Arrangements of images and YOLO labels: what annotation tools export, and what people make by hand.

There are two kinds. *Paired*: ``FOLDER/images/x.jpg`` has its label at ``FOLDER/labels/x.txt``, where FOLDER is the
source itself, a split, or a recording. *Beside*: ``x.jpg`` has its label at ``x.txt`` in the same folder. A layout of
a tool is one of them with the files that this tool adds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from robot_assets.data.images import SUFFIXES
from robot_assets.data.importing.layout import LabelFiles, Layout, is_split, split_folders
from robot_assets.data.importing.yolo.class_names import class_files_of, is_class_file
from robot_assets.data.tree import Tree, suffix_of

LABEL_SUFFIX = ".txt"
_SUBSET_FOLDER = re.compile(r"obj_.+_data")
_LIST_BYTES = 4096


def image_folders(tree: Tree) -> list[str]:
    """Folders that have images, in order."""
    return list(dict.fromkeys(name.rpartition("/")[0] for name in tree.images()))


def pairs(tree: Tree) -> dict[str, str]:
    """Folders of images that have a folder of labels: "train/images/day1" -> "train/labels/day1".

    The part "images" that has a sibling "labels" counts; the last one, when there are several. Case is ignored, as
    the file systems of Windows and macOS do.
    """
    roots = {_key(labels): labels for labels in _label_roots(tree)}
    found = {folder: _label_folder(folder, roots) for folder in image_folders(tree)} if roots else {}
    return {folder: labels for folder, labels in found.items() if labels is not None}


def _label_folder(folder: str, roots: Mapping[str, str]) -> str | None:
    """Folder of the labels of a folder of images, whether it exists or not; None when it has no part "images"."""
    parts = folder.split("/")
    places = [at for at, part in enumerate(parts) if part.lower() == "images"]
    for at in reversed(places):
        labels = roots.get(_key("/".join([*parts[:at], "labels"])))
        if labels is not None:
            return "/".join([labels, *parts[at + 1 :]])
    return "/".join([*parts[: places[-1]], "labels", *parts[places[-1] + 1 :]]) if places else None


def _key(path: str) -> str:
    """A path by which names that look equal are equal: Unicode form NFC, case ignored."""
    return unicodedata.normalize("NFC", path).casefold()


def _label_roots(tree: Tree) -> set[str]:
    """Folders with the name "labels" that have something below them."""
    roots: set[str] = set()
    for folder in tree.folders:
        parts = folder.split("/")
        roots.update("/".join(parts[: index + 1]) for index, part in enumerate(parts) if part.lower() == "labels")
    return roots


def beside(tree: Tree) -> list[str]:
    """Folders that have images with a label of the same stem beside them."""
    labels = {label for label in tree.with_suffix(LABEL_SUFFIX) if not is_class_file(label)}
    return list(dict.fromkeys(image.rpartition("/")[0] for image in tree.images() if _label_of(image) in labels))


def is_list_of_images(tree: Tree, name: str) -> bool:
    """Whether a text file lists images, as train.txt of darknet and SUBSET.txt of CVAT do."""
    with tree.files[name].open("rb") as file:
        lines = file.read(_LIST_BYTES).decode("utf-8-sig", "replace").split("\n")
    first = next((line.strip() for line in lines if line.strip()), "")
    return suffix_of(first) in SUFFIXES


def _top_lists(tree: Tree) -> list[str]:
    """Text files at the top that list images."""
    labels = {_label_of(name) for name in tree.images() if "/" not in name}
    texts = [name for name in tree.with_suffix(LABEL_SUFFIX) if "/" not in name and name not in labels]
    return [name for name in texts if not is_class_file(name) and is_list_of_images(tree, name)]


def _paired(tree: Tree, matches: Callable[[Tree, set[str]], bool]) -> LabelFiles | None:
    """The files of a paired layout whose image folders, relative to the source, satisfy ``matches``."""
    found = pairs(tree)
    if not found or not matches(tree, set(found)):
        return None
    labels = {}
    for image in tree.images():
        folder, _, base = image.rpartition("/")
        if folder in found:
            labels[image] = f"{found[folder]}/{_label_of(base)}"
    return _files(tree, labels)


def _label_of(image: str) -> str:
    return image[: image.rfind(".")] + LABEL_SUFFIX


def _files(tree: Tree, labels: dict[str, str]) -> LabelFiles:
    return LabelFiles(
        labels=labels,
        class_files=class_files_of(tree),
        others=frozenset(_top_lists(tree)),
        splits=split_folders(file_names(labels).values()),
    )


def file_names(labels: Mapping[str, str]) -> dict[str, str]:
    """Path of each image below images/ of the raw data set: without the part by which it differs from its label."""
    folders: dict[tuple[str, str], str] = {}
    names = {}
    for image, label in labels.items():
        folder, _, base = image.rpartition("/")
        pair = folder, label.rpartition("/")[0]
        if pair not in folders:
            folders[pair] = _recording(*pair)
        names[image] = folders[pair] + base
    return names


def _recording(images: str, labels: str) -> str:
    """Folder of an image below images/ of the raw data set, with a slash at its end; "" for the top."""
    parts, others = images.split("/"), labels.split("/")
    if images != labels:
        differs = [_key(part) != _key(other) for part, other in zip(parts, others, strict=True)]
        del parts[differs.index(True)]
    return "".join(f"{part}/" for part in parts if part)


def _beside(tree: Tree, matches: Callable[[Tree, list[str]], bool]) -> LabelFiles | None:
    """The files of a layout with labels beside the images, whose folders satisfy ``matches``."""
    folders = beside(tree)
    if not folders or not matches(tree, folders):
        return None
    return _files(tree, {image: _label_of(image) for image in tree.images()})


def _below_images(folders: Iterable[str]) -> list[str]:
    """The first folder below images/ at the top, of each folder; "" where there is none."""
    return [folder.partition("/")[2].partition("/")[0] for folder in folders]


def _is_top(folders: Iterable[str]) -> bool:
    return all(folder.partition("/")[0].lower() == "images" for folder in folders)


def _has(tree: Tree, *names: str) -> bool:
    """Whether the top has one of these files."""
    return any(name.lower() in names for name in tree.folders.get("", []))


def _is_ultralytics(tree: Tree, folders: set[str]) -> bool:
    return _is_top(folders) and all(map(is_split, _below_images(folders)))


def _is_cvat_ultralytics(tree: Tree, folders: set[str]) -> bool:
    subsets = {name[: name.rfind(".")] for name in _top_lists(tree)}
    tops = set(_below_images(folders))
    return _is_top(folders) and _has(tree, "data.yaml") and bool(subsets) and tops <= subsets


def _is_label_studio(tree: Tree, folders: set[str]) -> bool:
    return _is_flat(folders) and _has(tree, "notes.json")


def _is_flat(folders: set[str]) -> bool:
    return {folder.lower() for folder in folders} == {"images"}


def _is_roboflow(tree: Tree, folders: set[str]) -> bool:
    parts = [folder.split("/") for folder in folders]
    return all(len(part) > 1 and is_split(part[0]) and part[1].lower() == "images" for part in parts)


def _find_labelimg(tree: Tree) -> LabelFiles | None:
    """classes.txt in a folder that has labels, too: beside the images, or in labels/."""

    def has_classes(tree: Tree, folders: Iterable[str]) -> bool:
        return any({"classes.txt", "Classes.txt"} & set(tree.folders.get(folder, ())) for folder in folders)

    def has_flat_classes(tree: Tree, folders: set[str]) -> bool:
        return _is_flat(folders) and has_classes(tree, pairs(tree).values())

    return _paired(tree, has_flat_classes) or _beside(tree, has_classes)


def _is_cvat_yolo(tree: Tree, folders: list[str]) -> bool:
    tops = {folder.partition("/")[0] for folder in folders}
    return all(map(_SUBSET_FOLDER.fullmatch, tops)) and _has(tree, "obj.names", "obj.data")


def _is_darknet(tree: Tree, folders: list[str]) -> bool:
    return any(suffix_of(name) == ".data" for name in tree.folders.get("", [])) or any(
        {"_darknet.labels", "darknet.labels"}.intersection(names) for names in tree.folders.values()
    )


def _always(tree: Tree, folders: Iterable[str]) -> bool:
    return True


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "cvat-ultralytics",
        "yolo",
        "CVAT export (Ultralytics YOLO)",
        "images/SUBSET/ and labels/SUBSET/ with data.yaml and SUBSET.txt",
        partial(_paired, matches=_is_cvat_ultralytics),
    ),
    Layout(
        "ultralytics",
        "yolo",
        "Ultralytics data set",
        "images/SPLIT/ and labels/SPLIT/ with a YAML file that has names",
        partial(_paired, matches=_is_ultralytics),
    ),
    Layout(
        "roboflow",
        "yolo",
        "Roboflow export (YOLO)",
        "SPLIT/images/ and SPLIT/labels/ with data.yaml",
        partial(_paired, matches=_is_roboflow),
    ),
    Layout(
        "label-studio",
        "yolo",
        "Label Studio export (YOLO)",
        "images/ and labels/ with classes.txt and notes.json",
        partial(_paired, matches=_is_label_studio),
    ),
    Layout(
        "cvat-yolo",
        "yolo",
        "CVAT export (YOLO 1.1)",
        "obj_SUBSET_data/ with images and labels, obj.names, obj.data, SUBSET.txt",
        partial(_beside, matches=_is_cvat_yolo),
    ),
    Layout(
        "labelimg",
        "yolo",
        "labelImg folder",
        "classes.txt in the folder of the labels; labels beside the images, or images/ and labels/",
        _find_labelimg,
    ),
    Layout(
        "mirrored",
        "yolo",
        "folder of images/ and labels/ with the same folders",
        "images/FOLDER/NAME.jpg and labels/FOLDER/NAME.txt",
        partial(_paired, matches=lambda tree, folders: _is_top(folders)),
    ),
    Layout(
        "paired",
        "yolo",
        "folder with images/ and labels/ in each recording",
        "FOLDER/images/NAME.jpg and FOLDER/labels/NAME.txt",
        partial(_paired, matches=_always),
    ),
    Layout(
        "darknet",
        "yolo",
        "Darknet data set",
        "labels beside the images, with obj.data or _darknet.labels",
        partial(_beside, matches=_is_darknet),
    ),
    Layout(
        "beside",
        "yolo",
        "folder with the labels beside their images",
        "FOLDER/NAME.jpg and FOLDER/NAME.txt",
        partial(_beside, matches=_always),
    ),
)
