"""Compares two engines, or an engine and an ONNX: heads, latency, accuracy, layers, manifests. Needs no torch."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import EngineError
from robot_assets.core.text import plural
from robot_assets.engines.benchmark import Latencies, interleave
from robot_assets.engines.load import load_engine
from robot_assets.engines.onnx_artifact import MODEL
from robot_assets.engines.registry import engine_kind
from robot_assets.export.parity import Parity, parity_of
from robot_assets.platforms.memory import MIB
from robot_assets.runtime.decoding import load_decoder
from robot_assets.runtime.manifest import MANIFEST, Layer, Manifest

if TYPE_CHECKING:
    from robot_assets.data.packed import PackedSplit
    from robot_assets.engines.kind import Infer
    from robot_assets.tasks.interface import Interface
    from robot_assets.tasks.metrics import Metrics

Floats = NDArray[np.float32]
GRAPH = "onnx"
"""Kind of a side that is not an engine."""

IMAGES = 16
"""Images that the heads are compared on."""

_NOT_COMPARED = frozenset({"kernels", "layers", "interface", "platform", "bindings", "engine_size_bytes"})
"""Keys of a manifest that another part of a comparison covers; ``platform`` is compared value by value."""

_MAY_DIFFER = {"decoder", "options"}
"""Keys of an interface that do not change the heads."""


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: As the caller named it.
        kind: Engine kind, or :data:`GRAPH` for an ONNX.
        size_mib: Size of its file.
        layers: In the order they run.
        manifest: None for an ONNX.
        latencies: None for a side that cannot be timed beside the first one.
        metrics: On the test split; None without a data set.
    """

    name: str
    kind: str
    size_mib: float
    layers: tuple[Layer, ...]
    manifest: Manifest | None
    latencies: Latencies | None
    metrics: Metrics | None

    def as_json(self) -> dict[str, Any]:
        """Plain data, without keys for unknown values."""
        counts = Counter(layer.arithmetic for layer in self.layers)
        found = {
            "name": self.name,
            "kind": self.kind,
            "size_mib": round(self.size_mib, 3),
            **({self.metrics.metric.key: round(self.metrics.score, 6)} if self.metrics else {}),
            "layers": {name: counts[name] for name in sorted(counts)},
            "latency": self.latencies.as_json() if self.latencies else None,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class EngineComparison:
    """Two sides and their differences.

    Attributes:
        first: An engine.
        second: Another engine, or an ONNX.
        parity: Differences between their heads.
        compared_on: The images of ``parity``, in words.
        manifest_differences: Key -> value of each side; None where a side has no such key.
        layer_differences: Name of a layer -> its kind and arithmetic on each side; None where a side has no such layer.
    """

    first: Side
    second: Side
    parity: Parity
    compared_on: str
    manifest_differences: dict[str, tuple[Any, Any]]
    layer_differences: dict[str, tuple[str | None, str | None]]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "first": self.first.as_json(),
            "second": self.second.as_json(),
            "parity": {**self.parity.as_json(), "compared_on": self.compared_on},
            "manifest_differences": {name: list(pair) for name, pair in self.manifest_differences.items()},
            "layer_differences": {name: list(pair) for name, pair in self.layer_differences.items()},
        }


@dataclass(frozen=True)
class _Opened:
    """A loaded side.

    Attributes:
        kind: As of :class:`Side`.
        file: The engine or the graph.
        interface: Its input and its heads.
        infer: Gives the heads that are compared.
        timed: Is timed; None where its latency is not comparable. For an ONNX another session than ``infer``.
        layers: In the order they run.
        manifest: None for an ONNX.
    """

    kind: str
    file: Path
    interface: Interface
    infer: Infer
    timed: Infer | None
    layers: tuple[Layer, ...]
    manifest: Manifest | None = None


def compare_engines(first: Path, second: Path, dataset: Path | None = None, inferences: int = 200) -> EngineComparison:
    """Run two engines, or an engine and an ONNX, on the same images, and time them alternately.

    The heads of an ONNX are computed without graph optimizations; it is timed with all of them.

    Args:
        first: Directory of an engine.
        second: Directory of an engine or of an ONNX artifact, or an ONNX file.
        dataset: A packed data set: heads are compared on images of its test split, and both are scored.
        inferences: Timed inferences of each.

    Raises:
        EngineError: One of them does not load, their inputs, heads or classes differ, or the decoder of an engine is
            not the one here.
        DataError: The data set is incomplete.
    """
    with ExitStack() as stack:
        ours = _open_engine(first, stack)
        theirs = _open_engine(second, stack) if (second / MANIFEST).is_file() else _open_graph(second, ours)
        _refuse_other_interface(first, ours, second, theirs)
        split = _test_split(dataset)
        images = _images(split, ours.interface)
        parity = parity_of(((ours.infer(one), theirs.infer(one)) for one in images), ours.interface.heads)
        latencies = _latencies(ours, theirs, images[0], inferences)
        return EngineComparison(
            first=_side(first, ours, latencies.get("first"), split),
            second=_side(second, theirs, latencies.get("second"), split),
            parity=parity,
            compared_on=f"{plural(len(images), 'image')} of {'the test split' if split else 'noise'}",
            manifest_differences=_manifest_differences(ours.manifest, theirs.manifest),
            layer_differences=_layer_differences(ours.layers, theirs.layers),
        )


def _side(path: Path, opened: _Opened, latencies: Latencies | None, split: PackedSplit | None) -> Side:
    return Side(
        name=str(path),
        kind=opened.kind,
        size_mib=opened.file.stat().st_size / MIB,
        layers=opened.layers,
        manifest=opened.manifest,
        latencies=latencies,
        metrics=_metrics(opened, split),
    )


