"""One trial of an engine on its device: one pass over the test split that all its gates are judged by. Needs no torch.

While the engine runs, threads on cores that the engine leaves free unpack the images to come and decode the heads that
are there, so that the pass takes little longer than its inferences. An engine that takes all cores runs alone: its
latencies would suffer.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from robot_assets.data.packed import PackedSplit, open_split
from robot_assets.engines.benchmark import Latencies
from robot_assets.engines.load import load_engine
from robot_assets.engines.manifest import Manifest, OnnxRuntimeManifest
from robot_assets.engines.parity import Parity, parity_with_recorded
from robot_assets.models.decode import Detections, decode
from robot_assets.models.preprocess import Letterboxed, letterbox
from robot_assets.platforms.memory import Growth, MemoryMeter
from robot_assets.platforms.meters import Meters, Strain
from robot_assets.platforms.probe import probe
from robot_assets.progress import report

if TYPE_CHECKING:
    from robot_assets.engines.engine import Engine
    from robot_assets.models.spec import NetworkSpec
    from robot_assets.training.evaluate import DetectionMetrics

WARMUP = 20
"""Inferences that do not count as latencies. They count for everything else: a cold engine answers the same."""

INFERENCES_MIN = 100
"""Latencies that a trial has at least. A smaller split is run over again."""

HELPERS_MAX = 2
_CHUNK = 4
_CHUNKS_AHEAD = 6
_SWITCH_S = 2e-4
"""How long a thread may hold the interpreter while another waits. Python's own 5 ms would be added to latencies."""

Floats = NDArray[np.float32]
Result = TypeVar("Result")


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
        strain: Power and temperature during the pass.
        parity: None when there was nothing to compare with.
        metrics: On the test split; None when nobody asked.
    """

    manifest: Manifest
    load_s: float
    memory: Growth
    latencies: Latencies
    warmup: int
    helpers: int
    strain: Strain
    parity: Parity | None
    metrics: DetectionMetrics | None


class Submit(Protocol):
    """Hands work to whoever is free: :meth:`concurrent.futures.Executor.submit`."""

    def __call__(self, function: Callable[..., Result], /, *arguments: object) -> Future[Result]:
        """Do it now or later."""
        ...


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
    loaded, load_s, memory = _load(engine)
    with loaded:
        helpers = _free_cores(loaded.manifest) if helpers is None else helpers
        clock = _Clock(loaded)
        parity = parity_with_recorded(clock.infer, onnx, dataset, clock.network) if onnx is not None else None
        with _helping(helpers) as submit, Meters(gpu=loaded.manifest.kind == "tensorrt") as meters:
            found = _run(clock, split, submit, is_scored=is_scored)
    return Trial(
        manifest=loaded.manifest,
        load_s=load_s,
        memory=memory,
        latencies=Latencies(tuple(clock.milliseconds[WARMUP:])),
        warmup=WARMUP,
        helpers=helpers,
        strain=meters.strain(),
        parity=parity,
        metrics=_score(found, split) if is_scored else None,
    )


def to_input(image: NDArray[np.uint8]) -> Floats:
    """Image uint8 (H, W, 3) RGB as float32 (1, 3, H, W) RGB in [0, 1].

    What ``robot_assets.models.preprocess.to_input`` makes of one image, bit for bit, in a third of the time.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))[None]
    return np.multiply(planes, np.float32(1 / 255), dtype=np.float32)


class _Clock:
    """Runs an engine and remembers how long each inference took."""

    def __init__(self, engine: Engine) -> None:
        self.network = engine.manifest.network
        self.milliseconds: list[float] = []
        self._engine = engine

    def infer(self, images: Floats) -> list[Floats]:
        """Heads of one image."""
        started = time.perf_counter()
        heads = self._engine.infer(images)
        self.milliseconds.append(1e3 * (time.perf_counter() - started))
        return heads


def _load(engine: Path) -> tuple[Engine, float, Growth]:
    probe()  # imports the runtime, which is there once for all engines of a process
    with MemoryMeter() as memory:
        started = time.perf_counter()
        loaded = load_engine(engine)
        load_s = time.perf_counter() - started
        loaded.infer(np.zeros(loaded.manifest.input.shape, np.float32))
    return loaded, load_s, memory.growth


def _run(clock: _Clock, split: PackedSplit, submit: Submit, *, is_scored: bool) -> list[Detections]:
    """Every image of a split through the engine, and again from the start until there are enough latencies."""
    found: list[Future[list[Detections]]] = []
    done = 0
    for boxed, inputs in _prepared(split, clock.network, submit):
        heads = [clock.infer(images) for images in inputs]
        if is_scored:
            found.append(submit(_decoded, heads, boxed, clock.network))
        done += len(inputs)
        report("gate", done, len(split))
    while len(split) and len(clock.milliseconds) < WARMUP + INFERENCES_MIN:
        for _, inputs in _prepared(split, clock.network, submit):
            for images in inputs:
                clock.infer(images)
    return [one for future in found for one in future.result()]


def _prepared(
    split: PackedSplit, network: NetworkSpec, submit: Submit
) -> Iterator[tuple[list[Letterboxed], list[Floats]]]:
    """Letterboxed images and what the engine takes, a few at a time, unpacked some steps ahead."""
    chunks = iter([range(start, min(start + _CHUNK, len(split))) for start in range(0, len(split), _CHUNK)])
    ahead = deque(submit(_prepare, split, network, chunk) for chunk in islice(chunks, _CHUNKS_AHEAD))
    while ahead:
        ready = ahead.popleft().result()
        ahead += (submit(_prepare, split, network, chunk) for chunk in islice(chunks, 1))
        yield ready


def _prepare(split: PackedSplit, network: NetworkSpec, indices: range) -> tuple[list[Letterboxed], list[Floats]]:
    boxed = [letterbox(split.image(index), network.input_height, network.input_width) for index in indices]
    return boxed, [to_input(one.image) for one in boxed]


def _decoded(heads: Sequence[Sequence[Floats]], boxed: Sequence[Letterboxed], network: NetworkSpec) -> list[Detections]:
    together = [np.concatenate(parts) for parts in zip(*heads, strict=True)]
    return [one.in_image(where) for one, where in zip(decode(together, network), boxed, strict=True)]


def _score(found: Sequence[Detections], split: PackedSplit) -> DetectionMetrics:
    from robot_assets.training.evaluate import score

    return score(found, split.coco(), split.image_ids, split.classes)


def _free_cores(manifest: Manifest) -> int:
    threads = manifest.threads if isinstance(manifest, OnnxRuntimeManifest) else 1
    return max(0, min(HELPERS_MAX, len(os.sched_getaffinity(0)) - threads))


@contextmanager
def _helping(helpers: int) -> Iterator[Submit]:
    if not helpers:
        yield _at_once
        return
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        with ThreadPoolExecutor(helpers, thread_name_prefix="gate") as executor:
            yield executor.submit
    finally:
        sys.setswitchinterval(before)


def _at_once(function: Callable[..., Result], /, *arguments: object) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(function(*arguments))
    return future
