"""``robot-assets audit``: the full chain of a version, for people, for machines and for auditors."""

from __future__ import annotations

import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.commands.carriers import find_carriers
from robot_assets.cli import completion
from robot_assets.cli.usage import CommandLineError
from robot_assets.core.errors import StoreError
from robot_assets.core.extras import require
from robot_assets.pipeline.project import Project, find_project

if TYPE_CHECKING:
    from robot_assets.lineage.chain import Chain


class Format(StrEnum):
    """How a chain is shown."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"
    INTOTO = "intoto"


def audit(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="ASSET|ENGINE_FILE|HASH",
            help="An asset (its latest version), an engine file or its directory, or a data version or the md5 of an "
            "engine file: all of it, or at least 6 digits.",
            autocompletion=completion.assets,
        ),
    ] = None,
    find: Annotated[
        str | None,
        typer.Option(
            metavar="weights=NAME|ASSET[@DIGITS]",
            help="List the engines that are made of these weights, or of any other asset; after an @ the first digits "
            "of its version.",
        ),
    ] = None,
    format: Annotated[
        Format,
        typer.Option(help="html is one self-contained page; intoto prints the signed statements, one a line."),
    ] = Format.TEXT,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of the terminal.")] = None,
) -> None:
    """Show what an engine was made of, step by step, as recorded when it was made.

    Exit code 1 when something is missing, uncommitted or failed, or when files are not exactly what was built.

    Example: robot-assets audit sidewalk_detector/engine/cpu --format html --out audit.html

    Example: robot-assets audit --find weights=resnet18
    """
    require("dagster")
    project = find_project()
    if what is None or find is not None:
        _refuse_both(what, find)
        find_carriers(project, find or "", format.value)
        return
    chain, note = _chain(project, what)
    if note:
        print(f"note: {note}", file=sys.stderr)
    if format is Format.TEXT and out is None:
        _print_text(chain)
    else:
        _write(_text_of(chain, format, project), out, chain)
    if chain.problems or note:
        raise typer.Exit(1)


def _refuse_both(what: str | None, find: str | None) -> None:
    if (what is None) == (find is None):
        raise CommandLineError(
            "ASSET and --find together" if find else "neither an asset nor --find",
            needed="one of the two",
            fix="robot-assets audit MODEL/engine/TARGET   # or: robot-assets audit --find weights=NAME",
        )


def _chain(project: Project, what: str) -> tuple[Chain, str]:
    from dagster_project.instance.history import InstanceHistory
    from dagster_project.local.instance import open_instance
    from robot_assets.lineage.audit import audit as audit_version
    from robot_assets.lineage.resolve import resolve
    from robot_assets.pipeline.graph import build_graph, traits
    from robot_assets.provenance.subjects import BUNDLE

    graph = build_graph(project.params)
    with open_instance(project.root) as instance:
        history = InstanceHistory(instance)
        found = resolve(what, graph, history, project.store, traits, [BUNDLE])
        return audit_version(found.asset, found.version, graph, history, project.store, traits), found.note


def _text_of(chain: Chain, format: Format, project: Project) -> str:
    match format:
        case Format.TEXT:
            from robot_assets.lineage.report.terminal import plain

            return plain(chain)
        case Format.JSON:
            # Through pydantic's own writer: it has a form for the infinities that a gate may have measured.
            return json.dumps(json.loads(chain.model_dump_json()), indent=2, sort_keys=True) + "\n"
        case Format.HTML:
            from robot_assets.lineage.report.page import page

            return page(chain)
        case Format.INTOTO:
            return _statements(chain, project)


def _statements(chain: Chain, project: Project) -> str:
    """The signed envelopes that the store keeps for the version, one a line.

    Raises:
        StoreError: There are none.
    """
    envelopes = project.store.attestations(chain.head.version).values()
    if not envelopes:
        raise StoreError(
            f"{chain.head.asset} {chain.head.version} has no signed statements",
            needed="an engine: engines alone are signed, by each build",
            fix=f"robot-assets audit {_signed(project, chain.head.asset)} --format intoto",
        )
    # A line break in JSON is only ever a space, and here it would end the envelope.
    return "".join(" ".join(envelope.decode().split("\n")).strip() + "\n" for envelope in envelopes)


def _signed(project: Project, asset: str) -> str:
    """An engine that is made of ``asset``, else the first of the project."""
    from robot_assets.lineage.graph import with_ancestors
    from robot_assets.pipeline.graph import build_graph
    from robot_assets.pipeline.registry import with_kinds

    graph = build_graph(project.params)
    signed = [stage.asset for stage, kind, _ in with_kinds(graph) if kind.production and kind.production.is_signed]
    above = (name for name in signed if asset in with_ancestors(graph, [name]))
    return next(above, signed[0] if signed else "MODEL/engine/TARGET")


def _write(text: str, out: Path | None, chain: Chain) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    from robot_assets.core.publishing import publishing_file
    from robot_assets.lineage.report.phrases import verdict

    if out.is_dir():
        raise StoreError(
            f"--out is {out}, which is a folder",
            needed="a file",
            fix=f"name a file in it, such as: --out {shlex.quote(str(out / 'audit.html'))}",
        )
    try:
        with publishing_file(out) as staging:
            staging.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{out} cannot be written: {error.strerror}",
            needed="a path that can be written",
            fix=f"ls -ld {shlex.quote(str(out.parent))}   # then name another --out",
        ) from None
    print(f"{out}: {verdict(chain)}")


def _print_text(chain: Chain) -> None:
    from rich.console import Console

    from robot_assets.lineage.report.terminal import COLUMNS, plain, rendered

    terminal = Console()
    if terminal.is_terminal:
        Console(width=min(terminal.width, COLUMNS)).print(rendered(chain), highlight=False)
    else:
        sys.stdout.write(plain(chain))
