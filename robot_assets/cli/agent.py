"""``robot-assets agent``: the agent on a robot, which takes the release that the robot is assigned."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.agent.spec import DEFAULT_PATH
from robot_assets.cli.console import JsonOption, answer, console
from robot_assets.cli.plugins import extensible
from robot_assets.core.text import escaped

if TYPE_CHECKING:
    from robot_assets.agent.spec import RobotSpec
    from robot_assets.agent.state import AgentState

app = typer.Typer(
    cls=extensible("agent"),
    help="Take the release that this robot is assigned, prove it, and go back when it has to.",
    no_args_is_help=True,
)

RobotOption = Annotated[Path, typer.Option("--robot", metavar="FILE", help="The robot.yaml of this robot.")]


@app.command()
def run(robot: RobotOption = DEFAULT_PATH) -> None:
    """Poll the distribution repository until the process is asked to end. systemd runs it in a smaller process.

    Example: robot-assets agent run --robot robot.yaml
    """
    from robot_assets.agent import loop

    loop.run(_agent(robot))


@app.command()
def once(robot: RobotOption = DEFAULT_PATH, as_json: JsonOption = False) -> None:
    """Poll once, and do what can be done now: download, verify, switch, prove, go back.

    Exit code 0 when the robot is where it should be or waits for its turn, 1 when it is held or found no repository.

    Example: robot-assets agent once --robot robot.yaml
    """
    import time

    from robot_assets.agent import loop
    from robot_assets.fleet.reports import State

    agent = _agent(robot)

    def wait(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    state = loop.settle(agent, wait)
    _print_status(agent.robot, state, as_json)
    if state.state is State.HELD or agent.trouble:
        raise typer.Exit(1)


@app.command()
def status(robot: RobotOption = DEFAULT_PATH, as_json: JsonOption = False) -> None:
    """Show what this robot runs, what it goes towards, and why not. Reads the disk alone.

    Example: robot-assets agent status --json
    """
    from robot_assets.agent.robot_yaml import load_robot
    from robot_assets.agent.state import read_state

    spec = load_robot(robot)
    _print_status(spec, read_state(spec.state), as_json)


@app.command()
def key(robot: RobotOption = DEFAULT_PATH, as_json: JsonOption = False) -> None:
    """Print the public key of this robot, as it is enrolled.

    Example: robot-assets agent key
    """
    from robot_assets.agent.robot_yaml import load_robot, public_key

    spec = load_robot(robot)
    public = public_key(spec)
    answer({"robot": spec.robot, "public_key": public}, as_json, lambda: print(public))


@app.command()
def install(
    robot: RobotOption = DEFAULT_PATH,
    unit: Annotated[Path | None, typer.Option("--unit", metavar="FILE", help="Where the unit is written.")] = None,
    user: Annotated[str, typer.Option("--user", help="User that the agent runs as.")] = "robot-assets",
    name: Annotated[str, typer.Option("--name", help="Id of this robot; by default the name of the host.")] = "",
    group: Annotated[str, typer.Option("--group", help="Group of this robot.")] = "",
    url: Annotated[str, typer.Option("--url", help="The distribution repository.")] = "",
    only_print: Annotated[bool, typer.Option("--print", help="Print both files, and write nothing.")] = False,
) -> None:
    """Write a robot.yaml to fill in, the key of the robot, and the unit of systemd. The first two are never replaced.

    Example: sudo robot-assets agent install --name delivery_7 --group delivery --url https://fleet.example.org
    """
    from robot_assets.agent import service

    spec = _spec_if_valid(robot)
    unit_path, unit_text = unit or service.UNIT_PATH, service.unit(robot.absolute(), spec, user)
    text = service.template(name, group, url)
    if only_print:
        print(f"# {robot} is there, and valid" if spec else f"# {robot}\n{text}", end="\n\n")
        print(f"# {unit_path}\n{unit_text}", end="")
        return
    again = shlex.join(["sudo", "robot-assets", "agent", "install", "--robot", str(robot)])
    is_new = service.write_new(robot, text, again)
    print(f"wrote {robot}" if is_new else f"{robot} is there, and stays as it is")
    key_file, public = _robot_key(spec.key if spec else robot.absolute().parent / "robot.pem")
    service.write(unit_path, unit_text, again)
    print(f"wrote {unit_path}")
    print("next:")
    robot_id = spec.robot if spec else name or service.host_name()
    for number, step in enumerate(_next_steps(robot, spec, user, key_file, f"{robot_id} {public}"), 1):
        print(f"  {number}. {step}")


def _robot_key(path: Path) -> tuple[Path, str]:
    """The file of the robot's key, which is created where there is none, and the public half."""
    from robot_assets.provenance.keys import create_key, load_key, public_half

    if path.exists():
        print(f"{path} is there, and stays as it is")
        return path, str(public_half(load_key(path)))
    public = create_key(path)
    print(f"wrote {path}: the private key of this robot")
    return path, str(public)


