"""``robot-assets fleet``: the distribution repository of a fleet, its keys and its robots.

The orders of people (pause, approve, pin, recall) are in ``robot_assets.cli.fleet_orders``.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, progress_bars
from robot_assets.cli.plugins import extensible
from robot_assets.core.paths import shown_path
from robot_assets.core.text import listed, near_misses, plural
from robot_assets.pipeline.project import Project, find_project

if TYPE_CHECKING:
    from robot_assets.fleet.exporting import Exported
    from robot_assets.fleet.repository import Repository

app = typer.Typer(
    cls=extensible("fleet"),
    help="Make the repository that robots take releases from, manage its keys, and roll releases out.",
    no_args_is_help=True,
)


@app.command()
def init(
    root_keys: Annotated[int, typer.Option(min=1, max=20, help="Number of root keys.")] = 3,
    threshold: Annotated[int, typer.Option(min=1, help="Root keys that have to sign together.")] = 2,
    root_out: Annotated[
        Path | None, typer.Option(help="Folder for the root keys, such as an encrypted USB stick.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the repository of fleet.url with new keys, and data/fleet/root.json, which robots trust. Never replaces one.

    Example: robot-assets fleet init --root-out /media/vault
    """
    from robot_assets.fleet.creation import refuse_existing
    from robot_assets.fleet.keys import make_root_keys, offline_folder

    repository = open_repository(find_project())
    place = repository.place
    refuse_existing(place)
    folder = offline_folder(place.keys, root_out, place.files)
    made = make_root_keys(folder, root_keys, threshold)
    repository.create(place.files, place.keys, place.root, place.timestamp_days, made)
    data = {
        "repository": place.files.name,
        "keys": str(place.keys),
        "root": str(place.root),
        "root_keys": [str(folder / f"root_{number}.pem") for number in range(1, root_keys + 1)],
        "threshold": threshold,
    }
    answer(data, as_json, lambda: _print_init(repository, folder, root_keys, threshold))


