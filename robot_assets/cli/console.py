"""What all commands share: answers and the progress bar."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.core import progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


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
def progress_bars() -> Iterator[Console]:
    """Show the progress of the present operation as a bar on standard error; yield the console to print above it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("  {task.description:<20}", markup=False),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    terminal = console(stderr=True)
    is_silent = not terminal.is_terminal
    with Progress(*columns, console=terminal, refresh_per_second=4, transient=True, disable=is_silent) as bars:
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


def print_above_bars(terminal: Console, line: Text) -> None:
    """Print a line above the bars of :func:`progress_bars`.

    Without a terminal there are no bars, and the line is one write: Rich would print it again at its next output when
    Ctrl-C arrives between its write and the end of its call.
    """
    if terminal.is_terminal:
        terminal.print(line, highlight=False, soft_wrap=True)
    else:
        terminal.file.write(f"{line.plain}\n")
        terminal.file.flush()
