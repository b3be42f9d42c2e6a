"""Matches the images of a YOLO source with their label files."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from robot_assets.core.label_issues import LabelIssue, printable
from robot_assets.core.text import listed, plural
from robot_assets.data.images import FOREIGN_SUFFIXES, SUFFIXES
from robot_assets.data.importing.layout import LabelFiles
from robot_assets.data.importing.yolo.class_names import is_class_file
from robot_assets.data.importing.yolo.layouts import LABEL_SUFFIX, file_names, is_list_of_images
from robot_assets.data.tree import Tree, suffix_of

_TOOL_TEXT = re.compile(
    r"(readme|licen[cs]e|notice|requirements)(\.[\w-]+)*\.txt|(train|val|valid|test)\.txt", re.IGNORECASE
)
"""Names of text files that are no labels, unless they have rows of labels."""
_TOOL_FILE = re.compile(
    r"(readme|licen[cs]e|notice|copying|citation)([._-].*)?|notes\.json|.*\.(yaml|yml|names|labels|data|cfg|md|npy)",
    re.IGNORECASE,
)
"""Names of other files that data sets consist of, or that tools add."""
_HEAD_BYTES = 4096


@dataclass
class Matching:
    """The label of each image; what does not match becomes an issue.

    Attributes:
        tree: The source.
        files: Its files by their part in the layout.
        labels: Image -> its label file, whether that exists or not.
        issues: Images without a label or a name of their own.
        absent: Images without a label file that were matched.
        unlisted: Images outside the folders of the layout, without a label.
        unread: Files that are neither images nor labels, nor of a tool.
    """

    tree: Tree
    files: LabelFiles

    def __post_init__(self) -> None:
        self.issues: list[LabelIssue] = []
        self.absent: list[str] = []
        self.unlisted: list[LabelIssue] = []
        self.unread: list[str] = []
        self.labels = dict(self.files.labels)
        self.labels.update(self._alike())
        self._refused = {issue.place for issue in self.tree.issues}

    def matched(self) -> Iterator[tuple[str, str, str]]:
        """Image, its name in the raw data set, and its label, which may be missing; ordered by that name."""
        self._find_strays()
        labels, names = self.labels, file_names(self.files.labels)
        users, owners = Counter(labels.values()), Counter(names.values())
        forms = Counter(map(_normalized, names.values()))
        for image in sorted(labels, key=names.__getitem__):
            label, name = labels[image], names[image]
            if users[label] > 1:
                self._add(image, f"shares {label} with another image", "rename one of the two")
            elif owners[name] > 1:
                self._add(image, f"becomes {name}, as another image does", "rename one of the two")
            elif forms[_normalized(name)] > 1:
                self._add(image, "another image has the same name in another Unicode form", "rename one of the two")
            elif label not in self.tree.files and (other := self._misplaced.get(image)):
                self._add(other, *_fault_of_place(other, label))
            elif label not in self._refused:
                if label not in self.tree.files:
                    self.absent.append(image)
                yield image, name, label

    def orphans(self) -> Iterator[LabelIssue]:
        """Labels without an image, as in an incomplete copy; text files that are no labels become ``unread``."""
        expected = {*self.labels.values(), *self._labels_of_refused(), *self._misplaced.values()}
        for name in self.tree.with_suffix(LABEL_SUFFIX):
            if name in expected or name in self.files.others or is_class_file(name):
                continue
            kind = self._kind(name)
            if kind == "label":
                yield LabelIssue(name, *self._fault_of_orphan(name))
            elif kind == "text":
                self.unread.append(name)

    def notes(self) -> Iterator[str]:
        """What was left aside."""
        others = self.tree.without_suffix(LABEL_SUFFIX, *SUFFIXES, *FOREIGN_SUFFIXES)
        unread = [*self.unread, *(name for name in others if not _TOOL_FILE.fullmatch(name.rpartition("/")[2]))]
        if unread:
            yield f"{plural(len(unread), 'other file')} not read: {listed(map(printable, sorted(unread)), 3)}"

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

    def _fault_of_orphan(self, name: str) -> tuple[str, str]:
        """What a label is that no image has, and its fix."""
        twin = None if name.isascii() else self._used_forms.get(_form(name))
        if twin:
            return f"the same name as {twin} in another Unicode form", "remove one of the two"
        stem = name[: name.rfind(".")]
        if any(f"{stem}{suffix}" in self.tree.files for suffix in SUFFIXES):
            return "a second label of the image beside it, which has one in labels/", "remove one of the two"
        return "a label without its image", "restore the image, or remove the label"

    @cached_property
    def _misplaced(self) -> Mapping[str, str]:
        """Labels in another folder than that of their image, or named NAME.jpg.txt, where that is unambiguous."""
        absent = [image for image, label in self.labels.items() if label not in self.tree.files]
        if not absent:
            return {}
        free = set(self.tree.with_suffix(LABEL_SUFFIX)) - {*self.labels.values(), *self.files.others}
        by_base = _by_base(name for name in free if not is_class_file(name))
        images = _by_base(absent)
        found = {}
        for image in absent:
            base = _base(image)
            labels = [*by_base.get(base[: base.rfind(".")] + LABEL_SUFFIX, ()), *by_base.get(base + LABEL_SUFFIX, ())]
            if len(labels) == 1 and len(images[base]) == 1 and self._kind(labels[0]) == "label":
                found[image] = labels[0]
        times = Counter(found.values())
        return {image: label for image, label in found.items() if times[label] == 1}

    @cached_property
    def _used_forms(self) -> Mapping[str, str]:
        return {_form(label): label for label in self.labels.values() if not label.isascii()}


def _unique_forms(labels: Iterable[str]) -> dict[str, str]:
    """Label files by the form of their name, without those whose form is not unique."""
    labels = list(labels)
    counts = Counter(map(_form, labels))
    return {_form(label): label for label in labels if counts[_form(label)] == 1}


def _fault_of_place(label: str, wanted: str) -> tuple[str, str]:
    """What is wrong with the place of a label, and its fix; the same for all labels of a folder."""
    folder, needed = label[: -len(_base(label))], wanted[: -len(_base(wanted))]
    if folder == needed:
        return "a label named as its image with the suffix of the image", "rename it: NAME.jpg.txt to NAME.txt"
    return f"a label in {folder or 'the top folder'}, needed in {needed or 'the top folder'}", "move it there"


def _base(name: str) -> str:
    return name[name.rfind("/") + 1 :]


def _by_base(names: Iterable[str]) -> dict[str, list[str]]:
    """Paths by their last part."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_base(name), []).append(name)
    return found


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
