"""Properties of all charts, then of each one."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from robot_assets.figures.balance import class_balance, session_split
from robot_assets.figures.chart import counted, separate
from robot_assets.figures.comparison import per_class_comparison, variant_comparison
from robot_assets.figures.curves import training_curves
from robot_assets.figures.latency import latency_histogram
from robot_assets.figures.sensitivity import layer_losses
from robot_assets.figures.style import (
    CARD,
    class_colour,
    hex_colour,
    rgb_colour,
    text_colour_on,
    variant_colour,
)

NAMES = {"val_map50": "mAP@50", "val_map50_95": "mAP@50-95"}
HISTORY = [
    {
        "epoch": epoch,
        "loss": 3 / epoch,
        "loss_cls": 2 / epoch,
        "loss_box": 1 / epoch,
        "learning_rate": 0.002,
        "val_map50": 0.6 - 0.5 / epoch if epoch % 2 == 0 else None,
        "val_map50_95": 0.3 - 0.2 / epoch if epoch % 2 == 0 else None,
    }
    for epoch in range(1, 31)
]
VARIANTS = {
    "FP32 checkpoint": 0.5121,
    "FP32 control": 0.5168,
    "PTQ mse": 0.5104,
    "PTQ percentile": 0.5033,
    "QAT": 0.5142,
}
COUNTS = {
    "train": {"ball": 1079, "human": 1698, "parking": 116},
    "val": {"ball": 230, "human": 507, "parking": 82},
    "test": {"ball": 201, "human": 404, "parking": 8},
}
SESSIONS = {
    "train": {"20250114/r2": 400, "20250114/r3": 20},
    "val": {"20250208/r4": 90},
    "test": {"20240716/r5": 88},
}
LOSSES = {"stem": 0.03, "stage4.1.second.add": -0.21, "heads.s8.cls": 1.84, "heads.s8.box": 0.4}
ERRORS = {"stem": 0.002, "stage4.1.second.add": 0.004, "heads.s8.cls": 0.06, "heads.s8.box": 0.01}
AP = {"FP32": {"ball": 0.42, "human": 0.6}, "QAT": {"ball": 0.41, "human": None}}


def _latencies():
    rng = np.random.default_rng(1)
    return {"FP32": 13 + rng.gamma(2, 0.3, 500), "INT8": 5.6 + rng.gamma(2, 0.1, 500)}


CHARTS = {
    "curves": lambda: training_curves(HISTORY, NAMES),
    "variants": lambda: variant_comparison(VARIANTS, "QAT", drop_points_max=1.0, measure="mIoU"),
    "classes": lambda: per_class_comparison(AP, ["ball", "human", "parking"]),
    "latency": lambda: latency_histogram(_latencies(), 40.0, condition="2 cores"),
    "balance": lambda: class_balance(COUNTS),
    "pixels": lambda: class_balance({"train": {"road": 93_000_000, "kerb": 12}, "val": {"road": 1}}, "pixels"),
    "sessions": lambda: session_split(SESSIONS),
    "layers": lambda: layer_losses(
        LOSSES,
        errors=ERRORS,
        in_float=["heads.s8.cls"],
        latency_added={"stem": 0.001, "heads.s8.cls": 0.061},
        images=200,
        measure="mIoU",
    ),
}
NOTHING = {
    "curves": lambda: training_curves([], NAMES),
    "variants": lambda: variant_comparison({}, None, measure="mIoU"),
    "classes": lambda: per_class_comparison({}, []),
    "latency": lambda: latency_histogram({}, None),
    "balance": lambda: class_balance({}),
    "sessions": lambda: session_split({}),
    "layers": lambda: layer_losses({}, errors={}, in_float=[], latency_added={}, images=200, measure="mIoU"),
}


def count(image, colour):
    """Number of pixels of a colour."""
    return int((image == rgb_colour(colour)).all(axis=-1).sum())


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_has_the_same_bytes_each_time_and_is_small_enough_for_a_page(name):
    data = CHARTS[name]()
    assert data == CHARTS[name]()
    assert len(data) <= 150_000


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_an_opaque_card_with_free_margins(name, pixels):
    image = pixels(CHARTS[name]())
    assert image.shape[1] == 840
    border = np.concatenate([image[:8].reshape(-1, 3), image[-4:].reshape(-1, 3), image[:, -8:].reshape(-1, 3)])
    assert (border == rgb_colour(CARD)).all(), "an element is cut off at the edge of the card"


@pytest.mark.parametrize("name", NOTHING)
def test_without_data_a_chart_is_a_card_with_the_reason(name, pixels):
    image = pixels(NOTHING[name]())
    assert image.shape[:2] == (92, 840)
    assert (image != rgb_colour(CARD)).any()


def test_importing_the_figures_imports_neither_matplotlib_nor_pillow():
    code = (
        "import sys, robot_assets.figures.balance, robot_assets.figures.comparison;"
        "import robot_assets.figures.curves, robot_assets.figures.detections, robot_assets.figures.latency;"
        "import robot_assets.figures.sensitivity;"
        "print([m for m in ('matplotlib', 'PIL', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestStyle:
    def test_the_first_24_classes_have_different_colours(self):
        assert len({class_colour(i) for i in range(24)}) == 24

    def test_a_class_index_below_zero_is_refused(self):
        with pytest.raises(ValueError, match="-1"):
            class_colour(-1)

    def test_text_on_a_class_colour_has_a_contrast_of_at_least_four_and_a_half(self):
        def luminance(colour):
            linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
            return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

        for index in range(24):
            back, text = luminance(class_colour(index)), luminance(text_colour_on(class_colour(index)))
            assert (max(back, text) + 0.05) / (min(back, text) + 0.05) >= 4.5

    def test_the_colour_of_a_variant_does_not_depend_on_case_or_suffix(self):
        assert variant_colour("QAT") == variant_colour("qat int8")
        assert len({variant_colour(name) for name in VARIANTS}) == len(VARIANTS)


class TestLayers:
    def draw(self, **changes):
        given = {"errors": ERRORS, "in_float": [], "latency_added": {}, "images": 200, **changes}
        return layer_losses(LOSSES, measure="mIoU", **given)

    def test_layers_left_in_float_have_the_colour_of_float(self, pixels):
        grey, green = variant_colour("FP32"), variant_colour("INT8")
        without, with_one = pixels(self.draw()), pixels(self.draw(in_float=["heads.s8.cls"]))
        assert count(without, grey) == 0
        assert count(with_one, grey) > 1000
        assert 0 < count(with_one, green) < count(without, green)

    def test_an_unknown_layer_and_a_loss_that_is_not_finite_are_refused(self):
        with pytest.raises(ValueError, match="no layer 'neck'; there are stem"):
            self.draw(in_float=["neck"])
        with pytest.raises(ValueError, match="not finite"):
            layer_losses(
                {"a": float("nan")}, errors={"a": 0.0}, in_float=[], latency_added={}, images=8, measure="mIoU"
            )


class TestCurves:
    def test_both_accuracies_and_each_part_of_the_loss_are_drawn(self, pixels):
        image = pixels(training_curves(HISTORY, NAMES))
        for colour in ("#0072b2", "#56b4e9", "#d55e00", "#cc79a7"):
            assert count(image, colour) > 40

    def test_a_training_without_a_validation_shows_its_loss(self, pixels):
        rows = [{**row, "val_map50": None, "val_map50_95": float("nan")} for row in HISTORY[:3]]
        image = pixels(training_curves(rows, NAMES))
        assert count(image, "#0072b2") == 0
        assert count(image, "#d55e00") > 40

    @pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "text"])
    def test_a_value_that_is_not_a_finite_number_is_not_drawn(self, value):
        rows = [*HISTORY[:4], {**HISTORY[4], "loss": value}, *HISTORY[5:8]]
        without = [{k: v for k, v in row.items() if k != "loss" or v is not value} for row in rows]
        assert training_curves(rows, NAMES) == training_curves(without, NAMES)

    def test_a_single_epoch_and_other_names_of_losses_are_drawn(self):
        assert training_curves([{"epoch": 0, "loss_centerness": 0.7, "loss_box": 0.2}], NAMES)
        assert training_curves([{"epoch": 1}], NAMES)

    def test_the_best_epoch_can_be_given(self):
        assert training_curves(HISTORY, NAMES, best_epoch=10) != training_curves(HISTORY, NAMES)

    def test_a_row_without_an_epoch_is_refused(self):
        with pytest.raises(ValueError, match="row 0 of the history has no epoch"):
            training_curves([{"loss": 1.0}], NAMES)


class TestComparison:
    def test_each_variant_has_a_dot_in_its_colour(self, pixels):
        image = pixels(variant_comparison(VARIANTS, "QAT", measure="mIoU"))
        assert all(count(image, variant_colour(name)) > 30 for name in VARIANTS)

    def test_the_chosen_variant_is_highlighted(self, pixels):
        colour = variant_colour("PTQ mse")
        with_choice = count(pixels(variant_comparison(VARIANTS, "PTQ mse", measure="mIoU")), colour)
        assert with_choice > count(pixels(variant_comparison(VARIANTS, None, measure="mIoU")), colour) + 60

    def test_equal_values_and_values_that_are_not_measured_are_drawn(self):
        assert variant_comparison({"FP32": 0.5, "QAT": 0.5}, "QAT", measure="mIoU")
        assert variant_comparison({"FP32": None, "QAT": float("nan"), "PTQ": 0.4}, "QAT", measure="mIoU")
        assert variant_comparison({"FP32": None}, "FP32", measure="mIoU")

    @pytest.mark.parametrize(("chosen", "reference"), [("INT4", None), (None, "FP64")])
    def test_an_unknown_variant_is_refused(self, chosen, reference):
        with pytest.raises(ValueError, match="there are FP32 checkpoint"):
            variant_comparison(VARIANTS, chosen, reference=reference, measure="mIoU")

    def test_a_class_that_is_not_measured_keeps_its_row(self, pixels):
        two = pixels(per_class_comparison(AP, ["ball", "human"]))
        three = pixels(per_class_comparison(AP, ["ball", "human", "parking"]))
        assert three.shape[0] > two.shape[0]


class TestLatency:
    def test_a_budget_on_the_axis_is_a_line_and_one_beyond_it_is_only_a_label(self, pixels):
        def tallest_red(budget_ms):
            image = pixels(latency_histogram(_latencies(), budget_ms)).astype(int)
            return int((image[..., 0] > image[..., 1] + 60).sum(axis=0).max())

        assert tallest_red(18.0) > 100
        assert 4 < tallest_red(400.0) < 20
        assert tallest_red(None) == 0

    def test_one_measurement_and_engines_without_measurements_are_drawn(self):
        assert latency_histogram({"INT8": [5.0], "FP32": []}, 40)
        assert latency_histogram({"INT8": [0.0]}, None)

    @pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
    def test_an_invalid_latency_is_refused(self, bad):
        with pytest.raises(ValueError, match="'INT8'"):
            latency_histogram({"INT8": [5.0, bad]}, 40)


class TestBalance:
    def test_bars_have_the_colours_of_their_classes(self, pixels):
        image = pixels(class_balance(COUNTS))
        assert all(count(image, hex_colour(class_colour(i))) > 100 for i in range(3))

    def test_a_class_without_boxes_in_a_split_is_highlighted(self, pixels):
        counts = {**COUNTS, "val": {"ball": 230, "human": 507}}
        assert count(pixels(class_balance(counts)), "#b3261e") > 10
        assert count(pixels(class_balance(COUNTS)), "#b3261e") == 0

    def test_splits_without_boxes_are_drawn(self):
        assert class_balance({"train": {"ball": 0}, "val": {}, "test": {"ball": 0}})

    def test_names_are_drawn_literally_and_long_ones_are_shortened(self):
        assert class_balance({"train": {"$x_1$ ${": 3, "temporary construction barrier with light": 5}})

    def test_a_session_in_two_splits_changes_the_headline(self):
        shared = {**SESSIONS, "test": {"20250208/r4": 88}}
        same_sizes = {**SESSIONS, "test": {"20250208/r5": 88}}
        assert session_split(shared) != session_split(same_sizes)


class TestLabels:
    def test_labels_with_enough_space_are_not_moved(self):
        assert separate([0.0, 5.0, 9.0], 1.0) == [0.0, 5.0, 9.0]

    def test_overlapping_labels_are_centred_on_their_mean(self):
        assert separate([2.0, 2.0], 1.0) == [1.5, 2.5]

    def test_the_order_is_kept_and_every_gap_is_wide_enough(self):
        positions = np.random.default_rng(0).uniform(0, 5, 20).tolist()
        moved = separate(positions, 0.4)
        ranked = [moved[i] for i in np.argsort(positions)]
        assert (np.diff(ranked) >= 0.4 - 1e-9).all()

    def test_no_labels_give_no_positions(self):
        assert separate([], 1.0) == []

    def test_counts_have_the_right_plural_and_separators(self):
        assert [counted(number, "image") for number in (0, 1, 12000)] == ["0 images", "1 image", "12,000 images"]


def test_many_small_sessions_are_one_block_that_can_be_seen() -> None:
    many = {"train": {f"s{number}": 1 for number in range(3000)}, "val": {"v": 300}, "test": {"t": 300}}
    one = {"train": {"3,000 sessions": 3000}, "val": {"v": 300}, "test": {"t": 300}}
    drawn, expected = (np.asarray(Image.open(io.BytesIO(session_split(sessions)))) for sessions in (many, one))
    bars = slice(80, None)  # below the headline, which counts the sessions
    np.testing.assert_array_equal(drawn[bars], expected[bars])
