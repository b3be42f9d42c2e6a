"""Optional libraries: the extra of robot-assets that installs each, and the error where one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from robot_assets.core.errors import RobotAssetsError

EXTRA_OF: Mapping[str, str] = {
    "fsspec": "s3",
    "s3fs": "s3",
    "matplotlib": "figures",
    "onnx": "engines",
    "safetensors": "engines",
    "faster_coco_eval": "engines",
    "onnxruntime": "cpu",
    "cuda": "jetson",
    "torch": "training",
    "torchao": "training",
    "onnxscript": "training",
    "panda3d": "training",
    "direct": "training",
    "dagster": "orchestrator",
    "dagster_postgres": "orchestrator",
    "dagster_webserver": "orchestrator",
    "sqlalchemy": "orchestrator",
    "jinja2": "orchestrator",
    "dagster_aws": "cluster",
    "dagster_k8s": "cluster",
    "kubernetes": "cluster",
}
"""Importable name -> the smallest extra that installs it."""


class MissingLibrary(RobotAssetsError):
    """A command needs a library that only an extra of robot-assets installs."""


def require(library: str) -> None:
    """Raise :class:`MissingLibrary` unless ``library``, a key of :data:`EXTRA_OF`, is installed. Does not import it."""
    if find_spec(library) is None:
        raise _missing(library, EXTRA_OF[library])


def missing_library(error: ModuleNotFoundError) -> MissingLibrary | None:
    """The same error for an import that failed; None when no extra would have helped."""
    name = error.name or ""
    extra = EXTRA_OF.get(name.partition(".")[0])
    return _missing(name, extra) if extra else None


def _missing(library: str, extra: str) -> MissingLibrary:
    return MissingLibrary(
        f"{library} is not installed",
        needed=f"the extra {extra!r} of robot-assets",
        fix=f"pip install 'robot-assets[{extra}]'",
    )
