"""The edge of the command line: nothing that a command raises reaches a person as a traceback.

Exit codes: 0 the answer is yes or the work is done; 1 the answer is no or the work failed; 2 the command line itself is
wrong; 130 interrupted (Ctrl-C); 141 the reader of the output is gone, as after ``| head``.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import typer

from robot_assets.cli.streams import OutputError
from robot_assets.cli.usage import CommandLineError, UsageError, is_help, options, usage_error
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import escaped
from robot_assets.core.translation import translated

DEBUG_VARIABLE = "ROBOT_ASSETS_DEBUG"
PROGRAM = "robot-assets"
INTERRUPTED = 128 + signal.SIGINT
READER_GONE = 128 + signal.SIGPIPE
_PACKAGES = ("robot_assets", "dagster_project")


class CommandError(RobotAssetsError):
    """What ended a command at its edge: its output, its input, or a fault of the program."""


def is_debugging() -> bool:
    """Whether errors show their traceback."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


@contextmanager
def readable_errors(arguments: Sequence[str] = ()) -> Iterator[None]:
    """End the process with an exit code, and with found, needed and fix instead of a traceback.

    Args:
        arguments: The command line without the program, which a ``fix`` repeats; ``--json`` in it asks for JSON.
    """
    try:
        yield
        sys.stdout.flush()
    except BaseException as error:  # also KeyboardInterrupt and SystemExit
        if is_debugging() and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        raise SystemExit(_reported(error, arguments)) from None


def _reported(error: BaseException, arguments: Sequence[str]) -> int:
    """As ``_report``, also where that fails: without memory or open files nothing more can be imported."""
    try:
        return _report(error, arguments)
    except Exception as second:
        _say(
            f"error: {type(error).__name__}: {error}\n"
            f"  needed: memory and open files, to say more ({type(second).__name__}: {second})\n"
            f"  fix: ulimit -a   # shows the limits of this shell"
        )
        return 1


def _report(error: BaseException, arguments: Sequence[str]) -> int:
    """Print what ended the command; return the exit code."""
    if isinstance(error, SystemExit):
        return _exit_code(error, arguments)
    if isinstance(error, KeyboardInterrupt):
        _say(str(error) or "interrupted")
        return INTERRUPTED
    if _was_interrupted(error):
        _say("interrupted")
        return INTERRUPTED
    if isinstance(error, OutputError) and error.is_reader_gone:
        return READER_GONE
    if is_help(error):  # printed by typer
        return 2
    _print_error(_described(error, arguments), arguments)
    return 2 if isinstance(error, UsageError | CommandLineError) else 1


def _was_interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is behind it: a library that is being imported makes an ImportError of the interruption."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        if isinstance(found, KeyboardInterrupt) or (
            isinstance(found, ImportError) and KeyboardInterrupt.__name__ in str(found)
        ):
            return True
        seen.add(id(found))
        found = found.__cause__ or found.__context__
    return False


def _exit_code(done: SystemExit, arguments: Sequence[str]) -> int:
    try:
        sys.stdout.flush()
    except OutputError as error:
        return _report(error, arguments)
    if isinstance(done.code, str):
        _say(done.code)
        return 1
    return done.code or 0


def _described(error: BaseException, arguments: Sequence[str]) -> RobotAssetsError:
    """The error in three parts."""
    if isinstance(error, UsageError):
        return usage_error(error, arguments)
    if isinstance(error, EOFError | typer.Abort):
        return CommandError("the standard input has ended", needed="an answer", fix=_command(arguments))
    if isinstance(error, OutputError):
        return CommandError(
            f"the output cannot be written: {error}",
            needed="a terminal, a pipe, or a file on a disk with free space",
            fix=f"{_command(arguments)} > FILE   # on another disk",
        )
    return translated(error) or _fault(error, arguments)


def _fault(error: BaseException, arguments: Sequence[str]) -> CommandError:
    """An error that no one expected, in one line with its place in the code."""
    text = " ".join(str(error).split())
    name = type(error).__name__ + (f": {text}" if text else "")
    return CommandError(
        f"an error in robot-assets: {name} ({_place(error)})",
        needed="no such error: it is a fault of robot-assets or of a library",
        fix=f"{_command([*arguments, '--debug'])}   # shows the traceback; please report it",
    )


def _place(error: BaseException) -> str:
    """File, line and function of the innermost frame in code of ours, else of the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if any(name in Path(frame.filename).parts for name in _PACKAGES)]
    if not frames:
        return "place unknown"
    frame = (ours or frames)[-1]
    parts = Path(frame.filename).parts
    start = max((number for number, part in enumerate(parts) if part in _PACKAGES), default=len(parts) - 2)
    return f"{'/'.join(parts[start:])}, line {frame.lineno}, in {frame.name}"


def _command(arguments: Sequence[str]) -> str:
    return shlex.join([PROGRAM, *arguments])


def _print_error(error: RobotAssetsError, arguments: Sequence[str]) -> None:
    if _wants_json(options(arguments)):
        with suppress(OutputError):
            print(json.dumps({"error": error.as_json()}, indent=2, sort_keys=True, default=str), flush=True)
    _say(f"error: {error.found}\n  needed: {error.needed}\n  fix: {error.fix}")


def _wants_json(given: Sequence[str]) -> bool:
    return "--json" in given or "--format=json" in given or ("--format", "json") in pairwise(given)


def _say(text: str) -> None:
    """Print to standard error, which may be closed or full as well."""
    with suppress(OutputError):
        print(escaped(text), file=sys.stderr, flush=True)
    with suppress(OutputError):
        sys.stdout.flush()
