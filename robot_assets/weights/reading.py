"""Reads a file of weights: safetensors, and nothing that could run code. Needs torch; import it late."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import TrainingError
from robot_assets.core.text import escaped, listed, plural

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"

_KINDS = (
    (b"PK\x03\x04", "a zip of torch.save, which has a pickle inside"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x89HDF", "an HDF5 file"),
    (b"GGUF", "a GGUF file"),
    (b"version https://git-lfs", "a pointer of Git LFS, without the bytes of the file"),
    (b"outs:", "a .dvc pointer, without the bytes of the file"),
    (b"<", "a web page, such as the one of a failed download"),
)
"""First bytes of what is found under the name of a safetensors file."""

_CONVERT = (
    "import sys, torch; from safetensors.torch import save_file; "
    'found = torch.load(open(sys.argv[1], "rb"), map_location="cpu", weights_only=True); '
    'found = found.get("state_dict", found.get("model", found)); '
    "save_file({k: v.clone().contiguous() for k, v in found.items() if isinstance(v, torch.Tensor)}, sys.argv[2])"
)
"""Converts a file of torch.save. With ``weights_only`` torch refuses a pickle that could run code. An open file, since
torch reads a path that ends in .safetensors as such."""


def read_tensors(path: Path, name: str, origin: str = "") -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU.

    Args:
        path: The file, or a folder with exactly one.
        name: Name of the weights in params.yaml, for errors.
        origin: Path that a person knows it by, named in errors; by default that of ``path``.

    Raises:
        TrainingError: It is none, is not complete, or has values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    file = _file(path, name)
    payload = file.read_bytes()
    shown = Path(origin or path) / file.relative_to(path)
    _refuse_others(shown, payload, name)
    try:
        tensors: dict[str, Tensor] = load(payload)
    except SafetensorError as error:
        raise TrainingError(
            f"weights.{name}: {escaped(str(shown))} is not a complete safetensors file: {escaped(str(error))}",
            needed=f"all bytes that were saved; the file has {plural(len(payload), 'byte')}",
            fix=f"copy or download it again, then: {_added(shown)}",
        ) from None
    _refuse_not_finite(tensors, name)
    return tensors


def convert_command(file: Path) -> str:
    """A command that converts a file of ``torch.save`` to safetensors."""
    target = file.with_suffix(SUFFIX)
    return f"python -c {shlex.quote(_CONVERT)} {shlex.quote(str(file))} {shlex.quote(str(target))}"


def _added(file: Path) -> str:
    return f"dvc add {shlex.quote(str(file))}"


def _file(path: Path, name: str) -> Path:
    if path.is_file():
        return path
    found = sorted(one for one in path.rglob("*") if one.suffix == SUFFIX)
    if len(found) == 1:
        return found[0]
    files = sorted(escaped(one.name) for one in path.rglob("*") if one.is_file())
    raise TrainingError(
        f"weights.{name}: its folder has {plural(len(found), 'safetensors file')} among {listed(files) or 'no files'}",
        needed="exactly one safetensors file with all tensors",
        fix="join them to one file, then run dvc add on it and commit its pointer",
    )


def _refuse_others(file: Path, payload: bytes, name: str) -> None:
    kind = next((what for start, what in _KINDS if payload.startswith(start)), None)
    if kind is None:
        return
    is_pickle = "pickle" in kind
    raise TrainingError(
        f"weights.{name}: {escaped(str(file))} is {kind}",
        needed="a safetensors file: a pickle can run any code when it is read",
        fix=f"{convert_command(file)}   # then: {_added(file.with_suffix(SUFFIX))}" if is_pickle else _FIX,
    )


_FIX = "dvc pull   # or download the file again, and add it"


def _refuse_not_finite(tensors: dict[str, Tensor], name: str) -> None:
    bad = [key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise TrainingError(
            f"weights.{name}: {plural(len(bad), 'tensor has', 'tensors have')} values that are not finite: "
            f"{escaped(listed(bad))}",
            needed="finite weights",
            fix="take another file of the same network: this training has diverged",
        )
