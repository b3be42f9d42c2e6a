import numpy as np
import pytest

from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.tasks.detection.training import BoxLabels
from robot_assets.training.augment import augment as augmented
from robot_assets.training.images import LabelledImage
from robot_assets.training.spec import AugmentationSpec
from tests.detectors import learning

LEARNING = learning(NetworkSpec(input_height=64, input_width=96, width=8))


def augment(images: list[LabelledImage], index: int, spec: AugmentationSpec, rng: np.random.Generator) -> LabelledImage:
    return augmented(images, index, spec, LEARNING, 114, rng)


def drawn(seed: int) -> LabelledImage:
    """One white rectangle on black."""
    rng = np.random.default_rng(seed)
    left, top, width, height = (
        rng.integers(5, 30),
        rng.integers(5, 20),
        rng.integers(20, 50),
        rng.integers(15, 35),
    )
    image = np.zeros((64, 96, 3), np.uint8)
    image[top : top + height, left : left + width] = 255
    box = np.array([[left, top, left + width, top + height]], np.float32)
    return LabelledImage(image, BoxLabels(box, np.array([seed % 3])))


IMAGES = [drawn(seed) for seed in range(8)]


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_boxes_stay_on_their_objects(mosaic: float, seed: int) -> None:
    spec = AugmentationSpec(mosaic=mosaic, colour=0)
    changed = augment(IMAGES, seed % 8, spec, np.random.default_rng(seed))
    assert changed.image.shape == (64, 96, 3)
    assert len(changed.labels.boxes) == len(changed.labels.labels)
    for left, top, right, bottom in np.round(changed.labels.boxes).astype(int):
        inner = changed.image[top + 2 : bottom - 2, left + 2 : right - 2]
        assert inner.size == 0 or inner.min() > 200


@pytest.mark.parametrize("seed", range(10))
def test_the_same_seed_gives_the_same_image(seed: int) -> None:
    one, same = (augment(IMAGES, 3, AugmentationSpec(), np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.labels.boxes, same.labels.boxes)


def test_boxes_stay_inside_the_canvas() -> None:
    for seed in range(50):
        changed = augment(IMAGES, seed % 8, AugmentationSpec(), np.random.default_rng(seed))
        assert (changed.labels.boxes >= 0).all()
        assert (changed.labels.boxes <= [96, 64, 96, 64]).all()


def test_an_image_without_objects_is_augmented() -> None:
    empty = LabelledImage(np.zeros((64, 96, 3), np.uint8), BoxLabels(np.zeros((0, 4), np.float32), np.zeros(0, int)))
    for seed in range(10):
        changed = augment([empty], 0, AugmentationSpec(mosaic=1), np.random.default_rng(seed))
        assert changed.labels.boxes.shape == (0, 4)


def test_the_source_is_not_changed() -> None:
    before = IMAGES[0].image.copy(), IMAGES[0].labels.boxes.copy()
    for seed in range(5):
        augment(IMAGES, 0, AugmentationSpec(mosaic=1), np.random.default_rng(seed))
    np.testing.assert_array_equal(IMAGES[0].image, before[0])
    np.testing.assert_array_equal(IMAGES[0].labels.boxes, before[1])
