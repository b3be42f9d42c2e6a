"""``robot-assets fleet keys``, ``rotate`` and ``refresh``: the keys of the distribution repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli.console import JsonOption, answer, console
from robot_assets.cli.fleet import open_repository
from robot_assets.core.paths import shown_path
from robot_assets.core.text import escaped, near_misses
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from robot_assets.fleet.draft import Place
    from robot_assets.fleet.inventory import RoleKeys
    from robot_assets.fleet.rotation import Rotated

RootKeyOption = Annotated[
    list[Path] | None,
    typer.Option("--root-key", metavar="PATH", help="A private key of the root; as many as its threshold."),
]


def keys(as_json: JsonOption = False) -> None:
    """Show the keys of every role, which of them are here, and when their metadata expires.

    Example: robot-assets fleet keys
    """
    from robot_assets.fleet.inventory import inventory

    found = inventory(open_repository(find_project()).place, datetime.now(UTC))
    answer({"roles": [one.as_json() for one in found]}, as_json, lambda: _print_keys(found))


def rotate(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="root, timestamp, snapshot, releases or assignments.")],
    root_key: RootKeyOption = None,
    root_out: Annotated[Path | None, typer.Option(help="With root: new folder for the new root keys.")] = None,
    root_keys: Annotated[
        int | None, typer.Option(min=1, max=20, help="With root: number of new keys; by default as now.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="With root: new keys that have to sign together; by default as now.")
    ] = None,
    compromised: Annotated[
        bool,
        typer.Option("--compromised", help="Others may have the old key: keep only what is published and assigned."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replace the key of ROLE by a new one. Robots follow at their next poll; nothing is installed on them.

    Example: robot-assets fleet rotate releases --root-key root_1.pem --root-key root_2.pem
    """
    from robot_assets.fleet.keys import read_root_keys
    from robot_assets.fleet.layout import ONLINE_ROLES
    from robot_assets.fleet.rotation import rotate as rotate_role

    if role not in (known := ("root", *ONLINE_ROLES)):
        raise _unknown_role(role, known)
    place = open_repository(find_project()).place
    signers = read_root_keys(root_key or [])
    if role == "root":
        done = _rotate_root(place, signers, root_out, root_keys, threshold)
    else:
        done = rotate_role(place, role, signers, datetime.now(UTC), is_compromised=compromised)
    data = {"role": done.role, "keys": list(done.key_ids), "root_version": done.root_version}
    answer(data, as_json, lambda: _print_rotate(place, done, root_out))


def refresh(
    root_key: RootKeyOption = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Sign the newest metadata that verifies, after damage or from a backup."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Renew the timestamp and the snapshot, so that robots go on trusting the repository; with root keys the root too.

    Example: robot-assets fleet refresh
    """
    from robot_assets.fleet.keys import read_root_keys
    from robot_assets.fleet.renewal import refresh as renew
    from robot_assets.fleet.renewal import repair as repair_repository

    place = open_repository(find_project()).place
    now = datetime.now(UTC)
    if repair:
        repair_repository(place, now)
    if root_key or not repair:
        renew(place, now, read_root_keys(root_key or []))
    expiries = place.published().expiries
    data = {role: expires.isoformat() for role, expires in expiries.items()}
    answer({"expires": data}, as_json, lambda: _print_expiries(place, data, bool(root_key)))


def _rotate_root(
    place: Place, signers: Sequence[CryptoSigner], out: Path | None, count: int | None, threshold: int | None
) -> Rotated:
    from robot_assets.fleet.errors import FleetError
    from robot_assets.fleet.keys import make_root_keys, offline_folder
    from robot_assets.fleet.offline import EXAMPLE
    from robot_assets.fleet.rotation import rotate_root

    if out is None:
        raise FleetError(
            "no folder for the new root keys",
            needed="a new folder, such as on an encrypted USB stick",
            fix=f"robot-assets fleet rotate root --root-out NEW_FOLDER {EXAMPLE}",
        )
    present = place.published().root.roles["root"]
    new_count = count or len(present.keyids)
    folder = offline_folder(place.keys, out, place.files)
    new = make_root_keys(folder, new_count, threshold or min(present.threshold, new_count))
    return rotate_root(place, signers, new, datetime.now(UTC))


def _unknown_role(role: str, known: Sequence[str]) -> Exception:
    from robot_assets.fleet.errors import FleetError

    near = near_misses(role, known)
    return FleetError(
        f"{role!r} is no role" + (f"; did you mean {near[0]!r}?" if near else ""),
        needed=", ".join(known),
        fix="robot-assets fleet keys   # lists the roles",
    )


def _print_keys(found: Sequence[RoleKeys]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("role", "version", "key", "signatures", "expires", "private key", box=None, pad_edge=False)
    for one in found:
        expires = Text(f"{one.expires:%Y-%m-%d}", "bold red" if one.warning else "")
        ids = Text("\n".join(key_id[:12] for key_id in one.key_ids))
        table.add_row(one.role, str(one.version), ids, f"{one.threshold} of {len(one.key_ids)}", expires, one.private)
    console().print(table, highlight=False)
    for one in found:
        if one.warning:
            print(escaped(f"{one.role}: {one.warning}"))


def _print_rotate(place: Place, done: Rotated, out: Path | None) -> None:
    ids = ", ".join(key_id[:12] for key_id in done.key_ids)
    print(f"{done.role} has the key{'s' if len(done.key_ids) > 1 else ''} {ids}; robots follow at their next poll")
    if done.role == "root" and out is not None:
        print(f"  move {shown_path(out)} to media that is kept offline, and destroy the old root keys")
    else:
        key = shown_path(place.keys / f"{done.role}.pem")
        print(f"  copy {key} to where this role signs, such as the secret of the cluster")
    if done.role in ("root", "snapshot", "timestamp"):
        _print_commit(place)


def _print_commit(place: Place) -> None:
    print(f"  git add {shown_path(place.root)} && git commit   # there is a new root: robots are installed with it")


def _print_expiries(place: Place, expires: Mapping[str, str], has_new_root: bool) -> None:
    for role, at in expires.items():
        print(f"{role:<12} expires {at[:16].replace('T', ' ')} UTC")
    if has_new_root:
        _print_commit(place)
