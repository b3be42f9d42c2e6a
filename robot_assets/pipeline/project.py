"""A project on disk: the folder with ``params.yaml``, its parameters and its store."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import ParamsError
from robot_assets.core.paths import expanded, shown_path

if TYPE_CHECKING:
    from robot_assets.pipeline.params import Params
    from robot_assets.provenance.keys import KeyLocation
    from robot_assets.provenance.public_key import Trust
    from robot_assets.store import Store
    from robot_assets.store.dvc_config import Drift

PROJECT_VARIABLE = "ROBOT_ASSETS_PROJECT"

CACHE_VARIABLE = "ROBOT_ASSETS_CACHE"
"""Folder of the cache of a store that has a remote; default: ``.robot_assets/cache`` in the project."""

CACHE_LIMIT_VARIABLE = "ROBOT_ASSETS_CACHE_LIMIT"
"""Size limit of that cache, such as 20Gi; default: no limit."""


@dataclass(frozen=True)
class Project:
    """A folder with a ``params.yaml``. Parameters and store are opened at their first use."""

    root: Path

    @cached_property
    def params(self) -> Params:
        """The parameters. Raises ParamsError."""
        from robot_assets.pipeline.params import load_params

        return load_params(self.root / "params.yaml")

    @cached_property
    def store(self) -> Store:
        """The artifact store that ``store.url`` names, with the cache that the environment names.

        Raises:
            ParamsError: A variable has an invalid value.
            StoreError: ``store.url`` cannot be used as a store.
        """
        from robot_assets.store import open_store

        return open_store(self.params.store.url, self.root, _cache_folder(), _cache_limit_bytes())

    def dvc_drift(self) -> Drift | None:
        """Where ``dvc pull`` and ``dvc push`` use another place than ``store.url``; None where they agree."""
        from robot_assets.store.dvc_config import drift

        return drift(self.root, self.params.store.url)

    @property
    def state(self) -> Path:
        """The folder of reproducible files: caches and scratch. Ignored by git."""
        return self.root / ".robot_assets"

    @property
    def key(self) -> KeyLocation:
        """The location of the signing key of this checkout."""
        from robot_assets.provenance.keys import key_location

        return key_location(self.root, self.state)

    def trust(self) -> Trust:
        """The keys whose signatures are trusted.

        Raises:
            ParamsError: params.yaml is invalid.
            ProvenanceError: The key of this checkout cannot be used.
        """
        from robot_assets.provenance.keys import trust_of

        return trust_of(self.params.provenance.trusted_keys, self.key)

    def raw(self, dataset: str) -> Path:
        """The folder of the raw images and labels of a data set."""
        return self.root / "data" / "raw" / dataset

    def packed(self, dataset: str) -> Path:
        """The folder to which ``dvc repro`` and ``data build`` write a packed data set."""
        return self.root / "data" / "datasets" / dataset


def find_project(start: Path | None = None) -> Project:
    """The project that contains ``start`` (default: $ROBOT_ASSETS_PROJECT, else the working directory).

    Raises:
        ParamsError: No folder from there upwards has a params.yaml.
    """
    named = _path_in(PROJECT_VARIABLE)
    origin = (start or named or Path.cwd()).resolve()
    for folder in (origin, *origin.parents):
        if (folder / "params.yaml").is_file():
            return Project(folder)
    raise ParamsError(
        f"no params.yaml in {origin} or above it",
        needed="a working directory inside a robot-assets project",
        fix=f"robot-assets init {shown_path(origin / 'robot')}   # makes one; or: cd PROJECT, or "
        f"export {PROJECT_VARIABLE}=PROJECT, with the folder of params.yaml",
    )


def project_here() -> Project | None:
    """As :func:`find_project`; None outside of any project, as on a robot.

    Raises:
        ParamsError: $ROBOT_ASSETS_PROJECT names a folder that is not in a project.
    """
    if os.environ.get(PROJECT_VARIABLE):
        return find_project()
    try:
        return find_project()
    except ParamsError:
        return None


def _cache_folder() -> Path | None:
    named = _path_in(CACHE_VARIABLE)
    if named is not None and not named.is_absolute():
        raise ParamsError(
            f"{CACHE_VARIABLE} is {str(named)!r}",
            needed="an absolute path: processes in different folders share one cache",
            fix=f"export {CACHE_VARIABLE}={shlex.quote(str(named.resolve()))}   # or: unset {CACHE_VARIABLE}",
        )
    return named


def _path_in(variable: str) -> Path | None:
    """The path in an environment variable, as a shell would have expanded it; None when it is not set."""
    named = os.environ.get(variable)
    if not named:
        return None
    try:
        return Path(expanded(named))
    except ValueError as error:
        raise ParamsError(
            f"{variable} is {error}", needed="a path", fix=f"export {variable}=/path   # or: unset {variable}"
        ) from None


def _cache_limit_bytes() -> int | None:
    from robot_assets.cluster.quantity import in_bytes

    limit = os.environ.get(CACHE_LIMIT_VARIABLE)
    if not limit:
        return None
    try:
        return in_bytes(limit)
    except ValueError as error:
        raise ParamsError(
            f"{CACHE_LIMIT_VARIABLE} is {limit!r}",
            needed=str(error).removeprefix("needed "),
            fix=f"export {CACHE_LIMIT_VARIABLE}=20Gi   # or: unset {CACHE_LIMIT_VARIABLE}",
        ) from None
