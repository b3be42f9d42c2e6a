"""What the values or colours of masks mean: from ``--classes``, a file of an annotation tool, or a published table."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import printable
from robot_assets.core.text import listed
from robot_assets.data.importing.yolo.class_names import (
    agreed_names,
    class_files_of,
    decoded,
    names_of_lines,
    normalized,
    read_class_files,
)
from robot_assets.data.tree import Tree, suffix_of

LABEL_MAP = "labelmap.txt"
TABLES = ("_classes.csv", "class_dict.csv", "classes.csv", "class_dict_seg.csv")
"""Of Roboflow, and of CamVid and others."""
NAME_FILES = ("class_names.txt", "label_names.txt", "labels.txt")
"""Of labelme and others."""
_COLOUR = re.compile(r"#([0-9a-f]{6})", re.IGNORECASE)
_MAX_BYTES = 1024 * 1024
_UNLABELLED = ("__ignore__", "_ignore_")
"""What labelme writes in front of the names: the class of the pixels that are ignored."""

Key: TypeAlias = int
"""A value of a grey mask; or a colour, as 0xRRGGBB."""


@dataclass(frozen=True)
class Legend:
    """The classes of masks.

    Attributes:
        place: Where it is from, for people.
        names: Class names in the order of their index.
        keys: Class index by value or colour.
        has_colours: Whether the keys are colours.
        ignored: Values or colours that are ignored; without those that are classes.
    """

    place: str
    names: tuple[str, ...]
    keys: Mapping[Key, int]
    has_colours: bool = False
    ignored: frozenset[Key] = frozenset()

    @property
    def has_grey_colours(self) -> bool:
        """Whether all colours are levels of grey, so that a grey mask has them."""
        return self.has_colours and all(key == (key & 0xFF) * 0x010101 for key in self.keys)


def of_names(names: Sequence[str], place: str) -> Legend:
    """Names in the order of their values, from 0."""
    return Legend(place, tuple(names), {value: value for value in range(len(names))})


def given(text: str) -> Legend:
    """The legend of ``--classes``: a file, names, or names with values or colours.

    Raises:
        DataError: The file or the text has another form.
    """
    if Path(text).is_file():
        return of_file(Path(text), text)
    if "," not in text and ("/" in text or suffix_of(text) in (".txt", ".csv", ".yaml", ".yml", ".names")):
        raise DataError(
            f"--classes: {printable(text)} does not exist", needed="a file, or class names", fix="correct the path"
        )
    items = [item.strip() for item in text.split(",")]
    if not any("=" in item for item in items):
        return of_names(_distinct([(item, item) for item in items], "--classes"), "--classes")
    return _of_pairs([_pair(item) for item in items], "--classes")


def of_file(path: Path, shown: str) -> Legend:
    """The legend of a file: labelmap.txt, a table, YAML or names, one a line.

    Raises:
        DataError: It has another form.
    """
    name = path.name.lower()
    if suffix_of(name) == ".csv":
        return _of_table(path, shown)
    if suffix_of(name) in (".yaml", ".yml"):
        tree = Tree({path.name: path}, root=path.parent)
        return of_names(agreed_names(path.parent, read_class_files(tree, [path.name])), shown)
    lines = [line.strip() for line in _text(path).splitlines()]
    if name == LABEL_MAP or any(re.fullmatch(r"[^:]+:\d+,\d+,\d+(:.*)?", line) for line in lines):
        return _of_label_map(lines, shown)
    is_marked = bool(lines) and lines[0].lower() in _UNLABELLED
    return of_names(names_of_lines("\n".join(lines[is_marked:]), path), shown)


def of_tree(tree: Tree) -> Legend | None:
    """The legend of the files of a source; None without such a file.

    Raises:
        DataError: One has another form, or two of them disagree.
    """
    tables = [name for name in tree.files if _base(name) in (LABEL_MAP, *TABLES)]
    names = [name for name in tree.files if _base(name) in NAME_FILES and "/" not in name]
    legends = [of_file(tree.files[name], printable(name)) for name in tables or names]
    if not legends:
        files = class_files_of(tree)
        named = read_class_files(tree, files)
        if not any(one.names for one in named):
            return None
        place = next(one.place for one in named if one.names)
        return of_names(agreed_names(tree.root, named), place)
    for other in legends[1:]:
        if (other.names, other.keys) != (legends[0].names, legends[0].keys):
            raise _disagreement(tree, legends[0], other)
    return legends[0]


def is_legend(name: str) -> bool:
    """Whether a file is one that names the classes of masks."""
    return _base(name) in (LABEL_MAP, *TABLES, *NAME_FILES)


def shown_key(key: Key, is_colour: bool) -> str:
    """A value, or a colour as ``#rrggbb``."""
    return f"#{key:06x}" if is_colour else str(key)


def key_of(text: str) -> tuple[Key, bool] | None:
    """A value or a colour and whether it is a colour; None for another text."""
    colour = _COLOUR.fullmatch(text)
    if colour:
        return int(colour[1], 16), True
    return (int(text), False) if text.isascii() and text.isdigit() and len(text) < 4 else None


