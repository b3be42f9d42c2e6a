"""Runs command lines in hostile surroundings, each in a forked process with a project of its own.

``python -m tests.cli.surroundings`` is a server: it imports what commands need once, and forks for every request. The
child gets its own mount namespace, where an overlay hides the project: whatever a command or the surroundings destroy
is gone with the process. Needs root, or user namespaces with overlayfs.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import pty
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT_S = 60
_REPOSITORY = Path(__file__).parents[2]
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_STRANGER = 54321
_GARBAGE = b"\x00\xff garbage \x1b[31m" * 200

Surroundings = Callable[[Path], None]
"""Changes the process and the files of the project, which is also the working directory."""


def as_they_are(project: Path) -> None:
    """A sound project on a sound machine."""


def read_only_checkout(project: Path) -> None:
    _mount("none", project, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY)


def full_disk(project: Path) -> None:
    with contextlib.suppress(OSError), (project / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def full_disk_for_temporary_files(project: Path) -> None:
    folder = Path(os.environ["TMPDIR"])
    _mount("tmpfs", folder, "tmpfs", 0, "size=16k")
    full_disk(folder)


def no_folder_for_temporary_files(project: Path) -> None:
    Path(os.environ["TMPDIR"]).rmdir()
    tempfile._candidate_tempdir_list = lambda: [os.environ["TMPDIR"]]  # type: ignore[attr-defined]


def limit_of_file_sizes(project: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))


def limit_of_open_files(project: Path) -> None:
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, used + 4))


def missing_store(project: Path) -> None:
    shutil.rmtree(project / ".robot_assets")


def missing_instance(project: Path) -> None:
    shutil.rmtree(project / ".dagster")


def missing_data(project: Path) -> None:
    shutil.rmtree(project / "data")


def file_for_the_store(project: Path) -> None:
    shutil.rmtree(project / ".robot_assets")
    (project / ".robot_assets").write_text("a file")


def file_for_the_instance(project: Path) -> None:
    shutil.rmtree(project / ".dagster")
    (project / ".dagster").write_text("a file")


def file_for_the_data(project: Path) -> None:
    shutil.rmtree(project / "data")
    (project / "data").write_text("a file")


def folders_for_files(project: Path) -> None:
    for file in (project / "street.png", project / "detector" / "manifest.json"):
        file.unlink()
        file.mkdir()


def damaged_databases(project: Path) -> None:
    for file in (project / ".dagster").rglob("*.db"):
        file.write_bytes(_GARBAGE)


def truncated_databases(project: Path) -> None:
    for file in (project / ".dagster").rglob("*.db"):
        os.truncate(file, file.stat().st_size // 2)


def empty_databases(project: Path) -> None:
    for file in (project / ".dagster").rglob("*.db"):
        os.truncate(file, 0)


def damaged_instance_configuration(project: Path) -> None:
    (project / ".dagster" / "dagster.yaml").write_bytes(_GARBAGE)


def unknown_instance_configuration(project: Path) -> None:
    (project / ".dagster" / "dagster.yaml").write_text("storage: {oracle: {}}\nrun_launcher: 3\n")


def damaged_store(project: Path) -> None:
    for file in (project / ".robot_assets").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(_GARBAGE)


def damaged_engine(project: Path) -> None:
    for file in (project / "detector").iterdir():
        file.chmod(0o644)
        file.write_bytes(_GARBAGE)


def damaged_image_and_data(project: Path) -> None:
    for file in [project / "street.png", *(project / "data").rglob("*.*")]:
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(_GARBAGE)


def relative_home_of_the_instance(project: Path) -> None:
    os.environ["DAGSTER_HOME"] = ".dagster"


def missing_home_of_the_instance(project: Path) -> None:
    os.environ["DAGSTER_HOME"] = "/no/such/folder"


def closed_output(project: Path) -> None:
    os.close(1)
    sys.stdout = None  # type: ignore[assignment]


def closed_streams(project: Path) -> None:
    for descriptor in range(3):
        os.close(descriptor)
    sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]


def closed_input(project: Path) -> None:
    os.close(0)
    sys.stdin = None  # type: ignore[assignment]


def full_output(project: Path) -> None:
    _redirect("/dev/full", 1)


def full_output_and_errors(project: Path) -> None:
    _redirect("/dev/full", 1)
    _redirect("/dev/full", 2)


def output_without_a_reader(project: Path) -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(reader)


def narrow_terminal(project: Path) -> None:
    controller, terminal = pty.openpty()
    os.environ.update(COLUMNS="20", LINES="5", TERM="xterm-256color")
    os.dup2(terminal, 1)
    _drain(controller)


def ascii_output(project: Path) -> None:
    os.environ.update(LANG="C", LC_ALL="C", PYTHONIOENCODING="ascii")
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="ascii", errors="strict")
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding="ascii", errors="strict")


def no_home_and_no_account(project: Path) -> None:
    _give(project)
    os.environ.pop("HOME")
    _become_stranger()


def project_of_somebody_else(project: Path) -> None:
    for path in (project, *project.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    _become_stranger()


def unreadable_project(project: Path) -> None:
    _give(project)
    for path in (project / "params.yaml", project / "detector", project / ".robot_assets", project / "data"):
        path.chmod(0)
    _become_stranger()


def unreadable_folder_of_the_project(project: Path) -> None:
    _hide_beside(project, project.parent, "700")
    os.chdir(project)
    _become_stranger()


def unreadable_params(project: Path) -> None:
    _give(project)
    (project / "params.yaml").chmod(0)
    _become_stranger()


def folder_for_params(project: Path) -> None:
    (project / "params.yaml").unlink()
    (project / "params.yaml").mkdir()


def no_params(project: Path) -> None:
    (project / "params.yaml").unlink()


def damaged_params(project: Path) -> None:
    (project / "params.yaml").write_bytes(_GARBAGE)


def empty_params(project: Path) -> None:
    (project / "params.yaml").write_bytes(b"")


def params_with_a_tab(project: Path) -> None:
    (project / "params.yaml").write_bytes(b"store:\n\turl: x\n")


def deleted_working_directory(project: Path) -> None:
    folder = project / "deleted"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()


def no_other_programs(project: Path) -> None:
    os.environ["PATH"] = ""


ALL: dict[str, Surroundings] = {
    function.__name__: function
    for function in (
        as_they_are,
        read_only_checkout,
        full_disk,
        full_disk_for_temporary_files,
        no_folder_for_temporary_files,
        limit_of_file_sizes,
        limit_of_open_files,
        missing_store,
        missing_instance,
        missing_data,
        file_for_the_store,
        file_for_the_instance,
        file_for_the_data,
        folders_for_files,
        damaged_databases,
        truncated_databases,
        empty_databases,
        damaged_instance_configuration,
        unknown_instance_configuration,
        damaged_store,
        damaged_engine,
        damaged_image_and_data,
        relative_home_of_the_instance,
        missing_home_of_the_instance,
        closed_output,
        closed_streams,
        closed_input,
        full_output,
        full_output_and_errors,
        output_without_a_reader,
        narrow_terminal,
        ascii_output,
        no_home_and_no_account,
        project_of_somebody_else,
        unreadable_project,
        unreadable_folder_of_the_project,
        unreadable_params,
        folder_for_params,
        no_params,
        damaged_params,
        empty_params,
        params_with_a_tab,
        deleted_working_directory,
        no_other_programs,
    )
}


OF_ANOTHER_USER = {
    function.__name__
    for function in (
        no_home_and_no_account,
        project_of_somebody_else,
        unreadable_project,
        unreadable_folder_of_the_project,
        unreadable_params,
    )
}


class Server:
    """Runs commands in a process that has imported what they need."""

    def __init__(self, project: Path, scratch: Path) -> None:
        command = [sys.executable, "-m", "tests.cli.surroundings", str(project), str(scratch)]
        names = ("DAGSTER_HOME", "ROBOT_ASSETS_PROJECT", "ROBOT_ASSETS_DEBUG", "COLUMNS", "PYTHONWARNINGS")
        environment = {name: value for name, value in os.environ.items() if name not in names}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # threads do not survive a fork
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )

    def run(self, surroundings: str, arguments: list[str]) -> dict[str, Any]:
        """Exit code, output, errors and left-over staging files of a command."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([surroundings, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the server has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def refusal() -> str:
    """Why a process here cannot have a mount namespace with an overlay; empty when it can."""
    code = f"import tests.cli.surroundings as s; s.isolate(s.Path({tempfile.gettempdir()!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=_REPOSITORY)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def isolate(project: Path) -> None:
    """A mount namespace of this process, where an overlay hides the project."""
    user, group = os.getuid(), os.getgid()
    _call("unshare", _CLONE_NEWNS | (_CLONE_NEWUSER if user else 0))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", Path("/"), None, _MS_REC | _MS_PRIVATE)
    upper = Path("/mnt")
    _mount("tmpfs", upper, "tmpfs", 0, "size=24m")
    for name in ("upper", "work", "temporary"):
        (upper / name).mkdir()
    (upper / "temporary").chmod(0o777)
    layers = f"lowerdir={project},upperdir={upper / 'upper'},workdir={upper / 'work'}"
    _mount("overlay", project, "overlay", 0, f"{layers},redirect_dir=on")  # so that folders can be renamed
    os.environ["TMPDIR"] = str(upper / "temporary")
    tempfile.tempdir = None


