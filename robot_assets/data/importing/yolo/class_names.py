"""Reads the class names of a YOLO source from every file that has them; all of these files have to agree.

Names in YAML are taken as they are written, from the scalar nodes: ``names: [no, yes, 1.0]`` has the classes "no",
"yes" and "1.0", although YAML 1.1 gives two booleans and a number.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import printable
from robot_assets.core.text import listed, plural
from robot_assets.data.tree import Tree, suffix_of

_TEXT_FILES = ("obj.names", "classes.txt", "class_list.txt", "_darknet.labels", "darknet.labels")
"""Of darknet and CVAT, labelImg and Label Studio, OpenLabeling, Roboflow, and V7, in lower case."""
_TEXT_SUFFIX = ".names"
_NOTES = "notes.json"
_DARKNET_SUFFIX = ".data"
_YAML_SUFFIXES = (".yaml", ".yml")
_HAS_NAMES = re.compile(r"""^[ \t{]*["']?names["']?[ \t]*:""", re.MULTILINE)
_NULL_TAG, _INT_TAG = "tag:yaml.org,2002:null", "tag:yaml.org,2002:int"
_NUMBERED = re.compile(r"(\d{1,4})(?:\s*[:,;=)]\s*|\s+)\S")
LFS_POINTER = "version https://git-lfs"
_MAX_BYTES = 1024 * 1024
_LAST_COCO_ID = 79


@dataclass(frozen=True)
class ClassNames:
    """What one file says about the classes.

    Attributes:
        place: The file.
        names: Class names in the order of their ids; None when the file has their number only.
        count: Number of classes that the file states (``nc``, ``classes``); None when it does not.
        key_points: Shape of the key points of a row, as in ``kpt_shape: [17, 3]`` of a pose data set.
    """

    place: str
    names: tuple[str, ...] | None = None
    count: int | None = None
    key_points: tuple[int, int] | None = None


def is_class_file(name: str) -> bool:
    """Whether a path has the name of a file of class names that is no label file: classes.txt, obj.names."""
    base = name[name.rfind("/") + 1 :].lower()
    return base in _TEXT_FILES or base.endswith(_TEXT_SUFFIX)


def class_files_of(tree: Tree) -> tuple[str, ...]:
    """The files of a tree that name its classes, in the order of their paths.

    Files in plain text and data.yaml count in every folder, other YAML files and notes.json at the top only.
    """
    named = [name for name in tree.with_suffix(".txt", _TEXT_SUFFIX, ".labels") if is_class_file(name)]
    documents = tree.with_suffix(*_YAML_SUFFIXES, _DARKNET_SUFFIX, ".json")
    return tuple(sorted([*named, *(name for name in documents if _is_document(name, tree))]))


def read_class_files(tree: Tree, files: Sequence[str]) -> tuple[ClassNames, ...]:
    """Read each file of ``class_files_of``.

    Raises:
        DataError: A file is unreadable, or has a faulty list of names.
    """
    return tuple(_read(tree, name) for name in files)


def agreed_names(root: Path, sources: Sequence[ClassNames]) -> tuple[str, ...]:
    """Class names in the order of their ids.

    Raises:
        DataError: There are none, or two files disagree.
    """
    named = [source for source in sources if source.names]
    if not named:
        raise no_class_names(root)
    first = named[0]
    for other in named[1:]:
        if other.names != first.names:
            raise _disagreement(root, first, other)
    for source in sources:
        if source.count is not None and source.count != len(first.names or ()):
            raise _wrong_count(root, source, first)
    return first.names or ()


def no_class_names(root: Path, ids: Sequence[int] = ()) -> DataError:
    """The error for a source without class names; ``ids`` are the class ids in its labels, if they were looked at."""
    used = f"; its labels use the class ids {_ranges(ids)}" if ids else ""
    if ids and max(ids) == _LAST_COCO_ID:
        used += f" ({_LAST_COCO_ID} is the last of the 80 classes of COCO)"
    count = max(ids, default=1) + 1
    words = " ".join(f"NAME_{number}" for number in range(min(count, 3))) + (" ..." if count > 3 else "")
    return DataError(
        f"{printable(str(root))} has no class names{used}",
        needed="obj.names or classes.txt with one name per line, or data.yaml with names",
        fix=f"printf '%s\\n' {words} > {shlex.quote(str(root / 'obj.names'))}   # your names, in the order of the ids",
    )


def _ranges(ids: Sequence[int]) -> str:
    ordered = sorted(set(ids))
    if len(ordered) > 1 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]} to {ordered[-1]}"
    return listed([str(number) for number in ordered])


