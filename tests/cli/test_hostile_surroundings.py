"""Every command in hostile surroundings: no traceback, an exit code that means something, nothing half-written.

The commands are those of the command line itself: a new one is tested without an entry here. ``surroundings.py`` has
the surroundings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer

from robot_assets.cli.main import app
from robot_assets.fleet.desired import open_repository
from robot_assets.fleet.enrollment import enroll
from robot_assets.fleet.repository import Repository
from robot_assets.pipeline.project import Project
from robot_assets.platforms.probe import probe
from robot_assets.provenance.keys import create_key
from tests.cli import surroundings
from tests.cli.surroundings import ALL, Server
from tests.detector_chain import whole
from tests.synthetic import history

ENGINE = "small_detector/engine/cpu"
PARAMS = """
store: {url: .robot_assets/store}
datasets:
  drawn:
    source: {kind: dvc, pointer: data/raw/drawn.dvc}
    classes: [red, green, blue]
    split: {train: 0.6, val: 0.2, test: 0.2}
    calibration_images: 16
models:
  small_detector:
    task: detection
    dataset: drawn
    targets: [cpu]
    network: {input_height: 64, input_width: 96, width: 8, depth: 1}
    training: {epochs: 1, batch_size: 8, learning_rate: 0.004}
    quantization: {ptq: {calibrators: [mse]}, qat: {epochs: 1, learning_rate: 0.0001}}
targets:
  cpu:
    kind: onnxruntime
    threads: 1
    gate: {latency_ms_p95_max: 400}
    profile: {models: {small_detector: {rate_hz: 100}}, duration_s: 0.3, alone_s: 0.2}
  orin: {kind: tensorrt, platform: reported, precision: int8_fp16, gate: {latency_ms_p95_max: 8}}
