"""The page of a materialization, in plain data: a headline, figures, pictures. How it is shown is not decided here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Picture:
    """A PNG.

    Attributes:
        png: Its bytes.
        caption: What it shows, for who cannot see it.
    """

    png: bytes
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows by name, all with the same columns.

    Attributes:
        first: Title of the column of names.
        rows: Name -> column -> value; floats are shown with four digits.
    """

    first: str
    rows: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Text:
    """A paragraph in Markdown."""

    markdown: str


Block: TypeAlias = Picture | Table | Text


@dataclass(frozen=True)
class Facts:
    """What is known of a result as soon as it is there, without reading, measuring or drawing anything.

    Attributes:
        headline: One line for tables and lists.
        values: Figures, texts, and mappings or lists (shown as JSON), by name.
    """

    headline: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """What is measured and drawn after a result has been stored and recorded.

    Attributes:
        blocks: Pictures, tables and texts, from top to bottom.
        values: Further figures, as in :class:`Facts`.
        headline: Replaces that of the facts where measuring has given a better one; None: it does not.
    """

    blocks: tuple[Block, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    headline: str | None = None
