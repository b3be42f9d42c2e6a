"""Evaluates an engine on its device: one pass over the test split, by which all its gates are judged. Needs no torch.

While the engine runs, threads on cores that it leaves free prepare the next images, decode the last heads, and keep of
each prediction what the metric needs, so that the pass takes little longer than its inferences and no map of classes
outlives its image. The metric is computed while the engine gives the heads for parity; these inferences are not timed,
since that holds the GIL for tens of milliseconds. An engine that takes all cores runs alone, since helpers would add to
its latencies.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.progress import report
from robot_assets.data.packed import PackedSplit, open_split
from robot_assets.engines.benchmark import Latencies
from robot_assets.engines.helper_pool import HelperPool
from robot_assets.engines.load import load_engine
from robot_assets.engines.parity import Recorded, read_recorded
from robot_assets.engines.quiet_interpreter import quiet_interpreter
from robot_assets.export.parity import Parity, parity_of
from robot_assets.platforms.memory import Growth, MemoryMeter
from robot_assets.platforms.meters import Meters, Telemetry
from robot_assets.platforms.probe import probe
from robot_assets.runtime.manifest import Manifest
from robot_assets.runtime.preprocess import FittedImage, fitted, to_input
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from robot_assets.runtime.decoding import Decode
    from robot_assets.runtime.engine import Engine
    from robot_assets.tasks.interface import Input, Interface
    from robot_assets.tasks.metrics import Metrics
    from robot_assets.tasks.task import Scorer

WARMUP = 20
"""Inferences that do not count as latencies. They count for everything else: their heads are the same."""

INFERENCES_MIN = 100
"""Fewest latencies of an evaluation. A smaller split is run several times."""

HELPERS_MAX = 2
_CHUNK = 4
_CHUNKS_AHEAD = 6

Floats = NDArray[np.float32]
Heads = list[NDArray[Any]]
_Piece = tuple[PackedSplit, range]
_Prepared = tuple[list[FittedImage], list[Floats]]
"""Images at the size of the input, and the inputs of the engine."""


@dataclass(frozen=True)
class Evaluation:
    """Measurements of one pass.

    Attributes:
        manifest: Of the engine.
        load_s: Seconds to load and verify the engine, without the import of its runtime and its first inference.
        memory: Memory that loading it and its first inference added.
        latencies: After the warm-up.
        warmup: Inferences of the warm-up.
        helpers: Threads beside those of the engine; 0: the engine ran alone.
        telemetry: Power and temperature during the pass.
        parity: None without recorded heads to compare with.
        metrics: On the test split; None unless scored.
    """

    manifest: Manifest
    load_s: float
    memory: Growth
    latencies: Latencies
    warmup: int
    helpers: int
    telemetry: Telemetry
    parity: Parity | None
    metrics: Metrics | None


@dataclass(frozen=True)
class _Scoring:
    """How the predictions of an engine are scored."""

    scorer: Scorer
    decode: Decode
    interface: Interface

    def measured(self, heads: Sequence[Heads], images: Sequence[FittedImage], start: int) -> list[Any]:
        """What the metric needs of some images, the first of which is image ``start`` of the split."""
        together = [np.concatenate(parts) for parts in zip(*heads, strict=True)]
        predictions = self.decode(together, self.interface)
        return [
            self.scorer.measured(index, prediction.in_image(image))
            for index, (prediction, image) in enumerate(zip(predictions, images, strict=True), start)
        ]

    def metrics(self, found: Sequence[Future[list[Any]]]) -> Metrics:
        """Metrics of the split. Tasks run in order: all of ``found`` are done or running when this one starts."""
        return self.scorer.metrics([one for future in found for one in future.result()])


def evaluate_engine(
    engine: Path, dataset: Path, onnx: Path | None = None, *, is_scored: bool = True, helpers: int | None = None
) -> Evaluation:
    """Run an engine over the test split of a data set.

    Args:
        engine: Directory of the engine.
        dataset: A packed data set.
        onnx: The ONNX artifact that the engine was built from: its recorded heads are compared with the engine's.
        is_scored: Whether to compute the metric of its task.
        helpers: Threads beside those of the engine; by default the cores that it leaves free, at most two.

    Raises:
        EngineError: The engine does not load or does not run, or its decoder is not the one here.
        ExportError: The ONNX artifact is incomplete.
        DataError: The data set is incomplete.
    """
    split = open_split(dataset, "test")
    with quiet_interpreter():
        loaded, load_s, memory = _load(engine)
        manifest = loaded.manifest
        with loaded:
            recorded = read_recorded(onnx, manifest.interface) if onnx is not None else None
            val = PackedSplit(dataset / "val", recorded.indices) if recorded else None
            scoring = _scoring(loaded, split) if is_scored else None
            helpers = _free_cores(manifest) if helpers is None else helpers
            with HelperPool(helpers) as pool:
                with Meters(gpu=manifest.uses_gpu) as meters:
                    milliseconds, parity, computing = _run(loaded, split, (val, recorded), pool, scoring)
                metrics = pool.wait(computing) if computing else None
    return Evaluation(
        manifest=manifest,
        load_s=load_s,
        memory=memory,
        latencies=Latencies(tuple(milliseconds[WARMUP:])),
        warmup=WARMUP,
        helpers=helpers,
        telemetry=meters.telemetry(),
        parity=parity,
        metrics=metrics,
    )


def _scoring(engine: Engine, split: PackedSplit) -> _Scoring:
    interface = engine.manifest.interface
    return _Scoring(task_of(interface.task).load_scorer()(split), engine.decode, interface)


def _load(engine: Path) -> tuple[Engine, float, Growth]:
    probe()  # imports the runtime, which the process shares between all its engines
    with MemoryMeter() as memory:
        started = time.perf_counter()
        loaded = load_engine(engine)
        load_s = time.perf_counter() - started
        loaded.infer(np.zeros(loaded.manifest.input.shape, np.float32))
    return loaded, load_s, memory.growth


_Compared = tuple[PackedSplit | None, Recorded | None]


def _run(
    engine: Engine, split: PackedSplit, compared: _Compared, pool: HelperPool, scoring: _Scoring | None
) -> tuple[list[float], Parity | None, Future[Metrics] | None]:
    """Run the timed images of ``split``, then those of val that have recorded heads.

    Returns:
        Milliseconds of each timed inference, the parity, and the metrics to come if scored.
    """
    val, recorded = compared
    interface = engine.manifest.interface
    timed = _timed(split)
    prepared = _prepared([*timed, *(_pieces(val) if val else [])], interface.input, pool)
    milliseconds, found = _time(engine, prepared, len(timed), pool, (scoring, len(_pieces(split))))
    computing = pool.submit(scoring.metrics, found) if scoring else None
    heads = (engine.infer(images) for _, inputs in prepared for images in inputs)
    parity = parity_of(zip(heads, recorded.heads, strict=True), interface.heads) if recorded else None
    return milliseconds, parity, computing


def _time(
    engine: Engine, prepared: Iterator[_Prepared], pieces: int, pool: HelperPool, scored: tuple[_Scoring | None, int]
) -> tuple[list[float], list[Future[list[Any]]]]:
    """Run the first ``pieces`` of ``prepared`` through the engine.

    Returns:
        Milliseconds of each inference, and what the metric needs of the first pieces, as many as ``scored`` says.
    """
    milliseconds: list[float] = []
    found: list[Future[list[Any]]] = []
    scoring, count = scored

    def infer(images: Floats) -> Heads:
        started = time.perf_counter()
        heads = engine.infer(images)
        milliseconds.append(1e3 * (time.perf_counter() - started))
        return heads

    for number, (images, inputs) in enumerate(islice(prepared, pieces)):
        heads = [infer(one) for one in inputs]
        if scoring and number < count:
            found.append(pool.submit(scoring.measured, heads, images, number * _CHUNK))
        report("gate", number + 1, pieces)
    return milliseconds, found


def _timed(split: PackedSplit) -> list[_Piece]:
    """Every image, several times if there are too few for the latencies."""
    passes = math.ceil((WARMUP + INFERENCES_MIN) / max(1, len(split)))
    return _pieces(split) * passes


def _pieces(split: PackedSplit) -> list[_Piece]:
    return [(split, range(start, min(start + _CHUNK, len(split)))) for start in range(0, len(split), _CHUNK)]


def _prepared(pieces: Sequence[_Piece], input: Input, pool: HelperPool) -> Iterator[_Prepared]:
    """The images piece by piece, prepared some pieces ahead."""
    rest = iter(pieces)
    ahead = deque(pool.submit(_prepare, *piece, input) for piece in islice(rest, _CHUNKS_AHEAD))
    while ahead:
        ready = pool.wait(ahead.popleft())
        ahead += (pool.submit(_prepare, *piece, input) for piece in islice(rest, 1))
        yield ready


def _prepare(split: PackedSplit, indices: range, input: Input) -> _Prepared:
    images = [fitted(split.image(index), input) for index in indices]
    return images, [to_input([one.image], input) for one in images]


def _free_cores(manifest: Manifest) -> int:
    return max(0, min(HELPERS_MAX, len(os.sched_getaffinity(0)) - manifest.cpu_threads))
