"""``robot-assets engine inspect`` and ``compare``: the properties of an engine, and the differences between two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console, progress_bars
from robot_assets.cli.engine import EngineArgument, open_artifact, open_engine
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import escaped
from robot_assets.pipeline.project import project_here

if TYPE_CHECKING:
    from rich.table import Table

    from robot_assets.engines.comparison import EngineComparison
    from robot_assets.tasks.metrics import Metrics

_ARITHMETICS = {
    "int8": "int8",
    "float16": "float16",
    "float32": "float32",
    "dla": "DLA",
    "data_movement": "moving data",
}
_SHOWN_LAYERS = 12


def inspect(
    engine: EngineArgument,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer with its arithmetic.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where an engine runs, its inputs and outputs, its layers, and who signed it.

    The engine is not run, so that any device can inspect an engine for another device.

    Example: robot-assets engine inspect sidewalk_detector/engine/cpu --layers
    """
    from robot_assets.engines.inspection import describe_engine

    folder = open_engine(engine)
    data = {**describe_engine(folder, with_layers=layers), **_signed_lineage(folder)}
    answer(data, as_json, lambda: _print_description(data))


def compare(
    engine: EngineArgument,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER",
            help="Another engine, an ONNX asset such as MODEL/onnx, or an ONNX file.",
            autocompletion=completion.assets,
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATASET",
            help="A packed data set or its asset: adds the accuracy on its test split.",
            autocompletion=completion.assets,
        ),
    ] = None,
    inferences: Annotated[int, typer.Option(min=10, help="Timed inferences of each.")] = 200,
    as_json: JsonOption = False,
) -> None:
    """Compare an engine with another, or with an ONNX: outputs, latency, accuracy, layers and manifest.

    The outputs of an ONNX are those without graph optimizations; it is timed with all of them.

    Example: robot-assets engine compare sidewalk_detector/engine/cpu sidewalk_detector/onnx --data datasets/sidewalk
    """
    from robot_assets.engines.comparison import compare_engines

    first, second = open_engine(engine), open_artifact(other)
    with progress_bars():
        found = compare_engines(first, second, open_artifact(dataset) if dataset else None, inferences)
    data = {**found.as_json(), "names": [engine, other]}
    answer(data, as_json, lambda: _print_comparison(found, engine, other))


def _signed_lineage(engine: Path) -> dict[str, Any]:
    """What trusted keys have signed about the engine; nothing on a robot, and where there is no key or no store."""
    from robot_assets.provenance.signed_lineage import signed_lineage

    project = project_here()
    if project is None:
        return {}
    try:
        lineage = signed_lineage(engine, project.trust(), project.store)
    except RobotAssetsError:  # an engine can be inspected without them
        return {}
    return {"lineage": lineage.as_json()} if lineage else {}


