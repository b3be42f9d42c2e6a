"""Scales are exact functions of the set of observed values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.core.errors import QuantizationError
from robot_assets.quantization.histogram import BINS, LEVELS, MagnitudeHistogram, mse_scale, percentile_scale


def histogram_of(*batches: np.ndarray) -> MagnitudeHistogram:
    histogram = MagnitudeHistogram()
    for batch in batches:
        magnitude = np.abs(batch.astype(np.float32))
        histogram.grow(float(magnitude.max()))
        bins = (magnitude * np.float32(BINS / histogram.limit)).astype(np.int64)
        histogram.add(np.bincount(bins.ravel(), minlength=BINS))
    return histogram


values = st.lists(
    st.floats(-1000, 1000, width=32, allow_subnormal=False).filter(lambda value: abs(value) > 1e-3),
    min_size=1,
    max_size=40,
)


@given(values, values)
def test_the_order_of_the_batches_does_not_matter(first, second):
    one = histogram_of(np.array(first), np.array(second))
    other = histogram_of(np.array(second), np.array(first))
    assert one.limit == other.limit
    assert np.array_equal(one.counts, other.counts)


@given(values)
def test_no_value_is_lost_when_the_range_grows(numbers):
    histogram = histogram_of(*[np.array([number]) for number in numbers])
    assert histogram.counts.sum() == len(numbers)
    assert histogram.limit > max(abs(number) for number in numbers)


def test_the_hundredth_percentile_is_the_largest_magnitude():
    scale = percentile_scale(histogram_of(np.array([0.5, -2.0, 1.0])), 100)
    assert scale == pytest.approx(2.0 / LEVELS, rel=1e-6)


def test_a_percentile_clips_a_lone_outlier():
    body = np.random.default_rng(0).uniform(-1, 1, 20_000)
    scale = percentile_scale(histogram_of(np.append(body, 50.0)), 99.9)
    assert scale == pytest.approx(1.0 / LEVELS, rel=0.02)


def test_mse_clips_a_lone_outlier_and_keeps_a_uniform_range():
    rng = np.random.default_rng(0)
    body = rng.uniform(-1, 1, 20_000)
    assert mse_scale(histogram_of(body)) == pytest.approx(1.0 / LEVELS, rel=0.01)
    clipped = mse_scale(histogram_of(np.append(rng.normal(0, 0.1, 200_000), 4.0)))
    assert clipped < 0.6 * 4.0 / LEVELS


def test_the_error_of_mse_is_at_most_that_of_the_largest_value():
    data = np.random.default_rng(1).laplace(0, 1, 50_000)

    def error(scale):
        return float(((np.clip(np.rint(data / scale), -128, LEVELS) * scale - data) ** 2).mean())

    histogram = histogram_of(data)
    assert error(mse_scale(histogram)) <= error(percentile_scale(histogram, 100)) * 1.001


def test_a_tensor_that_is_always_zero_gets_a_scale_of_one():
    histogram = histogram_of(np.zeros(10))
    assert mse_scale(histogram) == 1.0
    assert percentile_scale(histogram, 99.99) == 1.0


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_an_activation_that_is_not_finite_is_refused(value):
    with pytest.raises(QuantizationError, match="finite"):
        MagnitudeHistogram().grow(value)


def test_a_tensor_without_values_is_refused():
    with pytest.raises(QuantizationError, match="without a value from any calibration image"):
        mse_scale(MagnitudeHistogram())
