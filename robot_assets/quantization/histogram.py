"""Histograms of activation magnitudes, and the two rules that read a clipping threshold from one.

Both are exact functions of the *set* of values seen: feeding the same images in another order, or in other
batches, gives the same counts and so the same scale, bit for bit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import QuantizationError

BINS = 8192
"""Bins over [0, limit). The limit is a power of two, so at least half of them lie below the largest value."""

LEVELS = 127
"""Largest int8 value that a symmetric scale maps the threshold to."""

_SMALLEST_LIMIT = 2.0**-20
_CANDIDATES = 160


class MagnitudeHistogram:
    """Counts of ``abs(x)`` over a range that doubles when a larger value comes.

    Doubling merges neighbouring bins in pairs, and ``floor(floor(2y) / 2) == floor(y)``, so a histogram that
    grew equals one that had the final range from the start.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, dtype=np.int64)
        self.limit = _SMALLEST_LIMIT
        self.largest = 0.0
        self.has_negative = False

    def grow(self, largest: float) -> None:
        """Make room for ``largest``; call before :meth:`add` with counts of its range.

        Raises:
            QuantizationError: ``largest`` is infinite or NaN.
        """
        if not math.isfinite(largest):
            raise QuantizationError(
                f"an activation of {largest} while calibrating",
                needed="finite activations on every calibration image",
                fix="train the checkpoint again; its weights overflow on the calibration images",
            )
        self.largest = max(self.largest, largest)
        while self.largest >= self.limit:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
            self.limit *= 2

    def add(self, counts: NDArray[np.int64]) -> None:
        """Add counts of shape (BINS,) taken over the present [0, limit)."""
        self.counts = self.counts + counts

    def centres(self) -> NDArray[np.float64]:
        """Middle of each bin, shape (BINS,), in units of the activation."""
        return (np.arange(BINS, dtype=np.float64) + 0.5) * (self.limit / BINS)


def percentile_scale(histogram: MagnitudeHistogram, percentile: float) -> float:
    """Scale whose largest level is the given percentile of the magnitudes, 0 < percentile <= 100.

    Source: Wu et al. 2020, "Integer quantization for deep learning inference", section 5.
    """
    _refuse_empty(histogram)
    cumulative = np.cumsum(histogram.counts)
    wanted = percentile / 100.0 * float(cumulative[-1])
    edge = int(np.searchsorted(cumulative, wanted, side="left")) + 1
    threshold = min(edge * histogram.limit / BINS, histogram.largest)
    return _as_float32(threshold / LEVELS)


def mse_scale(histogram: MagnitudeHistogram) -> float:
    """Scale that minimizes the squared error of quantizing the seen magnitudes.

    Thresholds from a fortieth of the largest magnitude up to it are tried in geometric steps. The error is
    evaluated at bin centres in float64. Source: as above; also NVIDIA pytorch-quantization's ``mse`` calibrator.
    """
    _refuse_empty(histogram)
    seen = histogram.counts > 0
    values, weights = histogram.centres()[seen], histogram.counts[seen].astype(np.float64)
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
            "a tensor that no calibration image reached",
            needed="at least one calibration image",
            fix="set calibration_images of the data set in params.yaml above 0 and build it again",
        )


def _as_float32(scale: float) -> float:
    """Round to float32, the precision that ONNX stores scales in; a dead tensor (all zero) gets 1."""
    rounded = float(np.float32(scale))
    return rounded if rounded >= float(np.finfo(np.float32).tiny) else 1.0