def _open_engine(path: Path, stack: ExitStack) -> _Opened:
    engine = stack.enter_context(load_engine(path))
    manifest = engine.manifest
    return _Opened(
        kind=manifest.kind,
        file=path / manifest.engine_file,
        interface=manifest.interface,
        infer=engine.infer,
        timed=engine.infer,
        layers=engine_kind(manifest.kind).layers(path, manifest),
        manifest=manifest,
    )


def _open_graph(path: Path, engine: _Opened) -> _Opened:
    """Open an ONNX beside an engine. ONNX Runtime computes its heads, whatever the engine runs in."""
    from robot_assets.engines.onnxruntime.layers import optimized_layers
    from robot_assets.export.parity import plain_session, runner

    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise EngineError(
            f"{path} is neither an engine nor an ONNX",
            needed="the directory of an engine, which has a manifest.json, an ONNX artifact, or an ONNX file",
            fix="name an asset such as sidewalk_detector/onnx, or a file",
        )
    layers = optimized_layers(file)  # first: its error names a file that is not a graph
    plain = plain_session(file)
    _refuse_other_graph(file, plain, engine.interface)
    load_float = engine_kind(engine.kind).load_float
    return _Opened(
        kind=GRAPH,
        file=file,
        interface=engine.interface,
        infer=runner(plain, engine.interface),
        timed=load_float(file, engine.manifest) if load_float else None,
        layers=layers,
    )


def _refuse_other_graph(file: Path, session: Any, interface: Interface) -> None:
    found = {one.name: tuple(one.shape) for one in (*session.get_inputs(), *session.get_outputs())}
    needed = {interface.input.name: interface.input.shape, **{head.name: head.shape for head in interface.heads}}
    if not needed.items() <= found.items():
        raise EngineError(
            f"{file} has inputs and outputs {_shapes(found)}",
            needed=f"those of the engine: {_shapes(needed)}",
            fix="compare the engine with the ONNX of its own model",
        )


def _shapes(tensors: dict[str, tuple[Any, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in tensors.items())


def _refuse_other_interface(first: Path, ours: _Opened, second: Path, theirs: _Opened) -> None:
    one, other = (side.interface.model_dump(exclude=_MAY_DIFFER) for side in (ours, theirs))
    if differing := [name for name in one if one[name] != other[name]]:
        raise EngineError(
            f"the interfaces of {first} and {second} differ in {' and '.join(differing)}",
            needed="two engines of the same task, classes, input and heads",
            fix=f"robot-assets engine inspect {shlex.quote(str(first))}   # and {shlex.quote(str(second))}",
        )


def _test_split(dataset: Path | None) -> PackedSplit | None:
    if dataset is None:
        return None
    from robot_assets.data.packed import open_split

    return open_split(dataset, "test")


def _images(split: PackedSplit | None, interface: Interface) -> list[Floats]:
    """Images float32 (1, 3, H, W), spread over the split; without a split the noise of random pixels."""
    if split is None:
        from robot_assets.runtime.preprocess import to_input

        shape = (1, interface.input.height, interface.input.width, 3)
        random = [np.random.default_rng(seed).integers(0, 256, shape, np.uint8) for seed in range(IMAGES)]
        return [to_input(pixels, interface.input) for pixels in random]
    from robot_assets.export.parity import read_input

    indices = sorted({int(index) for index in np.linspace(0, len(split) - 1, min(IMAGES, len(split)))})
    return [read_input(split, index, interface.input) for index in indices]


def _latencies(ours: _Opened, theirs: _Opened, images: Floats, inferences: int) -> dict[str, Latencies]:
    """Latencies of both where they are comparable, else of the first; alternately: load of the machine affects both."""
    calls: dict[str, Callable[[], object]] = {}
    for name, side in (("first", ours), ("second", theirs)):
        if (infer := side.timed) and side.kind in (ours.kind, GRAPH):
            calls[name] = lambda infer=infer: infer(images)  # type: ignore[misc]
    return interleave(calls, inferences, warmup=20)


def _metrics(side: _Opened, split: PackedSplit | None) -> Metrics | None:
    if split is None:
        return None
    from robot_assets.training.evaluate import evaluate

    if side.manifest is not None:
        load_decoder(side.interface, side.manifest.decoder_code)  # refuses another one than that of the engine
    return evaluate(side.infer, split, side.interface)


def _manifest_differences(ours: Manifest | None, theirs: Manifest | None) -> dict[str, tuple[Any, Any]]:
    if ours is None or theirs is None:
        return {}
    first, second = dict(_flat(ours)), dict(_flat(theirs))
    return {
        name: (first.get(name), second.get(name))
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    }


def _flat(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    document = manifest.model_dump(mode="json")
    yield from ((name, value) for name, value in document.items() if name not in _NOT_COMPARED)
    yield from ((f"platform.{name}", value) for name, value in document["platform"].items())


def _layer_differences(ours: tuple[Layer, ...], theirs: tuple[Layer, ...]) -> dict[str, tuple[str | None, str | None]]:
    """Layers by name: another kind or arithmetic, or only in one of them."""
    first, second = (dict(_numbered(side)) for side in (ours, theirs))
    names = dict.fromkeys([*first, *second])
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}


def _numbered(layers: tuple[Layer, ...]) -> Iterator[tuple[str, str]]:
    """Name -> what it is; further layers of one name are numbered."""
    seen: Counter[str] = Counter()
    for layer in layers:
        seen[layer.name] += 1
        count = seen[layer.name]
        yield f"{layer.name} ({count})" if count > 1 else layer.name, f"{layer.kind} {layer.arithmetic}"
