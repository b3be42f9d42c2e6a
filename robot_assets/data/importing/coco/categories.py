"""Categories of COCO documents: the class names, and the class index of each category id."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robot_assets.core.errors import DataError
from robot_assets.core.text import listed, plural
from robot_assets.data.importing.coco.ids import Id, id_of

_NEEDED = "a list of categories, each with an id and a name of its own"
_ROOTS = (None, "", "none")
"""What Roboflow writes as the supercategory of the group that all classes are in."""


@dataclass(frozen=True)
class Categories:
    """The classes of all label files of a source.

    Attributes:
        names: Class names, in the order of the ids in the first label file.
        numbers: By label file: category id -> index into ``names``.
        notes: Categories that were left out, for people.
    """

    names: tuple[str, ...]
    numbers: Mapping[str, Mapping[Id, int]]
    notes: tuple[str, ...]


def read_categories(documents: Mapping[str, Mapping[str, Any]]) -> Categories:
    """Match the categories of all label files by name.

    An unused category that repeats the name of a used one is left out, and so is Roboflow's group of all classes.

    Raises:
        DataError: No category, one without id or name, two used ones of one name, or files that disagree about names.
    """
    used = {path: _uses(document) for path, document in documents.items()}
    notes: list[str] = []
    by_file = {path: _named(path, document["categories"], used[path], notes) for path, document in documents.items()}
    group = _unused_group(documents, by_file, used)
    if group:
        notes.append(f"category {group!r} has no annotation and is the supercategory of all others: it is no class")
        by_file = {path: {key: name for key, name in names.items() if name != group} for path, names in by_file.items()}
    first, names = next((path, tuple(found.values())) for path, found in by_file.items())
    if not names:
        raise DataError(f"{first}: categories is empty", needed=_NEEDED, fix="export it again with the classes")
    for path, found in by_file.items():
        _require_same_names(names, first, tuple(found.values()), path)
    numbers = {path: {key: names.index(name) for key, name in found.items()} for path, found in by_file.items()}
    return Categories(names, numbers, tuple(dict.fromkeys(notes)))


def _uses(document: Mapping[str, Any]) -> Counter[Id | None]:
    """Number of annotations of each category."""
    ids = [row.get("category_id") for row in document["annotations"] if isinstance(row, dict)]
    return Counter([value if type(value) is int else id_of(value) for value in ids])


def _named(path: str, rows: Sequence[Any], used: Counter[Id | None], notes: list[str]) -> dict[Id, str]:
    """Names by id, in the order of the ids."""
    names: dict[Id, str] = {}
    by_name: defaultdict[str, list[Id]] = defaultdict(list)
    for index, row in enumerate(rows):
        key, name = _id_and_name(f"{path}: categories[{index}]", row)
        if names.get(key, name) != name:
            raise DataError(
                f"{path}: categories[{index}]: the id {key!r} is that of {names[key]!r} and of {name!r}",
                needed=_NEEDED,
                fix=f"give one of the two another id, in {path} and in its annotations",
            )
        if key not in names:
            by_name[name].append(key)
        names[key] = name
    for name, keys in by_name.items():
        for unused in _repeated(path, name, keys, used):
            kept = next(key for key in keys if key in names and key != unused)
            notes.append(
                f"{path}: categories {unused!r} and {kept!r} are both named {name!r}; {unused!r} has no annotation and "
                "is left out"
            )
            del names[unused]
    if all(isinstance(key, int) for key in names):
        return dict(sorted(names.items()))
    return names


def _id_and_name(place: str, row: Any) -> tuple[Id, str]:
    if not isinstance(row, dict):
        raise DataError(f"{place} is {_shown(row)}", needed=_NEEDED, fix="correct that entry")
    key, name = id_of(row.get("id")), row.get("name")
    if key is None:
        raise DataError(f"{place} has the id {_shown(row.get('id'))}", needed=_NEEDED, fix="give it an integer id")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise DataError(f"{place} has the name {_shown(name)}", needed=_NEEDED, fix="give it a printable name")
    return key, name


def _repeated(path: str, name: str, keys: Sequence[Id], used: Counter[Id | None]) -> list[Id]:
    """The ids of one name that no annotation uses, all but one id of the name.

    Raises:
        DataError: Annotations use two of them.
    """
    in_use = [key for key in keys if used[key]]
    if len(in_use) > 1:
        counts = " and ".join(f"{key!r} with {plural(used[key], 'annotation')}" for key in in_use)
        raise DataError(
            f"{path}: categories {counts} have the same name {name!r}",
            needed=_NEEDED,
            fix="rename one of them, or merge them in the annotation tool, and export again",
        )
    kept = in_use[0] if in_use else keys[0]
    return [key for key in keys if key != kept]


def _unused_group(
    documents: Mapping[str, Mapping[str, Any]],
    by_file: Mapping[str, Mapping[Id, str]],
    used: Mapping[str, Counter[Id | None]],
) -> str:
    """Name of the category that groups all others, as in exports of Roboflow; "" when there is none or it is used."""
    groups = set()
    for path, document in documents.items():
        rows = [row for row in document["categories"] if id_of(row["id"]) in by_file[path]]
        roots = [row for row in rows if row.get("supercategory") in _ROOTS]
        others = [row for row in rows if row.get("supercategory") not in _ROOTS]
        if len(roots) != 1 or not others or any(row["supercategory"] != roots[0]["name"] for row in others):
            return ""
        if used[path][id_of(roots[0]["id"])]:
            return ""
        groups.add(roots[0]["name"])
    return groups.pop() if len(groups) == 1 else ""


def _require_same_names(names: Sequence[str], first: str, found: Sequence[str], path: str) -> None:
    """Refuse label files of one source whose classes differ.

    Raises:
        DataError: One has a class that the other lacks.
    """
    lacks, adds = [name for name in names if name not in found], [name for name in found if name not in names]
    if lacks or adds:
        parts = (_without(path, lacks), _without(first, adds))
        raise DataError(
            f"the categories of {path} differ from those of {first}: {'; '.join(filter(None, parts))}",
            needed="the same class names in all label files of a source",
            fix="export the splits together, or import each JSON file as a data set of its own",
        )


def _without(path: str, names: Sequence[str]) -> str:
    return f"{path} has no {listed(map(repr, names))}" if names else ""


def _shown(value: Any) -> str:
    """A JSON value, quoted and cut, for messages."""
    return ascii(value) if len(ascii(value)) <= 80 else f"{ascii(value)[:80]}..."
