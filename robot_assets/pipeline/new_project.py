"""A new project: a folder with parameters, git and DVC, for which no clone of this repository is needed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.errors import ParamsError
from robot_assets.core.paths import expanded, shown_path
from robot_assets.core.publishing import publishing_file
from robot_assets.core.yaml_edits import flow
from robot_assets.pipeline.project import Project
from robot_assets.store import open_store
from robot_assets.store.dvc_config import configuration
from robot_assets.store.os_errors import FULL, no_space

STORE = ".robot_assets/store"
_IGNORED_BY_DVC = (".robot_assets", ".dagster", ".venv")
_IGNORED_BY_GIT = ("/.robot_assets/", "/.dagster/", "/data/datasets/", ".venv/", "__pycache__/")
_LIKE_EMPTY = {".git", ".gitignore", ".gitattributes", ".gitkeep", ".DS_Store", ".venv"}

_PARAMS = """\
# Everything that a person decides. Unknown keys are refused; a stage is stale when the part that it reads changes.

store:
  url: {url}   # artifacts: a folder, or s3://bucket/prefix. .dvc/config has the same place for dvc

# robot-assets data import yolo FOLDER --name NAME --write    adds a data set, and a model on it (or: coco, masks)
datasets: {{}}

models: {{}}

targets:
  cpu:                 # ONNX Runtime on this machine
    kind: onnxruntime
    threads: 1
    gate: {{accuracy_drop_points_max: 2.0, latency_ms_p95_max: 100}}

# A Jetson: add orin to a model's targets, too.
# orin:
#   kind: tensorrt
#   platform: reported              # run on it: robot-assets platform report orin
#   precision: int8_fp16
#   gate: {{latency_ms_p95_max: 8}}

# Who rebuilds what is stale while `robot-assets ui` runs: auto is the sensor, manual is a person.
rebuild:
  policy: {{checkpoint: manual, qat: manual}}
"""
_README = """\
# {title}

Data sets, models and engines of a robot, versioned with robot-assets.

```sh
robot-assets data import yolo FOLDER --name yard --write   # images and labels; params.yaml gets the entries
git add . && git commit -m "Add the data set yard"         # the pointer goes into git, the images do not
robot-assets build yard_detector                           # train, quantize, export, build and judge the engine
robot-assets audit yard_detector/engine/cpu                # everything that it was made of
robot-assets ui                                            # the same in a browser
```

`params.yaml` has all parameters. Images are in `data/raw/` and in the store; `dvc pull` restores them from there.
"""
_WORKSPACE = """\
# What `dagster dev` loads; `robot-assets ui` does the same.
load_from:
  - python_module:
      module_name: dagster_project.definitions
      working_directory: .
      location_name: robot_assets
