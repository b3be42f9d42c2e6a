"""``manifest.json``: the origin of an engine, its platform, and its inputs and outputs. Light to import.

A manifest has no times, so that an engine that rebuilds to the same bytes makes nothing downstream stale. Each engine
kind adds fields in a class of its own (``robot_assets.engines``).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pydantic import Field, ValidationError

from robot_assets.core.documents import write_json
from robot_assets.core.errors import EngineError
from robot_assets.core.spec import Spec
from robot_assets.core.validation import mistakes
from robot_assets.tasks.interface import Head, Input, Interface

MANIFEST = "manifest.json"

FORMAT: Final = 2
"""Of manifests with the interface of a network. Those of format 1 had the architecture of a detector."""


class Kernels(Spec):
    """How many operators run in which arithmetic once the runtime has optimized the graph."""

    int8: dict[str, int] = Field(description="integer arithmetic, by operator")
    float32: dict[str, int] = Field(description="float arithmetic, by operator")
    data_movement: dict[str, int] = Field(description="conversions and copies, by operator")

    @property
    def int8_convolutions(self) -> int:
        """Convolutions in integer arithmetic."""
        return convolutions(self.int8)

    @property
    def float_convolutions(self) -> int:
        """Convolutions in float arithmetic."""
        return convolutions(self.float32)


def convolutions(counts: dict[str, int]) -> int:
    """How many of the counted operators are convolutions."""
    return sum(count for name, count in counts.items() if "conv" in name.lower())


Arithmetic: TypeAlias = Literal["int8", "float16", "float32", "dla", "data_movement"]
"""``dla``: on a deep learning accelerator, in whatever type that computes."""


class Layer(Spec):
    """One layer of an engine, as its runtime has optimized the graph.

    Attributes:
        name: Where the runtime fuses nodes, made of the names of the ONNX nodes in it.
        kind: Such as ``Convolution`` or ``QLinearConv``.
        arithmetic: By the type of its inputs.
    """

    name: str
    kind: str
    arithmetic: Arithmetic


class Manifest(Spec, ABC):
    """The fields of every ``manifest.json``. An engine kind adds its own, and defines the properties.

    A property that is the same for all engines of a kind may be a class variable.

    Attributes:
        interface: Task, classes, input with the preprocessing of images, heads, and the decoder that reads them.
        decoder_code: Code version of that decoder (:mod:`robot_assets.runtime.decoding`).
    """

    format: Literal[2] = FORMAT
    kind: str
    onnx_md5: str
    engine_md5: str
    engine_size_bytes: int
    platform: dict[str, str | list[str]]
    platform_fingerprint: str
    interface: Interface
    decoder_code: str
    kernels: Kernels

    @property
    def input(self) -> Input:
        """Name, shape and preprocessing of the images."""
        return self.interface.input

    @property
    def outputs(self) -> tuple[Head, ...]:
        """The heads, each with the shape of one image."""
        return self.interface.heads

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their index."""
        return self.interface.classes

    @property
    @abstractmethod
    def engine_file(self) -> str:
        """Name of the file that ``engine_md5`` is of, such as ``engine.plan``."""

    @property
    @abstractmethod
    def cpu_threads(self) -> int:
        """CPU threads that one inference keeps busy, waiting for a device included."""

    @property
    @abstractmethod
    def runs_on(self) -> str:
        """Threads, GPU or accelerator that the engine runs on, such as ``2 threads``."""

    @property
    @abstractmethod
    def uses_gpu(self) -> bool:
        """Whether the power and temperature of a GPU are those of the engine."""

    @property
    @abstractmethod
    def memory_of(self) -> Literal["process", "device"]:
        """Whose memory the engine takes: that of its process, or memory that CPU and GPU share, as on a Jetson."""

    @property
    def resources(self) -> dict[str, float]:
        """Resources of the engine that its runtime states, by name with unit; none unless the kind has some."""
        return {}


_M = TypeVar("_M", bound=Manifest)


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, sealed with a digest of its own content, into ``folder``."""
    document = manifest.model_dump(mode="json")
    write_json(folder / MANIFEST, {**document, "digest": _digest(document)})


def read_manifest(engine: Path, class_of: Callable[[str], type[_M]]) -> _M:
    """Read ``manifest.json`` of the engine directory ``engine``.

    Args:
        engine: Directory of an engine.
        class_of: Class of the manifests of an engine kind. It raises EngineError for a kind that it does not know.

    Raises:
        EngineError: The file is missing, is not a manifest, is one of an unknown kind, or was edited: its content does
            not match its digest.
    """
    path = engine / MANIFEST
    fix = f"build the engine again, or restore the whole of {engine} from the store"
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        stated = document.pop("digest")
        _refuse_other_format(path, document["format"])
        manifest = class_of(document["kind"]).model_validate(document)
    except FileNotFoundError:
        raise EngineError(f"no {path}", needed="an engine directory", fix=fix) from None
    except ValidationError as error:
        found = f"{path} is not the manifest of an engine: {'; '.join(mistakes(error))}"
        raise EngineError(found, needed="the file that the build wrote", fix=fix) from None
    except OSError as error:
        found = f"{path} cannot be read: {error.strerror}"
        raise EngineError(found, needed="the file that the build wrote", fix=fix) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        found = f"{path} is not the manifest of an engine: it is damaged, or another file"
        raise EngineError(found, needed="the file that the build wrote", fix=fix) from None
    if (computed := _digest(document)) != stated:
        raise EngineError(
            f"{path} was edited: its content has digest {computed}, the file states {stated}",
            needed="a manifest that nobody has edited",
            fix=fix,
        )
    return manifest


def _refuse_other_format(path: Path, found: Any) -> None:
    if found != FORMAT:
        raise EngineError(
            f"{path} has format {found!r}: another version of robot-assets built the engine",
            needed=f"format {FORMAT}",
            fix="build the engine again with this version of robot-assets",
        )


def _digest(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
