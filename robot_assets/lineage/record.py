"""The record of a materialization, for staleness and audit: what was really read, run and written."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Mapping
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import Field

from robot_assets.core.spec import Spec

RECORDED_LIBRARIES = ("dagster", "numpy", "onnx", "onnxruntime", "pillow", "tensorrt", "torch", "torchao", "panda3d")
IMAGE_VARIABLE = "ROBOT_ASSETS_IMAGE"
NODE_VARIABLE = "ROBOT_ASSETS_NODE"
"""Name of the machine where the host name is another one, as in a pod."""
RULE_CHANGED = "code version rule changed"
"""How the sentence of a cause of the kind ``CauseKind.CODE_RULE`` begins."""
_quoted = json.encoder.encode_basestring_ascii


class CauseKind(StrEnum):
    """What can make a rebuild necessary."""

    NEVER_BUILT = "never built"
    LOST = "lost"
    INPUT = "input"
    PARAMETER = "parameter"
    CODE = "code"
    CODE_RULE = "code rule"


class Cause(Spec):
    """One reason of a rebuild.

    Attributes:
        kind: What sort of thing changed.
        what: The input, the parameter (dotted), the definition or the module; the asset itself where nothing smaller is
            known, as when it was never built.
        old: Hash, value or rule before; None when there was none.
        new: Hash, value or rule now; None when there is none any more.
    """

    kind: CauseKind
    what: str
    old: str | None = None
    new: str | None = None

    def __str__(self) -> str:
        """One line for a person."""
        match self.kind:
            case CauseKind.NEVER_BUILT:
                return "was never built"
            case CauseKind.LOST:
                return f"its bytes ({_short(self.old)}) are not in the store"
            case CauseKind.CODE_RULE:
                return f"{RULE_CHANGED} ({self.old} -> {self.new})"
            case CauseKind.PARAMETER if self.old is None:
                return f"{self.what} is new: {self.new}"
            case CauseKind.PARAMETER if self.new is None:
                return f"{self.what} was removed (before: {self.old})"
            case CauseKind.PARAMETER:
                return f"{self.what}: {self.old} -> {self.new}"
        noun = {CauseKind.INPUT: self.what, CauseKind.CODE: f"code of {self.what}"}[self.kind]
        return f"{noun} {_change(self.old, self.new)}"


def _change(old: str | None, new: str | None) -> str:
    """What happened to an input or to code; an empty version is that of an input that has none."""
    match old, new:
        case None, _:
            return "is new"
        case _, None:
            return "was removed"
        case _, "":
            return f"has no version now (before: {_short(old)})"
        case "", _:
            return f"has a version now ({_short(new)})"
    return f"changed ({_short(old)} -> {_short(new)})"


def _short(digest: str | None) -> str:
    return digest[:8] if digest else "unknown"


class Record(Spec):
    """One materialization, as the process that ran it saw it.

    Attributes:
        asset: Name of the asset, such as ``sidewalk_detector/checkpoint``.
        data_version: md5 (or md5.dir) of what was written, as ``dvc`` computes it.
        code_version: Computed in the process that ran.
        code_rule: Number of the rule that computed it; records from before rules had numbers are of rule 1.
        desired_state: Name of the state that this run was to reach: see ``desired_state``.
        inputs: Data version of every input that was opened, by asset name.
        params: The slice of ``params.yaml`` that the stage read.
        code: Digest of every definition of the stage's code, by name: ``package.module:function``.
        modules: Digest of every module of the stage's code, by name; only in records of rule 1.
        causes: Why it was built: what had changed since the previous materialization.
        git_commit: HEAD of the project, None outside of git.
        git_dirty: Whether tracked files differed from HEAD, or params.yaml was not tracked.
        image: Container image, from $ROBOT_ASSETS_IMAGE.
        node: Name of the machine: $ROBOT_ASSETS_NODE, else its host name.
        libraries: Versions of the libraries that can change the bytes.
        size_bytes: Bytes written.
        files: Files written.
        started_at: UTC, ISO 8601.
        duration_s: Seconds of work.
        run_id: Dagster's run.
    """

    asset: str
    data_version: str
    code_version: str
    desired_state: str
    inputs: dict[str, str]
    params: dict[str, Any]
    code: dict[str, str] = Field(default_factory=dict)
    code_rule: int = 1
    modules: dict[str, str] = Field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    git_commit: str | None
    git_dirty: bool | None
    image: str | None
    node: str
    libraries: dict[str, str]
    size_bytes: int
    files: int
    started_at: str
    duration_s: float
    run_id: str


def desired_state(asset: str, code_version: str, inputs: Mapping[str, str]) -> str:
    """Name of the state (asset, code version, input hashes), the run key of a rebuild. 32 hex digits."""
    read = ",".join(f"[{_quoted(name)},{_quoted(version)}]" for name, version in sorted(inputs.items()))
    text = f"[{_quoted(asset)},{_quoted(code_version)},[{read}]]"  # JSON, at a fifth of the time of `json`
    return _md5(text)


def by_module(code: Mapping[str, str]) -> dict[str, str]:
    """Definition -> digest as module -> digest of its definitions, 32 hex digits."""
    lines: dict[str, list[str]] = {}
    for definition, digest in sorted(code.items()):
        lines.setdefault(definition.partition(":")[0], []).append(f"{definition} {digest}\n")
    return {
        name: hashlib.md5("".join(each).encode(), usedforsecurity=False).hexdigest() for name, each in lines.items()
    }


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def surroundings(root: Path) -> dict[str, Any]:
    """The fields of a record that describe where it ran: commit, image, node, libraries."""
    commit = _git(root, "rev-parse", "HEAD")
    return {
        "git_commit": commit,
        "git_dirty": _is_dirty(root) if commit else None,
        "image": os.environ.get(IMAGE_VARIABLE),
        "node": os.environ.get(NODE_VARIABLE) or platform.node(),
        "libraries": _libraries(),
    }


def missing_commit(root: Path) -> tuple[str, str] | None:
    """Why records have no commit although git versions the project, and the fix; None where they have one.

    A folder that git does not version at all has none on purpose.
    """
    done = _run_git(root, "rev-parse", "HEAD")
    if done is None or done.returncode == 0:
        return None
    here = shlex.quote(str(root))
    if "dubious ownership" in done.stderr:
        folder = re.search(r"repository at '(.*)'", done.stderr)
        trusted = shlex.quote(folder[1]) if folder else here
        return (
            f"git refuses {root}, which another user owns: records have no commit",
            f"git config --global --add safe.directory {trusted}",
        )
    if "ambiguous argument 'HEAD'" in done.stderr:
        return f"{root} has no commit of git yet: records have none", f"git -C {here} add . && git -C {here} commit"
    return None


def _is_dirty(root: Path) -> bool | None:
    """Whether tracked files differ from the commit, or it does not have params.yaml."""
    status = _git(root, "status", "--porcelain", "--untracked-files=no")
    if status is None:
        return None
    params = root / "params.yaml"
    return bool(status) or (params.is_file() and _git(root, "ls-files", "--error-unmatch", params.name) is None)


def _git(root: Path, *arguments: str) -> str | None:
    done = _run_git(root, *arguments)
    return done.stdout.strip() if done is not None and done.returncode == 0 else None


def _run_git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """What git did, with messages in English; None without git."""
    command, words = ["git", "-C", str(root), *arguments], {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, errors="replace", env=words)
    except OSError:  # git is not there, or is not a program
        return None


def _libraries() -> dict[str, str]:
    found = {}
    for name in RECORDED_LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
