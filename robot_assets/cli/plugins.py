"""Commands of other packages, added by entry point. Those of ours that need Dagster are added in the same way.

A command is a function as :meth:`typer.Typer.command` takes it; a :class:`typer.Typer` is a group of commands. The name
of the entry point is what a person types, ``GROUP.COMMAND`` for a command in a group of ours::

    [project.entry-points."robot_assets.commands"]
    rollout = "fleet.commands:rollout"
    "engine.sign" = "fleet.commands:sign"

Its module is imported when the command runs, and for the ``--help`` of its group. So it imports what is slow, or not
always installed, inside the function. A command of ours cannot be replaced. One that cannot be imported stays in the
list; running it gives the reason.

An entry point of ``robot_assets.asset_openers`` is a function that takes the name of an asset and returns the path of
its present version.

An entry point of ``robot_assets.users`` is a function that takes a hash and the folder of a project, and returns the
names and versions of the engines and releases that are made of what the hash names.

What a command raises is printed as found, needed and fix. A package whose libraries have exceptions of their own adds a
translator of them when it is imported: ``robot_assets.core.translation.add_translator``. ``--debug`` belongs to the
program: a command cannot have an option of this name.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FunctionType
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from robot_assets.cli.usage import UnknownCommand, UsageError
from robot_assets.core.errors import ParamsError
from robot_assets.core.plugins import load_point

COMMANDS = "robot_assets.commands"
ASSET_OPENERS = "robot_assets.asset_openers"
USERS = "robot_assets.users"


class ExtensibleGroup(TyperGroup):
    """A group of commands that entry points add to."""

    prefix = ""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command: ours first."""
        self._add(_points(self.prefix))
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command; no other is imported for it."""
        if cmd_name not in self.commands:
            points = _points(self.prefix)
            # an unknown command: the error suggests similar names, so all are needed
            self._add({cmd_name: points[cmd_name]} if cmd_name in points else points)
        command = super().get_command(ctx, cmd_name)
        if command is not None and not isinstance(command, ExtensibleGroup):
            _without_types_of_flags([*command.params, command.get_help_option(ctx)])
        return command

    def get_params(self, ctx: Any) -> Any:
        """The options of the group itself."""
        return _without_types_of_flags(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer, with the known names in the error about an unknown one."""
        if args and not args[0].startswith("-") and not ctx.resilient_parsing and not self.get_command(ctx, args[0]):
            raise UnknownCommand(args[0], self.list_commands(ctx), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """As typer; an error about the command line says to which command it belongs."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if getattr(error, "ctx", None) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def _add(self, points: dict[str, EntryPoint]) -> None:
        for name, point in points.items():
            if name not in self.commands:
                self.add_command(_command(name, point), name)


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """Leave out ``<bool>`` in the help of options without a value."""
    for one in parameters:
        if getattr(one, "is_flag", False):
            one.metavar = ""
    return parameters


def extensible(group: str) -> type[ExtensibleGroup]:
    """The class of the group called ``group``, for ``typer.Typer(cls=...)``."""
    return type("Group", (ExtensibleGroup,), {"prefix": f"{group}."})


def asset_opener() -> Callable[[str], Path] | None:
    """Opens the present version of an asset by its name; None where no installed package can."""
    point = next(iter(entry_points(group=ASSET_OPENERS)), None)
    return load_point(point, FunctionType) if point else None


def users_of() -> Callable[[str, Path], list[tuple[str, str]]] | None:
    """Finds what is made of a hash, in the project of a folder; None where no installed package can."""
    point = next(iter(entry_points(group=USERS)), None)
    return load_point(point, FunctionType) if point else None


def _points(prefix: str) -> dict[str, EntryPoint]:
    """Entry points of the commands of a group, by name."""
    points = [point for point in entry_points(group=COMMANDS) if point.name.startswith(prefix)]
    found = {point.name.removeprefix(prefix): point for point in points}
    return {name: point for name, point in found.items() if "." not in name}


def _command(name: str, point: EntryPoint) -> Any:
    try:
        found = load_point(point, FunctionType, typer.Typer)
    except ParamsError as error:
        return _refusing(name, error)
    return get_group(found) if isinstance(found, typer.Typer) else _single(name, found)


def _single(name: str, function: Any, **settings: Any) -> Any:
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name, **settings)(function)
    return get_command(alone)


def _refusing(name: str, error: ParamsError) -> Any:
    """A command that takes any arguments and raises ``error``."""

    def refuse() -> None:
        raise error

    anything = {"allow_extra_args": True, "ignore_unknown_options": True}
    return _single(name, refuse, help="Cannot be imported; run it to see why.", context_settings=anything)