def _of_label_map(lines: Iterable[str], place: str) -> Legend:
    """labelmap.txt of CVAT: ``label:color_rgb:parts:actions``, with # before comments.

    Grey masks have the indices of the lines, whatever their colours. Source:
    https://docs.cvat.ai/docs/dataset_management/formats/format-smask
    """
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        name, *rest = line.split(":")
        levels = rest[0].split(",") if rest else []
        if len(levels) != 3 or not all(_is_level(level) for level in levels):
            raise _faulty(place, f"line {number}: {line[:80]!r}", "NAME:RED,GREEN,BLUE:: with levels from 0 to 255")
        pairs.append((name.strip(), _packed(levels), True, f"line {number}"))
    return _of_pairs(pairs, place)


def _of_table(path: Path, shown: str) -> Legend:
    """A table with a value or red, green and blue, and a name."""
    rows = [row for row in csv.reader(_text(path).splitlines(), skipinitialspace=True) if any(row)]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    columns = {key: at for at, cell in enumerate(header) for key in _COLUMNS if cell in _COLUMNS[key]}
    is_coloured = {"r", "g", "b"} <= columns.keys()
    if "name" not in columns or not (is_coloured or "value" in columns):
        needed = "the columns 'Pixel Value' and 'Class', or 'name', 'r', 'g' and 'b'"
        raise _faulty(shown, f"a table with the columns {listed(map(repr, header)) or 'of none'}", needed)
    wanted = [columns[key] for key in (("r", "g", "b") if is_coloured else ("value",))]
    pairs = []
    for number, row in enumerate(rows[1:], start=2):
        levels = [row[at].strip() for at in wanted if at < len(row)]
        if len(row) <= columns["name"] or len(levels) != len(wanted) or not all(map(_is_level, levels)):
            raise _faulty(shown, f"line {number}: {','.join(row)[:80]!r}", "a name, and levels from 0 to 255")
        key = _packed(levels) if is_coloured else int(levels[0])
        pairs.append((row[columns["name"]].strip(), key, is_coloured, f"line {number}"))
    return _of_pairs(pairs, shown)


_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "value": ("pixel value", "value", "id", "index", "class id", "class_id"),
    "name": ("class", "name", "label", "class name", "class_name"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
}


def _pair(item: str) -> tuple[str, Key, bool, str]:
    name, _, text = item.rpartition("=")
    found = key_of(text.strip())
    if not name or found is None or (not found[1] and found[0] > 255):
        needed = "NAME=VALUE with a value from 0 to 255, or NAME=#RRGGBB"
        raise _faulty("--classes", f"{item[:80]!r}", needed, "correct --classes")
    return name.strip(), found[0], found[1], item


def _of_pairs(pairs: Sequence[tuple[str, Key, bool, str]], place: str) -> Legend:
    """Legend of names with values or colours; each pair has its line, for errors."""
    kinds = {is_colour for _, _, is_colour, _ in pairs}
    if len(kinds) > 1:
        raise _faulty(place, "values and colours", "values for all classes, or colours for all")
    names = _distinct([(name, where) for name, _, _, where in pairs], place)
    keys: dict[Key, int] = {}
    for index, (name, key, is_colour, where) in enumerate(pairs):
        if key in keys:
            found = f"{where}: {name!r} has {shown_key(key, is_colour)}, as {names[keys[key]]!r} has"
            raise _faulty(place, found, "a value or colour of its own for each class")
        keys[key] = index
    return Legend(place, names, keys, has_colours=kinds == {True})


def _distinct(names: Sequence[tuple[str, str]], place: str) -> tuple[str, ...]:
    """Printable names, each once and in Unicode form NFC; each with its line, for errors."""
    found: dict[str, str] = {}
    for name, where in names:
        name = normalized(name)
        if not name or not name.isprintable():
            raise _faulty(place, f"{where}: the name {name!r}", "a printable name for each class")
        if name in found:
            raise _faulty(place, f"the name {name!r} twice, in {found[name]} and {where}", "each name once")
        found[name] = where
    if not found:
        raise _faulty(place, "no class name", "at least one name")
    return tuple(found)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _faulty(str(path), "more than 1 MiB", "class names")
        return decoded(path.read_bytes())
    except UnicodeDecodeError:
        raise _faulty(str(path), "not UTF-8 text", "class names in UTF-8") from None


def _faulty(place: str, found: str, needed: str, fix: str = "") -> DataError:
    return DataError(f"{printable(place)}: {printable(found)}", needed=needed, fix=fix or f"correct {printable(place)}")


def _disagreement(tree: Tree, one: Legend, other: Legend) -> DataError:
    differing = next(_differences(one, other), "the order of the classes")
    return DataError(
        f"{printable(str(tree.root))}: {one.place} and {other.place} disagree: {differing}",
        needed="the same classes in every file that names them",
        fix=f"correct one of them, or give one: --classes {shlex.quote(str(tree.root / one.place))}",
    )


def _differences(one: Legend, other: Legend) -> Iterator[str]:
    for first, second in ((one, other), (other, one)):
        for key, index in first.keys.items():
            name, there = first.names[index], second.keys.get(key)
            if there is None:
                yield f"only {first.place} has {name!r} ({shown_key(key, first.has_colours)})"
            elif second.names[there] != name:
                yield f"{shown_key(key, first.has_colours)} is {name!r} and {second.names[there]!r}"


def _base(name: str) -> str:
    return name[name.rfind("/") + 1 :].lower()


def _is_level(text: str) -> bool:
    text = text.strip()
    return text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= 255


def _packed(levels: Sequence[str]) -> Key:
    red, green, blue = (int(level) for level in levels)
    return red << 16 | green << 8 | blue
