"""One trial of an engine on its device: one pass over the test split that all its gates are judged by. Needs no torch.

While the engine runs, threads on cores that the engine leaves free unpack the images to come and decode the heads that
are there, so that the pass takes little longer than its inferences. What was found is scored while the engine answers
the images that parity is judged by; these inferences are not timed, since scoring keeps the interpreter to itself for
tens of milliseconds. An engine that takes all cores runs alone: its latencies would suffer.
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
from robot_assets.engines.helper_pool import Crew
from robot_assets.engines.load import load_engine
from robot_assets.engines.parity import Parity, parity_of, read_recorded
from robot_assets.engines.quiet_interpreter import undisturbed
from robot_assets.models.decode import Detections, decode
from robot_assets.platforms.memory import Growth, MemoryMeter
from robot_assets.platforms.meters import Meters, Telemetry
from robot_assets.platforms.probe import probe
from robot_assets.runtime.manifest import Manifest
from robot_assets.runtime.preprocess import Letterboxed, letterbox

if TYPE_CHECKING:
    from robot_assets.models.spec import NetworkSpec
    from robot_assets.runtime.engine import Engine
    from robot_assets.training.evaluate import DetectionMetrics

WARMUP = 20
"""Inferences that do not count as latencies. They count for everything else: a cold engine answers the same."""

INFERENCES_MIN = 100
"""Latencies that a trial has at least. A smaller split is run over again."""

HELPERS_MAX = 2
_CHUNK = 4
_CHUNKS_AHEAD = 6

Floats = NDArray[np.float32]
_Piece = tuple[PackedSplit, range]
_Prepared = tuple[list[Letterboxed], list[Floats]]
"""Images in their letterbox, and as the engine takes them."""


@dataclass(frozen=True)
class Trial:
    """What was measured.

    Attributes:
        manifest: Of the engine.
        load_s: Seconds until the verified engine was ready, the import of its runtime and its first inference not
            included.
        memory: What loading it and its first inference added.
        latencies: After the warm-up.
        warmup: Inferences before.
        helpers: Threads beside the engine's own; 0: the engine ran alone.
        telemetry: Power and temperature during the pass.
        parity: None when there was nothing to compare with.
        metrics: On the test split; None when nobody asked.
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


def run_trial(
    engine: Path, dataset: Path, onnx: Path | None = None, *, is_scored: bool = True, helpers: int | None = None
) -> Trial:
    """Run an engine over the test split of a data set.

    Args:
        engine: Directory of the engine.
        dataset: A packed data set.
        onnx: What the engine was built from: its heads are compared with the answers that lie there.
        is_scored: Whether to compute mAP.
        helpers: Threads beside the engine's own; by default as many as it leaves cores, up to two.

    Raises:
        EngineError: The engine does not load or does not run.
        ExportError: The ONNX artifact is incomplete.
        DataError: The data set is incomplete.
    """
    split = open_split(dataset, "test")
    with undisturbed():
        loaded, load_s, memory = _load(engine)
        network = loaded.manifest.network
        with loaded:
            recorded = read_recorded(onnx, network) if onnx is not None else None
            val = PackedSplit(dataset / "val", recorded.indices) if recorded else None
            helpers = _free_cores(loaded.manifest) if helpers is None else helpers
            with Crew(helpers) as crew:
                with Meters(gpu=loaded.manifest.uses_gpu) as meters:
                    timed, compared = _timed(split), _pieces(val) if val else []
                    prepared = _prepared([*timed, *compared], network, crew)
                    scored = len(_pieces(split)) if is_scored else 0
                    milliseconds, found = _time(loaded, prepared, len(timed), crew, scored)
                    scoring = crew.hand(_score, found, split) if is_scored else None
                    answers = [loaded.infer(images) for _, inputs in prepared for images in inputs]
                metrics = crew.wait(scoring) if scoring else None
        parity = parity_of(list(zip(answers, recorded.heads, strict=True)), network) if recorded else None
    return Trial(
        manifest=loaded.manifest,
        load_s=load_s,
        memory=memory,
        latencies=Latencies(tuple(milliseconds[WARMUP:])),
        warmup=WARMUP,
        helpers=helpers,
        telemetry=meters.telemetry(),
        parity=parity,
        metrics=metrics,
    )


def to_input(image: NDArray[np.uint8]) -> Floats:
    """Image uint8 (H, W, 3) RGB as float32 (1, 3, H, W) RGB in [0, 1].

    What ``robot_assets.runtime.preprocess.to_input`` makes of one image, bit for bit, in a third of the time.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))[None]
    return np.multiply(planes, np.float32(1 / 255), dtype=np.float32)


def _load(engine: Path) -> tuple[Engine, float, Growth]:
    probe()  # imports the runtime, which is there once for all engines of a process
    with MemoryMeter() as memory:
        started = time.perf_counter()
        loaded = load_engine(engine)
        load_s = time.perf_counter() - started
        loaded.infer(np.zeros(loaded.manifest.input.shape, np.float32))
    return loaded, load_s, memory.growth


def _time(
    engine: Engine, prepared: Iterator[_Prepared], pieces: int, crew: Crew, scored: int
) -> tuple[list[float], list[Future[list[Detections]]]]:
    """Run the first ``pieces`` of ``prepared`` through the engine.

    Returns:
        Milliseconds of each inference, and what was found in the first ``scored`` pieces.
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
            found.append(crew.hand(_decoded, heads, boxed, engine.manifest.network))
        report("gate", number, pieces)
    return milliseconds, found


def _timed(split: PackedSplit) -> list[_Piece]:
    """Every image, and again from the start until there are enough latencies."""
    passes = math.ceil((WARMUP + INFERENCES_MIN) / max(1, len(split)))
    return _pieces(split) * passes


def _pieces(split: PackedSplit) -> list[_Piece]:
    return [(split, range(start, min(start + _CHUNK, len(split)))) for start in range(0, len(split), _CHUNK)]


def _prepared(pieces: Sequence[_Piece], network: NetworkSpec, crew: Crew) -> Iterator[_Prepared]:
    """The images piece by piece, unpacked some pieces ahead."""
    rest = iter(pieces)
    ahead = deque(crew.hand(_prepare, *piece, network) for piece in islice(rest, _CHUNKS_AHEAD))
    while ahead:
        ready = crew.wait(ahead.popleft())
        ahead += (crew.hand(_prepare, *piece, network) for piece in islice(rest, 1))
        yield ready


def _prepare(split: PackedSplit, indices: range, network: NetworkSpec) -> _Prepared:
    boxed = [letterbox(split.image(index), network.input_height, network.input_width) for index in indices]
    return boxed, [to_input(one.image) for one in boxed]


def _decoded(heads: Sequence[Sequence[Floats]], boxed: Sequence[Letterboxed], network: NetworkSpec) -> list[Detections]:
    together = [np.concatenate(parts) for parts in zip(*heads, strict=True)]
    return [one.in_image(where) for one, where in zip(decode(together, network), boxed, strict=True)]


def _score(found: Sequence[Future[list[Detections]]], split: PackedSplit) -> DetectionMetrics:
    """Score what was found; who does this has seen all of ``found`` taken in hand, by itself or by another thread."""
    from robot_assets.training.evaluate import score

    each = [one for future in found for one in future.result()]
    return score(each, split.coco(), split.image_ids, split.classes)


def _free_cores(manifest: Manifest) -> int:
    return max(0, min(HELPERS_MAX, len(os.sched_getaffinity(0)) - manifest.cpu_threads))
