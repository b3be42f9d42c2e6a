from __future__ import annotations

import numpy as np
import pytest

from robot_assets.figures.detections import (
    Sample,
    contact_sheet,
    draw_detections,
    labelled_sheet,
    prediction_sheet,
)
from robot_assets.figures.style import class_colour

CLASSES = ("ball", "obstacle", "human")
NO_BOXES = np.zeros((0, 4), np.float32)


def test_a_box_is_drawn_along_its_edge_in_the_colour_of_its_class(photo):
    drawn = draw_detections(photo, [[20, 30, 60, 70]], [1], [0.9], CLASSES, scale=1)
    colour = class_colour(1)
    assert (drawn[30:70, 20] == colour).all()
    assert (drawn[30:70, 59] == colour).all()
    assert (drawn[30, 20:60] == colour).all()
    assert (drawn[69, 20:60] == colour).all()


def test_pixels_inside_a_box_and_far_from_it_are_not_changed(photo):
    drawn = draw_detections(photo, [[20, 30, 60, 70]], [1], None, CLASSES, scale=1)
    assert (drawn[34:66, 24:56] == photo[34:66, 24:56]).all()
    assert (drawn[80:] == photo[80:]).all()


def test_the_given_image_is_not_changed(photo):
    before = photo.copy()
    draw_detections(photo, [[20, 30, 60, 70]], [1], [0.9], CLASSES, scale=1)
    assert (photo == before).all()


def test_a_tag_has_the_name_in_readable_text_above_the_box(photo):
    drawn = draw_detections(photo, [[20, 30, 80, 70]], [0], None, CLASSES, scale=1)
    above = drawn[14:29, 20:60]
    assert (above == class_colour(0)).all(axis=-1).sum() > 200
    assert (above == 0).all(axis=-1).sum() > 10


@pytest.mark.parametrize("box", [[0, 0, 30, 30], [95, 0, 120, 25], [0, 0, 120, 90], [100, 75, 120, 90]])
def test_a_tag_is_inside_the_image_at_any_position_of_the_box(photo, box):
    drawn = draw_detections(photo, [box], [2], None, CLASSES, scale=1)
    assert (drawn == class_colour(2)).all(axis=-1).sum() > 350


def test_tags_of_close_boxes_do_not_overlap(photo):
    boxes = [[10, 40, 60, 70], [14, 42, 64, 72]]
    one = draw_detections(photo, boxes[1:], [2], [0.9], CLASSES, scale=2)
    both = draw_detections(photo, boxes, [0, 2], [0.4, 0.9], CLASSES, scale=2)
    assert (both == class_colour(2)).all(axis=-1).sum() > 0.95 * (one == class_colour(2)).all(axis=-1).sum()
    assert (both == class_colour(0)).all(axis=-1).sum() > 600


def test_a_small_image_is_doubled_and_a_large_one_is_not():
    small, large = np.zeros((240, 320, 3), np.uint8), np.zeros((480, 800, 3), np.uint8)
    assert draw_detections(small, NO_BOXES, [], [], CLASSES).shape == (480, 640, 3)
    assert draw_detections(large, NO_BOXES, [], [], CLASSES).shape == (480, 800, 3)
    assert draw_detections(small, NO_BOXES, [], [], CLASSES, scale=3).shape == (720, 960, 3)


def test_without_detections_the_image_is_not_changed(photo):
    assert (draw_detections(photo, NO_BOXES, [], [], CLASSES, scale=1) == photo).all()
    assert (draw_detections(photo, [], [], None, CLASSES, scale=1) == photo).all()


def test_a_box_outside_the_image_is_not_drawn_and_one_across_its_edge_is_clipped(photo):
    outside = [[-50, -50, -10, -10], [130, 10, 150, 40], [10, 95, 40, 120]]
    assert (draw_detections(photo, outside, [0, 1, 2], None, CLASSES, scale=1) == photo).all()
    across = draw_detections(photo, [[100, 50, 200, 200]], [0], None, CLASSES, scale=1)
    assert (across[50:90, 119] == class_colour(0)).all()


