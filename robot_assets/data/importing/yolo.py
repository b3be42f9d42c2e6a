"""Reads YOLO sources: recognizes the layout, then finds the label file of each image.

Rows are parsed when an image is imported (:mod:`yolo_rows`), as they have to be checked against its size.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.text import listed, near_misses, plural
from robot_assets.data.boxes import Box
from robot_assets.data.images import FOREIGN_SUFFIXES, SUFFIXES
from robot_assets.data.importing.class_names import agreed_names, is_class_file, no_class_names, read_class_files
from robot_assets.data.importing.coco_layouts import LAYOUTS as COCO_LAYOUTS
from robot_assets.data.importing.layout import LabelFiles, is_split, recognize
from robot_assets.data.importing.yolo_layouts import LABEL_SUFFIX, LAYOUTS, file_names, is_list_of_images
from robot_assets.data.importing.yolo_rows import RowRules, polygon_rows, read_label, read_rows
from robot_assets.data.label_issues import BadItem, LabelIssue, printable
from robot_assets.data.source import Entry, Source
from robot_assets.data.tree import EMPTY_FOLDER, Tree, suffix_of, walk

POLYGONS = ("boxes",)
_TOOL_TEXT = re.compile(
    r"(readme|licen[cs]e|notice|requirements)(\.[\w-]+)*\.txt|(train|val|valid|test)\.txt", re.IGNORECASE
)
"""Names of text files that are no labels, unless they have rows of labels."""
_HEAD_BYTES = 4096
_SAMPLED_LABELS = 1000
_ENCLOSED = {
    False: ("polygon or oriented box", "polygons or oriented boxes"),
    True: ("row with key points", "rows with key points"),
}


def read_yolo(source: Path, layout: str | None = None, polygons: str | None = None) -> Source:
    """Find the images of a YOLO source; labels are read later, one image at a time.

    Args:
        source: The folder.
        layout: Name of the layout that it has to have; recognized when None.
        polygons: "boxes" reads polygons and oriented boxes as their enclosing boxes, as Ultralytics does, and boxes
            with key points without them; None refuses their images.

    Raises:
        DataError: No folder, an empty one, an unknown layout, no image, no or contradictory class names.
    """
    enclosing = _is_enclosing(source, polygons)
    tree = walk(source)
    if not tree.images():
        return _without_images(tree)
    recognized, files = recognize(tree, (*LAYOUTS, *COCO_LAYOUTS), layout)
    named = read_class_files(tree, files.class_files)
    if not any(classes.names for classes in named):
        raise no_class_names(source, _class_ids(tree, files.labels.values()))
    key_points = next((classes.key_points for classes in named if classes.key_points), None)
    rules = RowRules(agreed_names(source, named), enclosing, key_points)
    match = _Matching(tree, files)
    entries = tuple(match.entries(rules))
    issues = (*filter(_is_loss, tree.issues), *match.issues, *match.orphans())
    return Source(
        rules.categories,
        entries,
        issues,
        unlisted=tuple(match.unlisted),
        layout=recognized.title,
        splits=files.splits,
        notes=(*match.notes(), *_enclosing_notes(tree, match.labels.values(), rules)),
    )


def _is_enclosing(source: Path, polygons: str | None) -> bool:
    if polygons is not None and polygons not in POLYGONS:
        near = near_misses(polygons, POLYGONS, at_most=1)
        raise DataError(
            f"polygons {polygons!r} is unknown" + (f"; did you mean {near[0]!r}?" if near else ""),
            needed="boxes: polygons and oriented boxes are imported as their enclosing boxes",
            fix=f"robot-assets data import yolo {shlex.quote(str(source))} --name NAME --polygons boxes",
        )
    return polygons is not None


def _without_images(tree: Tree) -> Source:
    """Nothing but issues, such as images of foreign formats or symlinks.

    Raises:
        DataError: There is no issue either, so that the folder has no image at all.
    """
    if tree.issues:
        return Source((), (), tuple(tree.issues))
    texts = len(tree.with_suffix(LABEL_SUFFIX))
    has = f", but {plural(texts, 'text file')}" if texts > 1 else ""
    raise DataError(
        f"{printable(str(tree.root))} has no image{has}",
        needed="JPEG, PNG, WebP or BMP files",
        fix="export the labels with their images (CVAT: 'Save images'; Label Studio: 'YOLO with Images')"
        if texts > 1
        else "check the path",
    )


def _is_loss(issue: LabelIssue) -> bool:
    """Whether an issue is more than an empty split, or an empty folder of labels: missing labels are issues anyway."""
    parts = issue.place.lower().split("/")
    is_empty_part = "labels" in parts or ("images" in parts and any(map(is_split, parts)))
    return not (issue.found == EMPTY_FOLDER and is_empty_part)


@dataclass
class _Matching:
    """Images and their labels; what does not match becomes an issue."""

    tree: Tree
    files: LabelFiles

    def __post_init__(self) -> None:
        self.issues: list[LabelIssue] = []
        self.unlisted: list[LabelIssue] = []
        self.unread: list[str] = []
        missing = {label for label in self.files.labels.values() if label not in self.tree.files}
        alike = _unique_forms(
            set(self.tree.with_suffix(LABEL_SUFFIX)) - set(self.files.labels.values()) if missing else ()
        )
        self.labels = {
            image: alike.get(_form(label), label) if label in missing else label
            for image, label in self.files.labels.items()
        }
        self._refused = {issue.place for issue in self.tree.issues}

    def entries(self, rules: RowRules) -> Iterator[Entry]:
        """One entry for each image with a label of its own, ordered by file name."""
        self._find_strays()
        labels, root = self.labels, str(self.tree.root)
        names = file_names(self.files.labels)
        users, owners, forms = (
            Counter(labels.values()),
            Counter(names.values()),
            Counter(map(_normalized, names.values())),
        )
        for image in sorted(labels, key=names.__getitem__):
            label, name = labels[image], names[image]
            if users[label] > 1:
                self._add(image, f"shares {label} with another image", "rename one of the two")
            elif owners[name] > 1:
                self._add(image, f"becomes {name}, as another image does", "rename one of the two")
            elif forms[_normalized(name)] > 1:
                self._add(image, "another image has the same name in another Unicode form", "rename one of the two")
            elif label not in self._refused:
                path = f"{root}/{label}" if label in self.tree.files else None
                yield Entry(name, self.tree.files[image], partial(_read_boxes, path, label, rules))

    def orphans(self) -> Iterator[LabelIssue]:
        """Labels without an image, as in an incomplete copy; text files that are no labels are noted."""
        expected = set(self.labels.values()) | self._labels_of_refused()
        for name in self.tree.with_suffix(LABEL_SUFFIX):
            if name in expected or name in self.files.others or is_class_file(name):
                continue
            kind = self._kind(name)
            if kind == "label":
                twin = self._twin(name)
                found = f"the same name as {twin} in another Unicode form" if twin else "a label without its image"
                yield LabelIssue(name, found, "restore the image, or remove the label")
            elif kind == "text":
                self.unread.append(name)

    def notes(self) -> Iterator[str]:
        """What was left aside."""
        if self.unread:
            names = listed(map(printable, sorted(self.unread)), 3)
            yield f"{plural(len(self.unread), 'text file')} without label rows not read: {names}"

    def _alike(self) -> dict[str, str]:
        """Labels of images that have none of exactly their name, but one whose name looks equal."""
        missing = {image: label for image, label in self.labels.items() if label not in self.tree.files}
        if not missing:
            return {}
        alike = _unique_forms(set(self.tree.with_suffix(LABEL_SUFFIX)).difference(self.labels.values()))
        return {image: alike.get(_form(label), label) for image, label in missing.items()}

    def _find_strays(self) -> None:
        """Images outside images/ of a layout that has it."""
        for image in self.tree.images():
            if image in self.labels:
                continue
            label = image[: image.rfind(".")] + LABEL_SUFFIX
            if label in self.tree.files:
                self._add(image, "its label is beside it, and those of other images are in labels/", "move both")
            else:
                self.unlisted.append(LabelIssue(image, "outside images/", "move it there with its label"))

    def _add(self, place: str, found: str, fix: str) -> None:
        self.issues.append(LabelIssue(place, found, fix))

    def _labels_of_refused(self) -> set[str]:
        """Labels of images that are not imported: their own finding is enough. Also of images outside images/."""
        foreign = self.tree.with_suffix(*FOREIGN_SUFFIXES)
        strays = [issue.place for issue in self.issues]
        refused = [place for place in self._refused if suffix_of(place) in (*SUFFIXES, *FOREIGN_SUFFIXES)]
        return {label for name in (*foreign, *strays, *refused) for label in _possible_labels(name)}

    def _kind(self, name: str) -> str:
        """One of "label", "list" (of images), "tool" (a text that tools add) and "text" (any other)."""
        if is_list_of_images(self.tree, name):
            return "list"
        with self.tree.files[name].open("rb") as file:
            first = next((line for line in file.read(_HEAD_BYTES).splitlines() if line.strip()), b"")
        columns = first.replace(b",", b" ").replace(b";", b" ").split()
        if len(columns) >= 5 and all(map(_is_number, columns[:5])):
            return "label"
        if _TOOL_TEXT.fullmatch(name.rpartition("/")[2]):
            return "tool"
        return "label" if not columns or (len(columns) > 1 and _is_number(columns[0])) else "text"

    def _twin(self, name: str) -> str | None:
        """A label of an image whose name differs from ``name`` in its Unicode form only."""
        return None if name.isascii() else self._used_forms().get(_form(name))

    def _used_forms(self) -> Mapping[str, str]:
        return {_form(label): label for label in self.labels.values() if not label.isascii()}


def _unique_forms(labels: Iterable[str]) -> dict[str, str]:
    """Label files by the form of their name, without those whose form is not unique."""
    labels = list(labels)
    counts = Counter(map(_form, labels))
    return {_form(label): label for label in labels if counts[_form(label)] == 1}


def _form(name: str) -> str:
    """Names that look equal, or are equal on Windows and macOS, have one form: Unicode form NFC, case ignored."""
    return unicodedata.normalize("NFC", name).casefold()


def _normalized(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _possible_labels(image: str) -> Iterator[str]:
    """Where the label of an image may be: beside it, or in labels/ instead of images/."""
    label = image[: image.rfind(".")] + LABEL_SUFFIX
    yield label
    parts = label.split("/")
    for at, part in enumerate(parts):
        if part.lower() == "images":
            yield "/".join([*parts[:at], "labels", *parts[at + 1 :]])


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_boxes(path: str | None, label: str, rules: RowRules, width: int, height: int) -> list[Box]:
    """Boxes of one label file; None instead of its path when there is none."""
    if path is None:
        raise BadItem(label, "missing label file", "restore it; an image without objects needs an empty one")
    return read_rows(read_label(path, label), label, rules, width, height)


def _class_ids(tree: Tree, labels: Iterable[str]) -> list[int]:
    """Class ids in the first labels of a source."""
    ids = set()
    existing = [label for label in labels if label in tree.files][:_SAMPLED_LABELS]
    for label in existing:
        for line in tree.files[label].read_bytes().splitlines():
            columns = line.split()
            if columns and columns[0].isdigit() and len(columns[0]) < 4:
                ids.add(int(columns[0]))
    return sorted(ids)


def _enclosing_notes(tree: Tree, labels: Iterable[str], rules: RowRules) -> Iterator[str]:
    """The number of rows that are read as their enclosing boxes."""
    if not rules.enclosing:
        return
    counts = [_polygons(tree.files[label], label) for label in labels if label in tree.files]
    counts = [count for count in counts if count]
    if counts:
        rows = plural(sum(counts), *_ENCLOSED[rules.key_points is not None])
        whose = "its" if sum(counts) == 1 else "their"
        yield f"{rows} read as {whose} enclosing box, in {plural(len(counts), 'label file')}"


def _polygons(path: Path, label: str) -> int:
    try:
        return polygon_rows(read_label(str(path), label))
    except BadItem:
        return 0  # named when the image is imported
