"""The agent as a systemd service: the text of its unit, and of a ``robot.yaml`` to fill in."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import socket
import sys
from pathlib import Path

from robot_assets.agent.spec import DEFAULT_PATH, RobotSpec
from robot_assets.agent.state import replace_file
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.os_errors import system_error
from robot_assets.fleet.errors import AgentError

UNIT_NAME = "robot-assets-agent.service"
UNIT_PATH = Path("/etc/systemd/system") / UNIT_NAME
DEFAULT_USER = "robot-assets"
STATE = Path("/var/lib/robot-assets")
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_DEVICE_GROUPS = ("video", "render")

_TEMPLATE = """\
# What this robot is, where its releases come from, and what it demands of them. All keys: docs/agent.md

robot: {robot}
# of fleet.groups in params.yaml
group: {group}
# the distribution repository: https://, s3://, file:// or a folder
url: {url}
# where reports go; by default below url
# reports_url: https://HOST/reports

root: root.json                   # data/fleet/root.json of the project
key: robot.pem                    # the private key of this robot, mode 0600; `robot-assets agent key` prints its line
trusted_keys: []                  # whose signatures on engines count: provenance.trusted_keys in params.yaml

state: {state}
poll_s: 60
report_s: 300
# bandwidth_mib_s: 2
reserve_mib: 256                  # space on the disk that a download leaves free

# budgets:                        # the gates of an engine have to have been at least as tight
#   latency_ms_p95_max: 30

# health:                         # how the agent sees that what serves is healthy
#   file: /run/detector/alive     # touched by what serves
#   max_age_s: 10
# busy:                           # when the robot must not switch
#   file: /run/robot/moving
# on_switch: [systemctl, restart, detector]
"""

_UNIT = """\
[Unit]
Description=Takes the engines that this robot is assigned, proves them, and goes back when it has to (robot-assets)
# Not after the network: a release that made the device restart is rolled back first, with or without a network.
After=local-fs.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
User={user}
{groups}Restart=always
RestartSec=10
TimeoutStartSec=10min
TimeoutStopSec=60
WatchdogSec=30min
KillMode=mixed
# An engine that takes too much memory while it is proven is killed, not the agent.
MemoryMax=75%
OOMPolicy=continue
CPUWeight=20
IOWeight=20
UMask=0022

{state}NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp={private_tmp}
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def template(robot: str = "", group: str = "", url: str = "") -> str:
    """A ``robot.yaml`` to fill in: without trusted keys, it is refused until somebody has.

    Args:
        robot: Id of the robot; by default the name of this host.
        group: Its group.
        url: The distribution repository.
    """
    return _TEMPLATE.format(
        robot=robot or host_name(),
        group=group or "GROUP",
        url=url or "https://HOST/fleet",
        state=STATE,
    )


def unit(path: Path = DEFAULT_PATH, robot: RobotSpec | None = None, user: str = DEFAULT_USER) -> str:
    """The unit of the agent.

    Args:
        path: Its ``robot.yaml``.
        robot: The content of that, when it is valid already: what the agent has to read and write.
        user: User that it runs as.
    """
    command = " ".join(_unit_word(word) for word in (sys.executable, "-m", "robot_assets.agent", str(path)))
    return _UNIT.format(
        command=command,
        user=user,
        groups=_groups(),
        state=_writable(robot),
        home="no" if _are_in(_written(robot), _HOMES) else "read-only",
        private_tmp="no" if _are_in([*_written(robot), *_read(robot)], _TEMPORARY) else "yes",
    )


def write_new(path: Path, text: str, fix: str) -> bool:
    """Write a file; whether it was not there. One that a person may have edited is never replaced.

    Raises:
        AgentError: It cannot be written.
    """
    if os.path.lexists(path):
        return False
    write(path, text, fix)
    return True


def write(path: Path, text: str, fix: str) -> None:
    """Write a file.

    Raises:
        AgentError: It cannot be written.
    """
    try:
        replace_file(path, text.encode())
    except OSError as error:
        known: RobotAssetsError | OSError = system_error(error) or error
        found = known.found if isinstance(known, RobotAssetsError) else str(known)
        raise AgentError(f"{path} cannot be written: {found}", needed="the right to write there", fix=fix) from None


def has_user(name: str) -> bool:
    """Whether this machine has a user."""
    return name in {one.pw_name for one in pwd.getpwall()}


def give_to(path: Path, user: str) -> bool:
    """Make ``user`` the owner of a file, where root does this and the user exists; whether the user can use it now."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return False
    if os.geteuid() == 0:
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return path.stat().st_uid == entry.pw_uid


def host_name() -> str:
    """The name of this host as the id of a robot."""
    name = re.sub(r"[^a-z0-9_.-]+", "_", socket.gethostname().lower()).strip("_.-")
    return name[:63] or "robot"


def _groups() -> str:
    """The groups of the devices that engines run on, as far as this machine has them."""
    known = {one.gr_name for one in grp.getgrall()}
    names = [name for name in _DEVICE_GROUPS if name in known]
    return f"SupplementaryGroups={' '.join(names)}\n" if names else ""


def _writable(robot: RobotSpec | None) -> str:
    """The folders that the agent may write to; systemd makes the default one."""
    folders = _written(robot)
    lines = [f"StateDirectory={STATE.name}"] if STATE in folders else []
    state = robot.state if robot else STATE
    # the minus: a stick that is not mounted does not keep the agent from starting
    words = [_unit_word(f"{'' if folder == state else '-'}{folder}") for folder in folders if folder != STATE]
    lines += [f"ReadWritePaths={' '.join(words)}"] if words else []
    return "".join(f"{line}\n" for line in lines)


def _written(robot: RobotSpec | None) -> list[Path]:
    if robot is None:
        return [STATE]
    reports = robot.reports_url or robot.url
    place = reports.removeprefix("file://")
    return [robot.state, *([Path(place)] if "://" not in place else [])]


def _read(robot: RobotSpec | None) -> list[Path]:
    """Files of other processes that the agent looks at."""
    sections = (robot.health, robot.busy) if robot else ()
    return [section.file for section in sections if section and section.file]


def _are_in(paths: list[Path], folders: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(folder) for path in paths for folder in folders)


def _unit_word(word: str) -> str:
    """A word of a unit: quoted where it has to be, without specifiers of systemd."""
    text = word.replace("%", "%%").replace("$", "$$")
    return text if shlex.quote(text) == text else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