def _next_steps(robot: Path, spec: RobotSpec | None, user: str, key_file: Path, enrolled: str) -> Iterator[str]:
    """What is left for a person to do, each with its command."""
    from robot_assets.agent import service

    if not service.has_user(user):
        yield f"sudo useradd --system --home-dir /var/lib/robot-assets --no-create-home {user}"
    if not service.give_to(key_file, user):
        yield f"sudo chown {user} {shlex.quote(str(key_file))}"
    if spec is None:
        yield f"fill in {robot}; `robot-assets agent status --robot {shlex.quote(str(robot))}` says what is missing"
    if spec is not None and spec.state != service.STATE and not spec.state.is_dir():
        yield f"sudo install -d -o {user} {shlex.quote(str(spec.state))}"
    root = spec.root if spec else robot.absolute().parent / "root.json"
    if not root.exists():
        yield f"copy data/fleet/root.json of the project to {root}"
    yield f"in the project: robot-assets fleet enroll {enrolled}"
    if spec is None:
        yield f"again, for what {robot} says by then: robot-assets agent install --robot {shlex.quote(str(robot))}"
    yield "sudo systemctl daemon-reload && sudo systemctl enable --now robot-assets-agent"


def _spec_if_valid(robot: Path) -> RobotSpec | None:
    from robot_assets.agent.robot_yaml import load_robot
    from robot_assets.core.errors import RobotAssetsError

    try:
        return load_robot(robot)
    except RobotAssetsError:
        return None


def _agent(robot: Path) -> Any:
    from robot_assets.agent.light_imports import import_signers

    import_signers()
    from robot_assets.agent.robot_yaml import check_files, load_robot
    from robot_assets.agent.update import Agent

    spec = load_robot(robot)
    check_files(spec)
    return Agent(spec)


def _print_status(robot: RobotSpec, state: AgentState, as_json: bool) -> None:
    from robot_assets.agent.state import OUTBOX, last_look, running_agent

    process, look = running_agent(robot.state), last_look(robot.state)
    data = {
        "robot": robot.robot,
        "group": robot.group,
        "is_running": process is not None,
        "process": process,
        "last_look": look.isoformat(timespec="seconds") if look else None,
        "is_report_pending": (robot.state / OUTBOX).exists(),
        **state.model_dump(mode="json", exclude={"versions", "conditions", "format", "sequence"}),
    }
    answer(data, as_json, lambda: _print_table(robot, state, data, look))


def _print_table(robot: RobotSpec, state: AgentState, data: dict[str, Any], look: datetime | None) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _rows(robot, state, data, look):
        table.add_row(name, Text(escaped(value)))
    console().print(table, highlight=False)


def _rows(robot: RobotSpec, state: AgentState, data: dict[str, Any], look: datetime | None) -> list[tuple[str, str]]:
    from robot_assets.store.os_errors import masked

    ran = f"healthy for {_duration(state.healthy_s)}" if state.current else ""
    rows = [
        ("robot", f"{robot.robot} of {robot.group}"),
        ("agent", f"runs, process {data['process']}" if data["is_running"] else "does not run"),
        ("state", state.state.value),
        ("release", f"{state.current}, {ran}" if state.current else "none"),
        ("last good", state.last_good or "none"),
        ("next", state.next or "none"),
        ("why", state.why or "-"),
        ("last look", f"{_ago(look)}, {masked(robot.url)}" if look else "none yet"),
        ("report", "waits for the network" if data["is_report_pending"] else "delivered"),
    ]
    return rows + [("failed", f"{one.release}: {one.reason}") for one in state.failed]


def _ago(moment: datetime) -> str:
    return f"{_duration((datetime.now(UTC) - moment).total_seconds())} ago"


def _duration(seconds: float) -> str:
    """``12 s``, ``5 min``, ``3 h``, ``4 days``."""
    for unit, length in (("days", 172_800), ("h", 7_200), ("min", 120)):
        if seconds >= length:
            return f"{seconds / {'days': 86_400, 'h': 3_600, 'min': 60}[unit]:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
