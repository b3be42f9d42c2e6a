"""Mistakes in a command line, in found, needed and fix, with the nearest command, option or choice."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

import typer

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import near_misses

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The base of typer's exceptions about a command line, which typer does not export."""

OTHER_NAMES = {
    "status": "plan",
    "diff": "plan",
    "materialize": "build",
    "run": "build",
    "train": "build",
    "import": "data import",
    "simulate": "data simulate",
    "check": "data check",
    "bench": "engine bench",
    "benchmark": "engine bench",
    "detect": "engine run",
    "predict": "engine run",
    "inspect": "engine inspect",
    "compare": "engine compare",
    "profile": "engine profile",
    "probe": "platform probe",
    "report": "platform report",
    "publish": "platform publish",
    "get": "engine get",
    "history": "audit",
    "lineage": "audit",
    "dev": "ui",
    "version": "--version",
    "help": "--help",
}
"""What people type for commands that have another name."""


class CommandLineError(RobotAssetsError):
    """A mistake in the command line."""


class UnknownCommand(typer.BadParameter):
    """A name that no command of a group has."""

    def __init__(self, name: str, known: Sequence[str], ctx: Any) -> None:
        super().__init__(f"No such command {name!r}.", ctx=ctx)
        self.name = name
        self.known = known

    def format_message(self) -> str:
        """The message, for tests and programs that run a group by itself."""
        return self.message


def options(arguments: Iterable[str]) -> list[str]:
    """What may be options: the arguments before ``--``."""
    return list(takewhile(lambda argument: argument != "--", arguments))


def refuse_empty(arguments: Sequence[str]) -> None:
    """No command takes an empty argument, which would be read as the working directory where a path is expected.

    Raises:
        CommandLineError: An argument, or the value of an option, is empty.
    """
    for position, argument in enumerate(arguments):
        if not argument or re.fullmatch("--[a-z-]+=", argument):
            words = list(takewhile(lambda word: not word.startswith("-"), arguments[:position]))
            before = f" after {shlex.quote(arguments[position - 1])}" if position else ""
            raise CommandLineError(
                f"an argument{before} is empty" if not argument else f"the value of {argument[:-1]} is empty",
                needed="a name or a path; a variable of the shell that is not set is empty",
                fix=shlex.join(["robot-assets", *words, "--help"]),
            )


def is_help(error: BaseException) -> bool:
    """Whether the error stands for the help of a group that was called without a command."""
    return type(error).__name__ == "NoArgsIsHelpError"


def usage_error(error: Any, arguments: Sequence[str]) -> CommandLineError:
    """A mistake in the command line ``arguments``, in three parts."""
    if isinstance(error, UnknownCommand):
        return _unknown_command(error, arguments)
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        return _unknown_option(error, arguments)
    if type(error).__name__ == "MissingParameter":
        return _error(f"{_name(error.param)} is missing", f"{_usage(error)}{_required(error.param)}", _help(error))
    if getattr(error, "param", None) is not None:
        return _bad_value(error, arguments)
    return _other(error, arguments)


def _unknown_command(error: UnknownCommand, arguments: Sequence[str]) -> CommandLineError:
    other = OTHER_NAMES.get(error.name) if error.ctx and error.ctx.parent is None else None
    near = [other] if other else _near_commands(error.name, error.known)
    return _error(
        f"{_path(error)} has no command {error.name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        f"one of: {', '.join(error.known)}",
        _corrected(arguments, error.name, near[0]) if near else _help(error),
    )


def _near_commands(name: str, known: Sequence[str]) -> list[str]:
    others = {} if "plan" not in known else OTHER_NAMES
    return [others.get(near, near) for near in near_misses(name, {*known, *others}, at_most=1)]


def _unknown_option(error: Any, arguments: Sequence[str]) -> CommandLineError:
    name, known = error.option_name, _known_options(error)
    near = near_misses(name, known, at_most=1)
    return _error(
        f"{_path(error)} has no option {name}" + (f"; did you mean {near[0]}?" if near else ""),
        f"one of: {', '.join(known)}",
        _corrected(arguments, name, near[0]) if near else _help(error),
    )


def _known_options(error: Any) -> list[str]:
    parameters = error.ctx.command.get_params(error.ctx) if error.ctx else []
    return [name for one in parameters for name in one.opts if name.startswith("-")]


def _bad_value(error: Any, arguments: Sequence[str]) -> CommandLineError:
    """A value of the wrong type, or not one of the choices."""
    found, needed = _mistake(error)
    choices = re.fullmatch(r"'.*' is not one of (?P<known>'.*')\.?", needed, re.DOTALL)
    known = re.findall(r"'([^']*)'", choices["known"]) if choices else []
    near = near_misses(found, known, at_most=1)
    name = _name(error.param)
    return _error(
        (f"{name} is {found!r}" if found else f"{name}: {needed}") + (f"; did you mean {near[0]!r}?" if near else ""),
        f"one of: {', '.join(known)}" if known else needed if found else _usage(error),
        _corrected(arguments, found, near[0]) if near else _help(error),
    )


def _mistake(error: Any) -> tuple[str, str]:
    """The value as it was typed, where that is known; and what was needed."""
    from robot_assets.core.validation import needed_of

    if not hasattr(error.__cause__, "errors"):
        return "", str(error.message)
    [detail, *_] = error.__cause__.errors(include_url=False)
    return str(detail["input"]), needed_of(detail).removeprefix("needed ")


def _other(error: Any, arguments: Sequence[str]) -> CommandLineError:
    message = error.format_message().rstrip(".").removeprefix("Invalid value: ")
    extra = re.fullmatch(r"Got unexpected extra argument(?:s|\(s\))? \((?P<words>.*)\)", message, re.DOTALL)
    if extra is None:
        message = re.sub(r"^Option '(.*)' requires an argument$", r"\1 has no value", message)
        return _error(message, _usage(error), _help(error))
    words = extra["words"]
    before = next((arguments[index - 1] for index, one in enumerate(arguments) if index and one == words), "")
    takes_none = f": {before} takes no value" if before.startswith("--") and words in ("true", "false") else ""
    return _error(f"unexpected argument {words!r}{takes_none}", _usage(error), _help(error))


def _name(parameter: Any) -> str:
    """The option, or the argument as the usage line has it."""
    long = [name for name in parameter.opts if name.startswith("--")]
    return str(long[0] if long else parameter.metavar or parameter.name.upper())


def _required(parameter: Any) -> str:
    """An option with a word for its value, for a usage line, which has the arguments alone."""
    name = _name(parameter)
    return f" {name} {parameter.metavar or parameter.name.upper()}" if name.startswith("--") else ""


def _path(error: Any) -> str:
    return str(error.ctx.command_path) if error.ctx else "the command"


def _usage(error: Any) -> str:
    """The usage line without its title."""
    if not error.ctx:
        return "a valid command line"
    return " ".join(error.ctx.get_usage().removeprefix("Usage:").split())


def _help(error: Any) -> str:
    return f"{error.ctx.command_path if error.ctx else 'robot-assets'} --help"


def _corrected(arguments: Sequence[str], found: str, near: str) -> str:
    """The command line with one word replaced, as it can be pasted."""
    words = [word for one in arguments for word in ([*near.split()] if one == found else [one])]
    if words == list(arguments):  # such as --optoin=value
        words = [near + one.removeprefix(found) if one.startswith(f"{found}=") else one for one in arguments]
    return shlex.join(["robot-assets", *words])


def _error(found: str, needed: str, fix: str) -> CommandLineError:
    return CommandLineError(found, needed=needed, fix=fix)
