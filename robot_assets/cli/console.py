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

from robot_assets import progress
from robot_assets.errors import RobotAssetsError

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """The terminal, for tables and colour."""
    from rich.console import Console

    return Console()


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
def progress_bars() -> Iterator[None]:
    """Show the progress of the enclosed work as bars on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("  [bold]{task.description:<24}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int, note: str) -> None:
            if what not in tasks or bars.tasks[tasks[what]].completed > done:
                tasks[what] = bars.add_task(what, total=total, note=note)
            bars.update(tasks[what], completed=done, total=total, note=note)

        with progress.listening(show):
            yield
