"""What an engine is made of, where it may run, and how to talk to it. Light to import; needs no torch.

No timing is in it: an engine that rebuilds to the same bytes makes nothing downstream stale.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from robot_assets.errors import EngineError
from robot_assets.models.spec import NetworkSpec
from robot_assets.spec import Spec

ENGINE = "engine.onnx"
MANIFEST = "manifest.json"


class Tensor(Spec):
    """Name and fixed shape of an input or output; float32."""

    name: str
    shape: tuple[int, ...]


class Kernels(Spec):
    """Operators of the graph as ONNX Runtime has optimized it: what really runs."""

    int8: dict[str, int] = Field(description="integer arithmetic, by operator")
    float32: dict[str, int] = Field(description="float arithmetic, by operator")
    data_movement: dict[str, int] = Field(description="conversions and copies, by operator")

    @property
    def int8_convolutions(self) -> int:
        """Convolutions in integer arithmetic."""
        return sum(count for name, count in self.int8.items() if "Conv" in name)

    @property
    def float_convolutions(self) -> int:
        """Convolutions that stayed in float."""
        return sum(count for name, count in self.float32.items() if "Conv" in name)


class Manifest(Spec):
    """The content of ``manifest.json``."""

    format: int = 1
    kind: str
    onnx_md5: str
    engine_md5: str
    engine_size_bytes: int
    platform: dict[str, str | list[str]]
    platform_fingerprint: str
    threads: int
    input: Tensor
    outputs: tuple[Tensor, ...]
    preprocessing: str
    classes: tuple[str, ...]
    network: NetworkSpec
    kernels: Kernels
    activations_from_zero: int
    activations_shifted: int


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, sealed with a digest of its own content, into ``folder``."""
    document = manifest.model_dump(mode="json")
    document["digest"] = _digest(document)
    (folder / MANIFEST).write_text(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")


def load_manifest(engine: Path) -> Manifest:
    """Read ``manifest.json`` of the engine directory ``engine``.

    Raises:
        EngineError: It is missing, is no manifest, or its content is not what its digest says.
    """
    path = engine / MANIFEST
    fix = f"build the engine again, or restore the whole of {engine} from the store"
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        written = document.pop("digest")
        manifest = Manifest.model_validate(document)
    except FileNotFoundError:
        raise EngineError(f"no {path}", needed="an engine directory", fix=fix) from None
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise EngineError(
            f"{path} is not the manifest of an engine: {error}",
            needed="the file that the build wrote",
            fix=fix,
        ) from None
    if (computed := _digest(document)) != written:
        raise EngineError(
            f"{path}: its content has digest {computed}, and it says {written}",
            needed="a manifest that nobody has edited",
            fix=fix,
        )
    return manifest


def md5_of(path: Path) -> str:
    """Md5 of a file's bytes, as DVC computes it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _digest(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
