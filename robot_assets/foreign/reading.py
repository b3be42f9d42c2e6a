"""Reads an ONNX file that was made elsewhere: one file, or a folder with one and its external data.

Nothing is executed, and no path in the file is followed out of its folder. External data is read into the graph.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import ExportError
from robot_assets.core.text import escaped, listed, plural
from robot_assets.foreign.errors import added, refused

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

BYTES_MAX = (1 << 31) - 1
"""A protobuf message is at most 2 GB, and an artifact is one file."""

_EXPORT = "export the network again with its framework: torch.onnx.export(..., opset_version=17)"
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive, such as a PyTorch file (.pt, .pth)", _EXPORT),
    (b"\x89HDF", "an HDF5 file, such as a Keras model", "export it again: python -m tf2onnx.convert --opset 17"),
    (b"ptrt", "a TensorRT engine", "import the ONNX that the engine was built from"),
    (b"ftrt", "a TensorRT engine", "import the ONNX that the engine was built from"),
    (b"version https://git-lfs", "a Git LFS pointer, without the bytes of the file", "git lfs pull"),
    (b"\x1f\x8b", "a gzip archive", "gunzip it, and add the file inside"),
    (b"<", "a page of HTML or XML", "download the file itself, not the page about it"),
    (b"outs:", "a DVC pointer, without the bytes of the file", "dvc pull"),
)


def read_model(source: Path, origin: str = "") -> ModelProto:
    """Read the graph of ``source``, with external data inside.

    Args:
        source: A file, or a folder with one file that ends in ``.onnx``.
        origin: Path that a person knows it by, named in errors; by default that of ``source``.

    Raises:
        ExportError: It is missing, truncated, no ONNX, too large, or its external data is missing or outside of it.
    """
    path = find_file(source, origin)
    shown = Path(origin or source) / path.relative_to(source)
    payload = _payload(path, shown)
    _refuse_other_formats(shown, payload)
    model = _parsed(shown, payload)
    _inline_external_data(model, path.parent, shown, len(payload))
    return model


def find_file(source: Path, origin: str = "") -> Path:
    """The ONNX file that ``source`` is or has; ``origin`` as for :func:`read_model`.

    Raises:
        ExportError: There is none, or more than one.
    """
    if source.is_file():
        return source
    if not source.is_dir():
        raise ExportError(
            f"no {source}",
            needed="an ONNX file, or a folder with one",
            fix=f"ls {shlex.quote(str(source.parent))}   # shows what is there",
        )
    shown = origin or str(source)
    found = sorted(path for path in source.rglob("*.onnx") if path.is_file())
    if len(found) != 1:
        names = f": {listed(str(path.relative_to(source)) for path in found)}" if found else ""
        raise ExportError(
            escaped(f"{shown} has {plural(len(found), 'file')} ending in .onnx{names}"),
            needed="exactly one, with its external data beside it",
            fix=f"ls -R {shlex.quote(shown)}   # then name one of them, or give it a folder of its own",
        )
    return found[0]


def _payload(path: Path, shown: Path) -> bytes:
    if (size := path.stat().st_size) > BYTES_MAX:
        raise ExportError(
            f"{shown} has {size} bytes",
            needed=f"at most {BYTES_MAX} bytes (2 GB), the limit of one ONNX file",
            fix="prune the network, or export a smaller one: no engine of a robot is this large",
        )
    return path.read_bytes()


def _refuse_other_formats(path: Path, payload: bytes) -> None:
    if what := _format_of(payload):
        kind, fix = what
        raise ExportError(f"{path} is {kind}, not an ONNX file", needed="an ONNX file", fix=fix)


def _format_of(payload: bytes) -> tuple[str, str] | None:
    """What a file is by its first bytes, and the fix; None where it may be ONNX."""
    if not payload:
        return "empty", "copy or download the file again"
    if payload[:1] == b"\x80" and payload[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle", _EXPORT
    if payload[4:8] == b"TFL3":
        return "a TensorFlow Lite file", "python -m tf2onnx.convert --opset 17 --tflite FILE --output NAME.onnx"
    if payload[8:9] == b"{" and payload[5:8] == b"\0\0\0":
        return "a safetensors file, which has weights and no graph", _EXPORT
    return next(((kind, fix) for start, kind, fix in _SIGNATURES if payload.startswith(start)), None)


def _parsed(path: Path, payload: bytes) -> ModelProto:
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(payload)
    except Exception:  # the library of protobuf that onnx has chosen has its own class for it
        raise ExportError(
            f"{path} ({plural(len(payload), 'byte')}) is truncated, damaged, or not an ONNX file",
            needed="a complete ONNX file",
            fix=f"copy or download it again, compare its size, then: {added(str(path))}",
        ) from None
    if not model.HasField("graph") or not model.graph.node:
        raise ExportError(
            f"{path} has no {'nodes in its graph' if model.HasField('graph') else 'graph'}",
            needed="an ONNX file of a network",
            fix=_EXPORT,
        )
    if not _is_text(model):
        raise ExportError(
            f"{path} has names that are no UTF-8: it is damaged",
            needed="a complete ONNX file",
            fix=f"copy or download it again, compare its size, then: {added(str(path))}",
        )
    return model


def _is_text(message: Any) -> bool:
    """Whether every text in ``message`` is UTF-8: protobuf decodes it when it is read."""
    pending = [message]
    try:
        while pending:
            for field, value in pending.pop().ListFields():
                if field.message_type is not None:
                    pending += value if field.is_repeated else [value]
    except UnicodeDecodeError:
        return False
    return True


def tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    """Every constant of ``graph``: initializers, attributes of nodes, and those of inner graphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from tensors_of(inner)


