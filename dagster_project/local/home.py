"""The home folder of an instance, and the checkouts that may use it.

``.dagster/`` beside ``params.yaml`` belongs to that checkout. DAGSTER_HOME may name another folder; its file
``checkouts`` lists the checkouts whose runs and history are in it, one folder a line. The first checkout that uses a
new folder is added to the list, and every other one is refused: it would rebuild what the first has built, and look for
the results in another store. A line that a person adds shares the instance.

In a cluster the home folder has neither a list nor a checkout beside it, and is used as it is.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

from robot_assets.core.errors import RobotAssetsError

HOME_VARIABLE = "DAGSTER_HOME"
CHECKOUTS = "checkouts"

_HEADER = """\
# The checkouts whose runs and history are in this instance, one folder a line. To share the instance with another
# checkout, add its folder; both need the same store.url.
"""


class InstanceError(RobotAssetsError):
    """The instance of a checkout cannot be used."""


def home_of(root: Path) -> Path:
    """The folder of DAGSTER_HOME, else ``.dagster`` in the checkout. Nothing is created.

    Raises:
        InstanceError: DAGSTER_HOME is relative, names no folder, or names the instance of another checkout.
    """
    named = os.environ.get(HOME_VARIABLE)
    home = _absolute(named, root) if named else root / ".dagster"
    if named:
        _require_folder(home, root)
    require_own(home, root)
    return home


def require_own_home(root: Path) -> None:
    """Refuse a DAGSTER_HOME of another checkout, where Dagster itself was started by hand.

    Raises:
        InstanceError: As ``require_own``.
    """
    named = os.environ.get(HOME_VARIABLE)
    if named and Path(named).is_absolute():
        require_own(Path(named), root)


def require_own(home: Path, root: Path) -> None:
    """Refuse the instance of another checkout.

    Raises:
        InstanceError: ``home`` belongs to other checkouts, and ``root`` is not listed in its ``checkouts``.
    """
    owners = owners_of(home)
    if not owners or root.resolve() in owners:
        return
    is_default = home == root / ".dagster"
    place = f"{home} is a link to {home.resolve()}" if is_default else f"{HOME_VARIABLE} is {home}"
    leave = f"rm {shlex.quote(str(home))}" if is_default else f"unset {HOME_VARIABLE}"
    is_there = (owners[0] / "params.yaml").is_file()
    share = f"echo {shlex.quote(str(root))} >> {shlex.quote(str(home / CHECKOUTS))}"
    when = "to share it, with the same store.url in both checkouts" if is_there else f"if {owners[0]} is now {root}"
    raise InstanceError(
        f"{place}, the instance of the checkout {owners[0]}{'' if is_there else ', which no longer exists'}; "
        f"this checkout is {root}",
        needed=f"an instance of this checkout, such as {root / '.dagster'}, or one that is shared on purpose",
        fix=f"{leave}   # {when}: {share}",
    )


def owners_of(home: Path) -> tuple[Path, ...]:
    """The checkouts that may use an instance: the one that its folder is in, then those that its list names."""
    beside = home.resolve().parent
    inside = (beside,) if (beside / "params.yaml").is_file() else ()
    return tuple(dict.fromkeys([*inside, *(path for path in _listed(home) if not inside or path.is_dir())]))


def record_checkout(home: Path, root: Path) -> None:
    """Add a checkout to the list of its instance; nothing where the list cannot be written.

    A checkout that was moved or copied together with its ``.dagster`` replaces its former folder in the list.
    """
    own, listed = root.resolve(), _listed(home)
    if own in listed:
        return
    is_inside = home.resolve().parent == own
    kept = [path for path in listed[1 if is_inside else 0 :] if path.is_dir()]
    with contextlib.suppress(OSError):
        write_whole(home / CHECKOUTS, _HEADER + "".join(f"{path}\n" for path in [own, *kept]))


def write_whole(path: Path, text: str) -> None:
    """Write a small file in one step; several processes may do so at the same time, each with a staging file."""
    staging = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        staging.write_text(text, encoding="utf-8")
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


def _listed(home: Path) -> tuple[Path, ...]:
    try:
        lines = (home / CHECKOUTS).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise InstanceError(
            f"{home / CHECKOUTS} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}",
            needed="a text file with one checkout a line",
            fix=f"mv {shlex.quote(str(home / CHECKOUTS))} {shlex.quote(str(home / (CHECKOUTS + '.damaged')))}",
        ) from None
    return tuple(Path(line.strip()) for line in lines if line.strip() and not line.startswith("#"))


def _absolute(named: str, root: Path) -> Path:
    path = Path(named)
    if path.is_absolute():
        return path
    meant = Path(os.path.expandvars(named.strip())).expanduser().absolute()
    is_own = meant.resolve() == (root / ".dagster").resolve()
    raise InstanceError(
        f"{HOME_VARIABLE} is {named!r}, which is not an absolute path",
        needed="an absolute path: processes in different folders use one instance",
        fix=f"unset {HOME_VARIABLE}   # this checkout uses {meant} by itself"
        if is_own
        else f"export {HOME_VARIABLE}={shlex.quote(str(meant))}   # or: unset {HOME_VARIABLE}",
    )


def _require_folder(home: Path, root: Path) -> None:
    if home.is_dir() or (not home.exists() and home.is_relative_to(root)):
        return
    state = "which is not a folder" if home.exists() else "which does not exist"
    create = "" if home.exists() else f"   # or create it: mkdir -p {shlex.quote(str(home))}"
    raise InstanceError(
        f"{HOME_VARIABLE} is {home}, {state}",
        needed=f"an existing folder, or no {HOME_VARIABLE}: this checkout then uses {root / '.dagster'}",
        fix=f"unset {HOME_VARIABLE}{create}",
    )
