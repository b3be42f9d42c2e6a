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
from dagster_project.commands.used_by import print_users
from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption
from robot_assets.cli.usage import CommandLineError
from robot_assets.core.errors import StoreError
from robot_assets.core.extras import require
from robot_assets.core.text import escaped
from robot_assets.lineage.errors import LineageError
from robot_assets.pipeline.project import Project, find_project

if TYPE_CHECKING:
    from dagster_project.commands.fleet_audit import Subject
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
            metavar="ASSET|ROBOT|ENGINE_FILE|HASH",
            help="An asset (its latest version), a robot (the release that it runs), an engine file or its directory, "
            "or a data version or the md5 of an engine file: all of it, or at least 6 digits.",
            autocompletion=completion.audited,
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
    used_by: Annotated[
        str | None,
        typer.Option(
            metavar="HASH",
            help="List the engines, releases and robots that are made of a recording, a checkpoint or any other data "
            "version, a code version, a key, a git commit or an image: at least 6 digits.",
        ),
    ] = None,
    format: Annotated[
        Format,
        typer.Option(help="html is one self-contained page; intoto prints the signed statements, one a line."),
    ] = Format.TEXT,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of the terminal.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an engine was made of, step by step, as recorded when it was made.

    Exit code 1 when something is missing, uncommitted or failed, or when files are not exactly what was built.

    Example: robot-assets audit sidewalk_detector/engine/cpu --format html --out audit.html

    Example: robot-assets audit --find weights=resnet18

    Example: robot-assets audit --used-by 4e33282f
    """
    require("dagster")
    project = find_project()
    form = _form(format, as_json)
    _require_one(what, find, used_by)
    if used_by is not None:
        _refuse_page("--used-by", used_by, form, out)
        print_users(project, used_by, form is Format.JSON)
    elif find is not None:
        find_carriers(project, find, form.value)
    elif what is not None:
        _audit(project, what, form, out)


def _audit(project: Project, what: str, form: Format, out: Path | None) -> None:
    chain, note, subject = _chain(project, what)
    if note:
        print(f"note: {escaped(note)}", file=sys.stderr)
    if form is Format.TEXT and out is None:
        _print_text(chain, subject)
    else:
        _write(_text_of(chain, form, project, subject, what), out, chain)
    is_complete = subject.is_complete if subject else not note
    if chain is None or chain.problems or not is_complete:
        raise typer.Exit(1)


def _form(format: Format, as_json: bool) -> Format:
    if as_json and format not in (Format.TEXT, Format.JSON):
        raise CommandLineError(f"--json and --format {format.value}", needed="one of the two", fix="remove --json")
    return Format.JSON if as_json else format


def _require_one(what: str | None, find: str | None, used_by: str | None) -> None:
    given = [name for name, value in (("ASSET", what), ("--find", find), ("--used-by", used_by)) if value is not None]
    if len(given) != 1:
        raise CommandLineError(
            f"{' and '.join(given)} together" if given else "neither an asset nor --find nor --used-by",
            needed="one of the three",
            fix="robot-assets audit MODEL/engine/TARGET   # or: robot-assets audit --find weights=NAME",
        )


def _refuse_page(option: str, value: str, form: Format, out: Path | None) -> None:
    if form in (Format.HTML, Format.INTOTO) or out is not None:
        raise CommandLineError(
            f"--out with {option}" if out is not None else f"--format {form.value} with {option}",
            needed="text or json, on the terminal",
            fix=f"robot-assets audit {option} {shlex.quote(value)} --json",
        )


def _chain(project: Project, what: str) -> tuple[Chain | None, str, Subject | None]:
    """The chain of what a person means, a note on what is not as it should be, and what is known of its robots."""
    from dagster_project.commands.fleet_audit import subject_of
    from dagster_project.instance.history import InstanceHistory
    from dagster_project.local.instance import open_instance
    from robot_assets.lineage.audit import audit as audit_version
    from robot_assets.lineage.resolve import resolve
    from robot_assets.pipeline.graph import build_graph, traits
    from robot_assets.provenance.subjects import BUNDLE

    graph = build_graph(project.params)
    with open_instance(project.root) as instance:
        history = InstanceHistory(instance)
        if (subject := subject_of(project, what, history)) is not None:
            if subject.version is None:
                return None, subject.note or f"{subject.asset} has never been built or observed", subject
            asset, version, note = subject.asset, subject.version, subject.note
        else:
            try:
                found = resolve(what, graph, history, project.store, traits, [BUNDLE])
            except LineageError as error:
                raise _with_robots(error, project, what) from None
            asset, version, note = found.asset, found.version, found.note
        return audit_version(asset, version, graph, history, project.store, traits), note, subject


def _text_of(chain: Chain | None, format: Format, project: Project, subject: Subject | None, what: str) -> str:
    match format:
        case Format.TEXT:
            return _plain(chain, subject)
        case Format.JSON:
            # Through pydantic's own writer: it has a form for the infinities that a gate may have measured.
            document = json.loads(chain.model_dump_json()) if chain else {"links": []}
            document |= {subject.key: subject.facts} if subject else {}
            return json.dumps(document, indent=2, sort_keys=True) + "\n"
    if chain is None:
        raise LineageError(
            f"{what} has no chain to show as {format.value}",
            needed="something that this history has a record of",
            fix=f"robot-assets audit {shlex.quote(what)}   # shows what is known",
        )
    match format:
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


def _with_robots(error: LineageError, project: Project, what: str) -> LineageError:
    """The error about something unknown; robots with a similar name are nearer than any asset."""
    from dagster_project.commands.fleet_audit import near_robots

    near = near_robots(project, what)
    if not near:
        return error
    return LineageError(
        error.found,
        needed=f"{error.needed}, or an enrolled robot",
        fix=f"did you mean {' or '.join(near)}?",
    )


def _plain(chain: Chain | None, subject: Subject | None) -> str:
    import io

    from rich.console import Console

    from robot_assets.lineage.report.terminal import COLUMNS, plain

    lines = io.StringIO()
    if subject:
        Console(file=lines, width=COLUMNS, color_system=None, legacy_windows=False).print(subject.rendered())
    heading = "".join(f"{line.rstrip()}\n" for line in lines.getvalue().splitlines())
    return heading + (plain(chain) if chain else "")


def _write(text: str, out: Path | None, chain: Chain | None) -> None:
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
    print(f"{out}: {verdict(chain) if chain else 'no chain'}")


def _print_text(chain: Chain | None, subject: Subject | None) -> None:
    from rich.console import Console

    from robot_assets.lineage.report.terminal import COLUMNS, rendered

    terminal = Console()
    if not terminal.is_terminal:
        sys.stdout.write(_plain(chain, subject))
        return
    terminal = Console(width=min(terminal.width, COLUMNS))
    if subject:
        terminal.print(subject.rendered(), highlight=False)
    if chain:
        terminal.print(rendered(chain), highlight=False)
