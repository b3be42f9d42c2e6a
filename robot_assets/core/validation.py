"""Words for the mistakes that pydantic finds in a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

_NEEDED: Mapping[str, str] = {
    "missing": "missing",
    "extra_forbidden": "unknown key",
    "string_type": "needed a string",
    "string_too_short": "needed a string of length {min_length} or more",
    "string_too_long": "needed a string of length {max_length} or less",
    "int_type": "needed a whole number",
    "int_from_float": "needed a whole number",
    "float_type": "needed a number",
    "finite_number": "needed a finite number",
    "bool_type": "needed true or false",
    "tuple_type": "needed a list",
    "list_type": "needed a list",
    "dict_type": "needed a mapping",
    "model_type": "needed a mapping",
    "literal_error": "needed {expected}",
    "greater_than": "needed a number greater than {gt}",
    "greater_than_equal": "needed {ge} or more",
    "less_than": "needed a number less than {lt}",
    "less_than_equal": "needed {le} or less",
    "multiple_of": "needed a multiple of {multiple_of}",
    "json_invalid": "not JSON ({error})",
}
"""Type of a mistake -> its message, with the fields of pydantic's context. Other types keep pydantic's message."""


def mistakes(error: ValidationError) -> list[str]:
    """One line for each mistake: where it is and what was needed, such as ``platform.l4t: needed a string``."""
    return [_line(detail) for detail in error.errors(include_url=False)]


def _line(detail: Any) -> str:
    place = ".".join(str(step) for step in detail["loc"]) or "the document"
    needed = _NEEDED.get(detail["type"])
    message = needed.format(**detail.get("ctx", {})) if needed else detail["msg"].removeprefix("Value error, ")
    return f"{place}: {message}"
