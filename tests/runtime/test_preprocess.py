"""Images at the size of an input, and their values: against formulas that are written out here."""

import numpy as np
import pytest
from PIL import Image

from robot_assets.runtime.preprocess import fitted, to_input
from robot_assets.tasks.interface import Input, Preprocessing

IMAGENET = Preprocessing(channels="bgr", mean=(0.406, 0.456, 0.485), std=(0.225, 0.224, 0.229))
SIZES = [(64, 96), (100, 40), (7, 300), (1, 1), (480, 640), (128, 192)]


def image_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def test_plain_values_are_bytes_over_255_in_planes() -> None:
    image = image_of(6, 8)
    expected = np.float32(1 / 255) * image.transpose(2, 0, 1)[None].astype(np.float32)
    assert np.array_equal(to_input([image], Preprocessing()), expected)


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_values_have_the_declared_channels_mean_and_deviation(fit: str) -> None:
    image = image_of(5, 9)
    found = to_input(np.stack([image, image[::-1]]), IMAGENET.model_copy(update={"fit": fit}))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    for y in range(5):
        for x in range(9):
            for channel, colour in enumerate((2, 1, 0)):
                value = (image[y, x, colour] / 255 - IMAGENET.mean[channel]) / IMAGENET.std[channel]
                assert found[0, channel, y, x] == pytest.approx(value, abs=1e-6)
                assert found[1, channel, 4 - y, x] == pytest.approx(value, abs=1e-6)


def test_a_mean_alone_and_a_deviation_alone_are_applied() -> None:
    image = image_of(3, 4)
    values = image.transpose(2, 0, 1) / 255
    only_mean = to_input([image], Preprocessing(mean=(0.5, 0.25, 0.125)))[0]
    only_std = to_input([image], Preprocessing(std=(1 / 255,) * 3))[0]
    assert np.allclose(only_mean, values - np.array([0.5, 0.25, 0.125]).reshape(3, 1, 1), atol=1e-6)
    assert np.allclose(only_std, 255 * values, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_a_letterboxed_image_is_centred_on_the_declared_grey(size: tuple[int, int]) -> None:
    rows, columns = size
    image = image_of(*size)
    found = fitted(image, Input(height=64, width=96, padding=7))
    scale = min(64 / rows, 96 / columns)
    height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
    expected = np.full((64, 96, 3), 7, np.uint8)
    top, left = (64 - height) // 2, (96 - width) // 2
    expected[top : top + height, left : left + width] = resized(image, height, width)
    assert np.array_equal(found.image, expected)
    assert (found.pad_x, found.pad_y, found.inner_width, found.inner_height) == (left, top, width, height)
    assert (found.original_width, found.original_height) == (columns, rows)
    assert found.scale_x == found.scale_y == scale


@pytest.mark.parametrize("size", SIZES)
def test_an_image_in_the_corner_has_its_border_right_and_below(size: tuple[int, int]) -> None:
    centred = fitted(image_of(*size), Input(height=64, width=96))
    found = fitted(image_of(*size), Input(height=64, width=96, fit="letterbox_top_left"))
    height, width = found.inner_height, found.inner_width
    assert (found.pad_x, found.pad_y) == (0, 0)
    assert (height, width) == (centred.inner_height, centred.inner_width)
    inner = centred.image[centred.pad_y : centred.pad_y + height, centred.pad_x : centred.pad_x + width]
    assert np.array_equal(found.image[:height, :width], inner)
    assert (found.image[height:] == 114).all()
    assert (found.image[:, width:] == 114).all()


@pytest.mark.parametrize("size", SIZES)
def test_a_stretched_image_fills_the_input(size: tuple[int, int]) -> None:
    image = image_of(*size)
    found = fitted(image, Input(height=64, width=96, fit="stretch"))
    assert np.array_equal(found.image, resized(image, 64, 96))
    assert (found.scale_x, found.scale_y) == (96 / size[1], 64 / size[0])
    assert (found.inner_width, found.inner_height) == (96, 64)


@pytest.mark.parametrize("fit", ["letterbox", "letterbox_top_left", "stretch"])
@pytest.mark.parametrize("size", SIZES)
def test_boxes_are_equal_after_the_input_and_back(size: tuple[int, int], fit: str) -> None:
    rows, columns = size
    found = fitted(image_of(*size), Input(height=64, width=96, fit=fit))
    corners = np.random.default_rng(1).random((20, 2, 2)) * [columns, rows]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
    inside = found.boxes_to_input(boxes)
    assert (inside >= 0).all()
    assert (inside[:, 2] <= 96.01).all()
    assert (inside[:, 3] <= 64.01).all()
    assert np.allclose(found.boxes_to_original(inside), boxes, atol=1e-4 * max(size))
