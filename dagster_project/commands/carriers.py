"""``robot-assets audit --find``: the engines that are made of some weights, or of any other asset."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from robot_assets.cli.console import console
from robot_assets.cli.usage import CommandLineError
from robot_assets.core.errors import ParamsError
from robot_assets.core.text import plural
from robot_assets.core.validation import unknown
from robot_assets.pipeline.project import Project

if TYPE_CHECKING:
    from robot_assets.lineage.audit import History
    from robot_assets.lineage.carriers import Carrier

_FIND = re.compile(r"(?:(?P<kind>[a-z]+)=)?(?P<name>[^@=]+)(?:@(?P<digits>[0-9a-f]+(?:\.dir)?))?")


def find_carriers(project: Project, find: str, format: str) -> None:
    """Print the engines that are made of what ``find`` names.

    Raises:
        CommandLineError: It is not a name, or the format is one of a single chain.
        ParamsError: No such asset was ever recorded.
    """
    from dagster_project.instance.history import InstanceHistory
    from dagster_project.local.instance import open_instance
    from robot_assets.lineage.carriers import carriers

    if format not in ("text", "json"):
        raise CommandLineError(
            f"--format {format} with --find", needed="text or json", fix=f"robot-assets audit --find {find}"
        )
    wanted, digits = _parsed(find)
    with open_instance(project.root) as instance:
        history = InstanceHistory(instance)
        _refuse_unknown(wanted, history)
        found = carriers(wanted, digits, _signed(history), history)
        declared = {one.found: dict(history.declared(wanted, one.found)) for one in found}
    if format == "json":
        rows = [{**vars(one), "declared": declared[one.found]} for one in found]
        print(json.dumps({"asset": wanted, "carriers": rows}, indent=2, sort_keys=True))
    else:
        _print(wanted, digits, found, declared)


def _parsed(find: str) -> tuple[str, str]:
    """The asset, and the first digits of its version."""
    from robot_assets.pipeline.registry import reserved_words

    match = _FIND.fullmatch(find)
    if match is None or (match["kind"] and match["kind"] not in reserved_words()):
        raise CommandLineError(
            f"--find {find!r}",
            needed="weights=NAME, or the name of an asset; after an @ the first digits of its version",
            fix="robot-assets audit --find weights=NAME",
        )
    return "/".join(filter(None, (match["kind"], match["name"]))), match["digits"] or ""


def _refuse_unknown(wanted: str, history: History) -> None:
    known = history.assets()
    if wanted not in known:
        raise ParamsError(
            f"nothing is recorded of {wanted}: {unknown('asset', wanted, known)}",
            needed="an asset that was built or observed",
            fix="correct the name, or build what is made of it",
        )


def _signed(history: History) -> list[str]:
    """The assets of the history that are engines."""
    from robot_assets.pipeline.registry import kind_of

    found = ((asset, kind_of(asset)) for asset in history.assets())
    return [asset for asset, of in found if of and of[0].production and of[0].production.is_signed]


def _print(wanted: str, digits: str, found: list[Carrier], declared: dict[str, dict[str, object]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from robot_assets.lineage.report.phrases import declaration, printable, short

    sought = f"{wanted}@{digits}" if digits else wanted
    if not found:
        console().print(Text(printable(f"No engine is made of {sought}.")), highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("engine", "version", "", wanted.partition("/")[0], "licence"):
        table.add_column(title, header_style="dim")
    for one in found:
        licence = declaration(declared[one.found].get("licence", ""))
        latest = "latest" if one.is_latest else ""
        row = (one.asset, short(one.version), latest, short(one.found), licence)
        table.add_row(*(Text(printable(text)) for text in row))
    console().print(table)
    console().print(Text(printable(f"{plural(len(found), 'version')} of engines made of {sought}.")), highlight=False)
