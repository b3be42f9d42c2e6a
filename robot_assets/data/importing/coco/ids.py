"""Ids of COCO documents: tools write them as integers, as floats, as digits in strings, or as other strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from robot_assets.core.label_issues import printable
from robot_assets.data.coco_document import is_int, json_type

_DIGITS = 18
"""Longer strings of digits are hashes, and not integers."""

Id = int | str


def id_of(value: Any) -> Id | None:
    """An id in one form, so that 1, 1.0 and "1" are the same id; None when the value cannot be an id.

    Strings of digits with a leading zero are names, such as "000001", and remain strings.
    """
    if isinstance(value, str):
        is_number = value.isascii() and value.isdigit() and len(value) <= _DIGITS
        return int(value) if is_number and (value == "0" or value[0] != "0") else (value or None)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else None
    return value if is_int(value) else None


def ids_in(rows: Iterable[Any], key: str) -> Iterator[Any]:
    """The values of a key in the rows that have it."""
    return (row[key] for row in rows if isinstance(row, dict) and key in row)


def described_ids(values: Iterable[Any]) -> str:
    """What ids look like, by the first: "integers such as 1", "strings such as '1'"; "missing" when there are none."""
    first = next(iter(values), None)
    if first is None:
        return "missing"
    if isinstance(first, str):
        return f"strings such as {printable(first[:40])!r}"
    return f"integers such as {first}" if is_int(first) else f"{json_type(first)} such as {str(first)[:40]}"
