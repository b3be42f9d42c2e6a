"""Arrangements of images and masks.

There are two kinds. *Paired*: ``images/day1/x.jpg`` has its mask at ``masks/day1/x.png``; both folders have one of many
names. *Beside*: ``x.jpg`` has its mask at ``x_mask.png`` in the same folder. A layout of a tool is one of them with the
files that this tool adds. The names of the mask and of the image are equal without their endings (``_mask``,
``_leftImg8bit``).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from robot_assets.data.coco_document import NotJson, load_json
from robot_assets.data.importing.layout import LabelFiles, Layout, split_folders
from robot_assets.data.importing.masks.legend import LABEL_MAP, TABLES
from robot_assets.data.tree import Tree, suffix_of

_RAW_LABELS = "annotations.json"
VOC_MASKS = ("segmentationclass", "segmentationclasspng")
_IMAGE_FOLDERS = frozenset(
    ("images", "image", "imgs", "img", "img_dir", "jpegimages", "rgb", "photos", "leftimg8bit", "frames", "input")
)
_MASK_FOLDERS = (
    *VOC_MASKS, "masks", "mask", "gtfine", "gtcoarse", "annotations", "annotation", "ann_dir", "labels", "label",
    "segmentation", "segmentations", "semantic", "gt", "ground_truth", "groundtruth", "targets", "target",
)  # fmt: skip
_MASK_ENDING = re.compile(
    r"[-_. ](?:mask|masks|label|labels|seg|segmentation|gt|(?:gt(?:fine|coarse)_)?label(?:train)?ids)$", re.IGNORECASE
)
_IMAGE_ENDING = re.compile(r"[-_](?:leftImg8bit|image|img|rgb)$", re.IGNORECASE)
_OTHERS = re.compile(
    r"(?:.*/)?(?:segmentationobject|segmentationclassvisualization|segmentationclassnpy|imagesets)/.*"
    r"|.*\.xml|.*_(?:color|instanceids|instancetrainids|polygons)\.(?:png|json)",
    re.IGNORECASE,
)
"""Files of tools that are neither images nor masks of classes."""
_CITYSCAPES_IDS = re.compile(r".*_gt(?:Fine|Coarse)_label(Train)?Ids\.png")
_LISTS = re.compile(r"(?:^|.*/)ImageSets/Segmentation/[^/]+\.txt", re.IGNORECASE)
_NUMBERED = re.compile(r"task-\d+-annotation-\d+-", re.IGNORECASE)


def has_train_ids(tree: Tree) -> bool | None:
    """Whether the masks of Cityscapes have train ids; None when they are no masks of Cityscapes."""
    found = [match for match in map(_CITYSCAPES_IDS.fullmatch, tree.with_suffix(".png")) if match]
    return any(match[1] for match in found) if found else None


def is_brush_export(tree: Tree) -> bool:
    """Whether the masks are those of Label Studio's brush, whose names do not have that of the image."""
    names = [_base(name) for name in tree.with_suffix(".png")]
    return bool(names) and all(map(_NUMBERED.match, names))


def masks_by_label(tree: Tree, labels: Iterable[str]) -> Mapping[str, list[str]]:
    """Masks by the label that they are of: their path without suffix and without ending.

    A mask whose exact path an image has keeps its ending. One that differs from the only image that has no mask in case
    or Unicode form is of that image.
    """
    wanted = set(labels)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(candidates_of(tree)):
        stem = _stem(name)
        found[stem if stem in wanted else stem_of_mask(name)].append(name)
    missing, free = _by_form(wanted.difference(found)), _by_form(set(found).difference(wanted))
    for form, same in missing.items():
        if len(same) == len(free.get(form, ())) == 1:
            found[same[0]] = found.pop(free[form][0])
    return found


def _by_form(paths: Iterable[str]) -> dict[str, list[str]]:
    """Paths by what is equal on Windows and macOS: Unicode form NFC, case ignored."""
    forms: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        forms[unicodedata.normalize("NFC", path).casefold()].append(path)
    return forms


def candidates_of(tree: Tree) -> set[str]:
    """Files of a tree that are masks by their place or their name, with or without an image."""
    roots = tuple(f"{root}/" for root in mask_roots(tree))
    names = (name for name in tree.images() if not is_other(name))
    if not roots:
        return {name for name in names if _MASK_ENDING.search(_stem(name))}
    found = {name for name in names if name.startswith(roots)}
    if has_train_ids(tree):
        return {name for name in found if not name.endswith("_labelIds.png")}
    return found


