"""``robot-assets verify`` and ``robot-assets key``: engines and releases as signed, and the keys that sign."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console
from robot_assets.cli.plugins import extensible
from robot_assets.core.text import escaped
from robot_assets.pipeline import names
from robot_assets.pipeline.project import Project, find_project, project_here
from robot_assets.release.bundle import BUNDLE_FILE
from robot_assets.runtime.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robot_assets.provenance.public_key import Trust
    from robot_assets.provenance.verify import Check, Verification
    from robot_assets.release.verifying import Verification as ReleaseVerification

key_app = typer.Typer(cls=extensible("key"), help="Create and show the key that signs engines.", no_args_is_help=True)


def verify(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A file or directory of an engine or of a release; also an asset name or a data version.",
            autocompletion=completion.engines,
        ),
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
    """Check that an engine, or each engine of a release, is what was built, signed and tested for a machine like this.

    Exit code 0 when it is, 1 when it is not. Needs no network.

    Example: robot-assets verify /opt/robot/detector --trusted ed25519:...
    """
    from robot_assets.platforms.probe import probe
    from robot_assets.provenance.verify import verify as verify_engine
    from robot_assets.release.verifying import verify_release

    project = project_here()
    path = _opened(file)
    trust = _trust(project, trusted, file)
    here = probe(require_runtime=False)
    found: Verification | ReleaseVerification
    if (release := _release_at(path)) is not None:
        found = verify_release(release, trust, platform=here)
        answer(found.as_json(), as_json, partial(_print_release, found))
    else:
        found = verify_engine(path, trust, here, project.store if project else None)
        answer(found.as_json(), as_json, partial(_print_engine, found))
    if not found.passed:
        raise typer.Exit(1)


def _opened(file: str) -> Path:
    """The path that a person named, or the directory of the engine or release of that name."""
    from robot_assets.cli.engine import open_asset, open_engine

    if Path(file).exists():
        return Path(file)
    return open_asset(file) if names.RELEASE.parse(file) else open_engine(file)


def _release_at(path: Path) -> Path | None:
    """The directory of the release at a path; None where an engine is meant."""
    folder = path.parent if path.name == BUNDLE_FILE else path
    is_release = (folder / BUNDLE_FILE).is_file() and not (folder / MANIFEST).exists()
    return folder if is_release else None


@key_app.command()
def create(
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; by default where this checkout looks for its key.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key pair that signs engines. Never replaces one.

    Example: robot-assets key create --out ~/.config/robot-assets/signing.pem
    """
    from robot_assets.provenance.keys import KEY_VARIABLE, create_key

    path = out.expanduser() if out else find_project().key.path
    public = create_key(path)

    def text() -> None:
        print(f"wrote {path}: keep a backup, and keep it secret")
        if out:
            print(f"to sign with it: export {KEY_VARIABLE}={shlex.quote(str(path.resolve()))}")
        print("to trust it: add this line to provenance.trusted_keys in params.yaml, here and on the robots")
        print(f"  - {public}")

    answer({"path": str(path), "public_key": str(public)}, as_json, text)


@key_app.command()
def show(as_json: JsonOption = False) -> None:
    """Print the public half of this checkout's key, as provenance.trusted_keys in params.yaml takes it.

    Example: robot-assets key show
    """
    from robot_assets.provenance.keys import load_key, public_half

    path = find_project().key.path
    public = str(public_half(load_key(path)))
    answer({"path": str(path), "public_key": public}, as_json, lambda: print(public))


def _trust(project: Project | None, keys: list[str] | None, file: str) -> Trust:
    """Whose signatures count: the keys of the command line, else those of the project."""
    from robot_assets.provenance.errors import ProvenanceError
    from robot_assets.provenance.public_key import Trust, parse_public_key

    if keys:
        return Trust(tuple(parse_public_key(key) for key in keys))
    if project is None:
        raise ProvenanceError(
            "no trusted key: there is no params.yaml here and no --trusted",
            needed="a public key that you trust; `robot-assets key show` prints it where engines are signed",
            fix=f"robot-assets verify {shlex.quote(file)} --trusted ed25519:...",
        )
    return project.trust()


def _print_engine(found: Verification) -> None:
    _print_checks(f"{found.asset or found.path}  {found.version}", found.checks)
    if found.passed:
        _print_passed("this engine is what was built, signed and tested, for a machine like this")
    else:
        _print_fixes("do not run this engine", found.checks)


def _print_release(found: ReleaseVerification) -> None:
    group = f"release/{found.bundle.group}  " if found.bundle else ""
    _print_checks(f"{group}{found.path}", found.checks)
    if found.passed:
        _print_passed("each engine of this release is what was built, signed and tested, for a machine like this")
    else:
        _print_fixes("do not run the engines of this release", found.checks)


def _print_checks(title: str, checks: Sequence[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    terminal = console()
    terminal.print(escaped(title), highlight=False, markup=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in checks:
        mark = Text("yes", "green") if check.passed else Text("no", "bold red")
        table.add_row(Text(escaped(check.name)), mark, Text(escaped(check.why)))
    terminal.print(table, highlight=False)


def _print_passed(sentence: str) -> None:
    console().print(f"[green]yes[/green]: {sentence}")


def _print_fixes(sentence: str, checks: Sequence[Check]) -> None:
    terminal = console()
    terminal.print(f"[bold red]no[/bold red]: {sentence}")
    for fix in dict.fromkeys(check.fix for check in checks if check.fix):
        terminal.print(f"  fix: {escaped(fix)}", highlight=False, markup=False, soft_wrap=True)