def _mount(source: str, target: Path, kind: str | None, flags: int, data: str = "") -> None:
    encoded = [value.encode() if value else None for value in (source, str(target), kind)]
    _call("mount", *encoded, ctypes.c_ulong(flags), data.encode() or None)


def _call(name: str, *arguments: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _become_stranger() -> None:
    """Go on as a user without an account and without rights, who can read the installation of Python."""
    python = Path(sys.base_prefix)
    closed = [folder for folder in reversed(python.parents) if not folder.stat().st_mode & 1]
    if closed:  # such as /root
        _hide_beside(python, closed[0], "755")
    os.setgid(_STRANGER)
    os.setuid(_STRANGER)


def _hide_beside(kept: Path, parent: Path, mode: str) -> None:
    """Mount an empty folder with other rights at ``parent``, in which only ``kept`` is where it was."""
    copy = Path(tempfile.mkdtemp(dir="/mnt"))
    _mount(str(kept), copy, None, _MS_BIND | _MS_REC)
    _mount("tmpfs", parent, "tmpfs", 0, f"mode={mode}")
    kept.mkdir(parents=True)
    _mount(str(copy), kept, None, _MS_BIND | _MS_REC)


def _give(project: Path) -> None:
    for path in (project, *project.rglob("*")):
        os.chown(path, _STRANGER, _STRANGER)


def _redirect(path: str, descriptor: int) -> None:
    handle = os.open(path, os.O_WRONLY)
    os.dup2(handle, descriptor)
    os.close(handle)


def _drain(controller: int) -> None:
    """Read what a terminal shows, in a process of its own, into the file of errors."""
    if os.fork() == 0:
        os.close(1)
        with contextlib.suppress(OSError):
            while data := os.read(controller, 4096):
                os.write(2, data)
        os._exit(0)


def _serve(project: Path, scratch: Path) -> None:
    os.chdir(project)
    _import_what_commands_need()
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page
    for line in sys.stdin:
        surroundings, arguments = json.loads(line)
        files = [scratch / name for name in ("stdout", "stderr", "left")]
        for file in files:
            file.write_bytes(b"")
        code, cpu_s = _forked(lambda: _child(project, scratch, ALL[surroundings], arguments))  # noqa: B023
        stdout, stderr, left = (file.read_text(errors="replace") for file in files)
        found = {"code": code, "stdout": stdout, "stderr": stderr, "left": left, "cpu_s": cpu_s}
        print(json.dumps(found), flush=True)


def _import_what_commands_need() -> None:
    """Everything that commands import; the definitions read the project as it is before the surroundings."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    import dagster_project
    import robot_assets

    for package in (robot_assets, dagster_project):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(_NOT_IMPORTED):
                importlib.import_module(module.name)


_LIBRARIES = (
    "alembic.command",
    "dagster._core.storage.runs",
    "kubernetes",
    "numpy",
    "onnx",
    "onnxruntime",
    "psycopg2",
    "rich.progress",
    "rich.table",
    "securesystemslib.signer",
    "sqlalchemy",
    "typer.rich_utils",
)
_NOT_IMPORTED = (
    "robot_assets.data.simulation",
    "robot_assets.export",
    "robot_assets.quantization",
    "robot_assets.smoke",
    "robot_assets.tasks",
    "robot_assets.training",
    "robot_assets.weights",
)
"""Modules that need torch or a renderer."""


def _forked(work: Callable[[], int]) -> tuple[int, float]:
    """Exit code and CPU time of a child and its children; a child that takes too long is killed."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        code = 97
        try:
            code = work()
        finally:
            os._exit(code)
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL, TIMEOUT_S


def _child(project: Path, scratch: Path, surroundings: Surroundings, arguments: list[str]) -> int:
    from robot_assets.cli.main import run

    left = (scratch / "left").open("w")
    isolate(project)
    os.chdir(project)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        _redirect(str(scratch / name), descriptor)
    surroundings(project)
    try:
        code = run(arguments)
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 96
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # as Python does when it exits
    atexit._run_exitfuncs()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    with contextlib.suppress(OSError):
        left.write("\n".join(str(path) for path in project.rglob(".*.part")))
        left.close()
    return code


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), Path(sys.argv[2]))