rebuild: {policy: {checkpoint: auto, qat: auto}}
fleet: {groups: {yard: {robots: [mower_1], target: cpu, models: [small_detector]}}}
"""
NEEDED_WHEN_FAILED = re.compile(r"^error: .+\n(?:    .*\n)*  needed: .+\n  fix: .+$", re.MULTILINE)
"""An error in three parts; what was found may go on in further lines."""
EXIT_CODES = {0, 1, 2, 130, 141}
WITHOUT_OUTPUT = {"closed_output", "closed_streams", "full_output_and_errors"}
"""An answer of no, with exit code 1, is not printed to standard error."""
VALUES = {"{image}": "street.png", "{name}": "drawn", "{target}": "orin", "{node}": "orin-1", "{format}": "yolo"}
ARGUMENTS = {
    "verify": ["detector"],
    "engine run": [ENGINE, "street.png", "--out", "그림"],
    "engine get": [ENGINE, "--out", "검출기"],
    "engine bench": [ENGINE, "--inferences", "10"],
    "engine inspect": [ENGINE],
    "engine compare": [ENGINE, "detector", "--inferences", "10"],
    "engine profile": ["detector=100", "--seconds", "0.3", "--alone", "0.2", "--out", "figure.png"],
    "model check": ["small_detector"],
    "model inspect": ["그물.onnx"],
    "platform publish": ["--node", "orin-1"],
    "data import": ["yolo", "내보내기", "--name", "yard"],
    "data simulate": ["drawn"],
    "data check": ["drawn"],
    "data build": ["drawn"],
    "key create": ["--out", "keys/signing.pem"],
    "audit": [ENGINE, "--format", "html", "--out", "audit.html"],
    "build": ["datasets/drawn"],
    "fleet demo": ["nobody"],  # a whole demo takes a minute; tests/dagster_project/test_fleet_demo.py has it
    "fleet pause": ["yard"],
    "fleet pin": ["yard", "0f3c5a7d"],
    "fleet abort": ["yard"],
    "fleet approve": ["yard"],
    "fleet recall": ["0f3c5a7d", "--reason", "나쁨"],
    "fleet enroll": ["mower_2", "ed25519:CkTefdLuMJH6kAruXTZdjYT2KXznvCnvTO+MiTj0l5k="],
    "fleet rotate": ["timestamp", "--root-key", ".robot_assets/keys/fleet/root/root_1.pem"],
    "fleet export": ["--out", "막대", "--group", "yard"],
    "plan": [],
    "init": ["/mnt/temporary/새로운"],
}
"""The command line of each verb; other verbs get a word for each argument that they need."""


def verbs() -> dict[str, Any]:
    """Every command by its words."""
    root = typer.main.get_command(app)
    return dict(_verbs(root, typer.Context(root, info_name="robot-assets"), ()))


def _verbs(group: Any, context: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from _verbs(command, context, (*path, name))
        else:
            yield " ".join((*path, name)), command


VERBS = verbs()


CHEAPER = {"engine profile": ["detector"], "model check": ["detector"]}
"""The command line of each expensive verb where the surroundings are not about what it reads and writes."""
MEASURED = {name for name in ALL if re.search("as_they_are|full|limit|temporary|engine|output|terminal|account", name)}

ALIKE = {f"fleet {name}" for name in ("resume", "abort", "approve", "pin", "publish", "prune", "rotate", "keys")}
"""Verbs that read and write what another verb of the fleet does; they run where that decides what happens."""


def verbs_in(where: str) -> list[str]:
    """The verbs to run in some surroundings."""
    return [verb for verb in VERBS if verb not in ALIKE or where in MEASURED]


def arguments(verb: str, port: int, where: str) -> list[str]:
    words = verb.split()
    if verb in CHEAPER and where not in MEASURED:
        return [*words, *CHEAPER[verb]]
    if verb == "ui":
        return [*words, "--port", str(port)]
    if verb in ARGUMENTS:
        return [*words, *ARGUMENTS[verb]]
    needed = [one for one in VERBS[verb].params if one.required]
    options = [one.opts[0] for one in needed if one.opts[0].startswith("-")]
    plain = [VALUES.get(f"{{{one.name}}}", "x") for one in needed if not one.opts[0].startswith("-")]
    return [*words, *plain, *(word for option in options for word in (option, "x"))]


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """A project that has built everything, in a folder with a blank and Korean letters."""
    with tempfile.TemporaryDirectory(prefix="hostile_") as folder:  # other users may not enter the folders of pytest
        Path(folder).chmod(0o755)
        yield _built(_with_data(Path(folder) / "로봇 1"))


def _with_data(root: Path) -> Project:
    artifacts = whole()
    shutil.copytree(artifacts.dataset.parent / "raw", root / "data" / "raw" / "drawn")
    shutil.copytree(artifacts.dataset, root / "data" / "datasets" / "drawn")
    shutil.copytree(artifacts.engine, root / "detector")
    image = next((root / "data").rglob("*.png"))
    shutil.copy(image, root / "street.png")
    shutil.copy(artifacts.onnx / "model.onnx", root / "그물.onnx")
    for number in range(3):
        folder = root / "내보내기" / f"session_{number}"
        (folder / "images").mkdir(parents=True)
        (folder / "labels").mkdir()
        shutil.copy(image, folder / "images" / f"{number}.png")
        (folder / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "내보내기" / "classes.txt").write_text("red\n")
    (root / "params.yaml").write_text(PARAMS)
    return Project(root)


def _built(project: Project) -> Project:
    from robot_assets.store import write_pointer

    artifacts = whole()
    create_key(project.key.path)
    fleet = open_repository(project.root, project.params.fleet)
    Repository.create(fleet.files, fleet.keys, fleet.place.root)
    enroll(project.root, "mower_1", str(create_key(project.root / "mower.pem")))
    raw = project.store.add(project.raw("drawn"))
    write_pointer(project.root / "data" / "raw" / "drawn.dvc", raw)
    real = {
        "raw/drawn": project.raw("drawn"),
        "datasets/drawn": artifacts.dataset,
        **{f"small_detector/{name}": getattr(artifacts, name) for name in ("checkpoint", "ptq", "qat", "onnx")},
        ENGINE: artifacts.engine,
    }
    fake = history._written

    def written(project: Project, contents: dict[str, str]) -> dict[str, str]:
        versions = {name: project.store.add(real[name]).digest for name in contents if name in real}
        versions |= {"platform/cpu": probe().fingerprint} if "platform/cpu" in contents else {}
        return {**fake(project, {name: text for name, text in contents.items() if name not in versions}), **versions}

    with (
        history.open_instance(project.root / ".dagster") as instance,
        history.fast_writes(instance),
        mock.patch("tests.synthetic.history._written", written),
    ):
        history.HistoryWriter(project, instance).write_round()
    return project


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A port in use: the UI never starts here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def server(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if refused := surroundings.refusal():
        pytest.skip(f"no mount namespace with an overlay here: {refused}")
    scratch = tmp_path_factory.mktemp("scratch")
    running = Server(project.root, scratch)
    yield running
    running.close()


@pytest.mark.parametrize("where", ALL)
def test_no_command_ends_with_a_traceback(server: Server, port: int, where: str) -> None:
    if os.getuid() and where in surroundings.OF_ANOTHER_USER:
        pytest.skip("only root can become another user")
    found = {verb: server.run(where, arguments(verb, port, where)) for verb in verbs_in(where)}
    faults = {verb: fault for verb, done in found.items() if (fault := _fault(done, where))}
    assert not faults, json.dumps(faults, indent=2, ensure_ascii=False)


def _fault(done: dict[str, Any], where: str) -> str:
    """What is wrong about the end of a command; empty when nothing is."""
    text = done["stdout"] + done["stderr"]
    for words in ("Traceback", "Exception ignored", "an error in robot-assets", "Warning:", "Input should be"):
        if words in text:
            return f"{words}: {text[-1500:]}"
    if done["code"] not in EXIT_CODES:
        return f"exit code {done['code']}: {text[-1500:]}"
    if done["left"]:
        return f"left: {done['left']}"
    if "error:" in done["stderr"] and not NEEDED_WHEN_FAILED.search(done["stderr"].replace("\r", "")):
        return f"not in three parts: {done['stderr']}"
    if done["code"] == 1 and not text and where not in WITHOUT_OUTPUT:
        return "failed without a word"
    return ""


COMMAND = str(Path(sys.executable).with_name("robot-assets"))


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("{command} --help | head -c0", 141, ""),
        ("{command} platform probe | head -c0", 141, ""),
        ("{command} platform probe --json | head -c0", 141, ""),
        ("{command} platform probe >&-", 0, ""),
        ("{command} platform probe >&- 2>&- <&-", 0, ""),
        ("{command} platform probe > /dev/full", 1, "error: the output cannot be written: No space left on device"),
        ("{command} nothing 2> /dev/full", 2, ""),
        ("PYTHONIOENCODING=ascii {command} verify 검출기", 1, r"error: '\uac80\ucd9c\uae30' is not a directory here"),
        ("LC_ALL=C {command} verify 검출기", 1, "error: '검출기' is not a directory here"),
        (
            "mkdir x && cd x && rmdir ../x && {command} plan",
            1,
            "error: the working directory has been deleted",
        ),
        ("env -u HOME COLUMNS=0 {command} key show", 1, "error: no params.yaml in"),
    ],
)
def test_streams_of_a_real_process(tmp_path: Path, shell: str, code: int, said: str) -> None:
    """Python writes to the streams once more when it exits."""
    script = ["bash", "-c", f"set -o pipefail; {shell.format(command=COMMAND)}"]
    environment = {name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "COLUMNS")}
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(said)
    assert bool(done.stderr) == bool(said)


def test_an_interruption_ends_with_one_line(project: Project) -> None:
    arguments = [COMMAND, "engine", "bench", "detector", "--inferences", "100000000"]
    with subprocess.Popen(arguments, cwd=project.root, stderr=subprocess.PIPE, text=True) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while process.poll() is None and "onnxruntime" not in maps.read_text():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()  # where interruptions are ignored, as below nohup
    assert process.returncode == 130
    assert said == "interrupted\n"
