"""Outside text in Markdown: names of classes, files, parameters and devices."""

from __future__ import annotations

import re

_INSIDE = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))")
_AT_START = re.compile(r"^(\d*)(>|[#+=.)-]+(?=\s|$))")


def literal(text: str) -> str:
    """Text that Markdown shows unchanged, on one line, also in a table and at the start of a line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return _AT_START.sub(r"\1\\\2", _INSIDE.sub(r"\\\1", plain))


def code(text: str) -> str:
    """Text between backticks, also in a table; what would end them becomes a question mark."""
    return re.sub(r"[`|\s<]", "?", text)
