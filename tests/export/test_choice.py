"""The better of PTQ and QAT is chosen; a tie goes to PTQ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.export.choice import TIE_POINTS, choose
from robot_assets.quantization.artifact import Quantization
from robot_assets.tasks.detection.task import METRIC

share = st.floats(0, 1).map(lambda value: round(value, 6))


def models(ptq: float, qat: float) -> tuple[Quantization, Quantization]:
    floats = {"checkpoint": {"map50": 0.5}, "mse": {"map50": ptq}}
    trained = floats | {"qat": {"map50": qat}, "fp32_control": {"map50": 0.6}}
    return Quantization("ptq", "mse", {}, "map50", floats), Quantization("qat", "mse", {}, "map50", trained)


@given(share, share)
def test_the_chosen_model_is_never_worse_than_the_other_by_more_than_a_tie(ptq, qat):
    choice = choose(*models(ptq, qat), METRIC)
    assert 100 * (max(ptq, qat) - choice.scores[choice.method]) <= TIE_POINTS + 1e-9


@given(share, share)
def test_qat_is_chosen_exactly_when_it_is_better_by_more_than_a_tie(ptq, qat):
    choice = choose(*models(ptq, qat), METRIC)
    assert (choice.method == "qat") == (round(100 * (qat - ptq), 9) > TIE_POINTS)
    assert choice.because.startswith(choice.method.upper())


@pytest.mark.parametrize(("qat", "method"), [(0.5005, "ptq"), (0.5006, "qat"), (0.4, "ptq")])
def test_the_record_contains_the_gain_and_the_float_metrics(qat, method):
    record = choose(*models(0.5, qat), METRIC).as_json()
    assert record["method"] == method
    assert record["qat_gain_points"] == pytest.approx(100 * (qat - 0.5), abs=1e-4)
    assert record["scores_val"] == {"checkpoint": 0.5, "ptq": 0.5, "qat": qat, "fp32_control": 0.6}