def mask_roots(tree: Tree) -> set[str]:
    """Folders of masks that have a folder of images beside them: train/masks."""
    return {"/".join(mask.split("/")[: at + 1]) for at, mask in _placed(tree).values()}


def stem_of_mask(name: str) -> str:
    """Path of a mask without its suffix and its ending: masks/a_mask.png -> masks/a."""
    return _MASK_ENDING.sub("", _stem(name))


def pairs(tree: Tree) -> dict[str, str]:
    """Folders of images that have a folder of masks: train/images/day1 -> train/masks/day1."""
    return {folder: mask for folder, (_, mask) in _placed(tree).items()}


def _placed(tree: Tree) -> dict[str, tuple[int, str]]:
    """The same, with the place of the part that is the folder of masks."""
    folders = {_folder(name) for name in tree.images()}
    siblings: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for part in {parent for folder in folders for parent in _parents(folder)}:
        above, _, name = part.rpartition("/")
        siblings[above][name.lower()] = name
    found = {folder: _mask_folder(folder, siblings) for folder in folders}
    return {folder: mask for folder, mask in found.items() if mask is not None}


def _parents(folder: str) -> Iterator[str]:
    """The folder, and those above it."""
    while folder:
        yield folder
        folder = _folder(folder)


def _mask_folder(folder: str, siblings: Mapping[str, Mapping[str, str]]) -> tuple[int, str] | None:
    """Folder of the masks of a folder of images, whether it exists or not; None when it is none of images."""
    parts = folder.split("/")
    for at in reversed(range(len(parts))):
        if parts[at].lower() in _IMAGE_FOLDERS:
            beside = siblings.get("/".join(parts[:at]), {})
            mask = next((beside[name] for name in _MASK_FOLDERS if name in beside), None)
            if mask is not None:
                return at, "/".join([*parts[:at], mask, *parts[at + 1 :]])
    return None


def is_other(name: str) -> bool:
    """Whether a file is one of a tool that is neither an image nor a mask of classes."""
    return _OTHERS.fullmatch(name) is not None


def file_names(labels: Mapping[str, str]) -> dict[str, str]:
    """Path of each image below images/ of the raw data set: without the part by which its folder differs."""
    return {image: _below(image, label) for image, label in labels.items()}


def _below(image: str, label: str) -> str:
    parts, others = image.split("/"), label.split("/")
    at = next((at for at, (one, other) in enumerate(zip(parts, others, strict=False)) if one != other), 0)
    return "/".join(parts if at >= len(parts) - 1 else [*parts[:at], *parts[at + 1 :]])


def _labels_of(tree: Tree, folders: Mapping[str, str]) -> dict[str, str]:
    """Path of the mask without suffix, by image, of the images in these folders."""
    masks = set(folders.values())
    return {
        name: f"{folders[_folder(name)]}/{_IMAGE_ENDING.sub('', _stem(_base(name)))}"
        for name in tree.images()
        if _folder(name) in folders and _folder(name) not in masks
    }


def _files(tree: Tree, labels: dict[str, str]) -> LabelFiles | None:
    """The files of a layout; None when no image has a mask."""
    found = masks_by_label(tree, labels.values())
    if not any(label in found for label in labels.values()) and not _has_voc_masks(tree):
        return None
    splits = split_folders(file_names(labels).values())
    return LabelFiles(labels=labels, others=frozenset(filter(is_other, tree.files)), splits=splits)


def _paired(tree: Tree, matches: Callable[[Tree, Mapping[str, str]], bool]) -> LabelFiles | None:
    folders = pairs(tree)
    if not matches(tree, folders):
        return None
    return _files(tree, _labels_of(tree, folders))


def _has_voc_masks(tree: Tree) -> bool:
    return any(folder.rpartition("/")[2].lower() in VOC_MASKS for folder in _all_folders(tree))


def _all_folders(tree: Tree) -> set[str]:
    return {parent for folder in tree.folders for parent in _parents(folder)}


def _is_voc(tree: Tree, folders: Mapping[str, str]) -> bool:
    return _has_voc_masks(tree)


def _is_cvat(tree: Tree, folders: Mapping[str, str]) -> bool:
    return _has_voc_masks(tree) and any(_base(name) == LABEL_MAP for name in tree.files)


