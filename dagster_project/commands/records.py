"""Rows with titles on the terminal: a table where there is room, else one block of lines for each row.

Outside text (names of classes, parameters, files) is shown as it is, without markup and control characters.
"""

from __future__ import annotations

from collections.abc import Sequence

from robot_assets.cli.console import console
from robot_assets.core.text import escaped

_TABLE_COLUMNS_MIN = 100
"""On a narrower terminal the columns of a table would be a few letters wide."""


def print_records(titles: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
    """Print rows, the first column being their names.

    Args:
        titles: Of the columns.
        rows: Texts.
        styles: Of each row.
    """
    from rich.table import Table
    from rich.text import Text

    terminal = console()
    if terminal.width < _TABLE_COLUMNS_MIN:
        for (name, *rest), style in zip(rows, styles, strict=True):
            terminal.print(Text(escaped(name), style), highlight=False, soft_wrap=True)
            for title, text in zip(titles[1:], rest, strict=True):
                terminal.print(Text(f"  {title}: {escaped(text)}"), highlight=False, soft_wrap=True)
        return
    table = Table(*titles, box=None, header_style="bold", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row, style in zip(rows, styles, strict=True):
        table.add_row(*(Text(escaped(text)) for text in row), style=style)
    terminal.print(table, highlight=False)
