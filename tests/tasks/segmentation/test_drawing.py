"""Pictures of masks: colours, hatching of ignored pixels, legends."""

import io

import numpy as np
import pytest
from PIL import Image

from robot_assets.figures.style import class_colour
from robot_assets.tasks.segmentation.classes import IGNORED
from robot_assets.tasks.segmentation.drawing import labelled_sheet, overlaid, prediction_sheet
from robot_assets.tasks.segmentation.predictions import ClassMap
from tests.tasks.segmentation.drawn_shapes import CLASSES, shapes


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def as_map(mask: np.ndarray) -> ClassMap:
    rows, columns = mask.shape
    return ClassMap(np.minimum(mask, 3), (0, 0, columns, rows), columns, rows)


def test_a_pixel_is_mixed_with_the_colour_of_its_class() -> None:
    image = np.full((16, 16, 3), 100, np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 1

    drawn = overlaid(image, mask)

    for columns, index in ((slice(0, 8), 0), (slice(8, 16), 1)):
        mixed = 0.45 * 100 + 0.55 * np.array(class_colour(index))
        assert np.abs(drawn[:, columns] - mixed).max() <= 0.51
    assert (image == 100).all()


def test_ignored_pixels_are_hatched() -> None:
    drawn = overlaid(np.full((16, 16, 3), 200, np.uint8), np.full((16, 16), IGNORED, np.uint8))
    assert (drawn == 255).all(axis=-1).mean() == pytest.approx(1 / 8)
    assert has_colour(drawn, (115, 116, 120))


def test_a_mask_is_resized_to_its_image() -> None:
    mask = np.repeat([[0, 2]], 4, axis=0).astype(np.uint8)
    drawn = overlaid(np.zeros((40, 60, 3), np.uint8), mask)
    assert len(np.unique(drawn[:, :30].reshape(-1, 3), axis=0)) == 1
    assert not np.array_equal(drawn[0, 29], drawn[0, 30])


def test_the_legend_has_the_classes_of_the_masks_alone() -> None:
    images = [np.zeros((64, 96, 3), np.uint8)]
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 50:] = 2

    sheet = pixels(labelled_sheet(images, [mask], CLASSES))[:40]

    assert [has_colour(sheet, class_colour(index)) for index in range(len(CLASSES))] == [True, False, True, False]


def test_a_sheet_of_predictions_has_a_row_for_each_image() -> None:
    split = shapes(2, seed=1)
    one, two = (
        pixels(prediction_sheet(split.images[:n], split.masks[:n], [as_map(m) for m in split.masks[:n]], CLASSES))
        for n in (1, 2)
    )
    assert one.shape[1] == two.shape[1] == 840
    assert two.shape[0] > 1.5 * one.shape[0]


def test_names_from_outside_are_drawn_on_any_number_of_lines() -> None:
    split = shapes(1, seed=1)
    names = ("[bold]road", "道路\n" * 40, "x" * 400, "\u202esquare")
    long = pixels(labelled_sheet(split.images, split.masks, names))
    short = pixels(labelled_sheet(split.images, split.masks, CLASSES))
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0]


def test_no_images_are_a_sheet_too() -> None:
    assert labelled_sheet([], [], CLASSES) == prediction_sheet([], [], [], CLASSES)


def test_equal_images_give_equal_bytes() -> None:
    split = shapes(3, seed=2)
    assert labelled_sheet(split.images, split.masks, CLASSES) == labelled_sheet(split.images, split.masks, CLASSES)