def _inline_external_data(model: ModelProto, folder: Path, shown: Path, size: int) -> None:
    from onnx import TensorProto

    external = [tensor for tensor in tensors_of(model.graph) if tensor.data_location == TensorProto.EXTERNAL]
    problems, total = [], size
    for tensor in external:
        try:
            total += _inline(tensor, folder, BYTES_MAX - total)
        except ValueError as error:
            problems.append(f"tensor {tensor.name!r}: {error}")
    if problems:
        raise refused(
            str(shown),
            problems,
            needed="external data in the folder of the ONNX file, all of it below 2 GB",
            fix=f"{_one_file(shown)}   # where the data is; or add the folder with both: {added(str(shown.parent))}",
        )


def _one_file(shown: Path) -> str:
    """A command that writes the tensors into the file, and adds it."""
    file = repr(str(shown))
    code = f"import onnx; onnx.save(onnx.load({file}), {file})"
    return f"python -c {shlex.quote(code)} && {added(str(shown))}"


def _inline(tensor: TensorProto, folder: Path, limit: int) -> int:
    """Read the external data of ``tensor``; return its size in bytes. Raises ValueError with what is wrong."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = _inside(folder, entries.get("location", ""))
    offset, length = (_number(entries, key) for key in ("offset", "length"))
    available = file.stat().st_size - (offset or 0)
    length = available if length is None else length
    if length > limit:
        raise ValueError(f"{length} bytes in {file.name} exceed the limit of 2 GB")
    if length > available:
        raise ValueError(f"needs {length} bytes of {file.name} from byte {offset or 0}, which has {max(0, available)}")
    with file.open("rb") as stream:
        stream.seek(offset or 0)
        tensor.raw_data = stream.read(length)
    del tensor.external_data[:]
    tensor.ClearField("data_location")
    return length


def _inside(folder: Path, location: str) -> Path:
    parts = PurePosixPath(location.replace("\\", "/"))
    if not location or "\0" in location or parts.is_absolute() or ".." in parts.parts or ":" in location:
        raise ValueError(f"its data is at {location!r}, outside the folder of the ONNX file")
    path = folder / parts
    if not path.is_file():
        raise ValueError(f"its data is in another file, {location!r}, which is missing")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"its data is at {location!r}, a link out of the folder of the ONNX file")
    return path


def _number(entries: dict[str, str], key: str) -> int | None:
    value = entries.get(key)
    if value is None:
        return None
    if not value.isdecimal() or len(value) > 19:
        raise ValueError(f"{key} of its external data is {value!r}")
    return int(value)