def _print_description(data: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, value in _described(data):
        table.add_row(title, escaped(value))
    console().print(table, highlight=False, markup=False)
    if "layers" in data:
        console().print()
        console().print(_layer_table(data["layers"]), highlight=False)


def _described(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Rows of title and value."""
    manifest = data["manifest"]
    if lineage := data.get("lineage"):
        yield "asset", f"{lineage['asset']}  {lineage['version']}"
        yield "built", f"{lineage['built_at'].replace('T', ' ')[:16]} UTC, run {lineage['run_id'][:8]}, signed"
        yield "gates", _gates(lineage)
    yield "directory", data["directory"]
    yield "files", ", ".join(f"{name} ({_size(size)})" for name, size in data["files"].items())
    yield "kind", " ".join(filter(None, [manifest["kind"], manifest.get("tensorrt")]))
    yield "runs here", "yes" if data["runs_here"] else f"no: {_other_device(manifest['platform'], data['here'])}"
    yield "built for", _platform(manifest["platform"])
    yield "fingerprint", manifest["platform_fingerprint"]
    if "threads" in manifest:
        yield "threads", str(manifest["threads"])
    yield from _interface_rows(manifest["interface"], data["decoder"])
    for arithmetic, title in _ARITHMETICS.items():
        if counts := manifest["kernels"].get(arithmetic):
            yield title, ", ".join(f"{count} {name}" for name, count in counts.items())
    yield "engine md5", manifest["engine_md5"]
    yield "ONNX md5", manifest["onnx_md5"]


def _gates(lineage: Mapping[str, Sequence[str]]) -> str:
    parts = [("passed", "gates_passed"), ("failed", "gates_failed"), ("not evaluated", "gates_open")]
    return "; ".join(f"{word}: {', '.join(lineage[key])}" for word, key in parts if lineage[key]) or "none signed"


def _interface_rows(interface: Mapping[str, Any], decoder: str) -> Iterator[tuple[str, str]]:
    given = interface["input"]
    yield "task", interface["task"]
    yield "classes", ", ".join(interface["classes"])
    yield "input", f"{given['name']} 1x3x{given['height']}x{given['width']}, {_preprocessing(given)}"
    yield "outputs", ", ".join(f"{head['name']} {'x'.join(map(str, head['shape']))}" for head in interface["heads"])
    yield "decoder", f"{interface['decoder']}, {decoder}"


def _preprocessing(given: Mapping[str, Any]) -> str:
    """``RGB in [0, 1], letterbox on grey 114``."""
    plain = given["mean"] == [0, 0, 0] and given["std"] == [1, 1, 1]
    values = "in [0, 1]" if plain else f"less mean {_value(given['mean'])} over std {_value(given['std'])}"
    border = "" if given["fit"] == "stretch" else f" on grey {given['padding']}"
    return f"{given['channels'].upper()} {values}, {given['fit'].replace('_', ' ')}{border}"


def _platform(platform: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in platform.items() if value)


def _other_device(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    differing = [
        f"{name} is {_value(here.get(name))} here, {_value(there.get(name))} there"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    return "; ".join(differing)


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)


def _size(count: int) -> str:
    return f"{count / 2**20:.2f} MiB" if count >= 2**19 else f"{count / 2**10:.1f} KiB"


def _layer_table(layers: Sequence[Mapping[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("layer", overflow="fold")
    table.add_column("kind", no_wrap=True)
    table.add_column("arithmetic", no_wrap=True)
    for number, layer in enumerate(layers, start=1):
        style = {"int8": "green", "dla": "green", "data_movement": "dim"}.get(layer["arithmetic"], "")
        shown = Text(_ARITHMETICS[layer["arithmetic"]], style=style)
        table.add_row(str(number), Text(escaped(layer["name"])), Text(escaped(layer["kind"])), shown)
    return table


def _print_comparison(found: EngineComparison, first: str, second: str) -> None:
    from rich.table import Table
    from rich.text import Text

    console().print(Text.assemble(("first   ", "bold"), escaped(first)), soft_wrap=True)
    console().print(Text.assemble(("second  ", "bold"), escaped(second), "\n"), soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", overflow="fold", max_width=32)
    for name in ("first", "second"):
        table.add_column(name, overflow="fold", max_width=36)
    table.add_column("difference", overflow="fold", min_width=12)
    for row in _rows(found):
        table.add_row(*(Text(escaped(cell)) for cell in row))
    console().print(table, highlight=False)
    parity = found.parity
    console().print(
        f"\n{100 * parity.differing_share:.3f} % of the head values differ on {found.compared_on}; the largest "
        f"difference is {parity.largest_in_words}",
        highlight=False,
        soft_wrap=True,
    )
    if found.second.kind == "onnx" and found.second.latencies is None:
        console().print("The ONNX was not timed: it runs on the CPU, the engine on a GPU.", highlight=False)


def _rows(found: EngineComparison) -> Iterator[tuple[str, str, str, str]]:
    ours, theirs = found.first, found.second
    yield "kind", ours.kind, theirs.kind, ""
    yield "size", f"{ours.size_mib:.2f} MiB", f"{theirs.size_mib:.2f} MiB", _ratio(ours.size_mib, theirs.size_mib)
    if ours.metrics and theirs.metrics:
        yield from _accuracy_rows(ours.metrics, theirs.metrics)
    yield from _latency_rows(found)
    for arithmetic, title in _ARITHMETICS.items():
        one, other = (sum(layer.arithmetic == arithmetic for layer in side.layers) for side in (ours, theirs))
        if one or other:
            yield f"layers: {title}", str(one), str(other), f"{one - other:+d}" if one != other else ""
    for name, (one, other) in found.manifest_differences.items():
        yield name, _value(one), _value(other), ""
    differing = list(found.layer_differences.items())
    if found.first.kind == found.second.kind:  # the names of different compilers have nothing in common
        for name, (mine, other_layer) in differing[:_SHOWN_LAYERS]:
            yield f"layer {name}", _value(mine), _value(other_layer), ""
        if len(differing) > _SHOWN_LAYERS:
            yield "", "", "", f"and {len(differing) - _SHOWN_LAYERS} more layers; --json lists all"


def _accuracy_rows(ours: Metrics, theirs: Metrics) -> Iterator[tuple[str, str, str, str]]:
    """The metric of the task, and of each class whose value differs."""
    metric = ours.metric
    yield _points(f"{metric.name} on test", ours.score, theirs.score)
    for name, one in ours.per_class.items():
        other = theirs.per_class[name]
        if one is not None and other is not None and round(100 * (one - other), 2):
            yield _points(f"{metric.class_name} of {name}", one, other)


def _points(title: str, one: float, other: float) -> tuple[str, str, str, str]:
    return title, f"{100 * one:.2f}", f"{100 * other:.2f}", f"{100 * (one - other):+z.2f} points"


def _latency_rows(found: EngineComparison) -> Iterator[tuple[str, str, str, str]]:
    one, other = found.first.latencies, found.second.latencies
    for name in ("p50", "p95", "p99"):
        first, second = (getattr(side, name) if side else None for side in (one, other))
        shown = [f"{value:.2f} ms" if value is not None else "not timed" for value in (first, second)]
        yield f"latency {name}", shown[0], shown[1], _ratio(first, second) if first and second else ""


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}x the second" if other else ""
