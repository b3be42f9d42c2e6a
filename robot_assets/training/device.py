"""The device, precision, threads and determinism of a training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from robot_assets.core.errors import TrainingError
from robot_assets.training.spec import TrainingSpec


def training_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def uses_bfloat16(spec: TrainingSpec, device: torch.device) -> bool:
    """Whether matrices are multiplied in bfloat16. ``auto``: where it is native, since emulation is slow.

    Raises:
        TrainingError: ``bfloat16`` is required on a GPU that does not support it.
    """
    if device.type == "cuda":
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_native = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if spec.precision == "bfloat16" and not is_native and device.type == "cuda":
        raise TrainingError(
            f"training.precision is bfloat16, which {torch.cuda.get_device_name(device)} does not support",
            needed="a GPU of compute capability 8.0 or newer",
            fix="set training.precision to float32 or auto in params.yaml",
        )
    return spec.precision == "bfloat16" or (spec.precision == "auto" and bool(is_native))


@contextmanager
def reproducible(spec: TrainingSpec) -> Iterator[None]:
    """Fix threads and use deterministic kernels inside the block; the previous settings are restored after it."""
    threads, was_deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill_memory = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    benchmark = torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(spec.threads or len(os.sched_getaffinity(0)))
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(was_deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill_memory  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark
