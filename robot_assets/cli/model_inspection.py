"""``robot-assets model inspect``: an ONNX file that was trained elsewhere, before it is imported."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli.console import JsonOption, answer, console
from robot_assets.core.extras import require
from robot_assets.core.text import escaped, listed, plural
from robot_assets.pipeline.names import NAME
from robot_assets.tasks.detection.decoders.coco import COCO

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = 8
_MB = 1e6


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX file, or a folder with one.")],
    height: Annotated[int | None, typer.Option(min=8, help="Of the input, where the graph leaves it open.")] = None,
    width: Annotated[int | None, typer.Option(min=8, help="Of the input, where the graph leaves it open.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an ONNX file has, what its import changes, and which decoders fit its outputs.

    Nothing of the file is executed but the folding of its constants.

    Example: robot-assets model inspect yolo.onnx
    """
    require("onnx")
    require("onnxruntime")
    from robot_assets.foreign.inspection import inspect_onnx

    data = inspect_onnx(file, height, width)
    answer(data, as_json, lambda: _print(data, file))


def _print(data: dict[str, Any], file: Path) -> None:
    console().print(_table(data))
    for title, lines in (("changes", data["changes"]), ("problems", data["problems"])):
        if lines:
            _line(f"\n{title}:")
            for line in lines[:_SHOWN]:
                _line(f"  {line}")
            if len(lines) > _SHOWN:
                _line(f"  and {len(lines) - _SHOWN} more; --json has all")
    remark = f"; {data['remark']}" if data["remark"] else ""
    unknown = f"no decoder is known for these outputs (docs/decoders.md){remark}"
    _line("\nin params.yaml:" if data["decoders"] else f"\n{unknown}")
    for line in _entry(data, file) if data["decoders"] else ():
        _line(f"  {line}")


def _line(text: str) -> None:
    console().print(escaped(text), markup=False, highlight=False, soft_wrap=True)


def _table(data: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _rows(data):
        table.add_row(name, Text(escaped(text)))
    return table


def _rows(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    sets = ", ".join(f"{name} {version}" for name, version in data["opset"].items())
    origin = f", from {data['producer']}" if data["producer"] else ""
    yield "file", f"{data['file']}: {data['size_bytes'] / _MB:.1f} MB, {sets}, IR {data['ir_version']}{origin}"
    yield "input", f"{data['input']['name']} {_shape(data['input']['shape'])} float32"
    for name, value in data["outputs"].items():
        yield "output", f"{name} {_shape(value['shape'])} {value['type']}"
    counts = sorted(data["nodes"].items(), key=lambda one: -one[1])
    yield "nodes", listed((f"{count} {name}" for name, count in counts), _SHOWN)
    yield "weights", plural(data["parameters"], "value")
    yield "int8", _precision(data)
    for name, reason in list(data["float_layers"].items())[:_SHOWN]:
        yield "float", f"{name}: {reason}"
    for one in data["decoders"]:
        yield "decoder", f"{one['decoder']} ({one['task']}): {one['reason']}"


def _precision(data: dict[str, Any]) -> str:
    if data["is_quantized"]:
        return "quantized already (Q/DQ nodes), taken as it is"
    layers = plural(data["quantized_layers"], "layer")
    left = f"; {len(data['float_layers'])} stay in float" if data["float_layers"] else ""
    return f"PTQ quantizes {layers}{left}"


def _shape(shape: list[Any]) -> str:
    return f"({', '.join(map(str, shape))})"


def _entry(data: dict[str, Any], file: Path) -> Iterator[str]:
    """The entry of params.yaml with the decoder that fits best; capitals are to be filled in."""
    best = data["decoders"][0]
    options = _options(best, data["labels"])
    yield "models:"
    yield f"  {_name(file)}:"
    yield f"    task: {best['task']}"
    yield f"    dataset: DATASET{_classes(best, options)}"
    yield "    targets: [TARGET]"
    yield "    source:"
    yield "      kind: onnx"
    yield f"      pointer: {file}.dvc   # dvc add {shlex.quote(str(file))}"
    yield f"      decoder: {best['decoder']}"
    if options:
        yield f"      options: {_mapping(options)}"
    given = next(iter(data["inputs"].values()))["shape"]
    if not all(isinstance(size, int) for size in given[1:]):
        yield f"      input_height: {data['input']['shape'][2]}"
        yield f"      input_width: {data['input']['shape'][3]}"
    yield "      licence: LICENCE"
    yield "      trained_on: DATA, CODE, URL"
    usual = {"channels": "rgb", "mean": [0, 0, 0], "std": [1, 1, 1], "fit": "letterbox", **best["input"]}
    yield f"    input: {_mapping(usual)}   # as in its training"


def _name(file: Path) -> str:
    """A name for the model, after its file."""
    name = re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_")
    return name if re.fullmatch(NAME, name) else "NAME"


def _classes(best: dict[str, Any], options: dict[str, Any]) -> str:
    if "labels" in options:
        return "   # its classes are among the labels"
    return f"   # of {plural(best['classes'], 'class', 'classes')}" if best["classes"] else ""


def _options(best: dict[str, Any], labels: Sequence[str] | None) -> dict[str, Any]:
    """Options of a decoder, with the names of the classes where the file has them."""
    if best["task"] != "detection" or labels is None or best["classes"] not in (None, len(labels)):
        return dict(best["options"])
    return {"labels": next((name for name, of in COCO.items() if of == tuple(labels)), list(labels)), **best["options"]}


def _mapping(values: Mapping[str, Any]) -> str:
    return f"{{{', '.join(f'{key}: {_yaml(value)}' for key, value in values.items())}}}"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and value.isidentifier() else json.dumps(value, ensure_ascii=False)