def _is_cityscapes(tree: Tree, folders: Mapping[str, str]) -> bool:
    return bool(folders) and has_train_ids(tree) is not None


def _always(tree: Tree, folders: Mapping[str, str]) -> bool:
    return bool(folders)


def is_raw_segmentation(folder: Path) -> bool:
    """Whether a folder is raw data of this project, of a segmentation: its labels name their task."""
    path = folder / _RAW_LABELS
    if not path.is_file() or not (folder / "masks").is_dir():
        return False
    try:
        loaded = load_json(path)
    except (NotJson, OSError):
        return False
    info = loaded.get("info") if isinstance(loaded, dict) else None
    return isinstance(info, dict) and info.get("task") == "segmentation"


def _find_raw(tree: Tree) -> LabelFiles | None:
    if _RAW_LABELS not in tree.files or not is_raw_segmentation(tree.root):
        return None
    return _files(tree, _labels_of(tree, {f: m for f, m in pairs(tree).items() if f.split("/")[0] == "images"}))


def _find_voc(tree: Tree, matches: Callable[[Tree, Mapping[str, str]], bool]) -> LabelFiles | None:
    """The images that ImageSets/Segmentation lists, or that have a mask: the others have labels of boxes only."""
    found = _paired(tree, matches)
    listed = set(_listed(tree))
    if found is None or not listed:
        return found
    masks = masks_by_label(tree, found.labels.values())
    kept = {
        image: label
        for image, label in found.labels.items()
        if label in masks or _stem(_base(image)) in listed or _stem(file_names({image: label})[image]) in listed
    }
    return _files(tree, kept)


def _listed(tree: Tree) -> Iterator[str]:
    """Names without suffix that the lists of Pascal VOC and CVAT have."""
    for name in tree.with_suffix(".txt"):
        if _LISTS.fullmatch(name):
            lines = tree.files[name].read_bytes().decode("utf-8-sig", "replace").splitlines()
            yield from (line.strip() for line in lines)


def _find_beside(tree: Tree, matches: Callable[[Tree], bool]) -> LabelFiles | None:
    """Images whose masks have an ending, in the same folder."""
    if pairs(tree) or not matches(tree):
        return None
    masks = candidates_of(tree)
    labels = {name: _stem(name) for name in tree.images() if name not in masks}
    return _files(tree, labels)


def _is_roboflow(tree: Tree) -> bool:
    return any(_base(name) == TABLES[0] for name in tree.files)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _base(name: str) -> str:
    return name[name.rfind("/") + 1 :]


def _stem(name: str) -> str:
    suffix = suffix_of(name)
    return name[: len(name) - len(suffix)] if suffix else name


LAYOUTS: tuple[Layout, ...] = (
    Layout("raw-masks", "masks", "raw data of robot-assets", "annotations.json, images/ and masks/", _find_raw),
    Layout(
        "cvat-masks",
        "masks",
        "CVAT export (Segmentation mask 1.1)",
        "labelmap.txt, SegmentationClass/ and JPEGImages/",
        partial(_find_voc, matches=_is_cvat),
    ),
    Layout(
        "voc",
        "masks",
        "Pascal VOC (SegmentationClass)",
        "SegmentationClass/ and JPEGImages/, with ImageSets/Segmentation/",
        partial(_find_voc, matches=_is_voc),
    ),
    Layout(
        "cityscapes",
        "masks",
        "Cityscapes",
        "leftImg8bit/SPLIT/CITY/ and gtFine/SPLIT/CITY/ with _labelTrainIds.png or _labelIds.png",
        partial(_paired, matches=_is_cityscapes),
    ),
    Layout(
        "roboflow-masks",
        "masks",
        "Roboflow export (semantic segmentation masks)",
        "SPLIT/NAME.jpg and SPLIT/NAME_mask.png with _classes.csv",
        partial(_find_beside, matches=_is_roboflow),
    ),
    Layout(
        "masks",
        "masks",
        "folder of images/ and masks/ with the same folders",
        "images/FOLDER/NAME.jpg and masks/FOLDER/NAME.png (or labels/, annotations/), also in each split",
        partial(_paired, matches=_always),
    ),
    Layout(
        "masks-beside",
        "masks",
        "folder with the masks beside their images",
        "FOLDER/NAME.jpg and FOLDER/NAME_mask.png",
        partial(_find_beside, matches=lambda tree: True),
    ),
)
