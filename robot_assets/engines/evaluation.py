"""Evaluates an engine on its device: one pass over the test split, by which all its gates are judged. Needs no torch.

While the engine runs, threads on cores that it leaves free prepare the next images and decode the last heads, so that
the pass takes little longer than its inferences. The detections are scored while the engine computes the heads for
parity; these inferences are not timed, since scoring holds the GIL for tens of milliseconds. An engine that takes all
cores runs alone, since helpers would add to its latencies.
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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.progress import report
from robot_assets.data.packed import PackedSplit, open_split
from robot_assets.engines.benchmark import Latencies
from robot_assets.engines.helper_pool import HelperPool
from robot_assets.engines.load import load_engine
from robot_assets.engines.parity import Parity, Recorded, parity_of, read_recorded
from robot_assets.engines.quiet_interpreter import quiet_interpreter
from robot_assets.platforms.memory import Growth, MemoryMeter
from robot_assets.platforms.meters import Meters, Telemetry
from robot_assets.platforms.probe import probe
from robot_assets.runtime.manifest import Manifest
from robot_assets.runtime.preprocess import Letterboxed, letterbox
from robot_assets.tasks.detection.decode import Detections, decode

if TYPE_CHECKING:
    from robot_assets.runtime.engine import Engine
    from robot_assets.tasks.detection.spec import NetworkSpec
    from robot_assets.training.evaluate import DetectionMetrics

WARMUP = 20
"""Inferences that do not count as latencies. They count for everything else: their heads are the same."""

INFERENCES_MIN = 100
"""Fewest latencies of an evaluation. A smaller split is run several times."""

HELPERS_MAX = 2
_CHUNK = 4
_CHUNKS_AHEAD = 6

Floats = NDArray[np.float32]
_Piece = tuple[PackedSplit, range]
_Prepared = tuple[list[Letterboxed], list[Floats]]
"""Letterboxed images, and the inputs of the engine."""


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
    metrics: DetectionMetrics | None


def evaluate_engine(
    engine: Path, dataset: Path, onnx: Path | None = None, *, is_scored: bool = True, helpers: int | None = None
) -> Evaluation:
    """Run an engine over the test split of a data set.

    Args:
        engine: Directory of the engine.
        dataset: A packed data set.
        onnx: The ONNX artifact that the engine was built from: its recorded heads are compared with the engine's.
        is_scored: Whether to compute mAP.
        helpers: Threads beside those of the engine; by default the cores that it leaves free, at most two.

    Raises:
        EngineError: The engine does not load or does not run.
        ExportError: The ONNX artifact is incomplete.
        DataError: The data set is incomplete.
    """
    split = open_split(dataset, "test")
    with quiet_interpreter():
        loaded, load_s, memory = _load(engine)
        manifest = loaded.manifest
        with loaded:
            recorded = read_recorded(onnx, manifest.network) if onnx is not None else None
            val = PackedSplit(dataset / "val", recorded.indices) if recorded else None
            helpers = _free_cores(manifest) if helpers is None else helpers
            with HelperPool(helpers) as pool:
                with Meters(gpu=manifest.uses_gpu) as meters:
                    milliseconds, heads, scoring = _run(loaded, split, val, pool, is_scored)
                metrics = pool.wait(scoring) if scoring else None
    return Evaluation(
        manifest=manifest,
        load_s=load_s,
        memory=memory,
        latencies=Latencies(tuple(milliseconds[WARMUP:])),
        warmup=WARMUP,
        helpers=helpers,
        telemetry=meters.telemetry(),
        parity=_parity(heads, recorded, manifest.network),
        metrics=metrics,
    )


def to_input(image: NDArray[np.uint8]) -> Floats:
    """Convert an image uint8 (H, W, 3) RGB to float32 (1, 3, H, W) RGB in [0, 1].

    Bit for bit ``robot_assets.runtime.preprocess.to_input`` of one image, in a third of the time.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))[None]
    return np.multiply(planes, np.float32(1 / 255), dtype=np.float32)


def _load(engine: Path) -> tuple[Engine, float, Growth]:
    probe()  # imports the runtime, which the process shares between all its engines
    with MemoryMeter() as memory:
        started = time.perf_counter()
        loaded = load_engine(engine)
        load_s = time.perf_counter() - started
        loaded.infer(np.zeros(loaded.manifest.input.shape, np.float32))
    return loaded, load_s, memory.growth


