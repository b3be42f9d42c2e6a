"""The heads of a detector of this package, rewritten in the form of each export, give the same detections."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from robot_assets.tasks.detection.predictions import Detections
from tests.tasks.detection.decoders.reference import CLASSES, decoded, interface_of

HEIGHT, WIDTH = SIZE = (128, 160)
STRIDES = (8, 16, 32)


class Network:
    """Random heads of a batch of two, and the boxes and logits of their cells."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.heads: dict[str, np.ndarray] = {}
        logits, raw, cells, strides = [], [], [], []
        for stride in STRIDES:
            rows, columns = HEIGHT // stride, WIDTH // stride
            self.heads[f"cls_s{stride}"] = random.normal(-3, 2, (2, 3, rows, columns)).astype(np.float32)
            # Centres are inside their cells: a box outside the input is a detection of the raw heads alone.
            centre = random.uniform(-0.5, 0.5, (2, 2, rows, columns))
            sides = random.normal(0.3, 0.5, (2, 2, rows, columns))
            self.heads[f"box_s{stride}"] = np.concatenate([centre, sides], axis=1).astype(np.float32)
            logits.append(self.heads[f"cls_s{stride}"].reshape(2, 3, -1).transpose(0, 2, 1))
            raw.append(self.heads[f"box_s{stride}"].reshape(2, 4, -1).transpose(0, 2, 1))
            cells.append([(column, row) for row in range(rows) for column in range(columns)])
            strides.append(np.full((rows * columns, 1), stride))
        self.logits, self.raw = np.concatenate(logits, 1), np.concatenate(raw, 1)
        self.cells, self.strides = np.concatenate(cells), np.concatenate(strides)

    @property
    def scores(self) -> np.ndarray:
        return 1 / (1 + np.exp(-self.logits))

    @property
    def boxes(self) -> np.ndarray:
        """Centre, width and height in pixels."""
        centre = (self.cells + 0.5 + self.raw[:, :, :2]) * self.strides
        return np.concatenate([centre, np.exp(self.raw[:, :, 2:]) * self.strides], axis=2)

    @property
    def corners(self) -> np.ndarray:
        half = self.boxes[:, :, 2:] / 2
        return np.concatenate([self.boxes[:, :, :2] - half, self.boxes[:, :, :2] + half], axis=2)


def one_output(decoder: str, output: np.ndarray, **options: object) -> list[Detections]:
    output = np.ascontiguousarray(output, np.float32)
    interface = interface_of(decoder, {"output": (1, *output.shape[1:])}, size=SIZE, **options)
    return decoded(interface, output)


def as_yolov8(network: Network) -> list[Detections]:
    return one_output("yolov8", np.concatenate([network.boxes, network.scores], axis=2).transpose(0, 2, 1))


def as_yolov5(network: Network) -> list[Detections]:
    objectness = np.ones((*network.boxes.shape[:2], 1))
    return one_output("yolov5", np.concatenate([network.boxes, objectness, network.scores], axis=2))


def as_yolox(network: Network) -> list[Detections]:
    offsets = network.raw + np.array([0.5, 0.5, 0, 0])
    objectness = np.full((*network.boxes.shape[:2], 1), 50)
    return one_output("yolox", np.concatenate([offsets, objectness, network.logits], axis=2), logits=True)


def as_ssd(network: Network) -> list[Detections]:
    outputs = (network.corners / [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32), network.logits
    shapes = {"boxes": (1, *outputs[0].shape[1:]), "logits": (1, *outputs[1].shape[1:])}
    return decoded(interface_of("ssd", shapes, size=SIZE, activation="sigmoid"), *outputs)


def as_ssd_with_priors(network: Network) -> list[Detections]:
    """A prior of one stride a cell: offsets are those of the cell."""
    priors = [{"stride": stride, "boxes": [[stride, stride]]} for stride in STRIDES]
    options = {"coordinates": "offsets", "priors": priors, "variance": [1, 1], "activation": "sigmoid"}
    shapes = {"offsets": (1, *network.raw.shape[1:]), "logits": (1, *network.logits.shape[1:])}
    return decoded(interface_of("ssd", shapes, size=SIZE, **options), network.raw, network.logits)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", [as_yolov5, as_yolov8, as_yolox, as_ssd, as_ssd_with_priors])
def test_every_form_gives_the_detections_of_the_raw_heads(
    form: Callable[[Network], list[Detections]], seed: int
) -> None:
    network = Network(seed)
    shapes = {name: (1, *head.shape[1:]) for name, head in network.heads.items()}
    ours = decoded(interface_of("grid", shapes, size=SIZE, strides=STRIDES), *network.heads.values())

    for found, expected in zip(form(network), ours, strict=True):
        assert len(expected.scores) > 50
        assert set(expected.labels.tolist()) == set(range(len(CLASSES)))
        assert found.labels.tolist() == expected.labels.tolist()
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
