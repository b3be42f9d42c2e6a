"""Private keys of a distribution repository: ``ROLE.pem`` each in one folder, readable by its owner alone.

The folder is the one that ``$ROBOT_ASSETS_FLEET_KEYS`` names, else ``.robot_assets/keys/fleet`` in the project. The
keys of the root are in a folder of their own, which is moved offline. No key is ever in the store or in the repository.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.paths import expanded, shown_path
from robot_assets.core.publishing import make_durable
from robot_assets.fleet.desired import KEYS_VARIABLE
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files
from robot_assets.fleet.layout import ONLINE_ROLES
from robot_assets.provenance.keys import create_key, load_key, public_half

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

ROOT_KEYS = "root"
"""Folder of the keys of the root, inside the folder of keys, until they are moved offline."""
_NEXT = ".next"


def keys_folder(root: Path) -> Path:
    """Where the private keys of the project at ``root`` are, whether or not the folder exists.

    Raises:
        FleetError: $ROBOT_ASSETS_FLEET_KEYS is not a path.
    """
    named = os.environ.get(KEYS_VARIABLE)
    if not named:
        return root / ".robot_assets" / "keys" / "fleet"
    try:
        return root / expanded(named)
    except ValueError as error:
        raise FleetError(
            f"{KEYS_VARIABLE} is {error}",
            needed="the folder of the private keys of the repository",
            fix=f"export {KEYS_VARIABLE}=/path   # or: unset {KEYS_VARIABLE}",
        ) from None


def key_file(folder: Path, role: str) -> Path:
    """The file of the private key of an online role."""
    return folder / f"{role}.pem"


def next_key_file(folder: Path, role: str) -> Path:
    """The file of a key that a rotation has created and not yet finished with."""
    return folder / f"{role}{_NEXT}.pem"


def has_key(folder: Path, role: str) -> bool:
    """Whether the private key of a role is here."""
    return os.path.exists(key_file(folder, role))


def has_next_key(folder: Path, role: str) -> bool:
    """Whether a rotation of a role was interrupted."""
    return os.path.exists(next_key_file(folder, role))


def finish_rotation(folder: Path, role: str) -> None:
    """Make the key of a rotation that of the role; the old one is gone. Raises FleetError."""
    path = key_file(folder, role)
    try:
        os.replace(next_key_file(folder, role), path)
        make_durable([folder])
    except OSError as error:
        found = f"{next_key_file(folder, role)} cannot be renamed to {path}: {error.strerror}"
        fix = f"ls -ld {shlex.quote(str(folder))}"
        raise FleetError(found, needed="a folder that can be written", fix=fix) from None


def role_key(folder: Path, role: str) -> CryptoSigner:
    """The private key of an online role.

    Raises:
        FleetError: It is not here, or it cannot be used.
    """
    path = key_file(folder, role)
    if not os.path.lexists(path):
        raise FleetError(
            f"no private key of the role {role} at {path}",
            needed=f"{role}.pem as `robot-assets fleet init` or `robot-assets fleet rotate {role}` wrote it",
            fix=f"export {KEYS_VARIABLE}=FOLDER   # with {role}.pem; or copy the file to {shown_path(folder)}",
        )
    return read_key(path)


def read_key(path: Path) -> CryptoSigner:
    """A private key. Raises FleetError."""
    try:
        return load_key(path)
    except RobotAssetsError as error:
        fix = (
            error.fix
            if error.fix.startswith("chmod")
            else f"ls -l {shlex.quote(str(path))}   # then restore it from a backup"
        )
        raise FleetError(error.found, needed=error.needed, fix=fix) from None


def make_key(path: Path) -> CryptoSigner:
    """The private key in a file that is created where there is none: an interrupted command goes on with its keys.

    Raises:
        FleetError: It cannot be written or read.
    """
    if not os.path.lexists(path):
        try:
            create_key(path)
        except RobotAssetsError as error:
            if not os.path.lexists(path):  # else another process was quicker
                raise FleetError(error.found, needed=error.needed, fix=error.fix) from None
    return read_key(path)


@dataclass(frozen=True)
class RootKeys:
    """Private keys of the root.

    Attributes:
        signers: The keys.
        threshold: Number of signatures that metadata of the root needs.
    """

    signers: tuple[CryptoSigner, ...]
    threshold: int

    @property
    def public(self) -> tuple[str, ...]:
        """The public halves, as lines."""
        return tuple(str(public_half(signer)) for signer in self.signers)


def make_root_keys(folder: Path, count: int, threshold: int) -> RootKeys:
    """Keys of the root, ``root_1.pem`` and so on, created where they are missing.

    Raises:
        FleetError: The threshold cannot be reached, or a file cannot be written.
    """
    if not 1 <= threshold <= count:
        raise FleetError(
            f"a threshold of {threshold} with {count} root key{'' if count == 1 else 's'}",
            needed="a threshold from 1 to the number of root keys",
            fix="robot-assets fleet init --root-keys 3 --threshold 2",
        )
    return RootKeys(tuple(make_key(folder / f"root_{number}.pem") for number in range(1, count + 1)), threshold)


def offline_folder(keys: Path, out: Path | None, files: Files) -> Path:
    """The folder of root keys: ``out``, else ``root`` in the folder of keys.

    Raises:
        FleetError: It is inside the repository, which everybody can read.
    """
    folder = Path(os.path.abspath(out.expanduser())) if out else keys / ROOT_KEYS
    if files.folder is not None and folder.resolve().is_relative_to(files.folder.resolve()):
        raise FleetError(
            f"{folder} is inside the repository {files.name}",
            needed="a folder for private keys that is not published",
            fix="robot-assets fleet init --root-out /media/vault",
        )
    return folder


def read_root_keys(paths: Sequence[Path]) -> tuple[CryptoSigner, ...]:
    """The root keys in files; a key that is named twice counts once. Raises FleetError."""
    found = {signer.public_key.keyid: signer for signer in map(read_key, paths)}
    return tuple(found.values())


def make_online_keys(folder: Path) -> dict[str, CryptoSigner]:
    """The keys of the online roles by role, created where they are missing. Raises FleetError."""
    return {role: make_key(key_file(folder, role)) for role in ONLINE_ROLES}
