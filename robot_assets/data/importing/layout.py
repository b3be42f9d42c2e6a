"""Layouts: how annotation tools arrange images and labels in a folder. A source is recognized first, then read."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import printable
from robot_assets.core.text import listed, near_misses, plural
from robot_assets.data.importing.source_folder import hints_about
from robot_assets.data.tree import Tree, suffix_of

SHOWN_FOLDERS = 12
"""Folders of the source that the finding about an unknown layout shows."""
_SPLIT = re.compile(
    r"(?:obj_)?(?:train|training|trainval|val|valid|validation|test|testing|test-dev|dev|eval|minival|default)"
    r"(?:[_-]?\d{4})?(?:_data)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class LabelFiles:
    """The files of a source by their part in it. All paths are relative to the source, as :class:`Tree` names them.

    Attributes:
        labels: YOLO: image -> its label file, whether that exists or not. Empty for COCO.
        documents: COCO: label file -> the folders ("" is the source) below which its images are, in order of
            preference. Empty for YOLO.
        class_files: YOLO: files that name the classes; all of them have to agree.
        others: Files of the tool itself, such as lists of images and read-me files; they are no labels.
        splits: Top folders that are splits of the export and no recording sessions, such as "train" and "valid".
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    class_files: tuple[str, ...] = ()
    others: frozenset[str] = frozenset()
    splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One arrangement.

    Attributes:
        name: What ``--layout`` takes, such as "roboflow".
        format: "yolo", "coco" or "masks".
        title: For people, such as "Roboflow export (YOLO)".
        looked_for: What it consists of, for the finding about an unknown layout, such as
            "SPLIT/images/ and SPLIT/labels/ with data.yaml at the top".
        find: Its files in a tree; None when the tree is not arranged so.
    """

    name: str
    format: str
    title: str
    looked_for: str
    find: Callable[[Tree], LabelFiles | None]


def title_of(format: str) -> str:
    """What a source of a format has, for people: "YOLO labels", "masks"."""
    return format if format == "masks" else f"{format.upper()} labels"


def is_split(folder: str) -> bool:
    """Whether a folder has the name of a split of an export: train, valid, test2017, obj_train_data."""
    return _SPLIT.fullmatch(folder) is not None


def split_folders(file_names: Iterable[str]) -> tuple[str, ...]:
    """The top folders of ``file_names`` that are splits of an export."""
    tops = {name.partition("/")[0] for name in file_names if "/" in name}
    return tuple(sorted(top for top in tops if is_split(top)))


def sibling_splits(file_names: Iterable[str]) -> tuple[str, ...]:
    """Folders at any depth that have the name of a split, beside another one: a/train and a/valid."""
    below: dict[str, set[str]] = {}
    for folder in {name.rpartition("/")[0] for name in file_names}:
        parts = folder.split("/")
        at = next((at for at, part in enumerate(parts) if is_split(part)), None)
        if at is not None:
            below.setdefault("/".join(parts[:at]), set()).add("/".join(parts[: at + 1]))
    return tuple(sorted(split for splits in below.values() if len(splits) > 1 for split in splits))


def recognize(tree: Tree, layouts: Sequence[Layout], forced: str | None = None) -> tuple[Layout, LabelFiles]:
    """Find out how a source is arranged: the first layout that fits.

    Args:
        tree: The source.
        layouts: Those of the wanted format in order of preference, then those of other formats, which are only
            suggested.
        forced: Name of the layout that the source has to have.

    Raises:
        DataError: No layout of the wanted format fits, the forced one does not fit, or its name is unknown.
    """
    wanted = [layout for layout in layouts if layout.format == layouts[0].format]
    if forced is not None:
        wanted = [_named(tree, layouts, forced)]
    found = _first(tree, wanted)
    if found is None:
        raise _unknown(tree, wanted, [layout for layout in layouts if layout not in wanted], forced)
    _refuse_wrapped(tree, wanted, found[1])
    return found


def _first(tree: Tree, layouts: Sequence[Layout]) -> tuple[Layout, LabelFiles] | None:
    found = ((layout, layout.find(tree)) for layout in layouts)
    return next(((layout, files) for layout, files in found if files is not None), None)


def _refuse_wrapped(tree: Tree, wanted: Sequence[Layout], outer: LabelFiles) -> None:
    """Refuse a folder with nothing but the folder of an export, if the splits of the export would become recordings.

    Raises:
        DataError: The only folder of the source has splits.
    """
    inner = None if outer.splits else _only_folder(tree)
    found = _first(inner, wanted) if inner else None
    if inner is None or found is None or not found[1].splits:
        return
    raise DataError(
        f"{printable(str(tree.root))} has nothing but the folder {printable(str(inner.root))}, a {found[0].title}",
        needed="the folder of the export itself",
        fix=_command(inner, found[0].format),
    )


def _only_folder(tree: Tree) -> Tree | None:
    """The innermost folder that has everything in the tree; None when the top has files or several folders."""
    tops = {name.partition("/")[0] for name in tree.files}
    if len(tops) != 1 or tops <= tree.files.keys():
        return None
    top = tops.pop()
    inner = Tree({name[len(top) + 1 :]: path for name, path in tree.files.items()}, root=tree.root / top)
    return _only_folder(inner) or inner


def _named(tree: Tree, layouts: Sequence[Layout], name: str) -> Layout:
    format = layouts[0].format
    known = {layout.name: layout for layout in layouts if layout.format == format}
    if name in known:
        return known[name]
    found, fix = f"layout {name!r} is unknown", f"{_command(tree, format)}   # the layout is recognized"
    elsewhere = next((layout for layout in layouts if layout.name == name), None)
    near = near_misses(name, known, at_most=1)
    if elsewhere is not None and not near:
        found = f"layout {name!r} is one of {title_of(elsewhere.format)}"
        fix = _command(tree, elsewhere.format, f" --layout {name}")
    elif near:
        found += f"; did you mean {near[0]!r}?"
        fix = _command(tree, format, f" --layout {near[0]}")
    raise DataError(found, needed=f"one of {listed(known, len(known))}", fix=fix)


def _command(tree: Tree, format: str, options: str = "") -> str:
    return f"robot-assets data import {format} {shlex.quote(str(tree.root))} --name NAME{options}"


def _unknown(tree: Tree, wanted: Sequence[Layout], others: Sequence[Layout], forced: str | None) -> DataError:
    """One finding: what is there, what was looked for, and what to do instead."""
    format = wanted[0].format
    other = next((layout for layout in others if layout.find(tree) is not None), None)
    head = (
        f"{printable(str(tree.root))} is not arranged as --layout {forced}"
        if forced
        else (f"{printable(str(tree.root))} has no known layout of {title_of(format)}")
    )
    fix = _fix(tree, format, other)
    width = max(len(layout.name) for layout in wanted)
    looked_for = "".join(f"\n      {layout.name:<{width}}  {layout.looked_for}" for layout in wanted)
    return DataError(f"{head}; it has{overview(tree)}", needed=f"one of these arrangements:{looked_for}", fix=fix)


def _fix(tree: Tree, format: str, other: Layout | None) -> str:
    if other is not None:
        return f"{_command(tree, other.format, _layout_option(other, format))}   # recognized: {other.title}"
    hints = hints_about(tree.files)
    if not hints and tree.images() and not tree.with_suffix(".txt", ".json"):
        hints = ["label the images first, as in CVAT or Label Studio, and export YOLO or COCO"]
    return "; ".join(hints) or "arrange the files in one of these ways, or export them again"


def _layout_option(other: Layout, format: str) -> str:
    return f" --layout {other.name}" if other.format == format else ""


def overview(tree: Tree) -> str:
    """The folders of a source with the number of their files by suffix, one line each."""
    folders = sorted(tree.folders, key=lambda folder: (folder.count("/") + bool(folder), folder))
    lines = [
        f"\n      {printable(folder) + '/' if folder else './'}  {_counted(tree.folders[folder])}" for folder in folders
    ]
    lines += [f"\n      {issue.place}  {issue.found}" for issue in tree.issues]
    more = len(lines) - SHOWN_FOLDERS
    return "".join(lines[:SHOWN_FOLDERS]) + (f"\n      and {plural(more, 'more folder')}" if more > 0 else "")


def _counted(names: Sequence[str]) -> str:
    """Few short names as they are, more as their number by suffix."""
    together = ", ".join(map(printable, names))
    if len(names) <= 3 and len(together) <= 60:
        return together
    counts = Counter(suffix_of(name) or "without suffix" for name in names)
    return listed([f"{count} {printable(suffix)}" for suffix, count in counts.most_common()])