def _is_document(name: str, tree: Tree) -> bool:
    """Whether a file is YAML with names, or the notes.json or obj.data that states the classes."""
    folder, _, base = name.rpartition("/")
    suffix = suffix_of(base)
    if suffix in _YAML_SUFFIXES and base.lower().startswith("data."):
        return True
    if folder or tree.files[name].stat().st_size > _MAX_BYTES:
        return False
    if suffix in _YAML_SUFFIXES:
        return bool(_HAS_NAMES.search(tree.files[name].read_bytes().decode("utf-8", "replace")))
    return base == _NOTES or suffix == _DARKNET_SUFFIX


def _read(tree: Tree, name: str) -> ClassNames:
    suffix, place, path = suffix_of(name), printable(name), tree.files[name]
    if suffix == ".json":
        return _from_notes(place, path.read_bytes())
    if suffix == _DARKNET_SUFFIX:
        return _from_darknet(place, path.read_bytes())
    text = _text(path)
    if suffix in _YAML_SUFFIXES:
        return _from_yaml(place, text, path)
    return ClassNames(place, names_of_lines(text, path))


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise _faulty(path, "more than 1 MiB", "a list of class names")
    try:
        text = decoded(path.read_bytes())
    except UnicodeDecodeError:
        raise _faulty(path, "not UTF-8 text", "class names in UTF-8") from None
    if text.startswith(LFS_POINTER):
        raise DataError(
            f"{printable(str(path))}: a pointer of Git LFS, not its content",
            needed="the file itself",
            fix=f"git -C {shlex.quote(str(path.parent))} lfs pull",
        )
    return text


def decoded(data: bytes) -> str:
    """Text in UTF-8, with or without a byte order mark, or in UTF-16 with one, as Windows tools write it.

    Raises:
        UnicodeDecodeError: It is neither.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    text = data.decode("utf-8-sig")
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", data, data.index(0), data.index(0) + 1, "a zero byte")
    return text


def names_of_lines(text: str, path: Path) -> tuple[str, ...]:
    """Class names, one a line.

    Raises:
        DataError: They have another form, or a name is empty, unprintable or there twice.
    """
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    _refuse_other_forms(lines, path)
    return _checked([(name, f"line {number}") for number, name in enumerate(lines, start=1)], path)


def _refuse_other_forms(lines: list[str], path: Path) -> None:
    """Refuse names that are not one a line, or have their ids in front: they would become names.

    Raises:
        DataError: The only line has several names, or each line has its number.
    """
    if len(lines) == 1 and ("," in lines[0] or lines[0].startswith(("[", "{"))):
        raise _faulty(path, f"all names in one line, {lines[0][:80]!r}", "one name per line")
    numbers = [match and int(match[1]) for match in map(_NUMBERED.match, lines)]
    ordered = sorted(number for number in numbers if number is not None)
    if len(lines) > 1 and ordered in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        found = f"numbers in front of the names, such as {lines[0][:80]!r}"
        raise _faulty(path, found, "the names alone, one per line, in the order of their ids")


def _from_darknet(place: str, data: bytes) -> ClassNames:
    """obj.data of darknet: ``classes = 3``."""
    match = re.search(rb"^\s*classes\s*=\s*(\d{1,9})\s*$", data, re.MULTILINE)
    return ClassNames(place, count=int(match[1]) if match else None)


def _from_notes(place: str, data: bytes) -> ClassNames:
    """notes.json of Label Studio: categories with id and name. Another JSON file states nothing about classes."""
    try:
        categories = json.loads(data)["categories"]
        names = {category["id"]: category["name"] for category in categories}
    except (ValueError, TypeError, LookupError, RecursionError):
        return ClassNames(place)
    if not all(isinstance(name, str) for name in names.values()) or set(names) != set(range(len(categories))):
        return ClassNames(place)
    return ClassNames(place, tuple(normalized(names[number]) for number in range(len(names))))


def _from_yaml(place: str, text: str, path: Path) -> ClassNames:
    root = _composed(text, path)
    if root is None:
        return ClassNames(place)
    if not isinstance(root, yaml.MappingNode):
        raise _faulty(path, "not a mapping of keys to values", "names: [NAME, ...]")
    fields: dict[str, yaml.Node] = {}
    for key, value in root.value:
        if key.value in ("names", "nc", "kpt_shape") and key.value in fields:
            raise _faulty(path, f"{key.value} is given twice, again in line {_line(key)}", f"{key.value} once")
        if isinstance(key.value, str):
            fields[key.value] = value
    names = tuple(_from_node(fields["names"], path)) if "names" in fields else None
    return ClassNames(place, names, _integer(fields.get("nc")), _pair(fields.get("kpt_shape")))


def _composed(text: str, path: Path) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        shown = text.splitlines()[line - 1] if line <= len(text.splitlines()) else ""
        cause = "a tab; YAML is indented by spaces" if "\t" in shown else "not valid YAML"
        found = f"line {line}: {cause}: {shown.strip()[:80]!r}"
    except yaml.YAMLError:
        found = "characters that YAML does not allow"
    except RecursionError:
        found = "nested too deep"
    raise _faulty(path, found, "YAML with names: [NAME, ...]")


def _from_node(node: yaml.Node, path: Path) -> tuple[str, ...]:
    if isinstance(node, yaml.SequenceNode):
        items = list(node.value)
    elif isinstance(node, yaml.MappingNode):
        items = _by_id(node, path)
    else:
        needed = "a list such as names: [ball, goal post]"
        raise _faulty(path, f"line {_line(node)}: names is one value, {node.value!r}", needed)
    return _checked([(_scalar(item, path), f"line {_line(item)}") for item in items], path)


def _by_id(node: yaml.MappingNode, path: Path) -> list[yaml.Node]:
    """Items of ``names: {0: ball, 1: human}`` in the order of their ids, which have to be 0, 1, 2, ..."""
    items: dict[int, yaml.Node] = {}
    for key, value in node.value:
        number = _integer(key)
        if number is None:
            shown = repr(key.value) if isinstance(key.value, str) else "of several values"
            found = f"line {_line(key)}: names has the key {shown}"
            raise _faulty(path, found, "class ids 0, 1, 2, ... as keys")
        if number in items:
            raise _faulty(path, f"names has {number} twice, again in line {_line(key)}", "each class id once")
        items[number] = value
    for expected in range(len(items)):
        if expected not in items:
            has = listed([str(number) for number in sorted(items)])
            raise _faulty(path, f"names has no {expected}; its ids are {has}", "ids from 0 without a gap")
    return [items[number] for number in range(len(items))]


def _scalar(node: yaml.Node, path: Path) -> str:
    """The name as it is written. Null is refused: whether "null" or "~" is meant as a name cannot be known."""
    if not isinstance(node, yaml.ScalarNode):
        raise _faulty(path, f"line {_line(node)}: a list or mapping as a class name", "plain text for each name")
    if node.tag == _NULL_TAG:
        what = f"the name {node.value!r}, which YAML reads as null" if node.value else "an empty name"
        raise _faulty(path, f"line {_line(node)}: {what}", "text; quote it if that is the name")
    return str(node.value).strip()


def _checked(names: list[tuple[str, str]], path: Path) -> tuple[str, ...]:
    """Check names, each with its line; the result is in Unicode form NFC, in which params.yaml is typed."""
    if not names:
        raise _faulty(path, "no class name", "at least one name")
    first: dict[str, str] = {}
    for name, where in names:
        name = normalized(name)
        if not name:
            raise _faulty(path, f"{where}: an empty name", "a name for each class id")
        if not name.isprintable():
            found = f"{where}: unprintable characters in the name {name!r}"
            raise _faulty(path, found, "printable names")
        if name in first:
            found = f"the name {name!r} twice, in {first[name]} and {where}"
            raise _faulty(path, found, "a unique name for each class id")
        first[name] = where
    return tuple(first)


def normalized(name: str) -> str:
    """A name in Unicode form NFC, in which params.yaml is typed."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _disagreement(root: Path, one: ClassNames, other: ClassNames) -> DataError:
    return DataError(
        f"{printable(str(root))}: {one.place} and {other.place} disagree: {_difference(one, other)}",
        needed="the same class names in the same order in every file that has them",
        fix="compare one image with its label, then correct or remove the file that is wrong",
    )


