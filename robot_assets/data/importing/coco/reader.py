"""Reads COCO labels as annotation tools export them: any layout, several label files, ids and paths in any spelling."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import LabelIssue, printable
from robot_assets.core.text import listed, plural
from robot_assets.data.coco_document import NotCoco, NotJson, document_of, load_json
from robot_assets.data.importing.coco.annotations import Rows, repeated_ids, require_sizes, rows_by_image
from robot_assets.data.importing.coco.boxes import BoxReader
from robot_assets.data.importing.coco.categories import Categories, read_categories
from robot_assets.data.importing.coco.ids import Id, ids_in
from robot_assets.data.importing.coco.images import ImageRecord, accepted, read_records, target_of
from robot_assets.data.importing.coco.json_kinds import JsonKind, kind_of
from robot_assets.data.importing.coco.layouts import (
    LAYOUTS,
    base_folder,
    is_json,
)
from robot_assets.data.importing.coco.masks import MaskReader
from robot_assets.data.importing.coco.notes import (
    about_ids,
    about_ignored,
    about_ignored_regions,
    about_images_without_boxes,
    about_names,
    about_other_labels,
    about_shapes,
)
from robot_assets.data.importing.coco.paths import ABSENT, NO_IMAGE, ImagePaths
from robot_assets.data.importing.layout import LabelFiles, Layout, recognize, split_folders
from robot_assets.data.importing.masks.layouts import LAYOUTS as MASK_LAYOUTS
from robot_assets.data.importing.segmentation.labels import (
    Classes,
    MaskEntry,
    SegmentationOptions,
    classes_of,
    filled,
    no_box,
)
from robot_assets.data.importing.source_folder import EXPORT_IMAGES, require_folder
from robot_assets.data.importing.unlabelled import about_background, about_unlisted, no_boxes
from robot_assets.data.importing.yolo.class_names import LFS_POINTER
from robot_assets.data.importing.yolo.layouts import LAYOUTS as YOLO_LAYOUTS
from robot_assets.data.source import Entry, Source
from robot_assets.data.tree import Tree, walk

_START_BYTES = 1024
_FIX_SYNTAX = "export it again from the annotation tool, or copy it again"
_UNLISTED = "the labels do not list this image", "list it, without annotations if it has no object"
_NEEDED = "COCO JSON with images, annotations and categories"


def read_coco(
    source: Path,
    layout: str | None = None,
    polygons: str | None = None,
    unlabelled: str | None = None,
    options: SegmentationOptions | None = None,
) -> Source:
    """Find the images of a COCO source; boxes are checked later, one image at a time.

    Args:
        source: The folder of an export, or one of its JSON files.
        layout: Name of the layout that it has to have; None recognizes it.
        polygons: "boxes" reads polygons, masks and rotated boxes as their enclosing boxes; None refuses their images.
        unlabelled: "background" reads images that the labels do not list as images without objects; None leaves them
            out.
        options: For a segmentation: polygons and runs are painted into masks. None: boxes are read.

    Raises:
        DataError: No folder, an unknown layout, malformed JSON, JSON of another kind, contradictory categories, or
            annotations none of which points to an image.
    """
    if polygons not in (None, "boxes"):
        fix = "use --polygons boxes, or leave it out"
        raise DataError(f"unknown value {polygons!r} of --polygons", needed="boxes", fix=fix)
    tree = _tree(source)
    chosen, files = _recognized(tree, layout)
    documents = {path: _load(tree.files[path]) for path in files.documents}
    return _Reader(tree, chosen, files, documents, polygons is not None, unlabelled is not None, options).source()


def _tree(source: Path) -> Tree:
    """The files of a source; when it is a JSON file, those around it, without other JSON."""
    if source.suffix.lower() != ".json" or not source.is_file():
        require_folder(source)
    if not source.is_file() or source.suffix.lower() != ".json" or source.is_symlink():
        return walk(source)
    tree = walk(base_folder(source))
    name = source.relative_to(tree.root).as_posix()
    return replace(tree, files={one: path for one, path in tree.files.items() if one == name or not is_json(one)})


def _recognized(tree: Tree, layout: str | None) -> tuple[Layout, LabelFiles]:
    try:
        return recognize(tree, (*LAYOUTS, *YOLO_LAYOUTS, *MASK_LAYOUTS), layout)
    except DataError:
        if layout is None:
            _refuse_other_json([path for name, path in tree.files.items() if is_json(name)])
        raise


def _refuse_other_json(paths: Sequence[Path]) -> None:
    """Refuse a source whose JSON is of a known kind that is not COCO labels, by its first JSON file."""
    kind = kind_of(_parsed(paths[0])) if paths else None
    if kind is not None:
        raise _other_kind(kind, paths[0], len(paths) - 1)


def _other_kind(kind: JsonKind, path: Path, others: int = 0) -> DataError:
    also = f" ({plural(others, 'more JSON file')} not looked into)" if others else ""
    return DataError(f"{printable(str(path))} is {kind.title}{also}", needed=_NEEDED, fix=kind.fix)


def _parsed(path: Path) -> Any:
    try:
        return load_json(path)
    except NotJson as error:
        raise _malformed(path, str(error)) from None


def _malformed(path: Path, fault: str) -> DataError:
    """The error about a file that is not JSON: it may be something else that has its name."""
    place = printable(str(path))
    start = b"" if path.is_symlink() else path.read_bytes()[:_START_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        fix = "download the labels again, signed in where that is needed; of XML labels, export COCO instead"
        return DataError(f"{place} is a web page or XML, not JSON", needed=_NEEDED, fix=fix)
    is_pointer = start.startswith(LFS_POINTER.encode())
    fix = f"git -C {shlex.quote(str(path.parent))} lfs pull" if is_pointer else _FIX_SYNTAX
    return DataError(f"{place} is malformed: {fault}", needed=_NEEDED, fix=fix)


def _load(path: Path) -> dict[str, Any]:
    """The COCO document in a JSON file."""
    loaded = _parsed(path)
    kind = kind_of(loaded)
    try:
        document = document_of(loaded)
    except NotCoco as error:
        if kind is not None:
            raise _other_kind(kind, path) from None
        raise DataError(f"{printable(str(path))} is malformed: {error}", needed=_NEEDED, fix=_FIX_SYNTAX) from None
    if kind is not None and not any(True for _ in ids_in(document["annotations"][:1], "bbox")):
        raise _other_kind(kind, path)
    return document


@dataclass(frozen=True)
class _Reader:
    """The label files of a source.

    Attributes:
        tree: The files of the source.
        layout: The layout that was recognized.
        files: Its label files, with the folders of their images.
        documents: The parsed label files.
        polygons: Whether polygons, masks and rotated boxes are read as their enclosing boxes.
        is_background: Whether images that the labels do not list are images without objects.
        options: Of a segmentation; None: boxes are read.
    """

    tree: Tree
    layout: Layout
    files: LabelFiles
    documents: Mapping[str, dict[str, Any]]
    polygons: bool
    is_background: bool
    options: SegmentationOptions | None = None

    def source(self) -> Source:
        """Images with labels, sorted; issues in the order of their causes; what a person should know of."""
        categories = read_categories(self.documents)
        paths = {path: ImagePaths(self.tree) for path in self.documents}
        records = [record for path in self.documents for record in self._records(path, paths[path])]
        self._require_images(records)
        for path, document in self.documents.items() if self.options is None else ():
            require_sizes(path, document["annotations"])
        issues = list(self.tree.issues)
        good = accepted(records, issues)
        rows = {path: rows_by_image(path, document, issues) for path, document in self.documents.items()}
        classes = self._classes(categories)
        readers = {path: self._labels(path, categories.numbers[path], classes) for path in self.documents}
        entries = [self._entry(record, readers[record.document], rows) for record in good]
        unlisted = self._unlisted({record.name for record in records})
        taken = {entry.file_name for entry in entries}
        background = self._background(unlisted, taken, classes) if self.is_background else {}
        entries += background.values()
        return Source(
            categories=classes.names if classes else categories.names,
            entries=tuple(sorted(entries, key=lambda entry: entry.file_name)),
            issues=tuple(issues),
            unlisted=tuple(LabelIssue(printable(name), *_UNLISTED) for name in unlisted if name not in background),
            layout=self.layout.title,
            splits=split_folders(entry.file_name for entry in entries),
            notes=(
                *categories.notes,
                *self._notes(paths, good, rows),
                *about_names(categories.names),
                *(classes.notes if classes else ()),
                *about_background(background, self.options.background if self.options else None),
                *about_unlisted([name for name in unlisted if name not in background]),
            ),
        )

    def _notes(
        self,
        paths: Mapping[str, ImagePaths],
        good: Sequence[ImageRecord],
        rows: Mapping[str, Mapping[Id | None, Rows]],
    ) -> Iterator[str]:
        yield from about_ids(self.documents)
        for path, document in self.documents.items():
            yield from paths[path].notes(path)
            if self.options is None:
                yield from about_images_without_boxes(path, document, rows[path])
                yield from about_ignored(path, document)
            else:
                yield from about_ignored_regions(path, document)
        if self.polygons:
            yield about_shapes(row for one in good for _, row in rows[one.document].get(one.key, []))
        yield from about_other_labels(self.tree, self.documents)

    def _records(self, path: str, paths: ImagePaths) -> Iterator[ImageRecord]:
        return read_records(path, self.documents[path]["images"], self.files.documents[path], paths)

    def _require_images(self, records: Sequence[ImageRecord]) -> None:
        """Refuse a source none of whose images is there: that is one fault, and not one of each entry."""
        if not records or any(record.fault not in ABSENT for record in records):
            return
        first = records[0]
        roots = [printable(f"{root}/") for root in self.files.documents[first.document] if root]
        count, root = plural(len(records), "image"), printable(str(self.tree.root))
        such = f"{first.shown} of {first.document}"
        if first.fault and first.fault != NO_IMAGE:
            such += f": {first.fault[0]}"
        raise DataError(
            f"{root}: none of the {count} that the labels list is there, such as {such}",
            needed=f"the images below the source, or below one of {listed(roots)} in it",
            fix=self._fix_of_missing(first),
        )

    def _fix_of_missing(self, first: ImageRecord) -> str:
        document = printable(first.document)
        if first.is_elsewhere:
            return f"correct the file names in {document}: write the paths of the images below the source"
        copy = f"copy the images there, or import the folder that has both the images and {document}"
        return copy if self.tree.images() else f"{EXPORT_IMAGES}; or {copy}"

    def _classes(self, categories: Categories) -> Classes | None:
        """The classes of a segmentation."""
        if self.options is None:
            return None
        ids = {str(key): number for numbers in categories.numbers.values() for key, number in numbers.items()}
        return classes_of(categories.names, self.options, ids)

    def _labels(self, path: str, numbers: Mapping[Id, int], classes: Classes | None) -> BoxReader | MaskReader:
        repeated = repeated_ids(self.documents[path]["annotations"])
        if classes is not None:
            return MaskReader(path, numbers, repeated, classes)
        return BoxReader(path, numbers, repeated, self.polygons)

    def _entry(
        self, record: ImageRecord, reader: BoxReader | MaskReader, rows: Mapping[str, Mapping[Id | None, Rows]]
    ) -> Entry:
        own = rows[record.document].get(record.key, [])
        path = self.tree.files[record.name or ""]
        if isinstance(reader, MaskReader):
            read = partial(reader.read, record.row, record.place, own)
            place = f"{record.shown} in {record.place}"
            return MaskEntry(record.target, path, no_box, place=place, read_mask=read)
        return Entry(record.target, path, partial(reader.read, record.row, record.place, own))

    def _unlisted(self, listed: Container[str | None]) -> list[str]:
        return [name for name in self.tree.images() if name not in listed]

    def _background(self, unlisted: Sequence[str], taken: Container[str], classes: Classes | None) -> dict[str, Entry]:
        """Entries without labels, by image; without those whose path in the raw data is taken."""
        base = f"{base_folder(next(iter(self.documents)))}/".removeprefix("./")
        targets = {name: target_of(name, base) for name in unlisted}
        times = Counter(targets.values())
        return {
            name: self._empty(target, self.tree.files[name], classes)
            for name, target in targets.items()
            if target not in taken and times[target] == 1
        }

    def _empty(self, target: str, path: Path, classes: Classes | None) -> Entry:
        if classes is not None:
            return MaskEntry(target, path, no_box, read_mask=partial(filled, classes.rest))
        return Entry(target, path, no_boxes)
