"""``bundle.json``: every file of a release by name, size and sha256, and what a robot has to know of its engines.

A release is a directory: ``bundle.json``, and for each model a folder with the files of its engine, its signed
statements (``provenance.intoto.jsonl``) and ``reference.npz``, the answers that the engine has to repeat on a robot. A
``NOTICE`` of the licences is beside ``bundle.json`` where an input has one. Light to import: robots read it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from robot_assets.core.spec import Spec
from robot_assets.core.text import escaped
from robot_assets.core.validation import mistakes
from robot_assets.provenance.subjects import REFERENCE as REFERENCE
from robot_assets.release.errors import ReleaseError

BUNDLE_FILE = "bundle.json"
FORMAT: Final = 1

BUNDLE_SIZE_MAX = 1 << 20
"""Bytes of a ``bundle.json`` that is read: some 5,000 files."""

RELEASE_SIZE_MAX = 1 << 40
"""Bytes that a release may state: a sum above it is a mistake or an attack."""

_NAME = r"^[a-z][a-z0-9_]{0,62}$"
"""As names of entries of params.yaml: they become names of folders, of targets of TUF and of commands."""

_RESERVED = frozenset('\\:*?"<>|')


class BundledFile(Spec):
    """One file of a release.

    Attributes:
        path: Inside the release, with ``/``; never absolute, never with ``..``.
        sha256: 64 hexadecimal digits; also its name among the blobs of the repository.
        size: Bytes.
    """

    path: str = Field(min_length=1, max_length=255)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=RELEASE_SIZE_MAX)


class BundledModel(Spec):
    """One engine of a release.

    Attributes:
        asset: Of the engine, such as ``sidewalk_detector/engine/cpu``.
        version: Its data version.
        folder: Its folder in the release: the name of the model.
        decoder: Name of the decoder of its heads, and of its task.
        budgets: The budgets that its gates were judged by, by the names of ``targets.TARGET.gate``.
        tolerance_share: Share of reference values that may differ on a robot; follows from
            ``parity_differing_share_max``, or where a target has none, from the share that its gate measured.
    """

    asset: str
    version: str = Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")
    folder: str = Field(pattern=_NAME)
    task: str
    decoder: str
    budgets: dict[str, float]
    tolerance_share: float = Field(ge=0, le=1)


class Bundle(Spec):
    """The content of ``bundle.json``.

    Attributes:
        group: The group of robots that it is for.
        target: The target whose devices can run it.
        platform: The device as its engines' manifests state it, and its fingerprint.
        models: The engines, by name of the model.
        files: All files but ``bundle.json`` itself, by path.
    """

    format: Literal[1] = FORMAT
    group: str = Field(pattern=_NAME)
    target: str = Field(pattern=_NAME)
    platform: dict[str, Any]
    platform_fingerprint: str = Field(pattern=r"^[0-9a-f]{32}$")
    models: dict[str, BundledModel] = Field(min_length=1)
    files: tuple[BundledFile, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @model_validator(mode="after")
    def _is_consistent(self) -> Bundle:
        """Refuse paths that leave the release or collide, and models without their files."""
        paths = [file.path for file in self.files]
        if found := next((problem for path in paths if (problem := _problem(path))), None):
            raise ValueError(f"files: {found}")
        if (collision := _collision(paths)) is not None:
            raise ValueError(f"files: {collision}")
        if self.size_bytes > RELEASE_SIZE_MAX:
            raise ValueError(f"files: {self.size_bytes} bytes; needed at most {RELEASE_SIZE_MAX}")
        for name, model in self.models.items():
            if model.folder != name:
                raise ValueError(f"models.{name}.folder: {model.folder!r}; needed the name of the model")
            if f"{name}/{REFERENCE}" not in paths:
                raise ValueError(f"models.{name}: {name}/{REFERENCE} is not among the files")
        strays = [path for path in paths if "/" in path and path.split("/")[0] not in self.models]
        if strays:
            raise ValueError(f"files: {strays[0]!r} is in no folder of a model")
        return self


def parse_bundle(content: bytes) -> Bundle:
    """Read the bytes of a ``bundle.json`` from outside.

    Raises:
        ReleaseError: It is too large, is not JSON, has a key twice, an unknown key or an invalid value, or names a path
            that is not inside the release or that collides with another one.
    """
    if len(content) > BUNDLE_SIZE_MAX:
        raise refused(f"it has {len(content)} bytes, at most {BUNDLE_SIZE_MAX} are read")
    try:
        return Bundle.model_validate(json.loads(content, object_pairs_hook=_without_repetition))
    except ValidationError as error:
        why = "; ".join(mistakes(error)[:3])
    except (ValueError, RecursionError) as error:
        why = f"it is not JSON ({error})"
    raise refused(why)


def refused(why: str) -> ReleaseError:
    """The error of a ``bundle.json`` that is not valid."""
    return ReleaseError(
        f"{BUNDLE_FILE} is not that of a release: {escaped(why)}",
        needed="the file that the release was built with",
        fix="robot-assets agent once   # downloads the release again",
    )


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Two readers of one file must not see different values of a key that it has twice."""
    document = dict(pairs)
    if len(document) != len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {key!r} is there twice")
    return document


def _problem(path: str) -> str | None:
    """Why a path is not one inside a release, portable to every file system; None where it is."""
    steps = path.split("/")
    if path.startswith("/") or any(step in ("", ".", "..") for step in steps):
        return f"{path!r} is not a path inside the release"
    if not path.isascii() or not path.isprintable() or _RESERVED & set(path):
        return f"{path!r} has other characters than those of portable file names"
    if any(step != step.strip() or step.endswith(".") for step in steps):
        return f"{path!r} begins or ends with a character that file systems drop"
    return f"{path!r} is the name of the file itself" if path.lower() == BUNDLE_FILE else None


def _collision(paths: Sequence[str]) -> str | None:
    """Two paths that are one on a file system which ignores case, or a file that is also a folder."""
    seen: dict[str, str] = {}
    for path in paths:
        if (other := seen.setdefault(path.lower(), path)) is not path:
            return f"{path!r} is there twice" if other == path else f"{other!r} and {path!r} differ in case alone"
    folders = {folder for path in seen for folder in _folders(path)}
    both = sorted(folders & seen.keys())
    return f"{seen[both[0]]!r} is a file and a folder" if both else None


def _folders(path: str) -> Iterator[str]:
    """The folders that a path is in."""
    yield from (path[:at] for at, letter in enumerate(path) if letter == "/")
