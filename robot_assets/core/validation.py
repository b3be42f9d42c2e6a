"""Words for the mistakes that pydantic finds in a document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from robot_assets.core.text import listed, near_misses

_NEEDED: Mapping[str, str] = {
    "missing": "missing",
    "extra_forbidden": "unknown key",
    "invalid_key": "needed a name as the key",
    "string_type": "needed a string",
    "string_unicode": "needed a string",
    "string_too_short": "needed a string of length {min_length} or more",
    "string_too_long": "needed a string of length {max_length} or less",
    "string_pattern_mismatch": "needed text like {pattern}",
    "int_type": "needed a whole number",
    "int_parsing": "needed a whole number",
    "int_parsing_size": "needed a smaller whole number",
    "int_from_float": "needed a whole number",
    "float_type": "needed a number",
    "float_parsing": "needed a number",
    "finite_number": "needed a finite number",
    "bool_type": "needed true or false",
    "bool_parsing": "needed true or false",
    "tuple_type": "needed a list",
    "list_type": "needed a list",
    "set_type": "needed a list",
    "dict_type": "needed a mapping",
    "model_type": "needed a mapping",
    "model_attributes_type": "needed a mapping",
    "mapping_type": "needed a mapping",
    "dataclass_type": "needed a mapping",
    "too_long": "needed at most {max_length} entries",
    "literal_error": "needed {expected}",
    "greater_than": "needed a number greater than {gt}",
    "greater_than_equal": "needed {ge} or more",
    "less_than": "needed a number less than {lt}",
    "less_than_equal": "needed {le} or less",
    "multiple_of": "needed a multiple of {multiple_of}",
    "union_tag_not_found": "kind: missing",
    "recursion_loop": "needed a value that does not contain itself",
    "none_required": "needed no value",
    "time_type": "needed a time",
    "time_parsing": 'needed a time in quotes, such as "22:00"',
    "date_type": "needed a date",
    "json_invalid": "not JSON ({error})",
}
"""Type of a mistake -> its message, with the fields of pydantic's context. Other types: see ``_own_words``."""


def mistakes(error: ValidationError) -> list[str]:
    """One line for each mistake: where it is and what was needed, such as ``platform.l4t: needed a string``."""
    return [_line(detail) for detail in error.errors(include_url=False)]


def needed_of(detail: Mapping[str, Any]) -> str:
    """What a mistake needed, in words of our own, such as ``needed a list``."""
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "too_short":
        least = context.get("min_length", 1)
        return f"needed {least} or more entries" if least != 1 else "needed at least one entry"
    if kind == "union_tag_invalid":
        given = detail["input"].get("kind") if isinstance(detail["input"], Mapping) else context["tag"]
        kinds = re.findall(r"'([^']*)'", context["expected_tags"])
        text = given if isinstance(given, str) else shown_value(given)
        return "kind: " + unknown("kind", text, kinds)
    if kind in _NEEDED:
        return _NEEDED[kind].format(**context)
    return _own_words(str(detail["msg"]))


def unknown(what: str, name: str, known: Iterable[str], plural: str = "") -> str:
    """``unknown target 'gpu'; targets: cpu``, with the near miss where there is one."""
    names = sorted(known)
    near = nearest(name, names)
    shown = name if len(name) <= 60 else f"{name[:60]}..."
    there = f"{plural or what + 's'}: {listed(names)}" if names else f"there are no {plural or what + 's'}"
    return f"unknown {what} {shown!r}; " + (f"did you mean {near!r}? {there}" if near else there)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` was probably meant to be."""
    return next((near for near in near_misses(name, known) if near != name), None)


def shown_value(value: Any, at_most: int = 60) -> str:
    """A value as YAML has it, cut where it is long: ``true``, ``'text'``, ``[a, b]``, ``a mapping``."""
    if value is None:
        return "no value"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, str):
        return repr(value if len(value) <= at_most else f"{value[:at_most]}...")
    if isinstance(value, list | tuple | set):
        items = ["..." if isinstance(one, list | tuple | set) else str(shown_value(one, 20)) for one in list(value)[:8]]
        return f"[{', '.join(items)}{', ...' if len(value) > 8 else ''}]"
    text = str(value)
    return text if len(text) <= at_most else f"{text[:at_most]}..."


def _line(detail: Any) -> str:
    place = ".".join(str(step) for step in detail["loc"])
    return f"{place}: {needed_of(detail)}" if place else needed_of(detail)


def _own_words(message: str) -> str:
    """The message of a validator of ours, or one of pydantic's without its phrases."""
    for prefix in ("Value error, ", "Assertion failed, "):
        if message.startswith(prefix):
            return message.removeprefix(prefix)
    text = re.sub(r"^(Input|Value|Keys?) should (be|have)( a valid)?", "needed", message)
    return re.sub(r"\b(dictionary|object)\b", "mapping", text).replace("valid tuple", "list")