def _difference(one: ClassNames, other: ClassNames) -> str:
    ours, theirs = one.names or (), other.names or ()
    for number, (name, another) in enumerate(zip(ours, theirs, strict=False)):
        if name != another:
            return f"class {number} is {name!r} in {one.place} and {another!r} in {other.place}"
    longer, extra = (one, ours[len(theirs) :]) if len(ours) > len(theirs) else (other, theirs[len(ours) :])
    return f"only {longer.place} has {listed([repr(name) for name in extra])}"


def _wrong_count(root: Path, source: ClassNames, named: ClassNames) -> DataError:
    key = "classes" if source.place.endswith(_DARKNET_SUFFIX) else "nc"
    names = named.names or ()
    where = "" if named.place == source.place else f" of {named.place}"
    return DataError(
        f"{printable(str(root / source.place))}: {key} is {source.count}, and names{where} has {len(names)}: "
        + listed([repr(name) for name in names]),
        needed=f"as many names as {key} states",
        fix=f"correct {key}, or complete the names ({plural(len(names), 'name')})",
    )


def _faulty(path: Path, found: str, needed: str) -> DataError:
    return DataError(f"{printable(str(path))}: {found}", needed=needed, fix=f"correct {printable(str(path))}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _integer(node: yaml.Node | None) -> int | None:
    """A non-negative integer, also when it is quoted; None for anything else."""
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _pair(node: yaml.Node | None) -> tuple[int, int] | None:
    numbers = [_integer(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else []
    if len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
        return numbers[0], numbers[1]
    return None
