"""``robot-assets verify`` and ``robot-assets key``: who made this engine, and with which key. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli.console import answer, console
from robot_assets.core.errors import ParamsError

if TYPE_CHECKING:
    from robot_assets.pipeline.project import Project
    from robot_assets.provenance.public_key import Trust
    from robot_assets.provenance.verify import Verification

key_app = typer.Typer(help="Make and show the key that signs engines.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


def verify(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A file or directory of an engine; also an asset name or a data version."),
    ],
    trusted: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted",
            metavar="KEY",
            help="A public key whose signature counts, once or more; by default those of params.yaml.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether an engine is what was built, signed and tested for a machine like this one.

    Exit code 0 when it is, 1 when it is not. Needs no network.

    Example: robot-assets verify /opt/robot/detector --trusted ed25519:...
    """
    from robot_assets.cli.engine import open_engine
    from robot_assets.platforms.probe import probe
    from robot_assets.provenance import verify as verifying

    project = project_here()
    is_here = Path(file).exists() or project is None
    path = Path(file) if is_here else open_engine(file)
    found = verifying.verify(path, _trust(project, trusted), probe(), project.store if project else None)
    answer(found.as_json(), as_json, lambda: _print_verification(found))
    if not found.passed:
        raise typer.Exit(1)


@key_app.command()
def create(
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; by default where this checkout looks for its key.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key pair that signs engines. Never replaces one.

    Example: robot-assets key create --out ~/.config/robot-assets/signing.pem
    """
    from robot_assets.pipeline.project import find_project
    from robot_assets.provenance.keys import KEY_VARIABLE, create_key, key_path

    path = out.expanduser() if out else key_path(find_project())
    public = create_key(path)

    def text() -> None:
        print(f"wrote {path}: keep it, and let nobody else read it")
        if out:
            print(f"to sign with it: export {KEY_VARIABLE}={path.resolve()}")
        print("to trust it: add this line to provenance.trusted_keys in params.yaml, here and on the robots")
        print(f"  - {public}")

    answer({"path": str(path), "public_key": str(public)}, as_json, text)


@key_app.command()
def show(as_json: JsonOption = False) -> None:
    """Print the public half of this checkout's key, as provenance.trusted_keys in params.yaml takes it.

    Example: robot-assets key show
    """
    from robot_assets.pipeline.project import find_project
    from robot_assets.provenance.keys import key_path, load_key, public_half

    path = key_path(find_project())
    public = str(public_half(load_key(path)))
    answer({"path": str(path), "public_key": public}, as_json, lambda: print(public))


def project_here() -> Project | None:
    """The project around the working directory; None on a robot, which has none."""
    from robot_assets.pipeline.project import find_project

    try:
        return find_project()
    except ParamsError:
        return None


def _trust(project: Project | None, lines: list[str] | None) -> Trust:
    from robot_assets.provenance.errors import ProvenanceError
    from robot_assets.provenance.keys import trust_of
    from robot_assets.provenance.public_key import Trust, parse_public_key

    if lines:
        return Trust(tuple(parse_public_key(line) for line in lines))
    if project is None:
        raise ProvenanceError(
            "whose signature counts is not said: there is no params.yaml here and no --trusted",
            needed="a public key that you trust",
            fix="robot-assets verify FILE --trusted KEY; `robot-assets key show` prints KEY where engines are signed",
        )
    return trust_of(project)


def _print_verification(found: Verification) -> None:
    from rich.table import Table
    from rich.text import Text

    terminal = console()
    terminal.print(f"{found.asset or found.path}  {found.version}", highlight=False, markup=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in found.checks:
        mark = Text("yes", "green") if check.passed else Text("no", "bold red")
        table.add_row(check.name, mark, Text(check.why))
    terminal.print(table, highlight=False)
    if found.passed:
        terminal.print("[green]yes[/green]: this engine is what was built, signed and tested, for a machine like this")
        return
    terminal.print("[bold red]no[/bold red]: do not run this engine")
    for fix in dict.fromkeys(check.fix for check in found.checks if check.fix):
        terminal.print(f"  fix: {fix}", highlight=False, markup=False)