"""
_RAW_IGNORED = "# data is versioned by DVC pointers, never by git\n*\n!.gitignore\n!*.dvc\n"
_DVC_IGNORED = "/config.local\n/tmp\n/cache\n"


@dataclass(frozen=True)
class Created:
    """What was done.

    Attributes:
        root: Folder of the project.
        files: Files that were written, relative to it.
        extended: Files to which lines were added.
        present: Files that were there and stay as they are.
        has_repository: Whether the project is in a git repository.
    """

    root: Path
    files: tuple[str, ...]
    extended: tuple[str, ...]
    present: tuple[str, ...]
    has_repository: bool


def create_project(folder: Path, store_url: str = STORE) -> Created:
    """Make ``folder`` a project, or add what it lacks. No file is replaced.

    Args:
        folder: New, empty, a git repository, or a project.
        store_url: ``store.url`` of params.yaml, and the remote of DVC.

    Raises:
        ParamsError: The folder is in another project, or has files and is neither a repository nor a project.
        StoreError: The URL cannot be a store, or the disk is full.
    """
    root = folder.expanduser().resolve()
    _refuse(root)
    url = _store_url(root, store_url)
    try:
        return _created(root, url)
    except OSError as error:
        if error.errno in FULL:
            raise no_space("writing the project", root, error) from None
        raise


def _created(root: Path, url: str) -> Created:
    root.mkdir(parents=True, exist_ok=True)
    has_repository = _ensure_repository(root)
    ignored = dict(_ignored(root))
    for name, text in ignored.items():
        _append(root / name, text)
    files = _files(root, url)
    missing = {name: text for name, text in files.items() if not os.path.lexists(root / name)}
    for name, text in missing.items():
        with publishing_file(root / name) as staging:
            staging.write_text(text, "utf-8")
    present = tuple(name for name in files if name not in missing)
    return Created(root, tuple(missing), tuple(ignored), present, has_repository)


def _files(root: Path, url: str) -> Mapping[str, str]:
    """Content by name. params.yaml is the last: what has one is a whole project."""
    return {
        ".dvc/config": configuration(url),
        ".dvc/.gitignore": _DVC_IGNORED,
        "data/raw/.gitignore": _RAW_IGNORED,
        "workspace.yaml": _WORKSPACE,
        "README.md": _README.format(title=root.name or "robot"),
        "params.yaml": _PARAMS.format(url=flow(url)),
    }


def _store_url(root: Path, given: str) -> str:
    """The URL of a present project, else the given one, which has to be usable."""
    if (root / "params.yaml").is_file():
        return Project(root).params.store.url
    try:
        url = expanded(given)
    except ValueError as error:
        raise ParamsError(
            f"--store is {error}",
            needed="a folder, or a URL such as s3://bucket/prefix",
            fix=f"robot-assets init {shown_path(root)} --store {STORE}",
        ) from None
    open_store(url, root)
    return url


def _refuse(root: Path) -> None:
    above = next((parent for parent in root.parents if (parent / "params.yaml").is_file()), None)
    if root.exists() and not root.is_dir():
        raise ParamsError(
            f"{root} is a file", needed="a folder", fix=f"robot-assets init {shown_path(root.with_name('robot'))}"
        )
    if (root / "params.yaml").is_file():
        return
    if above is not None:
        other = "" if above == Path.cwd() else f"   # or use that project: cd {shown_path(above)}"
        raise ParamsError(
            f"{root} is in the project {above}",
            needed="a folder outside of every project",
            fix=f"robot-assets init {shown_path(above.parent / f'{above.name}-2')}{other}",
        )
    others = sorted(path.name for path in root.iterdir() if path.name not in _LIKE_EMPTY) if root.is_dir() else []
    if others and not _in_repository(root):
        raise ParamsError(
            f"{root} has files and is not a git repository: {', '.join(others[:4])}{', ...' if others[4:] else ''}",
            needed="a new or an empty folder, a git repository, or a project",
            fix=f"robot-assets init {shown_path(root / 'robot')}   # or, to make this folder the project: "
            f"git init {shown_path(root)}",
        )


def _ignored(root: Path) -> Iterator[tuple[str, str]]:
    """Lines that the ignore files of git and DVC lack, by file."""
    for name, wanted in ((".gitignore", _IGNORED_BY_GIT), (".dvcignore", _IGNORED_BY_DVC)):
        path = root / name
        there = {line.strip().strip("/") for line in path.read_text("utf-8").splitlines()} if path.is_file() else set()
        lacking = [line for line in wanted if line.strip("/") not in there]
        if lacking:
            yield name, "".join(f"{line}\n" for line in lacking)


def _append(path: Path, text: str) -> None:
    before = path.read_bytes() if path.is_file() else b""
    separator = b"" if not before or before.endswith(b"\n") else b"\n"
    with publishing_file(path) as staging:
        staging.write_bytes(before + separator + text.encode())


def _ensure_repository(root: Path) -> bool:
    """Whether the folder is in a git repository, after an attempt to make it one."""
    return _in_repository(root) or _git(root, "init", "--quiet")


def _in_repository(root: Path) -> bool:
    return _git(root, "rev-parse", "--is-inside-work-tree")


def _git(root: Path, *arguments: str) -> bool:
    """Whether a git command succeeded; False where there is no git."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(["git", *arguments], cwd=root, env=kept, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
