"""What every verb shares: one way to answer, one way to fail, one progress bar.

Exit codes: 0 the answer is yes or the work is done; 1 the answer is no or the work failed; 2 the command line
itself is wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from robot_assets.core import progress
from robot_assets.core.errors import RobotAssetsError

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """The terminal, for tables and colour. Where output is not a terminal, lines are not cut to its width."""
    from rich.console import Console

    terminal = Console(stderr=stderr)
    return terminal if terminal.is_terminal else Console(stderr=stderr, width=160)


def answer(data: Mapping[str, Any], as_json: bool, text: Callable[[], None]) -> None:
    """Print ``data`` as JSON when a machine asked, else call ``text`` to print for a person."""
    if as_json:
        print(json.dumps(data, indent=2, sort_keys=True, allow_nan=False))
    else:
        text()


@contextmanager
def errors_for_people() -> Iterator[None]:
    """End with exit code 1 and a readable message, without a traceback, on an error a person can mend."""
    try:
        yield
    except RobotAssetsError as error:
        print(f"error: {error.found}", file=sys.stderr)
        print(f"  needed: {error.needed}", file=sys.stderr)
        print(f"  fix: {error.fix}", file=sys.stderr)
        raise SystemExit(1) from None


@contextmanager
def progress_bars() -> Iterator[Console]:
    """Show what is going on right now as one bar on standard error, and yield the console to print above it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("  {task.description:<20}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    terminal = console(stderr=True)
    with Progress(*columns, console=terminal, refresh_per_second=4, transient=True) as bars:
        shown = bars.add_task("", visible=False, note="")
        present = ""

        def show(what: str, done: int, total: int, note: str) -> None:
            nonlocal present
            if what != present:
                present = what
                bars.reset(shown)
            bars.update(shown, description=what, completed=done, total=total, note=note, visible=True)

        with progress.listening(show):
            yield terminal
