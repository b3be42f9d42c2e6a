"""Histograms of activation magnitudes, and the two rules that derive a scale from one.

Both are exact functions of the *set* of observed values: the same images in another order, or in other batches,
give the same counts and the same scale, bit for bit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import QuantizationError

BINS = 8192
"""Bins over [0, limit). The limit is a power of two, so at least half of them lie below the largest value."""

LEVELS = 127
"""The int8 value of the clipping threshold."""

_LIMIT_MIN = 2.0**-20
_CANDIDATES = 160


class MagnitudeHistogram:
    """Counts of ``abs(x)`` over a range that doubles for a larger value.

    Doubling merges neighbouring bins in pairs, and ``floor(floor(2y) / 2) == floor(y)``: a histogram that has grown
    equals one with the final range from the start.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, dtype=np.int64)
        self.limit = _LIMIT_MIN
        self.largest = 0.0

    def grow(self, largest: float) -> None:
        """Extend the range to ``largest``; call it before :meth:`add` with counts over the new range.

        Raises:
            QuantizationError: ``largest`` is infinite or NaN.
        """
        if not math.isfinite(largest):
            raise QuantizationError(
                f"an activation of {largest} during calibration",
                needed="finite activations on every calibration image",
                fix="rebuild the checkpoint with a lower training.learning_rate: its activations overflow",
            )
        self.largest = max(self.largest, largest)
        while self.largest >= self.limit:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
            self.limit *= 2

    def add(self, counts: NDArray[np.int64]) -> None:
        """Add counts of shape (BINS,) over the current range [0, limit)."""
        self.counts = self.counts + counts

    def centres(self) -> NDArray[np.float64]:
        """Centre of each bin, shape (BINS,), in units of the activation."""
        return (np.arange(BINS, dtype=np.float64) + 0.5) * (self.limit / BINS)


def percentile_scale(histogram: MagnitudeHistogram, percentile: float) -> float:
    """Scale that clips at the given percentile of the magnitudes, 0 < percentile <= 100.

    Source: Wu et al. 2020, "Integer quantization for deep learning inference", section 5.
    """
    _refuse_empty(histogram)
    cumulative = np.cumsum(histogram.counts)
    rank = percentile / 100.0 * float(cumulative[-1])
    edge = int(np.searchsorted(cumulative, rank, side="left")) + 1
    threshold = min(edge * histogram.limit / BINS, histogram.largest)
    return _as_float32(threshold / LEVELS)


def mse_scale(histogram: MagnitudeHistogram) -> float:
    """Scale that minimizes the squared quantization error of the observed magnitudes.

    The candidates are clipping thresholds in geometric steps, from a fortieth of the largest magnitude up to it.
    The error is computed at bin centres in float64. Sources: as above, and the ``mse`` calibrator of NVIDIA
    pytorch-quantization.
    """
    _refuse_empty(histogram)
    is_observed = histogram.counts > 0
    values, weights = histogram.centres()[is_observed], histogram.counts[is_observed].astype(np.float64)
    if histogram.largest == 0:
        return 1.0
    thresholds = histogram.largest * np.geomspace(1.0, 1.0 / 40.0, _CANDIDATES)
    errors = [_squared_error(values, weights, threshold) for threshold in thresholds]
    return _as_float32(float(thresholds[int(np.argmin(errors))]) / LEVELS)


def _squared_error(values: NDArray[np.float64], weights: NDArray[np.float64], threshold: float) -> float:
    scale = threshold / LEVELS
    restored = np.minimum(np.rint(values / scale), LEVELS) * scale
    return float(np.dot(weights, (values - restored) ** 2))


def _refuse_empty(histogram: MagnitudeHistogram) -> None:
    if not histogram.counts.any():
        raise QuantizationError(
            "a tensor without a value from any calibration image",
            needed="at least one calibration image",
            fix="set calibration_images of the data set in params.yaml above 0 and rebuild it",
        )


def _as_float32(scale: float) -> float:
    """Round to float32, the precision of scales in ONNX; a tensor that is always zero gets 1."""
    rounded = float(np.float32(scale))
    return rounded if rounded >= float(np.finfo(np.float32).tiny) else 1.0
