"""Class masks: the class of every pixel of an image, from one more pass of the renderer.

The pass draws the geometry of the image with one colour per class, so a mask has the image's edges, pixel for pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robot_assets.data.simulation.render import Frame, View
from robot_assets.data.spec import SIMULATED_MASK_CLASSES

UNKNOWN = 255
"""Value of a pixel whose class cannot be said: the open end of the street, and surfaces that fog hides."""

_TRANSMITTANCE_MIN = 13
"""In 256ths. Below a twentieth, a dark surface differs from the fog by less than the noise of the camera."""

_ACTOR_CLASSES = {
    "pedestrian": "person",
    "cyclist": "person",
    "car": "vehicle",
    "robot": "vehicle",
    "cone": "obstacle",
    "bin": "obstacle",
}


def class_index(name: str) -> int:
    """Value of a class in the masks."""
    return SIMULATED_MASK_CLASSES.index(name)


def actor_class(name: str) -> int:
    """Value of an actor in the masks, by its class in boxes."""
    return class_index(_ACTOR_CLASSES[name])


def class_mask(frame: Frame, view: View, focal: float, transmittance: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Class indices of a frame.

    Args:
        frame: as rendered by a renderer with classes.
        view: the view of ``frame``.
        focal: focal length, pixels.
        transmittance: uint16 (height, width), share of light that passes through the haze, in 256ths.

    Returns:
        uint8 (height, width): index in ``SIMULATED_MASK_CLASSES``, or ``UNKNOWN``.

    Raises:
        ValueError: the frame was rendered without classes.
    """
    if frame.classes is None:
        raise ValueError("the frame has no classes: build Renderer with their number")
    # 0, where nothing is drawn, wraps around to UNKNOWN.
    mask = frame.classes - np.uint8(1)
    mask[transmittance < _TRANSMITTANCE_MIN] = UNKNOWN
    horizon = len(mask) / 2 + focal * math.tan(view.pitch)
    sky = slice(0, max(math.floor(horizon + 0.5), 0))  # rows whose middle is above the horizon
    np.copyto(mask[sky], np.uint8(class_index("sky")), where=frame.classes[sky] == 0)
    return mask
