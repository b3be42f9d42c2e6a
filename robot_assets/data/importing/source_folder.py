"""Refuses what is given as a source and is no folder of images and labels, with the step that makes one of it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import printable
from robot_assets.core.text import listed, near_misses
from robot_assets.data.images import SUFFIXES
from robot_assets.data.tree import Tree, suffix_of

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])", re.IGNORECASE)
_VIDEO = ("a video", "videos", "extract the frames (ffmpeg -i VIDEO -r 2 FOLDER/%06d.jpg), and label them first")
_BAG = ("a ROS bag", "ROS bags", "export the images, and label them first")
_ARCHIVE = ("an archive", "archives", "extract first, and import the folder that results")
_EXPORT = "export YOLO or COCO instead"
_KINDS = {
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".wmv", ".h264", ".svo"), _VIDEO),
    **dict.fromkeys((".bag", ".mcap", ".db3"), _BAG),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".7z", ".rar"), _ARCHIVE),
    ".xml": ("an XML file", "XML labels (Pascal VOC or CVAT)", _EXPORT),
    ".tfrecord": ("a TFRecord file", "TFRecord files", _EXPORT),
    ".json": ("a JSON file", "JSON that is not COCO (LabelMe, VIA or others)", _EXPORT),
    ".csv": ("a CSV file", "CSV labels", _EXPORT),
}
"""Files that hold images or labels in a form that is not read: what one is, what several are, and what to do."""
_LABELS = (".json", ".csv")
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")
EXPORT_IMAGES = (
    "export the labels with their images (CVAT: 'Save images'; Label Studio: 'YOLO with Images', 'COCO with Images')"
)
_NEEDED = "the folder of the images and labels"


def hints_about(names: Iterable[str]) -> list[str]:
    """What to do with files that are not read, one line for each kind."""
    suffixes: dict[tuple[str, str, str], list[str]] = {}
    for suffix in sorted({suffix_of(name) for name in names} & _KINDS.keys()):
        suffixes.setdefault(_KINDS[suffix], []).append(suffix)
    return [f"{listed(found)} files are {kind[1]}: {kind[2]}" for kind, found in suffixes.items()]


def no_image(tree: Tree, labels: int) -> DataError:
    """The error about a folder without images.

    Args:
        tree: The source.
        labels: Number of files that may be labels.
    """
    has = f", but {labels} text files" if labels > 1 else ""
    hints = hints_about(name for name in tree.files if suffix_of(name) not in _LABELS)
    fix = "; ".join(hints) or (EXPORT_IMAGES if labels > 1 else "check the path")
    return DataError(f"{printable(str(tree.root))} has no image{has}", needed="JPEG, PNG, WebP or BMP files", fix=fix)


def require_folder(source: Path) -> None:
    """Refuse a source that is not there or is a file.

    Raises:
        DataError: It is a URL, does not exist, or is an archive, a video or another file.
    """
    url = _URL.match(str(source))
    if source.is_dir() or source.is_symlink():
        return
    shown, state, fix = printable(str(source)), "does not exist", "check the path"
    if url and not source.exists():
        shown, state = f"{url[1]}://{printable(str(source)[url.end() :])}", "is a URL"
        fix = _download(url[1].lower(), shown)
    elif source.is_file():
        state, fix = _file(source)
    elif near := _near(source):
        state, fix = f"does not exist; did you mean {near!r}?", f"use {shlex.quote(str(source.with_name(near)))}"
    raise DataError(f"{shown} {state}", needed=_NEEDED, fix=fix)


def _download(scheme: str, url: str) -> str:
    copy = {"s3": "aws s3 cp --recursive", "gs": "gcloud storage cp --recursive"}.get(scheme)
    if copy:
        return f"{copy} {shlex.quote(url)} ./download   # then import ./download"
    return "download the export, extract it, and import its folder"


def _file(source: Path) -> tuple[str, str]:
    """What a file is, and how to make a source of it."""
    name, suffix = source.name.lower(), suffix_of(source.name)
    kind = _KINDS.get(suffix)
    quoted, folder = shlex.quote(str(source)), shlex.quote(str(source.with_name(source.name.split(".")[0])))
    if suffix == ".zip":
        return "is an archive", f"unzip {quoted} -d {folder}   # then import {folder}"
    if name.endswith(_TAR):
        return "is an archive", f"mkdir {folder} && tar -xf {quoted} -C {folder}   # then import {folder}"
    if kind and kind in (_VIDEO, _BAG, _ARCHIVE):
        return f"is {kind[0]}", kind[2]
    what = "one image" if suffix in SUFFIXES else "a file"
    return f"is {what}, not a folder", f"use its folder: {shlex.quote(str(source.parent))}"


def _near(source: Path) -> str:
    """A folder beside it of nearly this name; "" for none."""
    try:
        folders = [entry.name for entry in os.scandir(source.parent) if entry.is_dir()]
    except OSError:
        return ""
    return next(iter(near_misses(source.name, folders, at_most=1)), "")