@app.command()
def enroll(
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="Its id.")],
    public_key: Annotated[str | None, typer.Argument(metavar="PUBLIC_KEY", help="Its public key: ed25519:...")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Give a robot that is enrolled another key.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the robot instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add a robot and its public key to data/fleet/robots.yaml: its reports count from then on.

    Example: robot-assets fleet enroll delivery_7 ed25519:...
    """
    from robot_assets.fleet.desired import ROBOTS_FILE
    from robot_assets.fleet.enrollment import enroll as enroll_robot
    from robot_assets.fleet.enrollment import remove as remove_robot

    root = find_project().root
    if remove != (public_key is None):
        raise _usage_of_enroll(robot, remove)
    if public_key is None:
        remove_robot(root, robot)
        done = "removed"
    else:
        done = "enrolled" if enroll_robot(root, robot, public_key, may_replace=replace) else "already enrolled"
    data = {"robot": robot, "done": done, "file": str(root / ROBOTS_FILE)}
    answer(data, as_json, lambda: print(f"{robot} is {done}; commit {shown_path(root / ROBOTS_FILE)}"))


@app.command()
def publish(
    group: Annotated[str, typer.Argument(metavar="GROUP", autocompletion=completion.groups, help="Of robots.")],
    release: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="An earlier release by its data version, or the first digits of it."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Read what the repository has, too, and replace damaged files.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Sign the present release of GROUP where the key of the role releases is, and upload what is missing.

    The step that builds a release does this by itself where it has the key.

    Example: robot-assets fleet publish delivery
    """
    from robot_assets.cli.engine import open_artifact
    from robot_assets.pipeline import names

    project = find_project()
    _require_groups(project, [group])
    repository = open_repository(project)
    repository.place.require()
    folder = open_artifact(release or names.release(group))
    version = project.store.digest_of(folder).digest
    with progress_bars():
        is_new = repository.publish_release(group, version, folder, repair=repair)
    data = {"group": group, "version": version, "is_new": is_new, "repository": repository.files.name}
    state = "published" if is_new else "was published already"
    answer(data, as_json, lambda: print(f"{names.release(group)} {version[:12]} {state} at {repository.files.name}"))


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="Folder to write, such as a mounted USB stick.")],
    group: Annotated[
        list[str],
        typer.Option("--group", autocompletion=completion.groups, help="Group whose release is copied; once or more."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Copy the present releases of groups to a folder, for robots without a network, and verify the copy.

    Example: robot-assets fleet export --out /media/usb --group delivery
    """
    from robot_assets.fleet.exporting import export as export_groups

    project = find_project()
    _require_groups(project, group)
    with progress_bars():
        done = export_groups(open_repository(project).place, list(dict.fromkeys(group)), out, datetime.now(UTC))
    data = {
        "out": str(done.out),
        "releases": dict(done.releases),
        "files": done.files,
        "size_bytes": done.size_bytes,
        "expires": done.expires.isoformat(),
    }
    answer(data, as_json, lambda: _print_export(done))


@app.command()
def prune(
    days: Annotated[float, typer.Option(min=0, help="Keep what arrived in the last days.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Remove files of releases that no robot can install: neither assigned nor among the last 10 of a group.

    Example: robot-assets fleet prune
    """
    from robot_assets.fleet.pruning import prune as prune_repository

    place = open_repository(find_project()).place
    done = prune_repository(place, datetime.now(UTC), days)
    data = {"repository": place.files.name, "files": done.files, "size_bytes": done.size_bytes}
    size = f"{done.size_bytes / 2**20:.1f} MiB"
    answer(data, as_json, lambda: print(f"removed {plural(done.files, 'file')}, {size}, from {place.files.name}"))


def open_repository(project: Project) -> Repository:
    """The distribution repository of a project; it may not exist yet."""
    from robot_assets.fleet.desired import open_repository as opened

    return opened(project.root, project.params.fleet)


def _require_groups(project: Project, groups: Sequence[str]) -> None:
    """Raise FleetError for a group that params.yaml does not have."""
    from robot_assets.fleet.errors import FleetError

    known = project.params.fleet.groups
    for group in groups:
        if group not in known:
            near = near_misses(group, known)
            raise FleetError(
                f"{group!r} is no group of robots" + (f"; did you mean {near[0]!r}?" if near else ""),
                needed=f"an entry of fleet.groups in params.yaml: {listed(known) or 'there is none yet'}",
                fix="robot-assets plan   # lists release/GROUP",
            )


def _usage_of_enroll(robot: str, is_removal: bool) -> Exception:
    from robot_assets.fleet.errors import FleetError

    name = shlex.quote(robot)
    if is_removal:
        return FleetError(
            "--remove and a public key", needed="one of the two", fix=f"robot-assets fleet enroll {name} --remove"
        )
    return FleetError(
        f"no public key for {robot!r}",
        needed="the line that the robot prints: ed25519:...",
        fix=f"robot-assets fleet enroll {name} ed25519:...",
    )


def _print_init(repository: Repository, folder: Path, count: int, threshold: int) -> None:
    place = repository.place
    print(f"made the distribution repository {place.files.name}")
    print(f"  {plural(count, 'root key')} in {folder}, {threshold} needed to sign")
    print(f"  keys of timestamp, snapshot, releases and assignments in {place.keys}")
    print("next:")
    print(f"  move the keys in {shown_path(folder)} to media that is kept offline, each on its own")
    print(f"  git add {shown_path(place.root.parent)} && git commit   # robots are installed with {place.root.name}")
    print("  robot-assets fleet enroll ROBOT PUBLIC_KEY   # for each robot")


def _print_export(done: Exported) -> None:
    for group, version in done.releases.items():
        print(f"{group}  {version[:12]}")
    print(f"{plural(done.files, 'file')}, {done.size_bytes / 2**20:.1f} MiB in {done.out}, read back and verified")
    print(f"robots accept it until {done.expires:%Y-%m-%d %H:%M} UTC; in their robot.yaml: url: {done.out}")