def _run(
    engine: Engine, split: PackedSplit, val: PackedSplit | None, pool: HelperPool, is_scored: bool
) -> tuple[list[float], list[list[Floats]], Future[DetectionMetrics] | None]:
    """Run the timed images of ``split``, then those of ``val``.

    Returns:
        Milliseconds of each timed inference, heads of each image of ``val``, and the metrics to come if scored.
    """
    timed, compared = _timed(split), _pieces(val) if val else []
    prepared = _prepared([*timed, *compared], engine.manifest.network, pool)
    scored = len(_pieces(split)) if is_scored else 0
    milliseconds, found = _time(engine, prepared, len(timed), pool, scored)
    scoring = pool.submit(_score, found, split) if is_scored else None
    heads = [engine.infer(images) for _, inputs in prepared for images in inputs]
    return milliseconds, heads, scoring


def _time(
    engine: Engine, prepared: Iterator[_Prepared], pieces: int, pool: HelperPool, scored: int
) -> tuple[list[float], list[Future[list[Detections]]]]:
    """Run the first ``pieces`` of ``prepared`` through the engine.

    Returns:
        Milliseconds of each inference, and the detections in the first ``scored`` pieces.
    """
    milliseconds: list[float] = []
    found: list[Future[list[Detections]]] = []

    def infer(images: Floats) -> list[Floats]:
        started = time.perf_counter()
        heads = engine.infer(images)
        milliseconds.append(1e3 * (time.perf_counter() - started))
        return heads

    for number, (boxed, inputs) in enumerate(islice(prepared, pieces), start=1):
        heads = [infer(images) for images in inputs]
        if number <= scored:
            found.append(pool.submit(_decoded, heads, boxed, engine.manifest.network))
        report("gate", number, pieces)
    return milliseconds, found


def _timed(split: PackedSplit) -> list[_Piece]:
    """Every image, several times if there are too few for the latencies."""
    passes = math.ceil((WARMUP + INFERENCES_MIN) / max(1, len(split)))
    return _pieces(split) * passes


def _pieces(split: PackedSplit) -> list[_Piece]:
    return [(split, range(start, min(start + _CHUNK, len(split)))) for start in range(0, len(split), _CHUNK)]


def _prepared(pieces: Sequence[_Piece], network: NetworkSpec, pool: HelperPool) -> Iterator[_Prepared]:
    """The images piece by piece, prepared some pieces ahead."""
    rest = iter(pieces)
    ahead = deque(pool.submit(_prepare, *piece, network) for piece in islice(rest, _CHUNKS_AHEAD))
    while ahead:
        ready = pool.wait(ahead.popleft())
        ahead += (pool.submit(_prepare, *piece, network) for piece in islice(rest, 1))
        yield ready


def _prepare(split: PackedSplit, indices: range, network: NetworkSpec) -> _Prepared:
    boxed = [letterbox(split.image(index), network.input_height, network.input_width) for index in indices]
    return boxed, [to_input(one.image) for one in boxed]


def _decoded(heads: Sequence[Sequence[Floats]], boxed: Sequence[Letterboxed], network: NetworkSpec) -> list[Detections]:
    together = [np.concatenate(parts) for parts in zip(*heads, strict=True)]
    return [one.in_image(where) for one, where in zip(decode(together, network), boxed, strict=True)]


def _score(found: Sequence[Future[list[Detections]]], split: PackedSplit) -> DetectionMetrics:
    """Score the detections. Tasks run in order, so that all of ``found`` are done or running when this one starts."""
    from robot_assets.training.evaluate import score

    each = [one for future in found for one in future.result()]
    return score(each, split.coco(), split.image_ids, split.classes)


def _parity(heads: Sequence[Sequence[Floats]], recorded: Recorded | None, network: NetworkSpec) -> Parity | None:
    return parity_of(list(zip(heads, recorded.heads, strict=True)), network) if recorded else None


def _free_cores(manifest: Manifest) -> int:
    return max(0, min(HELPERS_MAX, len(os.sched_getaffinity(0)) - manifest.cpu_threads))