def test_a_box_without_area_is_drawn(photo):
    assert draw_detections(photo, [[10, 10, 10, 10], [20.2, 20.2, 20.4, 20.4]], [0, 1], None, CLASSES).any()


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "message"),
    [
        ([[0, 0, 5, 5]], [0, 1], None, "boxes: 1, labels: 2;"),
        ([[0, 0, 5, 5]], [0], [0.5, 0.5], "boxes: 1, labels: 1, scores: 2;"),
        ([[0, 0, 5]], [0], None, r"needed: \(n, 4\)"),
        ([[0, 0, 5, np.nan]], [0], None, "not finite"),
        ([[0, 0, 5, 5]], [3], None, "labels 3 to 3; needed: 0 to 2"),
        ([[0, 0, 5, 5]], [-1], None, "labels -1 to -1; needed: 0 to 2"),
    ],
)
def test_invalid_arrays_are_refused(photo, boxes, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        draw_detections(photo, boxes, labels, scores, CLASSES)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_an_image_that_is_not_rgb_is_refused(wrong):
    with pytest.raises(ValueError, match="needed: uint8"):
        draw_detections(wrong, NO_BOXES, [], None, CLASSES)


def _sample(photo):
    truth = [[20, 30, 60, 70], [70, 20, 100, 60]]
    return Sample(photo, truth, [1, 0], [[21, 30, 60, 71], [2, 2, 14, 14]], [1, 2], [0.9, 0.4])


def test_a_prediction_sheet_shows_truth_in_white_and_predictions_in_colour(photo, pixels):
    sheet = pixels(prediction_sheet([_sample(photo)], CLASSES, columns=2))
    for colour in (class_colour(1), class_colour(2)):
        assert (sheet == colour).all(axis=-1).sum() > 300
    assert (sheet == 255).all(axis=-1).sum() > 150
    assert (sheet == class_colour(0)).all(axis=-1).sum() == 0, "a missed object has no prediction"


def test_the_caption_of_a_sample_counts_each_object_once(photo):
    from robot_assets.figures.detections import _caption, _checked

    truth = _checked(photo, [[20, 30, 60, 70]], [1], None, CLASSES)
    twice = _checked(photo, [[20, 30, 60, 70], [21, 31, 61, 71]], [1, 1], [0.9, 0.8], CLASSES)
    other = _checked(photo, [[20, 30, 60, 70]], [0], [0.9], CLASSES)
    none = _checked(photo, [], [], [], CLASSES)
    assert _caption(truth, twice) == "1 of 1 found, 1 false"
    assert _caption(truth, other) == "0 of 1 found, 1 false"
    assert _caption(truth, none) == "0 of 1 found"
    assert _caption(none, none) == "no objects"


def test_a_sheet_has_the_same_bytes_each_time_and_is_within_its_limit(photo):
    samples = [_sample(photo)] * 6
    first = prediction_sheet(samples, CLASSES, size_bytes_max=60_000)
    assert first == prediction_sheet(samples, CLASSES, size_bytes_max=60_000)
    assert len(first) <= 60_000


def test_class_colours_are_exact_after_a_reduction_of_colours(photo, pixels):
    noisy = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    sample = Sample(noisy, [], [], [[20, 60, 300, 200]], [2], [0.5])
    sheet = pixels(prediction_sheet([sample] * 2, CLASSES, columns=2, size_bytes_max=250_000))
    assert (sheet == class_colour(2)).all(axis=-1).sum() > 300


def test_a_limit_that_no_image_can_meet_is_refused(photo):
    with pytest.raises(ValueError, match="does not fit in 100 bytes"):
        contact_sheet([photo], 1, size_bytes_max=100)


def test_labels_on_a_sheet_are_as_readable_as_on_one_image(photo, pixels):
    sheet = pixels(labelled_sheet([photo] * 3, [[[20, 30, 60, 70]], [], [[5, 5, 9, 9]]], [[1], [], [0]], CLASSES))
    tag = draw_detections(photo, [[20, 30, 60, 70]], [1], None, CLASSES, scale=2)
    assert (sheet == class_colour(1)).all(axis=-1).sum() > 0.9 * (tag == class_colour(1)).all(axis=-1).sum()
    assert (sheet == class_colour(0)).all(axis=-1).sum() > 200


def test_images_without_labels_are_refused(photo):
    with pytest.raises(ValueError, match="shorter"):
        labelled_sheet([photo, photo], [[]], [[]], CLASSES)


def test_a_sheet_has_images_in_rows(photo, pixels):
    one_row = pixels(contact_sheet([photo] * 3, 3, width=400))
    two_rows = pixels(contact_sheet([photo] * 4, 3, width=400))
    assert one_row.shape[1] == two_rows.shape[1] == 400
    assert two_rows.shape[0] > one_row.shape[0] * 1.7


def test_captions_have_one_line_and_long_ones_stay_in_their_column(photo, pixels):
    bare, captioned = (
        contact_sheet([photo], 1, width=200),
        contact_sheet([photo], 1, ["word " * 80], width=200),
    )
    assert pixels(captioned).shape[0] == pixels(bare).shape[0] + 20
    assert (pixels(captioned)[-30:, -10:] == pixels(bare)[-1, -1]).all()


def test_an_empty_sheet_has_a_note(pixels):
    assert len(np.unique(pixels(contact_sheet([], 3)))) > 2
    assert pixels(prediction_sheet([], CLASSES)).shape[1] == 840


def test_not_one_caption_per_image_is_refused(photo):
    with pytest.raises(ValueError, match="images: 1, captions: 2;"):
        contact_sheet([photo], 1, ["one", "two"])


@pytest.mark.parametrize(("columns", "message"), [(0, "1 or more"), (60, "needed: 16")])
def test_no_columns_and_too_many_columns_are_refused(photo, columns, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet([photo], columns)
